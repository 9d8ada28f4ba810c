//! Answers to what the group decided: one assign or unassign for each decision, in their order.
//!
//! To assign, the start offsets are found out first; to give up, what is known to be done is committed first,
//! with a bound on the wait. What is lost is not committed: others may have it already. The shard hears of each
//! change in the order of its records.

use std::collections::VecDeque;
use std::time::Duration;

use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::context::Change;
use super::session::{Phase, Session};
use super::starts::{self, StartAt};
use crate::flow::Lane;
use crate::pipeline::Action;
use crate::source::{LaneReport, SourceError, now};

/// How long a commit before giving up may take.
const COMMIT: Duration = Duration::from_secs(5);

/// How long a commit refused because of the rebalance is tried again; the group waits meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

/// How long after an unanswered question for offsets to ask again; what is ours is read meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long a poll may wait while something else is awaited.
const POLL: Duration = Duration::from_millis(20);

impl Session<'_> {
    /// Answers what can be answered now.
    ///
    /// # Errors
    /// When it cannot go on; see [`super::run`].
    pub(super) fn rebalance(&mut self) -> Result<(), SourceError> {
        while let Some(change) = self.changes.pop_front() {
            match change {
                Change::Assign(lanes) => {
                    // A full shard is no reason to wait: the group would wait too.
                    if !self.assign(&lanes)? {
                        self.changes.push_front(Change::Assign(lanes));
                        return Ok(());
                    }
                }
                Change::Revoke { lanes, lost } => self.revoke(&lanes, lost)?,
            }
            self.inlets.pump()?;
        }
        Ok(())
    }

    /// Whether it was answered; else it is to be tried again.
    fn assign(&mut self, lanes: &[Lane]) -> Result<bool, SourceError> {
        // What is taken back before we have begun is not worth a question: it is assigned and not read.
        let (declined, lanes): (Vec<Lane>, Vec<Lane>) =
            lanes.iter().cloned().partition(|lane| is_taken_back(&self.changes, lane));
        if !lanes.is_empty() && now() < self.ask_at {
            return Ok(false);
        }
        let starts = match starts::query(&self.consumer, &lanes, self.settings.start) {
            Ok(starts) => starts,
            Err(error) => {
                self.ask_at = now() + ASK_AGAIN;
                let code = error.rdkafka_error_code();
                if code != Some(RDKafkaErrorCode::OperationTimedOut) {
                    tracing::warn!(%error, "start offsets cannot be found out; trying again");
                }
                self.judge(&error, error.to_string())?;
                return Ok(false);
            }
        };
        self.generation += 1;
        for (lane, start) in lanes.iter().zip(&starts) {
            self.begin(lane, start);
        }
        let unread = declined.iter().map(|lane| (lane, Offset::End));
        let list = if matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative) {
            let begun = lanes.iter().zip(&starts).map(|(lane, start)| (lane, Offset::Offset(start.from)));
            starts::list(begun.chain(unread))
        } else {
            // The eager protocol's assign replaces the whole assignment.
            let held = self.lanes.iter().map(|held| (&held.lane, Offset::Offset(held.position)));
            starts::list(held.chain(unread))
        };
        self.answer("assign", self.add(&list));
        if self.phase == Phase::Waiting {
            let ours = starts::partitions(lanes.iter());
            self.answer("pause", self.consumer.pause(&ours));
        }
        self.status.connected();
        Ok(true)
    }

    fn begin(&mut self, lane: &Lane, start: &StartAt) {
        let generation = self.generation;
        let shard = self.inlets.seat();
        tracing::info!(%lane, generation, shard, from = start.from, live_from = start.live_from, "assigned");
        let live_from = start.live_from;
        let reading = start.reading.clone();
        self.inlets.push(shard, Action::Assigned { lane: lane.clone(), generation, live_from, reading });
        self.lanes.insert(lane.clone(), generation, shard, start);
        let committed = (!start.fresh).then_some(start.live_from);
        let report = LaneReport { generation, position: start.from, end: None, committed };
        self.status.assigned(lane.clone(), report);
    }

    /// Gives partitions up.
    ///
    /// # Errors
    /// When a shard has hung up or the library cannot go on.
    pub(super) fn revoke(&mut self, lanes: &[Lane], lost: bool) -> Result<(), SourceError> {
        let lost = lost || self.consumer.assignment_lost();
        let committed = if lost { Ok(()) } else { self.commit_within(lanes, COMMIT) };
        for lane in lanes {
            self.end(lane);
        }
        if lost {
            tracing::warn!(lanes = lanes.len(), "partitions lost: others read on from the last commit");
        }
        // Whatever went wrong: the group waits for this answer.
        let given_up = starts::partitions(lanes.iter());
        if self.phase == Phase::Waiting {
            // The library would remember the pause, should the partition ever come back.
            self.answer("resume", self.consumer.resume(&given_up));
        }
        self.answer("unassign", self.subtract(&given_up));
        committed
    }

    /// Answers an assignment that nobody wants any more: as one of which nothing is read.
    pub(super) fn decline(&self, lanes: &[Lane]) {
        let list = starts::list(lanes.iter().map(|lane| (lane, Offset::End)));
        self.answer("assign", self.add(&list));
    }

    /// Commits all that is known to be done in some lanes, polling meanwhile, unless it takes too long.
    ///
    /// # Errors
    /// When a shard has hung up or the library cannot go on.
    pub(super) fn commit_within(&mut self, lanes: &[Lane], patience: Duration) -> Result<(), SourceError> {
        let begun = now();
        let mut asked = false;
        loop {
            // The coordinator refuses for the moment between two generations: that is worth a second try.
            let between = self.settle_commit() == Some(RDKafkaErrorCode::RebalanceInProgress);
            if self.committer.is_under_way() {
                if now() >= begun + patience {
                    tracing::warn!("commit was not answered in time; some records may be read again");
                    return Ok(());
                }
                self.turn(POLL)?;
                continue;
            }
            if between {
                if now() >= begun + AGAIN {
                    tracing::warn!("commit refused during a rebalance; some records may be read again");
                    return Ok(());
                }
                self.turn(AGAIN / 10)?;
            } else if asked {
                return Ok(());
            }
            if !self.ask_commit(|lane| lanes.contains(lane)) {
                return Ok(());
            }
            asked = true;
        }
    }

    fn end(&mut self, lane: &Lane) {
        let Some(held) = self.lanes.remove(lane) else { return };
        tracing::info!(%lane, generation = held.generation, "revoked");
        self.inlets.leave(held.shard);
        if self.inlets.forget(lane) {
            self.inlets.push(held.shard, Action::Revoked { lane: held.lane, generation: held.generation });
        }
        self.status.revoked(lane);
    }

    /// Begins anew in partitions whose position is gone, as if they were given up and assigned again.
    ///
    /// # Errors
    /// When a shard has hung up or the library cannot go on.
    pub(super) fn begin_anew(&mut self) -> Result<(), SourceError> {
        if !self.changes.is_empty() || !self.inlets.is_clear() || now() < self.ask_at {
            return Ok(());
        }
        let positions = self.lanes.iter().map(|held| (&held.lane, held.position));
        let mut lanes = match starts::out_of_range(&self.consumer, positions) {
            Ok(lanes) => lanes,
            Err(error) => {
                self.ask_at = now() + ASK_AGAIN;
                tracing::warn!(%error, "watermarks cannot be found out; trying again");
                return self.judge(&error, error.to_string());
            }
        };
        self.out_of_range = false;
        if lanes.is_empty() {
            // The library has stopped reading some partition and does not say which.
            lanes = self.lanes.iter().map(|held| held.lane.clone()).collect();
        }
        if lanes.is_empty() {
            return Ok(());
        }
        tracing::error!(lanes = lanes.len(), "read position is out of range; beginning anew there");
        self.revoke(&lanes, false)?;
        self.inlets.pump()?;
        let kept = strike(&mut self.changes, &lanes);
        if !kept.is_empty() {
            self.changes.push_back(Change::Assign(kept));
        }
        Ok(())
    }

    fn add(&self, list: &TopicPartitionList) -> KafkaResult<()> {
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(list),
            _ => self.consumer.assign(list),
        }
    }

    fn subtract(&self, list: &TopicPartitionList) -> KafkaResult<()> {
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_unassign(list),
            _ if self.lanes.is_empty() => self.consumer.unassign(),
            _ => {
                let rest =
                    starts::list(self.lanes.iter().map(|held| (&held.lane, Offset::Offset(held.position))));
                self.consumer.assign(&rest)
            }
        }
    }

    fn answer(&self, what: &str, result: KafkaResult<()>) {
        if let Err(error) = result {
            tracing::error!(what, %error, "the library refused an answer to the group");
            self.status.error(format!("{what} was refused: {error}"));
        }
    }
}

/// Whether the group has already decided to take a partition away again.
fn is_taken_back(changes: &VecDeque<Change>, lane: &Lane) -> bool {
    changes.iter().any(|change| matches!(change, Change::Revoke { lanes, .. } if lanes.contains(lane)))
}

/// Takes partitions that were given up out of what is still to be given up, since the library refuses a whole
/// unassign for one partition that is not assigned; returns those that the group did not take away. A decision
/// of which nothing is left stays: it is owed an answer.
fn strike(changes: &mut VecDeque<Change>, given_up: &[Lane]) -> Vec<Lane> {
    let kept = given_up.iter().filter(|lane| !is_taken_back(changes, lane)).cloned().collect();
    for change in changes {
        if let Change::Revoke { lanes, .. } = change {
            lanes.retain(|lane| !given_up.contains(lane));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(partitions: &[i32]) -> Vec<Lane> {
        partitions.iter().map(|partition| Lane { topic: "t".into(), partition: *partition }).collect()
    }

    #[test]
    fn only_partitions_that_are_named_are_taken_back() {
        let lost = Change::Revoke { lanes: lanes(&[1, 2]), lost: true };
        let changes = VecDeque::from([Change::Assign(lanes(&[0])), lost]);
        let taken: Vec<bool> =
            lanes(&[0, 1, 2, 3]).iter().map(|lane| is_taken_back(&changes, lane)).collect();
        assert_eq!(taken, [false, true, true, false]);
    }

    #[test]
    fn what_was_given_up_is_not_given_up_again() {
        let revoke = |partitions| Change::Revoke { lanes: lanes(partitions), lost: false };
        let mut changes = VecDeque::from([revoke(&[0, 1]), Change::Assign(lanes(&[2])), revoke(&[2])]);
        assert_eq!(strike(&mut changes, &lanes(&[0, 2, 3])), lanes(&[3]));
        let left: Vec<Vec<Lane>> = changes
            .into_iter()
            .map(|change| match change {
                Change::Assign(lanes) | Change::Revoke { lanes, .. } => lanes,
            })
            .collect();
        assert_eq!(left, [lanes(&[1]), lanes(&[2]), lanes(&[])]);
    }
}
