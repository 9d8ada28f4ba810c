//! The partitions that are ours: what was gathered from each and not yet sent, and how far each may be committed.
//!
//! Here a commit's generation is held against the lane's: one of an earlier assignment must never get past.

use std::cmp::Ordering;

use std::sync::Arc;

use rdkafka::message::{BorrowedMessage, Headers, Message};

use super::commit::Mark;
use super::starts::StartAt;
use crate::flow::{Lane, Origin, Reading, Record, Time, Traced};
use crate::pipeline::Commit;
use crate::source::{Inlets, Status, send_read};

/// Bytes gathered above which a batch is sent, however few its records: bounds what a full queue holds.
const BATCH_BYTES: usize = 1 << 20;

/// A partition that is ours.
pub(super) struct Held {
    /// Which.
    pub(super) lane: Lane,
    /// Its assignment.
    pub(super) generation: u64,
    /// Where its records go.
    pub(super) shard: usize,
    /// The next offset to be gathered.
    pub(super) position: i64,
    pending: Vec<Traced<Record>>,
    pending_bytes: usize,
    /// How far it may be committed: offset, where to replay from, and how records are read from there on.
    latest: Option<(i64, i64, Option<Arc<Reading>>)>,
    /// The offset last asked to be committed.
    asked: Option<i64>,
}

/// All partitions that are ours, sorted.
pub(super) struct Lanes {
    held: Vec<Held>,
    batch_max: usize,
    gathered: usize,
    gathered_bytes: usize,
    /// Where the last record belonged: the next one's place, nearly always.
    last: usize,
}

impl Lanes {
    pub(super) fn new(batch_max: usize) -> Self {
        Self { held: Vec::new(), batch_max: batch_max.max(1), gathered: 0, gathered_bytes: 0, last: 0 }
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes a partition in.
    pub(super) fn insert(&mut self, lane: Lane, generation: u64, shard: usize, start: &StartAt) {
        // A group that has never committed says so only once: from now on there is something to find.
        let latest = start.fresh.then_some((start.live_from, start.from, None));
        let held = Held {
            lane,
            generation,
            shard,
            position: start.from,
            pending: Vec::new(),
            pending_bytes: 0,
            latest,
            asked: None,
        };
        match self.held.binary_search_by(|other| other.lane.cmp(&held.lane)) {
            Ok(index) => {
                if let Some(place) = self.held.get_mut(index) {
                    *place = held;
                }
            }
            Err(index) => self.held.insert(index, held),
        }
    }

    /// Gives a partition up, with all that was gathered and not sent.
    pub(super) fn remove(&mut self, lane: &Lane) -> Option<Held> {
        let index = self.held.binary_search_by(|held| held.lane.cmp(lane)).ok()?;
        let held = self.held.remove(index);
        self.gathered -= held.pending.len();
        self.gathered_bytes -= held.pending_bytes;
        Some(held)
    }

    /// Takes a message; one of a partition that is not ours is dropped.
    pub(super) fn gather(&mut self, message: &BorrowedMessage<'_>) {
        let Some(index) = self.find(message.topic(), message.partition()) else {
            tracing::debug!(topic = message.topic(), partition = message.partition(), "not ours any more");
            return;
        };
        self.last = index;
        let Some(held) = self.held.get_mut(index) else { return };
        held.position = message.offset() + 1;
        let record = traced(&held.lane, message);
        let bytes = size(&record.value);
        held.pending.push(record);
        held.pending_bytes += bytes;
        self.gathered += 1;
        self.gathered_bytes += bytes;
    }

    /// Whether enough is gathered to be sent at once.
    pub(super) fn is_full(&self) -> bool {
        self.gathered >= self.batch_max || self.gathered_bytes >= BATCH_BYTES
    }

    /// Sends what was gathered.
    pub(super) fn flush(&mut self, inlets: &mut Inlets, status: &Status) {
        if self.gathered == 0 {
            return;
        }
        for held in self.held.iter_mut().filter(|held| !held.pending.is_empty()) {
            let records = std::mem::take(&mut held.pending);
            let bytes = std::mem::take(&mut held.pending_bytes);
            status.read(&held.lane, held.position, records.len() as u64, bytes as u64);
            send_read(inlets, held.shard, &held.lane, held.generation, records);
        }
        (self.gathered, self.gathered_bytes) = (0, 0);
    }

    /// Forgets what was gathered and not sent: nobody will commit it.
    pub(super) fn forget_gathered(&mut self) {
        for held in &mut self.held {
            held.pending.clear();
            held.pending_bytes = 0;
        }
        (self.gathered, self.gathered_bytes) = (0, 0);
    }

    /// Notes how far a lane has come, unless it is of another assignment.
    pub(super) fn note(&mut self, commit: &Commit) {
        let found = self.held.binary_search_by(|held| held.lane.cmp(&commit.lane));
        let Some(held) = found.ok().and_then(|index| self.held.get_mut(index)) else { return };
        let behind = held.latest.as_ref().is_some_and(|(offset, ..)| commit.offset < *offset);
        if held.generation == commit.generation && !behind {
            let replay_from = commit.replay_from.clamp(0, commit.offset.max(0));
            held.latest = Some((commit.offset, replay_from, commit.reading.clone()));
        }
    }

    /// What is to be committed of the lanes that `which` names, without what was asked for already.
    pub(super) fn commits_due(&mut self, which: impl Fn(&Lane) -> bool) -> Vec<Mark> {
        let mut marks = Vec::new();
        for held in self.held.iter_mut().filter(|held| which(&held.lane)) {
            let Some((offset, replay_from, reading)) = &held.latest else { continue };
            if held.asked != Some(*offset) {
                held.asked = Some(*offset);
                let (lane, reading) = (held.lane.clone(), reading.clone());
                marks.push(Mark { lane, offset: *offset, replay_from: *replay_from, reading });
            }
        }
        marks
    }

    /// A commit has failed: all of them are to be asked for again.
    pub(super) fn ask_again(&mut self) {
        for held in &mut self.held {
            held.asked = None;
        }
    }

    fn find(&self, topic: &str, partition: i32) -> Option<usize> {
        let order = |held: &Held| -> Ordering {
            (*held.lane.topic).cmp(topic).then(held.lane.partition.cmp(&partition))
        };
        if self.held.get(self.last).is_some_and(|held| order(held) == Ordering::Equal) {
            return Some(self.last);
        }
        self.held.binary_search_by(order).ok()
    }
}

/// A message as a record of its lane.
pub(super) fn traced(lane: &Lane, message: &BorrowedMessage<'_>) -> Traced<Record> {
    // Kafka's "no timestamp" is -1.
    let time = Time(message.timestamp().to_millis().unwrap_or(0).max(0));
    let origin = Origin { lane: lane.clone(), offset: message.offset(), time };
    Traced { origin, value: record(message) }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let mut record = Record {
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers: Vec::new(),
    };
    if let Some(headers) = message.headers() {
        for index in 0..headers.count() {
            // The library panics on a name that is not UTF-8; anybody who may produce can send one.
            let read = || {
                headers.try_get(index).map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            };
            record.headers.extend(guarded(read).flatten());
        }
    }
    record
}

/// Runs a call of the library that panics on text which is not UTF-8; `None` then.
pub(super) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).ok()
}

fn size(record: &Record) -> usize {
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers = record.headers.iter().map(|(name, value)| name.len() + bytes(value)).sum::<usize>();
    bytes(&record.key) + bytes(&record.payload) + headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(partition: i32) -> Lane {
        Lane { topic: "t".into(), partition }
    }

    fn lanes() -> Lanes {
        let mut lanes = Lanes::new(10);
        let start = StartAt { from: 5, live_from: 7, fresh: false, reading: None };
        lanes.insert(lane(0), 3, 0, &start);
        lanes.insert(lane(1), 3, 0, &start);
        lanes
    }

    fn commit(partition: i32, generation: u64, offset: i64, replay_from: i64) -> Commit {
        Commit { lane: lane(partition), generation, offset, replay_from, reading: None }
    }

    #[test]
    fn the_latest_commit_of_this_generation_counts() {
        let mut lanes = lanes();
        lanes.note(&commit(0, 3, 10, 8));
        lanes.note(&commit(0, 3, 12, 9));
        lanes.note(&commit(0, 3, 11, 9));
        lanes.note(&commit(0, 2, 99, 9));
        lanes.note(&commit(0, 4, 99, 9));
        lanes.note(&commit(7, 3, 99, 9));
        let expected = vec![Mark { lane: lane(0), offset: 12, replay_from: 9, reading: None }];
        assert_eq!(lanes.commits_due(|_| true), expected);
        assert_eq!(lanes.commits_due(|_| true), [], "asked for already");
        lanes.ask_again();
        assert_eq!(lanes.commits_due(|lane| lane.partition == 1), []);
        assert_eq!(lanes.commits_due(|_| true), expected);
    }

    #[test]
    fn a_new_group_commits_where_it_begins() {
        let mut lanes = Lanes::new(10);
        lanes.insert(lane(0), 1, 0, &StartAt { from: 4, live_from: 4, fresh: true, reading: None });
        assert_eq!(
            lanes.commits_due(|_| true),
            [Mark { lane: lane(0), offset: 4, replay_from: 4, reading: None }]
        );
    }

    #[test]
    fn partitions_are_found_among_others() {
        let mut lanes = Lanes::new(10);
        let start = StartAt { from: 0, live_from: 0, fresh: false, reading: None };
        for (topic, partition) in [("b", 1), ("a", 10), ("a", 2), ("b", 0)] {
            lanes.insert(Lane { topic: topic.into(), partition }, 1, 0, &start);
        }
        for (topic, partition) in [("b", 1), ("a", 10), ("a", 2), ("b", 0)] {
            let found = lanes.find(topic, partition).and_then(|index| lanes.held.get(index)).unwrap();
            assert_eq!((&*found.lane.topic, found.lane.partition), (topic, partition));
        }
        assert!(lanes.find("a", 1).is_none());
        assert!(lanes.remove(&Lane { topic: "a".into(), partition: 2 }).is_some());
        assert!(lanes.find("a", 2).is_none());
    }
}
