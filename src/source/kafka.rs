//! Kafka topics as lanes: a consumer group member on one thread.
//!
//! ```text
//!             poll            outbox, queue
//!  consumer ───────▶ session ───────────────▶ shards
//!     ▲                 │ ▲                      │
//!     └──── commit ─────┘ └────── Commit ────────┘
//! ```
//!
//! One thread polls and decides: rebalances, records and commits are handled one after the other, so that a
//! commit's generation is checked where assignments change. It polls at all
//! times, also while the shards are full, or the group would take its partitions away. It must never block
//! without a bound, seek, store offsets, or let the library choose an offset.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::{Inlets, SourceError, Status, Unseen};
use crate::pipeline::Commit;

pub mod cluster;
mod commit;
mod connect;
mod context;
mod lanes;
mod metadata;
mod options;
pub mod pattern;
mod probe;
pub mod range;
mod rebalance;
mod session;
mod starts;
mod stop;

use commit::Committer;
use session::Session;

pub use options::{accepts, refuses};
pub use probe::{Suspect, Unanswered, probe};

/// Which topics to read and how.
#[derive(Clone)]
pub struct Settings {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// The consumer group.
    pub group: String,
    /// Topic names; one that begins with `^` is a regular expression.
    pub topics: Vec<String>,
    /// Where to begin when the group has never committed.
    pub start: Start,
    /// How often offsets are committed.
    pub commit_interval: Duration,
    /// A name that makes the member static (`group.instance.id`): its partitions wait for its restart.
    pub instance: Option<String>,
    /// Further options of librdkafka. Their values are never logged.
    pub options: Vec<(String, String)>,
    /// Records handed to a shard at once, at most.
    pub batch_max: usize,
    /// KiB that the library may read ahead.
    pub queued_kbytes: u32,
    /// How long to wait for the shards once told to stop; leaving the group takes up to 5 s more.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            brokers: "localhost:9092".to_owned(),
            group: "outlierd".to_owned(),
            topics: Vec::new(),
            start: Start::Latest,
            commit_interval: Duration::from_secs(1),
            instance: None,
            options: Vec::new(),
            batch_max: 512,
            queued_kbytes: 16 << 10,
            drain: Duration::from_secs(20),
        }
    }
}

impl Settings {
    /// Takes no pattern to mean these topics, of letters, digits, dots, lines and underscores: what the daemon writes itself
    /// would come back for ever.
    pub fn leave_out<'a>(&mut self, own: impl IntoIterator<Item = &'a str>) {
        if self.topics.iter().any(|topic| topic.starts_with('^')) {
            let own = own.into_iter().map(|topic| format!("^{}$", topic.replace('.', "[.]")));
            let own = own.collect::<Vec<_>>().join(",");
            self.options.push(("topic.blacklist".to_owned(), own));
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let options: Vec<&str> = self.options.iter().map(|(key, _)| key.as_str()).collect();
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("topics", &self.topics)
            .field("start", &self.start)
            .field("commit_interval", &self.commit_interval)
            .field("instance", &self.instance)
            .field("options", &options)
            .field("batch_max", &self.batch_max)
            .field("queued_kbytes", &self.queued_kbytes)
            .field("drain", &self.drain)
            .finish()
    }
}

/// Where to begin in a partition for which the group has no committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record there is.
    Earliest,
    /// With what comes from now on.
    Latest,
}

/// Reads topics until `stop` is set and the shards have hung up on `commits`, or the drain's deadline has passed.
///
/// Runs on the calling thread, which should be its own. A broker that cannot be reached is waited for, for
/// ever, with the reason in `status`.
///
/// # Errors
/// When settings, topics or credentials cannot work, a shard hangs up early, or the library gives up. The
/// shards are told to stop and their commits are taken all the same.
pub fn run(
    settings: &Settings,
    inlets: Inlets,
    commits: &Receiver<Commit>,
    stop: &AtomicBool,
    status: &Arc<Status>,
) -> Result<(), SourceError> {
    let started = options::consumer(settings, status).and_then(|consumer| {
        let consumer = Arc::new(consumer);
        let committer = Committer::start(&consumer)?;
        Ok((consumer, committer))
    });
    let (consumer, committer) = match started {
        Ok(started) => started,
        Err(error) => {
            status.error(error.to_string());
            super::finish(inlets, Unseen::Forget, commits, &AtomicBool::new(true), settings.drain, status);
            return Err(error);
        }
    };
    let mut session = Session::new(settings, consumer, committer, inlets, commits, status);
    let outcome = session.connect(stop).and_then(|()| session.read(stop));
    if let Err(error) = &outcome {
        status.error(error.to_string());
    }
    session.stop();
    status.finished();
    outcome
}
