//! Whether a context helps: how much better it predicts, measured without labels.
//!
//! An amount may be odd for this customer, or the customer may say nothing about amounts; a context that says
//! nothing only dilutes. So the running mean of ln p(x | context) - ln p(x), each event predicted before it is
//! learned (prequential: Dawid, "Statistical theory: the prequential approach", JRSS A 1984), decides whether a
//! context joins. It must never be fed an event that the guard kept out.

/// Running mean of a log-likelihood ratio, in nats an event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gain {
    count: u32,
    mean: f64,
}

impl Gain {
    /// Takes in one event's ln p(x | context) - ln p(x). Only events whose context has been seen before tell
    /// anything.
    pub(crate) fn add(&mut self, nats: f64) {
        self.count = (self.count + 1).min(MEMORY);
        self.mean += (nats.clamp(-LOSS_MAX, GAIN_MAX) - self.mean) / f64::from(self.count);
    }

    /// Whether the context has proved to gain more than so many nats.
    pub(crate) fn above(&self, nats: f64) -> bool {
        self.count >= PROOF && self.mean > nats
    }

    /// The gain in nats an event, if it is believed and above so many.
    pub(crate) fn proven(&self, nats: f64) -> Option<f64> {
        self.above(nats).then_some(self.mean)
    }

    /// For ranking contexts: the gain, or 0 (better than a proven loss) while nothing is proven.
    pub(crate) fn rank(&self) -> f64 {
        if self.count >= PROOF { self.mean } else { 0.0 }
    }
}

/// Events that the mean forgets over.
const MEMORY: u32 = 5_000;
/// Events before the mean is believed: a mean of 200 ratios, each of the order of 1 nat, is good to .1 nats.
const PROOF: u32 = 200;
/// No single event may gain more, in nats: a gain must be a habit.
const GAIN_MAX: f64 = 5.0;
/// No single event may lose more. A law too sure of itself loses much at a few events, and must not be believed: so
/// losses weigh more than gains; but a drift that wrongs every law once must not silence a context for good.
const LOSS_MAX: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_habit_proves_a_gain_and_one_event_does_not() {
        let mut gain = Gain::default();
        gain.add(1e9);
        assert!(!gain.above(0.1));
        for _ in 0..300 {
            gain.add(-0.1);
        }
        assert!(!gain.above(0.0) && gain.rank() < 0.0);
        for _ in 0..5_000 {
            gain.add(0.5);
        }
        assert!(gain.above(0.3));
    }
}
