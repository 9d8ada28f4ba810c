//! What the daemon would find at the cluster, without a trace: no group is joined, nothing is committed,
//! no topic comes into being. For a person who wants to know why nothing flows.
//!
//! Whether the group may be joined is asked by committing an offset of a topic that is not there: brokers look at the
//! right, which is the one that joining needs, before they look for the topic, and then keep nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{Message as _, Timestamp};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::context::Context;
use super::starts::list;
use super::{Settings, options};
use crate::flow::Lane;
use crate::source::{SourceError, now};

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// How often to look for the reason of an error, and how long each time.
const REASONS: u32 = 20;
const SERVE: Duration = Duration::from_millis(20);

/// A topic of nobody.
const NOWHERE: &str = "outlierd-doctor-asks-and-nobody-has-this-topic";

/// A connection to look through.
pub struct Probe {
    consumer: Arc<BaseConsumer<Context>>,
}

/// What the cluster says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Its partitions, and those of them that have no leader.
    Present {
        /// All of them.
        partitions: Vec<i32>,
        /// Those that nobody can read or write now.
        leaderless: Vec<i32>,
    },
    /// There is none of that name.
    Missing,
    /// We may not see it.
    Forbidden,
}

/// What came of reading one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The newest record, and its time in milliseconds since 1970 if it has one.
    Record(Option<i64>),
    /// There is none.
    Nothing,
    /// We may not read.
    Forbidden,
}

/// Where a partition begins and ends, and where the group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub lane: Lane,
    /// Its first offset.
    pub low: i64,
    /// The offset after its last.
    pub high: i64,
    /// The next offset that the group would read; none before its first commit.
    pub committed: Option<i64>,
}

impl Probe {
    /// Makes the client; connects in the background.
    ///
    /// # Errors
    /// [`SourceError::Settings`] when the library refuses an option.
    pub fn open(settings: &Settings) -> Result<Self, SourceError> {
        Ok(Self { consumer: Arc::new(options::bounded(settings)?) })
    }

    /// The brokers of the cluster, `host:port`, and what it says of a topic.
    ///
    /// # Errors
    /// Why no broker answered, in the library's words without secrets.
    pub fn topic(&self, name: &str, timeout: Duration) -> Result<(Vec<String>, Sight), String> {
        let metadata = self.consumer.fetch_metadata(Some(name), timeout).map_err(|error| self.why(&error))?;
        let brokers = metadata.brokers().iter();
        let brokers = brokers.map(|broker| format!("{}:{}", broker.host(), broker.port())).collect();
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
            return Ok((brokers, Sight::Missing));
        };
        let sight = match topic.error().map(Code::from) {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::InvalidTopic) => Sight::Missing,
            Some(Code::TopicAuthorizationFailed) => Sight::Forbidden,
            _ => present(topic),
        };
        Ok((brokers, sight))
    }

    /// All topics that we may see, and how many partitions each has.
    ///
    /// # Errors
    /// Why no broker answered.
    pub fn topics(&self, timeout: Duration) -> Result<BTreeMap<String, usize>, String> {
        let metadata = self.consumer.fetch_metadata(None, timeout).map_err(|error| self.why(&error))?;
        let topics = metadata.topics().iter();
        Ok(topics.map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect())
    }

    /// Whether we may join the group.
    ///
    /// # Errors
    /// Why nothing is known.
    pub fn may_join(&self, timeout: Duration) -> Result<bool, String> {
        let deadline = now() + timeout;
        let error = loop {
            match self.commit_nowhere(deadline)? {
                // Somebody made a topic of that name.
                Ok(()) => return Ok(true),
                Err(error) if passes(&error) && now() + SERVE < deadline => std::thread::sleep(SERVE),
                Err(error) => break error,
            }
        };
        match error.rdkafka_error_code() {
            Some(Code::GroupAuthorizationFailed) => Ok(false),
            // Past the group's right: there is no such topic, or none that we may see; or the group has members.
            Some(
                Code::UnknownTopicOrPartition
                | Code::TopicAuthorizationFailed
                | Code::UnknownMemberId
                | Code::IllegalGeneration,
            ) => Ok(true),
            _ => Err(self.why(&error)),
        }
    }

    fn commit_nowhere(&self, deadline: Instant) -> Result<KafkaResult<()>, String> {
        let place = list([(&lane(NOWHERE, 0), Offset::Offset(0))].into_iter());
        // It has no time limit of its own but the session's, which is long; what is left of it ends with the program.
        let (answers, answer) = crossbeam_channel::bounded(1);
        let consumer = Arc::clone(&self.consumer);
        let asked = std::thread::Builder::new().name("may-join".to_owned()).spawn(move || {
            let _nobody_waits = answers.send(consumer.commit(&place, CommitMode::Sync));
        });
        asked.map_err(|error| format!("no thread to ask with: {error}"))?;
        let left = deadline.saturating_duration_since(now());
        answer.recv_timeout(left).map_err(|_late| "no answer in time".to_owned())
    }

    /// Reads the newest record of a partition.
    ///
    /// # Errors
    /// Why it could not be tried.
    pub fn read(&self, lane: &Lane, timeout: Duration) -> Result<Read, String> {
        let deadline = now() + timeout;
        let marks = self.consumer.fetch_watermarks(&lane.topic, lane.partition, timeout);
        let (low, high) = match marks {
            Ok(marks) => marks,
            Err(error) => return self.forbidden(&error),
        };
        if low >= high {
            return Ok(Read::Nothing);
        }
        self.fetch(lane, Offset::Offset(high - 1), deadline)
    }

    /// Whether a partition may be read that may hold nothing: the question for its bounds needs less than reading.
    ///
    /// # Errors
    /// Why it could not be tried.
    pub fn may_read(&self, lane: &Lane, timeout: Duration) -> Result<bool, String> {
        Ok(self.fetch(lane, Offset::End, now() + timeout)? != Read::Forbidden)
    }

    fn fetch(&self, lane: &Lane, from: Offset, deadline: Instant) -> Result<Read, String> {
        let place = list([(lane, from)].into_iter());
        self.consumer.assign(&place).map_err(|error| self.why(&error))?;
        let mut outcome = Err("no record came in time".to_owned());
        while now() < deadline {
            match self.consumer.poll(POLL) {
                None => continue,
                Some(Ok(message)) => {
                    outcome = Ok(Read::Record(match message.timestamp() {
                        Timestamp::CreateTime(time) | Timestamp::LogAppendTime(time) => Some(time),
                        Timestamp::NotAvailable => None,
                    }));
                }
                // The newest may be a mark of a transaction, which is no record.
                Some(Err(KafkaError::PartitionEOF(_))) => outcome = Ok(Read::Nothing),
                Some(Err(error)) => {
                    outcome = self.forbidden(&error);
                    // The group's troubles come here too, and those of connections pass.
                    if outcome.is_err() {
                        continue;
                    }
                }
            }
            break;
        }
        let _nothing_to_give_up = self.consumer.unassign().is_err();
        outcome
    }

    /// Where the group stands in each partition; fewer than asked for when time runs out.
    ///
    /// # Errors
    /// When the group's offsets may not be seen, or nobody answers.
    pub fn positions(&self, lanes: &[Lane], timeout: Duration) -> Result<Vec<Position>, String> {
        let deadline = now() + timeout;
        let mut asked = TopicPartitionList::with_capacity(lanes.len());
        for lane in lanes {
            asked.add_partition(&lane.topic, lane.partition);
        }
        let committed = loop {
            let left = deadline.saturating_duration_since(now());
            match self.consumer.committed_offsets(asked.clone(), left) {
                Ok(committed) => break committed,
                Err(error) if passes(&error) && now() + SERVE < deadline => std::thread::sleep(SERVE),
                Err(error) => return Err(self.why(&error)),
            }
        };
        let mut positions = Vec::new();
        for lane in lanes {
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                break;
            }
            let Ok((low, high)) = self.consumer.fetch_watermarks(&lane.topic, lane.partition, left) else {
                continue;
            };
            let committed = committed.find_partition(&lane.topic, lane.partition);
            let committed = committed.and_then(|element| match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            });
            positions.push(Position { lane: lane.clone(), low, high, committed });
        }
        Ok(positions)
    }

    fn forbidden(&self, error: &KafkaError) -> Result<Read, String> {
        match error.rdkafka_error_code() {
            Some(Code::TopicAuthorizationFailed) => Ok(Read::Forbidden),
            _ => Err(self.why(error)),
        }
    }

    /// What went wrong: the reason that the library gave last, which says more than its code.
    fn why(&self, error: &KafkaError) -> String {
        let mut reason = self.consumer.context().reason();
        for _ in 0..REASONS {
            if !reason.is_empty() {
                break;
            }
            // Serves the callbacks, one of which brings it.
            let _no_record = self.consumer.poll(SERVE);
            reason = self.consumer.context().reason();
        }
        let code = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
        if reason.is_empty() { code } else { format!("{code}: {reason}") }
    }
}

/// Whether the group's coordinator is only on its way: a cluster finds one when it is first asked.
fn passes(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress)
    )
}

fn present(topic: &MetadataTopic) -> Sight {
    let mut partitions: Vec<i32> = topic.partitions().iter().map(MetadataPartition::id).collect();
    partitions.sort_unstable();
    let led = topic.partitions().iter().filter(|partition| partition.leader() < 0);
    Sight::Present { partitions, leaderless: led.map(MetadataPartition::id).collect() }
}

/// A lane of a topic.
pub fn lane(topic: &str, partition: i32) -> Lane {
    Lane { topic: Arc::from(topic), partition }
}
