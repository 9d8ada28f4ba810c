//! From what the operator wrote to what the parts run with: every value checked, all faults said at once.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::raw::{self, Raw};
use super::{Config, LogConfig, ModelConfig, SinkConfig, SourceConfig, load, units};
use crate::detect::{Budget, Matters, Selection};
use crate::embed::pooling::Pooling;
use crate::embed::{onnx, worker};
use crate::{alert, batch, decode, detect, pipeline, render, sink, source};

/// Records handed from the source to a shard at once, at most.
const READ_MAX: usize = 512;

/// Collects what is wrong while it hands on what is right.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn say(&mut self, key: &str, what: impl std::fmt::Display) {
        self.0.push(format!("{key}: {what}"));
    }

    /// The value, or its kind's default and a fault: what is built from it is never used.
    fn take<T: Default>(&mut self, key: &str, value: Result<T, String>) -> T {
        value.unwrap_or_else(|what| {
            self.say(key, what);
            T::default()
        })
    }

    fn duration(&mut self, key: &str, text: &str) -> Duration {
        self.take(key, units::duration(text))
    }

    fn milliseconds(&mut self, key: &str, text: &str) -> i64 {
        i64::try_from(self.duration(key, text).as_millis()).unwrap_or(i64::MAX)
    }

    fn within<T: PartialOrd + std::fmt::Display + Copy>(
        &mut self,
        key: &str,
        value: T,
        least: T,
        most: T,
    ) -> T {
        if !(least..=most).contains(&value) {
            self.say(key, format!("is {value}, should be between {least} and {most}"));
        }
        value
    }

    fn size(&mut self, key: &str, size: &raw::Size, least: usize, most: usize) -> usize {
        let bytes = size.bytes();
        let bytes = self.take(key, bytes);
        self.within(key, bytes, least, most)
    }

    fn named(&mut self, key: &str, value: &str, what: &str) -> String {
        if value.trim().is_empty() {
            self.say(key, format!("is empty; {what}"));
        }
        value.to_owned()
    }
}

pub(super) fn resolve(raw: &Raw) -> Result<Config, Vec<String>> {
    let mut faults = Faults::default();
    let pipeline = pipeline(raw, &mut faults);
    let listen = Some(raw.admin.listen.as_str()).filter(|address| !address.is_empty());
    let admin = listen.map(str::parse).transpose().unwrap_or_else(|_| {
        faults.say(
            "admin.listen",
            format!("{:?} is not an address such as \"127.0.0.1:9464\"", raw.admin.listen),
        );
        None
    });
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&raw.log.level) {
        faults.say("log.level", error);
    }
    let config = Config {
        service: raw.kafka.group.clone(),
        source: source(raw, &mut faults),
        sink: sink(raw, &mut faults),
        model: model(&raw.model, &mut faults),
        digest: digest(&pipeline),
        pipeline,
        shards: faults.within("pipeline.shards", raw.pipeline.shards, 0, 1_024),
        admin,
        log: LogConfig { level: raw.log.level.clone(), text: text(raw.log.format) },
        budget: raw.alert.budget.clone(),
    };
    if faults.0.is_empty() { Ok(config) } else { Err(faults.0) }
}

fn source(raw: &Raw, faults: &mut Faults) -> SourceConfig {
    // The rest is for the last commit, leaving the group and the sink.
    let drain = faults.duration("kafka.shutdown_timeout", &raw.kafka.shutdown_timeout).mul_f64(0.6);
    // One byte more than the decoder takes: it refuses what was cut.
    let line_max = raw.decode.size_max.bytes().unwrap_or_default();
    match raw.source.kind {
        raw::SourceKind::Kafka => {
            if raw.source.topics.is_empty() {
                faults.say(
                    "source.topics",
                    "is empty; name the topics to read, such as [\"logs\"] or [\"^app\\\\..*\"]",
                );
            }
            let fetch = faults.size("kafka.fetch_memory", &raw.kafka.fetch_memory, 1 << 20, 1 << 31);
            SourceConfig::Kafka(source::kafka::Settings {
                brokers: faults.named("kafka.brokers", &raw.kafka.brokers, "name host:port of a broker"),
                group: faults.named("kafka.group", &raw.kafka.group, "name the consumer group"),
                topics: raw.source.topics.clone(),
                start: match raw.source.start {
                    raw::Start::Earliest => source::kafka::Start::Earliest,
                    raw::Start::Latest => source::kafka::Start::Latest,
                },
                commit_interval: faults.duration("kafka.commit_interval", &raw.kafka.commit_interval),
                instance: Some(raw.kafka.instance.clone()).filter(|instance| !instance.is_empty()),
                options: raw.kafka.options.iter().map(|(key, value)| (key.clone(), value.text())).collect(),
                batch_max: READ_MAX,
                queued_kbytes: u32::try_from(fetch / 1_024).unwrap_or(u32::MAX),
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

fn sink(raw: &Raw, faults: &mut Faults) -> SinkConfig {
    let sink = &raw.sink;
    let message_max =
        faults.size("sink.message_max", &sink.message_max, sink::wire::alert::BODY_MIN, 100 << 20);
    let dead_letters =
        Some(PathBuf::from(&sink.dead_letter_path)).filter(|path| !path.as_os_str().is_empty());
    match sink.kind {
        raw::SinkKind::Kafka => SinkConfig::Kafka(sink::kafka::Settings {
            brokers: faults.named("kafka.brokers", &raw.kafka.brokers, "name host:port of a broker"),
            alerts_topic: faults.named("sink.topic", &sink.topic, "name the topic of alerts"),
            dead_letter_topic: Some(sink.dead_letter_topic.clone()).filter(|topic| !topic.is_empty()),
            options: raw.kafka.options.iter().map(|(key, value)| (key.clone(), value.text())).collect(),
            message_max,
            flush_timeout: faults
                .duration("kafka.shutdown_timeout", &raw.kafka.shutdown_timeout)
                .mul_f64(0.1),
        }),
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

fn model(raw: &raw::Model, faults: &mut Faults) -> ModelConfig {
    let cache_texts = faults.within("model.cache_texts", raw.cache_texts, 1, 10_000_000);
    if raw.kind == raw::ModelKind::Hashed {
        return ModelConfig::Hashed { cache_texts };
    }
    let device = match (raw.device.as_str(), raw.device.strip_prefix("cuda:").map(str::parse)) {
        ("auto", _) => onnx::Device::Auto,
        ("cpu", _) => onnx::Device::Cpu,
        ("cuda", _) => onnx::Device::Cuda { id: 0 },
        (_, Some(Ok(id))) => onnx::Device::Cuda { id },
        (other, _) => {
            faults.say("model.device", format!("{other:?} is not \"auto\", \"cpu\", \"cuda\" or \"cuda:1\""));
            onnx::Device::Auto
        }
    };
    let batch_tokens = faults.within("model.batch_tokens", raw.batch_tokens, 16, 1 << 20);
    ModelConfig::Onnx {
        model: onnx::Settings {
            folder: faults
                .named("model.path", &raw.path, "name the folder of model.onnx and tokenizer.json")
                .into(),
            library: Some(PathBuf::from(&raw.library)).filter(|path| !path.as_os_str().is_empty()),
            device,
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
            tokens_max: faults.within("model.tokens_max", raw.tokens_max, 2, 100_000),
            threads: faults.within("model.threads", raw.threads, 0, 1_024),
            batch_tokens,
            allow_dynamic_quantisation: raw.allow_dynamic_quantisation,
        },
        worker: worker::Settings {
            tokenisers: faults.within("model.tokenizer_threads", raw.tokenizer_threads, 0, 1_024),
            batch: batch::Settings {
                tokens_max: batch_tokens,
                wait_max: faults.duration("model.batch_wait", &raw.batch_wait),
            },
            cache_entries: cache_texts,
            ..worker::Settings::default()
        },
    }
}

fn pipeline(raw: &Raw, faults: &mut Faults) -> pipeline::Settings {
    let (limits, render) = (&raw.pipeline, &raw.render);
    pipeline::Settings {
        decode: decode::Settings {
            format: match raw.decode.format {
                raw::Format::Auto => decode::Format::Auto,
                raw::Format::Json => decode::Format::Json,
                raw::Format::Text => decode::Format::Text,
            },
            size_max: faults.size("decode.size_max", &raw.decode.size_max, 1, 1 << 30),
            depth_max: faults.within("decode.depth_max", raw.decode.depth_max, 1, 120),
            fields_max: faults.within("decode.fields_max", raw.decode.fields_max, 1, 100_000),
        },
        render: render::Settings {
            fields: fields(&raw.field, faults),
            ignore: render.ignore.iter().map(|name| pointer(name)).collect(),
            infer_events: faults.within("render.infer_events", render.infer_events, 20, 10_000),
            text_max: faults.size("render.text_max", &render.text_max, 16, 1 << 20),
        },
        detect: detect(raw, faults),
        alert: alert::Settings {
            similarity: faults.within("alert.similarity", raw.alert.similarity, 0.0, 1.0),
            gap_ms: faults.milliseconds("alert.gap", &raw.alert.gap),
            span_ms: faults.milliseconds("alert.span", &raw.alert.span),
            open_max: faults.within("alert.open_max", raw.alert.open_max, 1, 10_000),
            closing: raw.alert.closing,
        },
        in_flight_max: faults.within("pipeline.in_flight_max", limits.in_flight_max, 1, 1_000_000),
        unacknowledged_max: faults.within(
            "pipeline.unacknowledged_max",
            limits.unacknowledged_max,
            1,
            1_000_000,
        ),
        bytes_max: faults.size("pipeline.bytes_max", &limits.bytes_max, 1 << 20, 1 << 40),
        replay_events: replay_events(raw, faults),
        trace: false,
    }
}

/// A restart that reads back less than the warm-up would leave a partition silent until it is warm again.
fn replay_events(raw: &Raw, faults: &mut Faults) -> u64 {
    let (events, warmup) = (raw.pipeline.replay_events, raw.detect.warmup);
    if events < warmup {
        let what = format!("is {events}, should be at least detect.warmup, {warmup}");
        faults.say("pipeline.replay_events", what);
    }
    faults.within("pipeline.replay_events", events, 0, 1_000_000_000)
}

/// A bare name is the pointer of a field at the top.
pub(super) fn pointer(name: &str) -> String {
    let slash = if name.starts_with('/') { "" } else { "/" };
    format!("{slash}{name}")
}

fn fields(raw: &[raw::Field], faults: &mut Faults) -> Vec<render::Field> {
    let mut fields: Vec<render::Field> = Vec::new();
    for field in raw {
        let pointer = pointer(&field.pointer);
        if fields.iter().any(|other| other.pointer == pointer) {
            faults.say("field.pointer", format!("{pointer:?} is named twice"));
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

fn detect(raw: &Raw, faults: &mut Faults) -> detect::Settings {
    let detect = &raw.detect;
    let budget = units::budget(&raw.alert.budget).unwrap_or_else(|what| {
        faults.say("alert.budget", what);
        Budget::Events(1_000.0)
    });
    let meaning = matters(&detect.meaning_matters, faults);
    detect::Settings {
        window_events: faults.within("detect.window", detect.window, 10, 100_000_000),
        window_texts: faults.within("detect.window_texts", detect.window_texts, 10, 1_000_000),
        neighbours: faults.within("detect.neighbours", detect.neighbours, 1.0, 10_000.0),
        warmup_events: faults.within("detect.warmup", detect.warmup, 20, 1_000_000_000),
        calibration_events: faults.within("detect.calibration", detect.calibration, 256, 10_000_000),
        half_life_events: faults.within("detect.half_life", detect.half_life, 10.0, 1e9),
        guard: faults.within("detect.guard", detect.guard, 0.0, 0.5),
        fusion_power: faults.within("detect.fusion_power", detect.fusion_power, 1.0, 16.0),
        keys_max: faults.within("detect.keys_max", detect.keys_max, 1, 100_000_000),
        budget,
        channels: channels(&detect.channels, faults),
        meaning: (raw.model.kind == raw::ModelKind::Onnx).then_some(meaning),
    }
}

fn matters(said: &raw::Matters, faults: &mut Faults) -> Matters {
    match said {
        raw::Matters::Decided(true) => Matters::Yes,
        raw::Matters::Decided(false) => Matters::No,
        raw::Matters::Said(word) if word == "auto" => Matters::Auto,
        // As the environment and the command line give it.
        raw::Matters::Said(word) if word == "true" => Matters::Yes,
        raw::Matters::Said(word) if word == "false" => Matters::No,
        raw::Matters::Said(other) => {
            faults.say("detect.meaning_matters", format!("{other:?} is not \"auto\", true or false"));
            Matters::Auto
        }
    }
}

fn channels(names: &[String], faults: &mut Faults) -> Selection {
    let mut channels = Selection::NONE;
    for name in names {
        if let Some(channel) = Selection::only(name) {
            channels = channels.and(channel);
            continue;
        }
        let hint = load::nearest(name, &Selection::NAMES).map_or_else(
            || format!("known are: {}", Selection::NAMES.join(", ")),
            |near| format!("did you mean {near:?}?"),
        );
        faults.say("detect.channels", format!("{name:?} is no channel; {hint}"));
    }
    if names.is_empty() {
        faults.say("detect.channels", format!("is empty; known are: {}", Selection::NAMES.join(", ")));
    }
    channels
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
