//! From a raw score to nats: how small is the share of scores lately that are as high?
//!
//! surprise = -ln p, with p the conformal p-value (rank of the score among those remembered; ties count against
//! it, so p is valid: P(p <= a) <= a; Vovk, Gammerman & Shafer, "Algorithmic learning in a random world", 2005).
//! Ranks cannot tell a record from a tenfold record, so above the [`JOIN`]-th highest score remembered p goes on
//! along a generalised Pareto law fitted to the excesses over a high quantile (Siffer et al., "Anomaly detection in
//! streams with extreme value theory", KDD 2017) by probability-weighted moments (Hosking & Wallis, "Parameter and
//! quantile estimation for the generalized Pareto distribution", Technometrics 1987), which need no iteration.
//! Ranks rule as far as they reach: an atom in the tail (one score, many events) is then never called rarer than it
//! was. The shape is held to [0, .9]: a law with an end makes what lies beyond infinitely strange, and measures of
//! many kinds end somewhere; with shapes down to -.5 a field of little worth outshouted those that tell (web log: average
//! precision .78 against .75). What has a lighter tail is then called less rare than it is, never more.
//!
//! Scores in the tail that came since the fit are counted beside it, and beside the ranks below it, or a score would
//! be less strange than a lower one: records that come in clusters are no records.
//!
//! It remembers scores up to its limit, the oldest forgotten first. Ranks are taken in a sorted copy renewed by merging
//! every 1/20 of its length, some 25 steps an event; its top twentieth is kept up to date at every score, and the law
//! fitted to it ten times as often (every 1/20: average precision of card purchases .78, every 1/200: .82).
//! It must never give NaN or infinity, nor be taught only scores that the guard let pass: see `admission`.

use std::collections::VecDeque;

/// Scores of one kind, and how rare each is among them.
#[derive(Clone, Debug)]
pub(crate) struct Calibrator {
    capacity: usize,
    /// The scores remembered, oldest first.
    recent: VecDeque<f32>,
    /// The scores remembered when last renewed, lowest first.
    sorted: Vec<f32>,
    /// Every [`BLOCK`]-th of them, small enough to stay in the processor's nearest cache.
    coarse: Vec<f32>,
    /// How many of those are not above `start`.
    body: usize,
    /// How many at the end of `recent` are not in `sorted` yet.
    fresh: usize,
    /// Scores forgotten since, still in `sorted`.
    gone: Vec<f32>,
    scratch: Vec<f32>,
    /// Where the excesses begin that a law is fitted to.
    start: f32,
    /// All scores remembered above `start`, always up to date, lowest first.
    top: Vec<f32>,
    tail: Tail,
    /// Scores learned since the law was fitted, and those of them that it speaks of, lowest first.
    since: usize,
    higher: Vec<f32>,
}

impl Calibrator {
    /// Remembers nothing yet, and at most `capacity` scores.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(RECENT_MIN),
            recent: VecDeque::new(),
            sorted: Vec::new(),
            coarse: Vec::new(),
            body: 0,
            fresh: 0,
            gone: Vec::new(),
            scratch: Vec::new(),
            start: f32::INFINITY,
            top: Vec::new(),
            tail: Tail::default(),
            since: 0,
            higher: Vec::new(),
        }
    }

    /// -ln of the share of remembered scores that are as high; nats, from 0 to [`NATS_MAX`], never falling as the
    /// score rises.
    pub(crate) fn surprise(&self, score: f64) -> f64 {
        let score = narrow(score);
        if score > self.tail.from {
            // What came since the fit counts beside it, or a cluster of records would go on setting records.
            let since = as_high(&self.higher, score);
            let nats = self.tail.surprise(score);
            let share = since as f64 / (self.sorted.len() as f64 + 1.0);
            let nats = if since == 0 { nats } else { ((-nats).exp() + share).min(1.0).recip().ln() };
            // Nor less than what is just below: there the records that have gone since no longer count.
            return nats.max(self.rank(as_high(&self.top, self.tail.from)).min(self.tail.base));
        }
        let count = if score > self.start {
            as_high(&self.top, score)
        } else {
            let block = self.coarse.partition_point(|&held| held < score).saturating_sub(1) * BLOCK;
            let end = (block + BLOCK).min(self.sorted.len());
            let below = block + self.sorted[block..end].partition_point(|&held| held < score);
            self.body.saturating_sub(below) + self.top.len()
        };
        self.rank(count).clamp(0.0, self.tail.base.max(0.0))
    }

    /// Whether a score lies in the body, all of which is less rare than that share of scores: then so is the score. What
    /// is next to it is not told.
    pub(crate) fn is_ordinary(&self, score: f64, share: f64) -> bool {
        // None of the body's scores has fewer that are as high than the top has scores.
        let rarest = (self.top.len() as f64 + 1.0) / (self.sorted.len() as f64 + 1.0);
        narrow(score) <= self.start.min(self.tail.from) && 0.999 * rarest > share
    }

    /// Remembers a score.
    pub(crate) fn learn(&mut self, score: f64) {
        let score = narrow(score);
        self.recent.push_back(score);
        self.fresh += 1;
        self.since += 1;
        while self.recent.len() > self.capacity {
            let Some(gone) = self.recent.pop_front() else { break };
            self.gone.push(gone);
            if gone > self.start {
                let at = self.top.partition_point(|&held| held < gone);
                if at < self.top.len() {
                    self.top.remove(at);
                }
            }
        }
        if score > self.start {
            self.top.insert(self.top.partition_point(|&held| held < score), score);
        }
        if score > self.tail.from {
            self.higher.insert(self.higher.partition_point(|&held| held < score), score);
        }
        if self.fresh > self.sorted.len() / 20 {
            self.renew();
        } else if self.since > self.sorted.len() / 200 {
            self.fit();
        }
    }

    fn rank(&self, as_high: usize) -> f64 {
        ((self.sorted.len() as f64 + 1.0) / (as_high as f64 + 1.0)).ln()
    }

    /// Brings `sorted` up to date: one pass over three sorted lists.
    fn renew(&mut self) {
        let held = self.recent.len() - self.fresh.min(self.recent.len());
        let mut fresh: Vec<f32> = self.recent.range(held..).copied().collect();
        fresh.sort_unstable_by(f32::total_cmp);
        self.gone.sort_unstable_by(f32::total_cmp);
        self.scratch.clear();
        let (mut coming, mut going) =
            (fresh.iter().copied().peekable(), self.gone.iter().copied().peekable());
        for &score in &self.sorted {
            if going.next_if(|gone| gone.total_cmp(&score).is_eq()).is_some() {
                continue;
            }
            while let Some(new) = coming.next_if(|new| new.total_cmp(&score).is_lt()) {
                self.scratch.push(new);
            }
            self.scratch.push(score);
        }
        self.scratch.extend(coming);
        std::mem::swap(&mut self.sorted, &mut self.scratch);
        self.coarse.clear();
        self.coarse.extend(self.sorted.iter().step_by(BLOCK));
        self.gone.clear();
        self.fresh = 0;
        let count = self.sorted.len();
        // With few scores, the tail starts at a lower quantile: it needs some scores to be fitted to.
        let excesses = (count / 20).max((count / 5).min(EXCESSES_MIN)).max(JOIN.min(count / 4));
        self.start = self.sorted.get((count - 1).saturating_sub(excesses)).copied().unwrap_or(f32::INFINITY);
        self.body = self.sorted.partition_point(|&held| held <= self.start);
        self.top.clear();
        self.top.extend_from_slice(&self.sorted[self.body..]);
        self.fit();
    }

    /// Fits the law to the excesses there are now.
    fn fit(&mut self) {
        self.since = 0;
        self.higher.clear();
        let join = JOIN.min(self.sorted.len() / 4);
        let from = match self.top.len().checked_sub(join) {
            Some(at) if join > 0 && at < self.top.len() => self.top[at],
            // Too few scores, or most of them are equal and the highest there are.
            _ => {
                let last = self.top.last().or(self.sorted.last()).copied().unwrap_or_default();
                let (shape, scale) = pareto(&self.top, self.start);
                self.tail = Tail { from: last, base: self.rank(0), shape, scale };
                return;
            }
        };
        let (shape, scale) = pareto(&self.top, self.start);
        let higher = self.top.len() - self.top.partition_point(|&held| held <= from);
        // The law's scale where it is joined.
        let scale = scale + shape * (f64::from(from) - f64::from(self.start));
        self.tail = Tail { from, base: self.rank(higher), shape, scale };
    }
}

/// How many of sorted scores are as high.
fn as_high(sorted: &[f32], score: f32) -> usize {
    sorted.len() - sorted.partition_point(|&held| held < score)
}

/// Scores remembered at least: below that there is nothing to rank among.
const RECENT_MIN: usize = 256;
/// Scores between two marks of the coarse copy.
const BLOCK: usize = 128;
/// Ranks are used up to this many highest scores: a share counted on 32 is good to 18 %, or .2 nats.
const JOIN: usize = 32;
/// Excesses a law is fitted to at least, where there are enough scores to choose them from.
const EXCESSES_MIN: usize = 64;
/// Nothing is stranger than this.
pub(crate) const NATS_MAX: f64 = 500.0;

/// Half the memory, and ties that rounding alone would break stay ties.
fn narrow(score: f64) -> f32 {
    if score.is_nan() { 0.0 } else { score.clamp(-1e30, 1e30) as f32 + 0.0 }
}

/// How surprise goes on above the score `from`, where it is `base`.
#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    from: f32,
    base: f64,
    shape: f64,
    /// At `from`.
    scale: f64,
}

impl Tail {
    fn surprise(&self, score: f32) -> f64 {
        if self.scale <= 0.0 {
            return self.base;
        }
        let beyond = (f64::from(score) - f64::from(self.from)) / self.scale;
        // -ln G(y) for G(y) = (1 + shape y)^(-1 / shape), and its limit.
        let nats = if self.shape < 1e-6 { beyond } else { (self.shape * beyond).ln_1p() / self.shape };
        (self.base + nats).min(NATS_MAX)
    }
}

/// Shape and scale of the excesses of sorted scores over a start, by probability-weighted moments.
fn pareto(scores: &[f32], start: f32) -> (f64, f64) {
    let count = scores.len() as f64;
    let (mut mean, mut weighted) = (0.0, 0.0);
    for (rank, &score) in scores.iter().enumerate() {
        let excess = f64::from(score) - f64::from(start);
        mean += excess / count;
        weighted += excess / count * (1.0 - (rank as f64 + 0.65) / count);
    }
    if scores.len() < 5 || mean <= 0.0 {
        // Nothing to fit: scores are in nats or near it, and one of them weighs one.
        return (0.0, if mean > 0.0 { mean.max(1.0) } else { 1.0 });
    }
    // A law without a mean has no such shape; nor is one so short, unless all excesses are alike.
    let spare = mean - 2.0 * weighted;
    let shape = if spare > 0.0 { (2.0 - mean / spare).clamp(0.0, 0.9) } else { 0.0 };
    // The mean of the law is scale / (1 - shape): kept, whatever the shape was held to.
    (shape, mean * (1.0 - shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::lru::hash_pair;

    type Law = fn(f64) -> f64;

    fn uniform(state: &mut u64) -> f64 {
        *state = hash_pair(*state, 3);
        ((*state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    #[test]
    fn surprise_above_t_comes_at_a_rate_of_e_to_minus_t() {
        let laws = [
            ("exponential", (|p: f64| -p.ln()) as Law),
            ("heavy", |p| p.powf(-0.5)),
            ("bounded", |p| 1.0 - p),
            ("huge", |p| 1e20 * p.powf(-0.8)),
        ];
        for (name, law) in laws {
            let (mut state, mut counts) = (11, [0.0; 4]);
            let mut calibrator = Calibrator::new(5_000);
            let levels = [1.0, 2.0, 4.0, 7.0];
            for event in 0..260_000 {
                let score = law(uniform(&mut state));
                if event >= 10_000 {
                    let surprise = calibrator.surprise(score);
                    for (count, level) in counts.iter_mut().zip(levels) {
                        *count += f64::from(u8::from(surprise > level));
                    }
                }
                calibrator.learn(score);
            }
            for ((count, level), slack) in counts.into_iter().zip(levels).zip([0.02, 0.04, 0.1, 0.5]) {
                let expected = 250_000.0 * f64::exp(-level);
                // A law that ends is taken for one that does not: what is beyond the ranks is called less rare.
                let least = if name == "bounded" && level > 4.0 { 0.0 } else { 1.0 - slack };
                let share = count / expected;
                assert!((least..1.0 + slack).contains(&share), "{name} {level}: {count} for {expected}");
            }
        }
    }

    #[test]
    fn never_falls_and_does_not_leap_at_the_join() {
        let (mut state, mut calibrator) = (5, Calibrator::new(3_000));
        for _ in 0..9_000 {
            calibrator.learn(-uniform(&mut state).ln());
        }
        let mut before = calibrator.surprise(-1.0);
        for step in 0..4_000 {
            let now = calibrator.surprise(f64::from(step) * 0.01);
            assert!(now >= before && now.is_finite());
            assert!(now - before < 0.2, "leap at step {step}");
            before = now;
        }
        assert!(before > 20.0 && calibrator.surprise(f64::MAX) <= NATS_MAX);
        // Nor between renewals, when a cluster has come into the tail.
        while calibrator.fresh > 0 {
            calibrator.learn(-uniform(&mut state).ln());
        }
        for _ in 0..100 {
            calibrator.learn(9.0);
        }
        let mut before = calibrator.surprise(-1.0);
        assert!(before >= 0.0);
        for step in 0..4_000 {
            let now = calibrator.surprise(f64::from(step) * 0.01);
            assert!(now >= before, "{now} after {before} at step {step}");
            before = now;
        }
    }

    #[test]
    fn the_sorted_copy_holds_what_is_remembered() {
        let (mut state, mut calibrator) = (9, Calibrator::new(700));
        for event in 0..5_000 {
            calibrator.learn((uniform(&mut state) * 40.0).floor());
            if calibrator.fresh == 0 {
                let mut held: Vec<f32> = calibrator.recent.iter().copied().collect();
                held.sort_by(f32::total_cmp);
                assert_eq!(held, calibrator.sorted, "after {event}");
            }
        }
        assert_eq!(calibrator.recent.len(), 700);
    }

    #[test]
    fn a_constant_is_not_strange_and_what_exceeds_it_is() {
        let mut calibrator = Calibrator::new(1_000);
        assert!(calibrator.surprise(3.0).is_finite());
        for _ in 0..3_000 {
            calibrator.learn(3.0);
        }
        assert!(calibrator.surprise(3.0) < 1e-9);
        assert!(calibrator.surprise(2.0) < 1e-9);
        let larger = calibrator.surprise(8.0);
        assert!(larger > 6.0 && larger < 20.0, "{larger}");
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -0.0] {
            calibrator.learn(odd);
            assert!((0.0..=NATS_MAX).contains(&calibrator.surprise(odd)));
        }
    }

    #[test]
    fn an_atom_in_the_tail_is_as_rare_as_it_was() {
        let (mut state, mut calibrator) = (3, Calibrator::new(4_000));
        for event in 0..12_000 {
            let body = uniform(&mut state);
            calibrator.learn(if event % 100 == 0 { 50.0 } else { body });
        }
        assert!((calibrator.surprise(50.0) - 100_f64.ln()).abs() < 0.1);
        assert!(calibrator.surprise(51.0) > calibrator.surprise(50.0));
    }
}
