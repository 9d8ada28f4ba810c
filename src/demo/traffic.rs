//! What goes into the broker and what is read back: the demo's own clients, apart from the daemon's.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use super::generate::{Generated, Generator, Planted};
use super::scoreboard::Scoreboard;
use super::{DemoError, Settings, Topics};
use crate::daemon::{Progress, Stop};

/// How far the writer may be ahead of the daemon, in events: the broker in this process keeps little.
const AHEAD_MAX: u64 = 12_000;
/// Events between two looks at how far the daemon is.
const STRIDE: u64 = 500;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Learns from the broker where a planted event went.
struct Placed {
    topics: Arc<Topics>,
    scoreboard: Arc<Mutex<Scoreboard>>,
}

impl ClientContext for Placed {}

impl ProducerContext for Placed {
    type DeliveryOpaque = Box<Option<Planted>>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, planted: Self::DeliveryOpaque) {
        if let (Ok(message), Some(planted)) = (delivered, *planted)
            && let Some(topic) = self.topics.named(message.topic())
        {
            let mut scoreboard = self.scoreboard.lock().unwrap_or_else(PoisonError::into_inner);
            scoreboard.planted(topic, message.partition(), message.offset(), planted);
        }
    }
}

/// Starts writing the stream, never far ahead of what is judged.
pub(super) fn write(
    settings: &Settings,
    bootstrap: &str,
    topics: &Arc<Topics>,
    scoreboard: &Arc<Mutex<Scoreboard>>,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<JoinHandle<Result<(), DemoError>>, DemoError> {
    let context = Placed { topics: Arc::clone(topics), scoreboard: Arc::clone(scoreboard) };
    let producer: ThreadedProducer<Placed> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("linger.ms", "5")
        .set("partitioner", "murmur2_random")
        .create_with_context(context)
        .map_err(broken)?;
    let events = usize::try_from(settings.events).unwrap_or(usize::MAX);
    let generator = Generator::new(settings.seed, settings.events).take(events);
    let (topics, progress, stop) = (Arc::clone(topics), Arc::clone(progress), stop.clone());
    let body = move || {
        for (event, sent) in generator.zip(0_u64..) {
            let done = || progress.judged.load(Ordering::Relaxed) + progress.rejected.load(Ordering::Relaxed);
            while sent.is_multiple_of(STRIDE) && sent >= done() + AHEAD_MAX && !stop.is_set() {
                thread::sleep(Duration::from_millis(2));
            }
            if stop.is_set() {
                break;
            }
            send(&producer, topics.of(event.topic), &event)?;
        }
        producer.flush(TIMEOUT).map_err(broken)
    };
    thread::Builder::new().name("demo-writer".into()).spawn(body).map_err(DemoError::Output)
}

fn send(producer: &ThreadedProducer<Placed>, topic: &str, event: &Generated) -> Result<(), DemoError> {
    let mut record =
        BaseRecord::with_opaque_to(topic, Box::new(event.planted)).key(&event.key).payload(&event.payload);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                thread::sleep(Duration::from_millis(2));
            }
            Err((error, _)) => return Err(broken(error)),
        }
    }
}

/// Creates the demo's topics on a real broker.
pub(super) fn create_topics(brokers: &str, wanted: &[(&String, i32)]) -> Result<(), DemoError> {
    let client: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().map_err(broken)?;
    let topics: Vec<NewTopic<'_>> = wanted
        .iter()
        .map(|(name, partitions)| NewTopic::new(name, *partitions, TopicReplication::Fixed(1)))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
    let results = runtime.block_on(client.create_topics(&topics, &options)).map_err(broken)?;
    for result in results {
        if let Err((name, code)) = result
            && code != RDKafkaErrorCode::TopicAlreadyExists
        {
            return Err(DemoError::Broker(format!("cannot create topic {name} on {brokers}: {code}")));
        }
    }
    Ok(())
}

/// An alert as it stands in the topic.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) count: u64,
    pub(super) closed: bool,
    pub(super) message: String,
}

/// Reads the alert topic from its start.
pub(super) struct AlertReader(BaseConsumer);

impl AlertReader {
    pub(super) fn new(bootstrap: &str, topic: &str) -> Result<Self, DemoError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "outlierd-demo-reader")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "50")
            .create()
            .map_err(broken)?;
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(topic, 0, Offset::Beginning).map_err(broken)?;
        consumer.assign(&place).map_err(broken)?;
        Ok(Self(consumer))
    }

    /// What has come; waits a moment when there is nothing.
    pub(super) fn poll(&mut self) -> Result<Vec<Heard>, DemoError> {
        let mut heard = Vec::new();
        let mut wait = Duration::from_millis(50);
        while let Some(message) = self.0.poll(wait) {
            wait = Duration::ZERO;
            match message {
                Ok(message) => heard.extend(message.payload().and_then(read)),
                Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure)) => {}
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(heard)
    }
}

fn read(payload: &[u8]) -> Option<Heard> {
    let alert: Value = serde_json::from_slice(payload).ok()?;
    let text = |pointer: &str| alert.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let number = |pointer: &str| alert.pointer(pointer).and_then(Value::as_i64);
    Some(Heard {
        topic: text("/outlierd/source/topic")?,
        partition: i32::try_from(number("/outlierd/source/partition")?).ok()?,
        offset: number("/outlierd/source/offset")?,
        count: u64::try_from(number("/outlierd/incident/count")?).ok()?,
        closed: text("/event/action")? == "incident-closed",
        message: text("/message")?,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn broken(error: KafkaError) -> DemoError {
    DemoError::Broker(format!("broker: {error}"))
}
