//! Writes numbers, times and strings as JSON, straight into bytes.
//!
//! The demo must feed the daemon faster than it reads, so nothing here allocates but the buffer itself; it must
//! never write bytes that are not valid inside a JSON string or number.

/// A simulated time: it starts at 2026-01-05T00:00:00Z (a Monday) and goes where it is told, never back.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    year: u64,
    month: u64,
    day: u64,
    /// Milliseconds since midnight.
    ms: u64,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Clock {
    pub(super) fn new() -> Self {
        Self { year: 2026, month: 1, day: 5, ms: 0 }
    }

    pub(super) fn advance(&mut self, ms: u64) {
        self.ms += ms;
        while self.ms >= DAY_MS {
            self.ms -= DAY_MS;
            self.day += 1;
            if self.day > days_in(self.year, self.month) {
                (self.day, self.month) = (1, self.month + 1);
            }
            if self.month > 12 {
                (self.month, self.year) = (1, self.year + 1);
            }
        }
    }

    /// RFC 3339, UTC, with milliseconds.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        padded(out, self.year, 4);
        for (mark, value) in [(b'-', self.month), (b'-', self.day), (b'T', self.ms / 3_600_000)] {
            out.push(mark);
            padded(out, value, 2);
        }
        for value in [self.ms / 60_000 % 60, self.ms / 1000 % 60] {
            out.push(b':');
            padded(out, value, 2);
        }
        out.push(b'.');
        padded(out, self.ms % 1000, 3);
        out.push(b'Z');
    }
}

fn days_in(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A whole number.
pub(super) fn whole(out: &mut Vec<u8>, number: u64) {
    padded(out, number, 1);
}

/// A whole number with at least so many digits, at most 20.
pub(super) fn padded(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    let end = digits.len() - width.min(digits.len());
    while number > 0 {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[start.min(end)..]);
}

/// Hundredths as a number with two decimals: 1234 is `12.34`.
pub(super) fn hundredths(out: &mut Vec<u8>, number: u64) {
    whole(out, number / 100);
    out.push(b'.');
    padded(out, number % 100, 2);
}

/// The nearest whole number; 0 below 0, and for what is no number.
#[expect(clippy::cast_sign_loss, reason = "the cast saturates: below 0 becomes 0")]
pub(super) fn rounded(number: f64) -> u64 {
    (number + 0.5) as u64
}

/// The last `digits` hexadecimal digits of `bits`.
pub(super) fn hex(out: &mut Vec<u8>, bits: u64, digits: u32) {
    for digit in (0..digits.min(16)).rev() {
        out.push(b"0123456789abcdef"[(bits >> (4 * digit)) as usize & 15]);
    }
}

/// The inside of a JSON string (RFC 8259): quotes, backslashes and control characters escaped.
pub(super) fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        match special[0] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => {
                out.extend_from_slice(b"\\u00");
                hex(out, u64::from(other), 2);
            }
        }
        rest = &special[1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_clock_rolls_over_days_months_and_leap_years() {
        let mut clock = Clock::new();
        assert_eq!(text(|out| clock.write(out)), "2026-01-05T00:00:00.000Z");
        clock.advance(DAY_MS - 1);
        assert_eq!(text(|out| clock.write(out)), "2026-01-05T23:59:59.999Z");
        clock.advance(1 + 27 * DAY_MS);
        assert_eq!(text(|out| clock.write(out)), "2026-02-02T00:00:00.000Z");
        clock.advance(27 * DAY_MS + 3_723_004);
        assert_eq!(text(|out| clock.write(out)), "2026-03-01T01:02:03.004Z");
        clock.advance((306 + 365) * DAY_MS);
        assert_eq!(text(|out| clock.write(out)), "2028-01-01T01:02:03.004Z");
        clock.advance(59 * DAY_MS);
        assert_eq!(text(|out| clock.write(out)), "2028-02-29T01:02:03.004Z");
    }

    #[test]
    fn numbers_are_written_whole() {
        assert_eq!(text(|out| whole(out, 0)), "0");
        assert_eq!(text(|out| whole(out, u64::MAX)), u64::MAX.to_string());
        assert_eq!(text(|out| padded(out, 7, 3)), "007");
        assert_eq!(text(|out| padded(out, 12_345, 3)), "12345");
        assert_eq!(text(|out| hundredths(out, 1_205)), "12.05");
        assert_eq!([-3.0, 0.4, 0.5, 12.6, f64::NAN].map(rounded), [0, 0, 1, 13, 0]);
        assert_eq!(text(|out| hex(out, 0x0a_bc, 4)), "0abc");
    }

    #[test]
    fn escapes_are_what_a_json_parser_undoes() {
        let hard = "a \"b\" C:\\d\n\tat \u{1}\u{1f} ü 漢";
        let json = text(|out| {
            out.push(b'"');
            escaped(out, hard);
            out.push(b'"');
        });
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), hard);
    }
}
