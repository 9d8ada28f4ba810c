//! One file for each way of being strange, all behind one trait.
//!
//! A channel holds what is normal for the fields it watches and gives each event a raw score in a unit of its own;
//! the calibrator makes the units comparable. So a new way of being strange is one new file and one line where
//! channels are listed. A channel must never see a label, a clock or another channel.

use std::fmt::Debug;
use std::sync::Arc;

use crate::detect::Settings;
use crate::flow::{Evidence, Point, Schema, Traced};

pub(crate) mod categorical;
pub(crate) mod density;
pub(crate) mod joint;
pub(crate) mod meaning;
pub(crate) mod nearest;
pub(crate) mod numeric;
pub(crate) mod series;
pub(crate) mod text;

/// One way of being strange.
pub(crate) trait Channel: Debug + Send {
    /// Its name in alerts and metrics: "density", "text", "meaning", "joint", "nearest", "numeric",
    /// "categorical", "series".
    fn name(&self) -> &'static str;

    /// Raw scores, one entry a field it watches (`None` where the field is missing or nothing can be said yet),
    /// appended in the fixed order of `fields()`. Never NaN, never infinite.
    ///
    /// Called once an event, before `learn`. `&mut self` so that work done for scoring can be kept for learning.
    fn score(&mut self, point: &Traced<Point>, scores: &mut Vec<Option<f64>>);

    /// Pointers of the fields, in the order of scores.
    fn fields(&self) -> Vec<Arc<str>>;

    /// Takes the event last scored into what is normal. Called only if the guard admits the event.
    fn learn(&mut self, point: &Traced<Point>);

    /// The same, but not in fields whose own score is beyond the guard, one entry a field: a text never seen must not
    /// become normal because the event as a whole was not strange enough. A channel whose fields tell nothing of
    /// one another's strangeness keeps these out; for others the event is all there is.
    fn learn_fields(&mut self, point: &Traced<Point>, admitted: &[bool]) {
        let _ = admitted;
        self.learn(point);
    }

    /// Takes in fields that have joined, behind those it has: from now on points hold them, and `schema` is theirs. What is
    /// said of the others must not change before [`Self::hear`]. False, and nothing done, if it cannot: then a new one
    /// learns beside it and takes its place.
    fn grow(&mut self, settings: &Settings, schema: &Schema) -> bool;

    /// All fields count from now on.
    fn hear(&mut self) {}

    /// What its scores are.
    fn unit(&self) -> Unit {
        Unit::Raw
    }

    /// What its scores in field number `field` of `fields()` may count for, from the events learned so far.
    fn weight(&self, field: usize) -> Weight {
        let _ = field;
        Weight::Full
    }

    /// The channel whose agreement on the same field [`Weight::ByLift`] hangs on; none for a channel that always counts in
    /// full.
    fn beside(&self) -> Option<&'static str> {
        None
    }

    /// What the weight of field number `field` hangs on, for metrics: how alike this view of its texts is to that of
    /// their letters.
    fn correlation(&self, field: usize) -> Option<f64> {
        let _ = field;
        None
    }

    /// Time passes for an event that was not learned too (decay), if the channel cares. Called instead of `learn`.
    fn skip(&mut self) {}

    /// Why the event last scored is strange in field number `field` of `fields()`: reasons and, for density,
    /// neighbours. Only asked for alerts, after `score` and before `learn` or `skip`.
    fn explain(&self, point: &Traced<Point>, field: usize, evidence: &mut Evidence);

    /// What it holds, for metrics.
    fn held(&self) -> Held {
        Held::default()
    }
}

/// What a channel's scores mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A measure that wanders by a tenth of itself as the channel learns; only its rank among recent ones tells how rare
    /// it is.
    Raw,
    /// A measure that does not; only its rank tells.
    Steady,
    /// The same, of an event as a whole: no series beside it makes it less.
    Whole,
    /// Nats by a law of the channel's own: evidence that no calibration may make more of, only less.
    Evidence,
    /// Nats against a budget of the channel's own, which no calibration over time may level; below 0 is ordinary.
    Budget,
}

/// What a channel's scores in a field may count for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// All that they say.
    Full,
    /// Nothing, as if they were not there; they may still serve as evidence.
    Silent,
    /// More, the more often they agree with another channel on the same field.
    ByLift,
}

/// How much a channel holds, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Rows of embeddings.
    pub(crate) rows: usize,
    /// Keys, values and combinations counted.
    pub(crate) keys: usize,
    /// How many of those were forgotten for want of room.
    pub(crate) evicted: u64,
}

/// Scores are rounded to this, so that the last bits of a float never decide.
const GRID: f64 = 1e-6;
/// Characters of a text that a reason quotes.
const QUOTED_CHARS: usize = 200;

/// A score on the grid.
pub(crate) fn on_grid(score: f64) -> f64 {
    (score / GRID).round() * GRID
}

/// The beginning of a text, with an ellipsis where it was cut.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
