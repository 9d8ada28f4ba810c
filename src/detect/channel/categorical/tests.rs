//! What the categorical channel finds, says and survives.

use super::*;
use crate::flow::{Lane, Origin, Time};

fn point(categories: &[Option<&str>], key: Option<&str>) -> Traced<Point> {
    let sample = Sample {
        categories: categories.iter().map(|value| value.map(Arc::from)).collect(),
        keys: vec![key.map(Arc::from)],
        ..Sample::default()
    };
    let origin = Origin { lane: Lane { topic: "t".into(), partition: 0 }, offset: 0, time: Time(0) };
    Traced { origin, value: Point { sample, embeddings: Vec::new() } }
}

fn channel(names: &[&str], keys_max: usize) -> Categorical {
    let categories = names.iter().map(|&name| name.into()).collect();
    Categorical::new(
        1_000.0,
        keys_max,
        &Schema { categories, keys: vec!["/host".into()], ..Schema::default() },
    )
}

fn score(channel: &mut Categorical, point: &Traced<Point>) -> Vec<Option<f64>> {
    let mut scores = Vec::new();
    channel.score(point, &mut scores);
    assert_eq!(scores.len(), channel.fields().len());
    assert!(scores.iter().flatten().all(|score| score.is_finite() && *score >= 0.0));
    scores
}

fn take(channel: &mut Categorical, point: &Traced<Point>) {
    score(channel, point);
    channel.learn(point);
}

fn reason(channel: &Categorical, point: &Traced<Point>, field: usize) -> Reason {
    let mut evidence = Evidence::default();
    channel.explain(point, field, &mut evidence);
    evidence.reasons.remove(0)
}

fn draw(state: &mut u64, of: u64) -> usize {
    *state = lru::hash_pair(*state, 7);
    (*state % of) as usize
}

/// Each service has three operations of its own; hosts say nothing.
fn services() -> Categorical {
    let (mut channel, mut state) = (channel(&["/service", "/operation"], 1_000), 5);
    for _ in 0..4_000 {
        let service = draw(&mut state, 4);
        let operation = 3 * service + draw(&mut state, 3);
        let (service, operation) = (["auth", "cart", "mail", "pay"][service], format!("op{operation}"));
        let host = format!("h{}", draw(&mut state, 50));
        take(&mut channel, &point(&[Some(service), Some(&operation)], Some(&host)));
    }
    channel
}

#[test]
fn a_rare_value_scores_high_and_says_how_often_it_was_seen() {
    let mut channel = channel(&["/status"], 1_000);
    for event in 0..4_000 {
        let status = if event % 1_500 == 1_499 { "418" } else { "200" };
        take(&mut channel, &point(&[Some(status)], None));
    }
    let (common, rare) = (point(&[Some("200")], None), point(&[Some("418")], None));
    let (new, gone) = (point(&[Some("<new>")], None), point(&[None], None));
    let of = |channel: &mut Categorical, point| score(channel, point)[0];
    let (low, middle, high) = (of(&mut channel, &common), of(&mut channel, &rare), of(&mut channel, &new));
    assert!(low.unwrap() < 0.1 && middle.unwrap() > 5.0 && high > middle);
    assert_eq!(of(&mut channel, &gone), None);
    score(&mut channel, &new);
    assert_eq!(reason(&channel, &new, 0).expected, "never seen in 4 000 events");
    score(&mut channel, &rare);
    assert_eq!(reason(&channel, &rare, 0).expected, "seen 2 times in 4 000 events");
}

#[test]
fn what_was_common_long_ago_is_rare_now() {
    let mut channel = channel(&["/release"], 1_000);
    for event in 0..30_000 {
        take(&mut channel, &point(&[Some(if event < 10_000 { "v1" } else { "v2" })], None));
    }
    let old = point(&[Some("v1")], None);
    assert!(score(&mut channel, &old)[0].unwrap() > 6.0);
    assert_eq!(
        reason(&channel, &old, 0).expected,
        "seen 10 000 times in 30 000 events, last 20 001 events ago"
    );
}

#[test]
fn a_rare_combination_of_common_values_is_found() {
    let mut channel = services();
    let (usual, odd) =
        (point(&[Some("auth"), Some("op1")], None), point(&[Some("auth"), Some("op10")], None));
    assert!(score(&mut channel, &usual).iter().flatten().all(|&score| score < 3.0));
    assert!(score(&mut channel, &odd).iter().flatten().all(|&score| score > 5.0));
    let reason = reason(&channel, &odd, 1);
    assert!(reason.expected.starts_with("never with /service=auth ("), "{}", reason.expected);
    assert_eq!((reason.value.as_str(), reason.context.as_deref()), ("op10", Some("/service=auth")));
}

#[test]
fn contexts_that_say_nothing_do_not_join() {
    let mut channel = services();
    assert!(channel.pairs.iter().all(|pair| match pair.other {
        Other::Field(_) => pair.shares[0].gain.above(JOINS) && pair.shares[1].gain.above(JOINS),
        Other::Key(_) => !pair.shares[0].gain.above(JOINS),
    }));
    let (known, unknown) = (Some("h1"), Some("<new>"));
    let at = |channel: &mut Categorical, host| score(channel, &point(&[Some("auth"), Some("op1")], host));
    assert_eq!(at(&mut channel, known), at(&mut channel, unknown), "a new key is not strange in itself");
}

#[test]
fn a_value_is_odd_for_this_key_however_seldom_the_key_comes() {
    let (mut channel, mut state) = (channel(&["/country"], 10_000), 5);
    // Each of 2 000 hosts comes once in 2 000 events, two half-lives, and has a country of its own.
    for event in 0..20_000_u64 {
        let host = event % 2_000;
        let country = if draw(&mut state, 50) == 0 { draw(&mut state, 20) as u64 } else { host % 20 };
        take(&mut channel, &point(&[Some(&format!("c{country}"))], Some(&format!("h{host}"))));
    }
    let (usual, odd) = (point(&[Some("c7")], Some("h7")), point(&[Some("c8")], Some("h7")));
    assert!(score(&mut channel, &odd)[0].unwrap() > 4.0 + score(&mut channel, &usual)[0].unwrap() * 0.1);
    score(&mut channel, &odd);
    assert_eq!(reason(&channel, &odd, 0).context.as_deref(), Some("/host=h7"));
}

#[test]
fn many_fields_keep_few_pairs_and_the_good_one_is_among_them() {
    let names: Vec<String> = (0..12).map(|at| format!("/c{at}")).collect();
    let mut channel = channel(&names.iter().map(String::as_str).collect::<Vec<_>>(), 1_000);
    let mut state = 9;
    for _ in 0..1_500 {
        let mut values: Vec<String> = (0..12).map(|_| draw(&mut state, 8).to_string()).collect();
        values[11] = format!("as {}", values[0]);
        let values: Vec<Option<&str>> = values.iter().map(|value| Some(value.as_str())).collect();
        take(&mut channel, &point(&values, Some("h")));
    }
    assert_eq!(channel.pairs.len(), PAIRS);
    let odd = {
        let mut values = [Some("1"); 12];
        values[11] = Some("as 2");
        point(&values, Some("h"))
    };
    assert!(score(&mut channel, &odd)[11].unwrap() > 5.0);
}

#[test]
fn ever_new_values_and_keys_cost_bounded_memory_and_are_not_strange_in_the_end() {
    let mut channel = channel(&["/id", "/other"], 500);
    for event in 0..10_000 {
        let (id, other) = (format!("i{event}"), format!("o{}", event % 3));
        take(&mut channel, &point(&[Some(&id), (event % 2 == 0).then_some(&*other)], Some(&id)));
    }
    assert!(channel.held().keys <= 500 * 6, "{:?}", channel.held());
    assert!(channel.held().evicted > 9_000);
    score(&mut channel, &point(&[], None));
    let nothing = point(&[None, None], None);
    let mut evidence = Evidence::default();
    channel.explain(&nothing, 0, &mut evidence);
    channel.explain(&nothing, 9, &mut evidence);
    assert!(evidence.reasons.is_empty());
}

#[test]
fn thousands_are_set_apart() {
    assert_eq!([0, 999, 4_812, 1_234_567].map(grouped), ["0", "999", "4 812", "1 234 567"]);
}
