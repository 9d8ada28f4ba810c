//! The values of one field over the first events, and what can be said of them.
//!
//! Says what the values look like; what a field becomes is decided one level up. Every share has room for a few
//! values that do not fit: fields hold `-`, `N/A` and worse.

use super::super::words::Wording;
use super::super::{numbers, time};
use crate::flow::Value;

/// Seconds since 1970 that are taken for a time: the years 2001 to 2128.
const EPOCH_S: std::ops::Range<f64> = 1e9..5e9;

/// Names of numbers that were handed out.
const IDENTIFIERS: [&str; 10] =
    ["id", "ids", "uuid", "guid", "key", "account", "imei", "imsi", "msisdn", "phone"];
/// Names of whole numbers that stand for something else: places, protocols, outcomes, kinds.
const CODES: [&str; 28] = [
    "zip", "zipcode", "postcode", "postal", "port", "sport", "dport", "lport", "rport", "srcport", "dstport",
    "pid", "tid", "uid", "gid", "asn", "vlan", "mcc", "mnc", "bin", "code", "status", "errno", "signal",
    "type", "kind", "protocol", "flags",
];

/// One field.
#[derive(Debug)]
pub(super) struct Column<'a> {
    /// Its pointer.
    pub(super) pointer: &'a str,
    /// Its values in the order of the events; no nulls.
    pub(super) values: Vec<&'a Value>,
}

impl Column<'_> {
    /// Whether more than half of the values are numbers, not strings.
    pub(super) fn holds_numbers(&self) -> bool {
        self.share(|value| matches!(value, Value::Integer(_) | Value::Number(_))) > 0.5
    }

    /// The numbers that the values are or spell, when nearly all do that are there: `-` and the like only say that
    /// there is none.
    pub(super) fn numbers(&self) -> Option<Vec<f64>> {
        let numbers: Vec<_> = self.values.iter().filter_map(|value| numbers::quantity(value)).collect();
        let absent = self.texts().filter(|text| stands_for_nothing(text)).count();
        let there = self.values.len() - absent;
        let nearly_all = numbers.len() as f64 >= 0.95 * there as f64 && numbers.len() >= absent.div_ceil(4);
        (nearly_all && there > 0).then_some(numbers)
    }

    /// The times that the values spell, or are as counts since 1970, when nearly all do; milliseconds.
    pub(super) fn times(&self) -> Option<Vec<f64>> {
        let Some(counts) = self.numbers() else {
            let times: Vec<_> = self.texts().filter_map(time::spelled).map(|time| time.0 as f64).collect();
            return (times.len() as f64 > 0.9 * self.values.len() as f64).then_some(times);
        };
        let scale = [1.0, 1e-3, 1e-6, 1e-9]
            .into_iter()
            .find(|scale| counts.iter().all(|count| EPOCH_S.contains(&(count * scale))))?;
        let times: Vec<_> = counts.into_iter().map(|count| count * scale * 1e3).collect();
        // A number is not a time just because a clock could show it: it also has to go with the stream. To lie
        // within a day is not enough in fine units: the numbers of payment cards look like that.
        let changes = bounds(&times).is_some_and(|(low, high)| low < high);
        let goes = if scale < 1e-3 { moves_on(&times) } else { goes_with_the_stream(&times) };
        (changes && goes).then_some(times)
    }

    /// Whether the values are texts for people: most have parts and words, and three tokens on average. Values
    /// without a letter or digit, such as `-`, only say that there is none.
    pub(super) fn is_written_to_be_read(&self) -> bool {
        let (mut tokens, mut parted, mut worded, mut silent) = (0, 0, 0, 0);
        for wording in self.texts().map(Wording::of) {
            silent += usize::from(wording.tokens == 0);
            tokens += wording.tokens;
            parted += usize::from(wording.parted);
            worded += usize::from(wording.worded);
        }
        let count = self.values.len() - silent;
        2 * parted > count && 2 * worded > count && tokens >= 3 * count
    }

    /// Whether numbers are written with zeros in front.
    pub(super) fn is_zero_padded(&self) -> bool {
        let padded =
            |text: &str| text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        self.texts().any(padded)
    }

    /// Whether the values are long and without a pattern, as random identifiers are: most have 16 characters or more,
    /// all of them hexadecimal digits or dashes, and letters as well as digits.
    pub(super) fn is_random_by_its_look(&self) -> bool {
        let random = |text: &str| {
            let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
            let mixed = text.bytes().any(|byte| byte.is_ascii_digit())
                && text.bytes().any(|byte| byte.is_ascii_alphabetic());
            text.len() >= 16 && hexadecimal && mixed
        };
        self.texts().filter(|text| random(text)).count() * 10 > self.values.len() * 9
    }

    /// Whether most values are long runs of letters and digits in disorder, as keys and tokens in base 64 are: what
    /// people write changes between capitals, small letters and digits seldom.
    pub(super) fn is_scrambled(&self) -> bool {
        2 * self.texts().filter(|text| is_scrambled(text)).count() > self.values.len()
    }

    /// Whether nearly all values are times without a date or a year, or of a form that is not read.
    pub(super) fn shows_clocks(&self) -> bool {
        self.texts().filter(|text| time::is_clock(text)).count() * 10 > self.values.len() * 9
    }

    /// Whether the values, although none has come back yet, soon must: whole numbers from so small a range that this
    /// many random ones would hold a repeat about every second time.
    pub(super) fn must_return_soon(&self) -> bool {
        let Some((low, high)) = self.numbers().and_then(|numbers| bounds(&numbers)) else { return false };
        high - low < (self.values.len() as f64).powi(2)
    }

    /// Whether the field is called an identifier.
    pub(super) fn is_named_as_identifier(&self) -> bool {
        self.last_word().is_some_and(|word| IDENTIFIERS.contains(&&*word))
    }

    /// Whether the field is called a code: whole numbers that are equal or not, but not larger or smaller.
    pub(super) fn is_named_as_code(&self) -> bool {
        self.last_word().is_some_and(|word| CODES.contains(&&*word))
    }

    /// The last word of the field's name, in small letters: of `/user/homeZip`, `zip`.
    fn last_word(&self) -> Option<String> {
        let name =
            self.pointer.rsplit('/').find(|part| part.bytes().any(|byte| byte.is_ascii_alphabetic()))?;
        let end = name.trim_end_matches(|letter: char| !letter.is_ascii_alphabetic());
        let letters: Vec<char> = end.chars().collect();
        // From the end: a word of small letters and the capital before them, or one of capitals.
        let small = letters.iter().rev().take_while(|letter| letter.is_ascii_lowercase()).count();
        let capitals =
            letters.iter().rev().skip(small).take_while(|letter| letter.is_ascii_uppercase()).count();
        let length = if small > 0 { small + capitals.min(1) } else { capitals };
        let word: String = letters[letters.len() - length..].iter().collect();
        Some(word.to_ascii_lowercase()).filter(|word| !word.is_empty())
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter_map(|value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    fn share(&self, fits: impl Fn(&Value) -> bool) -> f64 {
        self.values.iter().filter(|value| fits(value)).count() as f64 / self.values.len().max(1) as f64
    }
}

/// Whether times in milliseconds are those of the events: later for later events, or all of one day, within which
/// the lines of some logs are not in order.
pub(super) fn goes_with_the_stream(times: &[f64]) -> bool {
    let of_one_day = bounds(times).is_some_and(|(low, high)| high - low < 86_400e3);
    of_one_day || moves_on(times)
}

/// Whether nearly all are at least what came a tenth of them before.
fn moves_on(times: &[f64]) -> bool {
    let lag = (times.len() / 10).max(1);
    falls(times, lag) * 10 < times.len().saturating_sub(lag)
}

/// How many values are below the one so many places before.
pub(super) fn falls(numbers: &[f64], lag: usize) -> usize {
    numbers.iter().zip(numbers.iter().skip(lag)).filter(|(before, after)| after < before).count()
}

/// Whether whole numbers, of so many values, count something that seldom happens: nearly all are 0. How much they are
/// then matters, and as a context for others they say nothing.
pub(super) fn is_nearly_always_zero(numbers: &[f64], distinct: usize) -> bool {
    let zeros = numbers.iter().filter(|number| **number == 0.0).count();
    let share = zeros as f64 / numbers.len() as f64;
    share > 0.95 || (share > 0.8 && distinct > 2)
}

/// Whether whole numbers are nearly all that there are between the least and the largest, away from the small ones
/// with which kinds and levels are numbered: levels of a battery or a signal.
pub(super) fn is_a_stretch(numbers: &[f64], distinct: usize) -> bool {
    let Some((low, high)) = bounds(numbers) else { return false };
    distinct >= 8 && !(0.0..=31.0).contains(&low) && high - low + 1.0 <= 1.25 * distinct as f64
}

/// Whether a text stands for a value that is not there.
fn stands_for_nothing(text: &str) -> bool {
    let text = text.trim();
    let silent = !text.chars().any(char::is_alphanumeric);
    silent || ["n/a", "na", "nan", "none", "null", "nil"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether a text of base 64 or 62 and some length changes between capitals, small letters and digits at two of five
/// places or more; random ones do at three of five.
fn is_scrambled(text: &str) -> bool {
    let class = |byte: u8| match byte {
        b'A'..=b'Z' => Some(0_u8),
        b'a'..=b'z' => Some(1),
        b'0'..=b'9' => Some(2),
        b'+' | b'/' | b'=' | b'-' | b'_' | b'.' => Some(3),
        _ => None,
    };
    let Some(classes) = text.bytes().take(256).map(class).collect::<Option<Vec<_>>>() else { return false };
    let changes = classes.windows(2).filter(|pair| pair[0] != pair[1]).count();
    classes.len() >= 24 && 5 * changes >= 2 * classes.len() && (0..3).all(|class| classes.contains(&class))
}

/// How far the numbers are from filling their range evenly: the largest distance between their distribution and the
/// even one (the statistic of Kolmogorov and Smirnov), 0 to 1. Of numbers so dense that half of their range is taken,
/// every one counts; of others each distinct one once, since identifiers too differ in how often they come.
pub(super) fn unevenness(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut distinct = sorted.clone();
    distinct.dedup();
    let Some((low, high)) = bounds(&distinct) else { return 1.0 };
    if distinct.len() < 3 {
        return 1.0;
    }
    let dense = distinct.len() as f64 >= 0.5 * (high - low + 1.0);
    let points = if dense { sorted } else { distinct };
    let last = (points.len() - 1) as f64;
    let distance = |(rank, number): (usize, &f64)| (rank as f64 / last - (number - low) / (high - low)).abs();
    points.iter().enumerate().map(distance).fold(0.0, f64::max)
}

/// Least and largest.
pub(super) fn bounds(numbers: &[f64]) -> Option<(f64, f64)> {
    let low = numbers.iter().copied().min_by(f64::total_cmp)?;
    let high = numbers.iter().copied().max_by(f64::total_cmp)?;
    Some((low, high))
}
