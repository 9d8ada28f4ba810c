//! How alerts and dead letters look from outside: the only serialised forms of them.
//!
//! Pure functions, so that the same alert makes the same bytes wherever and whenever it is written. Nothing here may
//! ask a clock, a host name or a random number.

pub mod alert;
pub mod reject;
mod sentence;

pub(crate) use sentence::in_context;
pub use sentence::sentence;

use crate::flow::Time;

/// A time as RFC 3339 in UTC with milliseconds; years outside 0 to 9999 become the nearest that can be written.
///
/// Days to dates by Howard Hinnant, "chrono-compatible low-level date algorithms" (`civil_from_days`).
pub fn rfc3339(time: Time) -> String {
    const FIRST: i64 = -62_167_219_200_000;
    const LAST: i64 = 253_402_300_799_999;
    let milliseconds = time.0.clamp(FIRST, LAST);
    let (days, rest) = (milliseconds.div_euclid(86_400_000), milliseconds.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1_000)
}

/// A time as [`rfc3339`] writes it, where there is one: [`Time`] 0 is that of a record to which nobody gave any.
pub(crate) fn stamp(time: Time) -> Option<String> {
    (time != Time(0)).then(|| rfc3339(time))
}

/// Base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// The longest start of a text that has at most so many bytes and ends at a character.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Text that cannot move a terminal's cursor, turn its writing round or hide in it: such characters are written as
/// escapes. Joiners stay: some languages are written with them.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let hides =
            matches!(c, '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
        if c.is_control() || turns || hides {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A JSON pointer as a person reads it: `/request/bytes` is `request/bytes`.
pub(crate) fn field_name(pointer: &str) -> String {
    let name = pointer.strip_prefix('/').unwrap_or(pointer);
    if name.is_empty() { "the record".to_owned() } else { name.replace("~1", "/").replace("~0", "~") }
}

/// JSON has no NaN and no infinity.
pub(crate) fn finite(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number.clamp(f64::MIN, f64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(Time(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Time(1_709_210_096_789)), "2024-02-29T12:34:56.789Z");
        assert_eq!(rfc3339(Time(-1)), "1969-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(Time(i64::MIN)), "0000-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Time(i64::MAX)), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn base64_agrees_with_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
    }

    #[test]
    fn text_cannot_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\r\n\u{202e}c"), "a\\u{1b}[31mb\\r\\n\\u{202e}c");
        assert_eq!(printable("naïve 日本"), "naïve 日本");
    }

    #[test]
    fn numbers_are_finite() {
        assert_eq!(finite(f64::NAN).to_bits(), 0.0_f64.to_bits());
        assert!(finite(f64::INFINITY).is_finite() && finite(f64::NEG_INFINITY).is_finite());
    }
}
