//! The forest against counts taken another way.

use super::*;

fn kinds(numbers: usize, categories: usize) -> Vec<Kind> {
    let mut kinds = vec![Kind::Number; numbers];
    kinds.resize(numbers + categories, Kind::Category);
    kinds
}

/// Events in two clumps and a sprinkle of others.
fn event(dice: &mut Dice, fields: usize) -> Vec<u32> {
    let clump = dice.below(20);
    let place = |dice: &mut Dice| match clump {
        0 => dice.roll() as u32,
        1..8 => 1_000_000_000 + (dice.roll() as u32 >> 6),
        _ => 3_000_000_000 + (dice.roll() as u32 >> 5),
    };
    (0..fields).map(|_| place(dice)).collect()
}

/// Whether an event passes a child on its way down a tree.
fn passes(tree: &Tree, pair: [u16; 2], places: &[u32], child: usize) -> bool {
    let mut at = 1;
    while at < NODES {
        let node = tree.node(at.ilog2() as usize, at as u16);
        let place = places[usize::from(pair[(node.word % 2) as usize])];
        let right = u64::from(place) * u64::from(node.word | 1) % (1 << 32) > u64::from(node.cut);
        at = 2 * at + usize::from(right);
        if at == child {
            return true;
        }
    }
    child == 1
}

/// -ln p of the mixture from a child down, by recursion: half this node as one cell, half its children.
fn mixture(masses: &[f64]) -> f64 {
    match masses {
        [above, below, ..] => 0.5 + 0.5 * 2.0 * (below + 0.5) / (above + 1.0) * mixture(&masses[1..]),
        _ => 1.0,
    }
}

#[test]
fn scores_are_those_of_masses_counted_anew() {
    let half_life = 60.0;
    let mut forest = Forest::new(&kinds(2, 1), half_life, 3);
    let mut dice = Dice(9);
    let mut held: Vec<(Vec<u32>, f64)> = Vec::new();
    for step in 0..400 {
        let places = event(&mut dice, 3);
        forest.score(&places);
        if step % 7 == 0 {
            forest.pass(1);
        } else {
            forest.learn();
        }
        // An event loses half its weight at each half-life after it.
        for (_, mass) in &mut held {
            *mass *= (-1.0_f64 / half_life).exp2();
        }
        if step % 7 != 0 {
            held.push((places, (-1.0_f64 / half_life).exp2()));
        }
    }
    let whole: f64 = held.iter().map(|(_, mass)| mass).sum();
    for _ in 0..5 {
        let places = event(&mut dice, 3);
        let mut sum = 0.0;
        for (tree, pair) in forest.trees.iter().zip(&forest.pairs) {
            let mut path = vec![1];
            let passed = |child: &usize| passes(tree, *pair, &places, *child);
            while let Some(next) =
                [2 * path[path.len() - 1], 2 * path[path.len() - 1] + 1].into_iter().find(passed)
            {
                path.push(next);
            }
            assert_eq!(path.len(), DEPTH + 1);
            let mass = |child: &usize| {
                held.iter()
                    .filter(|(other, _)| passes(tree, *pair, other, *child))
                    .map(|(_, mass)| mass)
                    .sum()
            };
            let masses: Vec<f64> = path.iter().map(mass).collect();
            let limit = (0.02 * whole).max(10.0);
            let stop = masses.iter().position(|mass| *mass < limit).unwrap_or(DEPTH);
            sum -= (masses[stop].max(0.5) / whole * (stop as f64).exp2()).ln() + mixture(&masses).ln();
        }
        let expected = sum / TREES as f64;
        let found = forest.score(&places);
        assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
        let of_trees: f64 = forest.scores(&places).iter().map(|(_, score)| score).sum();
        assert!((of_trees / TREES as f64 - expected).abs() < 1e-4);
    }
}

#[test]
fn scaling_down_changes_no_score() {
    let mut young = Forest::new(&kinds(1, 1), 10.0, 1);
    let mut dice = Dice(1);
    // Sixty half-lives scale the masses down; a fresh forest that saw the last ones only agrees.
    let events: Vec<_> = (0..2_000).map(|_| event(&mut dice, 2)).collect();
    let mut old = Forest::new(&kinds(1, 1), 10.0, 1);
    for places in &events {
        old.score(places);
        old.learn();
    }
    for places in &events[1_500..] {
        young.score(places);
        young.learn();
    }
    assert!(old.weight < HEAVY && old.weight.is_finite());
    for _ in 0..20 {
        let places = event(&mut dice, 2);
        assert!((old.score(&places) - young.score(&places)).abs() < 1e-4);
    }
}

#[test]
fn the_rare_and_the_odd_combination_score_high_whatever_the_seed() {
    for seed in [1, 2, 3] {
        let mut forest = Forest::new(&kinds(1, 1), 1_000.0, seed);
        let mut dice = Dice(5);
        let (low, high, red, blue) = (1 << 30, 3 << 30, 0x1234_5678, 0xfed3_1097);
        for _ in 0..3_000 {
            let (number, colour) = if dice.below(2) == 0 { (low, red) } else { (high, blue) };
            let places = [number + (dice.roll() as u32 >> 5), colour];
            forest.score(&places);
            forest.learn();
        }
        let usual = forest.score(&[low + 5, red]).max(forest.score(&[high + 5, blue]));
        let odd = forest.score(&[low + 5, blue]).min(forest.score(&[high + 5, red]));
        let unseen = forest.score(&[u32::MAX, 77]);
        assert!(odd > usual + 1.0, "seed {seed}: {odd} {usual}");
        assert!(unseen > usual + 1.0, "seed {seed}: {unseen} {usual}");
        assert!([usual, odd, unseen].iter().all(|score| score.is_finite()));
    }
}

#[test]
fn every_field_stands_in_equally_many_trees() {
    for fields in 1..40 {
        let pairs = pairs(fields, &mut Dice(fields as u64));
        assert_eq!(pairs.len(), TREES);
        let of = |field: usize| pairs.iter().filter(|pair| pair.contains(&(field as u16))).count();
        let counts: Vec<usize> = (0..fields).map(of).collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        // An odd number leaves one out of each round, which then stands with any other.
        assert!(
            *least >= TREES / (fields + 1) && *most <= 5 + 2 * TREES.div_ceil(fields.max(2)) * 2,
            "{fields}: {counts:?}"
        );
        let alone = pairs.iter().filter(|pair| pair[0] == pair[1]).count();
        assert!(
            alone >= TREES / (fields + 2) && (fields == 1 || alone <= 3 * TREES / fields),
            "{fields}: {alone}"
        );
    }
}

#[test]
fn time_without_events_and_odd_half_lives_are_harmless() {
    for half_life in [f64::NAN, 0.0, 1.0, 1e300, f64::INFINITY] {
        let mut forest = Forest::new(&kinds(1, 0), half_life, 1);
        for step in 0_u64..500 {
            let score = forest.score(&[step as u32 * 8_000_000]);
            assert!(score.is_finite());
            forest.learn();
            forest.pass(if step == 400 { u64::MAX } else { step % 3 });
        }
        assert!(forest.total.is_finite() && forest.weight.is_finite());
    }
}
