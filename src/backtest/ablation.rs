//! What each channel is worth: every stream with all channels, with each alone, and with all but each.
//!
//! A channel that never helps should go; this table is what says so. Each cell is a run of its own, from the first record
//! to the last, since what is switched off must not even have taught the guard.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;

use super::progress::Progress;
use super::report::Report;
use super::{Error, Settings, Sinks, pass};
use crate::config::Config;
use crate::daemon::embedding::{self, Embedding};
use crate::detect::Selection;

/// The figures of every stream.
#[derive(Clone, Debug, Serialize)]
pub struct Ablation {
    /// The streams, in the order given.
    pub streams: Vec<Stream>,
}

/// The figures of one stream.
#[derive(Clone, Debug, Serialize)]
pub struct Stream {
    /// The input's name.
    pub stream: String,
    /// With all channels.
    pub all: Cell,
    /// With each channel alone, where the stream has fields for it.
    pub alone: BTreeMap<&'static str, Cell>,
    /// With all channels but one.
    pub without: BTreeMap<&'static str, Cell>,
}

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Chance that an anomaly is stranger than a normal event.
    pub auroc: Option<f64>,
    /// Average precision.
    pub average_precision: Option<f64>,
    /// Windows, and how many were found by as many alerts, where labels are windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<[usize; 2]>,
    /// Incidents opened by an anomaly, and by a normal event.
    pub incidents: Option<[u64; 2]>,
    /// Events judged in a second; runs share the machine.
    pub events_per_second: f64,
}

impl Cell {
    fn of(report: &Report) -> Self {
        Self {
            auroc: report.auroc,
            average_precision: report.average_precision,
            windows: report.windows.as_ref().map(|windows| [windows.windows, windows.found]),
            incidents: report.incidents_true.zip(report.incidents_false).map(|(right, wrong)| [right, wrong]),
            events_per_second: report.events_per_second,
        }
    }

    fn text(&self) -> String {
        let figure = |share: Option<f64>| {
            share.map_or_else(
                || "-".to_owned(),
                |share| format!("{share:.3}").trim_start_matches('0').to_owned(),
            )
        };
        match self.windows {
            Some([windows, found]) => format!("{found} of {windows}"),
            None => format!("{} / {}", figure(self.auroc), figure(self.average_precision)),
        }
    }
}

/// A run: which stream, and which channels.
struct Job<'a> {
    settings: &'a Settings,
    channels: Selection,
}

/// Runs every variant of every input, as many at once as the configuration has shards.
///
/// # Errors
/// As [`super::run`], at the first run that fails.
pub fn ablate(config: &Config, settings: &Settings) -> Result<Ablation, Error> {
    // Held to the end: the model's thread ends with it.
    let mut open = embedding::open(config)?;
    let embeddings = &mut open.shards;
    let streams = streams(settings);
    let asked = config.pipeline.detect.channels;
    let whole: Vec<Job<'_>> = streams.iter().map(|settings| Job { settings, channels: asked }).collect();
    let whole = run_all(config, &whole, embeddings, settings.quiet)?;
    // Only channels that the stream has fields for: the others change nothing.
    let mut cells = Vec::new();
    for (at, report) in whole.iter().enumerate() {
        let there = Selection::NAMES.into_iter().filter(|name| report.channels.contains_key(*name));
        for (name, only) in there.filter_map(|name| Some((name, Selection::only(name)?))) {
            cells.push((at, name, true, only));
            if report.channels.len() > 1 {
                cells.push((at, name, false, asked.without(only)));
            }
        }
    }
    let jobs = cells
        .iter()
        .filter_map(|(at, _, _, channels)| Some(Job { settings: streams.get(*at)?, channels: *channels }));
    let jobs: Vec<Job<'_>> = jobs.collect();
    let reports = run_all(config, &jobs, embeddings, settings.quiet)?;
    let mut table: Vec<Stream> = streams
        .iter()
        .zip(&whole)
        .map(|(settings, report)| Stream {
            stream: name(settings),
            all: Cell::of(report),
            alone: BTreeMap::new(),
            without: BTreeMap::new(),
        })
        .collect();
    for ((at, name, alone, _), report) in cells.into_iter().zip(&reports) {
        if let Some(stream) = table.get_mut(at) {
            let cells = if alone { &mut stream.alone } else { &mut stream.without };
            cells.insert(name, Cell::of(report));
        }
    }
    Ok(Ablation { streams: table })
}

impl Ablation {
    /// The table in Markdown: AUROC / average precision, or windows found.
    pub fn markdown(&self) -> String {
        let there = |name: &&str| self.streams.iter().any(|stream| stream.alone.contains_key(*name));
        let names: Vec<&str> = Selection::NAMES.into_iter().filter(there).collect();
        let mut out = String::from("| stream | all |");
        for name in &names {
            let _never_fails = write!(out, " {name} alone | without |");
        }
        let _never_fails = write!(out, "\n|---|---|{}\n", "---|---|".repeat(names.len()));
        for stream in &self.streams {
            let _never_fails = write!(out, "| {} | {} |", stream.stream, stream.all.text());
            for name in &names {
                for cells in [&stream.alone, &stream.without] {
                    let text = cells.get(name).map_or_else(|| "-".to_owned(), Cell::text);
                    let _never_fails = write!(out, " {text} |");
                }
            }
            out.push('\n');
        }
        out
    }
}

/// Each input by itself.
fn streams(settings: &Settings) -> Vec<Settings> {
    if settings.topic.is_some() {
        return vec![settings.clone()];
    }
    let one = |input: &String| Settings { inputs: vec![input.clone()], ..settings.clone() };
    settings.inputs.iter().map(one).collect()
}

fn name(settings: &Settings) -> String {
    let topic = settings.topic.iter().map(|bounds| bounds.topic.clone());
    let input = settings.inputs.iter().map(|input| {
        let file = input.rsplit('/').next().unwrap_or(input);
        file.split('.').next().filter(|stem| !stem.is_empty()).unwrap_or(file).to_owned()
    });
    topic.chain(input).next().unwrap_or_default()
}

/// Runs jobs side by side; reports in the order of jobs.
fn run_all(
    config: &Config,
    jobs: &[Job<'_>],
    embeddings: &mut [Embedding],
    quiet: bool,
) -> Result<Vec<Report>, Error> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let progress = Mutex::new((Progress::new("ablation", quiet), 0));
    let work = |embedding: &mut Embedding| {
        let mut reports = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(at) else { return reports };
            let config = config.clone().asking(job.channels);
            let settings = Settings { quiet: true, ..job.settings.clone() };
            let report = pass(&config, &settings, embedding, Sinks::none());
            if let Ok(report) = &report {
                let share = (done.fetch_add(1, Ordering::Relaxed) + 1) as f64 / jobs.len() as f64;
                let mut told = progress.lock().unwrap_or_else(PoisonError::into_inner);
                told.1 += usize::try_from(report.events).unwrap_or_default();
                let events = told.1;
                told.0.show(events, Some(share));
            } else {
                // Nobody takes another.
                next.store(jobs.len(), Ordering::Relaxed);
            }
            reports.push((at, report));
        }
    };
    let mut reports = thread::scope(|scope| {
        let workers: Result<Vec<_>, _> = embeddings
            .iter_mut()
            .take(jobs.len().max(1))
            .map(|embedding| {
                thread::Builder::new().name("ablation".to_owned()).spawn_scoped(scope, || work(embedding))
            })
            .collect();
        let workers = workers.map_err(|error| Error::Embedder(format!("cannot start a thread: {error}")))?;
        let joined = workers.into_iter().map(|worker| {
            worker
                .join()
                .map_err(|_broken| Error::Embedder("a run broke; its message stands above".to_owned()))
        });
        joined.collect::<Result<Vec<_>, Error>>()
    })?
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    progress.lock().unwrap_or_else(PoisonError::into_inner).0.clear();
    reports.sort_by_key(|(at, _)| *at);
    reports.into_iter().map(|(_, report)| report).collect()
}
