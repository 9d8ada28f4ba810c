//! What the demo promises of its stream: the same bytes for a seed, true labels, and anomalies that are what
//! their kind says.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

const EVENTS: u64 = 100_000;

/// A pair of fields, and of values.
type Pair = (&'static str, String, &'static str, String);

fn stream() -> impl Iterator<Item = Generated> {
    Generator::new(11, EVENTS).take(EVENTS as usize)
}

fn parsed(event: &Generated) -> Value {
    serde_json::from_slice(&event.payload).unwrap()
}

fn text(event: &Value, field: &str) -> String {
    event[field].as_str().unwrap_or_else(|| panic!("no {field} in {event}")).to_owned()
}

fn watched(topic: Topic) -> &'static [&'static str] {
    match topic {
        Topic::Logs => &["service", "host", "level", "version"],
        Topic::Payments => &["merchant", "category", "country", "currency", "channel", "entry_mode"],
    }
}

/// Values of the watched fields.
fn values(topic: Topic, event: &Value) -> Vec<String> {
    watched(topic).iter().map(|field| text(event, field)).collect()
}

fn pairs(topic: Topic, values: &[String]) -> Vec<Pair> {
    let fields: Vec<_> = watched(topic).iter().copied().zip(values).collect();
    let mut found = Vec::new();
    for (at, &(one, value)) in fields.iter().enumerate() {
        for &(other, beside) in &fields[at + 1..] {
            found.push((one, value.clone(), other, beside.clone()));
        }
    }
    found
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let run = |seed| Generator::new(seed, 5_000).take(5_000).collect::<Vec<_>>();
    assert_eq!(run(1), run(1));
    assert_ne!(run(1)[0].payload, run(2)[0].payload);
}

#[test]
fn the_bytes_of_a_seed_are_the_same_on_every_machine() {
    // FNV-1a over all payloads. It changes with every change of the stream, and must with nothing else.
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for event in Generator::new(42, 10_000).take(10_000) {
        for byte in event.payload {
            sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(sum, 628_093_037_249_300_041);
}

#[test]
fn every_event_is_a_json_object_of_about_300_bytes_keyed_by_host_or_customer() {
    let (mut bytes, mut logs, mut last) = (0, 0, String::new());
    for event in stream().take(20_000) {
        let json = parsed(&event);
        let key = match event.topic {
            Topic::Logs => "host",
            Topic::Payments => "customer",
        };
        assert_eq!(text(&json, key), event.key);
        let time = text(&json, "time");
        assert!(time >= last, "time went back: {last} {time}");
        last = time;
        logs += u64::from(event.topic == Topic::Logs);
        bytes += event.payload.len();
    }
    let mean = bytes / 20_000;
    assert!((270..=340).contains(&mean), "mean payload {mean}");
    assert!((9_500..12_500).contains(&logs), "{logs} log lines");
}

#[test]
fn no_field_tells_what_was_planted() {
    let mut shapes: BTreeMap<(Topic, bool), Vec<String>> = BTreeMap::new();
    for event in stream() {
        let Value::Object(object) = parsed(&event) else { panic!("not an object") };
        let names: Vec<String> = object.keys().cloned().collect();
        let seen = shapes.entry((event.topic, event.planted.is_some())).or_insert_with(|| names.clone());
        assert_eq!(*seen, names);
    }
    for topic in Topic::ALL {
        assert_eq!(shapes[&(topic, false)], shapes[&(topic, true)]);
    }
}

#[test]
fn the_start_is_clean_and_kinds_come_at_their_rates() {
    let mut first = BTreeMap::new();
    for (at, event) in stream().enumerate() {
        if let Some(planted) = event.planted {
            first.entry(planted.id).or_insert((at as u64, planted.kind));
        }
    }
    let starts: Vec<u64> = first.values().map(|&(at, _)| at).collect();
    assert!(starts[0] >= EVENTS / 5);
    assert!(starts.is_sorted());
    let apart = (EVENTS - EVENTS / 5) / starts.len() as u64;
    assert!((400..=1_000).contains(&apart), "one incident in {apart} events");
    let count = |kind| first.values().filter(|&&(_, other)| other == kind).count();
    let [new, wrong, rare, burst] = Kind::ALL.map(count);
    assert!(new.abs_diff(wrong) <= 4 && new.abs_diff(rare) <= 4, "{new} {wrong} {rare}");
    assert!(burst > 0 && burst * 3 <= new, "{burst} bursts, {new} new messages");
    let short = Generator::new(3, 4_000).position(|event| event.planted.is_some()).unwrap();
    assert!(short as u64 >= CLEAN_EVENTS_MIN);
}

#[test]
fn a_burst_is_one_incident_of_similar_lines_of_one_service_within_seconds() {
    let mut bursts: BTreeMap<u32, Vec<Value>> = BTreeMap::new();
    for event in stream() {
        if let Some(Planted { id, kind: Kind::Burst }) = event.planted {
            assert_eq!(event.topic, Topic::Logs);
            bursts.entry(id).or_default().push(parsed(&event));
        }
    }
    for lines in bursts.values() {
        assert!((50..=300).contains(&lines.len()), "{} lines", lines.len());
        let service = text(&lines[0], "service");
        let start: String = text(&lines[0], "message").chars().take(10).collect();
        for line in lines {
            assert_eq!((text(line, "service"), text(line, "level").as_str()), (service.clone(), "ERROR"));
            assert!(text(line, "message").starts_with(&start));
        }
        let second = |at: usize| {
            let time = text(&lines[at], "time");
            let [hours, minutes, seconds] =
                [11..13, 14..16, 17..19].map(|part| time[part].parse::<i64>().unwrap());
            hours * 3_600 + minutes * 60 + seconds
        };
        assert!((second(lines.len() - 1) - second(0)).rem_euclid(86_400) <= 10);
    }
}

#[test]
fn a_new_message_is_new() {
    // The first three words of a message without digits tell lines of code apart.
    let shape = |event: &Value| {
        let words: Vec<String> =
            text(event, "message").split_whitespace().take(3).map(str::to_owned).collect();
        words.join(" ").replace(|letter: char| letter.is_ascii_digit(), "")
    };
    let (mut usual, mut planted) = (BTreeMap::new(), Vec::new());
    for event in stream().filter(|event| event.topic == Topic::Logs) {
        match event.planted {
            None => *usual.entry(shape(&parsed(&event))).or_insert(0_u64) += 1,
            Some(Planted { kind: Kind::NewMessage, .. }) => planted.push(shape(&parsed(&event))),
            Some(_) => {}
        }
    }
    assert!(planted.len() > 30);
    for shape in planted {
        assert!(!usual.contains_key(&shape), "not new: {shape}");
    }
}

#[test]
fn a_rare_combination_is_of_common_values_that_never_meet() {
    let (mut usual, mut planted) = (BTreeMap::new(), Vec::new());
    for event in stream() {
        let values = values(event.topic, &parsed(&event));
        match event.planted {
            None => *usual.entry((event.topic, values)).or_insert(0_u64) += 1,
            Some(Planted { kind: Kind::RareCombination, .. }) => planted.push((event.topic, values)),
            Some(_) => {}
        }
    }
    for topic in Topic::ALL {
        let (mut whole, mut alone, mut together) = (0, BTreeMap::new(), BTreeMap::new());
        for ((_, values), seen) in usual.iter().filter(|((other, _), _)| *other == topic) {
            whole += seen;
            for field in watched(topic).iter().zip(values) {
                *alone.entry(field).or_insert(0) += seen;
            }
            for pair in pairs(topic, values) {
                *together.entry(pair).or_insert(0) += seen;
            }
        }
        let planted: Vec<_> = planted.iter().filter(|(other, _)| *other == topic).collect();
        assert!(planted.len() > 10, "only {} in {}", planted.len(), topic.name());
        for (_, values) in planted {
            for field in watched(topic).iter().zip(values) {
                assert!(alone[&field] * 200 > whole, "{field:?} is rare in itself: {}", alone[&field]);
            }
            let unheard = pairs(topic, values).into_iter().any(|pair| !together.contains_key(&pair));
            assert!(unheard, "every pair is known: {values:?}");
        }
        // What is usual must be learnable: no usual pair is a rarity, but for a merchant's ways to read a card.
        let rarest =
            together.iter().filter(|(pair, _)| pair.0 != "merchant").map(|(pair, &seen)| (seen, pair));
        let (seen, pair) = rarest.min().unwrap();
        assert!(seen * 2_000 > whole, "{pair:?} only {seen} times");
    }
}

#[test]
fn a_wrong_amount_is_wrong_for_its_customer_and_usual_for_all() {
    let mut history: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for event in stream().filter(|event| event.topic == Topic::Payments) {
        let amount = parsed(&event)["amount"].as_f64().unwrap();
        let own = history.entry(event.key).or_default();
        match event.planted {
            None => {
                own.push(amount);
                all.push(amount);
            }
            Some(Planted { kind: Kind::WrongAmount, .. }) => {
                assert!(own.len() >= 7, "only {} payments before", own.len());
                let level = own.iter().map(|amount| amount.ln()).sum::<f64>() / own.len() as f64;
                wrong.push((amount, amount / level.exp()));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.len() > 30);
    all.sort_by(f64::total_cmp);
    let (low, high) = (all[all.len() / 200], all[all.len() - all.len() / 200]);
    for (amount, ratio) in wrong {
        // A customer's mean so far stands for the level, so the bounds of 8 and 1/10 are met within its error.
        assert!(!(0.15..6.0).contains(&ratio), "{amount} is {ratio} of this customer's level");
        assert!((low..high).contains(&amount), "{amount} is strange for everybody: {low} to {high}");
    }
    for own in history.values() {
        let most = own.iter().copied().fold(0.0, f64::max);
        let least = own.iter().copied().fold(f64::MAX, f64::min);
        assert!(most / least < 7.5 * 10.0, "a normal customer pays {least} and {most}");
    }
}
