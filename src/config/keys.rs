//! Every key, and what may stand there: one table, from which values are checked and the schema is written.
//!
//! Defaults and meanings stand in `config/default.toml`, not here; a test holds this table, that file and the types of
//! `raw` against each other. A limit that is checked must be in this table, or the schema would promise what is refused.

use std::ops::RangeInclusive;

use crate::detect::Selection;
use crate::sink::wire::alert::BODY_MIN;

/// What may stand at a key.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Whole(RangeInclusive<u64>),
    /// A number.
    Number(RangeInclusive<f64>),
    /// Bytes, as a number or with a unit.
    Size(RangeInclusive<u64>),
    /// A time with its unit, between these.
    Duration(&'static str, &'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Names,
    /// A list of some of these words, at least one.
    Picks(&'static [&'static str]),
    /// How many alerts are wanted.
    Budget,
    /// An address and its port, or nothing.
    Address,
    /// Where a model runs.
    Device,
    /// `true`, `false` or `"auto"`.
    FlagOrAuto,
    /// What is logged.
    Filter,
}

/// A key and what may stand there.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Section and name.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

impl Key {
    /// The section's name and the key's own.
    pub(super) fn parts(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or(("", self.name))
    }
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind }
}

const fn whole(least: u64, most: u64) -> Kind {
    Kind::Whole(least..=most)
}

const fn number(least: f64, most: f64) -> Kind {
    Kind::Number(least..=most)
}

const fn size(least: u64, most: u64) -> Kind {
    Kind::Size(least..=most)
}

/// The table of `[kafka.options]`, whose keys are those of librdkafka.
pub(super) const OPTIONS: &str = "kafka.options";

/// The list of `[[field]]`.
pub(super) const FIELD: &str = "field";

/// What an entry of `[[field]]` has; each must be there.
pub(super) const FIELD_KEYS: &[Key] = &[
    key("pointer", Kind::Text),
    key("kind", Kind::Choice(&["text", "number", "category", "time", "key", "ignore"])),
];

/// Every other key, in the order of the file.
pub(super) const KEYS: &[Key] = &[
    key("source.kind", Kind::Choice(&["kafka", "file", "stdin"])),
    key("source.topics", Kind::Names),
    key("source.paths", Kind::Names),
    key("source.follow", Kind::Flag),
    key("source.start", Kind::Choice(&["earliest", "latest"])),
    key("kafka.brokers", Kind::Text),
    key("kafka.group", Kind::Text),
    key("kafka.instance", Kind::Text),
    key("kafka.commit_interval", Kind::Duration("10ms", "1h")),
    key("kafka.shutdown_timeout", Kind::Duration("100ms", "1d")),
    key("kafka.fetch_memory", size(1 << 20, 1 << 31)),
    key("sink.kind", Kind::Choice(&["kafka", "stdout", "file"])),
    key("sink.topic", Kind::Text),
    key("sink.dead_letter_topic", Kind::Text),
    key("sink.path", Kind::Text),
    key("sink.dead_letter_path", Kind::Text),
    key("sink.format", Kind::Choice(&["auto", "text", "json"])),
    key("sink.message_max", size(BODY_MIN as u64, 100 << 20)),
    key("decode.format", Kind::Choice(&["auto", "json", "text"])),
    key("decode.size_max", size(1, 1 << 30)),
    key("decode.depth_max", whole(1, 120)),
    key("decode.fields_max", whole(1, 100_000)),
    key("render.infer_events", whole(20, 10_000)),
    key("render.ignore", Kind::Names),
    key("render.text_max", size(16, 1 << 20)),
    key("model.kind", Kind::Choice(&["hashed", "onnx"])),
    key("model.path", Kind::Text),
    key("model.library", Kind::Text),
    key("model.device", Kind::Device),
    key("model.fallback", Kind::Choice(&["cpu", "fail"])),
    key("model.pooling", Kind::Choice(&["auto", "mean", "cls", "last"])),
    key("model.prefix", Kind::Text),
    key("model.tokens_max", whole(2, 100_000)),
    key("model.threads", whole(0, 1_024)),
    key("model.tokenizer_threads", whole(0, 1_024)),
    key("model.batch_tokens", whole(16, 1 << 20)),
    key("model.batch_wait", Kind::Duration("0ms", "1m")),
    key("model.cache_texts", whole(1, 10_000_000)),
    key("model.allow_dynamic_quantisation", Kind::Flag),
    key("detect.window", whole(10, 100_000_000)),
    key("detect.window_texts", whole(10, 1_000_000)),
    key("detect.neighbours", number(1.0, 10_000.0)),
    key("detect.warmup", whole(20, 1_000_000_000)),
    key("detect.calibration", whole(256, 10_000_000)),
    key("detect.half_life", number(10.0, 1e9)),
    key("detect.guard", number(0.0, 0.5)),
    key("detect.fusion_power", number(1.0, 16.0)),
    key("detect.keys_max", whole(1, 100_000_000)),
    key("detect.channels", Kind::Picks(&Selection::NAMES)),
    key("detect.meaning_matters", Kind::FlagOrAuto),
    key("alert.budget", Kind::Budget),
    key("alert.similarity", number(0.0, 1.0)),
    key("alert.gap", Kind::Duration("0s", "366d")),
    key("alert.span", Kind::Duration("0s", "366d")),
    key("alert.open_max", whole(1, 10_000)),
    key("alert.closing", Kind::Flag),
    key("pipeline.shards", whole(0, 1_024)),
    key("pipeline.in_flight_max", whole(1, 1_000_000)),
    key("pipeline.unacknowledged_max", whole(1, 1_000_000)),
    key("pipeline.bytes_max", size(1 << 20, 1 << 40)),
    key("pipeline.replay_events", whole(0, 1_000_000_000)),
    key("admin.listen", Kind::Address),
    key("log.level", Kind::Filter),
    key("log.format", Kind::Choice(&["auto", "text", "json"])),
];

/// The key of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The keys of a section, without its name.
pub(super) fn of(section: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> =
        KEYS.iter().map(Key::parts).filter(|(of, _)| *of == section).map(|(_, name)| name).collect();
    if section == "kafka" {
        names.push("options");
    }
    names
}

/// The sections, in the order of the file.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&str> = KEYS.iter().map(|key| key.parts().0).collect();
    sections.dedup();
    sections.push(FIELD);
    sections
}
