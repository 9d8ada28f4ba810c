//! Where a value lies, in 32 bits: what the trees cut.
//!
//! A number is placed in a work space u = asinh((x - median) / scale), cut off at six either way, where a field of
//! any unit and spread looks alike and far out is as far as logarithms say; the median and the robust scale come
//! from values accepted lately. The span is spread over the 32-bit integers, so that a comparison is one
//! instruction. A category is its hash.
//!
//! A missing number lies below every number, a missing category is a value like any other: an event without a
//! field is as usual as such events are. Must never fail on a number, however large or small.

/// A missing number, and a missing value or key: the bits of a NaN, which no accepted number has.
pub(super) const MISSING: u64 = u64::MAX;

/// The bits that a row keeps of a number; -0 is 0.
pub(super) fn bits(number: Option<f64>) -> u64 {
    number.filter(|x| x.is_finite()).map_or(MISSING, |x| (x + 0.0).to_bits())
}

/// The number of such bits.
pub(super) fn number(bits: u64) -> Option<f64> {
    Some(f64::from_bits(bits)).filter(|x| x.is_finite())
}

/// The place of a category, from its hash or [`MISSING`].
pub(super) fn category(hash: u64) -> u32 {
    (hash >> 32) as u32 ^ hash as u32
}

/// The work space of a number field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Space {
    median: f64,
    scale: f64,
}

impl Space {
    /// The work space that fits those values, which are put in order.
    pub(super) fn of(values: &mut [f64]) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let Some(last) = values.len().checked_sub(1) else { return Self { median: 0.0, scale: 1.0 } };
        let q = [5, 25, 50, 75, 95].map(|percent| values[(percent * last + 50) / 100]);
        Self { median: q[2], scale: scale(q, values) }
    }

    /// From 1, at six scales of asinh below the median, to `u32::MAX`; 0 is a missing number's.
    pub(super) fn place(self, bits: u64) -> u32 {
        let Some(x) = number(bits) else { return 0 };
        #[expect(clippy::cast_sign_loss, reason = "within [0, 1]")]
        let place = (self.share(x) * (f64::from(u32::MAX) - 1.0)) as u32;
        place + 1
    }

    /// The numbers that are taken for near a number: a [`NEAR`] of the work space to both sides.
    pub(super) fn near(self, x: f64) -> (f64, f64) {
        let at = self.share(x);
        // What lies at an end is with all that lies beyond.
        let low = if at <= NEAR { f64::MIN } else { self.value(at - NEAR) };
        let high = if at >= 1.0 - NEAR { f64::MAX } else { self.value(at + NEAR) };
        (low.min(x), high.max(x))
    }

    /// Whether trees made for this space serve another one badly: the median has moved by two scales, or the scale is
    /// four times or a quarter of what it was. Less is not worth what a new forest forgets.
    pub(super) fn differs(self, other: Self) -> bool {
        (self.share(other.median) - 0.5).abs() * SPAN > 1.44
            || (self.scale.log2() - other.scale.log2()).abs() > 2.0
    }

    fn share(self, x: f64) -> f64 {
        // Halves, since the difference of two finite numbers need not be finite; the space ends at 202.
        let ratio = (2.0 * ((x / 2.0 - self.median / 2.0) / self.scale)).clamp(-1e3, 1e3);
        let size = ratio.abs();
        let u = (size + (size * size + 1.0).sqrt()).ln().copysign(ratio);
        (u / SPAN + 0.5).clamp(0.0, 1.0)
    }

    fn value(self, share: f64) -> f64 {
        (self.median + self.scale * ((share - 0.5) * SPAN).sinh()).clamp(f64::MIN, f64::MAX)
    }
}

/// Length of the work space: u from -6 to 6, which is 202 scales from the median.
const SPAN: f64 = 12.0;
/// Share of the work space that near values lie within: .375 scales at the median, a factor of 1.45 far out.
const NEAR: f64 = 1.0 / 32.0;

/// A robust standard deviation: from the quartiles or the twentieths; where those agree, from all values. The last
/// resort is what a constant field is told apart by: a thousandth of its value.
fn scale(q: [f64; 5], values: &[f64]) -> f64 {
    let span = |low: f64, high: f64, width: f64| 2.0 * (high / width / 2.0 - low / width / 2.0);
    let quantiles = span(q[1], q[3], 1.35).max(span(q[0], q[4], 3.3));
    let robust = if quantiles > 0.0 {
        quantiles
    } else {
        let count = values.len() as f64;
        values.iter().map(|x| (x / 2.0 - q[2] / 2.0).abs() / count * 2.0).sum()
    };
    robust.max(q[2].abs() * 1e-3).max(if robust > 0.0 { f64::MIN_POSITIVE } else { 1e-6 }).min(f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_keep_the_order_of_all_numbers() {
        let mut values: Vec<f64> = (0..100).map(f64::from).collect();
        let space = Space::of(&mut values);
        let numbers = [f64::MIN, -1e9, -1e3, 0.0, 49.0, 50.0, 51.0, 1e3, 5e3, 1e300, f64::MAX];
        let places = numbers.map(|x| space.place(bits(Some(x))));
        assert!(places.is_sorted() && places[0] == 1 && places[10] == u32::MAX, "{places:?}");
        assert!(places[3] < places[4] && places[4] < places[5] && places[7] < places[8]);
        assert_eq!(space.place(bits(None)), 0);
        assert_eq!(space.place(bits(Some(f64::NAN))), 0);
        assert_eq!(bits(Some(-0.0)), bits(Some(0.0)));
        for x in numbers {
            let (low, high) = space.near(x);
            assert!(low <= x && x <= high && low.is_finite() && high.is_finite(), "{x}: {low} {high}");
        }
        let (low, high) = space.near(space.median);
        let step = space.scale * 0.375_f64.sinh();
        assert!((high - space.median - step).abs() < 1e-6 && (space.median - low - step).abs() < 1e-6);
    }

    #[test]
    fn every_sample_has_a_space() {
        for mut values in
            [vec![], vec![7.0], vec![0.0; 50], vec![f64::MAX, f64::MIN, 0.0], vec![5e-324, 0.0, -5e-324]]
        {
            let space = Space::of(&mut values);
            assert!(space.scale > 0.0 && space.scale.is_finite() && space.median.is_finite(), "{values:?}");
            assert!(values.iter().all(|x| space.place(bits(Some(*x))) > 0), "{values:?}");
        }
        let (mut mostly, mut far) =
            (vec![0.0; 100], (0..100).map(|x| f64::from(x) * 1e6).collect::<Vec<_>>());
        mostly.extend([3.0, 9.0, 500.0]);
        let sparse = Space::of(&mut mostly);
        let places = [0.0, 3.0, 500.0].map(|x| sparse.place(bits(Some(x))));
        assert!(places.is_sorted_by(|a, b| a < b), "rare values differ from each other: {places:?}");
        assert!(sparse.differs(Space::of(&mut far)) && !sparse.differs(sparse));
    }
}
