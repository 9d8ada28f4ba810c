//! Text in columns, wrapped at words; a word that is longer than a line is cut, behind a comma if it has one. Columns are
//! counted in characters: wide ones make a line too long, which a terminal wraps by itself.

use super::Style;

/// Columns of names, their indent included.
const NAMES: usize = 24;
const INDENT: usize = 2;
/// Fewer columns for text than this help nobody.
const TEXT_MIN: usize = 20;

/// A page in the making.
pub(super) struct Page {
    style: Style,
    text: String,
}

impl Page {
    pub(super) fn new(style: Style) -> Self {
        Self { style, text: String::new() }
    }

    pub(super) fn done(self) -> String {
        self.text
    }

    /// What it is all about.
    pub(super) fn headline(&mut self, text: &str) {
        for line in wrapped(text, self.style.width.max(TEXT_MIN)) {
            self.strong(&line);
        }
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.text.push('\n');
        self.strong(text);
    }

    /// A name, and what is said of it.
    pub(super) fn pair(&mut self, name: &str, text: &str) {
        let room = self.style.width.saturating_sub(NAMES).max(TEXT_MIN);
        let mut lines = wrapped(text, room).into_iter();
        let lead = format!("{:INDENT$}{name}", "");
        if lead.chars().count() < NAMES {
            let first = lines.next().unwrap_or_default();
            self.push(&format!("{lead:<NAMES$}{first}"));
        } else {
            self.push(&lead);
        }
        for line in lines {
            self.push(&format!("{:NAMES$}{line}", ""));
        }
    }

    /// Text of its own.
    pub(super) fn line(&mut self, text: &str) {
        for line in wrapped(text, self.style.width.saturating_sub(INDENT).max(TEXT_MIN)) {
            self.push(&format!("{:INDENT$}{line}", ""));
        }
    }

    /// What is to be copied: never wrapped.
    pub(super) fn verbatim(&mut self, text: &str) {
        self.push(&format!("{:INDENT$}{text}", ""));
    }

    fn strong(&mut self, text: &str) {
        if self.style.bold {
            self.push(&format!("\u{1b}[1m{text}\u{1b}[0m"));
        } else {
            self.push(text);
        }
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut columns) = (String::new(), 0);
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if columns > 0 && columns + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
            columns = 0;
        }
        if columns > 0 {
            line.push(' ');
            columns += 1;
        }
        while word.len() > width {
            let comma = word[..width].iter().rposition(|c| *c == ',');
            let rest = word.split_off(comma.map_or(width, |at| at + 1));
            line.extend(word);
            lines.push(std::mem::take(&mut line));
            word = rest;
        }
        columns += word.len();
        line.extend(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_words_and_long_words_are_cut() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(
            wrapped("{\"a\":1,\"bc\":2,\"d\":34567890123}", 12),
            ["{\"a\":1,", "\"bc\":2,", "\"d\":34567890", "123}"]
        );
        assert_eq!(wrapped("", 4), [""]);
        assert_eq!(wrapped("é日本 x", 3), ["é日本", "x"]);
    }

    #[test]
    fn no_line_is_longer_than_the_page() {
        let mut page = Page::new(Style { width: 40, bold: false });
        page.headline(&"word ".repeat(30));
        page.pair("a name that is too long for its column", &"word ".repeat(30));
        page.line(&"x".repeat(200));
        let text = page.done();
        assert!(text.lines().all(|line| line.chars().count() <= 44), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
