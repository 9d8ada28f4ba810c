//! Kafka: groups, offsets, back-pressure and bad luck.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use outlierd::flow::{Lane, Time};
use outlierd::pipeline::{Action, Commit};
use outlierd::source::SourceError;
use outlierd::source::kafka::{Settings, Start, run};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::{LONG, Rig, Seen};

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// Far longer than a test: whatever is committed then is not committed because it was due.
const NEVER: Duration = Duration::from_hours(1);

fn cluster(topic: &str, partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(topic, partitions, 1).unwrap();
    cluster
}

fn settings(brokers: &str, topic: &str) -> Settings {
    Settings {
        brokers: brokers.to_owned(),
        group: "g".to_owned(),
        topics: vec![topic.to_owned()],
        start: Start::Earliest,
        commit_interval: Duration::from_millis(100),
        // The mock cluster waits that long when members come and go.
        options: options(&[("session.timeout.ms", "4000"), ("heartbeat.interval.ms", "500")]),
        ..Settings::default()
    }
}

fn options(options: &[(&str, &str)]) -> Vec<(String, String)> {
    options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn start(settings: Settings, queue: usize) -> Rig {
    Rig::start(1, queue, move |inlets, commits, stop, status| run(&settings, inlets, commits, stop, status))
}

fn lane(topic: &str, partition: i32) -> Lane {
    Lane { topic: topic.into(), partition }
}

/// The time of a record that was produced at an offset.
fn time(offset: i64) -> i64 {
    1_700_000_000_000 + offset
}

/// Produces `count` records to each partition, numbered from `from`.
fn produce(brokers: &str, topic: &str, partitions: i32, from: i64, count: i64) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "1").create().unwrap();
    for number in from..from + count {
        for partition in 0..partitions {
            let (key, payload) = (format!("k{number}"), format!("v{number}"));
            let headers = OwnedHeaders::new()
                .insert(Header { key: "h", value: Some(&number.to_string()) })
                .insert(Header { key: "none", value: None::<&str> });
            let mut record =
                BaseRecord::to(topic).partition(partition).key(&key).headers(headers).timestamp(time(number));
            // Every tenth is a tombstone.
            if number % 10 != 9 {
                record = record.payload(&payload);
            }
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
    }
    producer.flush(LONG).unwrap();
}

/// What the group has committed: offset and metadata by partition.
fn committed(brokers: &str, topic: &str, partitions: i32) -> Vec<(Offset, String)> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "g").create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let list = consumer.committed_offsets(list, LONG).unwrap();
    list.elements().iter().map(|e| (e.offset(), e.metadata().to_owned())).collect()
}

fn commit(seen: &Seen, lane: &Lane, offset: i64, replay_from: i64) -> Commit {
    Commit { lane: lane.clone(), generation: seen.assigned[lane].0, offset, replay_from, reading: None }
}

#[test]
fn records_are_read_committed_and_replayed() {
    let cluster = cluster("t", 3);
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, "t", 3, 0, 100);

    let rig = start(Settings { batch_max: 50, ..settings(&brokers, "t") }, 4);
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.count() == 300);
    assert!((2..=50).contains(&seen.largest_batch), "batches of {}", seen.largest_batch);
    for partition in 0..3 {
        let lane = lane("t", partition);
        assert_eq!(seen.assigned[&lane].1, 0);
        assert_eq!(seen.offsets(&lane), (0..100).collect::<Vec<_>>());
        for record in &seen.records[&lane] {
            let offset = record.origin.offset;
            assert_eq!(record.origin.time, Time(time(offset)));
            assert_eq!(record.value.key, Some(format!("k{offset}").into_bytes()));
            let payload = (offset % 10 != 9).then(|| format!("v{offset}").into_bytes());
            assert_eq!(record.value.payload, payload);
            let headers =
                [("h".to_owned(), Some(offset.to_string().into_bytes())), ("none".to_owned(), None)];
            assert_eq!(record.value.headers, headers);
        }
    }
    let report = rig.wait_for(|report| report.lanes.values().all(|lane| lane.lag() == Some(0)));
    assert!(report.connected);
    assert_eq!(report.records, 300);

    rig.commits.send(commit(&seen, &lane("t", 0), 100, 90)).unwrap();
    rig.commits.send(commit(&seen, &lane("t", 1), 50, 20)).unwrap();
    let stale = commit(&seen, &lane("t", 2), 99, 99);
    rig.commits.send(Commit { generation: stale.generation - 1, ..stale }).unwrap();
    rig.wait_for(|report| report.lanes[&lane("t", 1)].committed == Some(50));
    rig.commits.send(commit(&seen, &lane("t", 1), 60, 30)).unwrap();
    rig.finish().unwrap();
    let expected = [(100, 90), (60, 30), (0, 0)];
    let expected =
        expected.map(|(at, from)| (Offset::Offset(at), format!(r#"{{"v":1,"replay_from":{from}}}"#)));
    assert_eq!(committed(&brokers, "t", 3), expected);

    let rig = start(settings(&brokers, "t"), 4);
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.count() == 10 + 70 + 100);
    assert_eq!(seen.assigned.values().map(|(_, live_from)| *live_from).collect::<Vec<_>>(), [100, 60, 0]);
    assert_eq!(seen.offsets(&lane("t", 0)), (90..100).collect::<Vec<_>>());
    assert_eq!(seen.offsets(&lane("t", 1)), (30..100).collect::<Vec<_>>());
    rig.finish().unwrap();
}

#[test]
fn a_full_shard_pauses_the_source_and_nothing_is_lost() {
    let cluster = cluster("t", 2);
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, "t", 2, 0, 2_000);
    let rig = start(Settings { batch_max: 100, ..settings(&brokers, "t") }, 1);
    let mut seen = Seen::default();
    for _ in 0..3 {
        // Read a little, then nothing, until it waits for us.
        let goal = seen.count() + 150;
        seen.until(&rig, |seen| seen.count() >= goal);
        let report = rig.wait_for(|report| report.paused);
        // One batch in the queue, and what one turn gathers: no more.
        assert!(report.records <= seen.count() as u64 + 300, "{} records", report.records);
    }
    seen.until(&rig, |seen| seen.count() == 4_000);
    for partition in 0..2 {
        assert_eq!(seen.offsets(&lane("t", partition)), (0..2_000).collect::<Vec<_>>());
    }
    assert_eq!(seen.revoked, []);
    rig.wait_for(|report| !report.paused);
    rig.finish().unwrap();
}

#[test]
fn a_full_shard_does_not_hold_up_the_group() {
    let cluster = cluster("t", 2);
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, "t", 2, 0, 1_000);
    let settings = Settings { batch_max: 100, ..settings(&brokers, "t") };
    let first = start(settings.clone(), 1);
    first.wait_for(|report| report.paused && report.lanes.len() == 2);
    let second = start(settings, 64);
    second.wait_for(|report| report.lanes.len() == 1);
    first.wait_for(|report| report.lanes.len() == 1);
    second.finish().unwrap();
    first.wait_for(|report| report.paused && report.lanes.len() == 2);
    let mut seen = Seen::default();
    seen.until(&first, |seen| seen.assigned.len() == 2 && seen.revoked.len() == 1);
    first.finish().unwrap();
}

#[test]
fn a_full_queue_does_not_hold_up_the_stop() {
    let cluster = cluster("t", 1);
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, "t", 1, 0, 1_000);
    let rig = start(Settings { batch_max: 100, ..settings(&brokers, "t") }, 1);
    rig.wait_for(|report| report.paused);
    rig.finish().unwrap();
}

#[test]
fn a_broker_that_is_not_there_is_waited_for() {
    let rig = start(settings("127.0.0.1:1", "t"), 4);
    let text = "waiting for broker 127.0.0.1:1: connection refused";
    let report = rig.wait_for(|report| report.error.as_deref() == Some(text));
    assert!(!report.connected);
    rig.finish().unwrap();
}

#[test]
fn missing_topics_are_an_error_that_names_them() {
    let cluster = cluster("t", 1);
    let mut settings = settings(&cluster.bootstrap_servers(), "t");
    settings.topics = ["t", "nope", "^nothing.*", "neither"].map(str::to_owned).to_vec();
    match start(settings, 4).join() {
        Err(SourceError::MissingTopic(names)) => assert_eq!(names, ["nope", "neither"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pattern_reads_every_topic_that_fits_but_for_the_daemons_own() {
    let cluster = cluster("events-a", 1);
    for topic in ["events-b", "events-own.alerts", "events-own.dead", "other"] {
        cluster.create_topic(topic, 1, 1).unwrap();
    }
    let brokers = cluster.bootstrap_servers();
    for topic in ["events-own.alerts", "events-own.dead", "events-a", "events-b", "other"] {
        produce(&brokers, topic, 1, 0, 10);
    }
    let mut settings = settings(&brokers, "^events-.*");
    settings.leave_out(["events-own.alerts", "events-own.dead"]);
    let rig = start(settings, 4);
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.count() == 20);
    let topics: Vec<_> = seen.records.keys().map(|lane| lane.topic.to_string()).collect();
    assert_eq!(topics, ["events-a", "events-b"]);
    assert_eq!(seen.assigned.len(), 2, "nothing of its own");
    rig.finish().unwrap();
}

#[test]
fn a_second_member_begins_where_the_first_committed() {
    for (strategy, revoked) in [("cooperative-sticky", 2), ("range", 4)] {
        let cluster = cluster("t", 4);
        let brokers = cluster.bootstrap_servers();
        produce(&brokers, "t", 4, 0, 100);
        let mut settings = settings(&brokers, "t");
        settings.options.extend(options(&[("partition.assignment.strategy", strategy)]));

        let first = start(settings.clone(), 64);
        let mut seen = Seen::default();
        seen.until(&first, |seen| seen.count() == 400);
        for partition in 0..4 {
            first.commits.send(commit(&seen, &lane("t", partition), 60, 55)).unwrap();
        }
        // Before the rebalance: the mock cluster may refuse commits during one, where a real broker would not.
        first.wait_for(|report| report.lanes.values().all(|lane| lane.committed == Some(60)));

        let second = start(settings, 64);
        seen.until(&first, |seen| seen.revoked.len() == revoked && seen.assigned.len() == 2);
        let mut taken = Seen::default();
        taken.until(&second, |taken| taken.assigned.len() == 2 && taken.count() == 90);
        for (lane, (_, live_from)) in &taken.assigned {
            assert!(!seen.assigned.contains_key(lane), "{strategy}: {lane} is owned twice");
            assert_eq!(*live_from, 60, "{strategy}");
            assert_eq!(taken.offsets(lane), (55..100).collect::<Vec<_>>(), "{strategy}");
        }
        second.finish().unwrap();
        first.finish().unwrap();
    }
}

#[test]
fn an_offset_out_of_range_begins_the_lane_anew() {
    let cluster = cluster("t", 1);
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, "t", 1, 0, 10);
    // What is done is committed when the lane is given up, though it is not due.
    let rig = start(Settings { commit_interval: NEVER, ..settings(&brokers, "t") }, 64);
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.count() == 10);
    let before = seen.assigned[&lane("t", 0)].0;
    rig.commits.send(commit(&seen, &lane("t", 0), 8, 6)).unwrap();
    let out_of_range = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
    // A real broker says so until it is asked for something else; one error of the mock cluster can get lost.
    cluster.request_errors(RDKafkaApiKey::Fetch, &[out_of_range; 3]);
    seen.until(&rig, |seen| seen.offsets(&lane("t", 0)).get(10..14) == Some(&[6, 7, 8, 9]));
    assert_eq!(seen.revoked[0], (lane("t", 0), before));
    let (generation, live_from) = seen.assigned[&lane("t", 0)];
    assert!(generation > before);
    assert_eq!(live_from, 8);
    rig.finish().unwrap();
}

#[test]
fn a_new_group_that_begins_at_the_end_does_so_once() {
    let cluster = cluster("t", 1);
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, "t", 1, 0, 10);
    let latest = Settings { start: Start::Latest, ..settings(&brokers, "t") };
    let rig = start(latest.clone(), 64);
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.assigned.len() == 1);
    assert_eq!(seen.assigned[&lane("t", 0)].1, 10);
    produce(&brokers, "t", 1, 10, 5);
    seen.until(&rig, |seen| seen.count() == 5);
    // No shard has committed: but what comes after the first start is no longer skipped.
    rig.finish().unwrap();

    let rig = start(latest, 64);
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.count() == 5);
    assert_eq!(seen.offsets(&lane("t", 0)), (10..15).collect::<Vec<_>>());
    rig.finish().unwrap();
}

#[test]
fn a_coordinator_that_is_not_ready_is_asked_again() {
    let cluster = cluster("t", 1);
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, "t", 1, 0, 10);
    let rig = start(settings(&brokers, "t"), 64);
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.count() == 10);
    rig.commits.send(commit(&seen, &lane("t", 0), 7, 7)).unwrap();
    rig.finish().unwrap();
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    cluster.request_errors(RDKafkaApiKey::OffsetFetch, &[error; 3]);
    let rig = start(settings(&brokers, "t"), 64);
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.count() == 3);
    assert_eq!(seen.assigned[&lane("t", 0)].1, 7);
    rig.finish().unwrap();
}

#[test]
fn a_commit_that_fails_is_tried_again() {
    let cluster = cluster("t", 1);
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, "t", 1, 0, 10);
    let rig = start(settings(&brokers, "t"), 64);
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.count() == 10);
    rig.wait_for(|report| report.commits == 1);
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE;
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[error]);
    rig.commits.send(commit(&seen, &lane("t", 0), 7, 7)).unwrap();
    let report = rig.wait_for(|report| report.lanes[&lane("t", 0)].committed == Some(7));
    assert_eq!(report.commit_failures, 1);
    rig.finish().unwrap();
}

#[test]
fn it_stops_by_its_deadline_with_the_broker_gone() {
    let cluster = cluster("t", 1);
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, "t", 1, 0, 10);
    let drain = Duration::from_millis(500);
    // With the library's own session timeout of 45 s, for which its goodbye would block.
    let options = Vec::new();
    let rig = start(Settings { commit_interval: NEVER, drain, options, ..settings(&brokers, "t") }, 64);
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.count() == 10);
    rig.commits.send(commit(&seen, &lane("t", 0), 7, 7)).unwrap();
    cluster.broker_down(-1).unwrap();
    let report = rig.wait_for(|report| !report.connected && report.error.is_some());
    assert!(report.error.unwrap().starts_with("waiting for broker"));

    // The shard takes its stop but never hangs up.
    let (status, held) = (Arc::clone(&rig.status), rig.commits.clone());
    let (ended, end) = bounded(1);
    let waiter = std::thread::Builder::new().name("waiter".to_owned()).spawn(move || {
        let result = rig.finish();
        ended.send(()).unwrap();
        result
    });
    end.recv_timeout(Duration::from_secs(22)).expect("the source ends though the broker is gone");
    waiter.unwrap().join().unwrap().unwrap();
    assert!(status.report().finished);
    drop(held);
}

#[test]
fn a_shard_that_hangs_up_early_is_an_error() {
    let cluster = cluster("t", 1);
    let brokers = cluster.bootstrap_servers();
    produce(&brokers, "t", 1, 0, 10);
    let Rig { shards, commits, thread, .. } = start(settings(&brokers, "t"), 64);
    drop((shards, commits));
    assert!(matches!(thread.join().unwrap(), Err(SourceError::ShardGone(0))));
}

#[test]
fn a_wrong_option_stops_the_shards_too() {
    let options = options(&[("sasl.pasword", "hunter22")]);
    let rig = start(Settings { options, ..settings("127.0.0.1:1", "t") }, 4);
    let Action::Stop = rig.next() else { panic!("expected a stop") };
    let Rig { commits, thread, .. } = rig;
    drop(commits);
    let error = thread.join().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown option sasl.pasword; correct [kafka.options], see librdkafka's CONFIGURATION.md"
    );
}
