//! The state of the daemon as `/status.json` says it and the page at `/` shows it.
//!
//! Made anew for each question and bounded in size. Texts in it come from the stream: whoever shows them must show them
//! as text. Times are milliseconds since the Unix epoch.

use std::collections::BTreeMap;

use serde::Serialize;

/// How much of the past to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Span {
    /// Five minutes, by the second.
    #[default]
    Minutes,
    /// An hour, by 12 seconds.
    Hour,
    /// A day, by 288 seconds.
    Day,
}

impl Span {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Minutes, Self::Hour, Self::Day];

    /// As a question names it: `5m`, `1h`, `24h`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minutes => "5m",
            Self::Hour => "1h",
            Self::Day => "24h",
        }
    }

    /// Its place in [`Self::ALL`].
    pub fn place(self) -> usize {
        self as usize
    }

    /// Width of one of its cells, milliseconds: a three-hundredth of it.
    pub fn width(self) -> i64 {
        match self {
            Self::Minutes => 1_000,
            Self::Hour => 12_000,
            Self::Day => 288_000,
        }
    }

    /// The span that a query names, such as `span=1h`; the first for any other.
    pub(super) fn asked(query: &str) -> Self {
        let named = query.split('&').find_map(|pair| pair.strip_prefix("span="));
        Self::ALL.into_iter().find(|span| named == Some(span.name())).unwrap_or_default()
    }
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// When it was made.
    pub now: i64,
    /// What runs.
    pub about: About,
    /// The parts, in the order of the stream.
    pub parts: Vec<PartState>,
    /// Whether the source waits for the shards.
    pub paused: bool,
    /// Events judged a second, over the last ten seconds.
    pub events_per_second: f64,
    /// How far behind, all partitions together.
    pub lag: Lag,
    /// Since the start.
    pub totals: Totals,
    /// Partitions that are ours, in order.
    pub lanes: Vec<LaneState>,
    /// Partitions that are ours beyond those.
    pub lanes_left_out: usize,
    /// What was judged lately.
    pub history: History,
    /// The latest alerts, newest first.
    pub alerts: Vec<AlertState>,
}

/// What runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    /// Name of this use of the daemon.
    pub service: String,
    /// Version of the daemon.
    pub version: &'static str,
    /// Name of the embedder.
    pub embedder: String,
    /// Digest of the model.
    pub model: String,
    /// The execution provider that is really active.
    pub provider: String,
    /// Digest of the configuration.
    pub config: String,
    /// The alert budget in words.
    pub budget: String,
    /// Events that a partition judges before it may alert.
    pub warmup: u64,
    /// When it started.
    pub started: i64,
}

/// A part of the daemon.
#[derive(Clone, Debug, Serialize)]
pub struct PartState {
    /// `source`, `model` or `sink`.
    pub name: &'static str,
    /// What keeps it from being ready.
    pub trouble: Option<String>,
}

/// How far behind; none where that is not known.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Lag {
    /// Records not yet read.
    pub records: Option<i64>,
    /// Age of the oldest record not done.
    pub seconds: Option<f64>,
}

/// Counted since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// Records taken in.
    pub read: u64,
    /// Events judged.
    pub judged: u64,
    /// Of these, events that only taught.
    pub replayed: u64,
    /// Of these, events over the threshold.
    pub anomalies: u64,
    /// Incidents opened.
    pub incidents: u64,
    /// Alerts asked to be published.
    pub alerts: u64,
    /// Alerts that the sink's other side holds.
    pub alerts_acknowledged: u64,
    /// Alerts and dead letters not yet acknowledged.
    pub sink_waiting: u64,
    /// Records put aside, by reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
}

/// One partition.
#[derive(Clone, Debug, Serialize)]
pub struct LaneState {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Share of its warm-up, 0 to 1.
    pub warmup: f64,
    /// Whether it may alert.
    pub warm: bool,
    /// Events judged.
    pub seen: u64,
    /// Events taken in and not judged.
    pub waiting: usize,
    /// The line that a surprise must cross, nats.
    pub threshold: f64,
    /// How far behind.
    pub lag: Lag,
    /// Incidents that the budget allowed for since it is warm.
    pub budgeted: f64,
    /// Incidents opened since.
    pub realised: f64,
}

/// A cell of the history: see [`History::cells`].
pub type CellState = (i64, u64, u64, Option<f64>, Option<f64>, bool);

/// What was judged lately.
#[derive(Clone, Debug, Serialize)]
pub struct History {
    /// How much of the past: `5m`, `1h`, `24h`.
    pub span: &'static str,
    /// Milliseconds a cell.
    pub width: i64,
    /// How many cells there can be.
    pub cells_max: usize,
    /// Cells in which anything was judged, oldest first: when it begins, events, incidents opened, and, of the event
    /// nearest to its line or furthest over it, surprise, threshold (nats) and whether it could alert.
    pub cells: Vec<CellState>,
}

/// One alert.
#[derive(Clone, Debug, Serialize)]
pub struct AlertState {
    /// When it was raised.
    pub raised: i64,
    /// When its event happened, by the event's own account.
    pub time: i64,
    /// Where its event stands.
    pub topic: String,
    /// Partition of the topic.
    pub partition: i32,
    /// Offset, or line number from 0.
    pub offset: i64,
    /// Nats.
    pub surprise: f64,
    /// Nats.
    pub threshold: f64,
    /// Why, in one sentence.
    pub reason: String,
    /// Events of the incident, as far as was told.
    pub count: u64,
    /// Whether the incident has ended, as far as was told.
    pub closed: bool,
}
