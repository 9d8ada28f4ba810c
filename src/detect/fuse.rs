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
//! Fields may join later ([`Fusion::arrange`]). Until they are heard they learn and say nothing: not a bit of what is told of
//! an event hangs on them. What events come to with them is ranked beside, so that the surprise of events stays what it is
//! on the day they are.
//!
//! A missing score is no surprise, and teaches nothing. It must not know what a channel measures.

use super::channel::{Unit, Weight};
use super::lift::Lift;
use super::surprise::{Calibrator, NATS_MAX};

/// The calibrators between scores and the fused surprise.
#[derive(Debug)]
pub(crate) struct Fusion {
    power: f64,
    calibration_events: usize,
    entries: Vec<Entry>,
    /// Of the event last judged; `None` if no channel said anything.
    sum: Option<f64>,
    whole: Calibrator,
    /// The same over the fields that will be heard, while there are some that are not yet.
    coming: Option<(Option<f64>, Calibrator)>,
    /// What fields that a budget of its own silences count for in the event last judged.
    beside: f64,
    /// The same event's surprise with all counted in full.
    unlevelled: f64,
}

impl Fusion {
    /// For fields whose scores have those units, in the fixed order of scores.
    pub(crate) fn new(power: f64, calibration_events: usize, units: impl IntoIterator<Item = Unit>) -> Self {
        let entry = |unit| Entry::new(unit, Voice::Heard, calibration_events);
        Self {
            power: power.clamp(1.0, 16.0),
            calibration_events,
            entries: units.into_iter().map(entry).collect(),
            sum: None,
            whole: Calibrator::new(calibration_events),
            coming: None,
            beside: 1.0,
            unlevelled: 0.0,
        }
    }

    /// Measures how often two fields are loud at once: what `at` may count for can hang on it. Of the same two fields in
    /// other places it goes on.
    pub(crate) fn pair(&mut self, at: usize, other: usize) {
        if let Some(entry) = self.entries.get_mut(at) {
            let lift = entry.beside.take().map(|(_, lift)| lift);
            entry.beside = Some((other, lift.unwrap_or_default()));
        }
    }

    /// Puts the fields into another order, and others between them: of each its unit, the place where it was if it was
    /// there, and whether it stays. Those that are new are not heard yet. Pairs have to be named again.
    pub(crate) fn arrange(&mut self, places: &[(Unit, Option<usize>, bool)]) {
        let mut before: Vec<Option<Entry>> =
            std::mem::take(&mut self.entries).into_iter().map(Some).collect();
        let entry = |(unit, at, stays): &(Unit, Option<usize>, bool)| {
            let known = at.and_then(|at| before.get_mut(at)?.take());
            let fresh = || Entry::new(*unit, Voice::Coming, self.calibration_events);
            let entry = known.unwrap_or_else(fresh);
            Entry { voice: if *stays { entry.voice } else { Voice::Leaving }, ..entry }
        };
        self.entries = places.iter().map(entry).collect();
        let silent = self.entries.iter().any(|entry| entry.voice != Voice::Heard);
        self.coming = silent.then(|| (None, Calibrator::new(self.calibration_events)));
    }

    /// From now on every field is heard, and those that do not stay are gone. Pairs have to be named again.
    pub(crate) fn hear(&mut self) {
        self.entries.retain(|entry| entry.voice != Voice::Leaving);
        self.entries.iter_mut().for_each(|entry| entry.voice = Voice::Heard);
        if let Some((_, whole)) = self.coming.take() {
            self.whole = whole;
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
        let (mut now, mut then) = (Sum::default(), Sum::default());
        for (at, entry) in self.entries.iter_mut().enumerate() {
            entry.score = scores.get(at).copied().flatten().filter(|score| score.is_finite());
            entry.surprise = entry.score.map_or(0.0, |score| entry.weight * entry.nats(score, NOISE));
            if entry.weight <= 0.0 {
                continue;
            }
            if entry.voice != Voice::Coming {
                now.add(entry, self.power);
            }
            if self.coming.is_some() && entry.voice != Voice::Leaving {
                then.add(entry, self.power);
            }
        }
        if let Some((sum, _)) = &mut self.coming {
            *sum = then.value(self.power);
        }
        self.sum = now.value(self.power);
        self.beside = if now.own.is_some() { BESIDE } else { 1.0 };
        let others = self.sum.map_or(0.0, |sum| self.whole.surprise(sum).min(now.all / (1.0 - NOISE)));
        let own = now.own.map_or(0.0, |own| own.max(now.whole));
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

    /// Whether a field is heard.
    pub(crate) fn is_heard(&self, at: usize) -> bool {
        self.entries.get(at).is_some_and(|entry| entry.voice != Voice::Coming)
    }

    /// Whether each field is heard, in the same order.
    pub(crate) fn heard(&self) -> impl Iterator<Item = bool> {
        self.entries.iter().map(|entry| entry.voice != Voice::Coming)
    }

    /// Whether each field's surprise for the event last judged, without the margin for noise, is within a limit. One that is not
    /// heard yet takes everything in, as all did in the beginning.
    pub(crate) fn within(&self, limit: f64) -> impl Iterator<Item = bool> {
        let nats = |entry: &Entry| entry.score.map_or(0.0, |score| entry.nats(score, 0.0));
        // Most scores are in the body, which needs no ranking.
        let share = (-limit).exp();
        self.entries.iter().map(move |entry| {
            entry.voice == Voice::Coming || entry.is_ordinary(share) || nats(entry) <= limit
        })
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
        if let Some((Some(sum), whole)) = &mut self.coming {
            whole.learn(*sum);
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

/// What the fields that count come to in one event.
#[derive(Default)]
struct Sum {
    powers: f64,
    all: f64,
    spoke: bool,
    /// The largest of those with a budget of their own, and of those about the whole event.
    own: Option<f64>,
    whole: f64,
}

impl Sum {
    fn add(&mut self, entry: &Entry, power: f64) {
        if entry.unit != Unit::Budget {
            self.spoke |= entry.score.is_some();
            self.powers += entry.surprise.powf(power);
            self.all += entry.surprise;
            self.whole = if entry.unit == Unit::Whole { self.whole.max(entry.surprise) } else { self.whole };
        } else if entry.score.is_some() {
            self.own = Some(self.own.map_or(entry.surprise, |own| own.max(entry.surprise)));
        }
    }

    fn value(&self, power: f64) -> Option<f64> {
        self.spoke.then(|| self.powers.powf(1.0 / power))
    }
}

/// Whether a field takes part in what is told of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    Heard,
    /// Not yet.
    Coming,
    /// Until those that are coming are heard.
    Leaving,
}

/// One field of one channel.
#[derive(Clone, Debug)]
struct Entry {
    unit: Unit,
    voice: Voice,
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
    fn new(unit: Unit, voice: Voice, calibration_events: usize) -> Self {
        let calibrator = (unit != Unit::Budget).then(|| Calibrator::new(calibration_events));
        Self { unit, voice, score: None, surprise: 0.0, weight: 1.0, beside: None, calibrator }
    }

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
mod tests;
