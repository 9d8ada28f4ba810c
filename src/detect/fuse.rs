//! From the scores of all channels to one surprise.
//!
//! Each score becomes nats in the way that its unit calls for ([`Unit`]). A raw measure is ranked by a calibrator of
//! its own, with a tenth of the score taken off first unless it is steady: scores wander as channels learn, a value seen
//! a little less often lately sets a record, and without this margin a field of nine equally likely values would raise
//! alerts all day. Evidence, which is nats by a channel's own law, is ranked too and the smaller of both counts: a law may be
//! too sure of itself, and a calibrator makes much of little.
//!
//! Across all fields of all channels the power mean without division, (sum of s^q)^(1/q), rewards both one loud field
//! and several that agree; measured over streams of seven kinds, q from 1.2 to 1.5 did best (at 1 quiet fields dilute
//! a loud one, at 3 and above three that agree weigh little). Its value has no meaning in itself, so it is calibrated a last
//! time: the result is -ln of the share of *events* lately that were as strange, which is what an alert budget
//! needs; it may not end above the sum that it began with (as if all were independent), the tenth taken off given back.
//!
//! A channel with a budget of its own (series) ranks an event within its key's history, and ranking that once more
//! over recent events of all keys would undo it (measured on metrics: 38 windows found become 23). Where it speaks, the
//! larger counts of its nats and of half of what all others say, who know nothing of order where order is what
//! counts (.2 to .5: 37 or 38 windows; .6: 34; 1: 14). A channel that holds an event's numbers against those of whole events
//! is no worse for that order: it counts in full (load, memory and disk of 20 made hosts: average precision .29 if silenced
//! with the others, .94 so).
//!
//! A channel may leave it open what its scores count for ([`Weight`]): its nats are then multiplied by what its
//! agreement with another field is worth, and with weight 0 they are not there at all.
//!
//! A missing score is no surprise, and teaches nothing. It must not know what a channel measures.

use super::channel::{Unit, Weight};
use super::lift::Lift;
use super::surprise::{Calibrator, NATS_MAX};

/// The calibrators between scores and the fused surprise.
#[derive(Debug)]
pub(crate) struct Fusion {
    power: f64,
    entries: Vec<Entry>,
    /// Of the event last judged; `None` if no channel said anything.
    sum: Option<f64>,
    whole: Calibrator,
    /// What fields that a budget of its own silences count for in the event last judged.
    beside: f64,
    /// The same event's surprise with all counted in full.
    unlevelled: f64,
}

impl Fusion {
    /// For fields whose scores have those units, in the fixed order of scores.
    pub(crate) fn new(power: f64, calibration_events: usize, units: impl IntoIterator<Item = Unit>) -> Self {
        let whole = Calibrator::new(calibration_events);
        let entry = |unit| Entry {
            unit,
            score: None,
            surprise: 0.0,
            weight: 1.0,
            beside: None,
            calibrator: (unit != Unit::Budget).then(|| whole.clone()),
        };
        let entries = units.into_iter().map(entry).collect();
        Self { power: power.clamp(1.0, 16.0), entries, sum: None, whole, beside: 1.0, unlevelled: 0.0 }
    }

    /// Measures how often two fields are loud at once: what `at` may count for can hang on it.
    pub(crate) fn pair(&mut self, at: usize, other: usize) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.beside = Some((other, Lift::default()));
        }
    }

    /// What a field counts for from now on.
    pub(crate) fn weigh(&mut self, at: usize, weight: Weight) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.weight = match (weight, &entry.beside) {
                (Weight::Full, _) => 1.0,
                (Weight::Silent, _) => 0.0,
                (Weight::ByLift, Some((_, lift))) => lift.weight(),
                (Weight::ByLift, None) => Lift::default().weight(),
            };
        }
    }

    /// What a field counts for, and the lift of its pair.
    pub(crate) fn standing(&self, at: usize) -> (f64, Option<f64>) {
        let entry = self.entries.get(at);
        let lift = entry.and_then(|entry| entry.beside.as_ref()).map(|(_, lift)| lift.lift());
        (entry.map_or(0.0, |entry| entry.weight), lift)
    }

    /// The fused surprise of an event in nats, from 0, on a grid of 1e-6; from the scores of all fields of all
    /// channels in their fixed order.
    pub(crate) fn judge(&mut self, scores: &[Option<f64>]) -> f64 {
        let (mut powers, mut all, mut spoke) = (0.0, 0.0, false);
        let (mut own, mut whole) = (None::<f64>, 0.0_f64);
        for (at, entry) in self.entries.iter_mut().enumerate() {
            entry.score = scores.get(at).copied().flatten().filter(|score| score.is_finite());
            entry.surprise = entry.score.map_or(0.0, |score| entry.weight * entry.nats(score, NOISE));
            if entry.weight <= 0.0 {
                continue;
            }
            if entry.unit != Unit::Budget {
                spoke |= entry.score.is_some();
                powers += entry.surprise.powf(self.power);
                all += entry.surprise;
                whole = if entry.unit == Unit::Whole { whole.max(entry.surprise) } else { whole };
            } else if entry.score.is_some() {
                own = Some(own.map_or(entry.surprise, |own| own.max(entry.surprise)));
            }
        }
        self.sum = spoke.then(|| powers.powf(1.0 / self.power));
        self.beside = if own.is_some() { BESIDE } else { 1.0 };
        let others = self.sum.map_or(0.0, |sum| self.whole.surprise(sum).min(all / (1.0 - NOISE)));
        let own = own.map_or(0.0, |own| own.max(whole));
        self.unlevelled = others.max(own);
        ((self.beside * others).max(own) * GRID).round() / GRID
    }

    /// Surprise of the event last judged as the guard needs it: a series beside it makes no other field less strange.
    pub(crate) fn unlevelled(&self) -> f64 {
        self.unlevelled
    }

    /// Score of each field for the event last judged, and its surprise as it counts.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Option<f64>, f64)> {
        self.entries.iter().map(|entry| {
            let share = if matches!(entry.unit, Unit::Budget | Unit::Whole) { 1.0 } else { self.beside };
            (entry.score, share * entry.surprise)
        })
    }

    /// Whether each field's surprise for the event last judged, without the margin for noise, is within a limit.
    pub(crate) fn within(&self, limit: f64) -> impl Iterator<Item = bool> {
        let nats = |entry: &Entry| entry.score.map_or(0.0, |score| entry.nats(score, 0.0));
        // Most scores are in the body, which needs no ranking.
        let share = (-limit).exp();
        self.entries.iter().map(move |entry| entry.is_ordinary(share) || nats(entry) <= limit)
    }

    /// Whether all fields that count for anything are among those admitted, one entry a field.
    pub(crate) fn admits(&self, fields: &[bool]) -> bool {
        self.entries.iter().zip(fields).all(|(entry, admitted)| *admitted || entry.weight <= 0.0)
    }

    /// Remembers the event last judged.
    pub(crate) fn learn(&mut self) {
        self.learn_pairs();
        for entry in &mut self.entries {
            if let (Some(score), Some(calibrator)) = (entry.score, &mut entry.calibrator) {
                calibrator.learn(score);
            }
        }
        if let Some(sum) = self.sum {
            self.whole.learn(sum);
        }
    }

    fn learn_pairs(&mut self) {
        for at in 0..self.entries.len() {
            let strict = |at: usize| {
                let entry = self.entries.get(at)?;
                entry.score.map(|score| entry.nats(score, 0.0))
            };
            let Some(other) = self.entries[at].beside.as_ref().map(|(other, _)| *other) else { continue };
            if let (Some(one), Some(other)) = (strict(at), strict(other))
                && let Some((_, lift)) = &mut self.entries[at].beside
            {
                lift.observe(one, other);
            }
        }
    }
}

/// Surprises are rounded to a millionth of a nat: what differs by less is the same on every machine.
const GRID: f64 = 1e6;
/// Share of a score that is not to be made much of: decayed counts of half-life 1 000 wander by about so much.
const NOISE: f64 = 0.1;
/// What all other fields count for beside one with a budget of its own.
const BESIDE: f64 = 0.5;

/// One field of one channel.
#[derive(Clone, Debug)]
struct Entry {
    unit: Unit,
    score: Option<f64>,
    /// As it counts: weighted.
    surprise: f64,
    /// 0 to 1.
    weight: f64,
    /// A field to agree with, and how often that was so.
    beside: Option<(usize, Lift)>,
    /// There if scores have to be ranked.
    calibrator: Option<Calibrator>,
}

impl Entry {
    /// Whether the score is known to be less rare than that without ranking it; if not, it may be all the same.
    fn is_ordinary(&self, share: f64) -> bool {
        let ordinary =
            |calibrator: &Calibrator| self.score.is_some_and(|score| calibrator.is_ordinary(score, share));
        self.calibrator.as_ref().is_some_and(ordinary)
    }

    fn nats(&self, score: f64, margin: f64) -> f64 {
        let rarity = |calibrator: &Calibrator| calibrator.surprise(score - margin * score.abs());
        match (&self.calibrator, self.unit) {
            (Some(calibrator), Unit::Raw) => rarity(calibrator),
            (Some(calibrator), Unit::Steady | Unit::Whole) => calibrator.surprise(score - margin),
            (Some(calibrator), _) => calibrator.surprise(score).min(score).max(0.0),
            (None, _) => score.clamp(0.0, NATS_MAX),
        }
    }
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
        // Ten fields that are one and the same, and five independent ones.
        let mut fusion = Fusion::new(1.5, 4_000, [Unit::Raw; 15]);
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
        let mut fusion = Fusion::new(1.5, 4_000, [Unit::Raw; 20]);
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
    fn several_that_agree_are_stranger_than_one_alone() {
        let mut fusion = Fusion::new(1.5, 4_000, [Unit::Raw; 4]);
        let mut state = 29;
        for _ in 0..12_000 {
            let scores: Vec<_> = (0..4).map(|_| Some(exponential(&mut state))).collect();
            fusion.judge(&scores);
            fusion.learn();
        }
        let one = fusion.judge(&[Some(7.0), Some(0.5), Some(0.5), Some(0.5)]);
        let three = fusion.judge(&[Some(7.0), Some(6.0), Some(6.5), Some(0.5)]);
        assert!(three > one + 2.0, "{three} {one}");
    }

    #[test]
    fn a_score_that_wanders_sets_no_records() {
        // Nine values, each as likely as another, whose scores drift by a few hundredths of their size.
        let mut fusion = Fusion::new(1.5, 5_000, [Unit::Raw; 3]);
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
    fn evidence_is_never_made_more_of_and_less_where_a_law_is_too_sure() {
        let (mut sure, mut state) = (Fusion::new(1.5, 4_000, [Unit::Evidence]), 37);
        let mut modest = Fusion::new(1.5, 4_000, [Unit::Evidence]);
        for event in 0..8_000 {
            // Fifty times what would be right; and next to nothing.
            sure.judge(&[Some(50.0 * exponential(&mut state))]);
            sure.learn();
            modest.judge(&[Some(f64::from(event % 7) / 100.0)]);
            modest.learn();
        }
        let surprise = |fusion: &mut Fusion, score| {
            fusion.judge(&[Some(score)]);
            fusion.entries().map(|(_, nats)| nats).sum::<f64>()
        };
        assert!((3.0..5.0).contains(&surprise(&mut sure, 200.0)));
        assert!((surprise(&mut modest, 0.8) - 0.8).abs() < 1e-9);
    }

    #[test]
    fn a_budget_of_its_own_passes_unlevelled_and_silences_the_others_by_half() {
        let mut fusion = Fusion::new(1.5, 1_000, [Unit::Raw, Unit::Budget]);
        let mut state = 31;
        for _ in 0..5_000 {
            fusion.judge(&[Some(exponential(&mut state)), Some(9.0)]);
            fusion.learn();
        }
        let without = fusion.judge(&[Some(9.0), None]);
        assert!(without > 6.0);
        assert!((fusion.judge(&[Some(9.0), Some(-3.0)]) - without / 2.0).abs() < 1e-5);
        assert!((fusion.judge(&[Some(9.0), Some(9.5)]) - 9.5).abs() < 1e-9, "however often it was said");
    }

    #[test]
    fn a_whole_event_is_not_silenced_beside_a_budget() {
        let mut fusion = Fusion::new(1.5, 1_000, [Unit::Raw, Unit::Whole, Unit::Budget]);
        let mut state = 33;
        for _ in 0..5_000 {
            fusion.judge(&[Some(exponential(&mut state)), Some(exponential(&mut state)), Some(0.5)]);
            fusion.learn();
        }
        let nats = |fusion: &Fusion| fusion.entries().map(|(_, nats)| nats).collect::<Vec<_>>();
        let fused = fusion.judge(&[Some(1.0), Some(8.0), Some(0.5)]);
        assert!(fused > 5.0 && (fused - nats(&fusion)[1]).abs() < 1e-5);
        assert!(fusion.judge(&[Some(8.0), Some(1.0), Some(0.5)]) < 0.7 * fused);
    }

    #[test]
    fn a_silent_field_is_not_there_and_another_counts_by_its_agreement() {
        for (agrees, weight) in [(true, 1.0), (false, 0.3)] {
            let mut with = Fusion::new(1.2, 1_000, [Unit::Raw, Unit::Raw, Unit::Evidence]);
            let mut without = Fusion::new(1.2, 1_000, [Unit::Raw, Unit::Evidence]);
            with.pair(1, 0);
            with.weigh(1, Weight::Silent);
            let mut state = 37;
            for _ in 0..4_000 {
                let [one, other, third] = [(); 3].map(|()| exponential(&mut state));
                let beside = if agrees { one } else { other };
                let nats = with.judge(&[Some(one), Some(beside), Some(third)]);
                assert_eq!(nats.to_bits(), without.judge(&[Some(one), Some(third)]).to_bits());
                with.learn();
                without.learn();
            }
            assert!(with.judge(&[None, Some(99.0), None]) < 1e-9, "nobody spoke");
            with.weigh(1, Weight::ByLift);
            let (counts, lift) = with.standing(1);
            assert!((counts - weight).abs() < 1e-9 && lift.is_some_and(|lift| (lift > 5.0) == agrees));
            let nats = |fusion: &mut Fusion| {
                fusion.judge(&[Some(1.0), Some(9.0), None]);
                fusion.entries().nth(1).map_or(0.0, |(_, nats)| nats)
            };
            let by_lift = nats(&mut with);
            with.weigh(1, Weight::Full);
            assert!((by_lift - weight * nats(&mut with)).abs() < 1e-9 && by_lift > 1.0);
        }
    }

    #[test]
    fn silence_is_no_surprise_and_teaches_nothing() {
        let mut fusion = Fusion::new(1.5, 1_000, [Unit::Raw; 2]);
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
