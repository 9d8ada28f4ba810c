//! A combination seldom seen: values that are each common, and not together.
//!
//! All numbers and categories of an event fall into the cells of a forest of half-space trees, each over two fields
//! (`trees`); the score is how thin their cells are, in nats, one for the whole event. Texts have channels of their own
//! and keys are context: neither enters. Two kinds of fields stay outside because they would only drown the others:
//! those that a key explains by half or more (`explained`), and those that have had one value only; when one of these
//! has another for the first time, in n events, ln n is added. Which ones, and
//! the work space of each number (`places`), is looked at again after 250, 500, 1 000, 2 000 and 5 000 events learned and every
//! [`REVIEW`] from then on; where something has changed, the forest is made anew and taught the last accepted events
//! (`rows`) in their order. So it is a function of the events alone. Where the fields are others, so is the size of scores: the new
//! forest's are told in the units of the old one's (`units`), or whoever ranks them would compare what cannot be compared
//! for as long as it remembers (card purchases: average precision .808 without, .813 with, and .68 against .71 where the
//! stream begins at event 10 000).
//!
//! A missing value is a value: below every number, or a category of its own. Must never learn an event that the guard
//! kept out, nor cost more the longer the stream.

use std::sync::Arc;

use super::{Channel, Held, Unit, on_grid};
use crate::detect::Settings;
use crate::detect::lru;
use crate::flow::{Evidence, Point, Sample, Schema, Traced};

mod explained;
mod places;
mod reasons;
mod recent;
mod rows;
mod trees;
mod units;

use explained::Explained;
use places::{MISSING, Space};
use recent::Recent;
use rows::Rows;
use trees::{Forest, Kind};
use units::Units;

/// Watches all numbers and categories together.
#[derive(Debug)]
pub(crate) struct Joint {
    fields: Vec<Field>,
    /// How many numbers, categories and keys a row holds.
    counts: [usize; 3],
    half_life: f64,
    rows: Rows,
    explained: Explained,
    recent: Recent,
    stand: Option<Stand>,
    /// Events scored, those learned, and how many learned call for the next look at the fields.
    clock: u64,
    learned: u64,
    review: u64,
    /// Of the event last scored.
    row: Vec<u64>,
    places: Vec<u32>,
    score: Option<f64>,
}

impl Joint {
    /// Has seen nothing. Masses lose half their weight in `half_life_events`; while keys are tried, a table holds at
    /// most `keys_max` values or combinations.
    pub(crate) fn new(settings: &Settings, schema: &Schema) -> Self {
        let [numbers, categories, keys] = counts(schema);
        let field = |kind| {
            move |name: &Arc<str>| Field { name: name.clone(), kind, first: None, varies: false, changed: 0 }
        };
        let of_numbers = schema.numbers.iter().take(numbers).map(field(Kind::Number));
        let of_categories = schema.categories.iter().take(categories).map(field(Kind::Category));
        Self {
            fields: of_numbers.chain(of_categories).collect(),
            counts: [numbers, categories, keys],
            half_life: settings.half_life_events,
            rows: Rows::new(numbers + categories + keys, ROWS),
            explained: Explained::new(numbers + categories, keys, settings.keys_max),
            recent: Recent::new(settings.guard),
            stand: None,
            clock: 0,
            learned: 0,
            review: REVIEWS[0],
            row: Vec::new(),
            places: Vec::new(),
            score: None,
        }
    }

    /// Fields that had one value only so far, and have another in the event last read.
    fn broken(&self) -> impl Iterator<Item = usize> {
        let differs = |(field, value): (&Field, &u64)| {
            !field.varies && field.first.is_some_and(|first| first != *value)
        };
        self.fields
            .iter()
            .zip(&self.row)
            .enumerate()
            .filter(move |(_, pair)| differs(*pair))
            .map(|(at, _)| at)
    }

    /// The event as a row: numbers, categories, keys.
    fn read(&mut self, sample: &Sample) {
        let hash = |text: Option<&Option<Arc<str>>>| match text {
            Some(Some(text)) => lru::hash(text).min(MISSING - 1),
            _ => MISSING,
        };
        let [numbers, categories, keys] = self.counts;
        self.row.clear();
        self.row.extend((0..numbers).map(|at| places::bits(sample.numbers.get(at).copied().flatten())));
        self.row.extend((0..categories).map(|at| hash(sample.categories.get(at))));
        self.row.extend((0..keys).map(|at| hash(sample.keys.get(at))));
    }

    /// Looks at which fields vary and which a key explains, and makes the forest anew if that changed.
    fn review(&mut self) {
        for at in 0..self.fields.len() {
            if self.fields[at].varies && !self.explained.measures(at) {
                let mut sample = match self.fields[at].kind {
                    Kind::Number => self.numbers(at, 1),
                    Kind::Category => Vec::new(),
                };
                self.explained.begin(at, &mut sample, self.rows.iter().map(|(_, row)| row));
            }
        }
        let chosen = self.choose();
        let space = |at: &usize| match self.fields[*at].kind {
            Kind::Number => Some(Space::of(&mut self.numbers(*at, self.rows.len() / SAMPLE + 1))),
            Kind::Category => None,
        };
        let spaces: Vec<Option<Space>> = chosen.iter().map(space).collect();
        if self.stand.as_ref().is_none_or(|stand| stand.differs(&chosen, &spaces)) {
            self.rebuild(chosen, spaces);
        }
    }

    /// The fields that are news: those that vary and that no key explains, and of those explained the ones that
    /// predict one of these.
    fn choose(&mut self) -> Vec<usize> {
        let all = 0..self.fields.len();
        let (plain, explained): (Vec<usize>, Vec<usize>) =
            all.filter(|at| self.fields[*at].varies).partition(|at| self.explained.of(*at) <= EXPLAINED_MAX);
        for at in &explained {
            self.explained.begin_as_key(*at, &plain, self.rows.iter().map(|(_, row)| row));
        }
        let telling = explained.into_iter().filter(|at| self.explained.predicts(*at, &plain));
        let mut chosen: Vec<usize> = plain.iter().copied().chain(telling).collect();
        chosen.sort_unstable();
        chosen
    }

    fn numbers(&self, at: usize, step: usize) -> Vec<f64> {
        self.rows.iter().step_by(step).filter_map(|(_, row)| places::number(row[at])).collect()
    }

    fn rebuild(&mut self, chosen: Vec<usize>, spaces: Vec<Option<Space>>) {
        let before = self.stand.take();
        if chosen.is_empty() {
            self.recent.clear();
            return;
        }
        let kinds: Vec<Kind> = chosen.iter().map(|at| self.fields[*at].kind).collect();
        let forest = Forest::new(&kinds, self.half_life, SEED);
        let mut stand = Stand { forest, chosen, spaces, units: Units::default() };
        let (mut places, mut last, mut scores) = (Vec::new(), None, Vec::new());
        for (time, row) in self.rows.iter() {
            if let Some(last) = last.replace(time) {
                // Learning lets one event pass.
                stand.forest.pass(time - last - 1);
            }
            stand.place(row, &mut places);
            scores.push(stand.forest.score(&places));
            stand.forest.learn();
        }
        stand.units = match before {
            Some(before) if before.chosen == stand.chosen => before.units,
            // The first rows find everything strange.
            Some(_) => Units::between(self.rows.scores().zip(scores).skip(self.rows.len() / 2)),
            None => {
                scores.iter().skip(self.rows.len() / 2).for_each(|score| self.recent.push(*score));
                Units::default()
            }
        };
        self.stand = Some(stand);
    }
}

impl Channel for Joint {
    fn name(&self) -> &'static str {
        "joint"
    }

    fn unit(&self) -> Unit {
        // The mean over a hundred trees.
        Unit::Steady
    }

    fn score(&mut self, point: &Traced<Point>, scores: &mut Vec<Option<f64>>) {
        self.read(&point.value.sample);
        let thin = self.stand.as_mut().map_or(0.0, |stand| {
            stand.place(&self.row, &mut self.places);
            stand.units.of(stand.forest.score(&self.places))
        });
        let broken = self.broken().count() as f64 * (self.learned as f64 + 1.0).ln();
        self.score = (self.learned >= REVIEWS[0]).then(|| on_grid(thin + broken));
        scores.push(self.score);
    }

    fn fields(&self) -> Vec<Arc<str>> {
        // The whole event, as a JSON pointer.
        if self.fields.is_empty() { Vec::new() } else { vec![Arc::from("")] }
    }

    fn grow(&mut self, _: &Settings, schema: &Schema) -> bool {
        // Events from before a field came are no measure of combinations with it: whoever looked at them with that field
        // missing would find all that follow strange.
        self.counts == counts(schema)
    }

    fn learn(&mut self, _: &Traced<Point>) {
        if self.score.is_some_and(|score| !self.recent.admits(score)) {
            return self.skip();
        }
        if let Some(stand) = &mut self.stand {
            stand.forest.learn();
        }
        if let Some(score) = self.score {
            self.recent.push(score);
        }
        for (field, value) in self.fields.iter_mut().zip(&self.row) {
            field.varies |= *field.first.get_or_insert(*value) != *value;
        }
        self.rows.push(self.clock, &self.row, self.score);
        self.explained.learn(&self.row);
        self.clock += 1;
        self.learned += 1;
        if self.learned == self.review {
            let next = REVIEWS.into_iter().find(|review| *review > self.learned);
            self.review = next.unwrap_or(self.learned + REVIEW);
            self.review();
        }
    }

    fn skip(&mut self) {
        // What goes on differing is no constant any more, whatever the guard says.
        for (field, value) in self.fields.iter_mut().zip(&self.row) {
            if !field.varies && field.first.is_some_and(|first| first != *value) {
                field.changed += 1;
                field.varies = field.changed >= CHANGES;
            }
        }
        if let Some(stand) = &mut self.stand {
            stand.forest.pass(1);
        }
        if let Some(score) = self.score {
            self.recent.push(score);
        }
        self.clock += 1;
    }

    fn explain(&self, point: &Traced<Point>, _: usize, evidence: &mut Evidence) {
        evidence.reasons.extend(self.reason(&point.value.sample));
    }

    fn held(&self) -> Held {
        let (keys, evicted) = self.explained.held();
        Held { rows: 0, keys, evicted }
    }
}

/// Accepted events that a new forest is taught: two half-lives, by default.
const ROWS: usize = 2_000;
/// Numbers that a work space is taken from.
const SAMPLE: usize = 500;
/// Events learned at which the fields are looked at, and how often after that.
const REVIEWS: [u64; 5] = [250, 500, 1_000, 2_000, 5_000];
const REVIEW: u64 = 2_000;
/// Events kept out after which a constant that changed varies.
const CHANGES: u32 = 20;
/// A field of which a key explains more stays out, unless it predicts another one.
const EXPLAINED_MAX: f64 = 0.5;
/// Fields and keys looked at, at most.
const FIELDS: usize = 256;
const KEYS: usize = 16;
/// Where the trees' dice start.
const SEED: u64 = 1;

/// How many numbers, categories and keys are looked at: of very many, the first of each kind.
fn counts(schema: &Schema) -> [usize; 3] {
    let numbers = schema.numbers.len().min(FIELDS - schema.categories.len().min(FIELDS / 2));
    let categories = schema.categories.len().min(FIELDS - numbers);
    [numbers, categories, schema.keys.len().min(KEYS)]
}

/// A number or a category.
#[derive(Debug)]
struct Field {
    name: Arc<str>,
    kind: Kind,
    /// Its first value; whether there has been another, and in how many events that the guard kept out.
    first: Option<u64>,
    varies: bool,
    changed: u32,
}

/// The forest, and the fields that it stands on.
#[derive(Debug)]
struct Stand {
    forest: Forest,
    /// Columns of its fields.
    chosen: Vec<usize>,
    /// Of each of them that is a number.
    spaces: Vec<Option<Space>>,
    units: Units,
}

impl Stand {
    /// The places of a row, one for each field of the forest.
    fn place(&self, row: &[u64], places: &mut Vec<u32>) {
        places.clear();
        places.extend(self.chosen.iter().zip(&self.spaces).map(|(at, space)| match space {
            Some(space) => space.place(row[*at]),
            None => places::category(row[*at]),
        }));
    }

    /// Whether other fields, or work spaces that have moved far, call for another forest.
    fn differs(&self, chosen: &[usize], spaces: &[Option<Space>]) -> bool {
        let moved = |(before, after): (&Option<Space>, &Option<Space>)| match (before, after) {
            (Some(before), Some(after)) => before.differs(*after),
            _ => before.is_some() != after.is_some(),
        };
        self.chosen != chosen || self.spaces.iter().zip(spaces).any(moved)
    }
}

#[cfg(test)]
mod tests;
