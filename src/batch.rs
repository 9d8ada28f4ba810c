//! Gathers texts into batches: when one is full, in padded tokens, or due.
//!
//! A model's cost goes with *padded* tokens, so texts of about the same length share a batch: each text goes to the
//! bucket of its padded length, and a bucket is full when one more text would exceed the limit. The padded length is
//! a function of the text's own length alone, never of its batch mates: that is one half of why a text's embedding
//! does not depend on its batch (the other is in `embed/onnx.rs`). It asks no clock: the caller says what time it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When a batch is full, and when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Padded tokens in a batch, at most; a single text longer than this is a batch of its own.
    pub tokens_max: usize,
    /// How long an item may wait for others.
    pub wait_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tokens_max: 1024, wait_max: Duration::from_millis(5) }
    }
}

/// The length to which a text of `len` tokens is padded: four steps to each power of two, so that less than a
/// fifth of a batch is padding. At least `len` and at least 8.
pub fn padded(len: usize) -> usize {
    if len <= 8 {
        return 8;
    }
    let step = (len - 1).ilog2().saturating_sub(2);
    len.checked_next_multiple_of(1 << step).unwrap_or(len)
}

/// Texts of one padded length that belong in one batch: as many as fit, and at least one.
pub fn capacity(padded: usize, tokens_max: usize) -> usize {
    (tokens_max / padded.max(1)).max(1)
}

/// Items that go to the model together, in the order they came.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<T> {
    /// The padded length of each, in tokens.
    pub padded: usize,
    /// At least one.
    pub items: Vec<T>,
}

#[derive(Debug)]
struct Bucket<T> {
    padded: usize,
    capacity: usize,
    waiting: VecDeque<(Instant, T)>,
}

impl<T> Bucket<T> {
    fn since(&self) -> Option<Instant> {
        self.waiting.front().map(|(since, _)| *since)
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= self.capacity
    }

    fn take(&mut self) -> Batch<T> {
        let count = self.capacity.min(self.waiting.len());
        Batch { padded: self.padded, items: self.waiting.drain(..count).map(|(_, item)| item).collect() }
    }
}

/// Waiting items, by padded length. It holds what it is given: the caller bounds how much that is.
#[derive(Debug)]
pub struct Batcher<T> {
    settings: Settings,
    /// By rising padded length; there are at most four for each power of two.
    buckets: Vec<Bucket<T>>,
    count: usize,
}

impl<T> Batcher<T> {
    /// An empty batcher.
    pub fn new(settings: Settings) -> Self {
        Self { settings, buckets: Vec::new(), count: 0 }
    }

    /// Items waiting.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds an item of `len` tokens. Times must not go back.
    pub fn push(&mut self, now: Instant, len: usize, item: T) {
        let padded = padded(len);
        let at = match self.buckets.binary_search_by_key(&padded, |bucket| bucket.padded) {
            Ok(at) => at,
            Err(at) => {
                let capacity = capacity(padded, self.settings.tokens_max);
                self.buckets.insert(at, Bucket { padded, capacity, waiting: VecDeque::new() });
                at
            }
        };
        self.buckets[at].waiting.push_back((now, item));
        self.count += 1;
    }

    /// When the item that has waited longest is due; `None` when nothing waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.buckets.iter().filter_map(Bucket::since).min().map(|since| since + self.settings.wait_max)
    }

    /// Whether a batch is full.
    pub fn is_full(&self) -> bool {
        self.buckets.iter().any(Bucket::is_full)
    }

    /// The batch that should run now, if any: the one whose first item is overdue longest, or else the full one
    /// whose first item came first. A full bucket cannot starve another: what is overdue goes before what is full.
    pub fn take(&mut self, now: Instant) -> Option<Batch<T>> {
        if self.deadline()? <= now { self.take_oldest(|_| true) } else { self.take_oldest(Bucket::is_full) }
    }

    /// The batch whose first item came first, full or not: for the end.
    pub fn flush(&mut self) -> Option<Batch<T>> {
        self.take_oldest(|_| true)
    }

    fn take_oldest(&mut self, wanted: impl Fn(&Bucket<T>) -> bool) -> Option<Batch<T>> {
        let bucket = self
            .buckets
            .iter_mut()
            .filter(|bucket| wanted(bucket))
            .filter_map(|bucket| bucket.since().map(|since| (since, bucket)))
            .min_by_key(|(since, _)| *since)
            .map(|(_, bucket)| bucket)?;
        let batch = bucket.take();
        self.count -= batch.items.len();
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { tokens_max: 256, wait_max: Duration::from_millis(5) };

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the start of a simulated time")]
    fn start() -> Instant {
        Instant::now()
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Knuth's linear congruential generator: seeded, small.
    fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
        move |below| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        }
    }

    #[test]
    fn padding_is_a_step_above_the_length_and_less_than_a_quarter_of_it() {
        for len in 9..5_000 {
            let padded = padded(len);
            assert!(padded >= len && (padded - len) * 4 < len, "{len} -> {padded}");
            assert_eq!(super::padded(padded), padded, "a padded length is its own");
        }
        assert_eq!([0, 1, 8, 9, 17, 33, 129].map(padded), [8, 8, 8, 10, 20, 40, 160]);
        assert_eq!(padded(usize::MAX), usize::MAX, "no overflow");
    }

    #[test]
    fn a_batch_is_taken_when_it_is_full() {
        let (now, mut batcher) = (start(), Batcher::new(SETTINGS));
        for item in 0..16 {
            assert_eq!(batcher.take(now), None, "{item} items of 16 tokens do not fill 256");
            batcher.push(now, 16, item);
        }
        assert!(batcher.is_full());
        assert_eq!(batcher.take(now), Some(Batch { padded: 16, items: (0..16).collect() }));
        assert!(batcher.is_empty());
        assert_eq!(batcher.deadline(), None);
    }

    #[test]
    fn a_batch_is_taken_when_it_is_due_and_not_before() {
        let (now, mut batcher) = (start(), Batcher::new(SETTINGS));
        batcher.push(now, 20, "a");
        batcher.push(now + ms(2), 20, "b");
        assert_eq!(batcher.deadline(), Some(now + ms(5)));
        assert_eq!(batcher.take(now + ms(4)), None);
        assert_eq!(batcher.take(now + ms(5)).map(|batch| batch.items), Some(vec!["a", "b"]));
    }

    #[test]
    fn an_overdue_item_goes_before_full_batches() {
        let (now, mut batcher) = (start(), Batcher::new(SETTINGS));
        batcher.push(now, 100, 1_000);
        for item in 0..64 {
            batcher.push(now + ms(1), 8, item);
        }
        assert_eq!(batcher.take(now + ms(2)).map(|batch| batch.items.len()), Some(32), "full comes first");
        assert_eq!(
            batcher.take(now + ms(5)).map(|batch| batch.items),
            Some(vec![1_000]),
            "until one is overdue"
        );
    }

    #[test]
    fn an_item_longer_than_a_batch_is_a_batch_of_its_own() {
        let (now, mut batcher) = (start(), Batcher::new(SETTINGS));
        batcher.push(now, 10_000, 'x');
        assert_eq!(batcher.take(now).map(|batch| batch.items), Some(vec!['x']));
    }

    #[test]
    fn nothing_is_lost_doubled_reordered_late_or_too_large() {
        for seed in 0..50 {
            let mut below = numbers(seed);
            let (mut now, mut batcher) = (start(), Batcher::new(SETTINGS));
            let mut seen = vec![0; 2_000];
            let mut check = |batch: Batch<(usize, usize, Instant)>, now: Instant| {
                assert!(batch.items.len() == 1 || batch.items.len() * batch.padded <= SETTINGS.tokens_max);
                assert!(batch.items.is_sorted_by_key(|(id, ..)| *id), "first in, first out");
                for (id, len, pushed) in batch.items {
                    assert_eq!(padded(len), batch.padded);
                    assert!(now - pushed <= SETTINGS.wait_max, "waited {:?}", now - pushed);
                    seen[id] += 1;
                }
            };
            for id in 0..2_000 {
                let next = now + Duration::from_micros(below(600));
                while let Some(due) = batcher.deadline().filter(|due| *due <= next) {
                    check(batcher.take(due).expect("something is due"), due);
                }
                now = next;
                let len = usize::try_from(below(300)).expect("small");
                batcher.push(now, len, (id, len, now));
                while let Some(batch) = batcher.take(now) {
                    check(batch, now);
                }
            }
            while let Some(batch) = batcher.flush() {
                check(batch, now);
            }
            assert!(batcher.is_empty() && seen.iter().all(|count| *count == 1));
        }
    }
}
