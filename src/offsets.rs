//! Knows which offsets of a lane are done, so which may be committed.
//!
//! An offset is done when its record is judged (or put aside) and every alert that it raised is acknowledged. Only
//! the contiguous front of done offsets may be committed: whatever comes after an open one is read again after a
//! restart. Offsets are sparse (control records, compaction): they are compared, never counted up. Only open offsets
//! are kept, so that one alert that nobody acknowledges costs nothing for the records judged after it.

use std::collections::{BTreeMap, VecDeque};

/// Checkpoints kept over the replay horizon: the horizon is exact to one part in this many.
const CHECKPOINTS: u64 = 16;

/// The open offsets of one lane, and from where its state can be rebuilt.
#[derive(Debug)]
pub struct Offsets {
    open: BTreeMap<i64, Open>,
    live_from: i64,
    last: Option<i64>,
    replay_events: u64,
    begun: u64,
    checkpoints: VecDeque<Checkpoint>,
    bytes: usize,
}

#[derive(Debug)]
struct Open {
    holds: u32,
    /// Records begun before it.
    ordinal: u64,
    bytes: usize,
}

/// A record from which reading again may start.
#[derive(Clone, Copy, Debug)]
struct Checkpoint {
    offset: i64,
    ordinal: u64,
}

impl Offsets {
    /// Nothing open. `live_from` is the first offset that may be committed over; `replay_events` how many records
    /// before a commit it takes to rebuild the lane's state there.
    pub fn new(live_from: i64, replay_events: u64) -> Self {
        let (open, checkpoints) = (BTreeMap::new(), VecDeque::new());
        Self { open, live_from, last: None, replay_events, begun: 0, checkpoints, bytes: 0 }
    }

    /// A record was taken in, held once; false (and nothing done) when its offset is not beyond the last one.
    /// Records before `live_from` only move the horizon.
    pub fn begin(&mut self, offset: i64) -> bool {
        if self.last.is_some_and(|last| offset <= last) {
            return false;
        }
        self.last = Some(offset);
        let ordinal = self.begun;
        self.begun += 1;
        if offset >= self.live_from {
            self.open.insert(offset, Open { holds: 1, ordinal, bytes: 0 });
        }
        if ordinal.is_multiple_of((self.replay_events / CHECKPOINTS).max(1)) {
            self.checkpoints.push_back(Checkpoint { offset, ordinal });
        }
        true
    }

    /// Notes how much memory an open record takes.
    pub fn weigh(&mut self, offset: i64, bytes: usize) {
        if let Some(open) = self.open.get_mut(&offset) {
            self.bytes = self.bytes - open.bytes + bytes;
            open.bytes = bytes;
        }
    }

    /// One more thing has to be acknowledged before the record is done; it is opened again if it was done.
    pub fn hold(&mut self, offset: i64) {
        let ordinal = self.begun;
        self.open.entry(offset).or_insert(Open { holds: 0, ordinal, bytes: 0 }).holds += 1;
    }

    /// One thing is done; false when the offset was not open.
    pub fn release(&mut self, offset: i64) -> bool {
        let Some(open) = self.open.get_mut(&offset) else { return false };
        open.holds -= 1;
        if open.holds == 0 {
            self.bytes -= open.bytes;
            self.open.remove(&offset);
            self.forget_checkpoints();
        }
        true
    }

    /// The next offset to read after a restart: all before it are done.
    pub fn committable(&self) -> i64 {
        let done = || self.last.map_or(self.live_from, |last| (last + 1).max(self.live_from));
        self.open.first_key_value().map_or_else(done, |(offset, _)| *offset)
    }

    /// The offset from which reading again rebuilds the state at the commit; none before the first record.
    pub fn replay_from(&self) -> Option<i64> {
        self.checkpoints.front().map(|checkpoint| checkpoint.offset)
    }

    /// Bytes of open records, as far as they were weighed.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets checkpoints that lie further back than a restart at the present commit would have to read.
    fn forget_checkpoints(&mut self) {
        let commit = self.open.first_key_value().map_or(self.begun, |(_, open)| open.ordinal);
        while self.checkpoints.get(1).is_some_and(|next| next.ordinal + self.replay_events <= commit) {
            self.checkpoints.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_only_the_contiguous_front() {
        let mut offsets = Offsets::new(10, 100);
        for offset in [10, 11, 15, 16] {
            assert!(offsets.begin(offset));
        }
        offsets.hold(11);
        assert!(offsets.release(16) && offsets.release(15) && offsets.release(11));
        assert_eq!(offsets.committable(), 10);
        offsets.release(10);
        assert_eq!(offsets.committable(), 11, "11 is still held once");
        offsets.release(11);
        assert_eq!(offsets.committable(), 17);
    }

    #[test]
    fn refuses_what_it_has_seen_and_ignores_what_is_not_open() {
        let mut offsets = Offsets::new(0, 100);
        assert!(offsets.begin(5));
        assert!(!offsets.begin(5) && !offsets.begin(4));
        assert!(!offsets.release(4));
        assert_eq!(offsets.committable(), 5);
        assert!(offsets.release(5) && !offsets.begin(5));
        assert_eq!(offsets.committable(), 6);
    }

    #[test]
    fn replayed_records_never_move_the_commit() {
        let mut offsets = Offsets::new(50, 100);
        for offset in 40..50 {
            offsets.begin(offset);
            offsets.release(offset);
        }
        assert_eq!((offsets.committable(), offsets.replay_from()), (50, Some(40)));
    }

    #[test]
    fn the_horizon_covers_what_was_asked_and_little_more() {
        let mut offsets = Offsets::new(0, 160);
        for offset in 0..10_000 {
            offsets.begin(offset * 2);
            offsets.release(offset * 2);
        }
        let records_back = 10_000 - offsets.replay_from().unwrap() / 2;
        assert!((160..=180).contains(&records_back), "{records_back}");
    }

    #[test]
    fn the_horizon_is_measured_from_the_commit_however_far_the_newest_record_is() {
        let mut offsets = Offsets::new(0, 160);
        for offset in 0..10_000 {
            offsets.begin(offset);
            // Its alert is never acknowledged.
            if offset != 1_000 {
                offsets.release(offset);
            }
        }
        let records_back = offsets.committable() - offsets.replay_from().unwrap();
        assert_eq!(offsets.committable(), 1_000);
        assert!((160..=180).contains(&records_back), "{records_back}");
        assert_eq!(offsets.open.len(), 1, "what is done is not kept");
    }

    #[test]
    fn weighs_what_is_open() {
        let mut offsets = Offsets::new(0, 160);
        for offset in 0..3 {
            offsets.begin(offset);
            offsets.weigh(offset, 100);
        }
        offsets.weigh(7, 100);
        offsets.release(1);
        assert_eq!(offsets.bytes(), 200);
    }
}
