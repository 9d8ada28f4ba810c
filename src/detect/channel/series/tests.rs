//! What the series channel finds, says and survives.

use super::course::{Course, ENOUGH, SCALES, VALUE_MAX, WINDOWS};
use super::record::{GAP, HALF_LIFE, HELD_MAX, RANK_MAX, RANK_MIN, Records};
use super::*;
use crate::flow::{Lane, Origin, Time};

fn uniform(state: &mut u64) -> f64 {
    *state = lru::hash_pair(*state, 9);
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}

fn below(state: &mut u64, count: u64) -> usize {
    *state = lru::hash_pair(*state, 10);
    (*state % count) as usize
}

/// From -6 to 6, variance 1.
fn normal(state: &mut u64) -> f64 {
    (0..12).map(|_| uniform(state)).sum::<f64>() - 6.0
}

fn point(x: Option<f64>, key: Option<&str>, time: i64) -> Traced<Point> {
    let sample = Sample { numbers: vec![x], keys: vec![key.map(Arc::from)], ..Sample::default() };
    let origin = Origin { lane: Lane { topic: "t".into(), partition: 0 }, offset: 0, time: Time(time) };
    Traced { origin, value: Point { sample, embeddings: Vec::new() } }
}

fn channel(keys_max: usize) -> Series {
    let schema = Schema { numbers: vec!["/value".into()], keys: vec!["/series".into()], ..Schema::default() };
    Series::new(keys_max, &schema)
}

fn take(channel: &mut Series, point: &Traced<Point>) -> Option<f64> {
    let mut scores = Vec::new();
    channel.score(point, &mut scores);
    assert_eq!(scores.len(), channel.fields().len());
    assert!(scores.iter().flatten().all(|score| score.is_finite()));
    channel.learn(point);
    scores[0]
}

/// Ten random walks, each back to its own middle in some 50 events, taken in an order of chance.
struct Walks {
    at: [f64; 10],
    state: u64,
}

impl Walks {
    fn new() -> Self {
        Self { at: [0.0; 10], state: 11 }
    }

    fn next(&mut self) -> (f64, String) {
        let which = below(&mut self.state, 10);
        self.at[which] += normal(&mut self.state) - self.at[which] / 50.0;
        (100.0 * which as f64 + self.at[which], which.to_string())
    }
}

fn walked(events: usize) -> (Series, Walks) {
    let (mut channel, mut walks) = (channel(100), Walks::new());
    for _ in 0..events {
        let (x, key) = walks.next();
        take(&mut channel, &point(Some(x), Some(&key), 0));
    }
    (channel, walks)
}

/// Share of scored events in the last half, of values in an order of chance, each with its key and time.
fn open(events: u32, mut event: impl FnMut(u32, &mut u64) -> (f64, usize, i64)) -> f64 {
    let (mut channel, mut state, mut scored) = (channel(1_000), 5, 0);
    for at in 0..events {
        let (x, key, time) = event(at, &mut state);
        let score = take(&mut channel, &point(Some(x), Some(&key.to_string()), time));
        scored += u32::from(score.is_some() && at >= events / 2);
    }
    f64::from(2 * scored) / f64::from(events)
}

#[test]
fn ranks_are_those_of_a_sorted_list_of_all() {
    let (mut records, mut all, mut state) = (Records::default(), Vec::<(f32, u32)>::new(), 3);
    for now in 0..6_000_u32 {
        // On a grid, for ties.
        let log = (normal(&mut state) * 8.0).round() as f32 / 8.0;
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let weight = |&(_, when): &(f32, u32)| 0.5_f64.powf(f64::from(now - when) / HALF_LIFE);
        let above: Vec<_> = all.iter().filter(|held| held.0 >= log).take(HELD_MAX).collect();
        let tail = |held: f32| f64::from(held - log).exp().powi(2);
        let expected = match above.len() {
            0 => all.first().map_or(1.0, |largest| tail(largest.0)),
            count => {
                let further = if count == HELD_MAX { tail(all[HELD_MAX - 1].0) } else { 1.0 };
                (1.0 + above.iter().map(|held| weight(held)).sum::<f64>()) * further
            }
        };
        let rank = records.rank(log, now);
        assert!((rank / expected.clamp(RANK_MIN, RANK_MAX) - 1.0).abs() < 1e-6, "{now}: {rank} {expected}");
        records.learn(log, now);
        match all.iter().position(|held| now - held.1 <= GAP) {
            Some(near) if all[near].0 >= log => {}
            near => {
                near.map(|near| all.remove(near));
                all.push((log, now));
            }
        }
    }
}

/// The weight of each of so many values in a mean that forgets over `horizon` of them.
fn weights(count: usize, horizon: f64) -> Vec<f64> {
    let share = |at: usize| (1.0 / at as f64).max(1.0 / horizon);
    let kept = |at: usize| (at + 1..=count).map(|later| 1.0 - share(later)).product::<f64>();
    (1..=count).map(|at| share(at) * kept(at)).collect()
}

fn weighted(values: &[f64], horizon: f64) -> f64 {
    values.iter().zip(weights(values.len(), horizon)).map(|(x, weight)| x * weight).sum()
}

#[test]
fn deviations_are_those_of_the_whole_history() {
    let (mut course, mut state, mut history) = (Course::default(), 8, Vec::new());
    let (mut offs, mut steps) = (Vec::<f64>::new(), Vec::<f64>::new());
    for count in 0..700_usize {
        let x = 1e3 + 10.0 * (count as f64 / 40.0).sin() + normal(&mut state);
        let look = course.look(x);
        course.learn(x, &look);
        // Of the cumulative sum: the largest sum of the latest steps, whichever their number.
        let level = if count == 0 { x } else { weighted(&history, 300.0) };
        let deviation = weighted(&offs, 300.0).sqrt();
        let z = if count > 20 { ((x - level) / deviation).clamp(-4.0, 4.0) } else { 0.0 };
        steps.push(z);
        offs.push((x - level).powi(2));
        history.push(x);
        if count % 7 != 0 {
            continue;
        }
        let largest = |sign: f64| {
            let sums = steps.iter().rev().scan(0.0, |sum, z| {
                *sum += sign * z - 0.5;
                Some(*sum)
            });
            sums.fold(0.0, f64::max)
        };
        let mut expected: Vec<_> = WINDOWS
            .iter()
            .filter(|window| count as u64 >= window.0)
            .map(|&(last, horizon)| {
                let (before, latest) = history.split_at(history.len() - last as usize);
                (latest.iter().sum::<f64>() / last as f64 - weighted(before, horizon)).abs()
            })
            .collect();
        expected.resize(WINDOWS.len(), 0.0);
        expected.push(largest(1.0).max(largest(-1.0)));
        for (scale, (log, expected)) in look.logs.into_iter().zip(expected).enumerate() {
            let found = f64::from(log).exp();
            assert!((found - expected).abs() < 1e-4 * (1.0 + expected), "{scale}: {found} {expected}");
        }
        let mean = look.ranks.iter().map(|rank| rank.powf(-0.5)).sum::<f64>() / SCALES as f64;
        let nats = (f64::from(history.len() as u32).min(500.0) * mean * mean).ln();
        assert!((look.plain - nats).abs() < 1e-9);
    }
}

#[test]
fn a_jump_is_strange_and_raises_its_own_bar() {
    let (mut channel, mut walks) = walked(8_000);
    let mut usual: Vec<_> = (0..2_000)
        .map(|_| {
            let (x, key) = walks.next();
            take(&mut channel, &point(Some(x), Some(&key), 0)).unwrap()
        })
        .collect();
    usual.sort_by(f64::total_cmp);
    let first = take(&mut channel, &point(Some(400.0), Some("3"), 0)).unwrap();
    let again = take(&mut channel, &point(Some(300.0), Some("3"), 0)).unwrap();
    assert!(first > usual[1_999] && first > 8.0, "{first} {}", usual[1_999]);
    assert!(again < first - 2.0, "{again} {first}");
    // Ordinary for one series, unheard of for another.
    assert!(take(&mut channel, &point(Some(400.0), Some("4"), 0)).unwrap() < 6.0);
}

#[test]
fn what_the_guard_withholds_is_part_of_the_series_too() {
    let (mut learned, mut walks) = walked(3_000);
    let (mut skipped, _) = walked(3_000);
    for _ in 0..500 {
        let (x, key) = walks.next();
        let point = point(Some(x), Some(&key), 0);
        let (mut one, mut other) = (Vec::new(), Vec::new());
        learned.score(&point, &mut one);
        skipped.score(&point, &mut other);
        assert_eq!(one, other);
        learned.learn(&point);
        skipped.skip();
        // Once is enough.
        skipped.skip();
    }
}

#[test]
fn order_opens_the_gate_and_its_loss_closes_it() {
    let (mut channel, mut walks) = walked(3_000);
    let mut next = || walks.next();
    let (x, key) = next();
    assert!(take(&mut channel, &point(Some(x), Some(&key), 0)).is_some());
    assert_eq!(take(&mut channel, &point(Some(x), None, 0)), None);
    assert_eq!(take(&mut channel, &point(None, Some(&key), 0)), None);
    assert_eq!(take(&mut channel, &point(Some(x), Some("new"), 0)), None);
    // The same values shuffled.
    let mut values: Vec<_> = (0..20_000).map(|_| next()).collect();
    let mut state = 4;
    for last in (1..values.len()).rev() {
        values.swap(last, below(&mut state, last as u64 + 1));
    }
    let last = values.iter().map(|(x, key)| take(&mut channel, &point(Some(*x), Some(key), 0))).last();
    assert_eq!(last, Some(None));
}

#[test]
fn events_without_order_are_no_series() {
    let independent = |_: u32, state: &mut u64| (normal(state), below(state, 20), 0);
    assert!(open(20_000, independent) < 0.001);
    let mut clock = 0.0;
    let by_chance = |_: u32, state: &mut u64| {
        clock -= 1e4 * (1.0 - uniform(state)).ln();
        (normal(state), below(state, 20), clock as i64)
    };
    assert!(open(20_000, by_chance) < 0.001);
    // Numbered, not sampled.
    assert!(open(20_000, |at, state| (normal(state), 0, i64::from(at))) < 0.01);
    // Too many keys for their values.
    assert!(open(20_000, |at, _| (f64::from(at / 400), at as usize % 400, i64::from(at))) < 0.001);
}

#[test]
fn what_always_rises_is_not_strange_for_rising() {
    let (mut course, mut state, mut loudest) = (Course::default(), 3, f64::MIN);
    let mut step = |x: f64| {
        let look = course.look(x);
        course.learn(x, &look);
        look.score
    };
    let rise = |event: i32, state: &mut u64| 40.0 + 0.002 * f64::from(event) + 1e-4 * normal(state);
    for event in 0..3_000 {
        let score = step(rise(event, &mut state));
        loudest = if event > 500 { loudest.max(score) } else { loudest };
    }
    assert!(loudest < 4.5, "{loudest}");
    let jump = step(rise(3_000, &mut state) + 1.0);
    assert!(jump > loudest + 2.0, "{jump} after {loudest}");
}

#[test]
fn chance_does_not_make_a_series_of_evenly_spaced_events() {
    // One look at each of 10 000 events, of 40 fields.
    for seed in 0..40 {
        let mut own = lru::hash_pair(seed, 9);
        let numbered = |at: u32, _: &mut u64| (normal(&mut own), 0, i64::from(at) * 1_000);
        assert!(open(10_000, numbered) < 0.001, "{seed}");
    }
}

#[test]
fn sampled_values_are_series_and_a_useless_time_changes_nothing() {
    let noise = |at: u32, state: &mut u64, time: i64| (normal(state), at as usize % 5, time);
    assert!(open(6_000, |at, state| noise(at, state, i64::from(at / 5) * 60_000)) > 0.99);
    let lies: [fn(u32) -> i64; 5] = [
        |_| 0,
        |_| i64::MIN,
        |at| -i64::from(at),
        |at| if at % 2 == 0 { i64::MIN } else { i64::MAX },
        |at| i64::from(at / 1_000),
    ];
    for time in lies {
        assert!(open(6_000, |at, state| noise(at, state, time(at))) < 0.01);
        let mut walks = Walks::new();
        let walk = |at: u32, _: &mut u64| {
            let (x, key) = walks.next();
            (x, key.parse().unwrap(), time(at))
        };
        assert!(open(6_000, walk) > 0.9);
    }
}

#[test]
fn the_key_that_gives_the_most_order_makes_the_series() {
    let (numbers, keys) = (vec!["/value".into()], vec!["/noise".into()]);
    let categories = vec!["/kind".into(), "/series".into()];
    let mut channel = Series::new(50, &Schema { numbers, categories, keys, ..Schema::default() });
    let (mut walks, mut state) = (Walks::new(), 6);
    let mut last = None;
    for _ in 0..4_000 {
        let (x, key) = walks.next();
        let mut point = point(Some(x), Some(&(uniform(&mut state) * 9.0).to_string()[..1]), 0);
        point.value.sample.categories =
            vec![Some(Arc::from(&(uniform(&mut state) * 3.0).to_string()[..1])), Some(key.into())];
        last = take(&mut channel, &point);
    }
    assert!(last.is_some());
    assert_eq!(channel.fields[0].force, Some(2));
    let courses = |key: &Key, hash| key.own.get(hash).is_some_and(|own: &Own| own.courses[0].is_some());
    assert!(courses(&channel.keys[2], lru::hash("3")) && !courses(&channel.keys[0], lru::hash("3")));
    // Another key takes over, and what it replaces is forgotten.
    for _ in 0..12_000 {
        let (x, key) = walks.next();
        let mut point = point(Some(x), Some(&key), 0);
        let chance = (uniform(&mut state) * 10.0).to_string()[..1].to_owned();
        point.value.sample.categories = vec![None, Some(chance.into())];
        take(&mut channel, &point);
    }
    assert_eq!(channel.fields[0].force, Some(0));
    assert!(courses(&channel.keys[0], lru::hash("3")) && !courses(&channel.keys[2], lru::hash("3")));
}

#[test]
fn a_lane_without_keys_is_one_series() {
    let mut channel =
        Series::new(10, &Schema { numbers: vec!["/a".into(), "/b".into()], ..Schema::default() });
    let (mut state, mut walk, mut scores) = (2, 0.0, Vec::new());
    for _ in 0..2_000 {
        walk += normal(&mut state);
        let mut point = point(None, None, 0);
        point.value.sample =
            Sample { numbers: vec![Some(walk), Some(normal(&mut state))], ..Sample::default() };
        scores.clear();
        channel.score(&point, &mut scores);
        channel.learn(&point);
    }
    assert!(scores[0].is_some() && scores[1].is_none());
    assert_eq!(channel.held().keys, 0);
}

#[test]
fn a_value_that_never_moved_is_bounded_when_it_does() {
    let mut channel = channel(10);
    let mut at = |event: i64, x: f64| {
        let key = (event % 2).to_string();
        take(&mut channel, &point(Some(x), Some(&key), event / 2 * 1_000))
    };
    for event in 0..3_000 {
        let score = at(event, 0.1);
        assert!(event < 2_000 || score.unwrap() < -5.0, "{score:?}");
    }
    let moved = at(3_000, 0.2).unwrap();
    assert!((10.0..16.0).contains(&moved), "{moved}");
}

#[test]
fn any_number_gets_a_finite_score() {
    let extremes =
        [f64::MAX, f64::MIN, 5e-324, -0.0, 0.0, 1e-310, 1e150, -1e200, 1.0, f64::NAN, f64::INFINITY];
    let (mut channel, mut state) = (channel(10), 1);
    let mut scored = 0;
    for event in 0..8_000_i64 {
        let x = if event < 2_000 { 1.0 } else { extremes[below(&mut state, 11)] };
        let key = (event % 2).to_string();
        let score = take(&mut channel, &point(Some(x), Some(&key), event / 2 * 1_000));
        scored += usize::from(event >= 2_000 && score.is_some());
    }
    assert!(scored > 4_000, "{scored}");
    // A series up there is one like any other, up to the largest value told apart.
    let mut course = Course::default();
    for _ in 0..200 {
        let x = VALUE_MAX * 0.9 * uniform(&mut state);
        let look = course.look(x);
        assert!(look.score.is_finite());
        course.learn(x, &look);
    }
    assert!(course.look(-f64::MAX).score > course.look(VALUE_MAX * 0.4).score + 1.0);
}

#[test]
fn keys_are_bounded_and_the_forgotten_counted() {
    let mut channel = channel(3);
    for event in 0..1_000 {
        take(&mut channel, &point(Some(1.0), Some(&(event % 5).to_string()), event));
    }
    assert_eq!((channel.held().keys, channel.held().evicted), (3, 997));
    let schema =
        Schema { numbers: vec!["/value".into(); 4_096], keys: vec!["/k".into()], ..Schema::default() };
    let mut wide = Series::new(1_000, &schema);
    for event in 0..50 {
        wide.score(&point(Some(1.0), Some(&event.to_string()), event), &mut Vec::new());
        wide.skip();
    }
    assert_eq!(wide.held().keys, 10);
}

#[test]
fn the_same_events_give_the_same_scores() {
    let run = || {
        let (mut channel, mut walks) = (channel(8), Walks::new());
        let score = |_| {
            let (x, key) = walks.next();
            take(&mut channel, &point(Some(x), Some(&key), 0)).map(f64::to_bits)
        };
        (0..5_000).map(score).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_reason_names_the_bound_the_reference_and_the_series() {
    let (mut channel, walks) = walked(8_000);
    let x = 300.0 + walks.at[3];
    take(&mut channel, &point(Some(x), Some("3"), 0));
    let jump = point(Some(350.0), Some("3"), 0);
    let mut evidence = Evidence::default();
    channel.score(&jump, &mut Vec::new());
    channel.explain(&jump, 0, &mut evidence);
    let reason = &evidence.reasons[0];
    assert_eq!((reason.channel, &*reason.field, &*reason.value), ("series", "/value", "350"));
    assert_eq!(reason.context.as_deref(), Some("/series=3"));
    let (bound, rest) = reason.expected.strip_prefix("it stayed within ").unwrap().split_once(' ').unwrap();
    assert!((1.0..10.0).contains(&bound.parse().unwrap()), "{}", reason.expected);
    let count = channel.course(&channel.fields[0], 0).unwrap().count();
    assert_eq!(rest, format!("of the value before, {}, in {count} events", written(x)));
    // A value within its bounds is said to have had others like it.
    let usual = point(Some(x + 2.0), Some("3"), 0);
    channel.score(&usual, &mut Vec::new());
    channel.explain(&usual, 0, &mut evidence);
    assert!(evidence.reasons[1].expected.contains("all but "), "{}", evidence.reasons[1].expected);
    assert!(count > ENOUGH);
}
