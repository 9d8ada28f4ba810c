//! What makes a string a text that people wrote to be read, rather than a name or a code.
//!
//! Looks only at the characters: the same message a thousand times over is still a text. Names of fields are not
//! asked.

/// The start of a text, at most so many bytes, ending between characters.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// How a string is put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wording {
    /// Runs of letters and runs of digits; each character counts where a script writes words without spaces.
    pub(super) tokens: usize,
    /// Has parts: white space, or a path of more than a dozen characters, or a script without spaces. A path begins
    /// with a slash or has two; `America/New_York` and `arn:aws:iam::1:user/ann` are names.
    pub(super) parted: bool,
    /// Has at least one word: three letters in a row.
    pub(super) worded: bool,
}

/// Longest part of a string that is looked at; enough to tell what it is.
const LOOK_BYTES: usize = 512;

impl Wording {
    /// Looks at a string.
    pub(super) fn of(text: &str) -> Self {
        let (mut tokens, mut parted, mut worded, mut slashes, mut characters) = (0, false, false, 0, 0);
        let (mut letters, mut digits, mut unspaced) = (0, 0, 0);
        for letter in cut(text, LOOK_BYTES).chars() {
            characters += 1;
            if letter.is_numeric() {
                tokens += usize::from(digits == 0);
                (letters, digits) = (0, digits + 1);
            } else if letter.is_alphabetic() {
                let alone = written_without_spaces(letter);
                unspaced += usize::from(alone);
                tokens += usize::from(letters == 0 || alone);
                (letters, digits) = (letters + 1, 0);
                worded |= letters >= 3;
            } else {
                (letters, digits) = (0, 0);
                parted |= letter.is_whitespace();
                slashes += usize::from(letter == '/');
            }
        }
        let path = text.starts_with('/') || (slashes > 1 && !is_named_by_colons(text));
        parted |= (path && characters > 12) || unspaced > 3;
        Self { tokens, parted, worded }
    }
}

/// Whether a text begins as `urn:isbn:` does, and is no address such as `https://`.
fn is_named_by_colons(text: &str) -> bool {
    let before = text.split('/').next().unwrap_or_default();
    before.trim_end_matches(':').contains(':')
}

/// Kana, Han and Thai to Khmer: scripts that put no spaces between words.
fn written_without_spaces(letter: char) -> bool {
    matches!(letter, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_text(text: &str) -> bool {
        let wording = Wording::of(text);
        wording.tokens >= 3 && wording.parted && wording.worded
    }

    #[test]
    fn sentences_and_paths_are_texts_in_any_script() {
        for text in [
            "instruction cache parity error corrected",
            "GET /presentations/logstash.png HTTP/1.1",
            "/var/log/nginx/access.log",
            "https://example.org/shop/items",
            "assets/css/main.css?v=3",
            "ошибка чтения с диска",
            "磁盘空间不足",
        ] {
            assert!(is_text(text), "{text} {:?}", Wording::of(text));
        }
    }

    #[test]
    fn names_codes_and_numbers_are_not() {
        for text in [
            "INFO",
            "R02-M1-N0-C:J12-U11",
            "83.149.9.216",
            "Luettgen PLC",
            "12 34 56",
            "",
            "a/b/c",
            "America/New_York",
            "arn:aws:sts::12:role/deploy/ann",
        ] {
            assert!(!is_text(text), "{text} {:?}", Wording::of(text));
        }
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        for bytes in 0..8 {
            let short = cut("aé🦀b", bytes);
            assert!(short.len() <= bytes && "aé🦀b".starts_with(short));
        }
        assert_eq!(cut("aé🦀b", 3), "aé");
    }
}
