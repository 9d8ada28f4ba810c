//! From the scores of all channels to one surprise.
//!
//! Three steps, each calibrated so that the next deals in nats. A score becomes a surprise by its own calibrator,
//! with a tenth of the score taken off first: scores wander as channels learn, a value seen a little less often
//! lately sets a record, and without this margin a field of nine equally likely values would raise alerts all day.
//! Within a channel the largest surprise of its fields is taken, and calibrated again: so twenty numbers, however
//! correlated, neither dilute the one that is odd nor claim twenty chances to be odd (ln m would be too much for
//! fields that move together). Across channels the power mean without division, (sum of s^q)^(1/q), rewards both
//! one loud channel and several that agree; q = 3 did best over streams of six kinds. Its value has no meaning in
//! itself, so it is calibrated a last time: the result is -ln of the share of *events* lately that were as strange,
//! which is what an alert budget needs. A calibrator can make much of little, so neither step may end above what it
//! began with: a channel not above its loudest field (the largest of many is never rarer than one), the whole not
//! above the sum of its channels (as if they were independent); the tenth taken off is given back there.
//!
//! A missing score is no surprise, and teaches nothing. It must not know what a channel measures.

use std::ops::Range;

use super::surprise::Calibrator;

/// The calibrators between scores and the fused surprise.
#[derive(Debug)]
pub(crate) struct Fusion {
    power: f64,
    entries: Vec<Entry>,
    groups: Vec<Group>,
    /// Of the event last judged; `None` if no channel said anything.
    sum: Option<f64>,
    whole: Calibrator,
}

impl Fusion {
    /// For channels with so many fields each.
    pub(crate) fn new(
        power: f64,
        calibration_events: usize,
        fields: impl IntoIterator<Item = usize>,
    ) -> Self {
        let calibrator = Calibrator::new(calibration_events);
        let (mut groups, mut count) = (Vec::new(), 0);
        for fields in fields {
            let again = (fields > 1).then(|| calibrator.clone());
            groups.push(Group { entries: count..count + fields, largest: None, again });
            count += fields;
        }
        let entry = Entry { score: None, surprise: 0.0, calibrator: calibrator.clone() };
        let entries = vec![entry; count];
        Self { power: power.clamp(1.0, 16.0), entries, groups, sum: None, whole: calibrator }
    }

    /// The fused surprise of an event in nats, from 0, on a grid of 1e-6; from the scores of all fields of all
    /// channels in their fixed order.
    pub(crate) fn judge(&mut self, scores: &[Option<f64>]) -> f64 {
        for (at, entry) in self.entries.iter_mut().enumerate() {
            entry.score = scores.get(at).copied().flatten().filter(|score| !score.is_nan());
            entry.surprise =
                entry.score.map_or(0.0, |score| entry.calibrator.surprise(score - NOISE * score.abs()));
        }
        self.sum = None;
        let (mut powers, mut all) = (0.0, 0.0);
        for group in &mut self.groups {
            let said = self.entries[group.entries.clone()].iter().filter(|entry| entry.score.is_some());
            group.largest = said.map(|entry| entry.surprise).reduce(f64::max);
            let Some(largest) = group.largest else { continue };
            let nats = match &group.again {
                Some(again) => again.surprise(largest).min(largest / (1.0 - NOISE)),
                None => largest,
            };
            powers += nats.powf(self.power);
            all += nats;
            self.sum = Some(powers.powf(1.0 / self.power));
        }
        let nats = self.sum.map_or(0.0, |sum| self.whole.surprise(sum).min(all / (1.0 - NOISE)));
        (nats * GRID).round() / GRID
    }

    /// Score and surprise of each field for the event last judged.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Option<f64>, f64)> {
        self.entries.iter().map(|entry| (entry.score, entry.surprise))
    }

    /// Remembers the event last judged.
    pub(crate) fn learn(&mut self) {
        for entry in &mut self.entries {
            if let Some(score) = entry.score {
                entry.calibrator.learn(score);
            }
        }
        for group in &mut self.groups {
            if let (Some(again), Some(largest)) = (&mut group.again, group.largest) {
                again.learn(largest);
            }
        }
        if let Some(sum) = self.sum {
            self.whole.learn(sum);
        }
    }
}

/// Surprises are rounded to a millionth of a nat: what differs by less is the same on every machine.
const GRID: f64 = 1e6;

/// Share of a score that is not to be made much of: decayed counts of half-life 1 000 wander by about so much.
const NOISE: f64 = 0.1;

/// One field of one channel.
#[derive(Clone, Debug)]
struct Entry {
    score: Option<f64>,
    surprise: f64,
    calibrator: Calibrator,
}

/// The fields of one channel.
#[derive(Debug)]
struct Group {
    entries: Range<usize>,
    largest: Option<f64>,
    /// There if the channel has several fields.
    again: Option<Calibrator>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::lru::hash_pair;

    fn exponential(state: &mut u64) -> f64 {
        *state = hash_pair(*state, 1);
        -(((*state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64).ln()
    }

    #[test]
    fn the_fused_surprise_is_calibrated_whatever_the_fields_share() {
        // One channel of ten fields that are one and the same, one of four independent ones, one of one field.
        let mut fusion = Fusion::new(3.0, 4_000, [10, 4, 1]);
        let (mut state, mut over, mut scores) = (17, [0.0; 3], Vec::new());
        for event in 0..108_000 {
            scores.clear();
            scores.extend([Some(exponential(&mut state)); 10]);
            scores.extend((0..5).map(|_| Some(exponential(&mut state))));
            let nats = fusion.judge(&scores);
            if event >= 8_000 {
                for (count, level) in over.iter_mut().zip([1.0, 3.0, 5.0]) {
                    *count += f64::from(u8::from(nats > level)) / 100_000.0;
                }
            }
            fusion.learn();
        }
        for (share, level) in over.into_iter().zip([1.0_f64, 3.0, 5.0]) {
            assert!((share / (-level).exp() - 1.0).abs() < 0.15, "{level}: {share}");
        }
    }

    #[test]
    fn many_quiet_fields_do_not_drown_a_loud_one() {
        let mut fusion = Fusion::new(3.0, 4_000, [20]);
        let mut state = 23;
        for _ in 0..12_000 {
            let scores: Vec<_> = (0..20).map(|_| Some(exponential(&mut state))).collect();
            fusion.judge(&scores);
            fusion.learn();
        }
        let mut scores = vec![Some(0.1); 20];
        scores[7] = Some(25.0);
        assert!(fusion.judge(&scores) > 7.0);
    }

    #[test]
    fn a_score_that_wanders_sets_no_records() {
        // Nine values, each as likely as another, whose scores drift by a few hundredths of their size.
        let mut fusion = Fusion::new(3.0, 5_000, [2, 1]);
        let (mut state, mut strange) = (3, 0);
        for event in 0..60_000_i32 {
            let value = f64::from(event % 9);
            let wander =
                2.2 + 0.1 * (f64::from(event) / 900.0 + value).sin() * (f64::from(event) / 7e3).cos();
            let nats = fusion.judge(&[Some(wander), Some(1.0), Some(exponential(&mut state))]);
            strange += i32::from(event > 10_000 && nats > 7.0);
            fusion.learn();
        }
        assert!(strange < 100, "{strange} of 50 000 events, where 46 are to be expected");
    }

    #[test]
    fn silence_is_no_surprise_and_teaches_nothing() {
        let mut fusion = Fusion::new(3.0, 1_000, [2, 0]);
        for _ in 0..3_000 {
            assert!(fusion.judge(&[None, Some(f64::NAN)]) < 1e-9);
            fusion.learn();
        }
        for score in 0..500 {
            fusion.judge(&[None, Some(f64::from(score % 100))]);
            fusion.learn();
        }
        let nats = fusion.judge(&[None, Some(500.0)]);
        assert!(nats > 4.0 && (nats * 1e6).fract().abs() < 1e-3, "{nats}");
    }
}
