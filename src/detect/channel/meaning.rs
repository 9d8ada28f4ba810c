//! Strange because it is about something else: how far a text lies, in a transformer's space, from the nearest of the
//! texts in its field's window.
//!
//! Where wording varies, every message brings letters never seen together, and only what it says tells that it does not
//! belong; where programs write the texts, a transformer knows less than their letters do. So a gate by field says
//! whether the score counts at all; the neighbours serve as evidence either way. The score is that of the density channel
//! in another space, but over 2 % of the window's texts: topics are wider than templates, and a score that drifts while
//! the window fills would be given too little by its calibrator.
//!
//! It is there only where a transformer is. It must never call a distance of letters one of meaning.

use std::sync::Arc;

use super::{Channel, Weight, excerpt, on_grid};
use crate::detect::window::Window;
use crate::detect::{Matters, Settings};
use crate::flow::{Embedding, Evidence, Meaning as Place, Neighbour, Point, Reason, Schema, Traced};

mod gate;

use gate::Gate;

/// Distance of each text to its field's recent texts, by what they say.
#[derive(Debug)]
pub(crate) struct Meaning {
    matters: Matters,
    fields: Vec<Field>,
}

/// What is normal in one field.
#[derive(Debug)]
struct Field {
    pointer: Arc<str>,
    window: Window,
    gate: Gate,
}

impl Meaning {
    /// One empty window for each text field.
    pub(crate) fn new(settings: &Settings, matters: Matters, schema: &Schema) -> Self {
        let mut meaning = Self { matters, fields: Vec::new() };
        meaning.grow(settings, schema);
        meaning
    }
}

/// Share of the window's distinct texts that a text is held against, and the least and the most of them.
const SHARE: f64 = 0.02;
const NEIGHBOURS: [f64; 2] = [5.0, 250.0];
/// Neighbours that an alert shows for a field.
const SHOWN: usize = 3;
/// Characters of a neighbour that a reason quotes.
const QUOTED_CHARS: usize = 80;

impl Channel for Meaning {
    fn name(&self) -> &'static str {
        "meaning"
    }

    fn fields(&self) -> Vec<Arc<str>> {
        self.fields.iter().map(|field| Arc::clone(&field.pointer)).collect()
    }

    fn score(&mut self, point: &Traced<Point>, scores: &mut Vec<Option<f64>>) {
        for (at, field) in self.fields.iter_mut().enumerate() {
            let place = both(&point.value, at).map(|(_, place)| place);
            scores.push(place.and_then(|place| field.window.distance(place)).map(on_grid));
        }
    }

    fn learn(&mut self, point: &Traced<Point>) {
        self.learn_fields(point, &vec![true; self.fields.len()]);
    }

    fn learn_fields(&mut self, point: &Traced<Point>, admitted: &[bool]) {
        let texts = &point.value.sample.texts;
        for (at, (field, admitted)) in self.fields.iter_mut().zip(admitted).enumerate() {
            if let (Some(Some(text)), Some((embedding, place)), true) =
                (texts.get(at), both(&point.value, at), admitted)
            {
                field.window.learn(place, text, point.origin.offset);
                field.gate.learn(embedding, place);
            }
        }
    }

    fn grow(&mut self, settings: &Settings, schema: &Schema) -> bool {
        let Settings { window_events, window_texts, .. } = *settings;
        let field = |pointer: &Arc<str>| Field {
            pointer: Arc::clone(pointer),
            window: Window::sharing(window_events, window_texts, SHARE, NEIGHBOURS),
            gate: Gate::new(window_texts),
        };
        self.fields.extend(schema.texts.iter().skip(self.fields.len()).map(field));
        true
    }

    fn weight(&self, field: usize) -> Weight {
        match (self.matters, self.fields.get(field)) {
            (Matters::Yes, _) => Weight::Full,
            (Matters::Auto, Some(field)) if field.gate.is_open() => Weight::ByLift,
            _ => Weight::Silent,
        }
    }

    fn beside(&self) -> Option<&'static str> {
        Some("text")
    }

    fn correlation(&self, field: usize) -> Option<f64> {
        self.fields.get(field).and_then(|field| field.gate.correlation())
    }

    fn explain(&self, point: &Traced<Point>, field: usize, evidence: &mut Evidence) {
        let Some(Some(text)) = point.value.sample.texts.get(field) else { return };
        let Some(Field { pointer, window, .. }) = self.fields.get(field) else { return };
        let neighbours = window.nearest(SHOWN).map(|near| Neighbour {
            channel: self.name(),
            field: Arc::clone(pointer),
            text: Arc::clone(near.text),
            distance: on_grid(near.distance),
            offset: near.offset,
            count: near.count,
        });
        let neighbours: Vec<Neighbour> = neighbours.collect();
        let expected = neighbours.first().map_or_else(
            || "no normal text yet".to_owned(),
            |near| {
                let text: String = near.text.chars().take(QUOTED_CHARS).collect();
                let end = if text.len() < near.text.len() { "…" } else { "" };
                format!("nearest in meaning: \"{text}{end}\", at cosine distance {:.2}", near.distance)
            },
        );
        evidence.neighbours.extend(neighbours);
        evidence.reasons.push(Reason {
            channel: self.name(),
            field: Arc::clone(pointer),
            value: excerpt(text),
            expected,
            context: None,
        });
    }
}

/// A text in both views, if it is there and a transformer has read it.
fn both(point: &Point, field: usize) -> Option<(&Embedding, &Place)> {
    let embedding = point.embeddings.get(field)?.as_ref()?;
    Some((embedding, embedding.meaning.as_ref()?))
}

#[cfg(test)]
mod tests;
