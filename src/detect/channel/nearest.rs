//! Numbers that lie far from all recent ones taken together: an event as a point among the events before it.
//!
//! The forest sees two fields at a time; what lies between two clusters, or off a ridge in ten dimensions, may be ordinary in
//! each pair. Here an event's d numbers are one vector, and its score is d ln r, r the mean Euclidean distance to the [`NEIGHBOURS`]
//! nearest of the last [`ROWS`] accepted ones: but for a constant -ln of the density there, in nats (Loftsgaarden & Quesenberry,
//! "A nonparametric estimate of a multivariate density function", Ann. Math. Statist. 1965; as an anomaly score Ramaswamy,
//! Rastogi & Shim, "Efficient algorithms for mining outliers from large data sets", SIGMOD 2000). Each number is placed at asinh((x - median) / scale), scale a robust
//! standard deviation, and cut off at [`PLACE_MAX`], so that one far-out number does not drown the others.
//!
//! A distance says something only where numbers measure. So the channel is silent
//! - of a field with an atom: one value in more than a twentieth of events (flags, counts, rates that are mostly 0 or 1; on
//!   NSL-KDD connections distances over such fields find little, AUROC .65, where the forest has .96),
//! - where events have keys: their numbers are to be held against those of their key, which other channels do (card purchases:
//!   .85 by distance, .98 by the forest without what the card explains),
//! - and where fewer than two fields are left.
//!
//! Made streams (AUROC / average precision, all channels, without and with this one; `tests/dense.rs` prints them): three
//! clusters in eight dimensions .965/.48 and .983/.77; load, memory and disk of 20 hosts .987/.63 and .998/.89.
//!
//! Which fields count, and their places, is looked at again after 250, 500, 1 000 events learned and every [`REVIEW`] from then
//! on. It must never give a distance that depends on the processor: each row's sum is taken in the order of the fields.

use std::sync::Arc;

use super::{Channel, Held, Unit, on_grid};
use crate::detect::Settings;
use crate::flow::{Evidence, Point, Reason, Sample, Schema, Traced};

/// Watches all numbers of a lane without keys as one vector.
#[derive(Debug)]
pub(crate) struct Nearest {
    fields: Vec<Arc<str>>,
    rows: Rows,
    columns: Vec<Column>,
    learned: u64,
    review: u64,
    /// Of the event last scored: its numbers, its places, its distance to each row, squared, and the least of those.
    row: Vec<f64>,
    places: Vec<f32>,
    distances: Vec<f32>,
    least: Vec<f32>,
    score: Option<f64>,
}

impl Nearest {
    /// Has seen nothing.
    pub(crate) fn new(schema: &Schema) -> Self {
        let count = count(schema);
        Self {
            fields: schema.numbers.iter().take(count).cloned().collect(),
            rows: Rows::new(count),
            columns: Vec::new(),
            learned: 0,
            review: REVIEWS[0],
            row: Vec::new(),
            places: Vec::new(),
            distances: Vec::new(),
            least: Vec::new(),
            score: None,
        }
    }

    fn read(&mut self, sample: &Sample) {
        self.row.clear();
        let number = |at: usize| sample.numbers.get(at).copied().flatten().filter(|x| x.is_finite());
        self.row.extend((0..self.fields.len()).map(|at| number(at).unwrap_or(f64::NAN)));
    }

    /// -ln of the density of rows where the event lies, in nats and but for a constant; nothing where a number is missing or there are too few.
    fn measure(&mut self) -> Option<f64> {
        self.places.clear();
        self.places.extend(self.columns.iter().map(|column| column.place(self.row[column.at])));
        if self.columns.len() < FIELDS_MIN || self.places.iter().any(|place| place.is_nan()) {
            return None;
        }
        self.distances.clear();
        self.distances.resize(self.rows.len(), 0.0);
        for (column, place) in self.columns.iter().zip(&self.places) {
            for (distance, other) in self.distances.iter_mut().zip(&column.places) {
                let off = other - place;
                *distance += off * off;
            }
        }
        self.least.clear();
        self.least.extend(self.distances.iter().filter(|distance| !distance.is_nan()));
        if self.least.len() < ENOUGH {
            return None;
        }
        let (nearest, ..) = self.least.select_nth_unstable_by(NEIGHBOURS, f32::total_cmp);
        // In order, so that the sum does not depend on how they were selected.
        nearest.sort_unstable_by(f32::total_cmp);
        let sum: f64 = nearest.iter().map(|squared| f64::from(squared.sqrt())).sum();
        let distance = (sum / NEIGHBOURS as f64).max(DISTANCE_MIN);
        Some(on_grid(self.columns.len() as f64 * distance.ln()))
    }

    /// Looks at which fields measure, and where their numbers lie.
    fn review(&mut self) {
        let fields = 0..self.fields.len();
        let columns: Vec<Column> = fields.filter_map(|at| Column::of(at, self.rows.column(at))).collect();
        self.columns = if columns.len() < FIELDS_MIN { Vec::new() } else { columns };
    }

    /// The row nearest to the event last scored.
    fn closest(&self) -> Option<usize> {
        let rows = self.distances.iter().enumerate().filter(|(_, distance)| !distance.is_nan());
        rows.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(row, _)| row)
    }
}

impl Channel for Nearest {
    fn name(&self) -> &'static str {
        "nearest"
    }

    fn fields(&self) -> Vec<Arc<str>> {
        // The whole event, as a JSON pointer.
        if self.fields.is_empty() { Vec::new() } else { vec![Arc::from("")] }
    }

    fn unit(&self) -> Unit {
        // The mean over several neighbours.
        Unit::Whole
    }

    fn score(&mut self, point: &Traced<Point>, scores: &mut Vec<Option<f64>>) {
        self.read(&point.value.sample);
        self.score = self.measure();
        scores.push(self.score);
    }

    fn grow(&mut self, _: &Settings, schema: &Schema) -> bool {
        self.fields.len() == count(schema)
    }

    fn learn(&mut self, point: &Traced<Point>) {
        let slot = self.rows.push(&self.row, point.origin.offset);
        for column in &mut self.columns {
            let place = column.place(self.row[column.at]);
            match column.places.get_mut(slot) {
                Some(old) => *old = place,
                None => column.places.push(place),
            }
        }
        self.learned += 1;
        if self.learned == self.review {
            let next = REVIEWS.into_iter().find(|review| *review > self.learned);
            self.review = next.unwrap_or(self.learned + REVIEW);
            self.review();
        }
    }

    fn explain(&self, _: &Traced<Point>, _: usize, evidence: &mut Evidence) {
        let Some(row) = self.closest().filter(|_| self.score.is_some()) else { return };
        let off = |(_, (column, place)): &(usize, (&Column, &f32))| {
            column.places.get(row).map_or(0.0, |other| (other - *place).abs())
        };
        let columns = self.columns.iter().zip(&self.places).enumerate();
        let Some((_, (column, _))) = columns.max_by(|a, b| off(a).total_cmp(&off(b))) else { return };
        let (at, offset) = (column.at, self.rows.offsets.get(row).copied().unwrap_or_default());
        evidence.reasons.push(Reason {
            channel: self.name(),
            field: self.fields[at].clone(),
            value: super::numeric::exactly(self.row[at]),
            expected: format!(
                "{} in the nearest normal event (offset {offset}), all {} numbers together",
                super::numeric::exactly(self.rows.cells[row * self.rows.width + at]),
                self.columns.len()
            ),
            context: None,
        });
    }

    fn held(&self) -> Held {
        Held { rows: self.rows.len(), ..Held::default() }
    }
}

/// How many numbers are looked at.
fn count(schema: &Schema) -> usize {
    let silent = !schema.keys.is_empty() || schema.numbers.len() < FIELDS_MIN;
    if silent { 0 } else { schema.numbers.len().min(FIELDS_MAX) }
}

/// Accepted events that others are held against.
const ROWS: usize = 2_000;
/// Nearest ones whose distance is averaged.
const NEIGHBOURS: usize = 10;
/// Distances are not told apart below this.
const DISTANCE_MIN: f64 = 1e-3;
/// Rows without which nothing is said.
const ENOUGH: usize = 200;
/// Fields of a vector, at least and at most.
const FIELDS_MIN: usize = 2;
const FIELDS_MAX: usize = 64;
/// Largest place: what is more than ten scales out is as far as can be.
const PLACE_MAX: f64 = 3.0;
/// A value that more than one in so many events have is an atom.
const ATOM_ONE_IN: usize = 20;
/// Share of rows, one in so many, that may lack a field.
const MISSING_ONE_IN: usize = 20;
/// Events learned at which fields are looked at, and how often after that.
const REVIEWS: [u64; 3] = [250, 500, 1_000];
const REVIEW: u64 = 1_000;

/// The last accepted events: their numbers, NaN where one is missing, and offsets.
#[derive(Debug)]
struct Rows {
    width: usize,
    cells: Vec<f64>,
    offsets: Vec<i64>,
    next: usize,
}

impl Rows {
    fn new(width: usize) -> Self {
        Self { width, cells: Vec::new(), offsets: Vec::new(), next: 0 }
    }

    fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Takes in a row, in place of the oldest if there is no room; where it went.
    fn push(&mut self, row: &[f64], offset: i64) -> usize {
        let slot = self.next;
        self.next = (self.next + 1) % ROWS;
        if slot == self.offsets.len() {
            self.offsets.push(offset);
            self.cells.extend_from_slice(row);
        } else {
            self.offsets[slot] = offset;
            self.cells[slot * self.width..(slot + 1) * self.width].copy_from_slice(row);
        }
        slot
    }

    fn column(&self, at: usize) -> impl Iterator<Item = f64> {
        self.cells.chunks_exact(self.width.max(1)).map(move |row| row[at])
    }
}

/// A field that counts, and the places of the rows' numbers.
#[derive(Debug)]
struct Column {
    at: usize,
    median: f64,
    scale: f64,
    places: Vec<f32>,
}

impl Column {
    /// Nothing if the field does not measure.
    fn of(at: usize, numbers: impl Iterator<Item = f64>) -> Option<Self> {
        let all: Vec<f64> = numbers.collect();
        let mut sorted: Vec<f64> = all.iter().copied().filter(|x| !x.is_nan()).collect();
        if (all.len() - sorted.len()) * MISSING_ONE_IN > all.len() || sorted.len() < ATOM_ONE_IN {
            return None;
        }
        sorted.sort_unstable_by(f64::total_cmp);
        let longest =
            sorted.chunk_by(|a, b| a.total_cmp(b).is_eq()).map(<[f64]>::len).max().unwrap_or_default();
        if longest * ATOM_ONE_IN > sorted.len() {
            return None;
        }
        let quantile = |percent: usize| sorted[percent * (sorted.len() - 1) / 100];
        // Halves, since the difference of two finite numbers need not be finite.
        let span = |low: usize, high: usize, width: f64| {
            (quantile(high) / width - quantile(low) / width).min(f64::MAX)
        };
        let scale = span(25, 75, 1.35).max(span(5, 95, 3.3));
        let mut column = Self { at, median: quantile(50), scale, places: Vec::new() };
        // No atom, so the quantiles differ.
        column.places = (scale > 0.0).then(|| all.iter().map(|x| column.place(*x)).collect())?;
        Some(column)
    }

    /// From -[`PLACE_MAX`] to [`PLACE_MAX`]; NaN for a missing number.
    fn place(&self, x: f64) -> f32 {
        let ratio = (2.0 * ((x / 2.0 - self.median / 2.0) / self.scale)).clamp(-1e3, 1e3);
        let size = ratio.abs();
        (size + (size * size + 1.0).sqrt()).ln().copysign(ratio).clamp(-PLACE_MAX, PLACE_MAX) as f32
    }
}

#[cfg(test)]
mod tests;
