//! The time in a scalar: RFC 3339 and its relatives, the time of Apache's common log format, or a count since 1970.
//!
//! A time without a zone is taken for UTC: asking the machine for its zone would make verdicts depend on where they
//! are made.

use crate::flow::{Time, Value};

const SECOND_MS: i64 = 1_000;
const DAY_S: i64 = 86_400;
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The time that a value is or spells.
pub(super) fn read(value: &Value) -> Option<Time> {
    match value {
        Value::Integer(count) => Some(whole_since_epoch(*count)),
        Value::Number(count) => since_epoch(*count),
        Value::Text(text) => spelled(text),
        Value::Null | Value::Bool(_) => None,
    }
}

/// The time that a text spells: a date, `T` or a space, a time, an optional zone; `17/May/2015:10:05:03 +0000`; or
/// digits.
pub(super) fn spelled(text: &str) -> Option<Time> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let mut at = Reader(bare.as_bytes());
    at.calendar().or_else(|| {
        let count = bare.parse::<i64>().ok().map(whole_since_epoch);
        count.or_else(|| super::numbers::spelled(bare).and_then(since_epoch))
    })
}

/// Bytes at the beginning of a line in which a time is looked for.
pub(super) const HEAD: usize = 200;

/// The time that a line of a log begins with, as many programs write them: `2015-05-17 10:05:03,123 INFO …`, in brackets or
/// not; `<34>1 2015-05-17T10:05:03Z …` of syslog (RFC 5424); or, further on, `[17/May/2015:10:05:03 +0000]` as in Apache's
/// common log format. A date alone is no time, and one without a year cannot be read.
pub(super) fn leading(line: &str) -> Option<Time> {
    let line = line[..line.floor_char_boundary(HEAD)].trim_start();
    match line.as_bytes().first()? {
        b'0'..=b'9' | b'[' | b'<' => first_words(line).or_else(|| of_access_log(line)),
        b'{' => None,
        _ => of_access_log(line),
    }
}

fn first_words(line: &str) -> Option<Time> {
    let line = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((_, rest)) => rest.strip_prefix("1 ").unwrap_or(rest),
        None => line.strip_prefix('[').unwrap_or(line),
    };
    let mut ends = line.match_indices([' ', '\t', ']', '|', ';']).map(|(at, _)| at).chain([line.len()]);
    let first = ends.next()?;
    // A date and a time are one word or two.
    let end = if line[..first].contains(':') { first } else { ends.next()? };
    let read = |end: usize| {
        let text = line[..end].trim_end_matches([',', ':']);
        Reader(text.as_bytes()).calendar().filter(|_| text.contains(':'))
    };
    // The zone may stand apart.
    ends.next().and_then(read).or_else(|| read(end))
}

/// `host identity user [17/May/2015:10:05:03 +0000] …`; what stands before it differs from program to program.
fn of_access_log(line: &str) -> Option<Time> {
    let read = |(at, _)| {
        let (inside, _) = line[at + 1..].split_once(']')?;
        let is_log = inside.as_bytes().get(2) == Some(&b'/') && inside.contains(':');
        if is_log { Reader(inside.as_bytes()).calendar() } else { None }
    };
    line.match_indices('[').find_map(read)
}

/// Whether a text shows a clock, and otherwise only digits and what goes with dates: also times that cannot be read
/// here, such as `Nov 26 01:30:48`, which has no year.
pub(super) fn is_clock(text: &str) -> bool {
    let goes_with_dates = |word: &str| {
        word.len() <= 9 && word.bytes().all(|byte| byte.is_ascii_digit())
            || NAMES.iter().any(|name| word.eq_ignore_ascii_case(name))
    };
    let words = || text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.split(':').map(|part| part.split(|letter: char| !letter.is_alphanumeric()));
    let hour = parts.next().and_then(Iterator::last).unwrap_or_default();
    let minute = parts.next().and_then(|mut minute| minute.next()).unwrap_or_default();
    let clock = digits(minute) && (digits(hour) || hour.len() == 1 && hour.as_bytes()[0].is_ascii_digit());
    // An address with a port has one colon and no name of a month.
    let told =
        parts.next().is_some() || words().any(|word| word.bytes().any(|byte| byte.is_ascii_alphabetic()));
    text.len() <= 48 && clock && told && words().count() > 2 && words().all(goes_with_dates)
}

/// Words of dates: months, days of the week, halves of the day, zones.
const NAMES: [&str; 31] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mon", "tue", "wed",
    "thu", "fri", "sat", "sun", "am", "pm", "z", "t", "utc", "gmt", "cet", "cest", "est", "edt", "pst",
    "pdt",
];

/// A count since 1970 in the unit that its size tells: seconds up to the year 5138, then milli-, micro- and
/// nanoseconds.
fn whole_since_epoch(count: i64) -> Time {
    Time(match count.unsigned_abs() {
        0..100_000_000_000 => count * SECOND_MS,
        100_000_000_000..100_000_000_000_000 => count,
        100_000_000_000_000..100_000_000_000_000_000 => count.div_euclid(1_000),
        _ => count.div_euclid(1_000_000),
    })
}

fn since_epoch(count: f64) -> Option<Time> {
    let scale = match count.abs() {
        size if size < 1e11 => 1e3,
        size if size < 1e14 => 1.0,
        size if size < 1e17 => 1e-3,
        size if size < 1e20 => 1e-6,
        _ => return None,
    };
    // Rounded down, as whole counts are; a hair is added for fractions that binary cannot hold.
    Some(Time((count * scale + 1e-3).floor() as i64))
}

/// Bytes not yet read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn calendar(&mut self) -> Option<Time> {
        let of_a_log = self.0.get(2) == Some(&b'/');
        let (year, month, day) = if of_a_log { self.log_date()? } else { self.date()? };
        if !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
            return None;
        }
        let days = days_since_epoch(year, month, day);
        if self.0.is_empty() {
            return Some(Time(days * DAY_S * SECOND_MS));
        }
        self.one_of(if of_a_log { &b":"[..] } else { b"Tt _" })?;
        let ms = self.time_of_day()?;
        let zone_s = self.zone()?;
        self.0.is_empty().then_some(Time((days * DAY_S - zone_s) * SECOND_MS + ms))
    }

    /// `2015-05-17` or `2015/05/17`.
    fn date(&mut self) -> Option<(i64, i64, i64)> {
        let year = self.digits(4)?;
        let separator = self.one_of(b"-/")?;
        let month = self.digits(2)?;
        self.one_of(&[separator])?;
        let day = self.digits(2)?;
        Some((year, month, day))
    }

    /// `17/May/2015`.
    fn log_date(&mut self) -> Option<(i64, i64, i64)> {
        let day = self.digits(2)?;
        self.one_of(b"/")?;
        let name = self.0.get(..3)?;
        let month = (1..).zip(MONTHS).find(|(_, month)| month.eq_ignore_ascii_case(name))?.0;
        self.0 = &self.0[3..];
        self.one_of(b"/")?;
        let year = self.digits(4)?;
        Some((year, month, day))
    }

    /// `10:05`, `10:05:03`, `10:05:03.123` or `10:05:03,123`, in milliseconds. A leap second is the next second.
    fn time_of_day(&mut self) -> Option<i64> {
        let hour = self.digits(2)?;
        self.one_of(b":")?;
        let minute = self.digits(2)?;
        let second = if self.one_of(b":").is_some() { self.digits(2)? } else { 0 };
        let mut fraction = 0;
        if self.one_of(b".,").is_some() {
            let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (digits, rest) = self.0.split_at(length);
            self.0 = rest;
            let place = |(digit, scale): (&u8, i64)| i64::from(digit - b'0') * scale;
            fraction = digits.iter().zip([100, 10, 1]).map(place).sum();
            if length == 0 {
                return None;
            }
        }
        let fits = hour < 24 && minute < 60 && second <= 60;
        fits.then_some(((hour * 60 + minute) * 60 + second) * SECOND_MS + fraction)
    }

    /// `Z`, `+02:00`, `+0200`, `+02` or nothing, a space or none before it; in seconds east of UTC.
    fn zone(&mut self) -> Option<i64> {
        while self.one_of(b" ").is_some() {}
        if self.0.is_empty() || self.one_of(b"Zz").is_some() {
            return Some(0);
        }
        if let Some(rest) = self.0.strip_prefix(b"UTC").or_else(|| self.0.strip_prefix(b"GMT")) {
            self.0 = rest;
            return Some(0);
        }
        let sign = if self.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.digits(2)?;
        let _colon = self.one_of(b":");
        let minutes = if self.0.is_empty() { 0 } else { self.digits(2)? };
        (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    }

    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        let found = allowed.contains(first).then_some(*first);
        if found.is_some() {
            self.0 = rest;
        }
        found
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, counted in years that begin in March, so that the leap
/// day comes last (H. Hinnant, "chrono-compatible low-level date algorithms", 2021).
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<i64> {
        spelled(text).map(|time| time.0)
    }

    #[test]
    fn dates_with_times_are_read_in_their_zone() {
        for text in [
            "2015-05-17T10:05:03Z",
            "2015-05-17t10:05:03z",
            "2015-05-17 10:05:03",
            "2015/05/17 10:05:03",
            "2015-05-17T12:05:03+02:00",
            "2015-05-17T12:05:03+0200",
            "2015-05-17T12:05:03 +02",
            "2015-05-17T04:35:03-05:30",
            "2015-05-17 10:05:03 UTC",
            "17/May/2015:10:05:03 +0000",
            "[17/May/2015:12:05:03 +0200]",
            "1431857103",
            " 1431857103 ",
        ] {
            assert_eq!(ms(text), Some(1_431_857_103_000), "{text}");
        }
    }

    #[test]
    fn fractions_are_cut_to_milliseconds() {
        assert_eq!(ms("1970-01-01T00:00:00.1239Z"), Some(123));
        assert_eq!(ms("1970-01-01 00:00:00,5"), Some(500));
        assert_eq!(ms("1970-01-01T00:00:00.000000001+00:00"), Some(0));
        assert_eq!(ms("1431857103.123"), Some(1_431_857_103_123));
    }

    #[test]
    fn the_calendar_holds_on_its_edges() {
        assert_eq!(ms("1970-01-01"), Some(0));
        assert_eq!(ms("2000-02-29T00:00:00Z"), Some(951_782_400_000));
        assert_eq!(ms("2024-12-31T23:59:60Z"), Some(1_735_689_600_000));
        assert_eq!(ms("1969-12-31T23:59:59.999Z"), Some(-1));
        assert_eq!(ms("0000-01-01T00:00:00Z"), Some(-62_167_219_200_000));
        for text in ["1900-02-29", "2023-02-29", "2024-04-31", "2024-13-01", "2024-00-10", "2024-01-00"] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn the_unit_of_a_count_shows_in_its_size() {
        let at = Some(Time(1_431_857_103_000));
        for count in [1_431_857_103, 1_431_857_103_000, 1_431_857_103_000_000, 1_431_857_103_000_000_000_i64]
        {
            assert_eq!(read(&Value::Integer(count)), at);
            assert_eq!(read(&Value::Number(count as f64)), at);
        }
        assert_eq!(read(&Value::Number(1_431_857_103.25)), Some(Time(1_431_857_103_250)));
        assert_eq!(read(&Value::Number(1e300)), None);
        assert!(read(&Value::Integer(i64::MIN)).is_some() && read(&Value::Integer(i64::MAX)).is_some());
    }

    #[test]
    fn clocks_that_cannot_be_read_are_known_as_such() {
        for text in [
            "Nov 26 01:30:48",
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "01:30:48.125",
            "1/2/2024 3:04 PM",
            "9:05:01",
        ] {
            assert!(is_clock(text) && ms(text).is_none(), "{text}");
        }
        for text in [
            "10.0.0.1:22",
            "8080:80",
            "00:1b:44:11:3a:b7",
            "at 10:05:03 sharp",
            "2001:db8::1",
            "12:34",
            "",
            ":",
        ] {
            assert!(!is_clock(text), "{text}");
        }
    }

    #[test]
    fn lines_begin_with_times_in_many_ways() {
        for line in [
            "2015-05-17T10:05:03Z started",
            "2015-05-17 10:05:03 started",
            "2015-05-17 10:05:03",
            "2015/05/17 10:05:03 [error] 7#7: *1 open() failed",
            "  2015-05-17 10:05:03,000 INFO main: started",
            "[2015-05-17 10:05:03] app.INFO: started",
            "[2015-05-17T12:05:03.000+02:00] started",
            "2015-05-17 12:05:03 +0200 started",
            "2015-05-17 10:05:03.000 UTC [17] LOG:  database system is ready",
            "2015-05-17T10:05:03Z: started",
            "2015-05-17 10:05:03 5 workers started",
            "<34>1 2015-05-17T10:05:03Z host app - - started",
            "<34>2015-05-17T10:05:03Z host app: started",
            "10.0.0.7 - alice [17/May/2015:12:05:03 +0200] \"GET / HTTP/1.1\" 200 7",
            "[2015-05-17T10:05:03.000+0000][info][gc] GC(7) Pause Young",
            "2015-05-17 10:05:03|INFO|started",
            "2015-05-17 10:05:03;INFO;started",
            "[2015-05-17 12:05:03 +0200] started",
            "site:443 10.0.0.7 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 7",
            "May 17 10:05:03 lb haproxy[7]: 10.0.0.7:3331 [17/May/2015:10:05:03.000] front back/one 0/0/0",
            "\u{65e5}\u{672c} [17/May/2015:10:05:03 +0000]",
            "host.example - - [17/May/2015:10:05:03 +0000] \"GET /[a] HTTP/1.1\" 200 7",
        ] {
            assert_eq!(leading(line).map(|time| time.0), Some(1_431_857_103_000), "{line}");
        }
        for line in [
            "",
            " ",
            "started",
            "2015-05-17",
            "2015-05-17 backup is done",
            "2015-05-17: done",
            "May 17 10:05:03 host app: started",
            "<34>May 17 10:05:03 host app: started",
            "<34>",
            "[",
            "[error] open() failed",
            "10:05:03 started",
            "1431857103 started",
            "started at 2015-05-17 10:05:03",
            "at 3 of [17/05/2015]",
            "at 3 of [17/May/2015]",
            "[[[[[",
            "a b c [17/May/2015",
            "{\"a\": 1, \"b\": \"[17/May/2015:10:05:03 +0000]\"}",
            "2015-05-17 10:05:99 started",
        ] {
            assert_eq!(leading(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "",
            "2015-05-17T",
            "2015-05-17T10",
            "2015-05-17T24:00:00Z",
            "2015-05-17T10:61:00Z",
            "2015-05-17T10:05:03.Z",
            "2015-05-17T10:05:03Zulu",
            "2015-05-17T10:05:03+25:00",
            "2015-05/17 10:05:03",
            "17/Mai/2015:10:05:03 +0000",
            "17/May/2015:",
            "10:05:03",
            "é2015-05-17",
            "INFO",
        ] {
            assert_eq!(ms(text), None, "{text}");
        }
    }
}
