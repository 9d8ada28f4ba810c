//! How much of a field a key explains: a customer's home state is no news about the customer.
//!
//! A field that a key determines adds nothing to how events are spread, and drowns the fields that do. So for each
//! field and key the entropy of the field is measured with and without the key, each event predicted before it is
//! learned (Dawid, "Statistical theory: the prequential approach", JRSS A 1984): a category as it is, a number in
//! twelve quantile bins, p(x) with half a count for a new value, p(x | key) shrunk to p(x) as if that had been seen
//! [`SHRINKAGE`] times. The share explained is 1 - H(x | key) / H(x), over the first [`EVENTS`] events with that key.
//! A new key explains nothing, so early shares are too low rather than too high.
//!
//! A field that its key explains may still be the best thing to know about another one: a merchant has one trade,
//! but amounts are those of the trade. So such a field is held as a key itself against those that no key explains. What it
//! tells of them is little as a rule (a trade, .05 nats of an amount's 2.5), and to learn twelve bins for each of its values costs
//! more than that at first: so p(x | key) is tried with [`SHY`] as well, and the better of the two codes counts. (Card purchases
//! begun at seven places: with [`SHRINKAGE`] alone the trade was dropped at two of them, and average precision .3 in place of .65.)
//!
//! Tables are let go when a pair is measured. Where there are many pairs, each looks at a part of the keys at a time, or of
//! the events where the key is a field of few values, so that an event costs [`AT_ONCE`] pairs at most, on average. Must never hold more than [`PAIRS`] pairs.

use super::places::{self, MISSING};
use crate::detect::lru::{self, Lru};

/// Measures every field against every key.
#[derive(Debug)]
pub(super) struct Explained {
    pairs: Vec<Pair>,
    /// By field: the edges of a number's bins, none for a category; `None` until its measurement begins.
    edges: Vec<Option<Vec<f64>>>,
    keys: usize,
    keys_max: usize,
    learned: u64,
    open: usize,
}

impl Explained {
    /// Has measured nothing. A row holds the fields first, then the keys. A table holds `keys_max` entries at most.
    pub(super) fn new(fields: usize, keys: usize, keys_max: usize) -> Self {
        Self { pairs: Vec::new(), edges: vec![None; fields], keys, keys_max, learned: 0, open: 0 }
    }

    /// Whether the measurement of a field has begun.
    pub(super) fn measures(&self, field: usize) -> bool {
        self.edges.get(field).is_some_and(Option::is_some)
    }

    /// Begins to measure a field, of whose numbers some are given, in any order; none are given of a category.
    /// `rows` came before and count.
    pub(super) fn begin<'a>(
        &mut self,
        field: usize,
        sample: &mut [f64],
        rows: impl Iterator<Item = &'a [u64]>,
    ) {
        let fields = self.edges.len();
        let Some(edges) = self.edges.get_mut(field) else { return };
        sample.sort_unstable_by(f64::total_cmp);
        let last = sample.len().saturating_sub(1);
        let mut found: Vec<f64> =
            (1..BINS).filter_map(|bin| sample.get(bin * last / BINS).copied()).collect();
        found.dedup();
        *edges = Some(found);
        self.open((fields..fields + self.keys).map(|key| (field, key)), rows);
    }

    /// Begins to measure whether a field predicts others, as far as that has not begun. `rows` came before and count.
    pub(super) fn begin_as_key<'a>(
        &mut self,
        field: usize,
        others: &[usize],
        rows: impl Iterator<Item = &'a [u64]>,
    ) {
        let is_new = |other: &usize| self.pairs.iter().all(|pair| (pair.field, pair.key) != (*other, field));
        let fresh: Vec<_> = others.iter().copied().filter(is_new).map(|other| (other, field)).collect();
        self.open(fresh.into_iter(), rows);
    }

    /// Takes in an event's row.
    pub(super) fn learn(&mut self, row: &[u64]) {
        self.learned += 1;
        if self.open > 0 {
            self.count(row, 0);
        }
    }

    /// The share of a field's entropy that a key explains, of its keys the largest; 0 while nothing is proven, below 0
    /// where a key misleads.
    pub(super) fn of(&self, field: usize) -> f64 {
        let pairs = self.pairs.iter().filter(|pair| pair.field == field && pair.key >= self.edges.len());
        pairs.filter_map(Pair::share).reduce(f64::max).unwrap_or(0.0)
    }

    /// Whether a field has proved to predict one of the others, after [`Self::begin_as_key`].
    pub(super) fn predicts(&self, field: usize, others: &[usize]) -> bool {
        let mut pairs = self.pairs.iter().filter(|pair| pair.key == field && others.contains(&pair.field));
        pairs.any(|pair| pair.plain - pair.given.min(pair.shy) > EVIDENCE)
    }

    /// Values, keys and combinations held, and how many were forgotten for want of room.
    pub(super) fn held(&self) -> (usize, u64) {
        let tables = self.pairs.iter().filter_map(|pair| pair.tables.as_ref());
        let each = tables.flat_map(|tables| [&tables.values, &tables.keys, &tables.joint]);
        each.fold((0, 0), |(held, gone), table| (held + table.len(), gone + table.evicted()))
    }

    fn open<'a>(
        &mut self,
        pairs: impl Iterator<Item = (usize, usize)>,
        rows: impl Iterator<Item = &'a [u64]>,
    ) {
        let start = self.pairs.len();
        let room = PAIRS.saturating_sub(start);
        self.pairs.extend(pairs.take(room).map(|(field, key)| Pair::new(field, key, self.keys_max)));
        self.open += self.pairs.len() - start;
        if self.pairs.len() > start {
            rows.for_each(|row| self.count(row, start));
        }
    }

    /// Takes a row into the pairs from number `start` on.
    fn count(&mut self, row: &[u64], start: usize) {
        let parts = self.pairs.len().div_ceil(AT_ONCE).max(1) as u64;
        let turn = self.learned / TURN;
        for (at, pair) in self.pairs.iter_mut().enumerate().skip(start) {
            let (Some(&value), Some(&key)) = (row.get(pair.field), row.get(pair.key)) else { continue };
            // Of some of a trade's values p(x) would be another than of all.
            let share = if pair.key < self.edges.len() { self.learned } else { key.wrapping_add(turn) };
            let has_turn = || share.wrapping_add(at as u64).is_multiple_of(parts);
            if pair.tables.is_none() || key == MISSING || !has_turn() {
                continue;
            }
            let coded = |value, column: usize| match (self.edges.get(column), places::number(value)) {
                (Some(Some(edges)), Some(x)) if !edges.is_empty() => {
                    edges.partition_point(|edge| *edge <= x) as u64
                }
                _ => value,
            };
            if pair.count(coded(value, pair.field), coded(key, pair.key)) {
                self.open -= 1;
            }
        }
    }
}

/// Events that a pair is measured over.
const EVENTS: u32 = 5_000;
/// How many events p(x) counts for within a key.
const SHRINKAGE: f64 = 2.0;
/// The same where it is only asked whether the key tells anything at all.
const SHY: f64 = 32.0;
/// Bins of a number.
const BINS: usize = 12;
/// Events before a share is believed.
const PROOF: u32 = 200;
/// Nats by which one code must be shorter than another to be believed: if it were no better, that had a chance of
/// e^-20 (Ville's inequality). A field unrelated to another loses, as each of its values has to be learned.
const EVIDENCE: f64 = 20.0;
/// A field of less entropy, in nats, has nothing to explain.
const ENTROPY_MIN: f64 = 0.05;
/// Pairs measured at all, and by one event.
const PAIRS: usize = 1_024;
const AT_ONCE: usize = 32;
/// Events after which a pair turns to other keys.
const TURN: u64 = 2_000;

/// A field and a key, by their columns.
#[derive(Debug)]
struct Pair {
    field: usize,
    key: usize,
    /// While it is being measured.
    tables: Option<Box<Tables>>,
    seen: u32,
    /// Sums of -ln p(x) and of -ln p(x | key), the latter also where p(x) counts for more.
    plain: f64,
    given: f64,
    shy: f64,
}

/// How often each value, key and combination came.
#[derive(Debug)]
struct Tables {
    values: Lru<f64>,
    keys: Lru<f64>,
    joint: Lru<f64>,
}

impl Pair {
    fn new(field: usize, key: usize, keys_max: usize) -> Self {
        let tables =
            Tables { values: Lru::new(keys_max), keys: Lru::new(keys_max), joint: Lru::new(keys_max) };
        Self { field, key, tables: Some(Box::new(tables)), seen: 0, plain: 0.0, given: 0.0, shy: 0.0 }
    }

    fn share(&self) -> Option<f64> {
        let proven = self.seen >= PROOF && self.plain > f64::from(self.seen) * ENTROPY_MIN;
        proven.then(|| 1.0 - self.given / self.plain)
    }

    /// Takes in an event; whether that was the last one.
    fn count(&mut self, value: u64, key: u64) -> bool {
        let Some(tables) = &mut self.tables else { return false };
        let both = lru::hash_pair(value, key);
        let held = |table: &Lru<f64>, at: u64| table.get(at).copied().unwrap_or(0.0);
        let kinds = tables.values.len() as f64 + 1.0;
        let plain = ((held(&tables.values, value) + 0.5 / kinds) / (f64::from(self.seen) + 0.5)).min(1.0);
        let own = held(&tables.keys, key);
        // A combination may outlive its key in a full table.
        let joint = held(&tables.joint, both).min(own);
        self.plain -= plain.ln();
        self.given -= ((joint + SHRINKAGE * plain) / (own + SHRINKAGE)).ln();
        self.shy -= ((joint + SHY * plain) / (own + SHY)).ln();
        *tables.values.entry(value, || 0.0) += 1.0;
        *tables.keys.entry(key, || 0.0) += 1.0;
        *tables.joint.entry(both, || 0.0) += 1.0;
        self.seen += 1;
        if self.seen >= EVENTS {
            self.tables = None;
        }
        self.tables.is_none()
    }
}

#[cfg(test)]
mod tests;
