//! The daemon's state for `/status.json`, put together from what source, shards and sink show of themselves.

use std::collections::BTreeMap;

use super::board::Told;
use super::service::Watched;
use super::shard::warmed;
use crate::admin::View as _;
use crate::admin::status::{AlertState, History, Lag, LaneState, PartState, Span, Status, Totals};
use crate::pipeline::LaneView;
use crate::sink::wire::finite;

/// Partitions that are told of; a page with more serves nobody.
const LANES: usize = 200;
/// Seconds over which the rate of events is taken.
const RATE: i64 = 10;

/// The state by `now`, milliseconds since the Unix epoch.
pub(super) fn status(watched: &Watched, span: Span, now: i64) -> Status {
    let source = watched.source.report();
    let lag = |view: &LaneView| {
        let records = source.lanes.get(&view.lane).and_then(crate::source::LaneReport::lag);
        Lag { records, seconds: watched.board.lag(&view.lane, records, now) }
    };
    let mut views = watched.progress.lanes();
    views.sort_by(|a, b| a.lane.cmp(&b.lane));
    let lags: Vec<Lag> = views.iter().map(lag).collect();
    let seconds = lags.iter().filter_map(|lag| lag.seconds);
    let whole = Lag {
        records: lags.iter().filter_map(|lag| lag.records).reduce(|a, b| a + b),
        seconds: seconds.reduce(f64::max),
    };
    let lanes_left_out = views.len().saturating_sub(LANES);
    let lanes = views.iter().zip(lags).take(LANES).map(|(view, lag)| LaneState {
        topic: view.lane.topic.to_string(),
        partition: view.lane.partition,
        warmup: warmed(view, watched.about.warmup),
        warm: view.warm,
        seen: view.seen,
        waiting: view.waiting,
        threshold: finite(view.threshold),
        lag,
        budgeted: finite(view.budgeted),
        realised: finite(view.realised),
    });
    Status {
        now,
        about: watched.about.clone(),
        parts: watched
            .parts()
            .into_iter()
            .map(|part| PartState { name: part.name, trouble: part.trouble })
            .collect(),
        paused: source.paused,
        events_per_second: rate(watched, now),
        lag: whole,
        totals: totals(watched),
        lanes: lanes.collect(),
        lanes_left_out,
        history: history(watched, span, now),
        alerts: watched.board.alerts().into_iter().map(alert).collect(),
    }
}

/// Events a second over the last whole seconds; the one that runs is not over.
fn rate(watched: &Watched, now: i64) -> f64 {
    let width = Span::Minutes.width();
    let to = now.div_euclid(width) * width;
    let from = (to - RATE * width).max(watched.about.started);
    let ring = watched.board.ring(Span::Minutes);
    let judged: u64 =
        ring.since(now).filter(|cell| (from..to).contains(&cell.at)).map(|cell| cell.judged).sum();
    judged as f64 * 1e3 / (to - from).max(width) as f64
}

fn totals(watched: &Watched) -> Totals {
    let mut totals = Totals {
        alerts_acknowledged: watched.sink.published(),
        sink_waiting: watched.sink.waiting(),
        ..Totals::default()
    };
    let mut dead_letters = BTreeMap::new();
    for counts in watched.board.counts() {
        totals.read += counts.read;
        totals.judged += counts.judged;
        totals.replayed += counts.replayed;
        totals.anomalies += counts.anomalies;
        totals.incidents += counts.incidents;
        totals.alerts += counts.alerts;
        for (fault, count) in counts.rejected {
            *dead_letters.entry(fault.name()).or_default() += count;
        }
    }
    Totals { dead_letters, ..totals }
}

fn history(watched: &Watched, span: Span, now: i64) -> History {
    let ring = watched.board.ring(span);
    let cells = ring.since(now).map(|cell| {
        let (surprise, threshold) =
            cell.peak.map(|peak| (finite(peak.surprise), finite(peak.threshold))).unzip();
        (cell.at, cell.judged, cell.incidents, surprise, threshold, cell.peak.is_some_and(|peak| peak.warm))
    });
    History { span: span.name(), width: span.width(), cells_max: super::board::CELLS, cells: cells.collect() }
}

fn alert(told: Told) -> AlertState {
    AlertState {
        raised: told.raised,
        time: told.time.0,
        topic: told.lane.topic.to_string(),
        partition: told.lane.partition,
        offset: told.offset,
        surprise: finite(told.surprise),
        threshold: finite(told.threshold),
        reason: told.reason,
        count: told.count,
        closed: told.closed,
    }
}
