//! What the joint channel finds, says, leaves out and survives.

use super::*;
use crate::detect::{Budget, Selection};
use crate::flow::{Lane, Origin, Reason, Time};

fn settings(keys_max: usize) -> Settings {
    Settings {
        window_events: 100,
        window_texts: 100,
        neighbours: 20.0,
        warmup_events: 1_000,
        calibration_events: 1_000,
        half_life_events: 1_000.0,
        guard: 0.02,
        fusion_power: 3.0,
        keys_max,
        budget: Budget::Events(500.0),
        channels: Selection::ALL,
        meaning: None,
    }
}

fn names(start: &str, count: usize) -> Vec<Arc<str>> {
    (0..count).map(|at| format!("/{start}{at}").into()).collect()
}

fn joint(numbers: usize, categories: usize, keys: usize) -> Joint {
    let schema = Schema {
        numbers: names("n", numbers),
        categories: names("c", categories),
        keys: names("k", keys),
        ..Schema::default()
    };
    Joint::new(&settings(1_000), &schema)
}

fn texts(texts: &[&str]) -> Vec<Option<Arc<str>>> {
    texts.iter().map(|text| (!text.is_empty()).then(|| Arc::from(*text))).collect()
}

fn point(numbers: &[Option<f64>], categories: &[&str], keys: &[&str]) -> Traced<Point> {
    let sample = Sample {
        numbers: numbers.to_vec(),
        categories: texts(categories),
        keys: texts(keys),
        ..Sample::default()
    };
    let origin = Origin { lane: Lane { topic: "t".into(), partition: 0 }, offset: 0, time: Time(0) };
    Traced { origin, value: Point { sample, embeddings: Vec::new() } }
}

fn score(channel: &mut Joint, point: &Traced<Point>) -> Option<f64> {
    let mut scores = Vec::new();
    channel.score(point, &mut scores);
    assert_eq!(scores.len(), 1);
    assert!(scores[0].is_none_or(f64::is_finite));
    scores[0]
}

fn take(channel: &mut Joint, point: &Traced<Point>) -> Option<f64> {
    let score = score(channel, point);
    channel.learn(point);
    score
}

fn below(state: &mut u64, count: usize) -> usize {
    *state = lru::hash_pair(*state, 5);
    (*state >> 33) as usize % count
}

fn share(state: &mut u64) -> f64 {
    *state = lru::hash_pair(*state, 5);
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}

/// Petrol costs some fifty, bread some three.
fn sale(state: &mut u64) -> (f64, &'static str) {
    let around = |centre: f64, state: &mut u64| centre * (0.8 + 0.4 * share(state));
    if share(state) < 0.5 { (around(50.0, state), "petrol") } else { (around(3.0, state), "bread") }
}

fn shop(events: usize) -> Joint {
    let (mut channel, mut state) = (joint(1, 1, 0), 1);
    for _ in 0..events {
        let (amount, what) = sale(&mut state);
        take(&mut channel, &point(&[Some(amount)], &[what], &[]));
    }
    channel
}

fn chosen(channel: &Joint) -> Vec<&str> {
    let stand = channel.stand.as_ref().unwrap();
    stand.chosen.iter().map(|at| &*channel.fields[*at].name).collect()
}

fn reason(channel: &Joint, point: &Traced<Point>) -> Reason {
    let mut evidence = Evidence::default();
    channel.explain(point, 0, &mut evidence);
    assert_eq!(evidence.reasons.len(), 1);
    evidence.reasons.remove(0)
}

#[test]
fn a_common_amount_and_a_common_ware_are_odd_together() {
    let mut channel = shop(4_000);
    let mut at = |amount, what| score(&mut channel, &point(&[Some(amount)], &[what], &[])).unwrap();
    let usual = at(50.0, "petrol").max(at(3.0, "bread"));
    assert!(at(50.0, "bread") > usual + 1.0 && at(3.0, "petrol") > usual + 1.0);
    assert!(at(1e9, "bread") > usual + 1.0 && at(3.0, "caviar") > usual + 1.0);
}

#[test]
fn the_reason_counts_what_it_names() {
    let mut channel = shop(4_000);
    let odd = point(&[Some(50.0)], &["bread"], &[]);
    score(&mut channel, &odd);
    let reason = reason(&channel, &odd);
    assert!(matches!(&*reason.field, "/n0" | "/c0"));
    assert!(matches!(&*reason.value, "n0=50, c0=bread" | "c0=bread, n0=50"), "{}", reason.value);
    let bread = channel.rows.iter().filter(|(_, row)| row[1] == lru::hash("bread")).count();
    assert!(
        reason.expected.starts_with("together in 0 of the last 2000 normal events, "),
        "{}",
        reason.expected
    );
    assert!(reason.expected.contains(&format!("c0=bread in {bread}")), "{}", reason.expected);
    assert!(
        reason.expected.contains("n0 31.1 to 75.5 in ") && (700..1_300).contains(&bread),
        "{}",
        reason.expected
    );
}

#[test]
fn one_field_is_explained_alone_and_a_missing_one_is_named() {
    let (mut channel, mut state) = (joint(1, 1, 0), 1);
    for _ in 0..1_000 {
        take(&mut channel, &point(&[Some(share(&mut state))], &["same"], &[]));
    }
    assert_eq!(chosen(&channel), ["/n0"]);
    let far = point(&[Some(1e9)], &["same"], &[]);
    score(&mut channel, &far);
    assert!(reason(&channel, &far).expected.contains(" in 0 of the last "));
    let none = point(&[None], &["same"], &[]);
    score(&mut channel, &none);
    assert_eq!(reason(&channel, &none).value, "no n0");
}

#[test]
fn it_has_no_opinion_while_young_and_waits_for_a_constant_to_change() {
    let (mut channel, mut state) = (joint(2, 0, 0), 1);
    for event in 0..1_000 {
        let found = take(&mut channel, &point(&[Some(share(&mut state)), Some(4.0)], &[], &[]));
        assert_eq!(found.is_some(), event >= 250);
    }
    assert_eq!(chosen(&channel), ["/n0"]);
    let (mut constant, same) = (joint(1, 1, 0), point(&[Some(1.0)], &["a"], &[]));
    assert!((0..3_000).all(|_| take(&mut constant, &same).unwrap_or_default() < 1e-9));
    // The first that differs breaks a habit of 3 000 events; two at once break two.
    let nats = 3_001_f64.ln();
    for (other, expected) in
        [(point(&[Some(1.5)], &["a"], &[]), nats), (point(&[None], &["b"], &[]), 2.0 * nats)]
    {
        assert!((score(&mut constant, &other).unwrap() - expected).abs() < 1e-5);
        let mut evidence = Evidence::default();
        constant.explain(&other, 0, &mut evidence);
        assert_eq!(evidence.reasons[0].expected, "had one other value in all 3000 events before");
    }
    // What has come to vary joins at the next look.
    for event in 0..2_500 {
        take(&mut constant, &point(&[Some(1.0)], &[["a", "b"][event % 2]], &[]));
    }
    assert_eq!(chosen(&constant), ["/c0"]);
    assert!(joint(0, 0, 2).fields().is_empty());
    assert_eq!(channel.fields(), [Arc::from("")]);
}

#[test]
fn the_home_of_a_customer_stays_out_and_the_trade_of_a_merchant_stays() {
    let (mut channel, mut state) = (joint(2, 2, 2), 1);
    for _ in 0..6_000 {
        let (customer, merchant) = (below(&mut state, 80), below(&mut state, 60));
        let (latitude, city) = (customer as f64 * 1.5, format!("city {}", customer % 20));
        let amount = (1.0 + 9.0 * share(&mut state)) * (1 + merchant % 5) as f64;
        let numbers = [Some(latitude), Some(amount)];
        let categories = [&*city, &format!("trade {}", merchant % 5)];
        take(
            &mut channel,
            &point(&numbers, &categories, &[&format!("c{customer}"), &format!("m{merchant}")]),
        );
    }
    assert!((0..4).map(|at| channel.explained.of(at) > 0.5).eq([true, false, true, true]));
    assert_eq!(chosen(&channel), ["/n1", "/c1"]);
}

#[test]
fn missing_values_and_points_that_do_not_fit_are_scored() {
    let (mut channel, mut state) = (joint(2, 2, 1), 1);
    let mut some = |x: f64| (share(&mut state) < 0.7).then_some(x);
    for event in 0..1_500_u32 {
        let text = |at: Option<f64>| if at.is_some() { ["x", "y", "z"][event as usize % 3] } else { "" };
        let categories = [text(some(1.0)), text(some(1.0))];
        let numbers = [some(f64::from(event % 7)), some(f64::from(event % 11))];
        take(&mut channel, &point(&numbers, &categories, &[text(some(1.0))]));
    }
    assert!(take(&mut channel, &point(&[], &[], &[])).is_some());
    assert!(take(&mut channel, &point(&[Some(1.0); 5], &["x"; 5], &["k"; 5])).is_some());
    assert!(take(&mut channel, &point(&[Some(f64::NAN), Some(f64::INFINITY)], &["x", "x"], &[])).is_some());
}

#[test]
fn huge_and_tiny_numbers_give_finite_scores_and_reasons() {
    let (mut channel, mut state) = (joint(2, 0, 0), 1);
    let extremes = [f64::MAX, f64::MIN, 5e-324, -5e-324, 0.0, -0.0, 1e308, f64::MIN_POSITIVE, 1.0];
    for _ in 0..3_000 {
        let mut any = || Some(extremes[below(&mut state, extremes.len())]);
        let wild = point(&[any(), any()], &[], &[]);
        if score(&mut channel, &wild).is_some() {
            assert!(!reason(&channel, &wild).expected.is_empty());
        }
        channel.learn(&wild);
    }
}

#[test]
fn ten_thousand_categories_cost_bounded_memory() {
    let mut channel = joint(1, 1, 1);
    for event in 0..10_000 {
        let (value, key) = (format!("v{event}"), format!("k{event}"));
        take(&mut channel, &point(&[Some(f64::from(event % 13))], &[&value], &[&key]));
        assert!(channel.held().keys <= 4 * 3 * 1_000);
    }
    assert!(channel.rows.len() <= ROWS && channel.stand.is_some());
}

#[test]
fn the_same_events_give_the_same_scores_and_skipped_ones_teach_nothing() {
    let run = |teach_odd: bool| {
        let (mut channel, mut state, mut scores) = (joint(1, 1, 0), 1, Vec::new());
        for event in 0..3_000 {
            let (amount, what) = sale(&mut state);
            take(&mut channel, &point(&[Some(amount)], &[what], &[]));
            if event % 50 == 49 {
                let odd = point(&[Some(50.0)], &["bread"], &[]);
                scores.push(score(&mut channel, &odd));
                if teach_odd { channel.learn(&odd) } else { channel.skip() }
            }
        }
        assert!(channel.learned <= channel.clock);
        scores
    };
    assert_eq!(run(true), run(true));
    let (taught, kept) = (run(true), run(false));
    assert!(kept.last() >= taught.last(), "{kept:?} {taught:?}");
}

#[test]
fn a_moved_work_space_makes_the_forest_anew() {
    let mut channel = shop(4_000);
    let before = channel.stand.as_ref().unwrap().spaces.clone();
    let mut state = 2;
    for _ in 0..6_000 {
        let (amount, what) = sale(&mut state);
        take(&mut channel, &point(&[Some(amount * 1_000.0)], &[what], &[]));
    }
    let after = &channel.stand.as_ref().unwrap().spaces;
    assert!(before[0].unwrap().differs(after[0].unwrap()));
    let usual = score(&mut channel, &point(&[Some(50_000.0)], &["petrol"], &[])).unwrap();
    let odd = score(&mut channel, &point(&[Some(50_000.0)], &["bread"], &[])).unwrap();
    assert!(odd > usual + 1.0);
}
