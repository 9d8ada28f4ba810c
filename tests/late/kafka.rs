//! A growth through a real broker: what a commit carries, and what one who begins from it finds.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{die, late, plain};
use crate::broker::Broker;
use crate::client::{self, Daemon, Got};

const EVENTS: i64 = 2_400;
/// Reviews are due every 200 offsets: fields of event 310 join at 400, and are heard from 900 on.
const SETS: [(&str, &str); 6] = [
    ("render.infer_events", "20"),
    ("detect.warmup", "300"),
    ("alert.budget", "1 in 50"),
    ("alert.closing", "false"),
    ("kafka.commit_interval", "100ms"),
    ("sink.dead_letter_topic", ""),
];

fn records(events: std::ops::Range<i64>) -> Vec<(i32, String, Vec<u8>)> {
    let payload = |event: i64| match event {
        ..310 => format!("{}}}", plain(event)),
        1_000.. if die(event, 50, 100) == 0 => format!(r#"{},"size":500,"region":"mars"}}"#, plain(event)),
        _ => format!("{}{}}}", plain(event), late(event, &["size", "region"])),
    };
    events.map(|event| (0, "key".to_owned(), payload(event).into_bytes())).collect()
}

fn committed(broker: &Broker, group: &str, topic: &str, offset: i64) -> String {
    client::wait_for("all to be committed", || {
        let committed = client::committed(broker.bootstrap(), group, topic, 1);
        committed.get(&0).filter(|(at, _)| *at == offset).map(|(_, metadata)| metadata.clone())
    })
}

/// Alerts by their ids.
fn told(alerts: &[Got]) -> BTreeMap<String, Value> {
    alerts.iter().map(|alert| (alert.headers["ce_id"].clone(), alert.json())).collect()
}

#[test]
fn a_restart_knows_which_fields_had_joined_and_raises_the_same_alerts() {
    let broker = Broker::shared();
    let name = client::unique("late");
    let topic = |what: &str| format!("{name}-{what}");
    let dead = topic("dead");
    broker.create_topic(&name, 1);
    broker.create_topic(&dead, 1);
    let start = |group: &str| {
        let mut sets = SETS.to_vec();
        sets[5].1 = &dead;
        sets.push(("sink.topic", group));
        Daemon::start(&client::run_arguments(broker.bootstrap(), group, &name, &sets))
    };
    let (group, again) = (topic("hitch"), topic("again"));
    broker.create_topic(&group, 1);
    broker.create_topic(&again, 1);

    client::produce(broker.bootstrap(), &name, &records(0..700));
    let mut first = start(&group);
    let metadata = committed(broker, &group, &name, 700);
    assert!(
        metadata.contains(r#""joined":[{"from":400,"number":["/size"],"category":["/region"]}]"#),
        "{metadata}"
    );
    assert!(metadata.contains(r#""reviewed":600"#), "{metadata}");
    assert!(first.log().contains("fields joined"), "{}", first.log());
    assert!(first.stop().success());
    client::produce(broker.bootstrap(), &name, &records(700..EVENTS));
    let mut second = start(&group);
    committed(broker, &group, &name, EVENTS);
    assert!(!second.log().contains("fields joined"), "it was known: {}", second.log());
    assert!(second.stop().success());

    let mut reference = start(&again);
    committed(broker, &again, &name, EVENTS);
    assert!(reference.stop().success());
    let alerts = |topic: &str| told(&client::read_until(broker.bootstrap(), topic, |got| !got.is_empty()));
    let (got, expected) = (alerts(&group), alerts(&again));
    assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    let about = |alert: &Value| alert["outlierd"]["reasons"].to_string().contains("region=mars");
    assert!(expected.values().any(about), "{expected:?}");
}
