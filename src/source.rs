//! Where records come from: Kafka topics, files, standard input.
//!
//! Each source runs on a thread of its own and turns what it reads into [`Action`]s for the shards' queues. All
//! follow one protocol: [`Action::Assigned`] before a lane's first record, records in order and stamped with the
//! lane's generation, [`Action::Stop`] once at the end; then commits are taken until every shard is done.
//!
//! A source never decides what a record means, never holds more than a bounded number of records, and never
//! drops one: when the shards are slow it waits, and in the end its own source waits for it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::pipeline::{Action, Commit};

pub mod file;
mod inlets;
pub mod kafka;
mod lines;
mod status;
pub mod stdin;

pub(crate) use inlets::Unseen;
pub use inlets::{Arrival, Inlets};
pub use status::{LaneReport, Report, Status};

/// Why a source ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The settings cannot work: the operator must change them.
    #[error("{0}")]
    Settings(String),
    /// Topics do not exist.
    #[error("missing topic: {}; create it, or correct [source] topics", .0.join(", "))]
    MissingTopic(Vec<String>),
    /// The broker does not answer.
    #[error("no answer from {0}; is it running, and is [kafka] brokers right?")]
    Unreachable(String),
    /// The broker does not let us in.
    #[error("refused by the broker: {0}; check credentials and ACLs")]
    Refused(String),
    /// The client library cannot go on.
    #[error("kafka client failed for good: {0}; restart the daemon")]
    Fatal(String),
    /// A shard no longer takes records.
    #[error("shard {0} has gone away; see its error above")]
    ShardGone(usize),
    /// A file cannot be opened.
    #[error("cannot open {}: {error}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file or stream failed while it was read.
    #[error("cannot read {} at byte {position}: {error}", path.display())]
    Read {
        /// Which file; `stdin` for standard input.
        path: PathBuf,
        /// Bytes read before.
        position: u64,
        /// Why.
        error: std::io::Error,
    },
    /// A compressed file ends too early or is damaged; the complete lines before were delivered.
    #[error("{} is truncated or damaged at byte {position}: {error}; fetch it again", path.display())]
    Truncated {
        /// Which file.
        path: PathBuf,
        /// Position in the compressed file.
        position: u64,
        /// What the decoder said.
        error: std::io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}; raise the process limit")]
    Thread(std::io::Error),
}

/// Ends a source without offsets to commit: tells the shards to stop, then takes their commits until all have
/// hung up; `unseen` says what becomes of records that none has seen. Once `stop` is set it waits no longer than
/// `patience`.
pub(crate) fn finish(
    mut inlets: Inlets,
    unseen: Unseen,
    commits: &Receiver<Commit>,
    stop: &AtomicBool,
    patience: Duration,
    status: &Status,
) {
    inlets.stop(unseen);
    let mut deadline: Option<Instant> = None;
    loop {
        inlets.pump_stopping();
        match commits.recv_timeout(Duration::from_millis(20)) {
            Ok(commit) => status.committed(&commit.lane, commit.offset),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if stop.load(Ordering::Relaxed) && now() >= *deadline.get_or_insert_with(|| now() + patience) {
            tracing::warn!("shards were not done in time; stopping without them");
            break;
        }
    }
    status.finished();
}

/// The clock of the sources, for waiting only: no time read here reaches a record.
#[expect(clippy::disallowed_methods, reason = "a source waits for the world and needs deadlines of its own")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Sends what a lane read as one action; nothing when there is nothing.
pub(crate) fn send_read(
    inlets: &mut Inlets,
    shard: usize,
    lane: &crate::flow::Lane,
    generation: u64,
    records: Vec<crate::flow::Traced<crate::flow::Record>>,
) {
    if !records.is_empty() {
        inlets.push(shard, Action::Read { lane: lane.clone(), generation, records });
    }
}
