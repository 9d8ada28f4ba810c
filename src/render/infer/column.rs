//! The values of one field over the first events, and what can be said of them.
//!
//! Says what the values look like; what a field becomes is decided one level up. Every share has room for a few
//! values that do not fit: fields hold `-`, `N/A` and worse.

use std::collections::HashSet;

use super::super::words::Wording;
use super::super::{categories, numbers, time};
use crate::flow::Value;

/// Seconds since 1970 that are taken for a time: the years 2001 to 2128.
const EPOCH_S: std::ops::Range<f64> = 1e9..5e9;

/// One field.
#[derive(Debug)]
pub(super) struct Column<'a> {
    /// Its pointer.
    pub(super) pointer: &'a str,
    /// Its values in the order of the events; no nulls.
    pub(super) values: Vec<&'a Value>,
}

impl Column<'_> {
    /// Different values.
    pub(super) fn distinct(&self) -> usize {
        self.values.iter().filter_map(|value| categories::exact(value)).collect::<HashSet<_>>().len()
    }

    /// Whether more than half of the values are numbers, not strings.
    pub(super) fn holds_numbers(&self) -> bool {
        self.share(|value| matches!(value, Value::Integer(_) | Value::Number(_))) > 0.5
    }

    /// The numbers that the values are or spell, when nearly all do.
    pub(super) fn numbers(&self) -> Option<Vec<f64>> {
        let numbers: Vec<_> = self.values.iter().filter_map(|value| numbers::quantity(value)).collect();
        (numbers.len() as f64 >= 0.95 * self.values.len() as f64).then_some(numbers)
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

    /// Whether the values, although none has come back yet, soon must: whole numbers from so small a range that this
    /// many random ones would hold a repeat about every second time.
    pub(super) fn must_return_soon(&self) -> bool {
        let Some((low, high)) = self.numbers().and_then(|numbers| bounds(&numbers)) else { return false };
        high - low < (self.values.len() as f64).powi(2)
    }

    /// Whether the field is called an identifier.
    pub(super) fn is_named_as_identifier(&self) -> bool {
        let name = self.pointer.rsplit('/').next().unwrap_or_default();
        ["_id", "-id", ".id", "Id", "ID", "_key", "uuid"].iter().any(|end| name.ends_with(end))
            || name == "id"
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

fn bounds(numbers: &[f64]) -> Option<(f64, f64)> {
    let low = numbers.iter().copied().min_by(f64::total_cmp)?;
    let high = numbers.iter().copied().max_by(f64::total_cmp)?;
    Some((low, high))
}
