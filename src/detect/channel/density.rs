//! Strange because nothing like it was there lately: how far a text's embedding lies from the nearest of the
//! texts in its field's window.
//!
//! The score is the mean cosine distance to the k nearest distinct texts, repeats weighing 1 + ln of their count:
//! k-nearest-neighbour anomaly scores after Ramaswamy, Rastogi & Shim (SIGMOD 2000), over a sliding window.
//! Vectors are neither centred nor whitened: nearness to the common mean is a signal. One field, one window.
//!
//! What "near" means is the embedder's affair. The built-in one compares character n-grams, so nothing here may
//! call a distance one of meaning; and it sees neither numbers nor case, so nothing here may call two texts the same
//! because their distance is 0.

use std::sync::Arc;

use super::{Channel, Held, excerpt, on_grid};
use crate::detect::Settings;
use crate::detect::window::Window;
use crate::flow::{Evidence, Neighbour, Point, Reason, Schema, Traced};

/// Neighbours that an alert shows for a field.
const SHOWN: usize = 3;
/// A distance below this would be written as 0.00.
const DISTANCE_SHOWN: f64 = 0.005;

/// Distance of each text to its field's recent texts.
#[derive(Debug)]
pub(crate) struct Density {
    fields: Vec<Arc<str>>,
    windows: Vec<Window>,
}

impl Density {
    /// One empty window for each text field.
    pub(crate) fn new(settings: &Settings, schema: &Schema) -> Self {
        let mut density = Self { fields: Vec::new(), windows: Vec::new() };
        density.grow(settings, schema);
        density
    }
}

impl Channel for Density {
    fn name(&self) -> &'static str {
        "density"
    }

    fn fields(&self) -> Vec<Arc<str>> {
        self.fields.clone()
    }

    fn score(&mut self, point: &Traced<Point>, scores: &mut Vec<Option<f64>>) {
        for (field, window) in self.windows.iter_mut().enumerate() {
            let embedding = point.value.embeddings.get(field).and_then(Option::as_ref);
            scores.push(embedding.and_then(|embedding| window.distance(embedding)).map(on_grid));
        }
    }

    fn learn(&mut self, point: &Traced<Point>) {
        self.learn_fields(point, &vec![true; self.fields.len()]);
    }

    fn learn_fields(&mut self, point: &Traced<Point>, admitted: &[bool]) {
        let Point { sample, embeddings } = &point.value;
        let texts = sample.texts.iter().zip(embeddings);
        for ((window, (text, embedding)), admitted) in self.windows.iter_mut().zip(texts).zip(admitted) {
            if let (Some(text), Some(embedding), true) = (text, embedding, admitted) {
                window.learn(embedding, text, point.origin.offset);
            }
        }
    }

    fn grow(&mut self, settings: &Settings, schema: &Schema) -> bool {
        let Settings { window_events, window_texts, neighbours, .. } = *settings;
        self.fields.extend(schema.texts.iter().skip(self.fields.len()).cloned());
        let count = self.fields.len();
        self.windows.resize_with(count, || Window::new(window_events, window_texts, neighbours));
        true
    }

    fn held(&self) -> Held {
        Held { rows: self.windows.iter().map(Window::rows).sum(), ..Held::default() }
    }

    fn explain(&self, point: &Traced<Point>, field: usize, evidence: &mut Evidence) {
        let (Some(name), Some(window)) = (self.fields.get(field), self.windows.get(field)) else { return };
        let Some(Some(text)) = point.value.sample.texts.get(field) else { return };
        let neighbours = window.nearest(SHOWN).map(|near| Neighbour {
            channel: self.name(),
            field: Arc::clone(name),
            text: Arc::clone(near.text),
            distance: on_grid(near.distance),
            offset: near.offset,
            count: near.count,
        });
        let neighbours: Vec<Neighbour> = neighbours.collect();
        let expected = match neighbours.first() {
            Some(near) if near.distance < DISTANCE_SHOWN => {
                let what = if near.text == *text {
                    "the same text"
                } else if near.distance == 0.0 {
                    "the same but for numbers and case"
                } else {
                    "nearly the same text"
                };
                let times = if near.count == 1 { "once".to_owned() } else { format!("{} times", near.count) };
                format!("{what} was seen {times} lately")
            }
            Some(near) => format!("nearest normal text at cosine distance {:.2}", near.distance),
            None => "no normal text yet".to_owned(),
        };
        evidence.neighbours.extend(neighbours);
        evidence.reasons.push(Reason {
            channel: self.name(),
            field: Arc::clone(name),
            value: excerpt(text),
            expected,
            context: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Budget;
    use crate::flow::{Embedding, Lane, Origin, Sample, Time};

    fn density() -> Density {
        let settings = Settings {
            window_events: 100,
            window_texts: 50,
            neighbours: 2.0,
            warmup_events: 0,
            calibration_events: 100,
            half_life_events: 100.0,
            guard: 0.02,
            fusion_power: 3.0,
            keys_max: 10,
            budget: Budget::Events(1000.0),
            channels: crate::detect::Selection::ALL,
            meaning: None,
        };
        let texts = vec![Arc::from("/a"), Arc::from("/b")];
        Density::new(&settings, &Schema { texts, ..Schema::default() })
    }

    /// A text at an angle, in field 0; field 1 is missing.
    fn at(degrees: u16, offset: i64) -> Traced<Point> {
        let angle = f32::from(degrees).to_radians();
        let vector = Arc::from([angle.cos(), angle.sin()]);
        let sample =
            Sample { texts: vec![Some(Arc::from(format!("at {degrees}"))), None], ..Sample::default() };
        let embeddings =
            vec![Some(Embedding { fingerprint: u64::from(degrees), vector, meaning: None }), None];
        let lane = Lane { topic: Arc::from("t"), partition: 0 };
        let origin = Origin { lane, offset, time: Time(0) };
        Traced { origin, value: Point { sample, embeddings } }
    }

    fn score(density: &mut Density, point: &Traced<Point>) -> Vec<Option<f64>> {
        let mut scores = Vec::new();
        density.score(point, &mut scores);
        scores
    }

    #[test]
    fn a_score_is_the_weighted_mean_distance_to_the_nearest() {
        let mut density = density();
        assert_eq!(score(&mut density, &at(0, 0)), [None, None]);
        for (offset, degrees) in (0..).zip([0, 0, 0, 60, 180]) {
            density.learn(&at(degrees, offset));
        }
        // Weight 1 of the text at 60 degrees (distance .5), the other 1 of the one at 0, which has 1 + ln 3.
        let [Some(scored), None] = score(&mut density, &at(90, 9))[..] else { panic!("no score") };
        assert!((scored - f64::midpoint(1.0 - 0.75_f64.sqrt(), 1.0)).abs() < 1e-6);
        // Its own text counts as any other.
        assert_eq!(score(&mut density, &at(0, 9)), [Some(0.0), None]);
    }

    #[test]
    fn an_alert_shows_three_neighbours_with_offsets_and_counts() {
        let mut density = density();
        for (offset, degrees) in (0..).zip([0, 10, 10, 20, 30]) {
            density.learn(&at(degrees, offset));
        }
        let strange = at(90, 9);
        score(&mut density, &strange);
        let mut evidence = Evidence::default();
        density.explain(&strange, 0, &mut evidence);
        density.explain(&strange, 1, &mut evidence);
        let shown: Vec<_> =
            evidence.neighbours.iter().map(|near| (&*near.text, near.offset, near.count)).collect();
        assert_eq!(shown, [("at 30", 4, 1), ("at 20", 3, 1), ("at 10", 2, 2)]);
        assert_eq!(evidence.reasons.len(), 1);
        assert_eq!(evidence.reasons[0].value, "at 90");
        assert_eq!(evidence.reasons[0].expected, "nearest normal text at cosine distance 0.50");
    }

    #[test]
    fn distance_0_is_not_called_the_same_text_unless_it_is() {
        let mut density = density();
        for (offset, degrees) in (0..).zip([0, 0, 90]) {
            density.learn(&at(degrees, offset));
        }
        let mut expected = |point: &Traced<Point>| {
            score(&mut density, point);
            let mut evidence = Evidence::default();
            density.explain(point, 0, &mut evidence);
            evidence.reasons.remove(0).expected
        };
        assert_eq!(expected(&at(0, 9)), "the same text was seen 2 times lately");
        let mut masked = at(90, 9);
        masked.value.sample.texts[0] = Some(Arc::from("AT 91"));
        assert_eq!(expected(&masked), "the same but for numbers and case was seen once lately");
        assert_eq!(expected(&at(1, 9)), "nearly the same text was seen 2 times lately");
    }
}
