//! From a topic of a real Apache Kafka to alerts in another, through the real binary.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::broker::Broker;
use crate::client::{self, Daemon, Got};

const PARTITIONS: i32 = 6;
const EVENTS: usize = 20_000;
const PLANTED: usize = 40;

/// Messages unlike anything in the stream and unlike each other: letters drawn by a small generator.
fn strange(number: usize) -> String {
    let mut state = number as u64 * 7_919 + 13;
    let mut words = Vec::new();
    for _ in 0..6 {
        let word: String = (0..7)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
            })
            .collect();
        words.push(word);
    }
    words.join(" ")
}

fn normal(number: usize) -> String {
    let (user, took) = (number * 7 % 997, 5 + number * 13 % 40);
    match number * 31 % 8 {
        0 => format!("user {user} signed in from 10.0.{}.{}", user % 200, took),
        1 => format!("GET /cart/{user} took {took} ms"),
        2 => format!("GET /search took {took} ms"),
        3 => format!("order {user} placed, {took} items"),
        4 => format!("cache refreshed in {took} ms"),
        5 => format!("payment for order {user} accepted"),
        6 => format!("mail {user} sent"),
        _ => format!("stock of item {user} is now {took}"),
    }
}

struct Written {
    records: Vec<(i32, String, Vec<u8>)>,
    /// Partition and offset of what was planted.
    planted: BTreeSet<(i32, i64)>,
    /// Partition and offset of what cannot be read, with the reason.
    broken: BTreeMap<(i32, i64), &'static str>,
    ends: BTreeMap<i32, i64>,
}

/// The stream of both tests: each partition gets every sixth event, what is strange comes in the second half.
fn written() -> Written {
    let mut written = Written {
        records: Vec::new(),
        planted: BTreeSet::new(),
        broken: BTreeMap::new(),
        ends: BTreeMap::new(),
    };
    // Odd, so that every partition gets some.
    let stride = EVENTS / 2 / PLANTED - 1;
    for number in 0..EVENTS {
        let partition = i32::try_from(number % PARTITIONS as usize).unwrap();
        let offset = written.ends.entry(partition).or_default();
        let place = (partition, *offset);
        *offset += 1;
        let late = number >= EVENTS / 2;
        let payload = if late && number % stride == 3 && written.planted.len() < PLANTED {
            written.planted.insert(place);
            message(&strange(number), number)
        } else if number % 2_500 == 1_234 {
            let (payload, fault): (&[u8], _) = match number / 2_500 % 4 {
                0 => (b"{\"message\":", "malformed"),
                1 => (b"{\"message\":\"\xff\xfe\"}", "not_utf8"),
                2 => (b"   ", "empty"),
                _ => (b"{}", "no_fields"),
            };
            written.broken.insert(place, fault);
            payload.to_vec()
        } else {
            message(&normal(number), number)
        };
        written.records.push((partition, format!("host-{}", number % 11), payload));
    }
    written
}

fn message(text: &str, number: usize) -> Vec<u8> {
    let host = number % 11;
    let level = if number.is_multiple_of(50) { "WARN" } else { "INFO" };
    format!(
        r#"{{"host":"host-{host}","level":"{level}","message":{text:?},"bytes":{}}}"#,
        200 + number * 17 % 90
    )
    .into_bytes()
}

fn place(alert: &Value) -> (i32, i64) {
    let source = &alert["outlierd"]["source"];
    (i32::try_from(source["partition"].as_i64().unwrap()).unwrap(), source["offset"].as_i64().unwrap())
}

struct Topics {
    input: String,
    alerts: String,
    dead: String,
    group: String,
}

fn topics(broker: &Broker) -> Topics {
    let name = client::unique("stream");
    let topics = Topics {
        input: name.clone(),
        alerts: format!("{name}-alerts"),
        dead: format!("{name}-dead"),
        group: format!("{name}-group"),
    };
    broker.create_topic(&topics.input, u32::try_from(PARTITIONS).unwrap());
    broker.create_topic(&topics.alerts, 1);
    broker.create_topic(&topics.dead, 1);
    topics
}

fn arguments(broker: &Broker, topics: &Topics) -> Vec<String> {
    let sets = [
        ("sink.topic", topics.alerts.as_str()),
        ("sink.dead_letter_topic", topics.dead.as_str()),
        ("alert.budget", "1 in 100"),
        ("alert.closing", "false"),
        ("kafka.commit_interval", "200ms"),
    ];
    client::run_arguments(broker.bootstrap(), &topics.group, &topics.input, &sets)
}

fn all_committed(broker: &Broker, topics: &Topics, ends: &BTreeMap<i32, i64>) -> bool {
    let committed = client::committed(broker.bootstrap(), &topics.group, &topics.input, PARTITIONS);
    committed.iter().map(|(partition, (offset, _))| (*partition, *offset)).collect::<BTreeMap<_, _>>()
        == *ends
}

/// Every planted event has an alert, and all alerts together keep to the budget.
fn check_alerts(alerts: &[Got], written: &Written) {
    let places: BTreeSet<_> = alerts.iter().map(|alert| place(&alert.json())).collect();
    let missed: Vec<_> = written.planted.difference(&places).collect();
    assert!(missed.is_empty(), "missed {missed:?}");
    // Each partition may alert after 1 000 events; the operator asked for one in 100 of the others.
    let allowed = (EVENTS - 1_000 * PARTITIONS as usize) / 100;
    let others: Vec<_> = places.difference(&written.planted).collect();
    assert!(
        places.len() <= allowed * 3 / 2,
        "{} alerts, {allowed} asked for; not planted: {others:?}",
        places.len()
    );
}

#[test]
fn twenty_thousand_events_in_forty_alerts_out() {
    let broker = Broker::shared();
    let topics = topics(broker);
    let written = written();
    assert_eq!(written.planted.len(), PLANTED);
    client::produce(broker.bootstrap(), &topics.input, &written.records);

    let mut daemon = Daemon::start(&arguments(broker, &topics));
    client::wait_for("all offsets to be committed", || {
        all_committed(broker, &topics, &written.ends).then_some(())
    });
    assert!(daemon.stop().success(), "SIGTERM drains and ends well");

    let alerts = client::read_until(broker.bootstrap(), &topics.alerts, |got| got.len() >= PLANTED);
    check_alerts(&alerts, &written);
    check_headers(&alerts, &topics);
    check_dead_letters(broker, &topics, &written);
    let metadata = client::committed(broker.bootstrap(), &topics.group, &topics.input, PARTITIONS);
    assert!(metadata.values().all(|(_, metadata)| metadata.contains("\"replay_from\":0")), "{metadata:?}");
}

fn check_headers(alerts: &[Got], topics: &Topics) {
    let mut ids = BTreeSet::new();
    for alert in alerts {
        let body = alert.json();
        let (partition, offset) = place(&body);
        let header = |name: &str| alert.headers[name].as_str();
        assert_eq!(header("ce_specversion"), "1.0");
        assert_eq!(header("ce_type"), "io.outlierd.incident.opened");
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("ce_source"), format!("/outlierd/{}/{partition}", topics.input));
        assert!(header("ce_id").contains(&format!("{partition}-{offset}")), "{}", header("ce_id"));
        assert!(ids.insert(header("ce_id").to_owned()), "an alert was doubled: {}", header("ce_id"));
        assert_eq!(body["event"]["id"], header("ce_id"));
        assert_eq!(body["event"]["kind"], "alert");
        assert!(body["event"]["risk_score"].as_f64().unwrap() > 0.0);
        assert!(
            body["outlierd"]["surprise"].as_f64().unwrap() > body["outlierd"]["threshold"].as_f64().unwrap()
        );
        assert!(!body["outlierd"]["reasons"].as_array().unwrap().is_empty(), "{body:#}");
        assert!(
            alert.key.as_deref().is_some_and(|key| key.starts_with(b"host-")),
            "keyed by the source's key"
        );
    }
}

fn check_dead_letters(broker: &Broker, topics: &Topics, written: &Written) {
    let enough = |got: &[Got]| got.len() >= written.broken.len();
    let dead = client::read_until(broker.bootstrap(), &topics.dead, enough);
    let mut found = BTreeMap::new();
    for letter in &dead {
        let header = |name: &str| letter.headers[&format!("__connect.errors.{name}")].as_str();
        assert_eq!(header("topic"), topics.input);
        let place = (header("partition").parse::<i32>().unwrap(), header("offset").parse::<i64>().unwrap());
        let fault = written.broken[&place];
        assert!(
            header("exception.class.name").contains(fault),
            "{} is {fault}",
            header("exception.class.name")
        );
        assert!(!header("exception.message").is_empty());
        let sent = written.records.iter().filter(|(partition, _, _)| *partition == place.0);
        let sent = sent.map(|(_, _, payload)| payload).nth(usize::try_from(place.1).unwrap()).unwrap();
        assert_eq!(&letter.payload, sent, "the original value is kept");
        found.insert(place, fault);
    }
    assert_eq!(found, written.broken);
}

#[test]
fn two_instances_one_stops_midway_and_nothing_is_lost() {
    let broker = Broker::shared();
    let topics = topics(broker);
    let written = written();
    let half = written.records.len() / 2 + 3_000;
    client::produce(broker.bootstrap(), &topics.input, &written.records[..half]);

    let mut first = Daemon::start(&arguments(broker, &topics));
    let mut second = Daemon::start(&arguments(broker, &topics));
    client::wait_for("both instances to have partitions", || {
        let has = |daemon: &Daemon| daemon.log().contains("\"message\":\"assigned\"");
        (has(&first) && has(&second)).then_some(())
    });
    client::wait_for("a first commit", || {
        let committed = client::committed(broker.bootstrap(), &topics.group, &topics.input, PARTITIONS);
        (!committed.is_empty()).then_some(())
    });
    client::produce(broker.bootstrap(), &topics.input, &written.records[half..]);
    assert!(first.stop().success());
    client::wait_for("all offsets to be committed", || {
        all_committed(broker, &topics, &written.ends).then_some(())
    });
    assert!(second.stop().success());

    let planted = written.planted.clone();
    let complete = |got: &[Got]| {
        let places: BTreeSet<_> = got.iter().map(|alert| place(&alert.json())).collect();
        planted.is_subset(&places)
    };
    let alerts = client::read_until(broker.bootstrap(), &topics.alerts, complete);
    check_alerts(&alerts, &written);
    // At least once: an alert may come twice, with the same id and the same content.
    let mut by_id: BTreeMap<String, Value> = BTreeMap::new();
    for alert in &alerts {
        let before = by_id.insert(alert.headers["ce_id"].clone(), alert.json());
        assert!(before.is_none_or(|before| before == alert.json()), "{}", alert.headers["ce_id"]);
    }
    check_dead_letters(broker, &topics, &written);
}
