//! The whole stream as one state machine: actions in, effects out.
//!
//! It owns every piece of state that decides, one lane for each partition, so there are no locks; it does
//! nothing itself, so a test, a backtest and the daemon drive the very same code.

use std::sync::Arc;

use crate::flow::{Alert, Embedding, Lane, Record, Rejection, Schema, Traced};
use crate::{alert, decode, detect, render};

/// What the pipeline's parts need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes to event.
    pub decode: decode::Settings,
    /// Event to sample.
    pub render: render::Settings,
    /// Point to verdict.
    pub detect: detect::Settings,
    /// Verdict to alert.
    pub alert: alert::Settings,
    /// Records taken in but not yet judged, above which it asks for no more.
    pub in_flight_max: usize,
    /// Alerts and rejections not yet acknowledged, above which it asks for no more.
    pub unacknowledged_max: usize,
    /// Records before a commit from which a lane's state is rebuilt after a restart.
    pub replay_events: u64,
}

/// Which of a lane's alerts or rejections was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The lane it came from.
    pub lane: Lane,
    /// The assignment it belongs to.
    pub generation: u64,
    /// Offset of the record that has to wait for it.
    pub offset: i64,
}

/// How far a lane has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The lane.
    pub lane: Lane,
    /// The assignment it belongs to; a commit of another generation must not be made.
    pub generation: u64,
    /// The next offset to read: all before it are judged, and their alerts acknowledged.
    pub offset: i64,
    /// The offset from which reading again rebuilds the lane's state.
    pub replay_from: i64,
}

/// Texts to embed, and who asked.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    /// Named in the answer; rising, one by one, within a pipeline.
    pub id: u64,
    /// What to embed; never empty.
    pub texts: Vec<Arc<str>>,
}

/// Everything that can happen to the pipeline.
#[derive(Debug)]
pub enum Action {
    /// A partition is ours from now on. Records before `live_from` only teach.
    Assigned {
        /// The partition.
        lane: Lane,
        /// Rises with each assignment.
        generation: u64,
        /// First offset that may raise an alert and be committed.
        live_from: i64,
    },
    /// A partition is no longer ours: forget it and all in flight.
    Revoked {
        /// The partition.
        lane: Lane,
        /// The assignment that ended.
        generation: u64,
    },
    /// The source read records of one lane, in order.
    Read {
        /// The partition.
        lane: Lane,
        /// The assignment they were read under.
        generation: u64,
        /// The records.
        records: Vec<Traced<Record>>,
    },
    /// The embedder answered a request: one entry a text, in order; `None` where it failed for good.
    Embedded {
        /// The request's id.
        id: u64,
        /// The embeddings.
        embeddings: Vec<Option<Embedding>>,
    },
    /// The sink's other side has acknowledged an alert or a rejection.
    Published(Ticket),
    /// A finite source has no more records for a lane.
    Ended {
        /// The lane.
        lane: Lane,
        /// Its assignment.
        generation: u64,
    },
    /// Take nothing more in; say so when all that was taken in is judged and acknowledged.
    Stop,
}

/// Everything the pipeline can ask for.
#[derive(Debug)]
pub enum Effect {
    /// Embed these texts.
    Embed(EmbedRequest),
    /// Tell a person.
    Publish {
        /// To be handed back once acknowledged.
        ticket: Ticket,
        /// What to tell.
        alert: Box<Alert>,
    },
    /// Put the record aside: it cannot be read.
    Reject {
        /// To be handed back once acknowledged.
        ticket: Ticket,
        /// The record as it came.
        record: Traced<Arc<Record>>,
        /// Why.
        rejection: Rejection,
    },
    /// Remember how far we are.
    Commit(Commit),
    /// All that was taken in is done; comes once, after `Stop`.
    Stopped,
}

/// A schema that a lane settled on, for logs.
pub type LaneSchema = (Lane, Arc<Schema>);
