//! What the outside may know of a source while it runs: readiness, metrics and the status page are made of it.
//!
//! Written by the source's thread once a batch, read by anybody; it must never influence what the source does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::flow::Lane;

/// A source's state, shared.
#[derive(Debug, Default)]
pub struct Status {
    inner: Mutex<Report>,
}

/// A copy of a source's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether it can reach what it reads from.
    pub connected: bool,
    /// What is wrong at the moment, or was last.
    pub error: Option<String>,
    /// Partitions that are ours, in order.
    pub lanes: BTreeMap<Lane, LaneReport>,
    /// Records read since the start.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Whether it waits for the shards.
    pub paused: bool,
    /// Whether it has ended.
    pub finished: bool,
    /// Commits that the broker acknowledged, one for each lane in each.
    pub commits: u64,
    /// Commits that failed; each is tried again while the lane is ours.
    pub commit_failures: u64,
    /// Times that partitions were assigned or taken away.
    pub rebalances: u64,
}

/// A lane's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneReport {
    /// Its assignment.
    pub generation: u64,
    /// The next offset to read.
    pub position: i64,
    /// The offset after the last that can be read, where it is known.
    pub end: Option<i64>,
    /// The last offset committed.
    pub committed: Option<i64>,
}

impl LaneReport {
    /// Records not yet read, where it is known.
    pub fn lag(&self) -> Option<i64> {
        self.end.map(|end| (end - self.position).max(0))
    }
}

impl Status {
    /// A copy of the state.
    pub fn report(&self) -> Report {
        self.lock().clone()
    }

    pub(crate) fn connected(&self) {
        let mut inner = self.lock();
        if !inner.connected {
            inner.connected = true;
            inner.error = None;
        }
    }

    pub(crate) fn disconnected(&self, error: Option<String>) {
        let mut inner = self.lock();
        inner.connected = false;
        if error.is_some() {
            inner.error = error;
        }
    }

    pub(crate) fn error(&self, error: String) {
        self.lock().error = Some(error);
    }

    pub(crate) fn assigned(&self, lane: Lane, report: LaneReport) {
        let mut inner = self.lock();
        inner.rebalances += 1;
        inner.lanes.insert(lane, report);
    }

    pub(crate) fn revoked(&self, lane: &Lane) {
        let mut inner = self.lock();
        inner.rebalances += 1;
        inner.lanes.remove(lane);
    }

    pub(crate) fn read(&self, lane: &Lane, position: i64, records: u64, bytes: u64) {
        let mut inner = self.lock();
        inner.records += records;
        inner.bytes += bytes;
        if let Some(report) = inner.lanes.get_mut(lane) {
            report.position = position;
        }
    }

    pub(crate) fn end(&self, lane: &Lane, end: i64) {
        if let Some(report) = self.lock().lanes.get_mut(lane) {
            report.end = Some(end);
        }
    }

    pub(crate) fn committed(&self, lane: &Lane, offset: i64) {
        let mut inner = self.lock();
        inner.commits += 1;
        if let Some(report) = inner.lanes.get_mut(lane) {
            report.committed = Some(offset);
        }
    }

    pub(crate) fn commit_failed(&self) {
        self.lock().commit_failures += 1;
    }

    pub(crate) fn paused(&self, paused: bool) {
        self.lock().paused = paused;
    }

    pub(crate) fn finished(&self) {
        self.lock().finished = true;
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
