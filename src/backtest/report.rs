//! The figures of a backtest, from what became of every event.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::drive::{Drive, Spent};
use super::grade::Ranked;
use super::trail::{Column, Span, Steps, Trail};
use super::windows::Series;
use crate::detect::{self, Budget};
use crate::flow::{Lane, Schema};

/// What a backtest found. Shares are 0 to 1; what cannot be said (no labels, one class) is null.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Events judged.
    pub events: u64,
    /// Events graded: labelled, and not in the part that is skipped.
    pub graded: u64,
    /// Graded events that are labelled anomalies.
    pub anomalies: u64,
    /// Labelled or not, events in the part that is skipped.
    pub skipped: u64,
    /// Events without a label, those skipped aside.
    pub unlabelled: u64,
    /// Chance that an anomaly is stranger than a normal event.
    pub auroc: Option<f64>,
    /// Average precision.
    pub average_precision: Option<f64>,
    /// Of as many graded events, the strangest, as the budget allows: the share that are anomalies.
    pub precision_at_budget: Option<f64>,
    /// The share of anomalies among them.
    pub recall_at_budget: Option<f64>,
    /// Events over the threshold.
    pub alerts: u64,
    /// Of graded events over the threshold, the share that are anomalies.
    pub precision: Option<f64>,
    /// Of graded anomalies, the share over the threshold.
    pub recall: Option<f64>,
    /// Incidents opened: what a person is told.
    pub incidents: u64,
    /// Of incidents opened by a graded event, those opened by an anomaly.
    pub incidents_true: Option<u64>,
    /// Of incidents opened by a graded event, those opened by a normal one.
    pub incidents_false: Option<u64>,
    /// Incidents for each event after the warm-up.
    pub realised_alert_rate: Option<f64>,
    /// Incidents for each event that the budget allows.
    pub budget: Option<f64>,
    /// The realised rate over the budget.
    pub realised_over_budget: Option<f64>,
    /// The budget as written.
    pub budget_text: String,
    /// Labels graded as windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Windows>,
    /// Each channel's figures, its surprise being that of its loudest field.
    pub channels: BTreeMap<String, Channel>,
    /// What a transformer's view of each text field counted for at the end, and why, by input; empty where there is none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gates: BTreeMap<String, BTreeMap<String, Gate>>,
    /// Records that could not be read, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// What the fields of each input were inferred to be, or are named.
    pub schema: BTreeMap<String, Fields>,
    /// Events judged in a second of the whole time.
    pub events_per_second: f64,
    /// Seconds by stage.
    pub seconds: Seconds,
}

/// Two figures of one ranking.
#[derive(Clone, Debug, Serialize)]
pub struct Channel {
    /// Chance that an anomaly is stranger than a normal event.
    pub auroc: Option<f64>,
    /// Average precision.
    pub average_precision: Option<f64>,
    /// Windows found by as many alerts as there are windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows_found: Option<usize>,
    /// The same by field.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Channel>,
}

/// What a transformer's view of a text field counts for.
#[derive(Clone, Debug, Serialize)]
pub struct Gate {
    /// Correlation of its cosines with those of letters.
    pub correlation: Option<f64>,
    /// How often it is loud together with the text channel, over chance.
    pub lift: Option<f64>,
    /// What its surprise is multiplied by.
    pub weight: f64,
}

/// Labels graded as windows.
#[derive(Clone, Debug, Serialize)]
pub struct Windows {
    /// Windows graded.
    pub windows: usize,
    /// Found by as many alerts, the strongest.
    pub found: usize,
    /// Found by twice as many.
    pub found_twice: usize,
    /// In which an incident was opened.
    pub found_by_incidents: usize,
}

/// Pointers by what they are read as.
#[derive(Clone, Debug, Serialize)]
pub struct Fields {
    texts: Vec<String>,
    numbers: Vec<String>,
    categories: Vec<String>,
    keys: Vec<String>,
    time: Option<String>,
}

/// Seconds by stage.
#[derive(Clone, Debug, Serialize)]
pub struct Seconds {
    /// From the first record to the last figure.
    pub total: f64,
    /// Reading and unpacking.
    pub read: f64,
    /// In the embedder, or waiting for it.
    pub embed: f64,
    /// Decoding, rendering, detecting and grouping: the pipeline.
    pub pipeline: f64,
    /// Reading labels, keeping and writing rows, working out figures.
    pub grade: f64,
}

/// How to grade.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grading {
    /// First part of each lane, or of each series, that is not graded; 0 to 1.
    pub(super) skip: f64,
    /// Whether there are labels.
    pub(super) labelled: bool,
    /// Whether labels are windows of series.
    pub(super) windows: bool,
}

/// Works the figures out.
pub(super) fn report(drive: &Drive<'_>, grading: Grading, budget: Budget, budget_text: &str) -> Report {
    let trail = &drive.trail;
    let labels = || trail.rows.iter().map(|row| (row.known.series, row.known.label == Some(true)));
    let series = grading.windows.then(|| Series::new(labels(), grading.skip));
    let in_part = match &series {
        Some(series) => series.graded(trail.rows.len()),
        None => graded_part(trail, grading.skip),
    };
    let counts = drive.pipeline.counts();
    let warm = trail.rows.iter().filter(|row| row.warm).count() as f64;
    let judge = Judge { trail, in_part: &in_part, series: series.as_ref() };
    let realised = share(counts.incidents as f64, warm);
    let budget = rate(budget, trail, warm);
    let figures = if grading.labelled { judge.figures(budget) } else { Figures::default() };
    let skipped = in_part.iter().filter(|graded| !**graded).count() as u64;
    let unlabelled = judge.rows().filter(|row| row.known.label.is_none()).count() as u64;
    Report {
        events: trail.rows.len() as u64,
        graded: figures.graded,
        anomalies: figures.anomalies,
        skipped: if grading.labelled { skipped } else { 0 },
        unlabelled: if grading.labelled { unlabelled } else { trail.rows.len() as u64 },
        auroc: figures.auroc,
        average_precision: figures.average_precision,
        precision_at_budget: figures.precision_at_budget,
        recall_at_budget: figures.recall_at_budget,
        alerts: trail.rows.iter().filter(|row| row.alerted).count() as u64,
        precision: figures.precision,
        recall: figures.recall,
        incidents: counts.incidents,
        incidents_true: figures.incidents.map(|(right, _)| right),
        incidents_false: figures.incidents.map(|(_, wrong)| wrong),
        realised_alert_rate: realised,
        budget,
        realised_over_budget: realised.zip(budget).map(|(realised, budget)| round(realised / budget)),
        budget_text: budget_text.to_owned(),
        windows: series.as_ref().filter(|_| grading.labelled).map(|series| judge.windows(series)),
        channels: judge.channels(grading.labelled),
        gates: gates(&drive.gates),
        rejected: counts.rejected.iter().map(|(fault, count)| (fault.name(), *count)).collect(),
        schema: schemas(&drive.schemas),
        events_per_second: 0.0,
        seconds: Seconds::of(&drive.spent, 0.0),
    }
}

/// What is graded, and how.
struct Judge<'a> {
    trail: &'a Trail,
    in_part: &'a [bool],
    series: Option<&'a Series>,
}

/// Figures that need labels.
#[derive(Default)]
struct Figures {
    graded: u64,
    anomalies: u64,
    auroc: Option<f64>,
    average_precision: Option<f64>,
    precision_at_budget: Option<f64>,
    recall_at_budget: Option<f64>,
    precision: Option<f64>,
    recall: Option<f64>,
    incidents: Option<(u64, u64)>,
}

impl Judge<'_> {
    /// Rows in the part that is graded, labelled or not.
    fn rows(&self) -> impl Iterator<Item = &super::trail::Row> {
        self.trail.rows.iter().zip(self.in_part).filter(|(_, graded)| **graded).map(|(row, _)| row)
    }

    fn ranked(&self, surprise: impl Fn(usize) -> Steps) -> Ranked {
        let rows = self.trail.rows.iter().zip(self.in_part).enumerate();
        Ranked::new(
            rows.filter(|(_, (_, graded))| **graded)
                .filter_map(|(at, (row, _))| row.known.label.map(|anomaly| (surprise(at), anomaly))),
        )
    }

    fn fused(&self, row: usize) -> Steps {
        self.trail.rows.get(row).map_or(0, |row| row.surprise)
    }

    fn figures(&self, budget: Option<f64>) -> Figures {
        let (mut graded, mut anomalies, mut told, mut told_right) = (0_u64, 0_u64, 0_u64, 0_u64);
        let (mut right, mut wrong) = (0, 0);
        for row in self.rows() {
            let Some(anomaly) = row.known.label else { continue };
            graded += 1;
            anomalies += u64::from(anomaly);
            told += u64::from(row.alerted);
            told_right += u64::from(row.alerted && anomaly);
            right += u64::from(row.opened && anomaly);
            wrong += u64::from(row.opened && !anomaly);
        }
        let ranked = self.ranked(|row| self.fused(row));
        let ranking = ranked.ranking();
        #[expect(clippy::cast_sign_loss, reason = "a rate is not below 0")]
        let top = budget.map(|rate| ((graded as f64 * rate).round() as u64).clamp(1, graded.max(1)));
        let found = top.filter(|_| graded > 0).map(|top| (ranked.found_in_top(top), top));
        Figures {
            graded,
            anomalies,
            auroc: ranking.map(|ranking| round(ranking.auroc)),
            average_precision: ranking.map(|ranking| round(ranking.average_precision)),
            precision_at_budget: found.and_then(|(found, top)| share(found, top as f64)),
            recall_at_budget: found.and_then(|(found, _)| share(found, anomalies as f64)),
            precision: share(told_right as f64, told as f64),
            recall: share(told_right as f64, anomalies as f64),
            incidents: Some((right, wrong)),
        }
    }

    fn windows(&self, series: &Series) -> Windows {
        let found = series.found(|row| self.fused(row));
        let opened = |row: usize| self.trail.rows.get(row).is_some_and(|row| row.opened);
        Windows {
            windows: found.windows,
            found: found.by_as_many,
            found_twice: found.by_twice_as_many,
            found_by_incidents: series.holding(opened),
        }
    }

    fn channels(&self, labelled: bool) -> BTreeMap<String, Channel> {
        let mut by: BTreeMap<&str, Vec<&Column>> = BTreeMap::new();
        for column in &self.trail.columns {
            by.entry(column.channel).or_default().push(column);
        }
        let channels = by.into_iter().map(|(channel, columns)| {
            let fields = columns
                .iter()
                .map(|column| (column.field.to_string(), self.channel(labelled, &[column], BTreeMap::new())));
            let fields: BTreeMap<_, _> = fields.collect();
            (channel.to_owned(), self.channel(labelled, &columns, fields))
        });
        channels.collect()
    }

    fn channel(&self, labelled: bool, columns: &[&Column], fields: BTreeMap<String, Channel>) -> Channel {
        let none = Channel { auroc: None, average_precision: None, windows_found: None, fields };
        if !labelled {
            return none;
        }
        let loudest = |row: usize| {
            columns.iter().filter_map(|column| column.steps.get(row).copied()).max().unwrap_or_default()
        };
        let ranking = self.ranked(loudest).ranking();
        Channel {
            auroc: ranking.map(|ranking| round(ranking.auroc)),
            average_precision: ranking.map(|ranking| round(ranking.average_precision)),
            windows_found: self.series.map(|series| series.found(loudest).by_as_many),
            ..none
        }
    }
}

/// Whether each row is in the part of its lane that is graded.
fn graded_part(trail: &Trail, skip: f64) -> Vec<bool> {
    let mut graded = Vec::with_capacity(trail.rows.len());
    for (_, Range { start, end }) in trail.spans() {
        let skipped = super::skipped(end - start, skip);
        graded.extend((0..end - start).map(|place| place >= skipped));
    }
    graded
}

/// Incidents for each event that a budget allows; for one in time, by the pace of the events after the warm-up.
fn rate(budget: Budget, trail: &Trail, warm: f64) -> Option<f64> {
    match budget {
        Budget::Events(events) => Some(1.0 / events),
        Budget::Rate { count, span_ms } => {
            let elapsed = |span: &Span| span.times.map_or(0.0, |(first, last)| last as f64 - first as f64);
            let elapsed: f64 = trail.lanes.iter().map(elapsed).sum();
            share(count * elapsed / span_ms, warm).filter(|rate| *rate > 0.0)
        }
    }
}

fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| round(part / whole))
}

/// Six places: what is beyond them is noise.
fn round(figure: f64) -> f64 {
    (figure * 1e6).round() / 1e6
}

fn schemas(schemas: &BTreeMap<Lane, Arc<Schema>>) -> BTreeMap<String, Fields> {
    named(schemas, |schema| Fields::of(schema))
}

fn gates(gates: &BTreeMap<Lane, Vec<detect::Gate>>) -> BTreeMap<String, BTreeMap<String, Gate>> {
    let gate = |gate: &detect::Gate| Gate {
        correlation: gate.correlation.map(round),
        lift: gate.lift.map(round),
        weight: round(gate.weight),
    };
    named(gates, |gates| gates.iter().map(|one| (one.field.to_string(), gate(one))).collect())
}

/// By the name of each lane's input.
fn named<T, U>(lanes: &BTreeMap<Lane, T>, told: impl Fn(&T) -> U) -> BTreeMap<String, U> {
    let partitions = lanes.keys().any(|lane| lane.partition != 0);
    let name = |lane: &Lane| if partitions { lane.to_string() } else { lane.topic.to_string() };
    lanes.iter().map(|(lane, known)| (name(lane), told(known))).collect()
}

impl Fields {
    fn of(schema: &Schema) -> Self {
        let names = |list: &[Arc<str>]| list.iter().map(ToString::to_string).collect();
        Self {
            texts: names(&schema.texts),
            numbers: names(&schema.numbers),
            categories: names(&schema.categories),
            keys: names(&schema.keys),
            time: schema.time.as_ref().map(ToString::to_string),
        }
    }

    /// Each kind that has fields, with their pointers.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&'static str, String)> {
        let time: Vec<String> = self.time.iter().cloned().collect();
        let lists = [
            ("texts", self.texts.join(" ")),
            ("numbers", self.numbers.join(" ")),
            ("categories", self.categories.join(" ")),
            ("keys", self.keys.join(" ")),
            ("time", time.join(" ")),
        ];
        lists.into_iter().filter(|(_, names)| !names.is_empty())
    }
}

impl Seconds {
    pub(super) fn of(spent: &Spent, total: f64) -> Self {
        let millis = |seconds: f64| (seconds * 1e3).round() / 1e3;
        Self {
            total: millis(total),
            read: millis(spent.read.as_secs_f64()),
            embed: millis(spent.embed.as_secs_f64()),
            pipeline: millis(spent.pipeline.as_secs_f64()),
            grade: millis(spent.grade.as_secs_f64()),
        }
    }
}
