//! How often something came, older events counting less.
//!
//! A count is kept as it was when it last rose and decayed when it is read, so that nothing has to be done for values that
//! do not come. Must never be read by a clock that went back.

/// log2 of what an event's weight falls by at each event after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decay(pub(super) f64);

impl Decay {
    pub(super) fn over(self, events: u64) -> f64 {
        (self.0 * events as f64).exp2()
    }

    pub(super) fn half_lives(self, events: u64) -> f64 {
        -self.0 * events as f64
    }
}

/// A decayed count, as it was when its clock last stood at `at`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) mass: f64,
    pub(super) at: u64,
    pub(super) seen: u64,
    /// Where its clock stood when it last came, learned or not; from 1.
    pub(super) met: u64,
}

impl Count {
    /// Whether it has not come for so long that it might as well be new.
    pub(super) fn is_unheard(self, clock: u64, decay: Decay) -> bool {
        self.met == 0 || decay.half_lives((clock + 1).saturating_sub(self.met)) > UNHEARD
    }

    pub(super) fn now(self, clock: u64, decay: Decay) -> f64 {
        self.mass * decay.over(clock.saturating_sub(self.at))
    }

    pub(super) fn add(&mut self, clock: u64, decay: Decay) {
        *self = Self { mass: self.now(clock, decay) + 1.0, at: clock, seen: self.seen + 1, ..*self };
    }
}

/// Events of one key, decayed by its own events: a key seen once a day is not forgotten by noon.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Total {
    pub(super) mass: f64,
    pub(super) events: u64,
}

impl Total {
    pub(super) fn add(&mut self, decay: Decay) {
        *self = Self { mass: self.mass * decay.over(1) + 1.0, events: self.events + 1 };
    }
}

/// Half-lives after which it is as if a context never had had a value.
const UNHEARD: f64 = 2.0;
