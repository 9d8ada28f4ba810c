//! The text channel held against what its formulas give by another way.

use super::*;
use crate::detect::Budget;
use crate::flow::{Lane, Origin, Sample, Time};

fn channel(half_life_events: f64) -> Text {
    let settings = Settings {
        window_events: 100,
        window_texts: 100,
        neighbours: 20.0,
        warmup_events: 0,
        calibration_events: 1_000,
        half_life_events,
        guard: 0.02,
        fusion_power: 3.0,
        keys_max: 10,
        budget: Budget::Events(1_000.0),
        channels: crate::detect::Selection::ALL,
        meaning: None,
    };
    Text::new(&settings, &Schema { texts: vec![Arc::from("/message")], ..Schema::default() })
}

fn point(text: Option<&str>) -> Traced<Point> {
    let sample = Sample { texts: vec![text.map(Arc::from)], ..Sample::default() };
    let origin = Origin { lane: Lane { topic: Arc::from("t"), partition: 0 }, offset: 0, time: Time(0) };
    Traced { origin, value: Point { sample, embeddings: vec![None] } }
}

fn score(text: &mut Text, point: &Traced<Point>) -> Option<f64> {
    let mut scores = Vec::new();
    text.score(point, &mut scores);
    assert_eq!(scores.len(), 1);
    scores[0]
}

fn line(number: u64) -> String {
    let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let (user, ms) = (random % 900, random / 900 % 80);
    match random % 5 {
        0 => format!("session opened for user u{user}"),
        1 => format!("session closed for user u{user} after {ms} ms"),
        2 => format!("GET /orders/{user} 200 {ms}ms"),
        _ => format!("GET /health 200 {}ms", ms / 10),
    }
}

fn taught(events: u64) -> Text {
    let mut text = channel(1_000.0);
    for number in 0..events {
        let point = point(Some(&line(number)));
        score(&mut text, &point);
        text.learn(&point);
    }
    text
}

#[test]
fn what_was_never_written_is_stranger_than_what_is_written_every_day() {
    let mut text = taught(3_000);
    let usual: Vec<f64> =
        (3_000..3_200).filter_map(|number| score(&mut text, &point(Some(&line(number))))).collect();
    let highest = usual.iter().copied().fold(0.0, f64::max);
    assert_eq!(usual.len(), 200);
    for strange in ["kernel panic: segfault at 0xdead", "GET /orders/../../etc/passwd 200 3ms", "x"] {
        let strange_score = score(&mut text, &point(Some(strange)));
        assert!(strange_score > Some(highest), "{strange}: {strange_score:?} against {highest}");
    }
    // Another number in a known place is not what a new word is.
    let number = score(&mut text, &point(Some("session opened for user u12345")));
    assert!(number < score(&mut text, &point(Some("session hijacked for user u123"))));
}

#[test]
fn what_is_learned_becomes_normal_and_what_is_skipped_does_not() {
    let strange = point(Some("replication lag exceeds quorum timeout"));
    let after = |learn: bool| {
        let mut text = taught(1_000);
        for _ in 0..150 {
            score(&mut text, &strange);
            if learn { text.learn(&strange) } else { text.skip() }
        }
        text.score(&strange, &mut Vec::new());
        text.fields[0].scored.as_ref().map_or(0.0, |scored| scored.sides[0])
    };
    assert!(after(true) < 0.5 * after(false), "{} {}", after(true), after(false));
}

#[test]
fn a_remembered_text_scores_as_a_new_one() {
    let (mut kept, mut fresh) = (taught(600), taught(600));
    for number in 0..300 {
        let point = point(Some(&line(number % 40)));
        fresh.fields[0].recent = Recent::new();
        assert_eq!(score(&mut kept, &point), score(&mut fresh, &point));
        kept.learn(&point);
        fresh.learn(&point);
    }
}

#[test]
fn any_text_has_a_finite_score_and_a_missing_one_has_none() {
    let mut text = taught(500);
    let long = "ab1 ".repeat(250_000);
    let odd =
        ["", " ", "\u{0}", "\u{2}\u{3}", "日本語 ２０２６", "İİİİ", "a\u{301}\u{1F600}", "0000000", &long];
    for odd in odd {
        let point = point(Some(odd));
        assert!(score(&mut text, &point).is_some_and(f64::is_finite), "{odd:.20}");
        let mut evidence = Evidence::default();
        text.explain(&point, 0, &mut evidence);
        assert_eq!(evidence.reasons.len(), 1);
        assert!(evidence.reasons[0].value.chars().count() <= 201);
        assert!(evidence.reasons[0].expected.chars().count() < 400);
        text.learn(&point);
    }
    let before = text.fields[0].counts.events();
    assert_eq!(score(&mut text, &point(None)), None);
    text.learn(&point(None));
    assert!((text.fields[0].counts.events() - before).abs() < 1e-12);
}

#[test]
fn memory_is_bounded_and_counts_never_overflow() {
    let mut text = channel(2.0);
    for number in 0..3_000_u64 {
        let point = point(Some(&format!("{} {number}", "word ".repeat(number as usize % 50))));
        assert!(score(&mut text, &point).is_none_or(f64::is_finite));
        text.learn(&point);
    }
    // A half-life of 2 leaves 1 / (1 - 2^(-1/2)) events.
    assert!((text.fields[0].counts.events() - 3.414_2).abs() < 1e-3);
    assert!(text.fields[0].recent.held() <= 1 << 19);
}

#[test]
fn an_alert_names_the_words_that_are_new_and_those_that_are_rare() {
    let mut text = taught(2_000);
    let rare = point(Some("session revoked for user u1"));
    for _ in 0..3 {
        score(&mut text, &rare);
        text.learn(&rare);
    }
    let explain = |strange: &str, text: &mut Text| {
        let strange = point(Some(strange));
        score(text, &strange);
        let mut evidence = Evidence::default();
        text.explain(&strange, 0, &mut evidence);
        evidence.reasons.pop().map(|reason| reason.expected).unwrap_or_default()
    };
    let said = explain("Session REVOKED for user u1: Segfault", &mut text);
    assert!(said.starts_with("new here: \"Segfault\"; rare here: \"REVOKED\" (1 in "), "{said}");
    let said = explain("GET /health 200 2ms{{{{", &mut text);
    assert_eq!(said, "new here: \"2ms{{{{\"");
    let said = explain("GET /health 200 2ms", &mut text);
    assert_eq!(said, "no part of it is rare by itself; together they are");
}
