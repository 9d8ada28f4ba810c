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
//! never knows its own event; nor does a text field learn what is too strange for that field. State is one lane's and a function of its earlier points and the settings alone, and
//! bounded whatever comes. It must never see a label, a clock or another lane.
//!
//! What each channel is worth, as `outlierd backtest --ablate --label label --skip 0.2` prints it over labelled public streams
//! (AUROC / average precision; all, the channel alone, all but it; numeric, categorical and series are blind where no
//! context or series has proved itself; `meaning` needs a transformer, see `benches/meaning.rs`):
//!
//! | stream | all | density | without | text | without | joint | without | numeric | without | categorical | without |
//! |---|---|---|---|---|---|---|---|---|---|---|---|
//! | web access log | .997 / .815 | .999 / .890 | .988 / .540 | .990 / .691 | .997 / .731 | .745 / .144 | .996 / .806 | .589 / .041 | .998 / .855 | .539 / .076 | .997 / .814 |
//! | SMS | .937 / .123 | .751 / .027 | .939 / .126 | .939 / .126 | .751 / .027 | - | - | - | - | - | - |
//! | BGL system log | .903 / .135 | .657 / .068 | .916 / .147 | .798 / .077 | .913 / .147 | .929 / .170 | .829 / .103 | - | - | .500 / .031 | .903 / .135 |
//! | NSL-KDD connections | .965 / .534 | - | - | - | - | .965 / .442 | .601 / .143 | .500 / .020 | .965 / .534 | .601 / .143 | .965 / .442 |
//! | card purchases (Sparkov) | .975 / .839 | - | - | - | - | .978 / .816 | .500 / .040 | .500 / .039 | .978 / .815 | .500 / .040 | .975 / .842 |
//! | card transactions | .707 / .341 | - | - | - | - | .695 / .300 | .508 / .073 | .508 / .073 | .695 / .300 | - | - |
//!
//! Series says nothing of these; of the 53 labelled windows of 23 numeric series (NAB) it finds 38, all channels on. Nearest
//! is silent on all of them, which have keys, atoms or a single number: what it is for is dense numbers without keys, as in
//! `tests/dense.rs`.

use std::sync::Arc;

use crate::flow::{ChannelSurprise, Evidence, Point, Schema, Time, Traced, Verdict};

mod admission;
mod channel;
mod fuse;
mod gain;
mod growth;
mod lift;
mod lru;
mod selection;
mod surprise;
mod threshold;
mod window;

use admission::{Admission, Guard, Leading};
use channel::{Channel, Weight};
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

/// Whether what a text says tells more than its letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matters {
    /// To be found out, by field and without labels.
    Auto,
    /// It does: the operator says so.
    Yes,
    /// It does not: what a transformer finds near serves as evidence only.
    No,
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
    /// Whether meaning matters; none where no transformer reads the texts.
    pub meaning: Option<Matters>,
}

/// What a transformer's view of a text field counts for, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Pointer of the field.
    pub field: Arc<str>,
    /// Correlation of its cosines with those of letters over pairs of recent texts; none while unknown.
    pub correlation: Option<f64>,
    /// How often it is among the strangest twentieth together with the text channel, over chance; none where that is not
    /// asked.
    pub lift: Option<f64>,
    /// What its surprise is multiplied by, 0 to 1.
    pub weight: f64,
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
    /// The fields of points, and those of them that count; the others count once so many events are judged.
    schema: Arc<Schema>,
    heard: Arc<Schema>,
    silent_until: u64,
    channels: Vec<Watch>,
    /// Places of fields whose channel may be given less weight than the rest.
    gated: Vec<usize>,
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
    pub fn new(settings: Settings, schema: Arc<Schema>) -> Self {
        let channels: Vec<Watch> = channels(&settings, &schema).into_iter().map(Watch::new).collect();
        let units = channels.iter().flat_map(|watch| vec![watch.channel.unit(); watch.fields.len()]);
        let mut fusion = Fusion::new(settings.fusion_power, settings.calibration_events, units);
        let gated = gated(&channels, &mut fusion);
        Self {
            seen: 0,
            fusion,
            gated,
            threshold: Threshold::new(settings.budget),
            guard: Guard::new(settings.guard),
            scores: Vec::new(),
            admitted: Vec::new(),
            warm: false,
            over: false,
            channels,
            settings,
            heard: Arc::clone(&schema),
            schema,
            silent_until: u64::MAX,
        }
    }

    /// Scores a point against the points before it, then learns from it if the guard admits it. Takes any point,
    /// also one that does not fit the schema: what is missing is not strange.
    pub fn judge(&mut self, point: &Traced<Point>) -> Verdict {
        if self.seen >= self.silent_until {
            self.hear();
        }
        self.weigh();
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

    /// What each field of a transformer's view counts for.
    pub fn gates(&self) -> Vec<Gate> {
        let gates = self.gated.iter().filter_map(|place| {
            let (watch, at) = self.places().nth(*place)?;
            let (weight, lift) = self.fusion.standing(*place);
            let field = Arc::clone(watch.fields.get(at)?);
            Some(Gate { field, correlation: watch.channel.correlation(at), lift, weight })
        });
        gates.collect()
    }

    /// Each channel and the number of its field, in the order of scores.
    fn places(&self) -> impl Iterator<Item = (&Watch, usize)> {
        self.channels.iter().flat_map(|watch| (0..watch.fields.len()).map(move |at| (watch, at)))
    }

    fn weigh(&mut self) {
        if self.gated.is_empty() {
            return;
        }
        let weights = self.places().map(|(watch, at)| watch.channel.weight(at));
        let weights: Vec<Weight> = weights.collect();
        for (at, weight) in weights.into_iter().enumerate() {
            self.fusion.weigh(at, weight);
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
        let mut entries = Vec::with_capacity(self.scores.len());
        let heard = fields.zip(self.fusion.entries()).zip(self.fusion.heard()).filter(|(_, heard)| *heard);
        entries.extend(heard.map(|(((channel, field), (score, surprise)), _)| ChannelSurprise {
            channel,
            field: field.clone(),
            score: score.unwrap_or(0.0),
            surprise,
        }));
        entries
    }

    fn explain(&self, point: &Traced<Point>) -> Evidence {
        let heard = self.places().zip(self.fusion.entries()).zip(self.fusion.heard());
        let heard = heard.filter(|(_, heard)| *heard).map(|((place, (_, nats)), _)| (nats, place));
        let mut strongest: Vec<_> = heard.collect();
        // Stable: of equals the first channel speaks first.
        strongest.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut evidence = Evidence::default();
        let loud = strongest.iter().take_while(|(nats, _)| *nats >= REASON_MIN).count().clamp(1, REASONS);
        for (_, (watch, at)) in strongest.iter().take(loud) {
            watch.channel.explain(point, *at, &mut evidence);
        }
        // What is near by a view that was not loud, or not asked, still helps to understand a text that is told of.
        for (_, (watch, at)) in strongest.iter().skip(loud).filter(|(_, (watch, _))| watch.is_gated()) {
            if evidence.reasons.iter().any(|reason| Some(&reason.field) == watch.fields.get(*at)) {
                let mut aside = Evidence::default();
                watch.channel.explain(point, *at, &mut aside);
                evidence.neighbours.append(&mut aside.neighbours);
            }
        }
        evidence.reasons.truncate(REASONS);
        evidence
    }

    /// The field that was loudest; of equals the first.
    fn leading(&self) -> Leading {
        let places = self.places().map(|(watch, at)| (watch.channel.name(), at));
        let louder = |(most, place), (nats, other)| if nats > most { (nats, other) } else { (most, place) };
        let entries = self.fusion.entries().map(|(_, nats)| nats).zip(places).zip(self.fusion.heard());
        let heard = entries.filter(|(_, heard)| *heard).map(|(entry, _)| entry);
        match heard.reduce(louder) {
            Some((_, ("numeric" | "series", at))) => Leading::Number(at),
            Some((_, ("categorical", at))) => Leading::Category(at),
            Some((_, ("joint" | "nearest", _))) => Leading::Joint,
            Some((_, (_, at))) => Leading::Text(at),
            None => Leading::Text(0),
        }
    }

    fn learn(&mut self, point: &Traced<Point>, event: u64) -> Admission {
        let limit = self.guard.limit();
        self.admitted.clear();
        self.admitted.extend(self.fusion.within(limit));
        let (surprise, all) = (self.fusion.unlevelled(), self.fusion.admits(&self.admitted));
        let admission = match (self.warm, surprise <= limit && all) {
            (false, _) => Admission::Promoted,
            (true, true) => Admission::Admitted,
            // Only now it matters which field was loudest.
            (true, false) => {
                let sample = point.value.sample.within(&self.heard);
                self.guard.decide(event, surprise, all, &sample, self.leading())
            }
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
    /// Another one takes its place once all fields are heard.
    leaving: bool,
}

impl Watch {
    fn new(channel: Box<dyn Channel>) -> Self {
        Self { fields: channel.fields(), channel, leaving: false }
    }

    /// Whether what it counts for may change.
    fn is_gated(&self) -> bool {
        self.channel.beside().is_some()
    }
}

/// Every way of being strange that the schema gives fields for, in the order of verdicts.
fn channels(settings: &Settings, schema: &Schema) -> Vec<Box<dyn Channel>> {
    let all: [Box<dyn Channel>; 7] = [
        Box::new(channel::density::Density::new(settings, schema)),
        Box::new(channel::text::Text::new(settings, schema)),
        Box::new(channel::joint::Joint::new(settings, schema)),
        Box::new(channel::nearest::Nearest::new(schema)),
        Box::new(channel::numeric::Numeric::new(settings.keys_max, schema)),
        Box::new(channel::categorical::Categorical::new(
            settings.half_life_events,
            settings.keys_max,
            schema,
        )),
        Box::new(channel::series::Series::new(settings.keys_max, schema)),
    ];
    let mut asked = Vec::from(all);
    if let Some(matters) = settings.meaning {
        asked.insert(2, Box::new(channel::meaning::Meaning::new(settings, matters, schema)));
    }
    asked.retain(|channel| settings.channels.includes(channel.name()) && !channel.fields().is_empty());
    asked
}

/// Places of fields that may be given less weight, each paired with the same field of the channel that decides.
fn gated(channels: &[Watch], fusion: &mut Fusion) -> Vec<usize> {
    let places = channels.iter().flat_map(|watch| watch.fields.iter().map(move |field| (watch, field)));
    let places: Vec<(&Watch, &Arc<str>)> = places.collect();
    let mut gated = Vec::new();
    for (at, (watch, field)) in places.iter().enumerate() {
        let Some(beside) = watch.channel.beside() else { continue };
        let same = |(watch, other): &(&Watch, &Arc<str>)| watch.channel.name() == beside && other == field;
        if let Some(other) = places.iter().position(same) {
            fusion.pair(at, other);
        }
        gated.push(at);
    }
    gated
}
