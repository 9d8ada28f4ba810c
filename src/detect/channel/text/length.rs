//! What surprise is usual for a text of its length.
//!
//! Lengths fall in bins of half a doubling; each bin keeps a decayed mean and variance of surprise, read together
//! with its neighbours at half weight and shrunk towards the whole, so that a rare length is judged by all texts.

/// Bins by floor(2 log2 length); the last takes all beyond half a million characters.
const BINS: usize = 40;
/// Events by which a bin is shrunk towards the whole.
const SHRINKAGE: f64 = 500.0;
/// Smallest variance taken seriously, nats squared.
const VARIANCE_MIN: f64 = 1e-6;

/// Decayed moments of surprise.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    weight: f64,
    sum: f64,
    squares: f64,
}

/// Surprise by length.
#[derive(Debug)]
pub(super) struct ByLength {
    bins: [Moments; BINS],
    whole: Moments,
    decay: f64,
}

impl ByLength {
    /// Knows nothing; moments will halve in `half_life` events of their bin.
    pub(super) fn new(half_life: f64) -> Self {
        let decay = (-1.0 / half_life.max(1.0)).exp2();
        Self { bins: [Moments::default(); BINS], whole: Moments::default(), decay }
    }

    /// How many standard deviations a surprise lies above what is usual for the length.
    pub(super) fn standardised(&self, length: usize, surprise: f64) -> f64 {
        let (mean, variance) = self.whole.mean_and_variance().unwrap_or((surprise, 1.0));
        let bin = bin(length);
        let mut near = self.bins[bin];
        for beside in [bin.wrapping_sub(1), bin + 1] {
            if let Some(beside) = self.bins.get(beside) {
                near.add(beside, 0.5);
            }
        }
        near.add(&Moments { weight: 1.0, sum: mean, squares: variance + mean * mean }, SHRINKAGE);
        let (mean, variance) = near.mean_and_variance().unwrap_or((mean, variance));
        (surprise - mean) / variance.sqrt()
    }

    /// Takes a surprise in.
    pub(super) fn learn(&mut self, length: usize, surprise: f64) {
        for moments in [&mut self.bins[bin(length)], &mut self.whole] {
            moments.weight = moments.weight * self.decay + 1.0;
            moments.sum = moments.sum * self.decay + surprise;
            moments.squares = moments.squares * self.decay + surprise * surprise;
        }
    }
}

impl Moments {
    fn add(&mut self, other: &Self, times: f64) {
        self.weight += other.weight * times;
        self.sum += other.sum * times;
        self.squares += other.squares * times;
    }

    fn mean_and_variance(&self) -> Option<(f64, f64)> {
        (self.weight > 0.0).then(|| {
            let mean = self.sum / self.weight;
            (mean, (self.squares / self.weight - mean * mean).max(VARIANCE_MIN))
        })
    }
}

/// floor(2 log2 length).
fn bin(length: usize) -> usize {
    let length = length.clamp(1, 1 << 24) as u64;
    ((length * length).ilog2() as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_for_a_short_text_is_strange_for_a_long_one() {
        let mut lengths = ByLength::new(1_000.0);
        assert!(lengths.standardised(0, 3.0).abs() < 1e-9);
        for event in 0..4_000_u32 {
            let noise = f64::from(event * 7_919 % 101) / 100.0;
            lengths.learn(10, 4.0 + noise);
            lengths.learn(200, 2.0 + noise);
        }
        let (short, long) = (lengths.standardised(10, 5.0), lengths.standardised(200, 5.0));
        assert!(short < 1.5 && long > 2.5, "{short} {long}");
        // A length never seen is judged by all.
        assert!((lengths.standardised(usize::MAX, 3.5)).abs() < 0.1);
    }
}
