//! A look at the cluster: whether a broker answers, and whether it has the topics.
//!
//! For checking settings. It joins no group, reads nothing, makes no topic and waits no longer than it was told.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataTopic;

use super::context::cause;
use super::options::{redact, secrets};
use crate::source::now;

/// How long one question may take, and how long a topic that is not there may take to be known.
const ASK: Duration = Duration::from_millis(500);

/// What is most likely at fault when no broker answers, by librdkafka's words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// Certificates and keys, or whether there is TLS at all.
    Tls,
    /// Who we say that we are.
    Login,
    /// The names of the brokers.
    Names,
    /// The brokers, or their addresses.
    Brokers,
}

impl Suspect {
    /// Judged by what librdkafka said.
    pub fn of(why: &str) -> Self {
        // Addresses may begin with the protocol, which is no complaint.
        let why = why.to_ascii_lowercase().replace("sasl_plaintext://", "").replace("sasl_ssl://", "");
        let why = why.replace("ssl://", "");
        let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
        match () {
            () if says(&["sasl", "authentication"]) => Self::Login,
            () if says(&["ssl", "certificate", "tls"]) => Self::Tls,
            () if says(&["resolve"]) => Self::Names,
            () => Self::Brokers,
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Tls => "check security.protocol and the certificates of [kafka.options] (ssl.ca.location)",
            Self::Login => "check sasl.mechanism, user and password of [kafka.options]",
            Self::Names => "correct the names in [kafka] brokers, or the name server",
            Self::Brokers => {
                "start the broker, or correct [kafka] brokers; a broker that wants TLS closes plain connections"
            }
        }
    }
}

/// Why no broker answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// In librdkafka's words, without values of options.
    pub what: String,
    /// What to look at first.
    pub suspect: Suspect,
}

/// Notes why the broker cannot be reached; what librdkafka logs is for its programmers.
struct Notes {
    secrets: Vec<String>,
    reason: Mutex<Option<String>>,
}

impl ClientContext for Notes {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message = redact(message, &self.secrets), "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // It says how many are down; the error before said why.
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            let reason = redact(reason, &self.secrets);
            *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        }
    }
}

impl ConsumerContext for Notes {}

/// Asks a broker for topics; what is wrong with which of them, by name. Without topics it only asks for the broker.
///
/// # Errors
/// Why no broker answered within `patience`, without values of options.
pub fn probe(
    brokers: &str,
    options: &[(String, String)],
    topics: &[String],
    patience: Duration,
) -> Result<BTreeMap<String, String>, Unanswered> {
    let secrets = secrets(options);
    let mut config = ClientConfig::new();
    config.set("client.id", "outlierd").set_log_level(RDKafkaLogLevel::Warning);
    for (name, value) in options {
        config.set(name, value);
    }
    config.set("bootstrap.servers", brokers).set("allow.auto.create.topics", "false");
    let notes = Notes { secrets: secrets.clone(), reason: Mutex::default() };
    let consumer: BaseConsumer<Notes> = config.create_with_context(notes).map_err(|error| {
        let error = redact(&error.to_string(), &secrets);
        let suspect = Suspect::of(&error);
        Unanswered { what: format!("the kafka client refuses its options: {error}"), suspect }
    })?;
    let deadline = now() + patience;
    // Whatever is wrong with the connection comes with a poll.
    while let Err(error) = consumer.fetch_metadata(topics.first().map(String::as_str), ASK) {
        let _no_records_without_a_group = consumer.poll(Duration::ZERO);
        let reason = consumer.context().reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refused =
            matches!(error.rdkafka_error_code(), Some(Code::Authentication | Code::SaslAuthenticationFailed));
        if refused || now() >= deadline {
            let reason = reason.unwrap_or_else(|| {
                error.rdkafka_error_code().map_or_else(String::new, |code| code.to_string())
            });
            let (why, suspect) = (cause(&reason), Suspect::of(&reason));
            let what = format!("no broker of {brokers} answers within {} s: {why}", patience.as_secs());
            return Err(Unanswered { what, suspect });
        }
    }
    let mut wrong = BTreeMap::new();
    for topic in topics {
        if let Some(what) = look(&consumer, topic) {
            wrong.insert(topic.clone(), what);
        }
    }
    Ok(wrong)
}

/// What is wrong with a topic. A new one takes a moment to be known everywhere: one that is missing is asked for twice.
fn look(consumer: &BaseConsumer<Notes>, topic: &str) -> Option<String> {
    let mut what = None;
    for _ in 0..2 {
        let metadata = match consumer.fetch_metadata(Some(topic), ASK * 4) {
            Ok(metadata) => metadata,
            Err(error) => return Some(format!("the broker says nothing of topic {topic}: {error}")),
        };
        let code =
            metadata.topics().iter().find(|found| found.name() == topic).and_then(MetadataTopic::error);
        what = match code.map(Code::from) {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {
                Some(format!("topic {topic} is not there; create it, or correct the name"))
            }
            Some(Code::TopicAuthorizationFailed) => {
                Some(format!("no permission to describe topic {topic}; grant it to outlierd's user"))
            }
            // It has no leader just now: that passes.
            _ => return None,
        };
        std::thread::sleep(ASK / 2);
    }
    what
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suspect_is_told_by_the_words() {
        for (why, suspect) in [
            (
                "sasl_ssl://a:1/bootstrap: SASL authentication error: Invalid username or password",
                Suspect::Login,
            ),
            ("sasl_ssl://a:1/bootstrap: SSL handshake failed: certificate verify failed", Suspect::Tls),
            ("ssl://a:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused", Suspect::Brokers),
            ("Failed to resolve 'a:1': Name or service not known", Suspect::Names),
        ] {
            assert_eq!(Suspect::of(why), suspect, "{why}");
        }
    }
}
