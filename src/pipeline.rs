//! The whole stream as one state machine: actions in, effects out.
//!
//! It owns every piece of state that decides, one lane for each partition, so there are no locks; it does
//! nothing itself, so a test, a backtest and the daemon drive the very same code.

mod lane;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::flow::{Alert, Embedding, Fault, Lane, Reading, Record, Rejection, Schema, Traced, Verdict};
use crate::{alert, decode, detect, render};
use lane::{LaneState, Output};

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
    /// Bytes of records not yet judged or acknowledged, above which it asks for no more.
    pub bytes_max: usize,
    /// Records before a commit from which a lane's state is rebuilt after a restart.
    pub replay_events: u64,
    /// Whether every verdict is told ([`Effect::Judged`]), not only the alerts: a backtest wants that.
    pub trace: bool,
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
    /// What the lane's fields were inferred to be, as far as records from `replay_from` on are read by it: other first
    /// events could say otherwise.
    pub reading: Option<Arc<Reading>>,
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
        /// What its fields were inferred to be before, if they were.
        reading: Option<Arc<Reading>>,
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
    /// A lane has settled on how its events are read from now on.
    Settled {
        /// The lane.
        lane: Lane,
        /// Its schema.
        schema: Arc<Schema>,
        /// The fields of it that appeared late and have just joined; none when it is the lane's first.
        joined: Option<Schema>,
    },
    /// An event was judged; only with [`Settings::trace`], in the order of the lane, before the alerts it raises.
    Judged {
        /// The verdict, and where its event came from; the time is the event's own where it has one.
        verdict: Box<Traced<Verdict>>,
        /// Whether it opened an incident.
        opened: bool,
    },
    /// All that was taken in is done; comes once, after `Stop`.
    Stopped,
}

/// What a pipeline has done since it was made; only ever rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records taken in, replayed ones included.
    pub read: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Records of an assignment that had ended, dropped.
    pub stale: u64,
    /// Tombstones skipped.
    pub tombstones: u64,
    /// Events judged, replayed ones included.
    pub judged: u64,
    /// Events that only taught, after a restart.
    pub replayed: u64,
    /// Events that the guard kept from teaching.
    pub withheld: u64,
    /// Fields whose type did not fit.
    pub mistyped: u64,
    /// Fields that appeared late and are read since.
    pub joined: u64,
    /// Events over the threshold.
    pub anomalies: u64,
    /// Incidents opened.
    pub incidents: u64,
    /// Alerts asked to be published.
    pub alerts: u64,
    /// Records put aside, by reason.
    pub rejected: BTreeMap<Fault, u64>,
}

/// One lane as the outside may see it.
#[derive(Clone, Debug)]
pub struct LaneView {
    /// The lane.
    pub lane: Lane,
    /// Events its detector has judged; 0 while its first events are gathered.
    pub seen: u64,
    /// Whether it may alert.
    pub warm: bool,
    /// The line a fused surprise must cross, nats.
    pub threshold: f64,
    /// Events gathered to infer fields from; 0 once that is done.
    pub gathered: usize,
    /// Records taken in and not yet judged.
    pub waiting: usize,
    /// Incidents that the budget allowed for since the lane is warm.
    pub budgeted: f64,
    /// Incidents opened since the lane is warm.
    pub realised: f64,
    /// What a transformer's view of each text field counts for; empty where there is none.
    pub gates: Vec<detect::Gate>,
}

/// The state of the stream.
#[derive(Debug)]
pub struct Pipeline {
    settings: Arc<Settings>,
    lanes: BTreeMap<Lane, LaneState>,
    requests: BTreeMap<u64, Request>,
    request_next: u64,
    unacknowledged: usize,
    counts: Counts,
    stopping: bool,
    stopped: bool,
}

/// Who waits for the answer to an [`EmbedRequest`].
#[derive(Debug)]
struct Request {
    lane: Lane,
    generation: u64,
    /// For each text: the lane's serial of its event, and which of the event's texts it is.
    slots: Vec<(u64, usize)>,
}

impl Pipeline {
    /// A pipeline that has seen nothing.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            lanes: BTreeMap::new(),
            requests: BTreeMap::new(),
            request_next: 0,
            unacknowledged: 0,
            counts: Counts::default(),
            stopping: false,
            stopped: false,
        }
    }

    /// Whether it can take in more records; while not, the source has to wait. Other actions are always taken.
    pub fn accepts(&self) -> bool {
        let waiting: usize = self.lanes.values().map(LaneState::waiting).sum();
        waiting < self.settings.in_flight_max
            && self.requests.len() < self.settings.in_flight_max
            && self.unacknowledged < self.settings.unacknowledged_max
            && self.lanes.values().map(LaneState::bytes).sum::<usize>() < self.settings.bytes_max
    }

    /// What it has done so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Its lanes, in order.
    pub fn lanes(&self) -> impl Iterator<Item = LaneView> + '_ {
        self.lanes.iter().map(|(lane, state)| state.view(lane))
    }

    /// Takes one action; appends what it asks for.
    pub fn apply(&mut self, action: Action, effects: &mut Vec<Effect>) {
        self.apply_marked(action, effects, &mut || {});
    }

    /// As [`Self::apply`]; `decoded` is called where records that were read are decoded and rendered, and judging begins:
    /// who has a clock can tell the two apart.
    pub fn apply_marked(&mut self, action: Action, effects: &mut Vec<Effect>, decoded: &mut dyn FnMut()) {
        match action {
            Action::Assigned { lane, generation, live_from, reading } => {
                self.forget(&lane);
                let reading = reading.as_deref();
                self.lanes.insert(lane, LaneState::new(&self.settings, generation, live_from, reading));
            }
            Action::Revoked { lane, generation } => {
                if self.lanes.get(&lane).is_some_and(|state| state.generation() == generation) {
                    self.forget(&lane);
                }
            }
            Action::Read { lane, generation, records } => {
                let count = records.len() as u64;
                if !self.with_lane(lane, generation, effects, |state, out| state.read(records, out, decoded))
                {
                    self.counts.stale += count;
                }
            }
            Action::Ended { lane, generation } => {
                self.with_lane(lane, generation, effects, LaneState::ended);
            }
            Action::Embedded { id, embeddings } => self.embedded(id, embeddings, effects),
            Action::Published(ticket) => {
                let Ticket { lane, generation, offset } = ticket;
                self.with_lane(lane, generation, effects, |state, out| state.acknowledged(offset, out));
            }
            Action::Stop => self.stopping = true,
        }
        if self.stopping && !self.stopped && self.unacknowledged == 0 {
            self.stopped = self.lanes.values().all(|state| state.waiting() == 0);
            if self.stopped {
                effects.push(Effect::Stopped);
            }
        }
    }

    fn embedded(&mut self, id: u64, embeddings: Vec<Option<Embedding>>, effects: &mut Vec<Effect>) {
        let Some(Request { lane, generation, slots }) = self.requests.remove(&id) else { return };
        self.with_lane(lane, generation, effects, |state, out| {
            // An answer that is too short leaves the rest as failed: nothing may wait for ever.
            let answers = embeddings.into_iter().chain(std::iter::repeat(None));
            for ((serial, text), embedding) in slots.into_iter().zip(answers) {
                state.embedded(serial, text, embedding);
            }
            state.advance(out);
        });
    }

    /// Runs a step of one lane's state and takes what came of it; false when the lane is not ours (any more).
    fn with_lane(
        &mut self,
        lane: Lane,
        generation: u64,
        effects: &mut Vec<Effect>,
        step: impl FnOnce(&mut LaneState, &mut Output),
    ) -> bool {
        let Some(state) = self.lanes.get_mut(&lane).filter(|state| state.generation() == generation) else {
            return false;
        };
        let mut output = Output::new(&lane, generation, &mut self.counts, effects);
        step(state, &mut output);
        state.commit(&mut output);
        let Output { texts, slots, tickets_issued, tickets_returned, .. } = output;
        let over = state.is_over();
        self.unacknowledged = (self.unacknowledged + tickets_issued).saturating_sub(tickets_returned);
        if !texts.is_empty() {
            let id = self.request_next;
            self.request_next += 1;
            self.requests.insert(id, Request { lane, generation, slots });
            effects.push(Effect::Embed(EmbedRequest { id, texts }));
        } else if over {
            self.lanes.remove(&lane);
        }
        true
    }

    fn forget(&mut self, lane: &Lane) {
        if let Some(state) = self.lanes.remove(lane) {
            self.unacknowledged = self.unacknowledged.saturating_sub(state.unacknowledged());
        }
    }
}
