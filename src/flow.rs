//! The values that flow through the daemon, in the order of the stream.
//!
//! Every value travels in a [`Traced`]: the value changes at each step, its [`Origin`] never does. Nothing here
//! is `Serialize`: wire forms live at the edges, so that a change of a wire form is never a change of the core.

use std::fmt;
use std::sync::Arc;

/// Milliseconds since the Unix epoch, by the event's or the broker's account; never read from a clock here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

/// One partition of one topic (or one file): the unit of order, and the owner of all state that decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// Topic, or the name of the file or stream.
    pub topic: Arc<str>,
    /// Partition of the topic; 0 for files.
    pub partition: i32,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// Where a value came from: enough to commit its offset and to cite it in an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The partition it was read from.
    pub lane: Lane,
    /// Kafka offset, or line number from 0 in a file. Sparse: the next offset need not be this one + 1.
    pub offset: i64,
    /// When it happened.
    pub time: Time,
}

/// A value and where it came from.
#[derive(Clone, Debug)]
pub struct Traced<T> {
    /// Where it came from.
    pub origin: Origin,
    /// What it is now.
    pub value: T,
}

impl<T> Traced<T> {
    /// Takes the next step, keeping the origin.
    pub fn map<U>(self, step: impl FnOnce(T) -> U) -> Traced<U> {
        Traced { origin: self.origin, value: step(self.value) }
    }
}

/// The bytes as the source gave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Header names and values, in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A scalar of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// JSON `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that fits 64 bits: kept exactly, since many of them are keys.
    Integer(i64),
    /// Any other number; always finite.
    Number(f64),
    /// A string.
    Text(String),
}

/// What the bytes say: scalars by their JSON pointer (RFC 6901), in the order they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Pointers such as `/amount` or `/request/bytes`, and their values. A repeated name keeps its last value.
    pub fields: Vec<(String, Value)>,
}

/// Which fields of a lane's events a model reads, and as what. Lists are in the order of the sample's.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Schema {
    /// Pointers of texts.
    pub texts: Vec<Arc<str>>,
    /// Pointers of numbers.
    pub numbers: Vec<Arc<str>>,
    /// Pointers of categories.
    pub categories: Vec<Arc<str>>,
    /// Pointers of keys: who or what an event is about; they give context and are not strange in themselves.
    pub keys: Vec<Arc<str>>,
    /// Pointer of the event's own time, if it has one.
    pub time: Option<Arc<str>>,
}

impl Schema {
    /// How many fields a model reads; the event's own time is none of them.
    pub fn len(&self) -> usize {
        self.lists().iter().map(|list| list.len()).sum()
    }

    /// Whether a model reads nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Texts, numbers, categories, keys.
    pub fn lists(&self) -> [&Vec<Arc<str>>; 4] {
        [&self.texts, &self.numbers, &self.categories, &self.keys]
    }

    /// This schema with the fields of another behind its own, kind by kind: what was read keeps its place. The time
    /// stays what it was.
    #[must_use]
    pub fn and(&self, joined: &Self) -> Self {
        let list = |own: &[Arc<str>], more: &[Arc<str>]| own.iter().chain(more).cloned().collect();
        Self {
            texts: list(&self.texts, &joined.texts),
            numbers: list(&self.numbers, &joined.numbers),
            categories: list(&self.categories, &joined.categories),
            keys: list(&self.keys, &joined.keys),
            time: self.time.clone(),
        }
    }

    /// What has joined an earlier schema to make this one: `earlier.and(&this.since(earlier))` is this.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let list = |now: &[Arc<str>], before: &[Arc<str>]| now.iter().skip(before.len()).cloned().collect();
        Self {
            texts: list(&self.texts, &earlier.texts),
            numbers: list(&self.numbers, &earlier.numbers),
            categories: list(&self.categories, &earlier.categories),
            keys: list(&self.keys, &earlier.keys),
            time: None,
        }
    }
}

/// From which offset on a lane's events are read by a schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch {
    /// The first offset.
    pub from: i64,
    /// What is read.
    pub schema: Arc<Schema>,
}

/// How a lane's inferred fields came to be read: all that has to be known to read its records again as they were read, and
/// to find in those that follow what would have been found.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    /// In the order of their offsets, each schema beginning as the one before it; the first one also reads what lies
    /// before it.
    pub epochs: Vec<Epoch>,
    /// Hashes of the pointers that were looked at and are not worth reading, in the order in which they were.
    pub passed: Vec<u32>,
    /// Up to this offset it is settled which fields have joined.
    pub reviewed: i64,
}

/// An event as a model reads it: one entry for each field of the [`Schema`], `None` where it is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Texts.
    pub texts: Vec<Option<Arc<str>>>,
    /// Numbers, finite.
    pub numbers: Vec<Option<f64>>,
    /// Categories.
    pub categories: Vec<Option<Arc<str>>>,
    /// Keys.
    pub keys: Vec<Option<Arc<str>>>,
    /// Fields that were there with a type that does not fit.
    pub mistyped: u32,
    /// The event's own time, where the schema names one and it could be read.
    pub time: Option<Time>,
}

impl Sample {
    /// The part of it that a schema reads which it was made by, or which that one has grown out of.
    #[must_use]
    pub fn within(&self, schema: &Schema) -> Self {
        let first = |values: &[Option<Arc<str>>], count: usize| values.iter().take(count).cloned().collect();
        Self {
            texts: first(&self.texts, schema.texts.len()),
            numbers: self.numbers.iter().take(schema.numbers.len()).copied().collect(),
            categories: first(&self.categories, schema.categories.len()),
            keys: first(&self.keys, schema.keys.len()),
            ..*self
        }
    }
}

/// A text's place in the space of the built-in embedder and, where there is a transformer, in that one's too. What a single
/// embedder gives has one place only.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// Equal for texts that the embedder cannot tell apart.
    pub fingerprint: u64,
    /// Unit length (or all zero for a text without content).
    pub vector: Arc<[f32]>,
    /// What a transformer makes of it.
    pub meaning: Option<Meaning>,
}

/// A text's place in a transformer's space.
#[derive(Clone, Debug)]
pub struct Meaning {
    /// Of the text as it stands: the built-in embedder masks numbers and case, a transformer reads them.
    pub fingerprint: u64,
    /// Unit length.
    pub vector: Arc<[f32]>,
}

/// A sample with its texts embedded: one embedding for each text of the sample, `None` where it is missing.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// The sample.
    pub sample: Sample,
    /// Embeddings, in the order of `sample.texts`.
    pub embeddings: Vec<Option<Embedding>>,
}

/// How strange one channel found an event.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelSurprise {
    /// Which way of being strange: `density`, `text`, `meaning`, `joint`, `nearest`, `numeric`, `categorical`, `series`.
    pub channel: &'static str,
    /// Pointer of the field it looked at; empty (the whole event) for `joint` and `nearest`.
    pub field: Arc<str>,
    /// Raw score in the channel's own unit.
    pub score: f64,
    /// How much it counts for, in nats: as a rule -ln of the share of events lately that score as high, a tenth of the
    /// score taken off for noise.
    pub surprise: f64,
}

/// A normal event that lies near.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// The channel whose distance this is: `density` compares letters, `meaning` what they say.
    pub channel: &'static str,
    /// Pointer of the text field compared.
    pub field: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
    /// Cosine distance, 0 to 2.
    pub distance: f64,
    /// Offset where it was last seen, in the same lane.
    pub offset: i64,
    /// How often the window holds it.
    pub count: u64,
}

/// What was seen against what was expected, in words and as values.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// The channel that says so.
    pub channel: &'static str,
    /// Pointer of the field.
    pub field: Arc<str>,
    /// What was there.
    pub value: String,
    /// What would have been normal, or how rare this is.
    pub expected: String,
    /// The key within which this was judged, as `pointer=value`.
    pub context: Option<String>,
}

/// Why an event is strange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Strongest first.
    pub reasons: Vec<Reason>,
    /// Nearest first.
    pub neighbours: Vec<Neighbour>,
}

/// What the detector made of a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Fused surprise in nats, on a fixed grid; larger is stranger.
    pub surprise: f64,
    /// What it was held against.
    pub threshold: f64,
    /// Surprise by channel and field, in the channels' fixed order.
    pub channels: Vec<ChannelSurprise>,
    /// Whether the window learned this event.
    pub admitted: bool,
    /// Events judged by this lane before this one.
    pub seen: u64,
    /// Whether the lane has seen enough to alert.
    pub warm: bool,
    /// There when the event is an anomaly.
    pub evidence: Option<Evidence>,
}

impl Verdict {
    /// Whether the surprise is over the threshold and the lane is warm.
    pub fn is_anomaly(&self) -> bool {
        self.warm && self.surprise > self.threshold
    }
}

/// Whether an alert opens an incident or sums it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first strange event of its kind for a while.
    Opened,
    /// The incident has ended; says how many events it took in.
    Closed,
}

/// What a person is told: one incident, however many events it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The event that opened the incident.
    pub origin: Origin,
    /// Opened or closed.
    pub phase: Phase,
    /// Events folded into the incident so far, the first included.
    pub count: u64,
    /// Offset of the last event folded in.
    pub last_offset: i64,
    /// Time of the last event folded in.
    pub last_time: Time,
    /// Why the first event is strange.
    pub verdict: Verdict,
    /// The event that opened the incident, as it came.
    pub record: Arc<Record>,
    /// The fields that the verdict is about.
    pub schema: Arc<Schema>,
}

/// Why a record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing in it.
    Empty,
    /// More bytes than allowed.
    TooLarge,
    /// Nested deeper than allowed.
    TooDeep,
    /// Not UTF-8.
    NotUtf8,
    /// Not the format it should be in.
    Malformed,
    /// JSON, but not an object.
    NotAnObject,
    /// No field that a model could read.
    NoFields,
    /// The embedder failed on it for good.
    NotEmbedded,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Empty,
        Self::TooLarge,
        Self::TooDeep,
        Self::NotUtf8,
        Self::Malformed,
        Self::NotAnObject,
        Self::NoFields,
        Self::NotEmbedded,
    ];

    /// A stable name for metrics and headers, such as `too_large`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::NotUtf8 => "not_utf8",
            Self::Malformed => "malformed",
            Self::NotAnObject => "not_an_object",
            Self::NoFields => "no_fields",
            Self::NotEmbedded => "not_embedded",
        }
    }
}

/// Bad input, put aside: a value, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which kind.
    pub fault: Fault,
    /// The step that refused it: `decode`, `render`, `embed`.
    pub stage: &'static str,
    /// What was wrong, lowercase, with numbers.
    pub message: String,
}
