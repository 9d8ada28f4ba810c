//! Knows which offsets of a lane are done, so which may be committed.
//!
//! An offset is done when its record is judged (or put aside) and every alert that it raised is acknowledged. Only
//! the contiguous front of done offsets may be committed: whatever comes after an open one is read again after a
//! restart. Offsets are sparse (control records, compaction): they are compared, never counted up.

use std::collections::VecDeque;

/// Checkpoints kept over the replay horizon: the horizon is exact to one part in this many.
const CHECKPOINTS: u64 = 16;

/// The open offsets of one lane, and from where its state can be rebuilt.
#[derive(Debug)]
pub struct Offsets {
    open: VecDeque<Open>,
    /// What may be committed while nothing is open.
    next: i64,
    horizon_step: u64,
    begun: u64,
    checkpoints: VecDeque<i64>,
}

#[derive(Debug)]
struct Open {
    offset: i64,
    holds: u32,
}

impl Offsets {
    /// Nothing open. `live_from` is the first offset that may be committed over; `replay_events` how many records
    /// before the newest it takes to rebuild the lane's state.
    pub fn new(live_from: i64, replay_events: u64) -> Self {
        Self {
            open: VecDeque::new(),
            next: live_from,
            horizon_step: (replay_events / CHECKPOINTS).max(1),
            begun: 0,
            checkpoints: VecDeque::new(),
        }
    }

    /// A record was taken in, held once; false (and nothing done) when its offset is not beyond the last one.
    /// Records before `live_from` only move the horizon.
    pub fn begin(&mut self, offset: i64) -> bool {
        if self.open.back().is_some_and(|last| offset <= last.offset) {
            return false;
        }
        if self.begun.is_multiple_of(self.horizon_step) {
            if self.checkpoints.len() as u64 > CHECKPOINTS {
                self.checkpoints.pop_front();
            }
            self.checkpoints.push_back(offset);
        }
        self.begun += 1;
        if offset >= self.next {
            self.open.push_back(Open { offset, holds: 1 });
        }
        true
    }

    /// One more thing has to be acknowledged before the record is done.
    pub fn hold(&mut self, offset: i64) {
        if let Some(open) = self.find(offset) {
            open.holds += 1;
        }
    }

    /// One thing is done; false when the offset was not open.
    pub fn release(&mut self, offset: i64) -> bool {
        let Some(open) = self.find(offset) else { return false };
        open.holds = open.holds.saturating_sub(1);
        while self.open.front().is_some_and(|front| front.holds == 0) {
            if let Some(done) = self.open.pop_front() {
                self.next = done.offset + 1;
            }
        }
        true
    }

    /// The next offset to read after a restart: all before it are done.
    pub fn committable(&self) -> i64 {
        self.next
    }

    /// The offset from which reading again rebuilds the state at the newest record; none before the first record.
    pub fn replay_from(&self) -> Option<i64> {
        self.checkpoints.front().copied()
    }

    /// Offsets begun and not done.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    fn find(&mut self, offset: i64) -> Option<&mut Open> {
        let at = self.open.binary_search_by_key(&offset, |open| open.offset).ok()?;
        self.open.get_mut(at)
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
        assert_eq!(offsets.open_count(), 0);
    }

    #[test]
    fn refuses_what_it_has_seen_and_ignores_what_is_not_open() {
        let mut offsets = Offsets::new(0, 100);
        assert!(offsets.begin(5));
        assert!(!offsets.begin(5) && !offsets.begin(4));
        assert!(!offsets.release(4));
        assert_eq!(offsets.committable(), 0);
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
}
