//! One shard: a pipeline on its own thread, and the deeds that its effects ask for.
//!
//! A shard must never block on one neighbour while another waits for it: whenever a queue out of it is full, it goes
//! on taking acknowledgements and answers, so that no cycle of full queues can stand still.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, never, select};

use super::board::{Panel, lock};
use super::notify::{Pulse, Work};
use super::{now, wall_clock};
use crate::detect::Gate;
use crate::embed::Embedder;
use crate::embed::lexical::Lexical;
use crate::embed::worker::{Answer, Worker};
use crate::flow::{Fault, Lane, Schema};
use crate::metrics;
use crate::pipeline::{Action, Commit, Counts, Effect, EmbedRequest, LaneView, Pipeline};
use crate::sink::Outgoing;
use crate::source::Arrival;

/// How often a shard looks up from its queues.
const PULSE: Duration = Duration::from_millis(100);
/// How often it exports what it has counted.
const EXPORT: Duration = Duration::from_millis(500);
/// How often the log may tell of records put aside.
const SAY: Duration = Duration::from_secs(10);

/// How a shard gets its texts embedded.
pub(crate) enum Embedding {
    /// A function call: for an embedder as fast as one.
    Inline(Box<dyn Embedder>),
    /// The worker that all shards share, the queue of its answers to this shard, and the built-in view of what is on its
    /// way.
    Worker { worker: Worker, answer: Sender<Answer>, answers: Receiver<Answer>, lexical: Lexical },
}

impl Embedding {
    /// What the pipeline is told of an answer of the worker: both views of its texts.
    pub(crate) fn joined(&mut self, Answer { id, embeddings }: Answer) -> Action {
        let embeddings = match self {
            Self::Inline(_) => embeddings,
            Self::Worker { lexical, .. } => lexical.join(id, embeddings),
        };
        Action::Embedded { id, embeddings }
    }

    /// What rises while the model works, for whichever shard.
    pub(super) fn work(&self) -> Work {
        match self {
            Self::Inline(_) => Box::new(|| 0),
            Self::Worker { worker, .. } => {
                let worker = worker.clone();
                Box::new(move || worker.stats().batches)
            }
        }
    }
}

/// What the outside may know of all shards together.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events judged.
    pub judged: AtomicU64,
    /// Records put aside.
    pub rejected: AtomicU64,
    /// Each shard's lanes as they were a moment ago.
    lanes: Mutex<BTreeMap<usize, Vec<LaneView>>>,
}

impl Progress {
    /// All lanes, as they were a moment ago.
    pub fn lanes(&self) -> Vec<LaneView> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.values().flatten().cloned().collect()
    }

    fn set_lanes(&self, shard: usize, views: Vec<LaneView>) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, views);
    }
}

/// A shard before it runs.
pub(super) struct Shard {
    pub(super) index: usize,
    pub(super) pipeline: Pipeline,
    pub(super) warmup: u64,
    pub(super) embedding: Embedding,
    pub(super) inbox: Receiver<Arrival>,
    pub(super) acknowledgements: Receiver<Action>,
    pub(super) outgoing: Sender<Outgoing>,
    pub(super) commits: Sender<Commit>,
    /// Set when shutdown has taken too long: leave everything as it is.
    pub(super) abandon: Arc<AtomicBool>,
    pub(super) progress: Arc<Progress>,
    /// What it shows of its work.
    pub(super) panel: Arc<Mutex<Panel>>,
    /// Beats while the shard goes round.
    pub(super) pulse: Pulse,
}

/// Why a shard ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShardError {
    /// The embedder cannot go on.
    #[error("{0}")]
    Embedder(String),
    /// The sink has ended.
    #[error("the sink has ended")]
    SinkEnded,
}

impl Shard {
    /// Runs until the pipeline has stopped, or until it is abandoned.
    pub(super) fn run(self) -> Result<(), ShardError> {
        Running {
            counted: Counts::default(),
            owed: BTreeMap::new(),
            local: VecDeque::new(),
            inbox_closed: false,
            unanswered: 0,
            answered: None,
            exported: now(),
            said: BTreeMap::new(),
            said_at: now(),
            shard: self,
        }
        .run()
    }
}

struct Running {
    shard: Shard,
    /// Actions that came while a queue out was full, and answers of an inline embedder.
    local: VecDeque<Action>,
    /// Commits that found their queue full: the newest for each lane.
    owed: BTreeMap<Lane, Commit>,
    counted: Counts,
    exported: Instant,
    /// Rejections as the log last told them, and when.
    said: BTreeMap<Fault, u64>,
    said_at: Instant,
    inbox_closed: bool,
    /// Requests that the worker has not answered.
    unanswered: usize,
    /// An answer of the worker that is still to be joined to the built-in view.
    answered: Option<Answer>,
}

impl Running {
    fn run(mut self) -> Result<(), ShardError> {
        let mut effects = Vec::new();
        let mut stopped = false;
        while !stopped && !self.shard.abandon.load(Ordering::Relaxed) {
            let action = self.next()?;
            let answered = self.answered.take().map(|answer| self.shard.embedding.joined(answer));
            let action = action.or(answered);
            // To be idle is fine; to wait for a worker that answers nothing is not.
            if action.is_some() || self.unanswered == 0 {
                self.shard.pulse.beat();
            }
            if let Some(action) = action {
                self.apply(action, &mut effects);
            }
            for effect in effects.drain(..) {
                stopped |= matches!(effect, Effect::Stopped);
                self.perform(effect)?;
            }
            self.pay_owed();
            self.report(stopped);
        }
        // What is still owed is worth waiting for a little: it saves judging it again.
        for commit in std::mem::take(&mut self.owed).into_values() {
            let _unless_the_source_has_gone = self.shard.commits.send_timeout(commit, EXPORT);
        }
        self.report(true);
        Ok(())
    }

    /// Lets the pipeline take an action, and notes how long that took and what came of it.
    fn apply(&mut self, action: Action, effects: &mut Vec<Effect>) {
        let (read, published) =
            (matches!(action, Action::Read { .. }), matches!(action, Action::Published(_)));
        let works = read || matches!(action, Action::Embedded { .. });
        let judged = self.shard.pipeline.counts().judged;
        let begun = now();
        let mut decoded = begun;
        self.shard.pipeline.apply_marked(action, effects, &mut || decoded = now());
        let counts = self.shard.pipeline.counts();
        if read {
            metrics::stage("decode", decoded - begun);
        }
        if works && counts.judged > judged {
            metrics::stage("detect", decoded.elapsed());
        }
        let mut panel = lock(&self.shard.panel);
        if published {
            panel.acknowledged();
        }
        panel.turned(counts, effects, wall_clock());
    }

    /// The next action; none when nothing happened for a pulse, or when it is an answer of the worker, kept aside.
    fn next(&mut self) -> Result<Option<Action>, ShardError> {
        if let Some(action) = self.local.pop_front() {
            return Ok(Some(action));
        }
        let hungry = self.shard.pipeline.accepts() && !self.inbox_closed;
        let (nothing, no_answers) = (never(), never());
        let inbox = if hungry { &self.shard.inbox } else { &nothing };
        let answers = match &self.shard.embedding {
            Embedding::Inline(_) => &no_answers,
            Embedding::Worker { worker, answers, .. } => {
                if let Some(trouble) = worker.failed() {
                    return Err(ShardError::Embedder(trouble));
                }
                answers
            }
        };
        select! {
            // The sink ends only after all shards, unless it cannot go on.
            recv(self.shard.acknowledgements) -> action => action.map(Some).map_err(|_ended| ShardError::SinkEnded),
            recv(answers) -> answer => {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.answered = answer.ok();
                Ok(None)
            }
            recv(inbox) -> arrival => {
                // A source that has gone without a word asked for nothing more: that is a stop.
                self.inbox_closed = arrival.is_err();
                if let Ok(arrival) = &arrival {
                    lock(&self.shard.panel).arrived(arrival);
                }
                Ok(Some(arrival.map_or(Action::Stop, |arrival| arrival.action)))
            }
            default(PULSE) => Ok(None),
        }
    }

    fn perform(&mut self, effect: Effect) -> Result<(), ShardError> {
        match effect {
            Effect::Embed(request) => self.embed(request),
            Effect::Publish { ticket, alert } => {
                self.hand_out(Outgoing::Alert { shard: self.shard.index, ticket, alert })
            }
            Effect::Reject { ticket, record, rejection } => {
                self.hand_out(Outgoing::Reject { shard: self.shard.index, ticket, record, rejection })
            }
            Effect::Commit(commit) => {
                self.owed.insert(commit.lane.clone(), commit);
                Ok(())
            }
            Effect::Settled { lane, schema, joined } => {
                tell(&lane, &schema, joined.as_ref());
                Ok(())
            }
            Effect::Judged { .. } | Effect::Stopped => Ok(()),
        }
    }

    fn embed(&mut self, request: EmbedRequest) -> Result<(), ShardError> {
        match &mut self.shard.embedding {
            Embedding::Inline(embedder) => {
                let texts: Vec<&str> = request.texts.iter().map(AsRef::as_ref).collect();
                let begun = now();
                let embeddings =
                    embedder.embed(&texts).map_err(|error| ShardError::Embedder(error.to_string()))?;
                metrics::embedded(texts.len(), begun.elapsed());
                self.local.push_back(Action::Embedded { id: request.id, embeddings });
            }
            // It may block, but never on this shard: the queue of answers holds all that can be out at once.
            Embedding::Worker { worker, answer, lexical, .. } => {
                self.unanswered += 1;
                lexical.ask(&request);
                worker.submit(request, answer);
            }
        }
        Ok(())
    }

    /// Gives the sink an alert or a rejection, taking acknowledgements while its queue is full.
    fn hand_out(&mut self, outgoing: Outgoing) -> Result<(), ShardError> {
        let mut waiting = outgoing;
        loop {
            waiting = match self.shard.outgoing.try_send(waiting) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(ShardError::SinkEnded),
                Err(TrySendError::Full(waiting)) => waiting,
            };
            if self.shard.abandon.load(Ordering::Relaxed) {
                return Ok(());
            }
            // A sink whose broker is away is waited for, however long that takes.
            self.shard.pulse.beat();
            self.report(false);
            match self.shard.acknowledgements.recv_timeout(PULSE / 10) {
                Ok(action) => self.local.push_back(action),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(ShardError::SinkEnded),
            }
        }
    }

    /// Hands commits to the source as far as it takes them: a newer one for the same lane replaces what waits here.
    fn pay_owed(&mut self) {
        while let Some((_, commit)) = self.owed.pop_first() {
            if let Err(TrySendError::Full(commit)) = self.shard.commits.try_send(commit) {
                self.owed.insert(commit.lane.clone(), commit);
                return;
            }
        }
    }

    fn report(&mut self, last: bool) {
        let counts = self.shard.pipeline.counts();
        let progress = &self.shard.progress;
        let rejected = |counts: &Counts| counts.rejected.values().sum::<u64>();
        progress.judged.fetch_add(counts.judged - self.counted.judged, Ordering::Relaxed);
        progress.rejected.fetch_add(rejected(counts) - rejected(&self.counted), Ordering::Relaxed);
        self.counted.clone_from(counts);
        if last || self.exported.elapsed() >= EXPORT {
            self.exported = now();
            self.export();
        }
        if self.counted.rejected != self.said && (last || self.said_at.elapsed() >= SAY) {
            self.said_at = now();
            self.said.clone_from(&self.counted.rejected);
            let totals: Vec<String> =
                self.said.iter().map(|(fault, count)| format!("{}={count}", fault.name())).collect();
            let totals = totals.join(" ");
            tracing::warn!(shard = self.shard.index, totals, "records that cannot be read were put aside");
        }
    }

    fn export(&self) {
        metrics::shard(self.shard.index, &self.counted);
        let views: Vec<LaneView> = self.shard.pipeline.lanes().collect();
        for view in &views {
            let warmed = warmed(view, self.shard.warmup);
            metrics::lane(&view.lane.topic, view.lane.partition, warmed, view.threshold, view.waiting);
            metrics::budget(&view.lane.topic, view.lane.partition, view.budgeted, view.realised);
            for Gate { field, correlation, lift, weight } in &view.gates {
                metrics::gate(&view.lane.topic, view.lane.partition, field, [*correlation, *lift], *weight);
            }
        }
        // The worker is the same for all shards.
        if let (Embedding::Worker { worker, .. }, 0) = (&self.shard.embedding, self.shard.index) {
            let stats = worker.stats();
            let texts = [stats.texts, stats.cached + stats.joined, stats.failed];
            metrics::transformer(texts, [stats.tokens, stats.tokens_padded]);
        }
        self.shard.progress.set_lanes(self.shard.index, views);
    }
}

/// What a lane's fields are, or which have joined them.
fn tell(lane: &Lane, schema: &Schema, joined: Option<&Schema>) {
    let told = joined.unwrap_or(schema);
    let [texts, numbers, categories, keys] =
        [&told.texts, &told.numbers, &told.categories, &told.keys].map(|names| names.join(" "));
    if joined.is_some() {
        tracing::info!(%lane, texts, numbers, categories, keys, "fields joined");
    } else {
        let time = schema.time.as_deref().unwrap_or_default();
        tracing::info!(%lane, texts, numbers, categories, keys, time, "fields inferred");
    }
}

/// Share of its warm-up that a lane has seen, 0 to 1; the first events, from which its fields are inferred, count.
pub(super) fn warmed(view: &LaneView, warmup: u64) -> f64 {
    let seen = view.seen.max(view.gathered as u64);
    if view.warm { 1.0 } else { (seen as f64 / warmup.max(1) as f64).min(1.0) }
}

#[cfg(test)]
mod tests;
