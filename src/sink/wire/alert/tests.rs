//! What an alert looks like from outside, and that it always fits.

use std::sync::Arc;

use super::*;
use crate::flow::{ChannelSurprise, Evidence, Neighbour, Origin, Reason, Record, Schema, Time, Verdict};

pub(crate) fn example() -> Alert {
    let lane = Lane { topic: "logs".into(), partition: 3 };
    let channel = |channel, field: &str, surprise| ChannelSurprise {
        channel,
        field: field.into(),
        score: 2.5,
        surprise,
    };
    Alert {
        origin: Origin { lane, offset: 12_345, time: Time(1_709_210_096_789) },
        phase: Phase::Opened,
        count: 1,
        last_offset: 12_345,
        last_time: Time(1_709_210_096_789),
        verdict: Verdict {
            surprise: 14.2,
            threshold: 9.1,
            channels: vec![channel("density", "/message", 8.0), channel("text", "/message", 14.0)],
            admitted: false,
            seen: 10_000,
            warm: true,
            evidence: Some(Evidence {
                reasons: vec![Reason {
                    channel: "text",
                    field: "/message".into(),
                    value: "segfault at 0x0".into(),
                    expected: "never seen before".into(),
                    context: None,
                }],
                neighbours: vec![Neighbour {
                    channel: "density",
                    field: "/message".into(),
                    text: "user logged in".into(),
                    distance: 0.62,
                    offset: 12_001,
                    count: 40,
                }],
            }),
        },
        record: Arc::new(Record {
            key: Some(b"host-7".to_vec()),
            payload: Some(br#"{"message":"segfault at 0x0"}"#.to_vec()),
            headers: Vec::new(),
        }),
        schema: Arc::new(Schema::default()),
    }
}

pub(crate) fn provenance() -> Provenance {
    let text = str::to_owned;
    Provenance {
        service: text("demo"),
        version: text("0.1.0"),
        model: text("m1"),
        config: text("c1"),
        embedder: text("hashed"),
        budget: text("20 a day"),
        source: "kafka",
    }
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).expect("an alert is JSON")
}

#[test]
fn the_body_speaks_ecs() {
    let body = json(&message(&example(), &provenance(), 900_000).body);
    assert_eq!(body["@timestamp"], "2024-02-29T12:34:56.789Z");
    assert_eq!(body["event"]["kind"], "alert");
    assert_eq!(body["event"]["action"], "incident-opened");
    assert_eq!(body["event"]["id"], "logs-3-12345");
    assert_eq!(body["event"]["risk_score"], 14.2);
    assert_eq!(body["event"]["risk_score_norm"], 75.8);
    assert_eq!(body["event"]["original"], r#"{"message":"segfault at 0x0"}"#);
    assert_eq!(body["rule"]["name"], "text: message");
    assert!(body["message"].as_str().is_some_and(|text| text.starts_with("never seen before: \"segfault")));
    let detail = &body["outlierd"];
    assert_eq!(detail["channels"][0]["channel"], "text", "strongest first");
    assert_eq!(detail["channels"][1]["surprise"], 8.0);
    assert_eq!(detail["reasons"][0]["expected"], "never seen before");
    assert_eq!(detail["neighbours"][0]["offset"], 12_001);
    assert_eq!((&detail["source"]["key"], &detail["source"]["kind"]), (&"host-7".into(), &"kafka".into()));
    assert_eq!(detail["threshold"], 9.1);
    assert_eq!(detail["budget"], "20 a day");
    assert_eq!((&detail["model"], &detail["config"]), (&"m1".into(), &"c1".into()));
    assert_eq!(detail["truncated"], false);
    assert!(body.get("cloudevent").is_none());
}

#[test]
fn a_closed_incident_has_an_id_of_its_own_and_the_same_incident() {
    let mut alert = example();
    alert.phase = Phase::Closed;
    (alert.count, alert.last_offset, alert.last_time) = (120, 12_600, Time(1_709_210_100_000));
    let message = message(&alert, &provenance(), 900_000);
    let body = json(&message.body);
    assert_eq!(message.id, "logs-3-12345-closed");
    assert_eq!(body["event"]["action"], "incident-closed");
    assert_eq!(body["event"]["end"], "2024-02-29T12:35:00.000Z");
    assert_eq!(body["outlierd"]["incident"]["id"], "logs-3-12345");
    assert_eq!(body["outlierd"]["incident"]["count"], 120);
    assert!(message.headers.contains(&("ce_type", "io.outlierd.incident.closed".to_owned())));
}

#[test]
fn headers_follow_cloudevents() {
    let message = message(&example(), &provenance(), 900_000);
    let text = str::to_owned;
    assert_eq!(
        message.headers,
        vec![
            ("ce_specversion", text("1.0")),
            ("ce_id", text("logs-3-12345")),
            ("ce_type", text("io.outlierd.incident.opened")),
            ("ce_source", text("/outlierd/logs/3")),
            ("ce_time", text("2024-02-29T12:34:56.789Z")),
            ("ce_subject", text("host-7")),
            ("content-type", text("application/json")),
        ]
    );
    assert_eq!(message.key, b"host-7");
}

#[test]
fn without_a_usable_key_the_lane_is_the_key() {
    let mut alert = example();
    for key in [None, Some(vec![b'k'; KEY_MAX + 1])] {
        alert.record = Arc::new(Record { key, ..Record::default() });
        let message = message(&alert, &provenance(), 900_000);
        assert_eq!(message.key, b"logs-3");
        assert!(message.headers.contains(&("ce_subject", "12345".to_owned())));
        assert!(json(&message.body)["event"].get("original").is_none());
    }
    alert.record = Arc::new(Record { key: Some(vec![0xff, 0xfe]), ..Record::default() });
    let message = message(&alert, &provenance(), 900_000);
    assert_eq!(message.key, [0xff, 0xfe]);
    assert_eq!(json(&message.body)["outlierd"]["source"]["key_base64"], "//4=");
}

#[test]
fn a_file_name_makes_a_valid_source() {
    let lane = Lane { topic: "/var/log/my app.log".into(), partition: 0 };
    assert_eq!(source(&lane), "/outlierd/var/log/my%20app.log/0");
}

#[test]
fn what_nobody_gave_a_time_has_none() {
    let mut alert = example();
    (alert.origin.time, alert.last_time, alert.phase) = (Time(0), Time(0), Phase::Closed);
    let untimed = message(&alert, &provenance(), 900_000);
    assert_eq!(untimed.id, "logs-3-12345-closed", "no id hangs on a time");
    assert!(!untimed.headers.iter().any(|(name, _)| *name == "ce_time"));
    let text = String::from_utf8(line(&alert, &provenance(), 900_000)).expect("JSON is text");
    for name in ["1970", "@timestamp", "\"start\"", "\"end\"", "\"time\"", "last_time"] {
        assert!(!text.contains(name), "{name}: {text}");
    }
    // The last event of an incident may have one where the first has none.
    alert.last_time = Time(1_709_210_100_000);
    let body = json(&message(&alert, &provenance(), 900_000).body);
    assert_eq!((&body["@timestamp"], body["event"].get("start")), (&"2024-02-29T12:35:00.000Z".into(), None));
    assert_eq!(body["outlierd"]["incident"]["last_time"], body["event"]["end"]);
}

#[test]
fn a_duplicate_is_byte_identical() {
    assert_eq!(message(&example(), &provenance(), 900_000), message(&example(), &provenance(), 900_000));
}

#[test]
fn a_line_holds_its_attributes() {
    let line = line(&example(), &provenance(), 900_000);
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    let body = json(&line);
    assert_eq!(body["cloudevent"]["specversion"], "1.0");
    assert_eq!(body["cloudevent"]["id"], "logs-3-12345");
    assert_eq!(body["cloudevent"]["type"], "io.outlierd.incident.opened");
    assert_eq!(body["cloudevent"]["source"], "/outlierd/logs/3");
}

#[test]
fn the_payload_is_cut_first_then_neighbours_then_reasons() {
    let mut alert = example();
    alert.record = Arc::new(Record { payload: Some(vec![b'x'; 5_000_000]), ..Record::default() });
    if let Some(evidence) = &mut alert.verdict.evidence {
        evidence.neighbours[0].text = "n".repeat(4_000).into();
        evidence.neighbours = vec![evidence.neighbours[0].clone(); 16];
        evidence.reasons[0].value = "v".repeat(4_000);
    }
    let at = |max| {
        let body = message(&alert, &provenance(), max).body;
        assert!(body.len() <= max, "{} > {max}", body.len());
        json(&body)
    };
    let wide = at(900_000);
    assert_eq!(wide["event"]["original"].as_str().map(str::len), Some(65_536));
    assert_eq!(wide["outlierd"]["truncated"], true);
    assert_eq!(wide["outlierd"]["source"]["payload_bytes"], 5_000_000);
    let middle = at(75_000);
    assert_eq!(middle["event"]["original"].as_str().map(str::len), Some(4_096));
    assert_eq!(middle["outlierd"]["neighbours"].as_array().map(Vec::len), Some(16));
    let narrow = at(2_000);
    assert!(narrow["event"].get("original").is_none());
    assert_eq!(narrow["outlierd"]["neighbours"].as_array().map(Vec::len), Some(0));
    assert_eq!(narrow["outlierd"]["reasons"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_wildest_alert_fits_the_smallest_bound() {
    let wild = "\u{1}\u{1f600}\"".repeat(20_000);
    let mut alert = example();
    alert.origin.lane.topic = "t".repeat(249).into();
    alert.record = Arc::new(Record {
        key: Some(wild.clone().into_bytes()),
        payload: Some(wild.clone().into_bytes()),
        headers: Vec::new(),
    });
    let channel = &mut alert.verdict.channels[0];
    (channel.field, channel.score, channel.surprise) = (wild.clone().into(), f64::NAN, f64::INFINITY);
    alert.verdict.channels = vec![alert.verdict.channels[0].clone(); 2_000];
    (alert.verdict.surprise, alert.verdict.threshold) = (f64::INFINITY, f64::NEG_INFINITY);
    if let Some(evidence) = &mut alert.verdict.evidence {
        let reason = &mut evidence.reasons[0];
        (reason.value, reason.expected, reason.context) = (wild.clone(), wild.clone(), Some(wild.clone()));
        reason.field = wild.clone().into();
        evidence.reasons = vec![evidence.reasons[0].clone(); 100];
        evidence.neighbours[0].text = wild.clone().into();
        evidence.neighbours = vec![evidence.neighbours[0].clone(); 100];
    }
    let provenance = Provenance {
        service: wild.clone(),
        version: wild.clone(),
        model: wild.clone(),
        config: wild.clone(),
        embedder: wild.clone(),
        budget: wild,
        source: "stdin",
    };
    for max in [BODY_MIN, 100_000, 900_000] {
        let line = line(&alert, &provenance, max);
        assert!(line.len() <= max, "{} > {max}", line.len());
        let body = json(&line);
        assert_eq!(body["outlierd"]["truncated"], true);
        assert!(body["event"]["risk_score"].is_f64(), "finite");
    }
}

#[test]
fn risk_rises_with_surprise() {
    let norms: Vec<f64> = [f64::NAN, -1.0, 0.0, 5.0, 9.2, 20.0, 50.0, 1e9].map(risk_norm).to_vec();
    assert!(norms.windows(2).all(|pair| pair[0] <= pair[1]), "{norms:?}");
    assert!((0.0..=100.0).contains(&norms[0]) && (99.9..=100.0).contains(&norms[7]), "{norms:?}");
    assert!((norms[4] - 60.1).abs() < 0.11, "{norms:?}");
}

#[test]
fn the_rule_calls_a_text_far_only_where_the_sentence_does() {
    let rule = |channel, distance| {
        let mut alert = example();
        let evidence = alert.verdict.evidence.as_mut().expect("it has evidence");
        evidence.reasons[0].channel = channel;
        evidence.neighbours[0].distance = distance;
        json(&message(&alert, &provenance(), 900_000).body)["rule"]["description"].as_str().map(str::to_owned)
    };
    assert_eq!(rule("density", 0.62).as_deref(), Some("the text lies far from every text seen lately"));
    assert_eq!(rule("density", 0.001).as_deref(), Some("the text is seldom seen lately"));
    assert_eq!(
        rule("meaning", 0.001).as_deref(),
        Some("the text is about something else than every text seen lately")
    );
}

/// Dotted names of what a body holds. Lists and the attributes stand on the page as a whole.
fn names(value: &serde_json::Value, name: &str, found: &mut std::collections::BTreeSet<String>) {
    match value.as_object().filter(|_| name != "cloudevent") {
        Some(object) => {
            for (part, value) in object {
                names(value, &if name.is_empty() { part.clone() } else { format!("{name}.{part}") }, found);
            }
        }
        None => _ = found.insert(name.to_owned()),
    }
}

#[test]
fn the_page_of_alerts_names_every_field_and_no_other() {
    let mut found = std::collections::BTreeSet::new();
    let mut alert = example();
    alert.phase = Phase::Closed;
    names(&json(&line(&alert, &provenance(), 900_000)), "", &mut found);
    alert.record = Arc::new(Record { key: Some(vec![0xff]), ..Record::default() });
    names(&json(&line(&alert, &provenance(), 900_000)), "", &mut found);
    let page = include_str!("../../../../deploy/ALERTS.md");
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let said: std::collections::BTreeSet<String> =
        cells.flat_map(|cell| cell.split("`, `")).map(|name| name.trim_end_matches('`').to_owned()).collect();
    assert_eq!(found, said);
    // What the entries of a list hold stands behind it.
    let body = json(&message(&example(), &provenance(), 900_000).body);
    for list in ["channels", "reasons", "neighbours"] {
        let row = page.lines().find(|line| line.contains(&format!("`outlierd.{list}`"))).unwrap_or_default();
        let entry = body["outlierd"][list][0].as_object().expect("the example has one");
        assert!(entry.keys().all(|name| row.contains(&format!("`{name}`"))), "{row}");
    }
}
