//! Whether a topic may be written to, without writing to it.
//!
//! A record is sent that asks for two acknowledgements. Brokers know none, one and all: they look at the rights first,
//! then refuse the number with `INVALID_REQUIRED_ACKS`, and append nothing. So the answer tells the right from its
//! lack, and no reader of the topic ever sees a thing. For a person who asks; the daemon learns it by writing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};
use rdkafka::statistics::Statistics;

use super::Settings;
use super::client::{config, redacted};

/// A number of acknowledgements that librdkafka sends and no broker grants.
const NOBODY_GRANTS: &str = "2";

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(50);

/// What a broker says to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It may be written; nothing was.
    Allowed,
    /// It may not.
    Forbidden,
    /// It may be written, and the empty record that asked stays there: this broker is not as strict as Kafka.
    Written,
}

struct Notes {
    answer: Arc<Mutex<Option<Result<(), Code>>>>,
}

impl ClientContext for Notes {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ProducerContext for Notes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let answer = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

/// Asks for the right to write to a partition that is there, for so long at most.
///
/// # Errors
/// Why nothing is known, without values of options.
pub fn ask(settings: &Settings, topic: &str, partition: i32, timeout: Duration) -> Result<Write, String> {
    let deadline = now() + timeout;
    let text = |error: &KafkaError| redacted(&error.to_string(), &settings.options);
    let mut config = config(settings).map_err(|error| error.to_string())?;
    let milliseconds = timeout.as_millis().max(1).to_string();
    config
        .set("enable.idempotence", "false")
        .set("acks", NOBODY_GRANTS)
        .set("linger.ms", "0")
        .set("retries", "0")
        .set("message.timeout.ms", milliseconds);
    let answer = Arc::default();
    let notes = Notes { answer: Arc::clone(&answer) };
    let producer: BaseProducer<Notes> = config.create_with_context(notes).map_err(|error| text(&error))?;
    let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(partition);
    producer.send(record).map_err(|(error, _)| text(&error))?;
    while now() < deadline {
        producer.poll(POLL);
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        match answer {
            None => {}
            Some(Ok(())) => return Ok(Write::Written),
            Some(Err(Code::InvalidRequiredAcks)) => return Ok(Write::Allowed),
            Some(Err(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)) => {
                return Ok(Write::Forbidden);
            }
            Some(Err(code)) => return Err(code.to_string()),
        }
    }
    // Dropping the producer gives up the record.
    Err(format!("no answer within {timeout:?}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a question to a broker needs a deadline; no verdict sees the time"
)]
fn now() -> Instant {
    Instant::now()
}
