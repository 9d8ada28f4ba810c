//! From what the operator wrote to what the parts run with, and what settings mean to each other.
//!
//! Each value by itself has been checked before; here are the faults that only two settings together have, or one that
//! is needed and not there. All are said, with the place of the setting that most likely has to change.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::fault::{Fault, Place};
use super::keys::{FIELD, OPTIONS};
use super::places::Places;
use super::raw::{self, Raw};
use super::same::Target;
use super::together::together;
use super::{Config, LogConfig, ModelConfig, SinkConfig, SourceConfig, units};
use crate::detect::{Matters, Selection};
use crate::embed::pooling::Pooling;
use crate::embed::{onnx, worker};
use crate::source::kafka::pattern;
use crate::{alert, batch, decode, detect, pipeline, render, sink, source};

/// Records handed from the source to a shard at once, at most.
const READ_MAX: usize = 512;

/// Collects what is wrong between settings; what is wrong with one by itself has been said.
pub(super) struct Faults<'a> {
    pub(super) places: &'a Places,
    pub(super) found: Vec<Fault>,
}

impl Faults<'_> {
    pub(super) fn say(&mut self, key: &str, what: impl std::fmt::Display) {
        // Where it is not known what kind of source, sink or model is meant, nor is what that needs.
        let section = key.split('.').next().unwrap_or(key);
        if !(self.places.is_broken(key) || self.places.is_broken(&format!("{section}.kind"))) {
            self.found.push(Fault {
                place: self.places.near(key),
                key: key.to_owned(),
                what: what.to_string(),
            });
        }
    }

    fn named(&mut self, key: &str, value: &str, what: &str) -> String {
        if value.trim().is_empty() {
            self.say(key, format!("is empty; {what}"));
        }
        value.to_owned()
    }
}

/// The settings as used. What is built from settings with faults must not be used.
pub(super) fn resolve(raw: &Raw, secrets: bool, faults: &mut Faults<'_>) -> Config {
    let pipeline = pipeline(raw, faults);
    let options = options(raw, secrets, faults);
    let config = Config {
        service: raw.kafka.group.clone(),
        source: source(raw, &options, faults),
        sink: sink(raw, &options, faults),
        model: model(&raw.model, faults),
        digest: digest(&pipeline),
        pipeline,
        shards: raw.pipeline.shards,
        admin: units::address(&raw.admin.listen).unwrap_or_else(|what| {
            faults.say("admin.listen", what);
            None
        }),
        log: LogConfig { level: raw.log.level.clone(), text: text(raw.log.format) },
        budget: raw.alert.budget.words.clone(),
    };
    between(raw, faults);
    together(&config, faults);
    config
}

/// The options of librdkafka, secrets read from their files if `secrets` says so.
fn options(raw: &Raw, secrets: bool, faults: &mut Faults<'_>) -> Vec<(String, String)> {
    let given = raw.kafka.options.iter().map(|(name, value)| {
        let place = faults.places.set_at(&format!("{OPTIONS}.{name}"));
        (name.as_str(), (value, place))
    });
    super::options::resolved(&given.collect(), secrets, &mut faults.found)
}

/// What settings of different sections mean to each other.
fn between(raw: &Raw, faults: &mut Faults<'_>) {
    let (source, sink) = (&raw.source, &raw.sink);
    if source.kind == raw::SourceKind::Kafka && sink.kind == raw::SinkKind::Kafka {
        for (key, topic) in [("sink.topic", &sink.topic), ("sink.dead_letter_topic", &sink.dead_letter_topic)]
        {
            if !topic.is_empty() && source.topics.contains(topic) {
                let what = format!(
                    "is {topic:?}, which source.topics reads: outlierd would read what it wrote; name another topic"
                );
                faults.say(key, what);
            }
        }
    }
    if sink.kind == raw::SinkKind::Kafka && !sink.topic.is_empty() && sink.topic == sink.dead_letter_topic {
        faults.say(
            "sink.dead_letter_topic",
            "is the topic of alerts, sink.topic; name another, or leave it empty for none",
        );
    }
    files(source, sink, faults);
    // A restart that reads back less than the warm-up would leave a partition silent until it is warm again.
    let (events, warmup) = (raw.pipeline.replay_events, raw.detect.warmup);
    if events < warmup {
        let key = if faults.places.set_at("pipeline.replay_events") == Place::Default {
            "detect.warmup"
        } else {
            "pipeline.replay_events"
        };
        let what = match key {
            "detect.warmup" => {
                format!("is {warmup}, should be at most pipeline.replay_events, {events}; raise that too")
            }
            _ => format!("is {events}, should be at least detect.warmup, {warmup}"),
        };
        faults.say(key, what);
    }
}

/// Files that are read and written, written by two, or read twice.
fn files(source: &raw::Source, sink: &raw::Sink, faults: &mut Faults<'_>) {
    let alerts = (sink.kind == raw::SinkKind::File).then_some(("sink.path", &sink.path));
    let letters =
        (sink.kind != raw::SinkKind::Kafka).then_some(("sink.dead_letter_path", &sink.dead_letter_path));
    if let (Some((_, path)), Some((key, letters))) = (alerts, letters)
        && let (Some(path), Some(letters)) = (Target::of(path), Target::of(letters))
        && path == letters
    {
        faults.say(key, "is the file of alerts, sink.path; name another, or leave it empty for none");
    }
    if source.kind != raw::SourceKind::File {
        return;
    }
    let mut read = HashMap::new();
    for (index, path) in source.paths.iter().enumerate() {
        let Some(target) = Target::of(path) else { continue };
        // By one name it is read once.
        if let Some(before) = read.get(&target).filter(|before| source.paths[**before] != *path) {
            let what = format!("is {path:?}, the same file as source.paths[{before}]; name each file once");
            faults.say(&format!("source.paths[{index}]"), what);
        } else {
            read.insert(target, index);
        }
    }
    for (key, path) in alerts.into_iter().chain(letters) {
        if let Some(index) = Target::of(path).and_then(|target| read.get(&target)) {
            let what = format!(
                "is {path:?}, which source.paths[{index}] reads: outlierd would read what it wrote; name another file"
            );
            faults.say(key, what);
        }
    }
}

fn source(raw: &Raw, options: &[(String, String)], faults: &mut Faults<'_>) -> SourceConfig {
    // The rest is for the last commit, leaving the group and the sink.
    let drain = raw.kafka.shutdown_timeout.0.mul_f64(0.6);
    // One byte more than the decoder takes: it refuses what was cut.
    let line_max = raw.decode.size_max.0;
    match raw.source.kind {
        raw::SourceKind::Kafka => {
            if raw.source.topics.is_empty() {
                faults.say(
                    "source.topics",
                    "is empty; name the topics to read, such as [\"logs\"] or [\"^app\\\\..*\"]",
                );
            }
            for (index, name) in raw.source.topics.iter().enumerate() {
                let key = format!("source.topics[{index}]");
                if let Some(before) = raw.source.topics[..index].iter().position(|other| other == name) {
                    faults.say(&key, format!("is source.topics[{before}] again; name each topic once"));
                } else if !pattern::is_pattern(name) {
                    topic(&key, name, faults);
                } else if let Err(what) = pattern::check(name) {
                    faults.say(&key, what);
                }
            }
            brokers(&raw.kafka.brokers, faults);
            SourceConfig::Kafka(source::kafka::Settings {
                brokers: raw.kafka.brokers.clone(),
                group: faults.named("kafka.group", &raw.kafka.group, "name the consumer group"),
                topics: raw.source.topics.clone(),
                start: match raw.source.start {
                    raw::Start::Earliest => source::kafka::Start::Earliest,
                    raw::Start::Latest => source::kafka::Start::Latest,
                },
                commit_interval: raw.kafka.commit_interval.0,
                instance: Some(raw.kafka.instance.clone()).filter(|instance| !instance.is_empty()),
                options: options.to_vec(),
                batch_max: READ_MAX,
                queued_kbytes: u32::try_from(raw.kafka.fetch_memory.0 / 1_024).unwrap_or(u32::MAX),
                drain,
            })
        }
        raw::SourceKind::File => {
            if raw.source.paths.is_empty() {
                faults.say("source.paths", "is empty; name files here, or with --input");
            }
            let paths = raw.source.paths.iter().map(PathBuf::from).collect();
            SourceConfig::File(source::file::Settings { paths, follow: raw.source.follow, line_max, drain })
        }
        raw::SourceKind::Stdin => SourceConfig::Stdin(source::stdin::Settings { line_max, drain }),
    }
}

/// Each as host, host:port or [address]:port.
fn brokers(text: &str, faults: &mut Faults<'_>) {
    const KEY: &str = "kafka.brokers";
    if text.trim().is_empty() {
        return faults.say(KEY, "is empty; name host:port of a broker");
    }
    for broker in text.split(',').map(str::trim) {
        let (host, port) = match broker.rsplit_once(':') {
            Some((host, port)) if !(broker.starts_with('[') && broker.ends_with(']')) => (host, Some(port)),
            _ => (broker, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let fits =
            !host.is_empty() && !host.contains([' ', '/', '"']) && (bare.is_some() || !host.contains(':'));
        if !(fits && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))) {
            faults.say(
                KEY,
                format!("{broker:?} is not host:port, such as \"broker-1:9092\"; separate several by commas"),
            );
        }
    }
}

/// Whether the broker could have a topic of that name.
fn topic(key: &str, name: &str, faults: &mut Faults<'_>) {
    if let Err(what) = sink::kafka::topic(name) {
        faults.say(key, what);
    }
}

fn sink(raw: &Raw, options: &[(String, String)], faults: &mut Faults<'_>) -> SinkConfig {
    let sink = &raw.sink;
    let message_max = sink.message_max.0;
    let dead_letters =
        Some(PathBuf::from(&sink.dead_letter_path)).filter(|path| !path.as_os_str().is_empty());
    match sink.kind {
        raw::SinkKind::Kafka => {
            if raw.source.kind != raw::SourceKind::Kafka {
                brokers(&raw.kafka.brokers, faults);
            }
            if !faults.named("sink.topic", &sink.topic, "name the topic of alerts").is_empty() {
                topic("sink.topic", &sink.topic, faults);
            }
            let dead_letter_topic = Some(sink.dead_letter_topic.clone()).filter(|topic| !topic.is_empty());
            if let Some(name) = &dead_letter_topic {
                topic("sink.dead_letter_topic", name, faults);
            }
            SinkConfig::Kafka(sink::kafka::Settings {
                brokers: raw.kafka.brokers.clone(),
                alerts_topic: sink.topic.clone(),
                dead_letter_topic,
                options: options.iter().cloned().collect(),
                message_max,
                flush_timeout: raw.kafka.shutdown_timeout.0.mul_f64(0.1),
            })
        }
        raw::SinkKind::Stdout => {
            let terminal = std::io::stdout().is_terminal();
            let text = text(sink.format).unwrap_or(terminal);
            let format = if text { sink::stdout::Format::Text } else { sink::stdout::Format::Json };
            SinkConfig::Stdout(sink::stdout::Settings { format, colour: terminal, dead_letters, message_max })
        }
        raw::SinkKind::File => SinkConfig::File(sink::file::Settings {
            path: faults.named("sink.path", &sink.path, "name the file of alerts").into(),
            dead_letters,
            message_max,
        }),
    }
}

fn model(raw: &raw::Model, faults: &mut Faults<'_>) -> ModelConfig {
    let cache_texts = raw.cache_texts;
    if raw.kind == raw::ModelKind::Hashed {
        return ModelConfig::Hashed { cache_texts };
    }
    let batch_tokens = raw.batch_tokens;
    ModelConfig::Onnx {
        model: onnx::Settings {
            folder: faults
                .named("model.path", &raw.path, "name the folder of model.onnx and tokenizer.json")
                .into(),
            library: Some(PathBuf::from(&raw.library)).filter(|path| !path.as_os_str().is_empty()),
            device: raw.device.0,
            fallback: match raw.fallback {
                raw::Fallback::Cpu => onnx::Fallback::Cpu,
                raw::Fallback::Fail => onnx::Fallback::Fail,
            },
            pooling: match raw.pooling {
                raw::Pooling::Auto => Pooling::Auto,
                raw::Pooling::Mean => Pooling::Mean,
                raw::Pooling::Cls => Pooling::Cls,
                raw::Pooling::Last => Pooling::Last,
            },
            prefix: raw.prefix.clone(),
            tokens_max: raw.tokens_max,
            threads: raw.threads,
            batch_tokens,
            allow_dynamic_quantisation: raw.allow_dynamic_quantisation,
        },
        worker: worker::Settings {
            tokenisers: raw.tokenizer_threads,
            batch: batch::Settings { tokens_max: batch_tokens, wait_max: raw.batch_wait.0 },
            cache_entries: cache_texts,
            ..worker::Settings::default()
        },
    }
}

fn pipeline(raw: &Raw, faults: &mut Faults<'_>) -> pipeline::Settings {
    let (limits, render) = (&raw.pipeline, &raw.render);
    pipeline::Settings {
        decode: decode::Settings {
            format: match raw.decode.format {
                raw::Format::Auto => decode::Format::Auto,
                raw::Format::Json => decode::Format::Json,
                raw::Format::Text => decode::Format::Text,
            },
            size_max: raw.decode.size_max.0,
            depth_max: raw.decode.depth_max,
            fields_max: raw.decode.fields_max,
        },
        render: render::Settings {
            fields: fields(&raw.field, faults),
            ignore: render.ignore.iter().map(|name| pointer(name)).collect(),
            infer_events: render.infer_events,
            text_max: render.text_max.0,
        },
        detect: detect(raw),
        alert: alert::Settings {
            similarity: raw.alert.similarity,
            gap_ms: raw.alert.gap.milliseconds(),
            span_ms: raw.alert.span.milliseconds(),
            open_max: raw.alert.open_max,
            closing: raw.alert.closing,
        },
        in_flight_max: limits.in_flight_max,
        unacknowledged_max: limits.unacknowledged_max,
        bytes_max: limits.bytes_max.0,
        replay_events: limits.replay_events,
        trace: false,
    }
}

/// A bare name is the pointer of a field at the top.
pub(super) fn pointer(name: &str) -> String {
    let slash = if name.starts_with('/') { "" } else { "/" };
    format!("{slash}{name}")
}

fn fields(raw: &[raw::Field], faults: &mut Faults<'_>) -> Vec<render::Field> {
    let mut fields: Vec<render::Field> = Vec::new();
    for (index, field) in raw.iter().enumerate() {
        let pointer = pointer(&field.pointer);
        let key = format!("{FIELD}[{index}].pointer");
        if field.pointer.trim_matches('/').trim().is_empty() {
            faults.say(&key, "is empty; name the field, such as \"/request/path\"");
        }
        if let Some(first) = fields.iter().position(|other| other.pointer == pointer) {
            let first = faults.places.set_at(&format!("{FIELD}[{first}].pointer"));
            faults.say(&key, format!("{pointer:?} is named twice ({first}); remove one of them"));
        }
        let kind = match field.kind {
            raw::Kind::Text => render::Kind::Text,
            raw::Kind::Number => render::Kind::Number,
            raw::Kind::Category => render::Kind::Category,
            raw::Kind::Time => render::Kind::Time,
            raw::Kind::Key => render::Kind::Key,
            raw::Kind::Ignore => render::Kind::Ignore,
        };
        fields.push(render::Field { pointer, kind });
    }
    fields
}

fn detect(raw: &Raw) -> detect::Settings {
    let detect = &raw.detect;
    let meaning = match detect.meaning_matters {
        raw::Matters::Decided(true) => Matters::Yes,
        raw::Matters::Decided(false) => Matters::No,
        raw::Matters::Said(raw::Auto::Auto) => Matters::Auto,
    };
    let channels = detect.channels.iter().filter_map(|name| Selection::only(name));
    detect::Settings {
        window_events: detect.window,
        window_texts: detect.window_texts,
        neighbours: detect.neighbours,
        warmup_events: detect.warmup,
        calibration_events: detect.calibration,
        half_life_events: detect.half_life,
        guard: detect.guard,
        fusion_power: detect.fusion_power,
        keys_max: detect.keys_max,
        budget: raw.alert.budget.budget,
        channels: channels.fold(Selection::NONE, Selection::and),
        meaning: (raw.model.kind == raw::ModelKind::Onnx).then_some(meaning),
    }
}

/// Changes whenever a setting changes that can change a verdict; queue limits cannot.
pub(super) fn digest(settings: &pipeline::Settings) -> String {
    let pipeline::Settings { decode, render, detect, alert, replay_events, .. } = settings;
    let hash = Sha256::digest(format!("{decode:?} {render:?} {detect:?} {alert:?} {replay_events}"));
    let (first, _) = hash.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    format!("{:016x}", u64::from_be_bytes(*first))
}

/// Whether a format is text; none: as suits where it goes.
fn text(format: raw::OutputFormat) -> Option<bool> {
    match format {
        raw::OutputFormat::Auto => None,
        raw::OutputFormat::Text => Some(true),
        raw::OutputFormat::Json => Some(false),
    }
}
