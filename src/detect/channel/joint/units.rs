//! One forest's scores in the units of the one before it.
//!
//! How thin a cell is depends on the fields that the trees cut: with more of them scores are lower and lie closer. Whoever
//! ranks scores among thousands of earlier ones would find all events ordinary, or all strange, until it has forgotten
//! those. So where both forests have scored the same events, the new scores are shifted and stretched until middle and upper
//! twentieth agree. It must never fold a distribution up, nor blow one up: the stretch has bounds.

/// How a score is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    shift: f64,
    stretch: f64,
}

impl Default for Units {
    fn default() -> Self {
        Self { shift: 0.0, stretch: 1.0 }
    }
}

impl Units {
    /// From what the same events scored before, as told then, and score now. Of few events nothing can be said.
    pub(super) fn between(pairs: impl Iterator<Item = (Option<f64>, f64)>) -> Self {
        let (mut before, mut now): (Vec<f64>, Vec<f64>) =
            pairs.filter_map(|(before, now)| Some((before?, now))).unzip();
        let (Some(before), Some(now)) = (Marks::of(&mut before), Marks::of(&mut now)) else {
            return Self::default();
        };
        let stretch = if now.high > now.middle && before.high > before.middle {
            ((before.high - before.middle) / (now.high - now.middle)).clamp(1.0 / STRETCH_MAX, STRETCH_MAX)
        } else {
            1.0
        };
        Self { shift: before.middle - stretch * now.middle, stretch }
    }

    /// A score, told.
    pub(super) fn of(self, score: f64) -> f64 {
        self.shift + self.stretch * score
    }
}

/// Events below which two distributions are not compared.
const ENOUGH: usize = 100;
/// Most that scores are stretched, or pressed together.
const STRETCH_MAX: f64 = 4.0;

/// Where a distribution lies.
struct Marks {
    middle: f64,
    high: f64,
}

impl Marks {
    fn of(scores: &mut [f64]) -> Option<Self> {
        scores.sort_unstable_by(f64::total_cmp);
        let at = |share: usize| scores.get(scores.len() * share / 20).copied();
        (scores.len() >= ENOUGH).then_some(())?;
        Some(Self { middle: at(10)?, high: at(19)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middle_and_upper_twentieth_agree() {
        let scores = (0..1_000).map(|n| f64::from(n * 7 % 1_000) / 100.0);
        let units = Units::between(scores.map(|now| (Some(3.0 + now / 2.0), now)));
        for now in [0.0, 5.0, 9.5, 40.0] {
            assert!((units.of(now) - (3.0 + now / 2.0)).abs() < 1e-9);
        }
    }

    #[test]
    fn nothing_is_made_of_nothing_and_no_stretch_is_without_bounds() {
        let told = |units: Units| [units.of(0.0), units.of(1.0)];
        let few = Units::between((0..99).map(|n| (Some(5.0), f64::from(n))));
        let unknown = Units::between((0..1_000).map(|n| (None, f64::from(n))));
        assert_eq!((told(few), told(unknown)), ([0.0, 1.0], [0.0, 1.0]));
        let constant = Units::between((0..1_000).map(|n| (Some(f64::from(n)), 7.0)));
        let mut shifted = told(constant).into_iter().zip([493.0, 494.0]);
        assert!(shifted.all(|(told, of): (f64, f64)| (told - of).abs() < 1e-9), "shifted only");
        let wide = Units::between((0..1_000).map(|n| (Some(f64::from(n)), f64::from(n) / 1e6)));
        assert!((wide.of(1.0) - wide.of(0.0) - 4.0).abs() < 1e-9);
        let narrow = Units::between((0..1_000).map(|n| (Some(f64::from(n) / 1e6), f64::from(n))));
        assert!((narrow.of(1.0) - narrow.of(0.0) - 0.25).abs() < 1e-9);
    }
}
