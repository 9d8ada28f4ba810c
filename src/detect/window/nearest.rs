//! The rows nearest to one row, kept exact while rows come and go.
//!
//! A list knows a `reach`: every row up to it is in the list. Rows that go are not looked for (that would cost a
//! pass over all lists); their entries are passed over when read and dropped when the list next changes. A list
//! that has lost too many is made anew by its owner. It must never hold more entries than it is told.

use std::cmp::Ordering;

/// A row at its distance. Ordered by distance, ties by fingerprint: an order that does not depend on history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Cosine distance, 0 to 2; never NaN.
    pub(super) distance: f32,
    pub(super) slot: u32,
    pub(super) fingerprint: u64,
}

impl Entry {
    fn order(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.fingerprint.cmp(&other.fingerprint))
    }
}

/// The nearest rows, nearest first, some of which may be gone.
#[derive(Debug, Default)]
pub(super) struct Nearest {
    entries: Vec<Entry>,
    /// Every row up to this one is in the list; without it, every row is.
    reach: Option<Entry>,
}

impl Nearest {
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether every row is in the list.
    pub(super) fn is_complete(&self) -> bool {
        self.reach.is_none()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.reach = None;
    }

    /// Makes the list anew from all rows, of which it keeps the `most` nearest.
    pub(super) fn fill(&mut self, all: impl Iterator<Item = Entry>, most: usize) {
        self.clear();
        for entry in all {
            self.put(entry, most);
        }
    }

    /// A new row has come; `is_live` says which of the others are still there.
    pub(super) fn offer(&mut self, entry: Entry, most: usize, is_live: impl Fn(&Entry) -> bool) {
        if self.is_within_reach(&entry) {
            self.entries.retain(is_live);
            self.put(entry, most);
        }
    }

    fn is_within_reach(&self, entry: &Entry) -> bool {
        self.reach.is_none_or(|reach| entry.order(&reach).is_le())
    }

    fn put(&mut self, entry: Entry, most: usize) {
        if !self.is_within_reach(&entry) {
            return;
        }
        if self.entries.len() >= most {
            if self.entries.last().is_none_or(|last| last.order(&entry).is_lt()) {
                self.reach = self.entries.last().copied();
                return;
            }
            self.entries.pop();
            let at = self.entries.partition_point(|other| other.order(&entry).is_lt());
            self.entries.insert(at, entry);
            self.reach = self.entries.last().copied();
            return;
        }
        let at = self.entries.partition_point(|other| other.order(&entry).is_lt());
        self.entries.insert(at, entry);
    }
}
