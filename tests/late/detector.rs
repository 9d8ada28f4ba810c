//! The detector alone: what joins it changes no bit until it is heard, whatever it would be good for.

use std::sync::Arc;

use outlierd::detect::{Budget, Detector, Matters, Selection, Settings};
use outlierd::embed::hashed::Hashed;
use outlierd::flow::{Embedding, Lane, Meaning, Origin, Point, Sample, Schema, Time, Traced, Verdict};

use super::die;

const SETTINGS: Settings = Settings {
    window_events: 2_000,
    window_texts: 500,
    neighbours: 10.0,
    warmup_events: 1_000,
    calibration_events: 3_000,
    half_life_events: 700.0,
    guard: 0.02,
    fusion_power: 1.2,
    keys_max: 1_000,
    budget: Budget::Events(100.0),
    channels: Selection::ALL,
    meaning: Some(Matters::Auto),
};

/// Fields with a text, numbers and categories; then the same and one more of each kind.
fn schemas() -> [Arc<Schema>; 2] {
    let first = Schema {
        texts: vec!["/message".into()],
        numbers: vec!["/took".into(), "/load".into()],
        categories: vec!["/host".into(), "/step".into()],
        keys: vec!["/customer".into()],
        time: None,
    };
    let more = Schema {
        texts: vec!["/note".into()],
        numbers: vec!["/size".into()],
        categories: vec!["/region".into(), "/zone".into()],
        keys: vec!["/tenant".into()],
        time: None,
    };
    [Arc::new(first.and(&more)), Arc::new(first)]
}

/// Late fields explain early ones: a tenant has a duration, a region its steps, and the load of a zone is a series.
/// Every 97th event is strange in what it says, in its step and in how long it took; and there are
/// bursts of events that take as long.
fn point(event: i64) -> Traced<Point> {
    let (tenant, region, zone) = (die(event, 1, 40), die(event, 11, 4), event.rem_euclid(5));
    let (odd, burst) = (event % 97 == 0, event > 2_100 && event % 150 < 8);
    let took = if odd || burst { 90_000.0 } else { ((tenant + 3) * 100 + die(event, 2, 60)) as f64 };
    let load =
        50.0 + 20.0 * (event as f64 / 300.0 + 9.0 * zone as f64).sin() + die(event, 3, 10) as f64 / 10.0;
    let step = if burst { 0 } else { 3 * ((region + u64::from(odd)) % 4) + die(event, 4, 3) };
    // What a burst is about does not change, but for the fields that are late.
    let (load, customer, host) =
        if burst { (50.0, 7, 9) } else { (load, die(event, 10, 30), die(event, 9, 3)) };
    let message = if odd {
        format!("segfault {}", die(event, 5, 9_999))
    } else {
        format!("user {} signed in", die(event, 5, 90))
    };
    let note = format!(
        "{} by the {} shift",
        ["checked", "closed", "opened"][die(event, 6, 3) as usize],
        ["day", "night"][die(event, 7, 2) as usize]
    );
    let name = |what: &str, number: u64| Some(Arc::from(format!("{what}{number}")));
    let texts = [message, note];
    let embeddings = texts.iter().map(|text| Some(embedding(text))).collect();
    let sample = Sample {
        texts: texts.map(|text| Some(text.into())).to_vec(),
        numbers: vec![Some(took), Some(load), Some(die(event, 8, 900) as f64)],
        categories: vec![
            name("web-", host),
            name("step", step),
            name("r", region),
            name("z", zone.unsigned_abs()),
        ],
        keys: vec![name("c", customer), name("t", tenant)],
        ..Sample::default()
    };
    let origin =
        Origin { lane: Lane { topic: "t".into(), partition: 0 }, offset: event, time: Time(event * 1_000) };
    Traced { origin, value: Point { sample, embeddings } }
}

/// Both views of a text; that of the transformer stands for one that reads nothing but its end.
fn embedding(text: &str) -> Embedding {
    let mut embedder = Hashed::default();
    let end = embedder.embed_one(&text.chars().rev().take(6).collect::<String>());
    let meaning = Meaning { fingerprint: end.fingerprint, vector: end.vector };
    Embedding { meaning: Some(meaning), ..embedder.embed_one(text) }
}

/// The part of a point that a schema reads.
fn within(point: &Traced<Point>, schema: &Schema) -> Traced<Point> {
    let Point { sample, embeddings } = &point.value;
    let embeddings = embeddings.iter().take(schema.texts.len()).cloned().collect();
    Traced { origin: point.origin.clone(), value: Point { sample: sample.within(schema), embeddings } }
}

fn judge(detector: &mut Detector, point: &Traced<Point>) -> Verdict {
    let verdict = detector.judge(point);
    detector.settle(point.origin.time, verdict.is_anomaly());
    verdict
}

#[test]
fn no_bit_changes_before_the_fields_are_heard_and_then_they_explain_the_others() {
    let [grown, first] = schemas();
    let numbers = Schema { numbers: vec!["/size".into()], ..Schema::default() };
    let half = Arc::new(first.and(&numbers));
    // At once, or first a number: fields that join before the others are heard put these off.
    for (steps, heard) in [(vec![(2_000, &grown)], 3_000), (vec![(2_000, &half), (2_400, &grown)], 3_400)] {
        let new = || Detector::new(SETTINGS, Arc::clone(&first));
        let (mut without, mut with, mut schema) = (new(), new(), &first);
        let mut told = Vec::new();
        let mut anomalies = 0;
        for event in 0..heard + 400 {
            let point = point(event);
            if let Some((_, next)) = steps.iter().find(|(at, _)| *at == event) {
                schema = next;
                with.grow(schema);
            }
            let one = judge(&mut without, &within(&point, &first));
            let other = judge(&mut with, &within(&point, schema));
            if event < heard {
                assert_eq!(format!("{one:?}"), format!("{other:?}"), "event {event}");
                assert_eq!(without.gauges().promoted, with.gauges().promoted);
                anomalies += i32::from(one.is_anomaly());
                assert_eq!(with.heard(), &first);
                continue;
            }
            let differ = |entry: &&outlierd::flow::ChannelSurprise| {
                one.channels.iter().any(|old| {
                    (old.channel, &old.field) == (entry.channel, &entry.field)
                        && old.score.to_bits() != entry.score.to_bits()
                })
            };
            told.extend(
                other
                    .channels
                    .iter()
                    .filter(differ)
                    .map(|entry| format!("{} {}", entry.channel, entry.field)),
            );
        }
        assert!(anomalies > 10, "{anomalies}");
        for old in ["numeric /took", "categorical /step", "series /load", "joint "] {
            assert!(told.iter().any(|told| told == old), "{old} is told of as before");
        }
        let gates: Vec<_> = with.gates().into_iter().map(|gate| gate.field).collect();
        assert_eq!(gates, ["/message".into(), "/note".into()]);
        let lift = |detector: &Detector| detector.gates()[0].lift;
        assert!(lift(&with).is_some_and(|lift| lift > 2.0), "what was learned of its agreement goes on");
        assert_eq!(with.heard(), &grown);
    }
}

#[test]
fn fields_that_join_what_has_judged_nothing_are_there_from_the_beginning() {
    let [grown, first] = schemas();
    let (mut new, mut joined) = (Detector::new(SETTINGS, Arc::clone(&grown)), Detector::new(SETTINGS, first));
    joined.grow(&grown);
    for event in 0..1_200 {
        let point = point(event);
        assert_eq!(judge(&mut new, &point), judge(&mut joined, &point));
    }
}

#[test]
fn a_lane_of_texts_alone_gets_every_other_channel() {
    let [grown, _] = schemas();
    let texts = Arc::new(Schema { texts: vec!["/message".into()], ..Schema::default() });
    let rest = Schema { texts: vec!["/note".into()], ..(*grown).clone() };
    let all = Arc::new(texts.and(&rest));
    let mut detector = Detector::new(SETTINGS, Arc::clone(&texts));
    let channels = |verdict: &Verdict| {
        let mut names: Vec<_> = verdict.channels.iter().map(|entry| entry.channel).collect();
        names.dedup();
        names
    };
    for event in 0..3_000 {
        let point = point(event);
        if event == 1_000 {
            detector.grow(&all);
        }
        let read = within(&point, if event < 1_000 { &texts } else { &all });
        let verdict = judge(&mut detector, &read);
        if event < 2_000 {
            assert_eq!(channels(&verdict), ["density", "text", "meaning"]);
        } else {
            // Where there are keys, nearest has nothing to say.
            let all: Vec<_> = Selection::NAMES.into_iter().filter(|name| *name != "nearest").collect();
            assert_eq!(channels(&verdict), all);
        }
        assert!(verdict.surprise.is_finite());
    }
}

#[test]
fn a_channel_that_has_nothing_to_say_of_what_joined_speaks_until_that_is_heard() {
    let numbers = Schema { numbers: vec!["/took".into(), "/load".into()], ..Schema::default() };
    let keyed = Schema { keys: vec!["/customer".into()], ..numbers.clone() };
    let [numbers, keyed] = [Arc::new(numbers), Arc::new(keyed)];
    let new = || Detector::new(SETTINGS, Arc::clone(&numbers));
    let (mut without, mut with) = (new(), new());
    for event in 0..2_600 {
        let mut point = point(event);
        point.value.embeddings.clear();
        if event == 1_200 {
            with.grow(&keyed);
        }
        let one = judge(&mut without, &within(&point, &numbers));
        let other = judge(&mut with, &within(&point, if event < 1_200 { &numbers } else { &keyed }));
        let speaks = |verdict: &Verdict| verdict.channels.iter().any(|entry| entry.channel == "nearest");
        if event < 2_200 {
            assert_eq!(format!("{one:?}"), format!("{other:?}"), "event {event}");
        }
        assert_eq!((speaks(&one), speaks(&other)), (true, event < 2_200));
    }
}
