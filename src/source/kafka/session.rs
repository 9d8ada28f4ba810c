//! The consumer's thread while it reads: poll, gather, send, commit; wait when the shards are full.
//!
//! A turn never blocks longer than a poll. Whatever is slow (a rebalance, a full shard) is taken up again turn
//! by turn, so that the group always hears from us.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::Settings;
use super::commit::Committer;
use super::context::{Change, Context};
use super::lanes::Lanes;
use super::starts::partitions;
use crate::flow::Lane;
use crate::pipeline::Commit;
use crate::source::{Inlets, SourceError, Status, now};

/// How long a poll may wait for a record.
const POLL: Duration = Duration::from_millis(100);

/// How long a full shard is waited for before partitions are paused: a pause throws away what was read ahead,
/// so a shard that is merely busy must not cause one.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long to wait for a full shard at once.
const PUMP: Duration = Duration::from_millis(10);

/// What the session is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Records are read.
    Reading,
    /// Partitions are paused until the shards have taken what was read.
    Waiting,
    /// Nothing more is read.
    Stopping,
}

/// The consumer and all that its thread knows.
pub(super) struct Session<'a> {
    pub(super) settings: &'a Settings,
    pub(super) consumer: Arc<BaseConsumer<Context>>,
    pub(super) committer: Committer,
    pub(super) inlets: Inlets,
    pub(super) status: &'a Arc<Status>,
    pub(super) lanes: Lanes,
    /// What the group decided and is not yet answered.
    pub(super) changes: VecDeque<Change>,
    /// Rises with each assignment; 0 until the broker has given us partitions, so until then a refusal is final.
    pub(super) generation: u64,
    /// Whether partitions must begin anew, since their position is gone.
    pub(super) out_of_range: bool,
    /// Whether some shard may still send commits.
    pub(super) commits_open: bool,
    pub(super) phase: Phase,
    /// When the broker may be asked again for offsets, after it has not answered: the question holds up reading.
    pub(super) ask_at: Instant,
    commits: &'a Receiver<Commit>,
    commit_at: Instant,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        consumer: Arc<BaseConsumer<Context>>,
        committer: Committer,
        inlets: Inlets,
        commits: &'a Receiver<Commit>,
        status: &'a Arc<Status>,
    ) -> Self {
        Self {
            settings,
            consumer,
            committer,
            inlets,
            status,
            lanes: Lanes::new(settings.batch_max),
            changes: VecDeque::new(),
            generation: 0,
            out_of_range: false,
            commits_open: true,
            phase: Phase::Reading,
            ask_at: now(),
            commits,
            commit_at: now() + settings.commit_interval,
        }
    }

    /// Reads until told to stop.
    ///
    /// # Errors
    /// When it cannot go on; see [`super::run`].
    pub(super) fn read(&mut self, stop: &AtomicBool) -> Result<(), SourceError> {
        while !stop.load(Ordering::Relaxed) {
            self.turn(POLL)?;
            self.rebalance()?;
            if self.out_of_range {
                self.begin_anew()?;
            }
            self.commit_when_due();
        }
        Ok(())
    }

    /// Polls for up to `wait`, takes what there is up to one batch, and sends it.
    ///
    /// # Errors
    /// When a shard has hung up or the library cannot go on.
    pub(super) fn turn(&mut self, wait: Duration) -> Result<(), SourceError> {
        self.take_commits();
        if self.phase == Phase::Stopping {
            self.serve(wait);
            return Ok(());
        }
        self.await_shards()?;
        let mut wait = if self.inlets.is_clear() { wait } else { Duration::ZERO };
        let mut failure = None;
        while !self.lanes.is_full() {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => self.lanes.gather(&message),
                Some(Err(error)) => {
                    failure = Some(error);
                    break;
                }
                // Also after a rebalance or a commit's answer: what is gathered goes out all the same.
                None => break,
            }
            wait = Duration::ZERO;
        }
        self.changes.extend(self.consumer.context().take_changes());
        self.lanes.flush(&mut self.inlets, self.status);
        self.inlets.pump()?;
        let Some(error) = failure else { return Ok(()) };
        let reason = self.consumer.context().reason();
        let text = if reason.is_empty() { error.to_string() } else { reason };
        self.judge(&error, text)
    }

    /// Polls once, dropping records: what is not committed is read again.
    pub(super) fn serve(&mut self, wait: Duration) {
        // Errors do not matter any more: the deadline bounds all waiting.
        if let Some(Err(error)) = self.consumer.poll(wait) {
            tracing::debug!(%error, "while stopping");
        }
        self.changes.extend(self.consumer.context().take_changes());
    }

    /// Takes all commits there are.
    pub(super) fn take_commits(&mut self) {
        loop {
            match self.commits.try_recv() {
                Ok(commit) => self.lanes.note(&commit),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.commits_open = false;
                    return;
                }
            }
        }
    }

    /// Asks for all commits when they are due, unless the last are still under way.
    pub(super) fn commit_when_due(&mut self) {
        self.settle_commit();
        let time = now();
        if time < self.commit_at || self.committer.is_under_way() {
            return;
        }
        self.commit_at = time + self.settings.commit_interval;
        self.ask_commit(|_| true);
    }

    /// Asks for what is to be committed of some lanes; whether there was anything.
    pub(super) fn ask_commit(&mut self, which: impl Fn(&Lane) -> bool) -> bool {
        self.take_commits();
        let marks = self.lanes.commits_due(which);
        let any = !marks.is_empty();
        if any {
            self.committer.ask(marks);
        }
        any
    }

    /// Notes how the last commit went, once that is known; why it failed, if it did.
    pub(super) fn settle_commit(&mut self) -> Option<RDKafkaErrorCode> {
        let outcome = self.committer.outcome()?;
        match outcome.result {
            Ok(()) => {
                for mark in outcome.marks {
                    self.status.committed(&mark.lane, mark.offset);
                }
                None
            }
            Err(error) => {
                let code = error.rdkafka_error_code();
                if code == Some(RDKafkaErrorCode::RebalanceInProgress) {
                    tracing::debug!("commit refused during a rebalance; it is tried again");
                } else {
                    tracing::warn!(%error, "commit failed; it is tried again while the partitions are ours");
                }
                self.status.commit_failed();
                self.lanes.ask_again();
                code
            }
        }
    }

    /// Waits a little for full shards, then pauses; goes on when all that was read has found its place.
    fn await_shards(&mut self) -> Result<(), SourceError> {
        if self.phase == Phase::Waiting {
            self.inlets.pump_for(PUMP)?;
        } else {
            let deadline = now() + PATIENCE;
            while !self.inlets.is_clear() && now() < deadline {
                self.inlets.pump_for(PUMP)?;
                // A shard may be full because its commits wait for us.
                self.take_commits();
            }
        }
        match (self.phase, self.inlets.is_clear()) {
            (Phase::Reading, false) => self.pause(true),
            (Phase::Waiting, true) => self.pause(false),
            _ => {}
        }
        Ok(())
    }

    fn pause(&mut self, pause: bool) {
        self.phase = if pause { Phase::Waiting } else { Phase::Reading };
        self.status.paused(pause);
        let list = partitions(self.lanes.iter().map(|held| &held.lane));
        let done = if pause { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        if let Err(error) = done {
            tracing::warn!(%error, pause, "pausing or resuming failed");
        }
    }

    /// Decides what an error of the library means, and tells it in `text`.
    ///
    /// # Errors
    /// When it cannot pass.
    pub(super) fn judge(&mut self, error: &KafkaError, text: String) -> Result<(), SourceError> {
        use RDKafkaErrorCode as Code;
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            return Err(SourceError::Fatal(text));
        }
        match error.rdkafka_error_code() {
            Some(
                Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed,
            ) => {
                if self.generation == 0 {
                    return Err(SourceError::Refused(text));
                }
                tracing::error!(error = text, "refused by the broker, which let us in before; trying on");
                self.status.error(format!("refused by the broker: {text}"));
            }
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => self.out_of_range = true,
            Some(
                Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut,
            ) => tracing::debug!(error = text, "connection"),
            _ => {
                tracing::warn!(error = text, "the library reports an error and goes on");
                self.status.error(text);
            }
        }
        Ok(())
    }
}
