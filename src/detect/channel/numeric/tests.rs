//! What the numeric channel finds, says and survives.

use super::*;
use crate::flow::{Lane, Origin, Time};

fn point(numbers: &[Option<f64>], key: Option<&str>) -> Traced<Point> {
    let sample = Sample { numbers: numbers.to_vec(), keys: vec![key.map(Arc::from)], ..Sample::default() };
    let origin = Origin { lane: Lane { topic: "t".into(), partition: 0 }, offset: 0, time: Time(0) };
    Traced { origin, value: Point { sample, embeddings: Vec::new() } }
}

fn channel(numbers: usize, keys_max: usize) -> Numeric {
    let numbers = (0..numbers).map(|at| Arc::from(format!("/n{at}"))).collect();
    Numeric::new(keys_max, &Schema { numbers, keys: vec!["/customer".into()], ..Schema::default() })
}

fn normal(state: &mut u64) -> f64 {
    let mut sum = -6.0;
    for _ in 0..12 {
        *state = lru::hash_pair(*state, 5);
        sum += (*state >> 11) as f64 / (1_u64 << 53) as f64;
    }
    sum
}

fn score(channel: &mut Numeric, point: &Traced<Point>) -> Option<f64> {
    let mut scores = Vec::new();
    channel.score(point, &mut scores);
    assert_eq!(scores.len(), channel.fields().len());
    assert!(scores.iter().flatten().all(|score| score.is_finite() && *score >= 0.0));
    scores[0]
}

fn take(channel: &mut Numeric, point: &Traced<Point>) -> Option<f64> {
    let score = score(channel, point);
    channel.learn(point);
    score
}

/// Two hundred customers, each with an amount of their own.
fn customers(own: bool) -> Numeric {
    let (mut channel, mut state) = (channel(1, 1_000), 3);
    for event in 0..8_000 {
        let customer = event % 200;
        let centre = if own { f64::from(10 + customer) } else { 100.0 };
        let x = centre + 5.0 * normal(&mut state);
        take(&mut channel, &point(&[Some(x)], Some(&customer.to_string())));
    }
    channel
}

#[test]
fn far_out_on_either_side_of_the_keys_own_scores_high_and_in_the_middle_low() {
    let mut channel = customers(true);
    let mut at = |x| score(&mut channel, &point(&[Some(x)], Some("100"))).unwrap();
    assert!(at(110.0) < 0.5 && at(200.0) > 3.0 && at(20.0) > 3.0, "{} {} {}", at(110.0), at(200.0), at(20.0));
    // Far from all events alike it is less odd for this key than in itself, and the joint channel's to tell.
    assert!([1e6, f64::MAX, f64::MIN].into_iter().all(|x| at(x).is_finite()));
}

#[test]
fn an_amount_is_odd_for_this_customer() {
    let mut channel = customers(true);
    let usual = point(&[Some(20.0)], Some("10"));
    let odd = point(&[Some(120.0)], Some("10"));
    assert!(score(&mut channel, &usual).unwrap() < 1.0);
    assert!(score(&mut channel, &odd).unwrap() > 3.0);
    let (mut evidence, mut without) = (Evidence::default(), Evidence::default());
    channel.explain(&odd, 0, &mut evidence);
    let reason = &evidence.reasons[0];
    assert_eq!(reason.context.as_deref(), Some("/customer=10"));
    assert_eq!(reason.value, "120");
    assert!(reason.expected.ends_with("(90 % of events of /customer=10)"), "{}", reason.expected);
    let (low, high) = reason.expected.split_once(" (").unwrap().0.split_once(" to ").unwrap();
    let (low, high): (f64, f64) = (low.parse().unwrap(), high.parse().unwrap());
    assert!((0.0..20.0).contains(&low) && (20.0..50.0).contains(&high), "{}", reason.expected);
    // Of a customer not seen before, nothing is odd.
    let stranger = point(&[Some(1e4)], Some("new"));
    assert_eq!(score(&mut channel, &stranger), Some(0.0));
    channel.explain(&stranger, 0, &mut without);
    assert!(without.reasons.is_empty(), "nor can anything be said of it");
}

#[test]
fn a_key_that_says_nothing_does_not_join() {
    let mut channel = customers(false);
    assert_eq!(score(&mut channel, &point(&[Some(130.0)], Some("10"))), None);
}

#[test]
fn a_key_keeps_its_law_when_the_work_space_moves() {
    let before = Work { median: 10.0, scale: 2.0 };
    let after = Work { median: -5.0, scale: 30.0 };
    let mut own = Own { count: 9.0, mean: before.place(14.0), deviation: 0.01 };
    own.follow(before, after);
    assert!((after.value(own.mean) - 14.0).abs() < 1e-9);
    let width =
        (before.value(before.place(14.0) + 0.01) - 14.0, after.value(own.mean + own.deviation) - 14.0);
    assert!((width.0 / width.1 - 1.0).abs() < 0.01, "{width:?}");
}

#[test]
fn follows_a_drift() {
    let (mut channel, mut state) = (channel(1, 1_000), 3);
    for event in 0..120_000 {
        let customer = event % 200;
        // All amounts rise by a third of their spread, slowly.
        let moved = f64::from((event - 10_000).clamp(0, 20_000)) / 20_000.0 * 60.0;
        let x = moved + f64::from(10 + customer) + 5.0 * normal(&mut state);
        take(&mut channel, &point(&[Some(x)], Some(&customer.to_string())));
    }
    let mut at = |x| score(&mut channel, &point(&[Some(x)], Some("100"))).unwrap();
    // By what held before the rise, 170 would be far out and 60 would not.
    assert!(at(170.0) < 1e-9 && at(60.0) > 2.0, "{} {}", at(170.0), at(60.0));
}

#[test]
fn where_a_key_says_all_only_what_is_far_beyond_the_ordinary_is_odd() {
    // Each card has a home, and its purchases lie within a degree of it.
    let (mut channel, mut state) = (channel(1, 1_000), 3);
    for event in 0..8_000 {
        let card = event % 50;
        let x = f64::from(card) + 0.3 * normal(&mut state);
        take(&mut channel, &point(&[Some(x)], Some(&card.to_string())));
    }
    let mut at = |x| score(&mut channel, &point(&[Some(x)], Some("20"))).unwrap();
    assert!(at(20.5).max(at(21.0)) < 1e-9);
    assert!(at(35.0) > 10.0);
}

#[test]
fn a_law_too_sure_of_itself_does_not_join() {
    // A client repeats one size for long, and then changes to any other: its own law gains a little at most events and
    // loses much at some.
    let (mut channel, mut state) = (channel(1, 1_000), 3);
    let mut sizes = vec![0.0; 50];
    for event in 0..10_000_usize {
        let client = event % 50;
        if event % 7 == 0 {
            sizes[client] = 100.0 + 30.0 * normal(&mut state);
        }
        take(&mut channel, &point(&[Some(sizes[client])], Some(&client.to_string())));
    }
    assert_eq!(score(&mut channel, &point(&[Some(150.0)], Some("7"))), None);
}

#[test]
fn huge_tiny_missing_and_broken_numbers_score_something_finite() {
    let wild = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -0.0, 1.0, 1e300, -1e-300];
    let (mut channel, mut state) = (channel(2, 10), 1);
    for event in 0..3_000 {
        let x = wild[event % wild.len()];
        let y = [None, Some(f64::NAN), Some(f64::INFINITY), Some(normal(&mut state) * 1e-200)][event % 4];
        let point = point(&[Some(x), y], Some(["a", "b", "c"][event % 3]));
        take(&mut channel, &point);
        let mut evidence = Evidence::default();
        channel.explain(&point, 0, &mut evidence);
        channel.explain(&point, 1, &mut evidence);
        channel.explain(&point, 2, &mut evidence);
    }
    assert_eq!(score(&mut channel, &point(&[], None)), None);
    assert_eq!(score(&mut channel, &point(&[Some(f64::NAN)], None)), None);
}

#[test]
fn ten_thousand_keys_cost_bounded_memory() {
    let mut channel = channel(1, 500);
    for event in 0..10_000 {
        take(&mut channel, &point(&[Some(f64::from(event % 50))], Some(&event.to_string())));
    }
    assert_eq!((channel.held().keys, channel.held().evicted), (500, 9_500));
}

#[test]
fn each_key_field_has_room_of_its_own() {
    let keys = vec!["/customer".into(), "/terminal".into(), "/country".into()];
    let schema = Schema { numbers: vec!["/n".into()], keys, ..Schema::default() };
    let mut channel = Numeric::new(30, &schema);
    for event in 0..300 {
        let mut point = point(&[Some(1.0)], None);
        point.value.sample.keys = [30, 30, 2].map(|count| Some((event % count).to_string().into())).to_vec();
        take(&mut channel, &point);
    }
    assert_eq!((channel.held().keys, channel.held().evicted), (62, 0));
}

#[test]
fn numbers_are_written_for_people() {
    let pairs = [
        (12.14, "12.14"),
        (80.0, "80"),
        (0.00012, "1.200e-4"),
        (1234.56, "1235"),
        (0.0, "0"),
        (-3.5, "-3.5"),
    ];
    assert!(pairs.iter().all(|&(x, text)| written(x) == text), "{:?}", pairs.map(|(x, _)| written(x)));
    assert_eq!((exactly(57.16), exactly(1e300)), ("57.16".to_owned(), "1e300".to_owned()));
}
