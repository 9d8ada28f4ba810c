//! A panel's account of lanes, batches and alerts, without a shard.

use std::sync::Arc;

use super::*;
use crate::flow::{Evidence, Origin, Record, Schema, Traced, Verdict};
use crate::pipeline::{Commit, Ticket};

const NOW: i64 = 1_000_000;

fn lane() -> Lane {
    Lane { topic: "logs".into(), partition: 3 }
}

fn arrival(action: Action) -> Arrival {
    Arrival { action, sent: crate::daemon::now() }
}

fn origin(offset: i64, time: i64) -> Origin {
    Origin { lane: lane(), offset, time: Time(time) }
}

/// Records of those offsets, each of the time `offset * 1000`.
fn read(generation: u64, offsets: std::ops::Range<i64>) -> Arrival {
    let record = |offset| Traced { origin: origin(offset, offset * 1_000), value: Record::default() };
    arrival(Action::Read { lane: lane(), generation, records: offsets.map(record).collect() })
}

fn commit(generation: u64, offset: i64) -> Effect {
    Effect::Commit(Commit { lane: lane(), generation, offset, replay_from: 0, reading: None })
}

fn verdict(surprise: f64) -> Verdict {
    Verdict {
        surprise,
        threshold: 5.0,
        channels: Vec::new(),
        admitted: true,
        seen: 1,
        warm: true,
        evidence: Some(Evidence::default()),
    }
}

fn alert(offset: i64, phase: Phase, count: u64) -> Effect {
    let ticket = Ticket { lane: lane(), generation: 1, offset };
    let alert = Alert {
        origin: origin(offset, 7),
        phase,
        count,
        last_offset: offset,
        last_time: Time(7),
        verdict: verdict(9.0),
        record: Arc::new(Record::default()),
        schema: Arc::new(Schema::default()),
    };
    Effect::Publish { ticket, alert: Box::new(alert) }
}

/// A board of one panel with the lane assigned, live from an offset.
fn board(live_from: i64) -> (Board, Arc<Mutex<Panel>>) {
    let board = Board::new(1);
    let panel = board.panel(0);
    lock(&panel).arrived(&arrival(Action::Assigned {
        lane: lane(),
        generation: 1,
        live_from,
        reading: None,
    }));
    (board, panel)
}

#[test]
fn lag_is_the_age_of_the_oldest_record_not_done() {
    let (board, panel) = board(10);
    assert_eq!(board.lag(&lane(), Some(0), NOW), None, "nothing read: not known");
    lock(&panel).arrived(&read(1, 5..10));
    assert_eq!(board.lag(&lane(), Some(0), NOW), Some(0.0), "what only teaches was done before");
    lock(&panel).arrived(&read(1, 10..20));
    lock(&panel).arrived(&read(1, 20..30));
    assert_eq!(board.lag(&lane(), Some(0), NOW), Some(990.0));
    lock(&panel).turned(&Counts::default(), &[commit(1, 19)], NOW);
    assert_eq!(board.lag(&lane(), Some(0), NOW), Some(990.0), "one of the batch is not done");
    lock(&panel).turned(&Counts::default(), &[commit(2, 30)], NOW);
    assert_eq!(board.lag(&lane(), Some(0), NOW), Some(990.0), "another assignment's");
    lock(&panel).turned(&Counts::default(), &[commit(1, 20)], NOW);
    assert_eq!(board.lag(&lane(), Some(0), NOW), Some(980.0));
    lock(&panel).turned(&Counts::default(), &[commit(1, 30)], NOW);
    assert_eq!(board.lag(&lane(), Some(0), NOW), Some(0.0));
    assert_eq!(board.lag(&lane(), None, NOW), Some(0.0));
    assert_eq!(board.lag(&lane(), Some(4), NOW), Some(971.0), "unread ones are no older than the last read");
    assert_eq!(board.lag(&lane(), Some(4), 5_000), Some(0.0), "a record of the future is not behind");
    lock(&panel).arrived(&arrival(Action::Revoked { lane: lane(), generation: 1 }));
    assert_eq!(board.lag(&lane(), Some(4), NOW), None);
}

#[test]
fn batches_without_end_count_as_one_and_a_lane_that_has_ended_is_forgotten() {
    let (board, panel) = board(0);
    let many = 3 * i64::try_from(OPEN).unwrap();
    for offset in 0..many {
        lock(&panel).arrived(&read(1, offset..offset + 1));
    }
    assert_eq!(lock(&panel).lanes[&lane()].open.len(), OPEN);
    lock(&panel).arrived(&arrival(Action::Ended { lane: lane(), generation: 1 }));
    lock(&panel).turned(&Counts::default(), &[commit(1, many - 1)], NOW);
    assert_eq!(lock(&panel).lanes[&lane()].open.len(), 1, "the last is not done");
    lock(&panel).turned(&Counts::default(), &[commit(1, many)], NOW);
    assert!(lock(&panel).lanes.is_empty() && board.lag(&lane(), None, NOW).is_none());
}

#[test]
fn alerts_are_kept_newest_first_and_told_of_their_end() {
    let (board, panel) = board(0);
    let before = i64::try_from(ALERTS).unwrap() + 7;
    for offset in 0..before {
        lock(&panel).turned(&Counts::default(), &[alert(offset, Phase::Opened, 1)], NOW + offset);
    }
    let end = [alert(before - 2, Phase::Closed, 40), alert(0, Phase::Closed, 9)];
    lock(&panel).turned(&Counts::default(), &end, NOW + before);
    let told = board.alerts();
    assert_eq!(told.len(), ALERTS);
    let facts: Vec<_> = told.iter().take(3).map(|told| (told.offset, told.count, told.closed)).collect();
    assert_eq!(facts, [(before - 1, 1, false), (before - 2, 40, true), (before - 3, 1, false)]);
    assert!(!told[0].reason.is_empty());
    assert_eq!(lock(&panel).handed.len(), ALERTS + 9, "the end of an incident is published too");
    for _ in 0..ALERTS + 12 {
        lock(&panel).acknowledged();
    }
    assert!(lock(&panel).handed.is_empty());
}

#[test]
fn verdicts_become_cells_and_a_replayed_incident_is_none() {
    let (board, panel) = board(10);
    let judged = |offset, surprise, opened| Effect::Judged {
        verdict: Box::new(Traced { origin: origin(offset, 0), value: verdict(surprise) }),
        opened,
    };
    let effects = [judged(9, 8.0, true), judged(10, 6.0, true), judged(11, 2.0, false)];
    let counts = Counts { judged: 3, ..Counts::default() };
    lock(&panel).turned(&counts, &effects, NOW);
    for span in Span::ALL {
        let ring = board.ring(span);
        let cell = ring.since(NOW).next().copied().unwrap();
        assert_eq!((cell.judged, cell.incidents), (3, 1), "{span:?}");
        assert_eq!(cell.peak, Some(Peak { warm: true, surprise: 8.0, threshold: 5.0 }));
    }
    assert_eq!(board.counts(), [counts]);
}
