//! What a person and a scraper may see of the shards while they work.
//!
//! Each shard has a panel of its own and writes to it once an action, under a lock that nobody else holds but for the
//! moment it takes to copy; all it keeps has a bound. It must never decide anything: a daemon without an admin server does
//! the same.

mod ring;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::admin::status::Span;
use crate::flow::{Alert, Lane, Phase, Time};
use crate::pipeline::{Action, Counts, Effect};
use crate::source::Arrival;
use crate::{metrics, sink};
use ring::Peak;
pub(super) use ring::{CELLS, Cell, Ring};

/// Alerts that are kept.
pub(super) const ALERTS: usize = 50;
/// Batches of a lane that are kept apart while they are not done; later ones count as one with the last.
const OPEN: usize = 1_024;
/// Bytes of a reason that are kept; a sentence cuts what it cites, so few are longer.
const REASON: usize = 2_048;

/// All panels, one a shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Board(Vec<Arc<Mutex<Panel>>>);

/// An alert as a person reads it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// When it was raised, milliseconds since the Unix epoch by this machine's clock.
    pub(super) raised: i64,
    /// When the event happened.
    pub(super) time: Time,
    pub(super) lane: Lane,
    pub(super) offset: i64,
    pub(super) surprise: f64,
    pub(super) threshold: f64,
    /// One sentence; texts of the stream are in it.
    pub(super) reason: String,
    /// Events of the incident, as far as was told.
    pub(super) count: u64,
    /// Whether the incident has ended, as far as was told.
    pub(super) closed: bool,
}

/// What one shard shows.
#[derive(Debug)]
pub(super) struct Panel {
    counts: Counts,
    lanes: BTreeMap<Lane, Flow>,
    rings: [Ring; Span::ALL.len()],
    alerts: VecDeque<Told>,
    /// When what the sink has not acknowledged was handed to it, in order.
    handed: VecDeque<Instant>,
}

/// How far a lane has come.
#[derive(Debug)]
struct Flow {
    generation: u64,
    live_from: i64,
    /// Batches that are read and not done, in order.
    open: VecDeque<Batch>,
    /// Time of the last record read.
    read: Option<Time>,
    ended: bool,
}

#[derive(Debug)]
struct Batch {
    first: Time,
    last_offset: i64,
    sent: Instant,
}

impl Board {
    /// One panel a shard.
    pub(super) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| Arc::default()).collect())
    }

    /// A shard's own.
    pub(super) fn panel(&self, shard: usize) -> Arc<Mutex<Panel>> {
        self.0.get(shard).cloned().unwrap_or_default()
    }

    /// What all shards have counted.
    pub(super) fn counts(&self) -> Vec<Counts> {
        self.0.iter().map(|panel| lock(panel).counts.clone()).collect()
    }

    /// What was judged lately, by all shards.
    pub(super) fn ring(&self, span: Span) -> Ring {
        let mut joined = Ring::new(span.width());
        for panel in &self.0 {
            joined.join(&lock(panel).rings[span.place()]);
        }
        joined
    }

    /// The latest alerts, newest first.
    pub(super) fn alerts(&self) -> Vec<Told> {
        let mut all: Vec<Told> = self
            .0
            .iter()
            .flat_map(|panel| lock(panel).alerts.iter().rev().cloned().collect::<Vec<_>>())
            .collect();
        all.sort_by_key(|told| std::cmp::Reverse(told.raised));
        all.truncate(ALERTS);
        all
    }

    /// Seconds between now and the time of the oldest record of a lane that is read and not done; where none is, of the
    /// last read if there are `unread` ones, else 0. None where records have no time.
    pub(super) fn lag(&self, lane: &Lane, unread: Option<i64>, now: i64) -> Option<f64> {
        let age = |time: Time| (time.0 > 0).then(|| now.saturating_sub(time.0).max(0) as f64 / 1e3);
        self.0.iter().find_map(|panel| {
            let panel = lock(panel);
            let flow = panel.lanes.get(lane)?;
            match (flow.open.front(), flow.read) {
                (Some(batch), _) => age(batch.first),
                (None, Some(read)) if unread.is_some_and(|unread| unread > 0) => age(read),
                (None, Some(read)) => age(read).map(|_| 0.0),
                (None, None) => None,
            }
        })
    }
}

/// The panel, whatever became of who held it last.
pub(super) fn lock(panel: &Mutex<Panel>) -> MutexGuard<'_, Panel> {
    panel.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Panel {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            lanes: BTreeMap::new(),
            rings: Span::ALL.map(|span| Ring::new(span.width())),
            alerts: VecDeque::new(),
            handed: VecDeque::new(),
        }
    }
}

impl Panel {
    /// An action has come out of the source's queue.
    pub(super) fn arrived(&mut self, arrival: &Arrival) {
        match &arrival.action {
            Action::Assigned { lane, generation, live_from, .. } => {
                let (generation, live_from) = (*generation, *live_from);
                let flow = Flow { generation, live_from, open: VecDeque::new(), read: None, ended: false };
                self.lanes.insert(lane.clone(), flow);
            }
            Action::Revoked { lane, generation } => {
                if self.lanes.get(lane).is_some_and(|flow| flow.generation == *generation) {
                    self.lanes.remove(lane);
                }
            }
            Action::Ended { lane, .. } => {
                if let Some(flow) = self.lanes.get_mut(lane) {
                    flow.ended = true;
                }
            }
            Action::Read { lane, generation, records } => {
                let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
                metrics::taken(records.len(), arrival.sent.elapsed());
                let Some(flow) = self.lanes.get_mut(lane).filter(|flow| flow.generation == *generation)
                else {
                    return;
                };
                flow.read = Some(last.origin.time);
                // What only teaches was done before.
                if last.origin.offset >= flow.live_from {
                    flow.begin(Batch {
                        first: first.origin.time,
                        last_offset: last.origin.offset,
                        sent: arrival.sent,
                    });
                }
            }
            Action::Embedded { .. } | Action::Published(_) | Action::Stop => {}
        }
    }

    /// What came of an action by `at`, in milliseconds since the Unix epoch.
    pub(super) fn turned(&mut self, counts: &Counts, effects: &[Effect], at: i64) {
        let mut cell = Cell { at, ..Cell::default() };
        for effect in effects {
            match effect {
                Effect::Judged { verdict, opened } => {
                    let live_from = self.lanes.get(&verdict.origin.lane).map_or(0, |flow| flow.live_from);
                    let opened = *opened && verdict.origin.offset >= live_from;
                    let verdict = &verdict.value;
                    let (surprise, threshold) = (verdict.surprise, verdict.threshold);
                    cell.judge(Peak { warm: verdict.warm, surprise, threshold }, opened);
                }
                Effect::Publish { alert, .. } => {
                    self.handed.push_back(super::now());
                    self.tell(alert, at);
                }
                Effect::Reject { .. } => self.handed.push_back(super::now()),
                Effect::Commit(commit) => self.done(&commit.lane, commit.generation, commit.offset),
                Effect::Embed(_) | Effect::Settled { .. } | Effect::Stopped => {}
            }
        }
        if cell.judged > 0 {
            self.rings.iter_mut().for_each(|ring| ring.add(&cell));
        }
        self.counts.clone_from(counts);
    }

    /// The sink's other side has one piece more.
    pub(super) fn acknowledged(&mut self) {
        if let Some(handed) = self.handed.pop_front() {
            metrics::stage("publish", handed.elapsed());
        }
    }

    /// All records of a lane before that offset are judged, and their alerts acknowledged.
    fn done(&mut self, lane: &Lane, generation: u64, offset: i64) {
        let Some(flow) = self.lanes.get_mut(lane).filter(|flow| flow.generation == generation) else {
            return;
        };
        while flow.open.front().is_some_and(|batch| batch.last_offset < offset) {
            if let Some(batch) = flow.open.pop_front() {
                metrics::done(batch.sent.elapsed());
            }
        }
        if flow.ended && flow.open.is_empty() {
            self.lanes.remove(lane);
        }
    }

    fn tell(&mut self, alert: &Alert, raised: i64) {
        let Alert { origin, phase, count, verdict, .. } = alert;
        if *phase == Phase::Closed {
            let same = |told: &&mut Told| told.offset == origin.offset && told.lane == origin.lane;
            if let Some(told) = self.alerts.iter_mut().rev().find(same) {
                (told.count, told.closed) = (*count, true);
            }
            return;
        }
        if self.alerts.len() >= ALERTS {
            self.alerts.pop_front();
        }
        let mut reason = sink::sentence(alert);
        reason.truncate(reason.floor_char_boundary(REASON));
        self.alerts.push_back(Told {
            raised,
            time: origin.time,
            lane: origin.lane.clone(),
            offset: origin.offset,
            surprise: verdict.surprise,
            threshold: verdict.threshold,
            reason,
            count: *count,
            closed: false,
        });
    }
}

impl Flow {
    fn begin(&mut self, batch: Batch) {
        if self.open.len() < OPEN {
            self.open.push_back(batch);
        } else if let Some(last) = self.open.back_mut() {
            last.last_offset = batch.last_offset;
        }
    }
}

#[cfg(test)]
mod tests;
