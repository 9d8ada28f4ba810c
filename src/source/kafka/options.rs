//! The consumer's configuration: what must be so, what may be changed, and what must not be seen.
//!
//! Options pass through to librdkafka, except those on which correctness rests. Their values may be secrets, and
//! the library's messages quote values: only values of keys known to be harmless survive in a message.

use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;

use super::context::Context;
use super::{Settings, SourceError};
use crate::source::Status;

/// Keys that cannot be passed through, and what to do instead.
const RESERVED: &[(&str, &str)] = &[
    ("auto.offset.reset", "set [source] start"),
    ("bootstrap.servers", "set [kafka] brokers"),
    ("enable.auto.commit", "leave it out: offsets are committed once alerts are acknowledged"),
    ("enable.auto.offset.store", "leave it out: offsets are committed once alerts are acknowledged"),
    ("enable.partition.eof", "leave it out"),
    ("group.id", "set [kafka] group"),
    ("group.instance.id", "set [kafka] instance"),
    ("metadata.broker.list", "set [kafka] brokers"),
];

/// Beginnings of keys whose values may be seen in messages.
const HARMLESS: &[&str] = &[
    "api.",
    "auto.",
    "broker.",
    "check.",
    "client.id",
    "client.rack",
    "connections.",
    "debug",
    "fetch.",
    "group.protocol",
    "heartbeat.",
    "isolation.",
    "log.",
    "max.",
    "message.",
    "metadata.",
    "partition.",
    "queued.",
    "receive.",
    "reconnect.",
    "retry.",
    "sasl.mechanism",
    "security.protocol",
    "session.",
    "socket.",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.endpoint.",
    "statistics.",
    "topic.",
];

/// Whether librdkafka takes an option with this value.
///
/// # Errors
/// Why not, in its words; they quote the value.
pub fn accepts(option: &str, value: &str) -> Result<(), String> {
    let mut alone = ClientConfig::new();
    match alone.set(option, value).create_native_config() {
        Ok(_) => Ok(()),
        // A C string in a buffer: what follows its end is no text.
        Err(KafkaError::ClientConfig(_, description, ..)) => {
            Err(description.split('\0').next().unwrap_or_default().trim_end().to_owned())
        }
        Err(other) => Err(other.to_string()),
    }
}

/// What the library says of options that do not go together; none when a consumer can be made of them. It is made without a
/// broker, so that nothing is connected to, and thrown away.
pub fn refuses(settings: &Settings) -> Option<String> {
    // What is wrong by itself is told by others.
    let mut config = config(settings).ok()?;
    config.remove("bootstrap.servers").set_log_level(RDKafkaLogLevel::Emerg);
    match config.create::<BaseConsumer>() {
        Err(KafkaError::ClientCreation(why)) => Some(why),
        _ => None,
    }
}

/// Makes the consumer; connects in the background.
///
/// # Errors
/// [`SourceError::Settings`] when the library refuses an option; it names the key, never the value.
pub(super) fn consumer(
    settings: &Settings,
    status: &Arc<Status>,
) -> Result<BaseConsumer<Context>, SourceError> {
    let config = config(settings)?;
    let secrets = secrets(&settings.options);
    let context = Context::new(settings.brokers.clone(), secrets.clone(), Arc::clone(status));
    config.create_with_context(context).map_err(|error| refusal(&error, &secrets))
}

/// Makes a consumer that says where a partition ends, for reading between two offsets.
///
/// # Errors
/// As [`consumer`].
pub(super) fn bounded(settings: &Settings) -> Result<BaseConsumer<Context>, SourceError> {
    let mut config = config(settings)?;
    config.set("enable.partition.eof", "true");
    let secrets = secrets(&settings.options);
    let context = Context::new(settings.brokers.clone(), secrets.clone(), Arc::default());
    config.create_with_context(context).map_err(|error| refusal(&error, &secrets))
}

fn config(settings: &Settings) -> Result<ClientConfig, SourceError> {
    check(settings)?;
    let mut config = ClientConfig::new();
    let kip848 =
        settings.options.iter().any(|(k, v)| k == "group.protocol" && v.eq_ignore_ascii_case("consumer"));
    if !kip848 {
        // With KIP-848 the broker assigns, and the library refuses the option.
        config.set("partition.assignment.strategy", "cooperative-sticky");
    }
    config
        .set("client.id", "outlierd")
        .set("isolation.level", "read_committed")
        .set("socket.keepalive.enable", "true")
        // Bounds of what is read ahead; one fetch may exceed them by one response.
        .set("queued.max.messages.kbytes", settings.queued_kbytes.to_string())
        .set("queued.min.messages", "10000")
        .set("fetch.message.max.bytes", "1048576")
        .set("fetch.max.bytes", "8388608")
        .set("fetch.queue.backoff.ms", "20")
        // End offsets for the lag, and which brokers are up.
        .set("statistics.interval.ms", "1000")
        // How soon a new topic that fits a pattern, or a new partition, is seen.
        .set("topic.metadata.refresh.interval.ms", "60000");
    for (key, value) in &settings.options {
        config.set(key, value);
    }
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error");
    let debug = settings.options.iter().any(|(key, _)| key == "debug");
    config.set_log_level(if debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
    if let Some(instance) = &settings.instance {
        config.set("group.instance.id", instance);
    }
    Ok(config)
}

fn check(settings: &Settings) -> Result<(), SourceError> {
    let refuse = |message: String| Err(SourceError::Settings(message));
    if settings.topics.is_empty() {
        return refuse("no topics; set [source] topics".to_owned());
    }
    if settings.group.is_empty() || settings.brokers.is_empty() {
        return refuse("brokers or group is empty; set [kafka] brokers and group".to_owned());
    }
    if settings.topics.iter().any(|topic| topic.is_empty() || topic.contains('\0')) {
        return refuse("a topic is empty or holds a NUL; correct [source] topics".to_owned());
    }
    let names = [Some(&settings.brokers), Some(&settings.group), settings.instance.as_ref()];
    if names.into_iter().flatten().any(|name| name.contains('\0')) {
        return refuse("a name holds a NUL; correct [kafka] brokers, group and instance".to_owned());
    }
    for (key, value) in &settings.options {
        if let Some((_, remedy)) = RESERVED.iter().find(|(reserved, _)| reserved == key) {
            return refuse(format!("option {key} cannot be set in [kafka.options]; {remedy}"));
        }
        if key.contains('\0') || value.contains('\0') {
            return refuse("an option holds a NUL; correct [kafka.options]".to_owned());
        }
    }
    Ok(())
}

fn refusal(error: &KafkaError, secrets: &[String]) -> SourceError {
    SourceError::Settings(match error {
        KafkaError::ClientConfig(_, description, key, _) if description.contains("No such") => {
            format!("unknown option {key}; correct [kafka.options], see librdkafka's CONFIGURATION.md")
        }
        KafkaError::ClientConfig(_, _, key, _) => {
            format!(
                "option {key} has a value that librdkafka refuses; correct [kafka.options], see its CONFIGURATION.md"
            )
        }
        KafkaError::ClientCreation(text) => {
            format!(
                "the kafka client refuses its options: {}; correct [kafka.options]",
                redact(text, secrets)
            )
        }
        other => format!("the kafka client cannot be made: {}", redact(&other.to_string(), secrets)),
    })
}

/// Values that must not appear in a message.
pub(super) fn secrets(options: &[(String, String)]) -> Vec<String> {
    let harmless = |key: &str| HARMLESS.iter().any(|beginning| key.starts_with(beginning));
    let values = options.iter().filter(|(key, _)| !harmless(key)).map(|(_, value)| value.clone());
    // A very short value would blot out half of every message, and guards nothing.
    values.filter(|value| value.len() >= 3).collect()
}

/// The text without secrets.
pub(super) fn redact(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[redacted]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: &[(&str, &str)]) -> String {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let settings = Settings { topics: vec!["t".to_owned()], options, ..Settings::default() };
        match consumer(&settings, &Arc::default()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_wrong_option_is_named_without_its_value() {
        let message = refused(&[("sasl.pasword", "hunter22")]);
        assert!(message.starts_with("unknown option sasl.pasword"), "{message}");
        assert!(!message.contains("hunter22"), "{message}");
        let message = refused(&[("fetch.min.bytes", "hunter22")]);
        assert!(message.starts_with("option fetch.min.bytes has a value"), "{message}");
        assert!(!message.contains("hunter22"), "{message}");
    }

    #[test]
    fn what_correctness_rests_on_cannot_be_changed() {
        for (key, _) in RESERVED {
            assert!(refused(&[(key, "true")]).contains("cannot be set in [kafka.options]"), "{key}");
        }
        assert_eq!(refused(&[("fetch.wait.max.ms", "100"), ("group.protocol", "consumer")]), "");
    }

    #[test]
    fn secrets_leave_no_trace_in_messages_or_debug() {
        let options = vec![
            ("sasl.password".to_owned(), "hunter22".to_owned()),
            ("client.id".to_owned(), "visible".to_owned()),
        ];
        let text = redact("hunter22 visible hunter22", &secrets(&options));
        assert_eq!(text, "[redacted] visible [redacted]");
        let settings = Settings { options, ..Settings::default() };
        assert!(!format!("{settings:?}").contains("hunter22"));
    }

    #[test]
    fn a_nul_is_refused_by_the_section_it_stands_in() {
        assert!(refused(&[("client.id", "a\0")]).ends_with("correct [kafka.options]"));
        let settings = || Settings { topics: vec!["t".to_owned()], ..Settings::default() };
        let message = |settings: Settings| check(&settings).unwrap_err().to_string();
        assert!(
            message(Settings { topics: vec!["t\0".to_owned()], ..settings() }).contains("[source] topics")
        );
        assert!(message(Settings { group: "g\0".to_owned(), ..settings() }).contains("[kafka] brokers"));
        let instance = Some("i\0".to_owned());
        assert!(message(Settings { instance, ..settings() }).contains("[kafka] brokers"));
    }

    #[test]
    fn topics_are_needed() {
        let settings = Settings::default();
        assert!(matches!(consumer(&settings, &Arc::default()), Err(SourceError::Settings(_))));
    }
}
