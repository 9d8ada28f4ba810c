//! The sliding window of one text field: the last events learned, repeats counted once, and how far a text lies
//! from them.
//!
//! A log repeats itself: a window of a million events may hold twenty texts. So a row is a *distinct* text (by
//! [`Place::fingerprint`]) with a count, and an event costs four bytes besides. A text that is in the window
//! is never held against all rows: its row keeps a list of its nearest rows, which a new row's one scan keeps
//! exact for everybody. Only a text never seen costs a scan, once.
//!
//! It must never give another answer than a scan of all rows would, and never hold more rows, events or list
//! entries than it was made for.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::flow::{Embedding, Meaning};

mod nearest;
mod vectors;

use nearest::{Entry, Nearest};
use vectors::Vectors;

/// No row.
const NONE: u32 = u32::MAX;
/// Rows in a list of nearest ones at least, where there are as many: an alert shows some of them.
const LIST_MIN: usize = 8;

/// What a window knows a text by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Equal for texts that share a row.
    pub(crate) fingerprint: u64,
    /// Unit length.
    pub(crate) vector: &'a [f32],
}

impl<'a> From<&'a Embedding> for Place<'a> {
    fn from(embedding: &'a Embedding) -> Self {
        Self { fingerprint: embedding.fingerprint, vector: &embedding.vector }
    }
}

impl<'a> From<&'a Meaning> for Place<'a> {
    fn from(meaning: &'a Meaning) -> Self {
        Self { fingerprint: meaning.fingerprint, vector: &meaning.vector }
    }
}

/// A row that lies near the text last asked about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Near<'a> {
    /// The row's text, as last seen.
    pub(crate) text: &'a Arc<str>,
    /// Cosine distance, 0 to 2.
    pub(crate) distance: f64,
    /// Offset where it was last seen.
    pub(crate) offset: i64,
    /// How often the window holds it.
    pub(crate) count: u64,
}

/// One distinct text.
#[derive(Debug)]
struct Row {
    fingerprint: u64,
    text: Arc<str>,
    offset: i64,
    /// Events in the window; 0 where the slot is vacant.
    count: u32,
    /// Events in the window that belong to former owners of the slot. They are older than any of the owner's own.
    orphans: u32,
    /// 1 + ln count.
    weight: f64,
    /// Neighbours in the order in which rows were last seen.
    older: u32,
    newer: u32,
}

/// The text last asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Row(u32),
    Unseen,
}

/// A scan for a text that is in no row, kept for the case that it is asked again or learned.
#[derive(Debug, Default)]
struct Scan {
    fingerprint: u64,
    /// What `Window::version` was.
    version: Option<u64>,
    /// By slot.
    distances: Vec<f32>,
    nearest: Nearest,
}

/// The last events learned, as distinct texts.
#[derive(Debug)]
pub(crate) struct Window {
    events_max: usize,
    rows_max: usize,
    list_max: usize,
    /// Weight of neighbours asked; the most of it where it follows the number of rows.
    neighbours: f64,
    /// Share of the rows that is asked, and the least weight, where it follows their number.
    share: Option<(f64, f64)>,
    /// Slots of the events, oldest first.
    events: VecDeque<u32>,
    slots: HashMap<u64, u32, BuildHasherDefault<Mixed>>,
    // By slot.
    rows: Vec<Row>,
    nearest: Vec<Nearest>,
    vectors: Vectors,
    vacant: Vec<u32>,
    /// Least recently seen row.
    oldest: u32,
    /// Most recently seen row.
    newest: u32,
    /// Changes whenever a row comes or goes.
    version: u64,
    scan: Scan,
    asked: Asked,
}

impl Window {
    /// An empty window of at most `events_max` events and `rows_max` distinct texts, asked for the mean distance
    /// to rows of weight `neighbours`.
    pub(crate) fn new(events_max: usize, rows_max: usize, neighbours: f64) -> Self {
        let neighbours = if neighbours.is_finite() { neighbours.max(1.0) } else { 1.0 };
        let rows_max = rows_max.clamp(1, NONE as usize - 1);
        // A row weighs at least 1, so `neighbours` of them always serve. Half as many more, and some at least, so that a
        // list outlives the eviction of some of its rows and is rarely made anew.
        let list_max = rows_max.min(whole(neighbours * 1.5).max(LIST_MIN)) + 1;
        Self {
            events_max: events_max.clamp(1, NONE as usize),
            rows_max,
            list_max,
            neighbours,
            share: None,
            events: VecDeque::new(),
            slots: HashMap::default(),
            rows: Vec::new(),
            nearest: Vec::new(),
            vectors: Vectors::new(rows_max),
            vacant: Vec::new(),
            oldest: NONE,
            newest: NONE,
            version: 0,
            scan: Scan::default(),
            asked: Asked::Nothing,
        }
    }

    /// The same, but asked for a share of the rows there are, between `least` and `most` of them: so a window that is
    /// filling up gives distances of the same size.
    pub(crate) fn sharing(events_max: usize, rows_max: usize, share: f64, [least, most]: [f64; 2]) -> Self {
        let neighbours = (share * rows_max as f64).clamp(least, most);
        Self { share: Some((share, least)), ..Self::new(events_max, rows_max, neighbours) }
    }

    /// Mean cosine distance to the nearest rows, each weighted 1 + ln of its count, until the weights sum to
    /// `neighbours`; the last row's weight is cut to fit. Over all rows where they weigh less. `None` when empty.
    ///
    /// A row with the text's own fingerprint is a row as any other, at distance 0.
    pub(crate) fn distance<'a>(&mut self, text: impl Into<Place<'a>>) -> Option<f64> {
        let embedding = text.into();
        self.asked = Asked::Nothing;
        if self.slots.is_empty() {
            return None;
        }
        let Some(&slot) = self.slots.get(&embedding.fingerprint) else {
            self.scan_for(embedding);
            self.asked = Asked::Unseen;
            return self.mean(None, &self.scan.nearest).map(|(mean, _)| mean);
        };
        self.asked = Asked::Row(slot);
        if let Some((mean, true)) = self.mean(Some(slot), &self.nearest[slot as usize]) {
            return Some(mean);
        }
        self.refill(slot);
        self.mean(Some(slot), &self.nearest[slot as usize]).map(|(mean, _)| mean)
    }

    /// Up to `most` rows nearest to the text last asked about, nearest first.
    pub(crate) fn nearest(&self, most: usize) -> impl Iterator<Item = Near<'_>> {
        let (own, list) = match self.asked {
            Asked::Nothing => (None, None),
            Asked::Row(slot) => (Some((slot, 0.0)), self.nearest.get(slot as usize)),
            Asked::Unseen => (None, Some(&self.scan.nearest)),
        };
        let listed = list.into_iter().flat_map(Nearest::entries);
        let listed = listed.filter(|entry| is_live(&self.rows, entry));
        own.into_iter()
            .chain(listed.map(|entry| (entry.slot, entry.distance)))
            .filter_map(|(slot, distance)| self.rows.get(slot as usize).map(|row| (row, distance)))
            .map(|(row, distance)| Near {
                text: &row.text,
                distance: f64::from(distance),
                offset: row.offset,
                count: u64::from(row.count),
            })
            .take(most)
    }

    /// Takes an event in; forgets the oldest event and the text longest unseen where there are too many.
    pub(crate) fn learn<'a>(&mut self, at: impl Into<Place<'a>>, text: &Arc<str>, offset: i64) {
        let embedding = at.into();
        self.asked = Asked::Nothing;
        let slot = if let Some(&slot) = self.slots.get(&embedding.fingerprint) {
            self.unlink(slot);
            slot
        } else {
            self.insert(embedding)
        };
        let row = &mut self.rows[slot as usize];
        row.text = Arc::clone(text);
        row.offset = offset;
        row.set_count(row.count + 1);
        self.link(slot);
        self.events.push_back(slot);
        if self.events.len() > self.events_max {
            self.forget_event();
        }
    }

    /// Distinct texts in the window.
    pub(crate) fn rows(&self) -> usize {
        self.slots.len()
    }

    /// The mean over a list, and whether the list was long enough for it.
    fn mean(&self, own: Option<u32>, list: &Nearest) -> Option<(f64, bool)> {
        let wanted = match self.share {
            Some((share, least)) => (share * self.slots.len() as f64).max(least).min(self.neighbours),
            None => self.neighbours,
        };
        let (mut left, mut sum) = (wanted, 0.0);
        if let Some(slot) = own {
            left -= self.rows[slot as usize].weight.min(left);
        }
        for entry in list.entries() {
            if left <= 0.0 {
                break;
            }
            if is_live(&self.rows, entry) {
                let weight = self.rows[entry.slot as usize].weight.min(left);
                sum += weight * f64::from(entry.distance);
                left -= weight;
            }
        }
        let total = wanted - left;
        (total > 0.0).then(|| (sum / total, left <= 0.0 || list.is_complete()))
    }

    /// Holds a text that is in no row against all rows, unless that was the last thing done.
    fn scan_for(&mut self, embedding: Place<'_>) {
        if self.scan.version == Some(self.version) && self.scan.fingerprint == embedding.fingerprint {
            return;
        }
        self.scan.version = Some(self.version);
        self.scan.fingerprint = embedding.fingerprint;
        self.vectors.distances(embedding.vector, &mut self.scan.distances);
        let entries = entries(&self.rows, &self.scan.distances);
        self.scan.nearest.fill(entries, self.list_max);
    }

    /// Makes the list of a row anew.
    fn refill(&mut self, slot: u32) {
        // The distances of a kept scan are overwritten.
        self.scan.version = None;
        self.vectors.distances_of(slot as usize, &mut self.scan.distances);
        let entries = entries(&self.rows, &self.scan.distances).filter(|entry| entry.slot != slot);
        self.nearest[slot as usize].fill(entries, self.list_max);
    }

    /// Makes a row for a text that has none, with its list, and tells the lists of all others.
    fn insert(&mut self, embedding: Place<'_>) -> u32 {
        self.scan_for(embedding);
        if self.slots.len() >= self.rows_max {
            self.evict();
        }
        let Self { rows, nearest, scan, .. } = self;
        let slot = self.vacant.pop().unwrap_or_else(|| {
            rows.push(Row::vacant());
            nearest.push(Nearest::default());
            rows.len() as u32 - 1
        });
        let fingerprint = embedding.fingerprint;
        // The slot is still vacant here, so that what lists hold of its former owners counts as gone.
        for ((list, row), &distance) in nearest.iter_mut().zip(rows.iter()).zip(&scan.distances) {
            if row.count > 0 {
                let entry = Entry { distance, slot, fingerprint };
                list.offer(entry, self.list_max, |other| is_live(rows, other));
            }
        }
        std::mem::swap(&mut nearest[slot as usize], &mut scan.nearest);
        scan.version = None;
        rows[slot as usize].fingerprint = fingerprint;
        self.vectors.put(slot as usize, embedding.vector);
        self.slots.insert(fingerprint, slot);
        self.version += 1;
        slot
    }

    /// Forgets the text longest unseen; its events stay in the count of events.
    fn evict(&mut self) {
        let slot = self.oldest;
        if let Some(row) = self.rows.get_mut(slot as usize) {
            row.orphans += row.count;
            self.vacate(slot);
        }
    }

    /// Forgets the oldest event, and its text with the last event of it.
    fn forget_event(&mut self) {
        let Some(slot) = self.events.pop_front() else { return };
        let row = &mut self.rows[slot as usize];
        if row.orphans > 0 {
            row.orphans -= 1;
        } else if row.count > 1 {
            row.set_count(row.count - 1);
        } else {
            self.vacate(slot);
        }
    }

    fn vacate(&mut self, slot: u32) {
        self.unlink(slot);
        let row = &mut self.rows[slot as usize];
        self.slots.remove(&row.fingerprint);
        *row = Row { orphans: row.orphans, ..Row::vacant() };
        self.nearest[slot as usize].clear();
        self.vacant.push(slot);
        self.version += 1;
    }

    fn unlink(&mut self, slot: u32) {
        let Row { older, newer, .. } = self.rows[slot as usize];
        match self.rows.get_mut(older as usize) {
            Some(row) => row.newer = newer,
            None => self.oldest = newer,
        }
        match self.rows.get_mut(newer as usize) {
            Some(row) => row.older = older,
            None => self.newest = older,
        }
    }

    /// Makes a row the one most recently seen.
    fn link(&mut self, slot: u32) {
        let older = std::mem::replace(&mut self.newest, slot);
        match self.rows.get_mut(older as usize) {
            Some(row) => row.newer = slot,
            None => self.oldest = slot,
        }
        let row = &mut self.rows[slot as usize];
        (row.older, row.newer) = (older, NONE);
    }
}

impl Row {
    fn vacant() -> Self {
        let text = Arc::from("");
        Self { fingerprint: 0, text, offset: 0, count: 0, orphans: 0, weight: 0.0, older: NONE, newer: NONE }
    }

    fn set_count(&mut self, count: u32) {
        self.count = count;
        self.weight = 1.0 + f64::from(count).ln();
    }
}

/// Whether the row an entry speaks of is still there.
fn is_live(rows: &[Row], entry: &Entry) -> bool {
    rows.get(entry.slot as usize).is_some_and(|row| row.count > 0 && row.fingerprint == entry.fingerprint)
}

/// The next whole number, of a positive one.
#[expect(clippy::cast_sign_loss, reason = "called with what is at least 1")]
fn whole(number: f64) -> usize {
    number.ceil() as usize
}

/// All rows, at their distances.
fn entries<'a>(rows: &'a [Row], distances: &'a [f32]) -> impl Iterator<Item = Entry> + 'a {
    let present = rows.iter().zip(distances).enumerate().filter(|(_, (row, _))| row.count > 0);
    present.map(|(slot, (row, &distance))| Entry {
        distance,
        slot: slot as u32,
        fingerprint: row.fingerprint,
    })
}

/// Fingerprints are hashes already: one multiplication spreads them over both ends of the word.
#[derive(Debug, Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
