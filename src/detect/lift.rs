//! How often two fields of two channels are loud at once, over chance.
//!
//! A view of texts that is right now and then agrees with other views then; one that sees nothing agrees by chance.
//! So lift = share of events where both are among their strangest twentieth, over the product of the shares of each,
//! says without labels how much a channel that cannot judge itself may count for. It is counted over the last events, with
//! one event more where one is expected, so that a handful says nothing. It must never know which channels these are.

use std::collections::VecDeque;

/// Two channels' loudness, event by event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lift {
    /// The last events, oldest first: bit 0 for the one, bit 1 for the other.
    loud: VecDeque<u8>,
    /// How many events there are of each kind.
    counts: [u32; 4],
}

impl Lift {
    /// Takes an event in, by the surprise in nats of both.
    pub(crate) fn observe(&mut self, one: f64, other: f64) {
        let kind = u8::from(one >= LOUD) | u8::from(other >= LOUD) << 1;
        self.loud.push_back(kind);
        self.counts[usize::from(kind & 3)] += 1;
        if self.loud.len() > EVENTS
            && let Some(gone) = self.loud.pop_front()
        {
            self.counts[usize::from(gone & 3)] -= 1;
        }
    }

    /// Events with both loud, over those expected by chance; 1 where nothing is known.
    pub(crate) fn lift(&self) -> f64 {
        let [_, one, other, both] = self.counts.map(f64::from);
        let expected = (one + both) * (other + both) / (self.loud.len() as f64).max(1.0);
        (both + 1.0) / (expected + 1.0)
    }

    /// What the one may count for beside the other: a fifth of the lift, between .3 and 1.
    pub(crate) fn weight(&self) -> f64 {
        (self.lift() / LIFT_FULL).clamp(WEIGHT_MIN, 1.0)
    }
}

/// Events remembered.
const EVENTS: usize = 5_000;
/// Surprise of the strangest twentieth of events, nats: ln 20.
const LOUD: f64 = 2.995_732_273_553_991;
/// Lift that gives full weight, and the least weight; measured on streams of texts from two sources.
const LIFT_FULL: f64 = 5.0;
const WEIGHT_MIN: f64 = 0.3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::lru::hash_pair;

    #[test]
    fn agreement_lifts_and_chance_does_not_and_old_events_go() {
        let mut lift = Lift::default();
        assert!((lift.lift() - 1.0).abs() < 1e-9 && (lift.weight() - 0.3).abs() < 1e-9);
        let nats = |seed: u64, event: u64| if hash_pair(seed, event).is_multiple_of(20) { 4.0 } else { 1.0 };
        for event in 0..20_000 {
            lift.observe(nats(1, event), nats(2, event));
        }
        assert!((0.4..2.0).contains(&lift.lift()), "{}", lift.lift());
        for event in 0..5_000 {
            lift.observe(nats(3, event), nats(3, event));
        }
        // All of a twentieth agree: 250 events, where 12.5 are expected.
        assert!((15.0..22.0).contains(&lift.lift()), "{}", lift.lift());
        assert!((lift.weight() - 1.0).abs() < 1e-9);
        assert_eq!(lift.loud.len(), 5_000);
        assert_eq!(lift.counts.iter().sum::<u32>(), 5_000);
    }
}
