//! How often an event has a value that its context never had, by how old the context is.
//!
//! A habit is as strong as it is seldom broken, and only counting tells: contexts of one pair of fields that have been seen
//! about as often are taken together, so that a rare one has the experience of others. (The escape probability of text
//! compression, estimated by context: Bloom, "Solving the problems of context modeling", 1998.) It must never be
//! told of the same break again and again: an outage would make all habits look weak.

/// Breaks by age of the context.
#[derive(Debug, Default)]
pub(super) struct Habits([Age; AGES]);

/// Contexts of one age.
#[derive(Clone, Copy, Debug, Default)]
struct Age {
    events: f64,
    breaks: f64,
}

impl Habits {
    /// Takes in whether an event broke the habit of a context of that many events, decayed.
    pub(super) fn observe(&mut self, mass: f64, broke: bool) {
        let age = &mut self.0[place(mass)];
        if age.events >= MEMORY {
            (age.events, age.breaks) = (age.events / 2.0, age.breaks / 2.0);
        }
        age.events += 1.0;
        age.breaks += f64::from(u8::from(broke));
    }

    /// -ln of the share of events that break the habit of such a context; that it is `expected` counts for [`DOUBT`]
    /// events.
    pub(super) fn nats(&self, mass: f64, expected: f64) -> f64 {
        let Age { events, breaks } = self.0[place(mass)];
        -((breaks + DOUBT * expected) / (events + DOUBT)).ln()
    }
}

/// Ages told apart: each of twice as many events as the one before.
const AGES: usize = 16;
/// Events after which an age forgets half.
const MEMORY: f64 = 5_000.0;
/// Events that what is expected counts for.
const DOUBT: f64 = 5.0;

#[expect(clippy::cast_sign_loss, reason = "the logarithm of what is at least 1")]
fn place(mass: f64) -> usize {
    (mass.max(1.0).log2() as usize).min(AGES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_habit_is_as_strong_as_it_is_seldom_broken() {
        let (mut strict, mut loose) = (Habits::default(), Habits::default());
        for event in 0..4_000 {
            strict.observe(40.0, false);
            loose.observe(40.0, event % 50 == 0);
        }
        assert!((loose.nats(40.0, 0.05) - 50_f64.ln()).abs() < 0.1, "{}", loose.nats(40.0, 0.05));
        assert!(strict.nats(40.0, 0.05) > 9.0);
        // Of contexts of another age nothing is known yet.
        assert!((strict.nats(400.0, 0.005) - 200_f64.ln()).abs() < 1e-9);
        assert!((strict.nats(f64::INFINITY, 0.5) - 2_f64.ln()).abs() < 1e-9);
        assert!(strict.nats(0.0, 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_was_long_ago_fades() {
        let mut habits = Habits::default();
        (0..600).for_each(|event| habits.observe(100.0, event % 2 == 0));
        assert!(habits.nats(100.0, 0.02) < 1.0);
        (0..30_000).for_each(|_| habits.observe(100.0, false));
        assert!(habits.nats(100.0, 0.02) > 6.0);
    }
}
