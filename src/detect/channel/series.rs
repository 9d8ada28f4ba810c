//! A number strange given what it was a moment ago in its own series.
//!
//! A series is a number field of one value of a key field, or of the whole lane. How far its course departs from
//! what came before is ranked among the largest departures that it has shown (`course`, `record`), so that each
//! series has a budget of its own, in its own unit. Where events share a key but no order, that would be noise: so
//! the channel is silent unless its gate (`gate`) has found that the values hang together.
//!
//! Which key field makes series is measured too: the gate watches each number by every key field and category (a
//! metric's name is often one), or by the whole lane if it has no keys, on small traces; the one that shows the most
//! continuity is in force for that number, and only its series have a course. One stays in force until another is
//! clearly better, for courses begin anew.
//!
//! Every event teaches, also one that the guard withholds: it is what the value was a moment ago, whatever it was,
//! and its own record is what keeps the next one from setting another (on metrics 38 of 53 windows; 24 if only admitted
//! events teach, 27 if the others move the means but are no records). A series costs some 130 bytes, and with a
//! course 520 to 1 300 more, growing with its records; the least recently used are forgotten. It must never give a
//! score where the gate is off, nor let a constant, lying or backward time open it.

use std::sync::Arc;

use super::numeric::{exactly, written};
use super::{Channel, Held, Unit, on_grid};
use crate::detect::Settings;
use crate::detect::lru::{self, Lru};
use crate::flow::{Evidence, Point, Reason, Sample, Schema, Traced};

use course::{Course, Look};
use gate::{Gate, Trace};

mod course;
mod gate;
mod record;

/// Watches every number field.
#[derive(Debug)]
pub(crate) struct Series {
    fields: Vec<Field>,
    /// The key fields, then the categories, and last the whole lane as one series.
    keys: Vec<Key>,
    /// How many of those are key fields, and how many categories.
    counts: [usize; 2],
    keys_max: usize,
    /// Time of the event last scored, until it is learned.
    time: Option<i64>,
}

impl Series {
    /// Has seen nothing; remembers at most `keys_max` distinct keys of each key field, fewer if there are many
    /// numbers.
    pub(crate) fn new(keys_max: usize, schema: &Schema) -> Self {
        let lane = schema.keys.is_empty().then(|| Key::new(None, 1));
        let keys = lane.into_iter().collect();
        let mut series = Self { fields: Vec::new(), keys, counts: [0; 2], keys_max, time: None };
        series.extend(schema);
        series.hear();
        series
    }

    /// Takes in what the schema has more. The whole lane stays a series, if it is one.
    fn extend(&mut self, schema: &Schema) {
        let keys_max = self.keys_max.min(SERIES_MAX / schema.numbers.len().max(1));
        let [keys, categories] = self.counts;
        self.counts = [schema.keys.len(), schema.categories.len()];
        // Categories first: their places are behind the keys'.
        for (at, names) in
            [(keys + categories, schema.categories.get(categories..)), (keys, schema.keys.get(keys..))]
        {
            let new = names.unwrap_or_default().iter().map(|name| Key::new(Some(name.clone()), keys_max));
            let more = new.len();
            self.keys.splice(at..at, new);
            for field in &mut self.fields {
                field.gates.splice(at..at, std::iter::repeat_n(Gate::default(), more));
                field.force = field.force.map(|force| if force < at { force } else { force + more });
            }
        }
        let count = self.keys.len();
        let field = |name: &Arc<str>| Field {
            name: name.clone(),
            gates: vec![Gate::default(); count],
            force: None,
            value: None,
            look: None,
            heard: false,
        };
        self.fields.extend(schema.numbers.iter().skip(self.fields.len()).map(field));
        for key in &mut self.keys {
            key.own.shrink(keys_max);
            key.own.values_mut().for_each(|own| own.extend(self.fields.len()));
        }
    }

    /// Takes in the event last scored.
    fn take(&mut self) {
        let Some(time) = self.time.take() else { return };
        let count = self.fields.len();
        for (which, key) in self.keys.iter_mut().enumerate() {
            let Some(hash) = key.hash.filter(|_| self.fields.iter().any(|field| field.value.is_some()))
            else {
                continue;
            };
            let own = key.own.entry(hash, || Own::new(count));
            for ((field, trace), course) in self.fields.iter_mut().zip(&mut own.traces).zip(&mut own.courses)
            {
                let Some(x) = field.value else { continue };
                field.gates[which].observe(trace, x, time);
                if field.force == Some(which) {
                    let course = course.get_or_insert_default();
                    let look = field.look.take().unwrap_or_else(|| course.look(x));
                    course.learn(x, &look);
                }
            }
        }
        for (at, field) in self.fields.iter_mut().enumerate() {
            let Some(before) = field.choose(&self.keys) else { continue };
            for own in self.keys[before].own.values_mut() {
                own.courses[at] = None;
            }
        }
    }

    fn course(&self, field: &Field, at: usize) -> Option<&Course> {
        let key = &self.keys[field.force?];
        key.own.get(key.hash?)?.courses[at].as_deref()
    }
}

impl Channel for Series {
    fn name(&self) -> &'static str {
        "series"
    }

    fn unit(&self) -> Unit {
        Unit::Budget
    }

    fn score(&mut self, point: &Traced<Point>, scores: &mut Vec<Option<f64>>) {
        let sample = &point.value.sample;
        self.time = Some(point.origin.time.0);
        for (at, key) in self.keys.iter_mut().enumerate() {
            key.hash = if key.name.is_some() { key_of(sample, at).map(lru::hash) } else { Some(0) };
        }
        for at in 0..self.fields.len() {
            let field = &self.fields[at];
            let value = sample.numbers.get(at).copied().flatten().filter(|x| x.is_finite());
            let course = self.course(field, at);
            let look = value.zip(course).map(|(x, course)| (course.look(x), course.count()));
            let open = field.force.is_some_and(|which| field.gates[which].is_on());
            let old = look.filter(|&(_, count)| open && count >= course::ENOUGH);
            scores.push(old.map(|(look, _)| on_grid(look.score)));
            let field = &mut self.fields[at];
            (field.value, field.look) = (value, look.map(|(look, _)| look));
        }
    }

    fn fields(&self) -> Vec<Arc<str>> {
        self.fields.iter().map(|field| field.name.clone()).collect()
    }

    fn grow(&mut self, _: &Settings, schema: &Schema) -> bool {
        self.extend(schema);
        true
    }

    fn hear(&mut self) {
        self.fields.iter_mut().for_each(|field| field.heard = true);
        self.keys.iter_mut().for_each(|key| key.heard = true);
    }

    fn learn(&mut self, _: &Traced<Point>) {
        self.take();
    }

    fn skip(&mut self) {
        self.take();
    }

    fn explain(&self, point: &Traced<Point>, field: usize, evidence: &mut Evidence) {
        let Some(known) = self.fields.get(field) else { return };
        let (Some(x), Some(look), Some(which)) = (known.value, &known.look, known.force) else { return };
        let Some(course) = self.course(known, field) else { return };
        let name = self.keys[which].name.as_ref();
        let context = name.and_then(|name| Some(format!("{name}={}", key_of(&point.value.sample, which)?)));
        evidence.reasons.push(Reason {
            channel: self.name(),
            field: known.name.clone(),
            value: exactly(x),
            expected: course.expected(look, written),
            context,
        });
    }

    fn held(&self) -> Held {
        let keyed = || self.keys.iter().filter(|key| key.name.is_some());
        Held {
            keys: keyed().map(|key| key.own.len()).sum(),
            evicted: keyed().map(|key| key.own.evicted()).sum(),
            ..Held::default()
        }
    }
}

/// Series remembered by each key field: 5 MB of traces, and of the keys in force 50 MB of courses.
const SERIES_MAX: usize = 40_960;
/// Continuity by which another key has to be better to come into force.
const CLEARLY: f64 = 0.05;

/// A key's value; the keys of the sample come first, then its categories.
fn key_of(sample: &Sample, at: usize) -> Option<&str> {
    sample.keys.iter().chain(&sample.categories).nth(at)?.as_deref()
}

/// A number field.
#[derive(Debug)]
struct Field {
    name: Arc<str>,
    /// By each key.
    gates: Vec<Gate>,
    /// The key whose series have courses.
    force: Option<usize>,
    /// Of the event last scored.
    value: Option<f64>,
    look: Option<Look>,
    /// Whether it counts: then no key may come into force that does not yet.
    heard: bool,
}

impl Field {
    /// Puts the best key into force; gives the one that was, if that changed.
    fn choose(&mut self, keys: &[Key]) -> Option<usize> {
        let heard = |which: usize| !self.heard || keys.get(which).is_some_and(|key| key.heard);
        let open = self.gates.iter().enumerate().filter(|(which, gate)| gate.is_on() && heard(*which));
        let better = |best: (usize, f64), at: (usize, f64)| if at.1 > best.1 { at } else { best };
        let (best, continuity) = open.map(|(which, gate)| (which, gate.continuity())).reduce(better)?;
        let before = self.force;
        let held = before.map(|which| &self.gates[which]).filter(|gate| gate.is_on());
        if held.is_none_or(|gate| continuity > gate.continuity() + CLEARLY) {
            self.force = Some(best);
        }
        before.filter(|_| self.force != before)
    }
}

/// A key field, and what each of its values has of each number field.
#[derive(Debug)]
struct Key {
    /// `None` for the whole lane.
    name: Option<Arc<str>>,
    /// Of the event last scored.
    hash: Option<u64>,
    own: Lru<Own>,
    heard: bool,
}

impl Key {
    fn new(name: Option<Arc<str>>, keys_max: usize) -> Self {
        Self { name, hash: None, own: Lru::new(keys_max), heard: false }
    }
}

/// One value of a key field: by number field.
#[derive(Debug)]
struct Own {
    traces: Box<[Trace]>,
    courses: Box<[Option<Box<Course>>]>,
}

impl Own {
    fn new(numbers: usize) -> Self {
        Self { traces: vec![Trace::default(); numbers].into(), courses: vec![None; numbers].into() }
    }

    fn extend(&mut self, numbers: usize) {
        let Self { traces, courses } = std::mem::replace(self, Self::new(0));
        let (mut traces, mut courses) = (traces.into_vec(), courses.into_vec());
        traces.resize(numbers, Trace::default());
        courses.resize(numbers, None);
        *self = Self { traces: traces.into(), courses: courses.into() };
    }
}

#[cfg(test)]
mod tests;
