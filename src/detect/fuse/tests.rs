//! What fusion makes of scores whose laws are known.

use super::*;
use crate::detect::lru::hash_pair;

fn exponential(state: &mut u64) -> f64 {
    *state = hash_pair(*state, 1);
    -(((*state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64).ln()
}

#[test]
fn the_fused_surprise_is_calibrated_whatever_the_fields_share() {
    // Ten fields that are one and the same, and five independent ones.
    let mut fusion = Fusion::new(1.5, 4_000, [Unit::Raw; 15]);
    let (mut state, mut over, mut scores) = (17, [0.0; 3], Vec::new());
    for event in 0..108_000 {
        scores.clear();
        scores.extend([Some(exponential(&mut state)); 10]);
        scores.extend((0..5).map(|_| Some(exponential(&mut state))));
        let nats = fusion.judge(&scores);
        if event >= 8_000 {
            for (count, level) in over.iter_mut().zip([1.0, 3.0, 5.0]) {
                *count += f64::from(u8::from(nats > level)) / 100_000.0;
            }
        }
        fusion.learn();
    }
    for (share, level) in over.into_iter().zip([1.0_f64, 3.0, 5.0]) {
        assert!((share / (-level).exp() - 1.0).abs() < 0.15, "{level}: {share}");
    }
}

#[test]
fn many_quiet_fields_do_not_drown_a_loud_one() {
    let mut fusion = Fusion::new(1.5, 4_000, [Unit::Raw; 20]);
    let mut state = 23;
    for _ in 0..12_000 {
        let scores: Vec<_> = (0..20).map(|_| Some(exponential(&mut state))).collect();
        fusion.judge(&scores);
        fusion.learn();
    }
    let mut scores = vec![Some(0.1); 20];
    scores[7] = Some(25.0);
    assert!(fusion.judge(&scores) > 7.0);
}

#[test]
fn several_that_agree_are_stranger_than_one_alone() {
    let mut fusion = Fusion::new(1.5, 4_000, [Unit::Raw; 4]);
    let mut state = 29;
    for _ in 0..12_000 {
        let scores: Vec<_> = (0..4).map(|_| Some(exponential(&mut state))).collect();
        fusion.judge(&scores);
        fusion.learn();
    }
    let one = fusion.judge(&[Some(7.0), Some(0.5), Some(0.5), Some(0.5)]);
    let three = fusion.judge(&[Some(7.0), Some(6.0), Some(6.5), Some(0.5)]);
    assert!(three > one + 2.0, "{three} {one}");
}

#[test]
fn a_score_that_wanders_sets_no_records() {
    // Nine values, each as likely as another, whose scores drift by a few hundredths of their size.
    let mut fusion = Fusion::new(1.5, 5_000, [Unit::Raw; 3]);
    let (mut state, mut strange) = (3, 0);
    for event in 0..60_000_i32 {
        let value = f64::from(event % 9);
        let wander = 2.2 + 0.1 * (f64::from(event) / 900.0 + value).sin() * (f64::from(event) / 7e3).cos();
        let nats = fusion.judge(&[Some(wander), Some(1.0), Some(exponential(&mut state))]);
        strange += i32::from(event > 10_000 && nats > 7.0);
        fusion.learn();
    }
    assert!(strange < 100, "{strange} of 50 000 events, where 46 are to be expected");
}

#[test]
fn evidence_is_never_made_more_of_and_less_where_a_law_is_too_sure() {
    let (mut sure, mut state) = (Fusion::new(1.5, 4_000, [Unit::Evidence]), 37);
    let mut modest = Fusion::new(1.5, 4_000, [Unit::Evidence]);
    for event in 0..8_000 {
        // Fifty times what would be right; and next to nothing.
        sure.judge(&[Some(50.0 * exponential(&mut state))]);
        sure.learn();
        modest.judge(&[Some(f64::from(event % 7) / 100.0)]);
        modest.learn();
    }
    let surprise = |fusion: &mut Fusion, score| {
        fusion.judge(&[Some(score)]);
        fusion.entries().map(|(_, nats)| nats).sum::<f64>()
    };
    assert!((3.0..5.0).contains(&surprise(&mut sure, 200.0)));
    assert!((surprise(&mut modest, 0.8) - 0.8).abs() < 1e-9);
}

#[test]
fn a_budget_of_its_own_passes_unlevelled_and_silences_the_others_by_half() {
    let mut fusion = Fusion::new(1.5, 1_000, [Unit::Raw, Unit::Budget]);
    let mut state = 31;
    for _ in 0..5_000 {
        fusion.judge(&[Some(exponential(&mut state)), Some(9.0)]);
        fusion.learn();
    }
    let without = fusion.judge(&[Some(9.0), None]);
    assert!(without > 6.0);
    assert!((fusion.judge(&[Some(9.0), Some(-3.0)]) - without / 2.0).abs() < 1e-5);
    assert!((fusion.judge(&[Some(9.0), Some(9.5)]) - 9.5).abs() < 1e-9, "however often it was said");
}

#[test]
fn a_whole_event_is_not_silenced_beside_a_budget() {
    let mut fusion = Fusion::new(1.5, 1_000, [Unit::Raw, Unit::Whole, Unit::Budget]);
    let mut state = 33;
    for _ in 0..5_000 {
        fusion.judge(&[Some(exponential(&mut state)), Some(exponential(&mut state)), Some(0.5)]);
        fusion.learn();
    }
    let nats = |fusion: &Fusion| fusion.entries().map(|(_, nats)| nats).collect::<Vec<_>>();
    let fused = fusion.judge(&[Some(1.0), Some(8.0), Some(0.5)]);
    assert!(fused > 5.0 && (fused - nats(&fusion)[1]).abs() < 1e-5);
    assert!(fusion.judge(&[Some(8.0), Some(1.0), Some(0.5)]) < 0.7 * fused);
}

#[test]
fn a_silent_field_is_not_there_and_another_counts_by_its_agreement() {
    for (agrees, weight) in [(true, 1.0), (false, 0.3)] {
        let mut with = Fusion::new(1.2, 1_000, [Unit::Raw, Unit::Raw, Unit::Evidence]);
        let mut without = Fusion::new(1.2, 1_000, [Unit::Raw, Unit::Evidence]);
        with.pair(1, 0);
        with.weigh(1, Weight::Silent);
        let mut state = 37;
        for _ in 0..4_000 {
            let [one, other, third] = [(); 3].map(|()| exponential(&mut state));
            let beside = if agrees { one } else { other };
            let nats = with.judge(&[Some(one), Some(beside), Some(third)]);
            assert_eq!(nats.to_bits(), without.judge(&[Some(one), Some(third)]).to_bits());
            with.learn();
            without.learn();
        }
        assert!(with.judge(&[None, Some(99.0), None]) < 1e-9, "nobody spoke");
        with.weigh(1, Weight::ByLift);
        let (counts, lift) = with.standing(1);
        assert!((counts - weight).abs() < 1e-9 && lift.is_some_and(|lift| (lift > 5.0) == agrees));
        let nats = |fusion: &mut Fusion| {
            fusion.judge(&[Some(1.0), Some(9.0), None]);
            fusion.entries().nth(1).map_or(0.0, |(_, nats)| nats)
        };
        let by_lift = nats(&mut with);
        with.weigh(1, Weight::Full);
        assert!((by_lift - weight * nats(&mut with)).abs() < 1e-9 && by_lift > 1.0);
    }
}

#[test]
fn fields_that_join_are_not_heard_at_first_and_then_in_the_measure_of_all() {
    let new = || Fusion::new(1.2, 4_000, [Unit::Raw, Unit::Evidence]);
    let (mut fusion, mut without, mut state) = (new(), new(), 41);
    // Two that stay, three that join, and from 8 000 on one instead of the second.
    let places = [
        (Unit::Raw, None, true),
        (Unit::Raw, Some(0), true),
        (Unit::Evidence, Some(1), false),
        (Unit::Steady, None, true),
        (Unit::Budget, None, true),
    ];
    let mut over = [0.0; 2];
    for event in 0..28_000 {
        let draws = [(); 5].map(|()| Some(exponential(&mut state)));
        let old = [draws[1], draws[2]];
        let scores = match event {
            0..6_000 => old.to_vec(),
            6_000..8_000 => [&draws[..4], &[Some(99.0)]].concat(),
            _ => vec![draws[0], draws[1], draws[3], None],
        };
        match event {
            6_000 => fusion.arrange(&places),
            8_000 => fusion.hear(),
            _ => {}
        }
        let (nats, plain) = (fusion.judge(&scores), without.judge(&old));
        if event < 8_000 {
            assert_eq!(nats.to_bits(), plain.to_bits(), "event {event}");
            assert_eq!(fusion.unlevelled().to_bits(), without.unlevelled().to_bits());
        } else {
            for (count, level) in over.iter_mut().zip([1.0, 4.0]) {
                *count += f64::from(u8::from(nats > level)) / 20_000.0;
            }
        }
        // From the first event on: were it not so, the first thousands would be too strange.
        if event == 8_999 {
            assert!((0.2..0.5).contains(&(over[0] * 20.0)), "{}", over[0] * 20.0);
        }
        fusion.learn();
        without.learn();
    }
    for (share, level) in over.into_iter().zip([1.0_f64, 4.0]) {
        assert!((share / (-level).exp() - 1.0).abs() < 0.3, "{level}: {share}");
    }
    assert_eq!(fusion.heard().collect::<Vec<_>>(), [true; 4]);
}

#[test]
fn silence_is_no_surprise_and_teaches_nothing() {
    let mut fusion = Fusion::new(1.5, 1_000, [Unit::Raw; 2]);
    for _ in 0..3_000 {
        assert!(fusion.judge(&[None, Some(f64::NAN)]) < 1e-9);
        fusion.learn();
    }
    for score in 0..500 {
        fusion.judge(&[None, Some(f64::from(score % 100))]);
        fusion.learn();
    }
    let nats = fusion.judge(&[None, Some(500.0)]);
    assert!(nats > 4.0 && (nats * 1e6).fract().abs() < 1e-3, "{nats}");
}
