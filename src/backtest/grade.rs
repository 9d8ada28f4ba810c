//! How well a ranking finds what is labelled.
//!
//! The area under the ROC curve is the chance that an anomaly stands above a normal event, a tie counting one half (Hanley &
//! `McNeil`, "The meaning and use of the area under a receiver operating characteristic curve", Radiology 1982). Average
//! precision is the sum over thresholds of precision times the recall gained, events of equal score crossing a threshold
//! together (as scikit-learn has it; no interpolation, which is too kind: Davis & Goadrich, ICML 2006). Neither depends on
//! the order of events.

use super::trail::Steps;

/// Two figures of one ranking; both 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ranking {
    pub(super) auroc: f64,
    pub(super) average_precision: f64,
}

/// Events of one score: how many are anomalies, how many normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tie {
    anomalies: u64,
    normals: u64,
}

/// Scores from the strangest down, equal ones together.
#[derive(Clone, Debug)]
pub(super) struct Ranked(Vec<Tie>);

impl Ranked {
    /// Ranks scores with their labels.
    pub(super) fn new(scored: impl Iterator<Item = (Steps, bool)>) -> Self {
        let mut packed: Vec<u64> =
            scored.map(|(score, anomaly)| u64::from(score) << 1 | u64::from(anomaly)).collect();
        packed.sort_unstable_by(|a, b| b.cmp(a));
        let ties = packed.chunk_by(|a, b| a >> 1 == b >> 1).map(|same| {
            let anomalies = same.iter().map(|entry| entry & 1).sum();
            Tie { anomalies, normals: same.len() as u64 - anomalies }
        });
        Self(ties.collect())
    }

    /// AUROC and average precision; none when all events are of one class.
    pub(super) fn ranking(&self) -> Option<Ranking> {
        let anomalies: u64 = self.0.iter().map(|tie| tie.anomalies).sum();
        let normals: u64 = self.0.iter().map(|tie| tie.normals).sum();
        if anomalies == 0 || normals == 0 {
            return None;
        }
        // Twice the pairs won, so that it stays a whole number.
        let (mut above, mut below, mut won, mut average) = (0_u64, 0_u64, 0_u128, 0.0);
        for tie in &self.0 {
            won += u128::from(tie.normals) * u128::from(2 * above + tie.anomalies);
            above += tie.anomalies;
            below += tie.normals;
            average += tie.anomalies as f64 * (above as f64 / (above + below) as f64);
        }
        let pairs = 2.0 * anomalies as f64 * normals as f64;
        Some(Ranking { auroc: won as f64 / pairs, average_precision: average / anomalies as f64 })
    }

    /// Anomalies among the `count` strangest; of events that tie for the last places their share.
    pub(super) fn found_in_top(&self, count: u64) -> f64 {
        let (mut left, mut found) = (count, 0.0);
        for tie in &self.0 {
            let size = tie.anomalies + tie.normals;
            let taken = size.min(left);
            found += tie.anomalies as f64 * (taken as f64 / size as f64);
            left -= taken;
            if left == 0 {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definitions, pair by pair and threshold by threshold.
    fn by_definition(scored: &[(Steps, bool)]) -> (f64, f64) {
        let of = |class: bool| scored.iter().filter(move |(_, anomaly)| *anomaly == class);
        let mut won = 0.0;
        for (high, _) in of(true) {
            for (low, _) in of(false) {
                won += if high > low { 1.0 } else { f64::from(u8::from(high == low)) / 2.0 };
            }
        }
        let (anomalies, normals) = (of(true).count() as f64, of(false).count() as f64);
        let mut lines: Vec<Steps> = scored.iter().map(|(score, _)| *score).collect();
        lines.sort_unstable();
        lines.dedup();
        let (mut average, mut recall_before) = (0.0, 0.0);
        for line in lines.into_iter().rev() {
            let found = of(true).filter(|(score, _)| *score >= line).count() as f64;
            let told = scored.iter().filter(|(score, _)| *score >= line).count() as f64;
            average += (found / anomalies - recall_before) * (found / told);
            recall_before = found / anomalies;
        }
        (won / (anomalies * normals), average)
    }

    #[test]
    fn figures_are_those_of_the_definitions_with_and_without_ties() {
        let mut state = 7_u64;
        let mut draw = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        for (events, scores) in [(2, 5), (50, 3), (200, 20), (200, 1_000_000)] {
            for _ in 0..20 {
                let event = |place: usize, score: u64, label: u64| {
                    let anomaly = place == 0 || (place > 1 && label == 0);
                    (Steps::try_from(score + u64::from(anomaly) * scores / 4).unwrap_or_default(), anomaly)
                };
                let scored: Vec<_> = (0..events).map(|place| event(place, draw(scores), draw(8))).collect();
                let (auroc, average) = by_definition(&scored);
                let ranking = Ranked::new(scored.iter().copied()).ranking().expect("both classes are there");
                assert!((ranking.auroc - auroc).abs() < 1e-12, "{ranking:?} {auroc}");
                assert!((ranking.average_precision - average).abs() < 1e-12, "{ranking:?} {average}");
            }
        }
    }

    #[test]
    fn one_class_has_no_ranking() {
        assert_eq!(Ranked::new([(1, true), (2, true)].into_iter()).ranking(), None);
        assert_eq!(Ranked::new([(1, false)].into_iter()).ranking(), None);
        assert_eq!(Ranked::new(std::iter::empty()).ranking(), None);
    }

    #[test]
    fn the_top_takes_its_share_of_a_tie() {
        let ranked = Ranked::new([(9, false), (5, true), (5, false), (5, true), (1, true)].into_iter());
        let found: Vec<f64> = (0..7).map(|count| ranked.found_in_top(count)).collect();
        let expected = [0.0, 0.0, 2.0 / 3.0, 4.0 / 3.0, 2.0, 3.0, 3.0];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }
}
