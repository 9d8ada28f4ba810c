//! Whether librdkafka takes the options together: each may be right by itself.
//!
//! Only the library knows, so clients are made and thrown away. They have no broker to connect to, and nothing of security:
//! its files and secrets may lie on another machine.

use super::keys::OPTIONS;
use super::resolve::Faults;
use super::{Config, SinkConfig, SourceConfig};
use crate::{sink, source};

/// Options that are not about how the client is built.
const APART: &[&str] = &["debug", "enable.ssl.", "sasl.", "security.", "ssl."];

/// Other names of options, by which the library does not complain.
const ALIASES: &[(&str, &str)] = &[
    ("compression.type", "compression.codec"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("max.in.flight.requests.per.connection", "max.in.flight"),
    ("linger.ms", "queue.buffering.max.ms"),
];

/// Tells what the consumer's or the producer's options are refused for. With options that are known to be wrong it would
/// be no news.
pub(super) fn together(config: &Config, faults: &mut Faults<'_>) {
    if faults.found.iter().any(|fault| fault.key.starts_with("kafka.")) {
        return;
    }
    let apart = |name: &str| APART.iter().any(|beginning| name.starts_with(beginning));
    let mut said = Vec::new();
    let mut given = Vec::new();
    if let SourceConfig::Kafka(settings) = &config.source {
        let mut settings = settings.clone();
        settings.options.retain(|(name, _)| !apart(name));
        given.extend(settings.options.iter().map(|(name, _)| name.clone()));
        said.extend(source::kafka::refuses(&settings));
    }
    if let SinkConfig::Kafka(settings) = &config.sink {
        let mut settings = settings.clone();
        settings.options.retain(|name, _| !apart(name));
        given.extend(settings.options.keys().cloned());
        said.extend(sink::kafka::refuses(&settings));
    }
    for text in said {
        let named = words(&text).find_map(|word| given.iter().find(|name| is_called(name, word)));
        let key = named.map_or_else(|| OPTIONS.to_owned(), |name| format!("{OPTIONS}.{name}"));
        let what =
            format!("is refused by librdkafka, the others being as they are: {text}; correct one of them");
        faults.say(&key, what);
    }
}

/// Words that could be names of options.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    text.split(move |c| !part(c)).map(|word| word.trim_end_matches('.'))
}

fn is_called(name: &str, word: &str) -> bool {
    name == word || ALIASES.contains(&(name, word)) || ALIASES.contains(&(word, name))
}
