//! What the nearest channel finds, says and survives.

use super::*;
use crate::detect::lru::hash_pair;
use crate::flow::{Lane, Origin, Time};

fn uniform(state: &mut u64) -> f64 {
    *state = hash_pair(*state, 21);
    ((*state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

fn normal(state: &mut u64) -> f64 {
    let radius = (-2.0 * uniform(state).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(state)).cos()
}

fn point(numbers: &[f64], offset: i64) -> Traced<Point> {
    let numbers = numbers.iter().map(|x| Some(*x).filter(|x| !x.is_nan())).collect();
    let sample = Sample { numbers, ..Sample::default() };
    let origin = Origin { lane: Lane { topic: "t".into(), partition: 0 }, offset, time: Time(0) };
    Traced { origin, value: Point { sample, embeddings: Vec::new() } }
}

fn channel(numbers: usize, keys: usize) -> Nearest {
    let names = |count: usize| (0..count).map(|at| Arc::from(format!("/x{at}"))).collect();
    Nearest::new(&Schema { numbers: names(numbers), keys: names(keys), ..Schema::default() })
}

fn score(channel: &mut Nearest, numbers: &[f64]) -> Option<f64> {
    let mut scores = Vec::new();
    channel.score(&point(numbers, 0), &mut scores);
    assert_eq!(scores.len(), channel.fields().len());
    assert!(scores.iter().flatten().all(|score| score.is_finite()));
    scores.first().copied().flatten()
}

fn take(channel: &mut Nearest, numbers: &[f64], offset: i64) -> Option<f64> {
    let found = score(channel, numbers);
    channel.learn(&point(numbers, offset));
    found
}

/// Two clusters in four dimensions, each number of which is ordinary in both.
fn clustered(state: &mut u64) -> [f64; 4] {
    let centre = if uniform(state) < 0.5 { 10.0 } else { 50.0 };
    std::array::from_fn(|_| centre + normal(state))
}

#[test]
fn the_score_is_that_of_all_distances_sorted() {
    let (mut channel, mut state, mut rows) = (channel(3, 0), 5, Vec::<[f64; 3]>::new());
    for event in 0..3_000_u32 {
        let x = [normal(&mut state), 100.0 * normal(&mut state), normal(&mut state).exp()];
        let found = take(&mut channel, &x, i64::from(event));
        if event > 250 && event.is_multiple_of(83) {
            let places = |row: &[f64; 3]| -> Vec<f64> {
                let place = |column: &Column| {
                    ((row[column.at] - column.median) / column.scale).asinh().clamp(-3.0, 3.0)
                };
                channel.columns.iter().map(place).collect()
            };
            let own = places(&x);
            let off = |row: &[f64; 3]| own.iter().zip(places(row)).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            let mut all: Vec<f64> =
                rows[rows.len().saturating_sub(2_000)..].iter().map(|row| off(row).sqrt()).collect();
            all.sort_by(f64::total_cmp);
            let expected = 3.0 * (all[..10].iter().sum::<f64>() / 10.0).ln();
            assert!((found.unwrap() - expected).abs() < 1e-3, "{event}: {found:?} {expected}");
        }
        rows.push(x);
    }
    assert_eq!(channel.held().rows, 2_000);
}

#[test]
fn what_lies_between_clusters_is_far_and_told_of_by_its_nearest() {
    let (mut channel, mut state) = (channel(4, 0), 7);
    let mut scores: Vec<f64> = Vec::new();
    for event in 0..4_000 {
        let numbers = clustered(&mut state);
        scores.extend(take(&mut channel, &numbers, event).filter(|_| event > 1_000));
    }
    scores.sort_by(f64::total_cmp);
    let odd = [10.0, 10.0, 10.0, 50.0];
    assert!(score(&mut channel, &odd).unwrap() > scores[scores.len() - 1] + 2.0);
    let mut evidence = Evidence::default();
    channel.explain(&point(&odd, 0), 0, &mut evidence);
    let reason = &evidence.reasons[0];
    assert_eq!((&*reason.field, &*reason.value), ("/x3", "50"), "{reason:?}");
    let said: Vec<&str> = reason.expected.split(' ').collect();
    assert!((5.0..15.0).contains(&said[0].parse::<f64>().unwrap()), "{}", reason.expected);
    assert!(reason.expected.ends_with("), all 4 numbers together"), "{}", reason.expected);
}

#[test]
fn where_numbers_do_not_measure_or_events_have_keys_nothing_is_said() {
    assert!(channel(3, 1).fields().is_empty() && channel(1, 0).fields().is_empty());
    let said = |second: fn(u64, f64) -> f64| {
        let (mut channel, mut state) = (channel(2, 0), 9);
        let scored = (0..2_000).filter(|event| {
            let (first, x) = (normal(&mut state), uniform(&mut state));
            take(&mut channel, &[first, second(*event, x)], 0).is_some()
        });
        scored.count()
    };
    assert_eq!(said(|_, _| 4.0), 0, "a constant");
    assert_eq!(said(|_, x| (4.0 * x).floor()), 0, "a code");
    assert_eq!(said(|_, x| if x < 0.1 { 0.0 } else { x }), 0, "one in ten is 0");
    assert_eq!(said(|event, x| if event % 10 == 0 { f64::NAN } else { x }), 0, "one in ten is missing");
    assert_eq!(said(|_, x| x), 1_750);
    // One in fifty is missing: nothing is said of these.
    assert_eq!(said(|event, x| if event % 50 == 0 { f64::NAN } else { x }), 1_715);
}

#[test]
fn no_number_is_too_large() {
    let (mut channel, mut state) = (channel(3, 0), 11);
    for event in 0..3_000_u32 {
        let far = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, f64::INFINITY, 1e-300][event as usize % 5];
        let wild = if event % 3 == 0 { far } else { f64::MAX * (uniform(&mut state) - 0.5) };
        take(&mut channel, &[wild, uniform(&mut state) * 1e-310, 1e300 * normal(&mut state)], 0);
    }
    let mut evidence = Evidence::default();
    channel.explain(&point(&[], 0), 0, &mut evidence);
    assert_eq!(score(&mut channel, &[]), None);
}
