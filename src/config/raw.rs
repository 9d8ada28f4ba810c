//! Settings as the operator wrote them: one struct a section, unknown keys refused.
//!
//! Nothing here has a default: `config/default.toml` is the first layer, so every key is there. What comes here has been
//! checked against `keys`, with its place; that it is checked again, by its type, is so that the two cannot differ.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::secret::Secret;
use super::units;
use crate::detect;
use crate::embed::onnx;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) source: Source,
    pub(super) kafka: Kafka,
    pub(super) sink: Sink,
    pub(super) decode: Decode,
    pub(super) render: Render,
    #[serde(default)]
    pub(super) field: Vec<Field>,
    pub(super) model: Model,
    pub(super) detect: Detect,
    pub(super) alert: Alert,
    pub(super) pipeline: Pipeline,
    pub(super) admin: Admin,
    pub(super) log: Log,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceKind {
    Kafka,
    File,
    Stdin,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Start {
    Earliest,
    Latest,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) kind: SourceKind,
    pub(super) topics: Vec<String>,
    pub(super) paths: Vec<String>,
    pub(super) follow: bool,
    pub(super) start: Start,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kafka {
    pub(super) brokers: String,
    pub(super) group: String,
    pub(super) instance: String,
    pub(super) commit_interval: Period,
    pub(super) shutdown_timeout: Period,
    pub(super) fetch_memory: Size,
    #[serde(default)]
    pub(super) options: BTreeMap<String, Secret>,
}

/// A time with its unit.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Period(pub(super) Duration);

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        units::duration(&text).map(Self)
    }
}

impl Period {
    pub(super) fn milliseconds(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Bytes.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Amount")]
pub(super) struct Size(pub(super) usize);

/// Bytes, as a number or with a unit.
#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Bytes(u64),
    Text(String),
}

impl TryFrom<Amount> for Size {
    type Error = String;

    fn try_from(amount: Amount) -> Result<Self, String> {
        match amount {
            Amount::Bytes(bytes) => usize::try_from(bytes).map(Self).map_err(|error| error.to_string()),
            Amount::Text(text) => units::size(&text).map(Self),
        }
    }
}

/// How many alerts are wanted, and in which words.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Budget {
    pub(super) words: String,
    pub(super) budget: detect::Budget,
}

impl TryFrom<String> for Budget {
    type Error = String;

    fn try_from(words: String) -> Result<Self, String> {
        let budget = units::budget(&words)?;
        Ok(Self { words, budget })
    }
}

/// Where a model runs.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Device(pub(super) onnx::Device);

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        units::device(&text).map(Self)
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum SinkKind {
    Kafka,
    Stdout,
    File,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum OutputFormat {
    Auto,
    Text,
    Json,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sink {
    pub(super) kind: SinkKind,
    pub(super) topic: String,
    pub(super) dead_letter_topic: String,
    pub(super) path: String,
    pub(super) dead_letter_path: String,
    pub(super) format: OutputFormat,
    pub(super) message_max: Size,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Auto,
    Json,
    Text,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decode {
    pub(super) format: Format,
    pub(super) size_max: Size,
    pub(super) depth_max: usize,
    pub(super) fields_max: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Render {
    pub(super) infer_events: usize,
    pub(super) ignore: Vec<String>,
    pub(super) text_max: Size,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Text,
    Number,
    Category,
    Time,
    Key,
    Ignore,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    pub(super) pointer: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum ModelKind {
    Hashed,
    Onnx,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Fallback {
    Cpu,
    Fail,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Pooling {
    Auto,
    Mean,
    Cls,
    Last,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub(super) kind: ModelKind,
    pub(super) path: String,
    pub(super) library: String,
    pub(super) device: Device,
    pub(super) fallback: Fallback,
    pub(super) pooling: Pooling,
    pub(super) prefix: String,
    pub(super) tokens_max: usize,
    pub(super) threads: usize,
    pub(super) tokenizer_threads: usize,
    pub(super) batch_tokens: usize,
    pub(super) batch_wait: Period,
    pub(super) cache_texts: usize,
    pub(super) allow_dynamic_quantisation: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Detect {
    pub(super) window: usize,
    pub(super) window_texts: usize,
    pub(super) neighbours: f64,
    pub(super) warmup: u64,
    pub(super) calibration: usize,
    pub(super) half_life: f64,
    pub(super) guard: f64,
    pub(super) fusion_power: f64,
    pub(super) keys_max: usize,
    pub(super) channels: Vec<String>,
    pub(super) meaning_matters: Matters,
}

/// A decision, or a word that leaves it open.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Matters {
    Decided(bool),
    Said(Auto),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Auto {
    Auto,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alert {
    pub(super) budget: Budget,
    pub(super) similarity: f64,
    pub(super) gap: Period,
    pub(super) span: Period,
    pub(super) open_max: usize,
    pub(super) closing: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pipeline {
    pub(super) shards: usize,
    pub(super) in_flight_max: usize,
    pub(super) unacknowledged_max: usize,
    pub(super) bytes_max: Size,
    pub(super) replay_events: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) listen: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: String,
    pub(super) format: OutputFormat,
}
