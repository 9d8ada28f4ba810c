//! What keys explain, against figures known beforehand.

use super::*;

fn dice(state: &mut u64, below: u64) -> u64 {
    *state = lru::hash_pair(*state, 3);
    *state % below
}

/// Columns: a home, which is the key's; a colour, which is nobody's; an amount, which is the colour's; a key.
fn rows(count: usize, keys: u64) -> Vec<[u64; 4]> {
    let mut state = 1;
    let row = |_| {
        let (key, colour) = (dice(&mut state, keys), dice(&mut state, 8));
        let amount = (colour * 10 + dice(&mut state, 20)) as f64;
        [lru::hash_pair(key % 10, 1), lru::hash_pair(colour, 2), amount.to_bits(), lru::hash_pair(key, 3)]
    };
    (0..count).map(row).collect()
}

fn measured(rows: &[[u64; 4]], keys_max: usize) -> Explained {
    let mut explained = Explained::new(3, 1, keys_max);
    let (first, rest) = rows.split_at(250);
    for field in 0..3 {
        assert!(!explained.measures(field));
        let mut sample: Vec<f64> = Vec::new();
        if field == 2 {
            sample.extend(first.iter().map(|row| f64::from_bits(row[2])));
        }
        explained.begin(field, &mut sample, first.iter().map(|row| &row[..]));
        assert!(explained.measures(field));
    }
    for row in rest {
        explained.learn(row);
    }
    explained
}

#[test]
fn a_key_explains_its_home_and_not_a_colour() {
    let rows = rows(6_000, 100);
    let explained = measured(&rows, 10_000);
    assert!((0.85..1.0).contains(&explained.of(0)), "{}", explained.of(0));
    assert!(explained.of(1) < 0.1 && explained.of(2) < 0.1);
    assert_eq!(explained.held().0, 0, "tables are let go");
    assert_eq!((explained.of(9), explained.measures(9)), (0.0, false));
}

#[test]
fn the_share_is_that_of_a_recount() {
    let rows = rows(3_000, 40);
    let explained = measured(&rows, 10_000);
    let (mut plain, mut given) = (0.0, 0.0);
    for (at, row) in rows.iter().enumerate() {
        let before = &rows[..at];
        let count = |fits: &dyn Fn(&[u64; 4]) -> bool| before.iter().filter(|row| fits(row)).count() as f64;
        let mut values: Vec<u64> = before.iter().map(|row| row[0]).collect();
        values.sort_unstable();
        values.dedup();
        let p = (count(&|other| other[0] == row[0]) + 0.5 / (values.len() as f64 + 1.0)) / (at as f64 + 0.5);
        let p = p.min(1.0);
        let both = count(&|other| other[0] == row[0] && other[3] == row[3]);
        plain -= p.ln();
        given -= ((both + 2.0 * p) / (count(&|other| other[3] == row[3]) + 2.0)).ln();
    }
    let share = 1.0 - given / plain;
    assert!((explained.of(0) - share).abs() < 1e-9, "{} is not {share}", explained.of(0));
}

#[test]
fn a_colour_predicts_the_amount_and_a_home_does_not() {
    let rows = rows(3_000, 100);
    let mut explained = measured(&rows[..1_000], 10_000);
    for field in [0, 1] {
        explained.begin_as_key(field, &[2], rows[..1_000].iter().map(|row| &row[..]));
    }
    for row in &rows[1_000..] {
        explained.learn(row);
    }
    assert!(explained.predicts(1, &[0, 2]));
    assert!(!explained.predicts(1, &[0]) && !explained.predicts(0, &[2]));
}

#[test]
fn ever_new_keys_explain_nothing_and_cost_bounded_memory() {
    let rows = rows(4_000, u64::MAX);
    let explained = measured(&rows, 50);
    assert!(explained.of(0) < 0.5);
    assert!(explained.held().0 <= 3 * 3 * 50 && explained.held().1 > 0);
}

#[test]
fn many_pairs_are_measured_in_turn() {
    let (fields, keys) = (40, 4);
    let mut explained = Explained::new(fields, keys, 1_000);
    (0..fields).for_each(|field| explained.begin(field, &mut [], std::iter::empty()));
    let mut state = 1;
    for _ in 0..40_000 {
        let key = dice(&mut state, 50);
        let mut row = vec![key % 5; fields];
        row.extend((0..keys as u64).map(|at| lru::hash_pair(key, at)));
        explained.learn(&row);
    }
    assert!((0..fields).all(|field| explained.of(field) > 0.8));
    assert_eq!(explained.held().0, 0);
}
