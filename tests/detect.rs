//! The whole detector: what it finds, what it says, what it costs the operator, and what it survives.

use std::sync::Arc;

use outlierd::detect::{Budget, Detector, Matters, Settings};
use outlierd::embed::hashed::Hashed;
use outlierd::flow::{Embedding, Lane, Meaning, Origin, Point, Sample, Schema, Time, Traced, Verdict};

const SETTINGS: Settings = Settings {
    window_events: 10_000,
    window_texts: 2_000,
    neighbours: 20.0,
    warmup_events: 500,
    calibration_events: 5_000,
    half_life_events: 1_000.0,
    guard: 0.02,
    fusion_power: 3.0,
    keys_max: 1_000,
    budget: Budget::Events(1_000.0),
    channels: outlierd::detect::Selection::ALL,
    meaning: None,
};

struct Draws(u64);

impl Draws {
    /// A number from 0 to 1 (xorshift64*).
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, count: usize) -> usize {
        self.unit();
        usize::try_from((self.0 >> 20) % count as u64).unwrap_or(0)
    }
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema {
        numbers: vec!["/amount".into(), "/items".into()],
        categories: vec!["/service".into(), "/operation".into()],
        keys: vec!["/customer".into()],
        ..Schema::default()
    })
}

fn point(offset: i64, sample: Sample) -> Traced<Point> {
    let origin =
        Origin { lane: Lane { topic: "t".into(), partition: 0 }, offset, time: Time(offset * 1_000) };
    Traced { origin, value: Point { sample, embeddings: Vec::new() } }
}

/// A payment: each customer has an amount of their own, each service its operations.
fn payment(draws: &mut Draws) -> Sample {
    let (customer, service) = (draws.below(100), draws.below(3));
    let amount = (customer as f64 + 10.0) * (1.0 + 0.4 * (draws.unit() - draws.unit()));
    Sample {
        numbers: vec![Some(amount), Some(1.0 + draws.below(5) as f64)],
        categories: vec![
            Some(["cart", "mail", "pay"][service].into()),
            Some(format!("op{}", 3 * service + draws.below(3)).into()),
        ],
        keys: vec![Some(format!("c{customer}").into())],
        ..Sample::default()
    }
}

/// A detector that has judged so many payments, and the verdicts.
fn after(events: i64) -> (Detector, Vec<Verdict>) {
    let (mut detector, mut draws) = (Detector::new(SETTINGS, schema()), Draws(1));
    let verdicts = (0..events).map(|offset| {
        let point = point(offset, payment(&mut draws));
        let verdict = detector.judge(&point);
        detector.settle(point.origin.time, verdict.is_anomaly());
        verdict
    });
    let verdicts = verdicts.collect();
    (detector, verdicts)
}

#[test]
fn planted_anomalies_of_several_kinds_are_found_and_explained() {
    let odd_amount = Sample {
        numbers: vec![Some(105.0), Some(2.0)],
        categories: vec![Some("cart".into()), Some("op1".into())],
        keys: vec![Some("c10".into())],
        ..Sample::default()
    };
    let huge_amount = Sample { numbers: vec![Some(9e9), Some(2.0)], ..odd_amount.clone() };
    let normal = Sample { numbers: vec![Some(20.0), Some(2.0)], ..odd_amount.clone() };
    let new_value = Sample { categories: vec![Some("<new>".into()), Some("op1".into())], ..normal.clone() };
    let odd_pair = Sample { categories: vec![Some("cart".into()), Some("op8".into())], ..normal.clone() };
    let cases = [
        (odd_amount, "numeric", "/amount", "of /customer=c10)"),
        (huge_amount, "numeric", "/amount", "of /customer=c10)"),
        (new_value, "joint", "/service", "0 of the last 2000 normal events"),
        (odd_pair, "categorical", "", "never with /"),
    ];
    for (sample, channel, field, expected) in cases {
        let (mut detector, _) = after(10_000);
        let verdict = detector.judge(&point(10_000, sample.clone()));
        let evidence = verdict.evidence.as_ref().unwrap_or_else(|| panic!("{expected}: {verdict:?}"));
        let first = &evidence.reasons[0];
        assert!(verdict.is_anomaly() && !verdict.admitted, "{verdict:?}");
        assert_eq!(first.channel, channel);
        assert!(first.field.contains(field) && first.expected.contains(expected), "{first:?}");
        assert!(evidence.reasons.len() <= 5);
        let (mut detector, _) = after(10_000);
        assert!(!detector.judge(&point(10_000, normal.clone())).is_anomaly());
    }
}

#[test]
fn a_clean_stream_costs_the_budget_and_surprise_is_what_it_says() {
    let (detector, verdicts) = after(60_000);
    let steady = &verdicts[10_000..];
    let share = |test: &dyn Fn(&Verdict) -> bool| {
        steady.iter().filter(|verdict| test(verdict)).count() as f64 / steady.len() as f64
    };
    for level in [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] {
        let ratio = share(&|verdict| verdict.surprise > level) / f64::exp(-level);
        // The margins for noise make ordinary events a little less strange than they are, and a tail lighter than an
        // exponential one is called less rare than it is.
        let least = if (2.0..=5.0).contains(&level) { 0.7 } else { 0.5 };
        assert!((least..1.33).contains(&ratio), "surprise over {level}: {ratio} of what it says");
    }
    let alerts = share(&Verdict::is_anomaly) * 1_000.0;
    assert!((0.5..2.0).contains(&alerts), "{alerts} alerts where one is budgeted");
    let kept_out = share(&|verdict| !verdict.admitted);
    assert!((0.01..0.03).contains(&kept_out), "{kept_out} of events did not teach");
    assert!(verdicts.iter().all(|verdict| verdict.warm == (verdict.seen >= 500)));
    assert!(verdicts.iter().all(|verdict| verdict.evidence.is_some() == verdict.is_anomaly()));
    let (fields, gauges): (Vec<_>, _) = (
        verdicts[9].channels.iter().map(|entry| (entry.channel, &*entry.field)).collect(),
        detector.gauges(),
    );
    let expected = [
        ("joint", ""),
        ("numeric", "/amount"),
        ("numeric", "/items"),
        ("categorical", "/service"),
        ("categorical", "/operation"),
        ("series", "/amount"),
        ("series", "/items"),
    ];
    assert_eq!(fields, expected);
    assert!(gauges.seen == 60_000 && gauges.keys > 100 && gauges.keys < 2_000, "{gauges:?}");
}

#[test]
fn the_same_points_get_the_same_verdicts() {
    assert_eq!(after(5_000).1, after(5_000).1);
}

#[test]
fn a_burst_does_not_hide_the_next_anomaly() {
    let (mut detector, _) = after(10_000);
    let mut draws = Draws(9);
    let normal = payment(&mut draws);
    let strange = |service: &str| Sample {
        categories: vec![Some(service.into()), normal.categories[1].clone()],
        ..normal.clone()
    };
    for offset in 10_000..10_150 {
        assert!(!detector.judge(&point(offset, strange("<outage>"))).admitted);
        detector.settle(Time(offset * 1_000), offset == 10_000);
    }
    let verdict = detector.judge(&point(10_150, strange("<other>")));
    // Had each of the 150 been remembered, the next would be one of 3 % of events: 3.5 nats.
    assert!(verdict.surprise > 6.0, "{verdict:?}");
}

#[test]
fn what_keeps_coming_becomes_normal() {
    let (mut detector, _) = after(5_000);
    let mut draws = Draws(5);
    let mut last = true;
    for offset in 5_000..8_000 {
        let mut sample = payment(&mut draws);
        if offset % 3 == 0 {
            sample = Sample {
                numbers: vec![Some(30.0 + draws.unit()), Some(40.0)],
                categories: vec![Some("refund".into()), Some("op9".into())],
                keys: vec![Some("desk".into())],
                ..Sample::default()
            };
        }
        let verdict = detector.judge(&point(offset, sample));
        detector.settle(Time(offset * 1_000), false);
        last = if offset % 3 == 0 { verdict.admitted } else { last };
    }
    assert!(last && detector.gauges().promoted >= 1, "{:?}", detector.gauges());
}

/// Judges samples, and checks what must hold whatever comes.
fn survive(schema: Schema, samples: impl Iterator<Item = Sample>) -> (Detector, Vec<Verdict>) {
    let mut detector = Detector::new(SETTINGS, Arc::new(schema));
    let verdicts = samples.zip(0..).map(|(sample, offset)| {
        let point = point(offset, sample);
        let verdict = detector.judge(&point);
        detector.settle(point.origin.time, verdict.is_anomaly());
        assert!(verdict.surprise.is_finite() && verdict.surprise >= 0.0 && verdict.threshold.is_finite());
        let entries = verdict.channels.iter();
        assert!(entries.clone().all(|entry| entry.score.is_finite() && entry.surprise.is_finite()));
        verdict
    });
    let verdicts = verdicts.collect();
    (detector, verdicts)
}

fn numbers(x: Option<f64>) -> Sample {
    Sample { numbers: vec![x], ..Sample::default() }
}

#[test]
fn constants_are_never_strange_and_the_first_that_differs_is() {
    let schema = Schema { numbers: vec!["/x".into()], ..Schema::default() };
    let stream = (0..4_000).map(|event| numbers(Some(if event == 3_999 { 8.0 } else { 7.0 })));
    let (_, verdicts) = survive(schema, stream);
    assert!(verdicts[..3_999].iter().all(|verdict| verdict.surprise == 0.0));
    assert!(verdicts[3_999].is_anomaly(), "{:?}", verdicts[3_999]);
    let schema = Schema { categories: vec!["/c".into()], ..Schema::default() };
    let category = |event| if event == 3_999 { "other" } else { "only" };
    let stream = (0..4_000)
        .map(|event| Sample { categories: vec![Some(category(event).into())], ..Sample::default() });
    let (_, verdicts) = survive(schema, stream);
    assert!(verdicts[100..3_999].iter().all(|verdict| !verdict.is_anomaly()));
    assert!(verdicts[3_999].is_anomaly(), "{:?}", verdicts[3_999]);
}

#[test]
fn wild_numbers_missing_fields_and_no_fields_give_finite_verdicts() {
    let mut draws = Draws(3);
    let wild = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 0.0, f64::NAN, f64::INFINITY, 1.0];
    let schema = Schema { numbers: vec!["/x".into()], ..Schema::default() };
    let stream = (0..5_000).map(|event| match event % 10 {
        0 => numbers(None),
        1 => Sample::default(),
        2 => numbers(Some(wild[draws.below(wild.len())])),
        _ => numbers(Some(draws.unit() * 1e-12)),
    });
    survive(schema, stream);
    let (detector, verdicts) = survive(Schema::default(), (0..2_000).map(|_| Sample::default()));
    assert!(verdicts.iter().all(|verdict| verdict.surprise == 0.0 && verdict.channels.is_empty()));
    assert_eq!(detector.gauges().keys, 0);
}

#[test]
fn ten_thousand_keys_and_values_cost_bounded_memory() {
    let stream = (0..10_000).map(|event| Sample {
        numbers: vec![Some(f64::from(event % 9)), None],
        categories: vec![Some(format!("v{event}").into()), Some("op1".into())],
        keys: vec![Some(format!("k{event}").into())],
        ..Sample::default()
    });
    let (detector, _) = survive((*schema()).clone(), stream);
    let gauges = detector.gauges();
    assert!(gauges.keys <= 9 * SETTINGS.keys_max && gauges.evicted > 10_000, "{gauges:?}");
}

#[test]
fn settings_that_make_no_sense_do_not_panic() {
    let settings = Settings {
        warmup_events: 0,
        calibration_events: 0,
        half_life_events: f64::NAN,
        guard: f64::NAN,
        fusion_power: f64::NAN,
        keys_max: 0,
        budget: Budget::Rate { count: f64::NAN, span_ms: 0.0 },
        ..SETTINGS
    };
    let (mut detector, mut draws) = (Detector::new(settings, schema()), Draws(1));
    for offset in 0..2_000 {
        let verdict = detector.judge(&point(offset, payment(&mut draws)));
        detector.settle(Time(i64::MAX - offset), verdict.is_anomaly());
        assert!(verdict.surprise.is_finite() && verdict.threshold.is_finite());
    }
}

#[test]
fn a_familiar_message_does_not_open_the_guard_for_its_numbers() {
    let schema =
        Schema { texts: vec!["/message".into()], numbers: vec!["/took".into()], ..Schema::default() };
    let (mut detector, mut embedder) = (Detector::new(SETTINGS, Arc::new(schema)), Hashed::default());
    let mut draws = Draws(5);
    let mut judge = |offset: i64, took: f64, draws: &mut Draws| {
        let text = format!("order {} of the {}th shop was sent", draws.below(9_000), draws.below(20));
        let embeddings = vec![Some(embedder.embed_one(&text))];
        let sample =
            Sample { texts: vec![Some(text.into())], numbers: vec![Some(took)], ..Sample::default() };
        let mut point = point(offset, sample);
        point.value.embeddings = embeddings;
        let verdict = detector.judge(&point);
        detector.settle(point.origin.time, verdict.is_anomaly());
        verdict
    };
    let admitted = (0..20_000).filter(|offset| {
        let took = 20.0 - 10.0 * draws.unit().ln();
        judge(*offset, took, &mut draws).admitted
    });
    let kept_out = 1.0 - admitted.count() as f64 / 20_000.0;
    assert!((0.004..0.03).contains(&kept_out), "{kept_out} of events did not teach");
    // A thousandfold duration, again and again: it must not become normal because the message is.
    for offset in 20_000..20_200 {
        let strange = offset % 20 == 0;
        let verdict = judge(offset, if strange { 20_000.0 } else { 25.0 }, &mut draws);
        assert!(!strange || (!verdict.admitted && verdict.surprise > 5.0), "{verdict:?}");
    }
}

/// A message of three words, with a transformer's view that knows only the last.
fn told(draws: &mut Draws, offset: i64, strange: bool) -> Traced<Point> {
    let words = ["red", "green", "blue", "amber", "violet", "white", "black", "grey"];
    let (first, second, about) = (draws.below(8), draws.below(8), draws.below(40));
    let about = if strange { 400 } else { about };
    let text = format!("{} {} {about}", words[first], words[second]);
    let angle = if strange { 2.0 } else { about as f32 * 0.01 };
    let meaning = Meaning { fingerprint: about as u64, vector: [angle.cos(), angle.sin()].into() };
    let embedding = Embedding { meaning: Some(meaning), ..Hashed::default().embed_one(&text) };
    let mut point = point(offset, Sample { texts: vec![Some(text.into())], ..Sample::default() });
    point.value.embeddings = vec![Some(embedding)];
    point
}

#[test]
fn meaning_that_does_not_count_changes_no_bit_and_is_evidence_and_meaning_that_counts_is_a_reason() {
    let schema = Arc::new(Schema { texts: vec!["/message".into()], ..Schema::default() });
    let detector = |meaning| Detector::new(Settings { meaning, ..SETTINGS }, Arc::clone(&schema));
    let (mut none, mut silent, mut loud) =
        (detector(None), detector(Some(Matters::No)), detector(Some(Matters::Yes)));
    let mut draws = Draws(7);
    for offset in 0..3_000 {
        let point = told(&mut draws, offset, false);
        let (without, with) = (none.judge(&point), silent.judge(&point));
        assert_eq!(without.surprise.to_bits(), with.surprise.to_bits(), "{offset}");
        assert_eq!((without.admitted, without.channels.len() + 1), (with.admitted, with.channels.len()));
        loud.judge(&point);
        for detector in [&mut none, &mut silent, &mut loud] {
            detector.settle(point.origin.time, false);
        }
    }
    assert!(none.gates().is_empty());
    let weights = [&silent, &loud].map(|detector| detector.gates()[0].weight.to_bits());
    assert_eq!(weights, [0.0_f64.to_bits(), 1.0_f64.to_bits()]);
    let strange = told(&mut draws, 3_000, true);
    let evidence = loud.judge(&strange).evidence.expect("an anomaly");
    assert!(evidence.reasons.iter().any(|reason| reason.channel == "meaning"), "{evidence:?}");
    let mut other = strange.clone();
    other.value.sample.texts = vec![Some("\u{2603}\u{2603} what on earth".into())];
    other.value.embeddings[0].as_mut().unwrap().vector = Hashed::default().embed_one("what on earth").vector;
    other.value.embeddings[0].as_mut().unwrap().fingerprint = 9;
    let evidence = silent.judge(&other).evidence.expect("an anomaly");
    assert!(evidence.reasons.iter().all(|reason| reason.channel != "meaning"), "{evidence:?}");
    for channel in ["density", "meaning"] {
        assert!(evidence.neighbours.iter().any(|near| near.channel == channel), "{evidence:?}");
    }
}
