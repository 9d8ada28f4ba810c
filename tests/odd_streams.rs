//! Whole streams of bad input: constant, huge, empty, ever new, of mixed types. Each gets verdicts or a clear message, all
//! scores finite, nothing held beyond its limit, and the same whatever the size of batches.

use std::sync::Arc;

use outlierd::config::Config;
use outlierd::decode::{Decoded, decode};
use outlierd::detect::{Detector, Gauges};
use outlierd::embed::{Embedder, hashed::Hashed};
use outlierd::flow::{Fault, Lane, Origin, Point, Record, Time, Traced, Verdict};
use outlierd::pipeline::{Action, Effect, Pipeline, Settings};
use outlierd::render::{self, Field, Kind, Renderer};

fn settings() -> Settings {
    let mut settings = Config::load(None, &[("source.topics".into(), "[\"t\"]".into())]).unwrap().pipeline;
    settings.trace = true;
    // Small, so that a short stream fills and overfills what there is.
    settings.detect.window_texts = 50;
    settings.detect.keys_max = 200;
    settings.detect.calibration_events = 1_000;
    settings.detect.warmup_events = 500;
    settings.render.infer_events = 200;
    settings
}

/// The same, with fields named.
fn named(fields: &[(&str, Kind)]) -> Settings {
    let mut settings = settings();
    let field = |&(name, kind): &(&str, Kind)| Field { pointer: format!("/{name}"), kind };
    settings.render.fields = fields.iter().map(field).collect();
    settings
}

const ALL: [(&str, Kind); 6] = [
    ("text", Kind::Text),
    ("x", Kind::Number),
    ("y", Kind::Number),
    ("c", Kind::Category),
    ("k", Kind::Key),
    ("time", Kind::Time),
];

struct Outcome {
    verdicts: Vec<Verdict>,
    /// Offsets of alerts, and of rejections with their message.
    alerts: Vec<i64>,
    rejected: Vec<(i64, Fault, String)>,
}

fn traced(offset: i64, payload: &str) -> Traced<Record> {
    let lane = Lane { topic: "t".into(), partition: 0 };
    let origin = Origin { lane, offset, time: Time(offset) };
    Traced { origin, value: Record { payload: Some(payload.into()), ..Record::default() } }
}

/// A stream through the pipeline, so many records at a time.
fn drive(settings: &Settings, payloads: &[String], batch: usize) -> Outcome {
    let (mut pipeline, mut hashed) = (Pipeline::new(settings.clone()), Hashed::new(100));
    let lane = Lane { topic: "t".into(), partition: 0 };
    let mut outcome = Outcome { verdicts: Vec::new(), alerts: Vec::new(), rejected: Vec::new() };
    let mut actions = std::collections::VecDeque::new();
    actions.push_back(Action::Assigned { lane: lane.clone(), generation: 1, live_from: 0, reading: None });
    for (number, payloads) in payloads.chunks(batch).enumerate() {
        let offsets = i64::try_from(number * batch).unwrap()..;
        let records = offsets.zip(payloads).map(|(offset, payload)| traced(offset, payload)).collect();
        actions.push_back(Action::Read { lane: lane.clone(), generation: 1, records });
        settle(&mut pipeline, &mut hashed, &mut actions, &mut outcome);
    }
    actions.push_back(Action::Ended { lane, generation: 1 });
    settle(&mut pipeline, &mut hashed, &mut actions, &mut outcome);
    assert_eq!(
        outcome.verdicts.len() + outcome.rejected.len(),
        payloads.len(),
        "each gets a verdict or a message"
    );
    outcome
}

fn settle(
    pipeline: &mut Pipeline,
    hashed: &mut Hashed,
    actions: &mut std::collections::VecDeque<Action>,
    outcome: &mut Outcome,
) {
    let mut effects = Vec::new();
    while let Some(action) = actions.pop_front() {
        pipeline.apply(action, &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Embed(request) => {
                    let texts: Vec<&str> = request.texts.iter().map(AsRef::as_ref).collect();
                    let embeddings = hashed.embed(&texts).unwrap();
                    actions.push_back(Action::Embedded { id: request.id, embeddings });
                }
                Effect::Judged { verdict, .. } => {
                    check(&verdict.value);
                    outcome.verdicts.push(verdict.value);
                }
                Effect::Publish { ticket, alert } => {
                    outcome.alerts.push(alert.origin.offset);
                    actions.push_back(Action::Published(ticket));
                }
                Effect::Reject { ticket, rejection, .. } => {
                    outcome.rejected.push((ticket.offset, rejection.fault, rejection.message));
                    actions.push_back(Action::Published(ticket));
                }
                Effect::Commit(_) | Effect::Settled { .. } | Effect::Stopped => {}
            }
        }
    }
}

fn check(verdict: &Verdict) {
    assert!(verdict.surprise.is_finite() && verdict.surprise >= 0.0, "{verdict:?}");
    assert!(verdict.threshold.is_finite(), "{verdict:?}");
    for entry in &verdict.channels {
        assert!(entry.score.is_finite() && entry.surprise.is_finite() && entry.surprise >= 0.0, "{entry:?}");
    }
}

/// What a detector holds after a stream.
fn held(settings: &Settings, payloads: &[String]) -> Gauges {
    let schema = Arc::new(render::schema(&settings.render, &[]));
    let renderer = Renderer::new(&settings.render, Arc::clone(&schema));
    let (mut detector, mut hashed) = (Detector::new(settings.detect, schema), Hashed::new(100));
    for (payload, offset) in payloads.iter().zip(0..) {
        let record = traced(offset, payload);
        let Ok(Decoded::Event(event)) = decode(&settings.decode, &record.value) else { continue };
        let sample = renderer.render(&event);
        let embeddings =
            sample.texts.iter().map(|text| text.as_ref().map(|text| hashed.embed_one(text))).collect();
        let origin = Origin { time: sample.time.unwrap_or_default(), ..record.origin };
        let verdict = detector.judge(&Traced { origin, value: Point { sample, embeddings } });
        check(&verdict);
        detector.settle(Time(offset), verdict.is_anomaly());
    }
    detector.gauges()
}

struct Draws(u64);

impl Draws {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % count
    }
}

fn usual(event: u64, draws: &mut Draws) -> String {
    let (user, took, size) = (draws.below(40), draws.below(90), draws.below(5_000));
    let level = ["info", "info", "warn"][draws.below(3) as usize];
    format!(
        "{{\"text\":\"user {user} did {} in {took} ms\",\"x\":{took},\"y\":{size},\"c\":\"{level}\",\"k\":\"u{user}\",\
         \"time\":{}}}",
        ["read", "write", "list"][draws.below(3) as usize],
        1_700_000_000_000 + event * 10
    )
}

/// A usual stream in which every kind of oddity turns up.
fn motley(events: u64) -> Vec<String> {
    let mut draws = Draws(7);
    let odd = [
        "{\"text\":\"\",\"x\":0,\"c\":\"\",\"k\":\"\"}",
        "{\"text\":7,\"x\":\"seven\",\"y\":true,\"c\":[1,2],\"k\":{\"a\":null},\"time\":\"never\"}",
        "{\"text\":null,\"x\":null,\"c\":null,\"k\":null}",
        "{\"text\":\"user 1 did read in 5 ms\",\"x\":1e308,\"y\":-1e308,\"c\":\"info\",\"k\":\"u1\"}",
        "{\"x\":-0.0,\"y\":5e-324,\"k\":9223372036854775807}",
        "{\"text\":\"\\u0000\\ufffd\\u202e🦀\",\"x\":-1e308,\"c\":\"info\"}",
        "{\"text\":",
        "{}",
        "   ",
        "[1,2,3]",
        "plain words, no object",
    ];
    let event = |event| match event {
        _ if event > 100 && event % 17 == 0 => odd[draws.below(odd.len() as u64) as usize].to_owned(),
        _ => usual(event, &mut draws),
    };
    (0..events).map(event).collect()
}

#[test]
fn verdicts_are_the_same_at_every_batch_size_and_on_every_run() {
    let payloads = motley(4_000);
    for settings in [settings(), named(&ALL)] {
        let first = drive(&settings, &payloads, 512);
        assert!(!first.rejected.is_empty() && first.verdicts.len() > 3_000);
        assert!(first.rejected.iter().all(|(_, _, message)| !message.is_empty() && message.len() < 300));
        for batch in [1, 7, 512] {
            let again = drive(&settings, &payloads, batch);
            assert_eq!(again.verdicts, first.verdicts, "in batches of {batch}");
            assert_eq!(again.alerts, first.alerts, "in batches of {batch}");
            let mut rejected = again.rejected;
            rejected.sort();
            let mut before = first.rejected.clone();
            before.sort();
            assert_eq!(rejected, before, "in batches of {batch}");
        }
    }
}

#[test]
fn events_all_equal_are_never_strange_and_the_one_that_differs_is() {
    let same = "{\"text\":\"all is well\",\"x\":7,\"y\":7.5,\"c\":\"ok\",\"k\":\"host\"}";
    let other = "{\"text\":\"kernel panic: oops\",\"x\":99,\"y\":-4,\"c\":\"bad\",\"k\":\"host\"}";
    let mut payloads = vec![same.to_owned(); 3_000];
    payloads.push(other.to_owned());
    payloads.push(same.to_owned());
    let outcome = drive(&named(&ALL), &payloads, 100);
    let (before, after) = outcome.verdicts.split_at(3_000);
    let strange: Vec<_> = before.iter().filter(|verdict| verdict.is_anomaly()).collect();
    assert!(strange.is_empty(), "{} {:?}", strange.len(), strange.first());
    assert!(after[0].is_anomaly() && !after[1].is_anomaly(), "{after:?}");
    assert_eq!(outcome.alerts, [3_000]);
    // With fields inferred: constants are no fields, which is said rather than judged, or else judged as ordinary.
    let outcome = drive(&settings(), &payloads[..3_000], 100);
    assert!(outcome.verdicts.iter().all(|verdict| !verdict.is_anomaly()));
    assert!(
        outcome.rejected.iter().all(|(_, fault, message)| *fault == Fault::NoFields && !message.is_empty())
    );
}

#[test]
fn one_distinct_value_in_each_field_at_a_time_is_survived() {
    for field in ["\"text\":\"same\"", "\"x\":1", "\"c\":\"same\"", "\"k\":\"same\",\"x\":2"] {
        let outcome = drive(&named(&ALL), &vec![format!("{{{field}}}"); 2_000], 64);
        assert!(outcome.verdicts.iter().all(|verdict| !verdict.is_anomaly()), "{field}");
    }
}

#[test]
fn huge_and_tiny_numbers_give_finite_scores() {
    let wild = [
        "1e308",
        "-1e308",
        "5e-324",
        "-0.0",
        "0",
        "1e-300",
        "9223372036854775807",
        "1",
        "1.0000000000000002",
    ];
    let mut draws = Draws(3);
    let payload = |event: u64| {
        let [x, y] = [0, 1].map(|_| wild[draws.below(wild.len() as u64) as usize]);
        let x = if event.is_multiple_of(3) { x.to_owned() } else { format!("{}e-3", event % 50) };
        format!("{{\"x\":{x},\"y\":{y},\"k\":\"k{}\",\"time\":{}}}", event % 5, event * 1_000)
    };
    let payloads: Vec<String> = (0..6_000).map(payload).collect();
    assert_eq!(drive(&named(&ALL), &payloads, 512).verdicts.len(), payloads.len());
    drive(&settings(), &payloads, 512);
}

#[test]
fn ten_thousand_new_keys_a_second_cost_bounded_memory() {
    let settings = named(&ALL);
    let payload = |event: u64| {
        format!(
            "{{\"text\":\"{} new\",\"x\":{},\"y\":{},\"c\":\"c{event}\",\"k\":\"k{event}\",\"time\":{}}}",
            // Words, since numbers are masked.
            (0..4).map(|at| char::from(b'a' + (event >> (4 * at) & 15) as u8)).collect::<String>(),
            event % 100,
            event % 7,
            1_700_000_000_000 + event / 10
        )
    };
    let payloads: Vec<String> = (0..30_000).map(payload).collect();
    let (third, whole) = (held(&settings, &payloads[..10_000]), held(&settings, &payloads));
    // The tables of keys, values and pairs of a key, a category and two numbers, all channels together.
    assert!(whole.keys <= 20 * settings.detect.keys_max && whole.evicted > 20_000, "{whole:?}");
    assert!(whole.keys <= third.keys + settings.detect.keys_max, "{third:?} {whole:?}");
    assert_eq!(whole.rows, settings.detect.window_texts);
}

#[test]
fn empty_and_megabyte_texts_are_judged_and_larger_ones_refused() {
    let mut settings = named(&ALL);
    let megabyte = |event: u64| {
        let words = [" lorem", " ipsum", "\u{e9}t\u{e9}", " 12345"][(event % 4) as usize];
        format!("{{\"text\":\"{}{event}\",\"x\":{event}}}", words.repeat(1_000_000 / words.len()))
    };
    let payload = |event: u64| match event {
        700..706 => megabyte(event),
        _ if event.is_multiple_of(5) => "{\"text\":\"\",\"x\":1}".to_owned(),
        _ => format!("{{\"text\":\"line {event} of many\",\"x\":{}}}", event % 9),
    };
    let mut payloads: Vec<String> = (0..900).map(payload).collect();
    payloads.push(format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20)));
    for text_max in [8_192, 1 << 20] {
        settings.render.text_max = text_max;
        let outcome = drive(&settings, &payloads, 512);
        let [(offset, fault, message)] = &outcome.rejected[..] else { panic!("{:?}", outcome.rejected) };
        assert_eq!((*offset, *fault), (900, Fault::TooLarge));
        assert!(message.contains("1048"), "{message}");
    }
    assert!(held(&settings, &payloads).rows <= settings.detect.window_texts);
}

#[test]
fn mixed_types_in_a_field_are_counted_and_not_guessed() {
    let values = ["1", "\"one\"", "true", "null", "[1]", "{\"a\":1}", "1.5", "\"\"", "\"2\"", "-7"];
    let mut draws = Draws(11);
    let mut value = || values[draws.below(values.len() as u64) as usize];
    let payload =
        |_| format!("{{\"text\":{},\"x\":{},\"y\":1,\"c\":{},\"k\":{}}}", value(), value(), value(), value());
    let payloads: Vec<String> = (0..4_000).map(payload).collect();
    assert_eq!(drive(&named(&ALL), &payloads, 512).verdicts.len(), 4_000);
    let inferred = drive(&settings(), &payloads, 512);
    assert_eq!(drive(&settings(), &payloads, 7).verdicts, inferred.verdicts);
}
