//! Until the first poll for records: the broker must be there, and so must the topics.
//!
//! A broker that is not there yet is waited for, for ever: it may be starting, as we are. A topic that is not
//! there is an error, since a misspelt name would be waited for in vain; only patterns may match nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;

use super::session::Session;
use crate::source::SourceError;

/// How long one question for metadata may take; bounds how late a stop is seen.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How often a topic must be missing, and how long to wait in between: a new one takes a moment to be known.
const ASK: u32 = 4;
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// How long to serve errors and logs before each question.
const SERVE: Duration = Duration::from_millis(20);

/// What a question for a topic brought.
enum Found {
    Yes,
    No,
    NotYet,
}

impl Session<'_> {
    /// Waits for the broker, looks for the topics and joins the group, unless told to stop before.
    ///
    /// # Errors
    /// When topics are missing, or the broker refuses us.
    pub(super) fn connect(&mut self, stop: &AtomicBool) -> Result<(), SourceError> {
        self.status.disconnected(Some(format!("waiting for broker {}", self.settings.brokers)));
        let named = self.settings.topics.iter().filter(|topic| !topic.starts_with('^'));
        let mut missing: Vec<&String> = named.collect();
        let mut asked = 0;
        while !stop.load(Ordering::Relaxed) {
            // Serves errors and logs; there are no records before the group is joined.
            self.turn(SERVE)?;
            let mut answered = true;
            let mut still = Vec::new();
            for topic in missing {
                match self.look_for(topic)? {
                    Found::Yes => {}
                    Found::No => still.push(topic),
                    Found::NotYet => {
                        answered = false;
                        still.push(topic);
                    }
                }
                if !answered {
                    break;
                }
            }
            if !answered {
                missing =
                    self.settings.topics.iter().filter(|topic| !topic.starts_with('^')).collect::<Vec<_>>();
                continue;
            }
            if still.is_empty() {
                return self.join();
            }
            asked += 1;
            if asked >= ASK {
                return Err(SourceError::MissingTopic(still.into_iter().cloned().collect()));
            }
            missing = still;
            std::thread::sleep(ASK_AGAIN);
        }
        Ok(())
    }

    fn look_for(&mut self, topic: &str) -> Result<Found, SourceError> {
        use RDKafkaErrorCode as Code;
        let metadata = match self.consumer.fetch_metadata(Some(topic), TIMEOUT) {
            Ok(metadata) => metadata,
            Err(error) => {
                self.judge_connecting(&error)?;
                return Ok(Found::NotYet);
            }
        };
        self.status.connected();
        let Some(error) = metadata.topics().iter().find(|t| t.name() == topic).and_then(MetadataTopic::error)
        else {
            return Ok(Found::Yes);
        };
        match Code::from(error) {
            Code::UnknownTopicOrPartition | Code::UnknownTopic => Ok(Found::No),
            Code::InvalidTopic => Err(SourceError::Settings(format!(
                "not a topic name: {topic}; correct [source] topics, or begin a pattern with ^"
            ))),
            Code::TopicAuthorizationFailed => {
                Err(SourceError::Refused(format!("no permission to describe topic {topic}")))
            }
            // It has no leader just now: that passes.
            _ => Ok(Found::Yes),
        }
    }

    /// A question that timed out says nothing; what was wrong comes in the next poll.
    fn judge_connecting(&mut self, error: &KafkaError) -> Result<(), SourceError> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::BrokerTransportFailure) => Ok(()),
            _ => self.judge(error, error.to_string()),
        }
    }

    fn join(&mut self) -> Result<(), SourceError> {
        let topics: Vec<&str> = self.settings.topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics).map_err(|error| {
            SourceError::Settings(format!("topics cannot be subscribed to: {error}; correct [source] topics"))
        })
    }
}
