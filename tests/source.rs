//! The sources against real files and librdkafka's mock cluster; the test plays the shards.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use outlierd::flow::{Lane, Record, Traced};
use outlierd::pipeline::{Action, Commit};
use outlierd::source::{Arrival, Inlets, Report, SourceError, Status};

mod files;
mod kafka;

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_mins(1);

/// A source on a thread of its own, with the test at the other end of its queues.
struct Rig {
    shards: Vec<Receiver<Arrival>>,
    commits: Sender<Commit>,
    stop: Arc<AtomicBool>,
    status: Arc<Status>,
    thread: JoinHandle<Result<(), SourceError>>,
}

impl Rig {
    fn start(
        shards: usize,
        queue: usize,
        run: impl FnOnce(Inlets, &Receiver<Commit>, &AtomicBool, &Arc<Status>) -> Result<(), SourceError>
        + Send
        + 'static,
    ) -> Self {
        let (queues, shards) = (0..shards).map(|_| bounded(queue)).unzip();
        let (commits, taken) = bounded(64);
        let (stop, status) = (Arc::new(AtomicBool::new(false)), Arc::new(Status::default()));
        let (stop_too, status_too) = (Arc::clone(&stop), Arc::clone(&status));
        let thread = std::thread::Builder::new()
            .name("source".to_owned())
            .spawn(move || run(Inlets::new(queues), &taken, &stop_too, &status_too))
            .unwrap();
        Self { shards, commits, stop, status, thread }
    }

    /// The next action of the first shard.
    fn next(&self) -> Action {
        self.shards[0].recv_timeout(LONG).expect("an action").action
    }

    /// Waits until the status is as wanted.
    fn wait_for(&self, wanted: impl Fn(&Report) -> bool) -> Report {
        for _ in 0..LONG.as_millis() / 20 {
            let report = self.status.report();
            if wanted(&report) {
                return report;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("status never came to be as wanted: {:?}", self.status.report());
    }

    /// Stops as the daemon does: every shard reads on to its `Stop`, then hangs up.
    fn finish(self) -> Result<(), SourceError> {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits for the end without asking for it.
    fn join(self) -> Result<(), SourceError> {
        let Self { shards, commits, thread, .. } = self;
        for shard in shards {
            while !matches!(shard.recv_timeout(LONG).expect("a stop").action, Action::Stop) {}
            assert!(shard.try_recv().is_err(), "nothing comes after the stop");
        }
        drop(commits);
        thread.join().unwrap()
    }
}

/// What a shard saw of its lanes; checks the protocol as it goes.
#[derive(Default)]
struct Seen {
    /// Generation and first live offset by lane, while it is assigned.
    assigned: BTreeMap<Lane, (u64, i64)>,
    /// All records by lane, in the order they came.
    records: BTreeMap<Lane, Vec<Traced<Record>>>,
    revoked: Vec<(Lane, u64)>,
    ended: Vec<Lane>,
    largest_batch: usize,
}

impl Seen {
    fn take(&mut self, action: Action) {
        match action {
            Action::Assigned { lane, generation, live_from, .. } => {
                let before = self.assigned.insert(lane, (generation, live_from));
                assert!(before.is_none(), "assigned twice");
            }
            Action::Revoked { lane, generation } => {
                let (known, _) = self.assigned.remove(&lane).expect("revoked without being assigned");
                assert_eq!(known, generation);
                self.revoked.push((lane, generation));
            }
            Action::Read { lane, generation, records } => {
                assert_eq!(self.assigned.get(&lane).expect("read before being assigned").0, generation);
                assert!(!records.is_empty());
                assert!(records.iter().all(|record| record.origin.lane == lane));
                self.largest_batch = self.largest_batch.max(records.len());
                self.records.entry(lane).or_default().extend(records);
            }
            Action::Ended { lane, .. } => self.ended.push(lane),
            other => panic!("not a source's to say: {other:?}"),
        }
    }

    /// Takes actions until it is enough.
    fn until(&mut self, rig: &Rig, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            self.take(rig.next());
        }
    }

    fn count(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }

    fn offsets(&self, lane: &Lane) -> Vec<i64> {
        self.records
            .get(lane)
            .map(|records| records.iter().map(|r| r.origin.offset).collect())
            .unwrap_or_default()
    }

    fn lines(&self, lane: &Lane) -> Vec<(i64, String)> {
        let numbered = |record: &Traced<Record>| {
            let payload = record.value.payload.clone().unwrap_or_default();
            (record.origin.offset, String::from_utf8_lossy(&payload).into_owned())
        };
        self.records.get(lane).map(|records| records.iter().map(numbered).collect()).unwrap_or_default()
    }
}
