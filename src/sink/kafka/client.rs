//! The producer: how it is set up, and what its callbacks hand on.
//!
//! Idempotent with acks=all, and without a timeout on messages: librdkafka then repeats what a broker did not take, in
//! order, for as long as it takes. Callbacks run on librdkafka's polling thread and must not block: reports go to a
//! queue with room for everything in flight. Values of options may be secrets and must not reach a log or an error.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;

use super::{Parcel, Settings};
use crate::sink::{SinkError, Status};

pub(super) type Producer = ThreadedProducer<Context>;

/// Room beside an alert's body for its key and headers.
const ENVELOPE: usize = 100_000;

/// Options that this file decides, by all their names, and those that load foreign code.
const OWNED: [&str; 16] = [
    "acks",
    "bootstrap.servers",
    "delivery.report.only.error",
    "enable.idempotence",
    "enabled_events",
    "interceptors",
    "internal.termination.signal",
    "log.queue",
    "message.max.bytes",
    "metadata.broker.list",
    "plugin.library.paths",
    "request.required.acks",
    "test.mock.broker.rtt",
    "test.mock.num.brokers",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Defaults that an option may replace; several names are one setting.
const DEFAULTS: [(&[&str], &str); 8] = [
    (&["client.id"], "outlierd"),
    (&["linger.ms", "queue.buffering.max.ms"], "5"),
    (&["compression.type", "compression.codec"], "lz4"),
    // Without end; see the head of this file.
    (&["message.timeout.ms", "delivery.timeout.ms"], "0"),
    // A batch that its topic finds too large fails as a whole, so small ones: only a large alert travels alone.
    (&["batch.size"], "131072"),
    (&["queue.buffering.max.kbytes"], "65536"),
    // The same partition for a key as Java's producers choose.
    (&["partitioner"], "murmur2_random"),
    (&["enable.metrics.push"], "false"),
];

/// What became of a parcel.
pub(super) struct Report {
    pub(super) parcel: Box<Parcel>,
    /// Nothing when the broker holds it.
    pub(super) error: Option<RDKafkaErrorCode>,
}

/// What librdkafka's callbacks reach.
pub(super) struct Context {
    pub(super) reports: Sender<Report>,
    pub(super) status: Arc<Status>,
    /// Set when no broker can be reached.
    pub(super) down: Arc<AtomicBool>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        tracing::debug!(?code, reason, "librdkafka");
        if matches!(code, Some(RDKafkaErrorCode::AllBrokersDown)) {
            self.down.store(true, Ordering::Relaxed);
        }
        if !self.status.ready() || matches!(code, Some(RDKafkaErrorCode::AllBrokersDown)) {
            self.status.troubled(reason);
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Parcel>;

    fn delivery(&self, result: &DeliveryResult<'_>, parcel: Box<Parcel>) {
        let error = match result {
            Ok(_) => None,
            Err((error, _)) => Some(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)),
        };
        // Fails only when the sink has gone; its parcels are sent again after a restart.
        if self.reports.send(Report { parcel, error }).is_err() {
            tracing::debug!("delivery report after the sink ended");
        }
    }
}

/// What the library says of options that do not go together; none when a producer can be made of them. It is made without a
/// broker, so that nothing is connected to, and thrown away.
pub fn refuses(settings: &Settings) -> Option<String> {
    // What is wrong by itself is told by others.
    let mut config = config(settings).ok()?;
    config.remove("bootstrap.servers").set_log_level(RDKafkaLogLevel::Emerg);
    match config.create::<BaseProducer>() {
        Err(KafkaError::ClientCreation(why)) => Some(why),
        _ => None,
    }
}

/// Makes a producer.
pub(super) fn producer(settings: &Settings, context: Context) -> Result<Producer, SinkError> {
    config(settings)?.create_with_context(context).map_err(|error| {
        let what = redacted(&error.to_string(), &settings.options);
        SinkError::Settings(format!("cannot make a Kafka producer: {what}; correct [kafka.options]"))
    })
}

/// The options as librdkafka takes them.
///
/// # Errors
/// For an option that is not known, has a bad value or is not the operator's to choose; values are not shown.
pub(super) fn config(settings: &Settings) -> Result<ClientConfig, SinkError> {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Warning);
    for (names, value) in DEFAULTS {
        if let Some(name) = names.first()
            && !names.iter().any(|name| settings.options.contains_key(*name))
        {
            config.set(*name, value);
        }
    }
    for (name, value) in &settings.options {
        if OWNED.contains(&name.as_str()) {
            return Err(SinkError::Settings(format!(
                "option {name} of the sink is set by outlierd; remove it"
            )));
        }
        let mut alone = ClientConfig::new();
        alone.set(name, value);
        if alone.create_native_config().is_err() {
            let what =
                "is not known to librdkafka, or its value does not fit; see librdkafka's CONFIGURATION.md";
            return Err(SinkError::Settings(format!("option {name} of the sink {what}")));
        }
        config.set(name, value);
    }
    config.set("bootstrap.servers", &settings.brokers);
    config.set("enable.idempotence", "true");
    config.set("acks", "all");
    config.set("message.max.bytes", settings.message_max.saturating_add(ENVELOPE).to_string());
    Ok(config)
}

/// What a look at the cluster says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    Present,
    Missing,
    Forbidden,
    /// It could not be seen, and why.
    Unknown(String),
}

/// Asks a broker for a topic, for so long at most.
pub(super) fn look(producer: &Producer, topic: &str, timeout: Duration) -> Sight {
    let metadata = match producer.client().fetch_metadata(Some(topic), timeout) {
        Ok(metadata) => metadata,
        Err(error) => {
            let reason =
                error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
            return Sight::Unknown(format!("no broker answers: {reason}"));
        }
    };
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Sight::Missing;
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Sight::Present,
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Sight::Missing,
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Sight::Forbidden,
        Some(code) => Sight::Unknown(format!("topic {topic}: {code}")),
    }
}

/// A message of librdkafka without the options' values, which may be secrets.
pub(super) fn redacted(text: &str, options: &BTreeMap<String, String>) -> String {
    let values = options.values().filter(|value| value.len() > 3);
    values.fold(text.to_owned(), |text, value| text.replace(value.as_str(), "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Settings {
        Settings {
            brokers: "localhost:9092".into(),
            alerts_topic: "alerts".into(),
            dead_letter_topic: None,
            options: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            message_max: 900_000,
            flush_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn an_option_replaces_a_default_under_any_of_its_names() {
        let config = config(&with("queue.buffering.max.ms", "50")).expect("fits");
        assert_eq!((config.get("queue.buffering.max.ms"), config.get("linger.ms")), (Some("50"), None));
        assert_eq!(config.get("message.timeout.ms"), Some("0"));
        assert_eq!(config.get("message.max.bytes"), Some("1000000"));
        config.create_native_config().expect("librdkafka knows every default");
    }

    #[test]
    fn what_would_lose_alerts_is_refused() {
        for name in ["acks", "enable.idempotence", "delivery.report.only.error", "plugin.library.paths"] {
            let error = config(&with(name, "1")).expect_err(name).to_string();
            assert!(error.contains(name) && error.contains("set by outlierd"), "{error}");
        }
    }

    #[test]
    fn no_value_is_shown() {
        for name in ["sasl.pasword", "linger.ms", "sasl.password\0"] {
            let settings = with(name, "hunter2-secret");
            let error = config(&settings).expect_err(name);
            assert!(
                !error.to_string().contains("hunter2") && !format!("{error:?}").contains("hunter2"),
                "{error}"
            );
            assert!(!format!("{settings:?}").contains("hunter2"));
        }
        let options = BTreeMap::from([("ssl.key.pem".to_owned(), "hunter2".to_owned())]);
        assert_eq!(redacted("ssl.key.pem failed: hunter2", &options), "ssl.key.pem failed: ***");
    }
}
