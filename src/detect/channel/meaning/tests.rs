//! What a transformer's view counts for, what it says, and that it is held against as much of a window as there is.

use super::*;
use crate::detect::{Budget, Selection};
use crate::flow::{Lane, Origin, Sample, Time};

fn settings() -> Settings {
    Settings {
        window_events: 4_000,
        window_texts: 2_000,
        neighbours: 20.0,
        warmup_events: 0,
        calibration_events: 1_000,
        half_life_events: 100.0,
        guard: 0.02,
        fusion_power: 1.2,
        keys_max: 10,
        budget: Budget::Events(1000.0),
        channels: Selection::ALL,
        meaning: Some(Matters::Auto),
    }
}

fn meaning(matters: Matters) -> Meaning {
    let schema = Schema { texts: vec![Arc::from("/a"), Arc::from("/b")], ..Schema::default() };
    Meaning::new(&settings(), matters, &schema)
}

fn turned(degrees: f64) -> Arc<[f32]> {
    let angle = degrees.to_radians();
    Arc::from([angle.cos() as f32, angle.sin() as f32])
}

/// A text whose letters and whose meaning lie at angles, in field 0; field 1 is missing.
fn at(letters: f64, degrees: f64, offset: i64) -> Traced<Point> {
    let place = Place { fingerprint: degrees.to_bits(), vector: turned(degrees) };
    let embedding = Embedding { fingerprint: 1, vector: turned(letters), meaning: Some(place) };
    let sample = Sample { texts: vec![Some(format!("at {degrees}").into()), None], ..Sample::default() };
    let origin = Origin { lane: Lane { topic: Arc::from("t"), partition: 0 }, offset, time: Time(0) };
    Traced { origin, value: Point { sample, embeddings: vec![Some(embedding), None] } }
}

fn score(channel: &mut Meaning, point: &Traced<Point>) -> Option<f64> {
    let mut scores = Vec::new();
    channel.score(point, &mut scores);
    assert_eq!((scores.len(), scores[1]), (2, None));
    scores[0]
}

#[test]
fn a_text_is_held_against_five_texts_and_then_against_a_fiftieth_of_all() {
    for (texts, wanted) in [(4, 4), (100, 5), (1_000, 20)] {
        let mut channel = meaning(Matters::Auto);
        (0..texts).for_each(|number| channel.learn(&at(0.0, f64::from(number) * 0.01, 0)));
        let expected = (0..wanted).map(|back| {
            let degrees: f64 = 90.0 - f64::from(texts - 1 - back) * 0.01;
            1.0 - degrees.to_radians().cos()
        });
        let expected = expected.sum::<f64>() / f64::from(wanted);
        let scored = score(&mut channel, &at(0.0, 90.0, 1)).expect("a score");
        assert!((scored - expected).abs() < 1e-4, "{texts}: {scored} {expected}");
    }
}

#[test]
fn a_field_without_a_transformer_or_of_which_nothing_is_known_is_silent() {
    let mut channel = meaning(Matters::Auto);
    let mut bare = at(0.0, 1.0, 0);
    bare.value.embeddings[0].as_mut().expect("an embedding").meaning = None;
    channel.learn(&bare);
    assert_eq!(score(&mut channel, &at(0.0, 2.0, 1)), None, "nothing was learned");
    channel.learn(&at(0.0, 1.0, 0));
    assert_eq!(score(&mut channel, &bare), None);
    assert_eq!((channel.weight(0), channel.correlation(0)), (Weight::Silent, None));
    assert_eq!(meaning(Matters::Yes).weight(0), Weight::Full);
}

#[test]
fn the_gate_opens_where_letters_and_meaning_have_little_in_common_unless_the_operator_decides() {
    let fill = |matters, letters: &dyn Fn(i32) -> f64| {
        let mut channel = meaning(matters);
        for number in 0..400 {
            channel.learn(&at(letters(number), f64::from(number * 37 % 180), i64::from(number)));
        }
        channel
    };
    let (templated, free) = (|number| f64::from(number * 37 % 180), |number| f64::from(number * 101 % 180));
    assert_eq!(fill(Matters::Auto, &templated).weight(0), Weight::Silent);
    assert_eq!(fill(Matters::Auto, &free).weight(0), Weight::ByLift);
    assert_eq!(fill(Matters::Yes, &templated).weight(0), Weight::Full);
    assert_eq!(fill(Matters::No, &free).weight(0), Weight::Silent);
    assert!(fill(Matters::No, &free).correlation(0).is_some_and(|rho| rho < 0.5));
}

#[test]
fn what_the_guard_keeps_out_of_a_field_is_not_learned_and_neighbours_are_named() {
    let mut channel = meaning(Matters::Auto);
    for (offset, degrees) in (0..).zip([0.0, 10.0, 10.0, 20.0, 80.0]) {
        channel.learn_fields(&at(0.0, degrees, offset), &[degrees < 50.0, true]);
    }
    let strange = at(0.0, 90.0, 9);
    score(&mut channel, &strange);
    let mut evidence = Evidence::default();
    channel.explain(&strange, 0, &mut evidence);
    channel.explain(&strange, 1, &mut evidence);
    let shown: Vec<_> =
        evidence.neighbours.iter().map(|near| (near.channel, &*near.text, near.count)).collect();
    assert_eq!(shown, [("meaning", "at 20", 1), ("meaning", "at 10", 2), ("meaning", "at 0", 1)]);
    let [reason] = &evidence.reasons[..] else { panic!("one reason") };
    assert_eq!(reason.expected, "nearest in meaning: \"at 20\", at cosine distance 0.66");
}
