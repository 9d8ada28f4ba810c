//! The Kafka sink against librdkafka's mock cluster; the file sink beside it against real files.

mod files;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use outlierd::flow::{
    Alert, ChannelSurprise, Evidence, Fault, Lane, Origin, Phase, Reason, Record, Rejection, Schema, Time,
    Traced, Verdict,
};
use outlierd::pipeline::{Action, Ticket};
use outlierd::sink::{Acks, Outgoing, Provenance, SinkError, Status, kafka};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Wrong};
use rdkafka::{Offset, TopicPartitionList};

type Cluster = MockCluster<'static, DefaultProducerContext>;

const WAIT: Duration = Duration::from_secs(30);

fn lane(partition: i32) -> Lane {
    Lane { topic: "logs".into(), partition }
}

fn ticket(partition: i32, offset: i64) -> Ticket {
    Ticket { lane: lane(partition), generation: 1, offset }
}

fn alert(partition: i32, offset: i64, key: Option<&str>, payload: &[u8]) -> Outgoing {
    let reason = Reason {
        channel: "text",
        field: "/message".into(),
        value: "segfault".into(),
        expected: "never seen before".into(),
        context: None,
    };
    let verdict = Verdict {
        surprise: 14.2,
        threshold: 9.1,
        channels: vec![ChannelSurprise {
            channel: "text",
            field: "/message".into(),
            score: 3.0,
            surprise: 14.0,
        }],
        admitted: false,
        seen: 1_000,
        warm: true,
        evidence: Some(Evidence { reasons: vec![reason], neighbours: Vec::new() }),
    };
    let alert = Alert {
        origin: Origin { lane: lane(partition), offset, time: Time(1_709_210_096_789) },
        phase: Phase::Opened,
        count: 1,
        last_offset: offset,
        last_time: Time(1_709_210_096_789),
        verdict,
        record: Arc::new(Record {
            key: key.map(|key| key.as_bytes().to_vec()),
            payload: Some(payload.to_vec()),
            headers: Vec::new(),
        }),
        schema: Arc::new(Schema::default()),
    };
    Outgoing::Alert { shard: 0, ticket: ticket(partition, offset), alert: Box::new(alert) }
}

fn reject(offset: i64, payload: Vec<u8>) -> Outgoing {
    let record = Record {
        key: Some(b"k".to_vec()),
        payload: Some(payload),
        headers: vec![("trace".into(), Some(b"t1".to_vec()))],
    };
    let origin = Origin { lane: lane(0), offset, time: Time(1_709_210_096_789) };
    let rejection =
        Rejection { fault: Fault::NotUtf8, stage: "decode", message: "byte 0 is not UTF-8".into() };
    Outgoing::Reject {
        shard: 0,
        ticket: ticket(0, offset),
        record: Traced { origin, value: Arc::new(record) },
        rejection,
    }
}

fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).expect("mock cluster");
    cluster.create_topic("alerts", 4, 1).expect("topic");
    cluster.create_topic("dead", 1, 1).expect("topic");
    cluster
}

fn settings(cluster: &Cluster) -> kafka::Settings {
    kafka::Settings {
        brokers: cluster.bootstrap_servers(),
        alerts_topic: "alerts".into(),
        dead_letter_topic: Some("dead".into()),
        options: BTreeMap::new(),
        message_max: 900_000,
        flush_timeout: Duration::from_secs(10),
    }
}

fn provenance() -> Provenance {
    Provenance { service: "demo".into(), version: "0.1.0".into(), ..Provenance::default() }
}

/// A Kafka sink on its thread.
struct Running {
    give: Option<Sender<Outgoing>>,
    acked: Receiver<Action>,
    status: Arc<Status>,
    thread: JoinHandle<Result<(), SinkError>>,
}

impl Running {
    fn start(settings: kafka::Settings) -> Self {
        let (give, outgoing) = bounded(64);
        let (ack, acked) = bounded(4_096);
        let status = Arc::new(Status::default());
        let (acks, theirs) = (Acks::new(vec![ack]), Arc::clone(&status));
        let thread = thread::Builder::new().name("sink".into());
        let thread = thread.spawn(move || kafka::run(&settings, &provenance(), outgoing, acks, theirs));
        Self { give: Some(give), acked, status, thread: thread.expect("thread") }
    }

    fn give(&self, outgoing: Outgoing) {
        self.give.as_ref().expect("open").send_timeout(outgoing, WAIT).expect("taken");
    }

    fn acked(&self) -> (i32, i64) {
        match self.acked.recv_timeout(WAIT).expect("acknowledged") {
            Action::Published(ticket) => (ticket.lane.partition, ticket.offset),
            other => panic!("{other:?}"),
        }
    }

    fn eventually(&self, what: &str, holds: impl Fn(&Status) -> bool) {
        for _ in 0..1_500 {
            if holds(&self.status) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("never {what}: {:?}", self.status);
    }

    fn stop(mut self) -> Result<(), SinkError> {
        self.give = None;
        self.thread.join().expect("no panic")
    }
}

/// The first messages of a topic, by partition and offset.
fn read(cluster: &Cluster, topic: &str, count: usize) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "reader")
        .create()
        .expect("consumer");
    let metadata = consumer.fetch_metadata(Some(topic), WAIT).expect("metadata");
    let mut partitions = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        partitions.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("offset");
    }
    consumer.assign(&partitions).expect("assigned");
    drop(partitions);
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.push(consumer.poll(WAIT).expect("a message in time").expect("no error").detach());
    }
    // One more would be one too many.
    if let Some(Ok(extra)) = consumer.poll(Duration::from_millis(300)) {
        panic!("unexpected message: {extra:?}");
    }
    messages.sort_by_key(|message| (message.partition(), message.offset()));
    messages
}

fn headers(message: &OwnedMessage) -> Vec<(String, Option<String>)> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("text");
    let headers = message.headers().expect("headers");
    headers.iter().map(|header| (header.key.to_owned(), header.value.map(text))).collect()
}

fn body(message: &OwnedMessage) -> serde_json::Value {
    serde_json::from_slice(message.payload().expect("body")).expect("JSON")
}

fn id(message: &OwnedMessage) -> String {
    body(message)["event"]["id"].as_str().expect("id").to_owned()
}

#[test]
fn alerts_carry_key_headers_and_body_and_are_acknowledged() {
    let cluster = cluster();
    let sink = Running::start(settings(&cluster));
    sink.give(alert(3, 12_345, Some("host-7"), br#"{"message":"segfault"}"#));
    sink.give(alert(3, 12_346, None, b"plain"));
    let mut acked = [sink.acked(), sink.acked()];
    acked.sort_unstable();
    assert_eq!(acked, [(3, 12_345), (3, 12_346)]);
    assert!(sink.status.ready() && sink.status.trouble().is_none());
    assert_eq!((sink.status.published(), sink.status.rejected()), (2, 0));
    sink.stop().expect("flushed");

    let messages = read(&cluster, "alerts", 2);
    let keyed = messages.iter().find(|message| message.key() == Some(b"host-7")).expect("by its key");
    assert!(messages.iter().any(|message| message.key() == Some(b"logs-3")), "by its lane");
    let headers = headers(keyed);
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_id", "logs-3-12345"),
        ("ce_type", "io.outlierd.incident.opened"),
        ("ce_source", "/outlierd/logs/3"),
        ("ce_time", "2024-02-29T12:34:56.789Z"),
        ("ce_subject", "host-7"),
        ("content-type", "application/json"),
    ] {
        assert!(headers.contains(&(name.to_owned(), Some(value.to_owned()))), "{name} in {headers:?}");
    }
    let body = body(keyed);
    assert_eq!(body["event"]["id"], "logs-3-12345");
    assert_eq!(body["event"]["original"], r#"{"message":"segfault"}"#);
    assert_eq!(body["outlierd"]["service"], "demo");
}

#[test]
fn a_duplicate_is_the_same_bytes_in_the_same_partition() {
    let cluster = cluster();
    for _ in 0..2 {
        let sink = Running::start(settings(&cluster));
        sink.give(alert(0, 7, Some("customer-596"), b"x"));
        sink.stop().expect("flushed");
    }
    let messages = read(&cluster, "alerts", 2);
    assert_eq!(messages[0].payload(), messages[1].payload());
    assert_eq!(headers(&messages[0]), headers(&messages[1]));
    assert_eq!(messages[0].partition(), messages[1].partition());
}

#[test]
fn dead_letters_keep_the_record_and_name_the_fault_as_connect_does() {
    let cluster = cluster();
    let sink = Running::start(settings(&cluster));
    sink.give(reject(9, b"\xff{".to_vec()));
    sink.give(reject(10, vec![b'x'; 2_000_000]));
    assert_eq!([sink.acked(), sink.acked()], [(0, 9), (0, 10)]);
    assert_eq!(sink.status.rejected(), 2);
    sink.stop().expect("flushed");

    let messages = read(&cluster, "dead", 2);
    let (whole, cut) = (&messages[0], &messages[1]);
    assert_eq!((whole.key(), whole.payload()), (Some(&b"k"[..]), Some(&b"\xff{"[..])));
    assert_eq!(whole.timestamp().to_millis(), Some(1_709_210_096_789));
    let text = |value: &str| Some(value.to_owned());
    let expected = [
        ("trace", text("t1")),
        ("__connect.errors.topic", text("logs")),
        ("__connect.errors.partition", text("0")),
        ("__connect.errors.offset", text("9")),
        ("__connect.errors.connector.name", text("demo")),
        ("__connect.errors.task.id", text("0")),
        ("__connect.errors.stage", text("decode")),
        ("__connect.errors.class.name", text("outlierd.decode")),
        ("__connect.errors.exception.class.name", text("not_utf8")),
        ("__connect.errors.exception.message", text("byte 0 is not UTF-8")),
        ("__connect.errors.exception.stacktrace", None),
    ];
    assert_eq!(headers(whole), expected.map(|(name, value)| (name.to_owned(), value)));
    let length = cut.payload().map_or(0, <[u8]>::len);
    assert!(length > 890_000 && length < 900_000, "{length}");
    assert!(headers(cut).contains(&("outlierd.truncated".to_owned(), text("2000000"))));
}

#[test]
fn without_a_dead_letter_topic_rejections_are_counted_and_acknowledged() {
    let cluster = cluster();
    let sink = Running::start(kafka::Settings { dead_letter_topic: None, ..settings(&cluster) });
    sink.give(reject(9, b"\xff".to_vec()));
    assert_eq!(sink.acked(), (0, 9));
    assert_eq!(sink.status.rejected(), 1);
    sink.stop().expect("flushed");
}

#[test]
fn an_alert_that_its_topic_finds_too_large_is_made_smaller() {
    let cluster = cluster();
    cluster.request_errors(RDKafkaApiKey::Produce, &[Wrong::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let sink = Running::start(settings(&cluster));
    sink.give(alert(0, 1, Some("k"), &vec![b'x'; 1_500_000]));
    assert_eq!(sink.acked(), (0, 1));
    sink.stop().expect("flushed");
    let message = &read(&cluster, "alerts", 1)[0];
    let body = body(message);
    assert_eq!(body["event"]["original"].as_str().map(str::len), Some(16_384), "65 536 was refused");
    assert_eq!(body["outlierd"]["truncated"], true);
}

#[test]
fn what_a_broker_refuses_is_sent_again_in_order_and_acknowledged_only_then() {
    let cluster = cluster();
    // Errors that librdkafka gives up on at once, so that it is the sink that has to persist.
    let errors = [Wrong::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 3];
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    // One batch, so that none of it slips past the errors.
    let options = BTreeMap::from([("linger.ms".to_owned(), "200".to_owned())]);
    let sink = Running::start(kafka::Settings { options, ..settings(&cluster) });
    for offset in 0..20 {
        sink.give(alert(0, offset, Some("one key, one partition"), b"x"));
    }
    sink.eventually("troubled", |status| status.trouble().is_some_and(|what| what.contains("not delivered")));
    let acked: Vec<_> = (0..20).map(|_| sink.acked().1).collect();
    assert_eq!(acked, (0..20).collect::<Vec<_>>());
    assert!(sink.status.ready(), "{:?}", sink.status);
    // What waits is counted after the acknowledgements have gone out.
    sink.eventually("done", |status| (status.published(), status.waiting()) == (20, 0));
    sink.stop().expect("flushed");
    let ids: Vec<_> = read(&cluster, "alerts", 20).iter().map(id).collect();
    assert_eq!(ids, (0..20).map(|offset| format!("logs-0-{offset}")).collect::<Vec<_>>());
}

#[test]
fn a_full_queue_waits_and_drops_nothing() {
    let cluster = cluster();
    let options = BTreeMap::from([("queue.buffering.max.messages".to_owned(), "3".to_owned())]);
    let sink = Running::start(kafka::Settings { options, ..settings(&cluster) });
    for offset in 0..20 {
        sink.give(alert(0, offset, Some("k"), b"x"));
    }
    sink.stop().expect("flushed");
    let ids: Vec<_> = read(&cluster, "alerts", 20).iter().map(id).collect();
    assert_eq!(ids, (0..20).map(|offset| format!("logs-0-{offset}")).collect::<Vec<_>>());
}

#[test]
fn a_broker_that_goes_and_returns_gets_everything() {
    let cluster = cluster();
    let options = BTreeMap::from([
        ("message.timeout.ms".to_owned(), "400".to_owned()),
        ("reconnect.backoff.max.ms".to_owned(), "200".to_owned()),
    ]);
    let sink = Running::start(kafka::Settings { options, ..settings(&cluster) });
    sink.give(alert(0, 0, Some("k"), b"x"));
    assert_eq!(sink.acked(), (0, 0));
    cluster.broker_down(-1).expect("down");
    for offset in 1..50 {
        sink.give(alert(0, offset, Some("k"), b"x"));
    }
    sink.eventually("not ready", |status| !status.ready());
    sink.eventually("waiting", |status| status.waiting() > 0 && status.trouble().is_some());
    // Longer than the message timeout, so that librdkafka gives up what it holds.
    thread::sleep(Duration::from_millis(900));
    assert!(sink.acked.is_empty(), "nothing is acknowledged without a broker");
    cluster.broker_up(-1).expect("up");
    let mut acked: Vec<_> = (1..50).map(|_| sink.acked().1).collect();
    acked.sort_unstable();
    assert_eq!(acked, (1..50).collect::<Vec<_>>());
    sink.eventually("ready again", Status::ready);
    sink.stop().expect("flushed");
    let ids: Vec<_> = read(&cluster, "alerts", 50).iter().map(id).collect();
    assert_eq!(ids.len(), 50);
}

#[test]
fn a_broker_that_is_down_at_the_start_is_waited_for() {
    let cluster = cluster();
    cluster.broker_down(-1).expect("down");
    let options = BTreeMap::from([("reconnect.backoff.max.ms".to_owned(), "200".to_owned())]);
    let sink = Running::start(kafka::Settings { options, ..settings(&cluster) });
    sink.give(alert(0, 0, None, b"x"));
    sink.eventually("troubled", |status| status.trouble().is_some());
    assert!(!sink.status.ready() && sink.acked.is_empty());
    cluster.broker_up(-1).expect("up");
    assert_eq!(sink.acked(), (0, 0));
    sink.eventually("ready", Status::ready);
    sink.stop().expect("flushed");
}

#[test]
fn a_stop_without_a_broker_ends_at_the_deadline_and_says_what_is_left() {
    let cluster = cluster();
    let sink =
        Running::start(kafka::Settings { flush_timeout: Duration::from_millis(300), ..settings(&cluster) });
    sink.eventually("ready", Status::ready);
    cluster.broker_down(-1).expect("down");
    sink.give(alert(0, 0, None, b"x"));
    sink.give(alert(0, 1, None, b"x"));
    let acked = sink.acked.clone();
    let result = sink.stop();
    assert!(matches!(result, Err(SinkError::Unflushed { count: 2, .. })), "{result:?}");
    assert!(acked.is_empty());
}

#[test]
fn a_missing_topic_ends_the_sink() {
    let cluster = cluster();
    cluster.topic_error("alerts", Wrong::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).expect("set");
    let sink = Running::start(settings(&cluster));
    let Err(error @ SinkError::MissingTopic { .. }) = sink.thread.join().expect("no panic") else {
        panic!("it found a topic")
    };
    assert!(error.to_string().starts_with("topic missing: alerts; "), "{error}");
}

#[test]
fn a_forbidden_topic_and_a_record_refused_for_good_end_the_sink() {
    let cluster = cluster();
    cluster.topic_error("dead", Wrong::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).expect("set");
    let result = Running::start(settings(&cluster)).thread.join().expect("no panic");
    assert!(matches!(&result, Err(SinkError::Forbidden { topic }) if topic == "dead"), "{result:?}");
    cluster.request_errors(RDKafkaApiKey::Produce, &[Wrong::RD_KAFKA_RESP_ERR_INVALID_RECORD]);
    let sink = Running::start(kafka::Settings { dead_letter_topic: None, ..settings(&cluster) });
    sink.give(alert(0, 0, None, b"x"));
    let result = sink.thread.join().expect("no panic");
    assert!(matches!(&result, Err(SinkError::Refused { topic, .. }) if topic == "alerts"), "{result:?}");
    assert!(sink.acked.is_empty());
}

#[test]
fn a_time_that_the_broker_refuses_becomes_a_header() {
    let cluster = cluster();
    cluster.request_errors(RDKafkaApiKey::Produce, &[Wrong::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP]);
    let sink = Running::start(settings(&cluster));
    sink.give(reject(9, b"\xff".to_vec()));
    assert_eq!(sink.acked(), (0, 9));
    sink.stop().expect("flushed");
    let message = &read(&cluster, "dead", 1)[0];
    assert_ne!(message.timestamp().to_millis(), Some(1_709_210_096_789));
    assert!(headers(message).contains(&("outlierd.timestamp".to_owned(), Some("1709210096789".to_owned()))));
}

#[test]
fn settings_are_checked_before_anything_is_sent() {
    let cluster = cluster();
    let good = settings(&cluster);
    good.check().expect("good");
    for (bad, word) in [
        (kafka::Settings { brokers: " ".into(), ..good.clone() }, "brokers"),
        (kafka::Settings { alerts_topic: "a\0b".into(), ..good.clone() }, "topic"),
        (kafka::Settings { dead_letter_topic: Some(String::new()), ..good.clone() }, "topic"),
        (kafka::Settings { message_max: 10, ..good.clone() }, "16 KiB"),
        (kafka::Settings { options: BTreeMap::from([("acks".into(), "1".into())]), ..good }, "acks"),
    ] {
        let result = Running::start(bad).thread.join().expect("no panic");
        let Err(SinkError::Settings(what)) = result else { panic!("{result:?}") };
        assert!(what.contains(word), "{what}");
    }
}
