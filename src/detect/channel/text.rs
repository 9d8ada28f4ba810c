//! Strange because its characters and words have hardly been seen: surprise of a text under decayed counts of its
//! n-grams.
//!
//! Low orders carry messages that people write, high ones those that programs write, words both; so all are
//! pooled with equal weight. A text's surprise is taken twice, as it is and given its length, because a short text
//! has fewer features to average over; the rarer of the two counts. The weights were chosen by measuring on labelled streams.
//!
//! Nothing here may call the embedder or know a language: it must say something of any text, empty ones too.

use std::sync::Arc;

use super::{Channel, Unit, excerpt, on_grid};
use crate::detect::Settings;
use crate::flow::{Evidence, Point, Reason, Schema, Traced};

mod counts;
mod features;
mod length;
mod rarity;
mod recent;
mod spans;

use counts::Counts;
use features::{Extractor, Features};
use length::ByLength;
use rarity::Rarity;
use recent::Recent;

/// Largest surprise told apart in the body, nats: a new feature among five million events has less.
const SURPRISE_MAX: f64 = 16.0;
/// Nats that are made at most of a nat of surprise. Where all texts are alike, ranks tell rounding from rounding: a text
/// whose every part is in 99 of 100 events is not strange, whatever the others were.
const MOST_OF_SURPRISE: f64 = 20.0;
/// Most standard deviations told apart in the body.
const DEVIATIONS_MAX: f64 = 12.0;

/// Surprise of each text field's characters and words.
#[derive(Debug)]
pub(crate) struct Text {
    extractor: Extractor,
    fields: Vec<Field>,
}

/// What is normal in one field.
#[derive(Debug)]
struct Field {
    pointer: Arc<str>,
    counts: Counts,
    lengths: ByLength,
    /// Of surprises, and of surprises given the length.
    rarities: [Rarity; 2],
    recent: Recent,
    scored: Option<Scored>,
}

/// The text last scored.
#[derive(Debug)]
struct Scored {
    features: Arc<Features>,
    /// Surprise, and the same given the length.
    sides: [f64; 2],
}

impl Text {
    /// Has seen nothing.
    pub(crate) fn new(settings: &Settings, schema: &Schema) -> Self {
        let fields = schema.texts.iter().map(|pointer| Field::new(pointer, settings)).collect();
        Self { extractor: Extractor::default(), fields }
    }
}

impl Channel for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn fields(&self) -> Vec<Arc<str>> {
        self.fields.iter().map(|field| Arc::clone(&field.pointer)).collect()
    }

    fn unit(&self) -> Unit {
        Unit::Evidence
    }

    fn score(&mut self, point: &Traced<Point>, scores: &mut Vec<Option<f64>>) {
        let Self { extractor, fields } = self;
        for (at, field) in fields.iter_mut().enumerate() {
            let text = point.value.sample.texts.get(at).and_then(Option::as_ref);
            scores.push(text.and_then(|text| field.score(text, extractor)));
        }
    }

    fn grow(&mut self, settings: &Settings, schema: &Schema) -> bool {
        let new = schema.texts.iter().skip(self.fields.len());
        self.fields.extend(new.map(|pointer| Field::new(pointer, settings)));
        true
    }

    fn learn(&mut self, _: &Traced<Point>) {
        self.fields.iter_mut().for_each(|field| field.pass(true));
    }

    fn learn_fields(&mut self, _: &Traced<Point>, admitted: &[bool]) {
        self.fields.iter_mut().zip(admitted).for_each(|(field, admitted)| field.pass(*admitted));
    }

    fn skip(&mut self) {
        self.fields.iter_mut().for_each(|field| field.pass(false));
    }

    fn explain(&self, point: &Traced<Point>, field: usize, evidence: &mut Evidence) {
        let Some(Some(text)) = point.value.sample.texts.get(field) else { return };
        let Some(Field { pointer, counts, .. }) = self.fields.get(field) else { return };
        evidence.reasons.push(Reason {
            channel: self.name(),
            field: Arc::clone(pointer),
            value: excerpt(text),
            expected: spans::describe(text, counts),
            context: None,
        });
    }
}

impl Field {
    fn new(pointer: &Arc<str>, settings: &Settings) -> Self {
        let half_life = settings.half_life_events;
        // Decays as slowly as to remember as many values on average.
        let remembered = settings.calibration_events as f64 * std::f64::consts::LN_2;
        Self {
            pointer: Arc::clone(pointer),
            counts: Counts::new(half_life),
            lengths: ByLength::new(half_life),
            rarities: [
                Rarity::new(0.0, SURPRISE_MAX, remembered),
                Rarity::new(-DEVIATIONS_MAX / 2.0, DEVIATIONS_MAX, remembered),
            ],
            recent: Recent::new(),
            scored: None,
        }
    }

    /// Nats; `None` while there is nothing to compare with.
    fn score(&mut self, text: &Arc<str>, extractor: &mut Extractor) -> Option<f64> {
        let features = self.recent.features(text, extractor);
        let surprise = self.counts.surprise(&features);
        // Below the mean for its length nothing is strange, however new a low is.
        let sides = [surprise, self.lengths.standardised(features.length, surprise).max(0.0)];
        self.scored = Some(Scored { features, sides });
        let [plain, given_length] = [0, 1].map(|side: usize| self.rarities[side].nats(sides[side]));
        Some(on_grid(plain?.max(given_length?).min(MOST_OF_SURPRISE * surprise)))
    }

    /// Time passes; a missing text is no event of this field.
    fn pass(&mut self, learn: bool) {
        let Some(Scored { features, sides }) = self.scored.take() else { return };
        self.counts.pass();
        if learn {
            self.counts.learn(&features);
        }
        // How surprising texts are is learned of all of them, or what the guard turns away would look ever rarer.
        self.lengths.learn(features.length, sides[0]);
        for (rarity, side) in self.rarities.iter_mut().zip(sides) {
            rarity.learn(side);
        }
    }
}

#[cfg(test)]
mod tests;
