//! Decides how strange a point is, from the points before it.
//!
//! ```text
//!  Point ─▶ channels ─▶ scores ─▶ calibrators ─▶ nats ─▶ fusion ─▶ surprise ─▶ line? ─▶ Verdict
//!              ▲                       ▲                                │
//!              └── learn ──────────────┴─────── admission ◀─────────────┘
//! ```
//!
//! A *channel* knows one way of being strange and returns a raw score a field; a calibrator says how rare such a
//! score has been lately, so that channels compare; fusion makes one surprise of them, again -ln of a share of
//! events; the line follows the operator's budget. Only then the event teaches, if the guard admits it: a verdict
//! never knows its own event. State is one lane's and a function of its earlier points and the settings alone, and
//! bounded whatever comes. It must never see a label, a clock or another lane.

use std::sync::Arc;

use crate::flow::{ChannelSurprise, Evidence, Point, Schema, Time, Traced, Verdict};

mod admission;
mod channel;
mod fuse;
mod gain;
mod lru;
mod selection;
mod surprise;
mod threshold;
mod window;

use admission::{Admission, Guard, Leading};
use channel::Channel;
use fuse::Fusion;
use threshold::Threshold;

pub use selection::Selection;

/// How many alerts the operator wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// One incident in so many events.
    Events(f64),
    /// So many incidents in a span of event time.
    Rate {
        /// Incidents.
        count: f64,
        /// In how many milliseconds.
        span_ms: f64,
    },
}

/// What the detector needs to know; checked when made.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Events the sliding window of embeddings holds.
    pub window_events: usize,
    /// Distinct texts it holds at most, for each text field.
    pub window_texts: usize,
    /// Weight of neighbours asked.
    pub neighbours: f64,
    /// Events judged before the first alert; until then every event teaches.
    pub warmup_events: u64,
    /// Scores that a calibrator remembers; at least 256.
    pub calibration_events: usize,
    /// Half-life of decayed counts, in events.
    pub half_life_events: f64,
    /// Share of events, the strangest, that do not teach; up to a half.
    pub guard: f64,
    /// Exponent of the power mean that fuses channels, 1 (their sum) to 16 (nearly their maximum).
    pub fusion_power: f64,
    /// Distinct keys remembered by each channel in context, and values or combinations by each of its tables.
    pub keys_max: usize,
    /// How many alerts the operator wants.
    pub budget: Budget,
    /// The channels that are asked.
    pub channels: Selection,
}

/// How much a detector holds and where it stands, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Events judged.
    pub seen: u64,
    /// Distinct texts in the windows of embeddings.
    pub rows: usize,
    /// Keys, values and combinations counted.
    pub keys: usize,
    /// How many of those were forgotten for want of room.
    pub evicted: u64,
    /// The surprise to exceed, in nats.
    pub threshold: f64,
    /// Shapes of strange events that have become normal.
    pub promoted: u64,
    /// Incidents that the budget allowed for since the lane is warm.
    pub budgeted: f64,
    /// Incidents opened since.
    pub realised: f64,
}

/// Judges the points of one lane.
#[derive(Debug)]
pub struct Detector {
    settings: Settings,
    seen: u64,
    channels: Vec<Watch>,
    scores: Vec<Option<f64>>,
    admitted: Vec<bool>,
    fusion: Fusion,
    threshold: Threshold,
    guard: Guard,
    /// Whether the verdict last given could raise an alert, and whether it was over the line.
    warm: bool,
    over: bool,
}

impl Detector {
    /// A detector that has seen nothing, for events of that schema.
    #[expect(clippy::needless_pass_by_value, reason = "a lane hands its schema over")]
    pub fn new(settings: Settings, schema: Arc<Schema>) -> Self {
        let channels: Vec<Watch> = channels(&settings, &schema).into_iter().map(Watch::new).collect();
        let units = channels.iter().flat_map(|watch| vec![watch.channel.unit(); watch.fields.len()]);
        Self {
            seen: 0,
            fusion: Fusion::new(settings.fusion_power, settings.calibration_events, units),
            threshold: Threshold::new(settings.budget),
            guard: Guard::new(settings.guard),
            scores: Vec::new(),
            admitted: Vec::new(),
            warm: false,
            over: false,
            channels,
            settings,
        }
    }

    /// Scores a point against the points before it, then learns from it if the guard admits it. Takes any point,
    /// also one that does not fit the schema: what is missing is not strange.
    pub fn judge(&mut self, point: &Traced<Point>) -> Verdict {
        self.score(point);
        let surprise = self.fusion.judge(&self.scores);
        let seen = self.seen;
        self.seen += 1;
        self.warm = seen >= self.settings.warmup_events;
        let mut verdict = Verdict {
            surprise,
            threshold: self.threshold.line(),
            channels: self.entries(),
            admitted: true,
            seen,
            warm: self.warm,
            evidence: None,
        };
        self.over = verdict.is_anomaly();
        if self.over {
            verdict.evidence = Some(self.explain(point));
        }
        verdict.admitted = self.learn(point, seen).teaches_channels();
        verdict
    }

    /// Tells the budget what became of the verdict last given: whether it opened an incident (rather than being
    /// normal or one more event of an incident already open).
    pub fn settle(&mut self, time: Time, opened: bool) {
        self.threshold.settle(time, self.over, opened, self.warm);
    }

    /// How much it holds and where it stands.
    pub fn gauges(&self) -> Gauges {
        let (budgeted, realised) = self.threshold.account();
        let held = || self.channels.iter().map(|watch| watch.channel.held());
        Gauges {
            seen: self.seen,
            rows: held().map(|held| held.rows).sum(),
            keys: held().map(|held| held.keys).sum(),
            evicted: held().map(|held| held.evicted).sum(),
            threshold: self.threshold.line(),
            promoted: self.guard.promoted(),
            budgeted,
            realised,
        }
    }

    fn score(&mut self, point: &Traced<Point>) {
        self.scores.clear();
        let mut end = 0;
        for watch in &mut self.channels {
            watch.channel.score(point, &mut self.scores);
            end += watch.fields.len();
            debug_assert_eq!(self.scores.len(), end, "{} gives one score a field", watch.channel.name());
            // Should a channel break its word, the scores of the others stay in their places.
            self.scores.resize(end, None);
        }
    }

    fn entries(&self) -> Vec<ChannelSurprise> {
        let fields = self.channels.iter().flat_map(|watch| {
            let channel = watch.channel.name();
            watch.fields.iter().map(move |field| (channel, field))
        });
        let entries = fields.zip(self.fusion.entries()).map(|((channel, field), (score, surprise))| {
            ChannelSurprise { channel, field: field.clone(), score: score.unwrap_or(0.0), surprise }
        });
        entries.collect()
    }

    fn explain(&self, point: &Traced<Point>) -> Evidence {
        let places =
            self.channels.iter().flat_map(|watch| (0..watch.fields.len()).map(move |at| (watch, at)));
        let mut strongest: Vec<_> =
            places.zip(self.fusion.entries()).map(|(place, (_, nats))| (nats, place)).collect();
        // Stable: of equals the first channel speaks first.
        strongest.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut evidence = Evidence::default();
        let loud = strongest.iter().take_while(|(nats, _)| *nats >= REASON_MIN).count().clamp(1, REASONS);
        for (_, (watch, at)) in strongest.into_iter().take(loud) {
            watch.channel.explain(point, at, &mut evidence);
        }
        evidence.reasons.truncate(REASONS);
        evidence
    }

    /// The field that was loudest; of equals the first.
    fn leading(&self) -> Leading {
        let places = self
            .channels
            .iter()
            .flat_map(|watch| (0..watch.fields.len()).map(move |at| (watch.channel.name(), at)));
        let louder = |(most, place), (nats, other)| if nats > most { (nats, other) } else { (most, place) };
        let entries = self.fusion.entries().map(|(_, nats)| nats).zip(places);
        match entries.reduce(louder) {
            Some((_, ("numeric" | "series", at))) => Leading::Number(at),
            Some((_, ("categorical", at))) => Leading::Category(at),
            Some((_, ("joint", _))) => Leading::Joint,
            Some((_, (_, at))) => Leading::Text(at),
            None => Leading::Text(0),
        }
    }

    fn learn(&mut self, point: &Traced<Point>, event: u64) -> Admission {
        let limit = self.guard.limit();
        self.admitted.clear();
        self.admitted.extend(self.fusion.strict().map(|nats| nats <= limit));
        let admission = if self.warm {
            let leading = self.leading();
            let all = self.admitted.iter().all(|admitted| *admitted);
            self.guard.decide(event, self.fusion.unlevelled(), all, &point.value.sample, leading)
        } else {
            Admission::Promoted
        };
        if admission.teaches_calibrators() {
            self.fusion.learn();
        }
        if admission.overrides_fields() {
            self.admitted.fill(true);
        }
        let mut end = 0;
        for watch in &mut self.channels {
            let own = end..end + watch.fields.len();
            end = own.end;
            if admission.teaches_channels() {
                watch.channel.learn_fields(point, self.admitted.get(own).unwrap_or_default());
            } else {
                watch.channel.skip();
            }
        }
        admission
    }
}

/// Reasons an alert gives at most.
const REASONS: usize = 5;
/// Surprise in nats below which a field is no reason, unless it is the strongest: one event in twenty is as strange, so
/// a number is outside the range that its reason quotes.
const REASON_MIN: f64 = 3.0;

/// A channel and the fields it watches.
#[derive(Debug)]
struct Watch {
    channel: Box<dyn Channel>,
    fields: Vec<Arc<str>>,
}

impl Watch {
    fn new(channel: Box<dyn Channel>) -> Self {
        Self { fields: channel.fields(), channel }
    }
}

/// Every way of being strange that the schema gives fields for, in the order of verdicts.
fn channels(settings: &Settings, schema: &Schema) -> Vec<Box<dyn Channel>> {
    let all: [Box<dyn Channel>; 6] = [
        Box::new(channel::density::Density::new(settings, schema)),
        Box::new(channel::text::Text::new(settings, schema)),
        Box::new(channel::joint::Joint::new(settings, schema)),
        Box::new(channel::numeric::Numeric::new(settings.keys_max, schema)),
        Box::new(channel::categorical::Categorical::new(
            settings.half_life_events,
            settings.keys_max,
            schema,
        )),
        Box::new(channel::series::Series::new(settings.keys_max, schema)),
    ];
    let mut asked = Vec::from(all);
    asked.retain(|channel| settings.channels.includes(channel.name()) && !channel.fields().is_empty());
    asked
}
