//! Chance from a seed: the same seed gives the same demo on every machine.
//!
//! The generator is xoshiro256++ (Blackman & Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS
//! 2021), its state filled by `SplitMix64` (Steele, Lea & Flood, OOPSLA 2014). Real numbers are made by + - * /
//! alone, which IEEE 754 fixes to the bit; `ln`, `exp` and `cos` differ between C libraries, so they must never
//! be called here. Not for secrets.

/// A stream of chance.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    state: [u64; 4],
}

impl Dice {
    /// Dice that fall the same for the same seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut counter = seed;
        Self { state: std::array::from_fn(|_| split_mix(&mut counter)) }
    }

    /// 64 fair bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let drawn = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        drawn
    }

    /// A whole number from 0 to `bound` - 1; 0 when the bound is 0. The bias is under `bound` / 2^64.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A whole number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// An index into a list of `len` entries.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A real number from 0 up to, not including, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True this often in a hundred.
    pub(crate) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// Mean 0, deviation 1, nearly normal, never beyond 4.9: the sum of eight uniform numbers of 16 bits.
    pub(crate) fn bell(&mut self) -> f64 {
        let mut sum = 0_u64;
        for _ in 0..2 {
            let bits = self.bits();
            sum += (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum::<u64>();
        }
        // Eight uniform numbers on 0 to 1 have mean 4 and variance 8/12, and end at 4 / sqrt(8/12) = 4.899.
        (sum as f64 / 65_536.0 - 4.0) / 0.816_496_580_927_726
    }

    /// Puts a list into any order, each as likely as another (Fisher & Yates).
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            let other = self.index(end + 1);
            list.swap(end, other);
        }
    }
}

fn split_mix(counter: &mut u64) -> u64 {
    *counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*counter ^ (*counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// e to the `x` as (1 + x/1024)^1024: within 0.2 % for |x| < 2, never above the true value.
pub(crate) fn power_of_e(x: f64) -> f64 {
    (0..10).fold(1.0 + x / 1024.0, |value, _| value * value)
}

/// Draws an index in proportion to its weight.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    /// Running sums; the last is the whole.
    sums: Vec<u64>,
}

impl Weights {
    /// Weights of the indices 0, 1, 2, … in this order.
    pub(crate) fn new(weights: impl IntoIterator<Item = u64>) -> Self {
        let mut whole = 0;
        let sums = weights.into_iter().map(|weight| {
            whole += weight;
            whole
        });
        Self { sums: sums.collect() }
    }

    /// An index; 0 when there are no weights.
    pub(crate) fn draw(&self, dice: &mut Dice) -> usize {
        let at = dice.below(self.sums.last().copied().unwrap_or(0));
        self.sums.partition_point(|&sum| sum <= at).min(self.sums.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_draws_are_those_of_the_published_algorithms() {
        // SplitMix64 from 0: the first output in Vigna's reference.
        assert_eq!(split_mix(&mut 0), 0xe220_a839_7b1d_cdaf);
        // xoshiro256++ from the state 1, 2, 3, 4, worked by hand: rotl(1 + 4, 23) + 1.
        let mut dice = Dice { state: [1, 2, 3, 4] };
        assert_eq!(dice.bits(), 41_943_041);
        assert_eq!(dice.state, [7, 0, 262_146, 6 << 45]);
    }

    #[test]
    fn bell_has_mean_0_deviation_1_and_an_end() {
        let mut dice = Dice::new(7);
        let drawn: Vec<f64> = (0..50_000).map(|_| dice.bell()).collect();
        let mean = drawn.iter().sum::<f64>() / 50_000.0;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 50_000.0;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "mean {mean}, variance {variance}");
        assert!(drawn.iter().all(|x| x.abs() <= 4.9));
    }

    #[test]
    fn weights_are_followed_and_bounds_kept() {
        let mut dice = Dice::new(1);
        let weights = Weights::new([3, 0, 1]);
        let mut counts = [0; 3];
        for _ in 0..8_000 {
            counts[weights.draw(&mut dice)] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((5_800..6_200).contains(&counts[0]), "{counts:?}");
        assert_eq!(Weights::new([]).draw(&mut dice), 0);
        assert_eq!(dice.below(0), 0);
        assert!((0..1_000).all(|_| (5..=9).contains(&dice.between(5, 9))));
    }

    #[test]
    fn power_of_e_is_close() {
        for x in [-2.0, -0.5, 0.0, 1.0, 2.0_f64] {
            let ratio = power_of_e(x) / x.exp();
            assert!((0.997..=1.000_001).contains(&ratio), "{x}: {ratio}");
        }
    }
}
