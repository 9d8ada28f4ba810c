//! The end: read nothing more, let the shards finish, commit what they did, leave the group.
//!
//! Every step has a deadline, since the broker may be gone: the library's own goodbye then blocks for the
//! session timeout, so it is said on the committing thread, which is left behind. Nothing is lost by leaving early: what is
//! not committed is read again.

use std::time::Duration;

use rdkafka::consumer::Consumer;

use super::context::Change;
use super::session::{Phase, Session};
use super::starts::partitions;
use crate::source::{Unseen, now};

/// How long the last commit may take.
const LAST_COMMIT: Duration = Duration::from_secs(3);

/// How long leaving the group may take before it is left to itself.
const LEAVE: Duration = Duration::from_secs(2);

/// How long a poll may wait: bounds how late a shard's end is seen.
const POLL: Duration = Duration::from_millis(20);

impl Session<'_> {
    /// Stops; takes up to the drain's deadline and 5 s more.
    pub(super) fn stop(mut self) {
        self.phase = Phase::Stopping;
        self.lanes.forget_gathered();
        self.inlets.stop(Unseen::Forget);
        {
            let ours = partitions(self.lanes.iter().map(|held| &held.lane));
            if let Err(error) = self.consumer.pause(&ours) {
                tracing::debug!(%error, "pausing before the end failed");
            }
        }
        let deadline = now() + self.settings.drain;
        loop {
            self.inlets.pump_stopping();
            self.take_commits();
            self.serve_group();
            if !self.commits_open {
                break;
            }
            if now() >= deadline {
                tracing::warn!("shards were not done in time; what they did not finish is read again");
                break;
            }
            self.commit_when_due();
        }
        self.commit_last();
        self.leave();
    }

    /// Polls, and gives up what the group takes away.
    fn serve_group(&mut self) {
        self.serve(POLL);
        while let Some(change) = self.changes.pop_front() {
            match change {
                Change::Assign(lanes) => self.decline(&lanes),
                Change::Revoke { lanes, lost } => {
                    if let Err(error) = self.revoke(&lanes, lost) {
                        tracing::debug!(%error, "while stopping");
                    }
                }
            }
        }
    }

    fn commit_last(&mut self) {
        if !self.consumer.assignment_lost() {
            let lanes: Vec<_> = self.lanes.iter().map(|held| held.lane.clone()).collect();
            if let Err(error) = self.commit_within(&lanes, LAST_COMMIT) {
                tracing::debug!(%error, "while stopping");
            }
        }
    }

    fn leave(self) {
        self.consumer.context().close();
        let Self { consumer, committer, .. } = self;
        drop(consumer);
        if !committer.leave(LEAVE) {
            tracing::warn!("leaving the group takes long; left to itself");
        }
    }
}
