//! How often each value of a field came, in the order of the events.
//!
//! Values are counted by their exact texts. It must never iterate a hash map: answers would differ from run to run.

use std::collections::HashMap;

use super::super::categories;
use crate::flow::Value;

/// Counts of the values of one field.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Different values.
    pub(super) distinct: usize,
    /// Where the most frequent value first came, and how often it came; of equals the earliest.
    pub(super) most: Option<(usize, usize)>,
    counts: Vec<usize>,
    /// How many of the last two fifths of the values had come in the first two fifths.
    far: usize,
}

impl Tally {
    /// Counts values; none of them is null.
    pub(super) fn of(values: &[&Value]) -> Self {
        let mut places = HashMap::new();
        let (mut counts, mut firsts): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        let (early, late) = (values.len() * 2 / 5, values.len() - values.len() * 2 / 5);
        let mut far = 0;
        for (at, value) in values.iter().enumerate() {
            let Some(text) = categories::exact(value) else { continue };
            let place = *places.entry(text).or_insert(counts.len());
            if place == counts.len() {
                counts.push(0);
                firsts.push(at);
            }
            counts[place] += 1;
            far += usize::from(at >= late && firsts[place] < early);
        }
        let most = (0..counts.len()).rev().max_by_key(|place| counts[*place]);
        let most = most.map(|place| (firsts[place], counts[place]));
        Self { distinct: counts.len(), most, counts, far }
    }

    /// How many different values there are, those not yet seen included, at least: from how many came once and twice
    /// (A. Chao, "Nonparametric estimation of the number of classes in a population", Scand. J. Statist. 1984, bias
    /// corrected). Of fewer than 100 values, those seen.
    pub(super) fn expected(&self) -> usize {
        if self.counts.iter().sum::<usize>() < 100 {
            return self.distinct;
        }
        let seen = |times: usize| self.counts.iter().filter(|count| **count == times).count();
        let (once, twice) = (seen(1), seen(2));
        self.distinct + once * once.saturating_sub(1) / (2 * (twice + 1))
    }

    /// How many equally likely values would be as uncertain: e to the entropy.
    pub(super) fn perplexity(&self) -> f64 {
        let all = self.counts.iter().sum::<usize>() as f64;
        let share = |count: &usize| *count as f64 / all;
        self.counts.iter().map(share).map(|share| -share * share.ln()).sum::<f64>().exp()
    }

    /// Whether values do come back, but never after long: requests and sessions. Of values that come back at any
    /// time every third repeat or so would be a far one.
    pub(super) fn comes_back_only_at_once(&self) -> bool {
        self.counts.iter().sum::<usize>() - self.distinct >= REPEATS_TO_TELL && self.far == 0
    }
}

/// Repeats from which none being far is no accident: (1 - .3)^20 is one in a thousand.
const REPEATS_TO_TELL: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(numbers: impl IntoIterator<Item = i64>) -> Tally {
        let values: Vec<_> = numbers.into_iter().map(Value::Integer).collect();
        Tally::of(&values.iter().collect::<Vec<_>>())
    }

    #[test]
    fn values_are_counted_and_the_most_frequent_is_the_earliest_of_equals() {
        let tally = tally([4, 7, 7, 4, 9]);
        assert_eq!((tally.distinct, tally.most), (3, Some((0, 2))));
        assert_eq!((Tally::of(&[]).distinct, Tally::of(&[]).most), (0, None));
        assert!(Tally::of(&[]).perplexity() >= 0.0);
    }

    #[test]
    fn values_seen_once_tell_of_those_not_yet_seen() {
        // 190 zeros, ten values seen once, none seen twice: 11 + 10 * 9 / 2.
        assert_eq!(tally((0..200).map(|n| (n - 189).max(0))).expected(), 11 + 45);
        // Each of ten values seen twenty times.
        assert_eq!(tally((0..200).map(|n| n % 10)).expected(), 10);
        assert_eq!(tally(0..50).expected(), 50);
    }

    #[test]
    fn perplexity_is_the_number_of_equally_likely_values() {
        assert!((tally((0..400).map(|n| n % 40)).perplexity() - 40.0).abs() < 1e-9);
        // 1/2, 1/4, 1/4: 2^1.5.
        assert!((tally([1, 1, 2, 3]).perplexity() - 8.0_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn sessions_come_back_at_once_and_customers_at_any_time() {
        assert!(tally((0..1_000).map(|n| n / 5)).comes_back_only_at_once());
        assert!(!tally((0..1_000).map(|n| n * 7 % 200)).comes_back_only_at_once());
        assert!(!tally(0..1_000).comes_back_only_at_once());
    }
}
