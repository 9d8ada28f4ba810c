//! Decayed counts of features in two hashed tables, and the surprise of a text under them.
//!
//! A count decays by half in so many events. Instead of shrinking all counts at each event, each event weighs
//! more than the one before; the tables are scaled back long before the weight could overflow. Surprise is
//! -ln of the smoothed share of events that hold a feature (Laplace's rule). Logarithms are computed here, the
//! same to the bit everywhere, since they are most of the work and a text's score must not depend on the platform.

use pulp::Arch;

use super::features::{CLASSES, Feature, Features, TABLE_BITS};

/// Weight of one event at which the tables are scaled back: far from both ends of an f32.
const WEIGHT_MAX: f64 = 1e12;
/// A count below this is as good as none. Flushed, so that no denormal is left to slow the tables down.
const COUNT_MIN: f32 = 1e-4;
/// How fast digits begin to matter with the surprise of the masked feature, per nat.
const DIGITS_RATE: f32 = 0.3;
/// Features looked up and then computed together.
const BLOCK: usize = 16;

/// What was counted, in one field.
#[derive(Debug)]
pub(super) struct Counts {
    /// Picks the instruction set; each gives the same bits.
    arch: Arch,
    masked: Box<[f32]>,
    raw: Box<[f32]>,
    growth: f64,
    /// What an event weighs now; counts are in units of it.
    weight: f64,
    /// Decayed number of events learned, times `weight`.
    events: f64,
}

impl Counts {
    /// Nothing counted; counts will halve in `half_life` events.
    pub(super) fn new(half_life: f64) -> Self {
        let table = || vec![0.0; 1 << TABLE_BITS].into_boxed_slice();
        let growth = (1.0 / half_life.max(1.0)).exp2();
        Self { masked: table(), raw: table(), growth, weight: 1.0, events: 0.0, arch: Arch::new() }
    }

    /// Decayed number of events learned.
    pub(super) fn events(&self) -> f64 {
        self.events / self.weight
    }

    /// Root of the mean, over classes that are not empty, of the class's mean squared surprise; nats.
    pub(super) fn surprise(&self, features: &Features) -> f64 {
        self.arch.dispatch(|| {
            let (mut sum, mut classes) = (0.0, 0.0);
            for class in 0..CLASSES {
                let (plain, digits) = (features.plain(class), features.digits(class));
                let count = plain.len() + digits.len();
                if count > 0 {
                    let squares = self.squares(plain) + self.squares_with_digits(digits);
                    sum += f64::from(squares) / count as f64;
                    classes += 1.0;
                }
            }
            if classes > 0.0 { f64::sqrt(sum / classes) } else { 0.0 }
        })
    }

    /// Surprise of one feature, and how many events held it (decayed).
    pub(super) fn of(&self, feature: Feature) -> (f64, f64) {
        let Feature { digits, masked, raw } = feature;
        if digits {
            let count = f64::from(self.raw[raw as usize]) / self.weight;
            (f64::from(self.squares_with_digits(&[[masked, raw]])).sqrt(), count)
        } else {
            let count = f64::from(self.masked[masked as usize]) / self.weight;
            (f64::from(self.squares(&[masked])).sqrt(), count)
        }
    }

    /// An event passes: what was counted before weighs less from now on.
    pub(super) fn pass(&mut self) {
        self.weight *= self.growth;
        if self.weight > WEIGHT_MAX {
            let scale = (1.0 / self.weight) as f32;
            for count in self.masked.iter_mut().chain(self.raw.iter_mut()) {
                *count *= scale;
                if *count < COUNT_MIN {
                    *count = 0.0;
                }
            }
            self.events /= self.weight;
            self.weight = 1.0;
        }
    }

    /// Counts the features of the event that passes.
    pub(super) fn learn(&mut self, features: &Features) {
        self.events += self.weight;
        let weight = self.weight as f32;
        for class in 0..CLASSES {
            for &slot in features.plain(class) {
                self.masked[slot as usize] += weight;
            }
            // Numbers that look alike when masked are one masked feature: they lie side by side.
            let mut last = None;
            for &[masked, raw] in features.digits(class) {
                if last.replace(masked) != Some(masked) {
                    self.masked[masked as usize] += weight;
                }
                self.raw[raw as usize] += weight;
            }
        }
    }

    /// Turns a count in a table into a share: add `one`, multiply by `scale`.
    fn share(&self) -> (f32, f32) {
        (self.weight as f32, (1.0 / (self.events + 2.0 * self.weight)) as f32)
    }

    #[expect(clippy::inline_always, reason = "the caller is what is compiled for an instruction set")]
    #[inline(always)]
    fn squares(&self, slots: &[u32]) -> f32 {
        let (one, scale) = self.share();
        let mut sums = [0.0; BLOCK];
        for slots in slots.chunks(BLOCK) {
            // What is not there has share 1, so no surprise.
            let mut shares = [1.0; BLOCK];
            for (share, &slot) in shares.iter_mut().zip(slots) {
                *share = (self.masked[slot as usize] + one) * scale;
            }
            for (sum, share) in sums.iter_mut().zip(shares) {
                let surprise = ln(share);
                *sum += surprise * surprise;
            }
        }
        sums.iter().sum()
    }

    /// Digits count where a number is itself unusual: the surprise of the raw feature is mixed in with a weight
    /// that grows with that of the masked one.
    #[expect(clippy::inline_always, reason = "the caller is what is compiled for an instruction set")]
    #[inline(always)]
    fn squares_with_digits(&self, slots: &[[u32; 2]]) -> f32 {
        let (one, scale) = self.share();
        let mut sums = [0.0; BLOCK];
        for slots in slots.chunks(BLOCK) {
            let mut shares = [[1.0_f32; BLOCK]; 2];
            let [masked, raw] = &mut shares;
            for (at, &[masked_slot, raw_slot]) in slots.iter().enumerate() {
                masked[at] = (self.masked[masked_slot as usize] + one) * scale;
                raw[at] = (self.raw[raw_slot as usize] + one) * scale;
            }
            for (at, sum) in sums.iter_mut().enumerate() {
                let plain = -ln(masked[at]);
                let exact = (-ln(raw[at])).max(plain);
                let surprise = plain + (exact - plain) * (1.0 - exp(-DIGITS_RATE * plain));
                *sum += surprise * surprise;
            }
        }
        sums.iter().sum()
    }
}

/// Natural logarithm of a positive, normal number, to about 1e-7: exponent and mantissa apart, the mantissa in
/// [1/sqrt 2, sqrt 2), ln m = 2 artanh((m - 1)/(m + 1)).
#[inline(always)]
fn ln(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3F35_04F3;
    let bits = x.to_bits().wrapping_sub(SQRT_HALF);
    let exponent = (bits.cast_signed() >> 23) as f32;
    let mantissa = f32::from_bits((bits & 0x007F_FFFF) + SQRT_HALF);
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let u = t * t;
    let series = 2.0 + u * (2.0 / 3.0 + u * (2.0 / 5.0 + u * (2.0 / 7.0 + u * (2.0 / 9.0))));
    exponent * std::f32::consts::LN_2 + t * series
}

/// e to a power in [-80, 80], to about 1e-6: 2^(whole part) by the exponent's bits, the rest by its series.
#[expect(clippy::inline_always, reason = "the caller is what is compiled for an instruction set")]
#[inline(always)]
fn exp(x: f32) -> f32 {
    let y = x.clamp(-80.0, 80.0) * std::f32::consts::LOG2_E;
    let whole = (y + 128.5) as i32 - 128;
    let rest = (y - whole as f32) * std::f32::consts::LN_2;
    let series = 1.0
        + rest * (1.0 + rest * (1.0 / 2.0 + rest * (1.0 / 6.0 + rest * (1.0 / 24.0 + rest * (1.0 / 120.0)))));
    series * f32::from_bits((whole + 127).cast_unsigned() << 23)
}

#[cfg(test)]
mod tests {
    use super::super::features::{Extractor, WORDS};
    use super::*;

    fn word(text: &str, counts: &Counts) -> (f64, f64) {
        let mut extractor = Extractor::default();
        extractor.read(text);
        let mut found = (0.0, 0.0);
        extractor.each(WORDS, |_, feature| found = counts.of(feature));
        found
    }

    #[test]
    fn logarithm_and_exponential_are_right() {
        for step in 1..4_000_u16 {
            let x = f32::from(step) * 3e-4;
            assert!((f64::from(ln(x)) - f64::from(x).ln()).abs() < 1e-6, "{x}");
            assert!((f64::from(exp(-x * 20.0)) / f64::from(-x * 20.0).exp() - 1.0).abs() < 1e-5, "{x}");
        }
    }

    #[test]
    fn an_unusual_number_counts_where_its_place_is_unusual_too() {
        let (mut counts, mut extractor) = (Counts::new(1e9), Extractor::default());
        for event in 0..1_000 {
            let text = if event < 20 { "code 77 77 88" } else { "port 8080" };
            counts.learn(&extractor.features(text));
        }
        // Events that hold a form: numbers that look alike when masked count once.
        let close = |(surprise, count): (f64, f64), share: f64, events: f64| {
            assert!((count - events).abs() < 1e-6);
            assert!((surprise + share.ln()).abs() < 1e-5, "{surprise} {}", -share.ln());
        };
        close(word("port", &counts), 981.0 / 1_002.0, 980.0);
        close(word("code", &counts), 21.0 / 1_002.0, 20.0);
        close(word("77", &counts), 21.0 / 1_002.0, 20.0);
        let plain = -(21.0_f64 / 1_002.0).ln();
        let mixed = plain + (1_002.0_f64.ln() - plain) * (1.0 - (-0.3 * plain).exp());
        close(word("99", &counts), (-mixed).exp(), 0.0);
        // Where four digits are common, one more port says little.
        assert!(word("9090", &counts).0 < 0.1);
    }
}
