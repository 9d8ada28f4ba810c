//! Puts the parts together and keeps them running until told to stop.
//!
//! ```text
//!            Action                    EmbedRequest / Answer
//!  source ─────────────▶ shard 0..N ◀───────────────────────▶ embedding worker (one a device)
//!    ▲                    │  │   ▲      (a built-in embedder is a function call in the shard)
//!    │      Commit        │  │   │ Published
//!    └────────────────────┘  └───┴──────────▶ sink
//!                                 Outgoing
//!  service: signals, the status page, /metrics, /livez, /readyz, the service manager
//! ```
//!
//! One thread for the source, one for each shard, one for the sink, one for the service. Every arrow is a bounded
//! queue: when a stage is slow the one before it waits, and in the end the consumer stops fetching.

mod board;
pub(crate) mod embedding;
mod notify;
mod service;
mod shard;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::config::{Config, SinkConfig, SourceConfig};
use crate::pipeline::{self, Commit, Pipeline};
use crate::sink::{self, Acks, Outgoing};
use crate::source::{self, Inlets, SourceError};
use crate::{admin, metrics};
use board::Board;
use notify::{Notifier, Pulse};
use service::{Service, Watched};
use shard::{Shard, ShardError};

pub use service::log;
pub use shard::Progress;

/// Batches between the source and a shard: enough to keep it busy, few enough to keep memory small.
const INBOX: usize = 8;
/// Commits between shards and source; a fuller queue only makes them coalesce.
const COMMITS: usize = 1_024;
/// Alerts and rejections between shards and sink.
const OUTGOING: usize = 1_024;
/// How long threads that were told to leave may take, together, before the process leaves without them.
const LEAVE: Duration = Duration::from_secs(8);

/// Why the daemon ended, by what its caller does next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot work: change it.
    #[error("{0}")]
    Config(String),
    /// Something outside that is needed is not there.
    #[error("{0}")]
    Unavailable(String),
    /// A fault of our own.
    #[error("{0}")]
    Internal(String),
}

/// Tells the daemon to stop; clones tell the same one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Stop: drain what was taken in, commit, leave.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has been told.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

/// Runs until the source ends or `stop` is set, then drains.
///
/// # Errors
/// When a part cannot start or cannot go on.
pub fn run(config: &Config, stop: &Stop) -> Result<(), Error> {
    run_watched(config, stop, &Arc::new(Progress::default()))
}

/// As [`run`], with an eye on how far it has come.
///
/// # Errors
/// As [`run`].
pub fn run_watched(config: &Config, stop: &Stop, progress: &Arc<Progress>) -> Result<(), Error> {
    let exposition = metrics::install();
    let listener =
        config.admin.map(admin::Listener::bind).transpose().map_err(|e| Error::Config(e.to_string()))?;
    let embeddings = embedding::open(config)?;
    let abandon = Arc::new(AtomicBool::new(false));
    let (outgoing, outgoing_end) = bounded(OUTGOING);
    let (commits, commits_end) = bounded(COMMITS);
    let (mut inlets, mut acks, mut shards) = (Vec::new(), Vec::new(), Vec::new());
    let mut watches = Vec::new();
    let provenance = embeddings.provenance(config);
    let watched = watched(config, &embeddings, progress);
    // Every verdict is told where somebody may look.
    let pipeline = pipeline::Settings { trace: listener.is_some(), ..config.pipeline.clone() };
    for (index, embedding) in embeddings.shards.into_iter().enumerate() {
        let (inlet, inbox) = bounded(INBOX);
        let (ack, acknowledgements) =
            bounded(config.pipeline.in_flight_max + config.pipeline.unacknowledged_max);
        inlets.push(inlet);
        acks.push(ack);
        let pulse = Pulse::default();
        watches.push(pulse.watch(embedding.work()));
        let shard = Shard {
            index,
            pipeline: Pipeline::new(pipeline.clone()),
            warmup: config.pipeline.detect.warmup_events,
            embedding,
            inbox,
            acknowledgements,
            outgoing: Sender::clone(&outgoing),
            commits: Sender::clone(&commits),
            abandon: Arc::clone(&abandon),
            progress: Arc::clone(progress),
            panel: watched.board.panel(index),
            pulse,
        };
        shards.push(spawn(&format!("shard-{index}"), stop, move || shard.run())?);
    }
    drop((outgoing, commits));
    let service = Service::start(listener, exposition, Notifier::new(watches), stop, &watched)?;
    let sink = start_sink(config, provenance, outgoing_end, Acks::new(acks), stop, &watched)?;
    let source = start_source(config, Inlets::new(inlets), commits_end, stop, &watched)?;

    let read = source.join().unwrap_or_else(|_| Err(SourceError::Fatal("the source's thread broke".into())));
    // From here on nobody commits: what a shard still holds is judged again by the next start.
    abandon.store(true, Ordering::Relaxed);
    let mut patience = LEAVE;
    let judged = shards.into_iter().map(|shard| leave(shard, "a shard", &mut patience)).collect::<Vec<_>>();
    let written = leave(sink, "the sink", &mut patience);
    service.end();
    outcome(read, judged, written)
}

/// What is shown of the daemon.
fn watched(config: &Config, embeddings: &embedding::Embeddings, progress: &Arc<Progress>) -> Watched {
    let sink::Provenance { service, model, config: digest, embedder, budget, .. } =
        embeddings.provenance(config);
    let about = admin::status::About {
        service,
        version: env!("CARGO_PKG_VERSION"),
        embedder,
        model,
        provider: embeddings.provider.clone(),
        config: digest,
        budget,
        warmup: config.pipeline.detect.warmup_events,
        started: wall_clock(),
    };
    Watched {
        source: Arc::default(),
        sink: Arc::default(),
        board: Board::new(embeddings.shards.len()),
        progress: Arc::clone(progress),
        about,
    }
}

/// The error that matters most: what broke first breaks the others.
fn outcome(
    read: Result<(), SourceError>,
    judged: Vec<Result<Result<(), ShardError>, Error>>,
    written: Result<Result<(), sink::SinkError>, Error>,
) -> Result<(), Error> {
    match written? {
        Ok(()) => {}
        Err(sink::SinkError::Closed { .. }) => return Ok(()),
        Err(error @ sink::SinkError::Settings(_)) => return Err(Error::Config(error.to_string())),
        Err(error) => return Err(Error::Unavailable(error.to_string())),
    }
    for shard in judged {
        match shard? {
            Ok(()) | Err(ShardError::SinkEnded) => {}
            Err(error @ ShardError::Embedder(_)) => return Err(Error::Internal(error.to_string())),
        }
    }
    match read {
        Ok(()) => Ok(()),
        Err(error @ SourceError::Settings(_)) => Err(Error::Config(error.to_string())),
        Err(error @ SourceError::ShardGone(_)) => Err(Error::Internal(error.to_string())),
        Err(error) => Err(Error::Unavailable(error.to_string())),
    }
}

fn start_source(
    config: &Config,
    inlets: Inlets,
    commits: Receiver<Commit>,
    stop: &Stop,
    watched: &Watched,
) -> Result<JoinHandle<Result<(), SourceError>>, Error> {
    let (mut settings, status, flag) = (config.source.clone(), Arc::clone(&watched.source), stop.flag());
    if let (SourceConfig::Kafka(source), SinkConfig::Kafka(sink)) = (&mut settings, &config.sink) {
        source.leave_out(
            [Some(&sink.alerts_topic), sink.dead_letter_topic.as_ref()]
                .into_iter()
                .flatten()
                .map(String::as_str),
        );
    }
    spawn("source", stop, move || match &settings {
        SourceConfig::Kafka(settings) => source::kafka::run(settings, inlets, &commits, &flag, &status),
        SourceConfig::File(settings) => source::file::run(settings, inlets, &commits, &flag, &status),
        SourceConfig::Stdin(settings) => source::stdin::run(settings, inlets, &commits, &flag, &status),
    })
}

fn start_sink(
    config: &Config,
    provenance: sink::Provenance,
    outgoing: Receiver<Outgoing>,
    acks: Acks,
    stop: &Stop,
    watched: &Watched,
) -> Result<JoinHandle<Result<(), sink::SinkError>>, Error> {
    let (settings, status) = (config.sink.clone(), Arc::clone(&watched.sink));
    spawn("sink", stop, move || match settings {
        SinkConfig::Kafka(settings) => sink::kafka::run(&settings, &provenance, outgoing, acks, status),
        SinkConfig::Stdout(settings) => sink::stdout::run(&settings, &provenance, outgoing, acks, status),
        SinkConfig::File(settings) => sink::file::run(&settings, &provenance, outgoing, acks, status),
    })
}

/// Why a part of the daemon ended.
trait Ending: std::fmt::Display + Send + 'static {
    /// Whether an operator should hear of it: else something else that ended says why, or nothing is wrong.
    fn is_fault(&self) -> bool {
        true
    }
}

impl Ending for Error {}

impl Ending for SourceError {}

impl Ending for sink::SinkError {
    fn is_fault(&self) -> bool {
        !matches!(self, Self::Closed { .. })
    }
}

impl Ending for ShardError {
    fn is_fault(&self) -> bool {
        !matches!(self, Self::SinkEnded)
    }
}

/// Starts a named thread; when what it does fails, everything is told to stop.
fn spawn<T: Send + 'static, E: Ending>(
    name: &str,
    stop: &Stop,
    body: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<JoinHandle<Result<T, E>>, Error> {
    let (stop, role) = (stop.clone(), name.to_owned());
    let guarded = move || {
        let _when_it_breaks = StopOnPanic(stop.clone());
        let outcome = body();
        if let Err(error) = &outcome {
            if error.is_fault() {
                tracing::error!(part = %role, %error, "stopping");
            } else {
                tracing::info!(part = %role, reason = %error, "stopping");
            }
            stop.set();
        }
        outcome
    };
    let started = thread::Builder::new().name(name.to_owned()).spawn(guarded);
    started.map_err(|error| Error::Internal(format!("cannot start thread {name}: {error}")))
}

/// A thread that breaks must not leave the others waiting for it.
struct StopOnPanic(Stop);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.set();
        }
    }
}

/// Joins a thread that was told to leave, but waits no longer than what is left of `patience`.
fn leave<T>(thread: JoinHandle<T>, name: &str, patience: &mut Duration) -> Result<T, Error> {
    let step = Duration::from_millis(5);
    while !thread.is_finished() {
        if *patience < step {
            return Err(Error::Unavailable(format!("{name} did not end in time; leaving without it")));
        }
        thread::sleep(step);
        *patience -= step;
    }
    thread.join().map_err(|_broken| Error::Internal(format!("{name} broke; its message stands above")))
}

#[expect(clippy::disallowed_methods, reason = "the daemon asks the clock; the pipeline is never told")]
fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "for people who look at it; no verdict sees it")]
fn wall_clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
