//! Turns a value into nats: -ln of the share of recent values that lie as high.
//!
//! The two surprises of a text have units and tails of their own; only so made comparable may the larger be taken
//! (standardised instead, average precision on a labelled system log falls by a third). A decayed histogram gives
//! the body; above its .95 quantile a generalised Pareto tail, fitted by moments (Hosking & Wallis, Technometrics
//! 1987), tells apart values that no one has seen. This ranks a text's two sides against each other; whoever needs
//! a p-value calibrates again. It must stay cheap: fitted once in a while, constant work between.

const BINS: usize = 512;
/// Events before the first fit, and between fits.
const FIRST_FIT: u64 = 100;
const FITS: u64 = 50;
/// Share of values in the tail.
const TAIL: f64 = 0.05;
/// Values in the tail without which its shape is taken to be exponential.
const SHAPED: f64 = 5.0;
/// Bounds of the tail's shape: between exponential and a variance that still exists.
const SHAPE_MAX: f64 = 0.4;
/// Weight of one event at which all are scaled back.
const WEIGHT_MAX: f64 = 1e12;

/// Decayed distribution of a value.
#[derive(Debug)]
pub(super) struct Rarity {
    low: f64,
    step: f64,
    /// In units of `weight`.
    bins: Box<[f64]>,
    weight: f64,
    growth: f64,
    events: u64,
    fit: Option<Fit>,
}

/// What was normal when last looked at.
#[derive(Debug)]
struct Fit {
    /// Decayed number of values at or above the low end of each bin, and 0.
    above: Box<[f64]>,
    threshold: f64,
    shape: f64,
    scale: f64,
    /// Share of values above the threshold.
    share: f64,
}

impl Rarity {
    /// Knows nothing. Values of `low` to `high` are told apart in the body; values halve in `half_life` events.
    pub(super) fn new(low: f64, high: f64, half_life: f64) -> Self {
        Self {
            low,
            step: (high - low) / BINS as f64,
            bins: vec![0.0; BINS].into(),
            weight: 1.0,
            growth: (1.0 / half_life.max(1.0)).exp2(),
            events: 0,
            fit: None,
        }
    }

    /// Nats; `None` before there is something to go by.
    pub(super) fn nats(&self, value: f64) -> Option<f64> {
        let fit = self.fit.as_ref()?;
        if value > fit.threshold {
            let excess = (value - fit.threshold) / fit.scale;
            let ln_survival =
                if fit.shape < 1e-3 { -excess } else { -(fit.shape * excess).ln_1p() / fit.shape };
            return Some(-(fit.share.ln() + ln_survival));
        }
        let (bin, within) = self.place(value);
        let above = fit.above[bin] * (1.0 - within) + fit.above[bin + 1] * within;
        Some(-((above + 1.0) / (fit.above[0] + 1.0)).ln())
    }

    /// Takes a value in.
    pub(super) fn learn(&mut self, value: f64) {
        self.weight *= self.growth;
        if self.weight > WEIGHT_MAX {
            self.bins.iter_mut().for_each(|bin| *bin /= self.weight);
            self.weight = 1.0;
        }
        self.bins[self.place(value).0] += self.weight;
        self.events += 1;
        if self.events >= FIRST_FIT && self.events.is_multiple_of(FITS) {
            let above = self.fit.take().map_or_else(|| vec![0.0; BINS + 1].into(), |fit| fit.above);
            self.fit = Some(self.fitted(above));
        }
    }

    /// Bin (always one there is) and place within it.
    #[expect(clippy::cast_sign_loss, reason = "clamped to what is positive")]
    fn place(&self, value: f64) -> (usize, f64) {
        let place = ((value - self.low) / self.step).clamp(0.0, BINS as f64 - 1e-6);
        (place as usize, place.fract())
    }

    /// The fit to what there is now; `above` is where its counts go.
    fn fitted(&self, mut above: Box<[f64]>) -> Fit {
        above[BINS] = 0.0;
        for bin in (0..BINS).rev() {
            above[bin] = above[bin + 1] + self.bins[bin] / self.weight;
        }
        let first = above.iter().position(|&above_it| above_it <= TAIL * above[0]).unwrap_or(BINS);
        let in_tail = above[first].max(1.0);
        let (mut mean, mut square) = (0.0, 0.0);
        for bin in first..BINS {
            let excess = ((bin - first) as f64 + 0.5) * self.step;
            let share = self.bins[bin] / self.weight / in_tail;
            mean += share * excess;
            square += share * excess * excess;
        }
        let mean = mean.max(self.step / 2.0);
        let variance = if above[first] > SHAPED { square - mean * mean } else { mean * mean };
        let shape = (0.5 * (1.0 - mean * mean / variance.max(1e-12))).clamp(0.0, SHAPE_MAX);
        Fit {
            threshold: self.low + first as f64 * self.step,
            shape,
            scale: mean * (1.0 - shape),
            share: in_tail / above[0].max(1.0),
            above,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nats_are_the_share_of_values_as_high_and_go_on_beyond_them() {
        let mut rarity = Rarity::new(0.0, 16.0, 10_000.0);
        assert_eq!(rarity.nats(1.0), None);
        // Exponential with mean 1, by its quantiles in a scattered order.
        for event in 0..10_000_u32 {
            let share = (f64::from(event * 7_919 % 10_000) + 0.5) / 10_000.0;
            rarity.learn(-share.ln());
        }
        for value in [0.5, 1.0, 2.0, 2.9, 4.0, 8.0] {
            let nats = rarity.nats(value).unwrap_or_default();
            assert!((nats - value).abs() < 0.1 * value, "{value}: {nats}");
        }
        let far: Vec<f64> = [8.0, 16.0, 32.0, 1e9].iter().filter_map(|&value| rarity.nats(value)).collect();
        assert!(far.is_sorted() && far.windows(2).all(|pair| pair[1] > pair[0]) && far[3].is_finite());
    }

    #[test]
    fn a_value_that_never_changes_is_no_news_and_any_other_is() {
        let mut rarity = Rarity::new(0.0, 16.0, 100.0);
        for _ in 0..20_000 {
            rarity.learn(3.0);
        }
        let nats = |value| rarity.nats(value).unwrap_or(f64::NAN);
        assert!(nats(3.0) < 0.7 && nats(0.0) < 0.01 && nats(5.0) > 5.0 && nats(100.0).is_finite());
    }
}
