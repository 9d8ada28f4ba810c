//! Where alerts and dead letters leave the daemon: a Kafka topic, standard output or a file.
//!
//! A sink runs on a thread of its own, takes what the shards hand it and answers each piece with its ticket, but
//! only once the other side holds it: an offset is committed on the strength of that answer. It must never drop
//! anything, never acknowledge early, and never let the clock or the host into an alert: a record that is read
//! twice makes the same bytes twice.

pub mod file;
pub mod kafka;
mod lines;
pub mod stdout;
pub mod wire;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;

use crate::flow::{Alert, Record, Rejection, Traced};
use crate::pipeline::{Action, Ticket};

pub use wire::sentence;

/// What a shard hands to the sink.
#[derive(Debug)]
pub enum Outgoing {
    /// Tell a person.
    Alert {
        /// The shard that is to have the answer.
        shard: usize,
        /// To be handed back once the alert is safe.
        ticket: Ticket,
        /// What to tell.
        alert: Box<Alert>,
    },
    /// Put a record aside.
    Reject {
        /// The shard that is to have the answer.
        shard: usize,
        /// To be handed back once the record is safe.
        ticket: Ticket,
        /// The record as it came.
        record: Traced<Arc<Record>>,
        /// Why it could not be read.
        rejection: Rejection,
    },
}

/// Where acknowledgements go: one bounded queue a shard.
///
/// A shard that waits for room in the sink's queue does not empty its own, so each queue must hold every ticket its
/// pipeline can have out (`in_flight_max + unacknowledged_max`), or the two could wait for each other.
#[derive(Clone, Debug)]
pub struct Acks {
    shards: Vec<Sender<Action>>,
}

impl Acks {
    /// One queue for each shard, by the shard's number.
    pub fn new(shards: Vec<Sender<Action>>) -> Self {
        Self { shards }
    }

    /// Tells a shard that a ticket's alert or record is safe. A shard that has gone needs no answer.
    fn published(&self, shard: usize, ticket: Ticket) {
        if let Some(queue) = self.shards.get(shard)
            && queue.send(Action::Published(ticket)).is_err()
        {
            tracing::debug!(shard, "acknowledgement for a shard that has ended");
        }
    }
}

/// What each alert says about the daemon that raised it. It is part of the alert's bytes: equal for all instances
/// that judge alike, so no host name and no start time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Name of this use of the daemon, such as `payments`.
    pub service: String,
    /// Version of the daemon.
    pub version: String,
    /// Digest of the model that made the verdict.
    pub model: String,
    /// Digest of the configuration that can change a verdict.
    pub config: String,
    /// Name of the embedder, such as `hashed`.
    pub embedder: String,
    /// The alert budget in words, such as `20 a day`.
    pub budget: String,
    /// Kind of the source, `kafka`, `file` or `stdin`: what the names and offsets in an alert are of.
    pub source: &'static str,
}

/// How a sink is doing, for metrics and readiness.
#[derive(Debug, Default)]
pub struct Status {
    published: AtomicU64,
    rejected: AtomicU64,
    waiting: AtomicU64,
    ready: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl Status {
    /// Alerts that are safe.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Records put aside, those counted only because no dead-letter target is set included.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Alerts and records taken in and not yet safe.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether the other side takes what it is given.
    pub fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// The last thing that went wrong, until something goes right again.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, outgoing: &Outgoing) {
        match outgoing {
            Outgoing::Alert { .. } => self.published.fetch_add(1, Ordering::Relaxed),
            Outgoing::Reject { .. } => self.rejected.fetch_add(1, Ordering::Relaxed),
        };
    }

    fn set_waiting(&self, count: usize) {
        self.waiting.store(count as u64, Ordering::Relaxed);
    }

    /// Notes that all is well; says so once.
    fn recovered(&self) {
        if !self.ready.swap(true, Ordering::Relaxed) {
            tracing::info!("sink ready");
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes why nothing more is written, where that is nothing wrong.
    fn ended(&self, why: &str) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
        self.ready.store(false, Ordering::Relaxed);
    }

    /// Notes what is wrong; says so once for each spell of trouble.
    fn troubled(&self, what: &str) {
        let before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).replace(what.to_owned());
        if self.ready.swap(false, Ordering::Relaxed) || before.is_none() {
            tracing::warn!(error = what, "sink not ready; what it holds waits");
        }
    }
}

/// Why a sink gave up. Nothing it had not acknowledged counts as published, so a restart sends it again.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Settings that cannot work; exit code 78.
    #[error("{0}")]
    Settings(String),
    /// The topic is not there; exit code 69.
    #[error("topic missing: {topic}; create it, or correct its name under [sink]")]
    MissingTopic {
        /// Its name.
        topic: String,
    },
    /// The topic may not be written; exit code 69.
    #[error("not allowed to write topic {topic}; grant this principal Write and Describe on it")]
    Forbidden {
        /// Its name.
        topic: String,
    },
    /// The broker will never take a record as it is; exit code 69.
    #[error(
        "topic {topic} refuses a record for good: {reason}; look at the topic's cleanup.policy and size limits"
    )]
    Refused {
        /// Its name.
        topic: String,
        /// What the broker says.
        reason: String,
    },
    /// The deadline came before the other side had everything.
    #[error(
        "{count} alerts and dead letters not delivered within {seconds} s; they are sent again after a restart"
    )]
    Unflushed {
        /// How many.
        count: usize,
        /// The deadline.
        seconds: u64,
    },
    /// Whoever read the output has gone.
    #[error("{name} was closed by its reader")]
    Closed {
        /// Which output.
        name: String,
    },
    /// A file could not be opened.
    #[error("cannot open {path}: {source}; create its folder and allow this user to write there")]
    Open {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// An output could not be written.
    #[error("cannot write {name}: {source}; make room or choose another place, then start again")]
    Write {
        /// Which output.
        name: String,
        /// Why.
        source: io::Error,
    },
}
