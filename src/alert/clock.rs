//! The time of a lane, by what its events say.
//!
//! Events overtake each other, and some say nonsense: one date in the year 5138 must not stop the clock for ever, and a
//! first event that lies years ahead must not either. So time goes on with the latest event, but a leap further than
//! `leap_ms` is believed only when the next events confirm it. Until then a leap ahead counts as `leap_ms`: enough to
//! say that the lane was quiet. It must never ask a clock.

use crate::flow::Time;

/// Events in a row that make a leap ahead, or back, true.
const CONFIRM_AHEAD: u32 = 2;
const CONFIRM_BACK: u32 = 3;

/// What an event without any time counts for: as if ten came a second.
const UNTIMED_MS: i64 = 100;

#[derive(Debug)]
pub(super) struct Clock {
    now: Option<i64>,
    leap_ms: i64,
    /// Where a leap would lead, and how many events in a row have said so.
    pending: Option<(i64, u32)>,
}

impl Clock {
    pub(super) fn new(leap_ms: i64) -> Self {
        Self { now: None, leap_ms: leap_ms.max(1), pending: None }
    }

    /// The lane's time in milliseconds; 0 before the first event.
    pub(super) fn now(&self) -> i64 {
        self.now.unwrap_or(0)
    }

    /// Takes an event's time. Returns by how much the clock was set, beyond going on: whatever is remembered by this
    /// clock has to be moved by as much.
    pub(super) fn advance(&mut self, Time(time): Time) -> i64 {
        let Some(now) = self.now else {
            self.now = Some(time);
            return 0;
        };
        if time == 0 {
            self.now = Some(now.saturating_add(UNTIMED_MS));
            return 0;
        }
        if !self.is_leap(now, time) {
            self.pending = None;
            self.now = Some(now.max(time));
            return 0;
        }
        let agreed = match self.pending {
            Some((there, agreed)) if !self.is_leap(there, time) => agreed + 1,
            _ => 1,
        };
        if agreed >= if time > now { CONFIRM_AHEAD } else { CONFIRM_BACK } {
            self.pending = None;
            self.now = Some(time);
            return time.saturating_sub(now);
        }
        self.pending = Some((time, agreed));
        if time > now {
            self.now = Some(now.saturating_add(self.leap_ms));
        }
        0
    }

    fn is_leap(&self, from: i64, to: i64) -> bool {
        from.abs_diff(to) > self.leap_ms.unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(times: &[i64]) -> (i64, i64) {
        let mut clock = Clock::new(1_000);
        let set = times.iter().map(|time| clock.advance(Time(*time))).sum();
        (clock.now(), set)
    }

    #[test]
    fn goes_on_with_the_latest_event() {
        assert_eq!(clock(&[5_000, 5_900, 5_300, 6_100]), (6_100, 0));
    }

    #[test]
    fn one_event_of_the_far_future_or_past_moves_little() {
        assert_eq!(clock(&[5_000, i64::MAX, 5_100]), (6_000, 0));
        assert_eq!(clock(&[5_000, i64::MIN, 5_100, 1, 5_200]), (5_200, 0));
    }

    #[test]
    fn a_leap_that_is_confirmed_is_made() {
        assert_eq!(clock(&[5_000, 90_000, 90_100]), (90_100, 84_100));
        assert_eq!(clock(&[900_000, 5_000, 5_100]), (900_000, 0));
        assert_eq!(clock(&[900_000, 5_000, 5_100, 5_200]), (5_200, -894_800));
    }

    #[test]
    fn events_without_a_time_move_it_by_their_number() {
        assert_eq!(clock(&[0; 101]), (10_000, 0));
    }
}
