//! What librdkafka calls back into. Callbacks only note what happened; the session acts on it after the poll.
//!
//! Answering a rebalance needs requests to the broker and waiting, and a callback can do neither with a bound,
//! so the answer (exactly one assign or unassign for each) is left to the session. The exception is a consumer
//! that is being closed: then nobody polls for records, and the callback answers itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use serde::Deserialize;

use super::options::redact;
use crate::flow::Lane;
use crate::source::Status;

/// What the group decided.
#[derive(Debug)]
pub(super) enum Change {
    /// These are ours now, once we say where to begin.
    Assign(Vec<Lane>),
    /// These are to be given up; when lost, others may have them already.
    Revoke {
        /// Which.
        lanes: Vec<Lane>,
        /// Whether the group has moved on without us.
        lost: bool,
    },
}

/// Receives callbacks, on the thread that polls, or in the end on the one that drops the consumer.
pub(super) struct Context {
    brokers: String,
    secrets: Vec<String>,
    status: Arc<Status>,
    closing: AtomicBool,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    changes: VecDeque<Change>,
    reason: String,
}

impl Context {
    pub(super) fn new(brokers: String, secrets: Vec<String>, status: Arc<Status>) -> Self {
        Self { brokers, secrets, status, closing: AtomicBool::new(false), noted: Mutex::default() }
    }

    /// What the group decided and nobody has handled, oldest first.
    pub(super) fn take_changes(&self) -> VecDeque<Change> {
        std::mem::take(&mut self.noted().changes)
    }

    /// The words that came with the last error, without secrets.
    pub(super) fn reason(&self) -> String {
        self.noted().reason.clone()
    }

    /// From now on rebalances are answered in the callback: the consumer is about to be dropped.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closing_rebalance(consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        // The library treats an assign while closing as an unassign, but waits for an answer all the same.
        let answered = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            _ => consumer.unassign(),
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "giving up partitions while closing failed");
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = redact(message, &self.secrets);
        match level {
            // The library's errors concern connections: it goes on by itself, nothing is lost.
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "librdkafka"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility, message, "librdkafka");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility, message, "librdkafka"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else {
            tracing::debug!("statistics of librdkafka cannot be read");
            return;
        };
        let up = |broker: &BrokerStatistics| broker.nodeid >= 0 && broker.state == "UP";
        if statistics.brokers.values().any(up) {
            self.status.connected();
        } else {
            self.status.disconnected(None);
        }
        for (topic, topic_statistics) in &statistics.topics {
            let topic: Arc<str> = Arc::from(topic.as_str());
            for partition in topic_statistics.partitions.values() {
                let end = if partition.ls_offset >= 0 { partition.ls_offset } else { partition.hi_offset };
                if partition.partition >= 0 && end >= 0 {
                    let lane = Lane { topic: Arc::clone(&topic), partition: partition.partition };
                    self.status.end(&lane, end);
                }
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = redact(reason, &self.secrets);
        match error.rdkafka_error_code() {
            // Says how many are down; the error before said why.
            Some(RDKafkaErrorCode::AllBrokersDown) => self.status.disconnected(None),
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::OperationTimedOut,
            ) => {
                let waiting = format!("waiting for broker {}: {}", self.brokers, cause(&reason));
                if self.status.report().connected {
                    self.status.error(waiting);
                } else {
                    self.status.disconnected(Some(waiting));
                }
            }
            _ => {}
        }
        self.noted().reason = reason;
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Relaxed) {
            return Self::closing_rebalance(consumer, list);
        }
        let lanes = list
            .elements()
            .iter()
            .map(|element| Lane { topic: Arc::from(element.topic()), partition: element.partition() })
            .collect();
        let change = if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Change::Assign(lanes)
        } else {
            Change::Revoke { lanes, lost: consumer.assignment_lost() }
        };
        self.noted().changes.push_back(change);
    }
}

/// The part of librdkafka's statistics that is read.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: BTreeMap<String, BrokerStatistics>,
    #[serde(default)]
    topics: BTreeMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    nodeid: i64,
    state: String,
}

#[derive(Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    partitions: BTreeMap<String, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    partition: i32,
    ls_offset: i64,
    hi_offset: i64,
}

/// Why a connection failed, out of librdkafka's
/// `host:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)`.
pub(super) fn cause(reason: &str) -> String {
    let end = reason.find(" (after ").unwrap_or(reason.len());
    let reason = reason.get(..end).unwrap_or(reason);
    let reason = reason.rsplit_once("failed: ").map_or(reason, |(_, cause)| cause);
    let mut letters = reason.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_what_a_person_wants_to_read() {
        let text = "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in \
                    state CONNECT)";
        assert_eq!(cause(text), "connection refused");
        assert_eq!(cause(""), "");
        assert_eq!(cause("Disconnected"), "disconnected");
    }

    #[test]
    fn statistics_say_who_is_up_and_where_a_partition_ends() {
        let status = Arc::new(Status::default());
        let lane = Lane { topic: "t".into(), partition: 3 };
        status.assigned(lane.clone(), crate::source::LaneReport { position: 5, ..Default::default() });
        let context = Context::new(String::new(), Vec::new(), Arc::clone(&status));
        let up = br#"{"brokers":{"a":{"nodeid":1,"state":"UP","x":1}},"topics":{"t":{"partitions":{
            "3":{"partition":3,"ls_offset":9,"hi_offset":11},"-1":{"partition":-1,"ls_offset":-1001,"hi_offset":-1001}}}}}"#;
        context.stats_raw(up);
        let report = status.report();
        assert!(report.connected);
        assert_eq!(report.lanes[&lane].lag(), Some(4));
        context.stats_raw(br#"{"brokers":{"a":{"nodeid":-1,"state":"UP"},"b":{"nodeid":1,"state":"DOWN"}}}"#);
        assert!(!status.report().connected);
        context.stats_raw(b"nonsense");
    }
}
