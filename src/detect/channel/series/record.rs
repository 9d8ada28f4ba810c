//! The largest deviations that a series has shown, and how high a new one ranks among them.
//!
//! A deviation says little in itself: one series jumps every night, another never moved. Its rank among the largest
//! ones of its own series needs no law and no unit: of n deviations one ranks first with a chance of 1/n, whatever
//! they measure (Rényi, "Théorie des éléments saillants d'une suite d'observations", 1962). Older ones count less,
//! with a half-life of [`HALF_LIFE`] events. Of those within [`GAP`] events of each other only the largest stays: a
//! jump is one occurrence, however many values it takes to pass. Beyond the records held ranks go on along a tail of
//! power 2 (a Pareto law with finite mean, infinite variance), upwards and downwards, so that a tenfold record
//! outranks a record.
//!
//! Deviations are held as logarithms in single precision: any finite number has one, and a ratio is a difference.
//! It must never hold more than [`HELD_MAX`] of them.

/// The largest deviations, largest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    held: Vec<Record>,
    /// When the last of them came.
    latest: u32,
    /// Of all that are held, as of the last event.
    weight: f64,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    log: f32,
    when: u32,
}

impl Records {
    /// Rank of a deviation, given as its logarithm, at event `now`, the one after the last learned: 1 for the
    /// second to reach the record were all others forgotten, below 1 above the record; ties count against it. From
    /// [`RANK_MIN`] to [`RANK_MAX`].
    pub(super) fn rank(&self, log: f32, now: u32) -> f64 {
        let above = self.above(log);
        let rank = match (self.held.first(), self.held.get(HELD_MAX - 1)) {
            (None, _) => 1.0,
            (Some(largest), _) if above == 0 => power(largest.log, log),
            (_, Some(least)) if above == HELD_MAX => (1.0 + self.weight * decay(1)) * power(least.log, log),
            _ => 1.0 + self.held[..above].iter().map(|held| decay(now.wrapping_sub(held.when))).sum::<f64>(),
        };
        rank.clamp(RANK_MIN, RANK_MAX)
    }

    /// How many of those held are at least as large.
    pub(super) fn above(&self, log: f32) -> usize {
        self.held.partition_point(|held| held.log >= log)
    }

    /// The logarithm of the one held that has so many before it.
    pub(super) fn nth(&self, at: usize) -> Option<f32> {
        self.held.get(at).map(|held| held.log)
    }

    /// Takes in the deviation of event `now`, the one after the last learned.
    pub(super) fn learn(&mut self, log: f32, now: u32) {
        self.weight *= decay(1);
        // All are more than a gap apart, so only the latest can be near.
        if !self.held.is_empty() && now.wrapping_sub(self.latest) <= GAP {
            let near = self.held.iter().position(|held| held.when == self.latest);
            let Some(near) = near.filter(|&near| self.held[near].log < log) else { return };
            self.held.remove(near);
        }
        // Records of long ago count little; were they held for ever, a series of bounded steps would in the end have no
        // record that counts, and every step would be one.
        if self.held.len() == HELD_MAX && self.weight <= HELD_MAX as f64 / 2.0 {
            let oldest = (0..HELD_MAX).max_by_key(|at| now.wrapping_sub(self.held[*at].when));
            self.held.remove(oldest.unwrap_or_default());
        }
        let at = self.above(log);
        if at == HELD_MAX {
            return;
        }
        self.held.truncate(HELD_MAX - 1);
        if self.held.len() == self.held.capacity() {
            self.held.reserve_exact((self.held.len() + 4).min(HELD_MAX) - self.held.len());
        }
        self.held.insert(at, Record { log, when: now });
        self.latest = now;
        self.weight = self.held.iter().map(|held| decay(now.wrapping_sub(held.when))).sum();
    }
}

/// Records held of each kind.
pub(super) const HELD_MAX: usize = 16;
/// Events of the series within which two records are one occurrence.
pub(super) const GAP: u32 = 10;
/// Events of the series after which a record counts half.
pub(super) const HALF_LIFE: f64 = 20_000.0;
/// A record is not made more of than a hundredfold: a series that never moved has no scale to say how far it moved.
pub(super) const RANK_MIN: f64 = 1e-4;
/// Beyond this every deviation is as ordinary.
pub(super) const RANK_MAX: f64 = 1e6;

/// What a record counts after so many events.
fn decay(events: u32) -> f64 {
    (-f64::from(events) / HALF_LIFE).exp2()
}

/// Rank of a deviation that is not among the records, from the nearest that is, by the tail's power.
fn power(held: f32, log: f32) -> f64 {
    (2.0 * (f64::from(held) - f64::from(log))).exp()
}
