//! Runs the daemon's own pipeline over records of the past and says how well it does.
//!
//! ```text
//!  file, topic ─▶ label ─────────────────────────▶ trail ─▶ figures ─▶ table, JSON
//!              └▶ pipeline ─▶ verdict by event ──┘    └───▶ rows (Arrow IPC)
//! ```
//!
//! The pipeline is driven as the daemon drives it, by the same actions, on one thread; so what it alerts on is what the
//! daemon alerts on. A label is read beside it, only to grade: its field is taken out of every event before anything looks
//! at it.

mod ablation;
mod drive;
mod feed;
mod grade;
mod label;
mod progress;
mod report;
mod rows;
mod table;
mod trail;
mod windows;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError, SinkConfig, SourceConfig};
use crate::daemon::embedding::{self, Embedding};
use crate::flow::{Alert, Traced, Verdict};
use crate::sink::{Provenance, wire};
use crate::source::file::Whole;
use crate::source::kafka::range::{self, Bounds};
use crate::{daemon, source};
use drive::{Drive, Reading, now};
use feed::Feed;
use progress::Progress;
use report::Grading;
use rows::Rows;

pub use ablation::{Ablation, Cell, Stream, ablate};
pub use label::Labels;
pub use report::{Channel, Fields, Gate, Report, Seconds, Windows};

/// Records handed to the pipeline at once.
const BATCH: usize = 512;

/// What to run over what.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Files, plain or gzip; `-` is standard input. A name given twice counts once.
    pub inputs: Vec<String>,
    /// A topic instead of files.
    pub topic: Option<Bounds>,
    /// Where labels stand; none: nothing is graded.
    pub labels: Option<Labels>,
    /// First part of each input (of each series where labels are windows) that is not graded; 0 up to, not including, 1.
    pub skip: f64,
    /// Field whose value names a record's series: grades labels as windows.
    pub windows: Option<String>,
    /// Folder for rows and alerts.
    pub out: Option<PathBuf>,
    /// Records handed to the pipeline at once; verdicts do not depend on it.
    pub batch: usize,
    /// Whether nothing is to be shown on a terminal meanwhile.
    pub quiet: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            topic: None,
            labels: None,
            skip: 0.0,
            windows: None,
            out: None,
            batch: BATCH,
            quiet: false,
        }
    }
}

/// Why a backtest came to nothing, by what its caller does next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration does not fit.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The model cannot be had.
    #[error(transparent)]
    Daemon(#[from] daemon::Error),
    /// An input cannot be read.
    #[error(transparent)]
    Source(#[from] source::SourceError),
    /// The embedder broke down.
    #[error("{0}")]
    Embedder(String),
    /// The records are not what they were said to be.
    #[error("{0}")]
    Data(String),
    /// What was found cannot be written.
    #[error("{0}")]
    Output(String),
}

/// The configuration that a backtest of these inputs runs with: a file and settings of the command line as for the daemon,
/// whatever they say of source and sink.
///
/// # Errors
/// Everything that is wrong with it.
pub fn configure(
    file: Option<&Path>,
    sets: &[crate::config::Set],
    settings: &Settings,
) -> Result<Config, ConfigError> {
    // A list of JSON is one of settings too.
    let quoted = |names: &[String]| serde_json::Value::from(names).to_string();
    let from = match &settings.topic {
        Some(bounds) => {
            [("kind", "kafka".to_owned()), ("topics", quoted(std::slice::from_ref(&bounds.topic)))]
        }
        None => [("kind", "file".to_owned()), ("paths", quoted(&settings.inputs))],
    };
    let mut all = sets.to_vec();
    all.extend(from.map(|(key, value)| (format!("source.{key}"), value)));
    all.extend([
        ("source.follow".to_owned(), "false".to_owned()),
        ("sink.kind".to_owned(), "stdout".to_owned()),
        ("admin.listen".to_owned(), String::new()),
    ]);
    let config = Config::load(file, &all)?;
    Ok(match &settings.labels {
        Some(labels) => config.ignoring(&labels.field),
        None => config,
    })
}

/// Runs it.
///
/// # Errors
/// When an input, the model or an output fails, or a label cannot be understood.
pub fn run(config: &Config, settings: &Settings) -> Result<Report, Error> {
    let one = Config { shards: 1, ..config.clone() };
    let mut embeddings = embedding::open(&one)?;
    let sinks = Sinks::open(settings.out.as_deref(), embeddings.provenance(config), config)?;
    let Some(mut embedding) = embeddings.shards.pop() else {
        return Err(Error::Embedder("there is no embedder".to_owned()));
    };
    pass(config, settings, &mut embedding, sinks)
}

/// One pass over all inputs.
fn pass(
    config: &Config,
    settings: &Settings,
    embedding: &mut Embedding,
    sinks: Sinks,
) -> Result<Report, Error> {
    let begun = now();
    let reading = Reading {
        label: settings.labels.clone().map(|labels| (pointer(&labels.field), labels)),
        series: settings.windows.as_deref().map(pointer),
    };
    let progress = Progress::new("backtest", settings.quiet);
    let mut drive = Drive::new(&config.pipeline, embedding, &reading, sinks, progress);
    for mut feed in feeds(config, settings)? {
        drive.lane(&mut feed, settings.batch)?;
    }
    let mut drive = drive.finish()?;
    if drive.trail.rows.is_empty() {
        return Err(Error::Data(nothing(&drive)));
    }
    let figuring = now();
    let grading = Grading {
        skip: settings.skip,
        labelled: settings.labels.is_some(),
        windows: settings.windows.is_some(),
    };
    let mut report = report::report(&drive, grading, config.pipeline.detect.budget, &config.budget);
    drive.spent.grade += figuring.elapsed();
    let total = begun.elapsed().as_secs_f64();
    report.seconds = Seconds::of(&drive.spent, total);
    report.events_per_second = (report.events as f64 / total.max(1e-9)).round();
    Ok(report)
}

/// Every input, opened: a name that is wrong is known before the first is read.
fn feeds(config: &Config, settings: &Settings) -> Result<Vec<Feed>, Error> {
    if let (Some(bounds), SourceConfig::Kafka(kafka)) = (&settings.topic, &config.source) {
        return Ok(range::open(kafka, bounds)?.into_iter().map(Feed::Topic).collect());
    }
    let line_max = match &config.source {
        SourceConfig::File(file) => file.line_max,
        _ => source::file::Settings::default().line_max,
    };
    let mut feeds = Vec::new();
    for (at, path) in settings.inputs.iter().enumerate() {
        if !settings.inputs.iter().take(at).any(|earlier| earlier == path) {
            feeds.push(Feed::File(Box::new(Whole::open(path, line_max)?)));
        }
    }
    Ok(feeds)
}

/// Why nothing was judged.
fn nothing(drive: &Drive<'_>) -> String {
    let counts = drive.pipeline.counts();
    if counts.read == 0 {
        return "there is no record in the input".to_owned();
    }
    let reasons = counts.rejected.iter().map(|(fault, count)| format!("{} {count}", fault.name()));
    let reasons: Vec<String> = reasons.collect();
    format!("none of {} records could be judged; rejected: {}", counts.read, reasons.join(", "))
}

/// Where rows and alerts are written, if anywhere.
struct Sinks {
    rows: Option<Rows>,
    alerts: Option<Alerts>,
}

/// The file of alerts, as the file sink writes them.
struct Alerts {
    name: String,
    writer: BufWriter<File>,
    provenance: Provenance,
    message_max: usize,
}

impl Sinks {
    /// Nowhere.
    fn none() -> Self {
        Self { rows: None, alerts: None }
    }

    fn open(folder: Option<&Path>, provenance: Provenance, config: &Config) -> Result<Self, Error> {
        let Some(folder) = folder else { return Ok(Self::none()) };
        let refuse =
            |name: &str, error: &std::io::Error| Error::Output(format!("cannot write {name}: {error}"));
        std::fs::create_dir_all(folder).map_err(|error| refuse(&folder.display().to_string(), &error))?;
        let path = folder.join("alerts.jsonl");
        let name = path.display().to_string();
        let file = File::create(&path).map_err(|error| refuse(&name, &error))?;
        let message_max = match &config.sink {
            SinkConfig::Stdout(stdout) => stdout.message_max,
            _ => wire::alert::BODY_MIN,
        };
        let alerts = Alerts { name, writer: BufWriter::new(file), provenance, message_max };
        Ok(Self { rows: Some(Rows::new(folder)), alerts: Some(alerts) })
    }

    fn alert(&mut self, alert: &Alert) -> Result<(), Error> {
        let Some(alerts) = &mut self.alerts else { return Ok(()) };
        // Of the inputs of one configuration, one may be standard input.
        if alerts.provenance.source != "kafka" {
            let stdin = *alert.origin.lane.topic == *source::file::Whole::STDIN_LANE;
            alerts.provenance.source = if stdin { "stdin" } else { "file" };
        }
        let line = wire::alert::line(alert, &alerts.provenance, alerts.message_max);
        let written = alerts.writer.write_all(&line);
        written.map_err(|error| Error::Output(format!("cannot write {}: {error}", alerts.name)))
    }

    fn row(&mut self, judged: &Traced<Verdict>, opened: bool, label: Option<bool>) -> Result<(), Error> {
        let Some(rows) = &mut self.rows else { return Ok(()) };
        rows.add(judged, opened, label).map_err(Error::Output)
    }

    fn finish(&mut self) -> Result<(), Error> {
        if let Some(rows) = &mut self.rows {
            rows.end().map_err(Error::Output)?;
        }
        if let Some(alerts) = &mut self.alerts {
            let flushed = alerts.writer.flush();
            flushed.map_err(|error| Error::Output(format!("cannot write {}: {error}", alerts.name)))?;
        }
        Ok(())
    }
}

/// A bare name is the pointer of a field at the top.
fn pointer(name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("/{name}") }
}

/// How many of so many events are not graded.
fn skipped(events: usize, skip: f64) -> usize {
    #[expect(clippy::cast_sign_loss, reason = "a share of a count is not below 0")]
    let skipped = (events as f64 * skip.clamp(0.0, 1.0)) as usize;
    skipped.min(events)
}
