//! Whether a transformer tells anything of a field's texts that their letters do not.
//!
//! On texts that programs write, two lines of one template are near in letters and in meaning, two of different
//! templates far in both: there a transformer is the lexical view once more, blurred by all it cannot read (paths,
//! identifiers), and it ruins a score. On texts that people write both views have little to do with each other. So
//! the correlation of the two cosines over random pairs of the window tells which it is, without labels (measured:
//! templated texts .62 to .97, free ones .10 to .36). Pairs are drawn by a counter's hash from a sample of the distinct
//! texts learned, old ones giving way at the pace at which the window forgets. It must never look at a score.

use std::sync::Arc;

use crate::detect::lru::hash_pair;
use crate::flow::{Embedding, Meaning};

/// The sample of one field's window, and what it tells.
#[derive(Debug)]
pub(super) struct Gate {
    sample: Vec<Pair>,
    /// Distinct texts that the window holds at most.
    window: usize,
    /// Texts learned so far.
    learned: u64,
    /// `learned` at which to look again.
    due: u64,
    draws: u64,
    correlation: Option<f64>,
}

/// One text in both views.
#[derive(Debug)]
struct Pair {
    fingerprint: u64,
    lexical: Arc<[f32]>,
    meaning: Arc<[f32]>,
}

impl Gate {
    /// For a window of at most so many distinct texts.
    pub(super) fn new(window: usize) -> Self {
        Self { sample: Vec::new(), window, learned: 0, due: TEXTS_MIN as u64, draws: 0, correlation: None }
    }

    /// Takes in a text that the window learns.
    pub(super) fn learn(&mut self, embedding: &Embedding, meaning: &Meaning) {
        self.learned += 1;
        if !self.sample.iter().any(|pair| pair.fingerprint == meaning.fingerprint) {
            self.keep(Pair {
                fingerprint: meaning.fingerprint,
                lexical: Arc::clone(&embedding.vector),
                meaning: Arc::clone(&meaning.vector),
            });
        }
        if self.learned >= self.due && self.sample.len() >= TEXTS_MIN {
            self.due = self.learned + self.learned.min(EVERY);
            self.correlation = self.correlate();
        }
    }

    /// Correlation of both cosines, -1 to 1; nothing while there are too few texts to tell, or all pairs are alike.
    pub(super) fn correlation(&self) -> Option<f64> {
        self.correlation
    }

    /// Whether the two views differ enough for the transformer to count.
    pub(super) fn is_open(&self) -> bool {
        self.correlation.is_some_and(|rho| rho <= CORRELATION_MAX)
    }

    fn keep(&mut self, pair: Pair) {
        if self.sample.len() < TEXTS {
            self.sample.push(pair);
        } else if self.draw(self.window.max(TEXTS)) < TEXTS {
            let at = self.draw(TEXTS);
            if let Some(old) = self.sample.get_mut(at) {
                *old = pair;
            }
        }
    }

    /// Pearson's correlation, over random pairs of different texts.
    fn correlate(&mut self) -> Option<f64> {
        let mut sums = Sums::default();
        for _ in 0..PAIRS {
            let (a, b) = (self.draw(self.sample.len()), self.draw(self.sample.len() - 1));
            // Never the text itself: the last stands in for it.
            let b = if a == b { self.sample.len() - 1 } else { b };
            if let (Some(a), Some(b)) = (self.sample.get(a), self.sample.get(b)) {
                sums.add(cosine(&a.lexical, &b.lexical), cosine(&a.meaning, &b.meaning));
            }
        }
        sums.correlation()
    }

    /// A number below `count`.
    fn draw(&mut self, count: usize) -> usize {
        self.draws += 1;
        (hash_pair(SEED, self.draws) % count.max(1) as u64) as usize
    }
}

/// Texts kept in both views: 3 kB each.
const TEXTS: usize = 256;
/// Distinct texts before anything is said.
const TEXTS_MIN: usize = 50;
/// Pairs compared: a correlation of .5 is then good to .035.
const PAIRS: usize = 500;
/// Texts learned between two looks, at most.
const EVERY: u64 = 1_000;
/// Correlation above which a transformer only repeats what letters say; between free and templated texts as measured.
const CORRELATION_MAX: f64 = 0.5;
const SEED: u64 = 0x6D65_616E_696E_6721;

#[derive(Default)]
struct Sums {
    count: f64,
    means: [f64; 2],
    squares: [f64; 2],
    product: f64,
}

impl Sums {
    /// By Welford's updates, which do not cancel.
    fn add(&mut self, x: f64, y: f64) {
        self.count += 1.0;
        let (dx, dy) = (x - self.means[0], y - self.means[1]);
        self.means[0] += dx / self.count;
        self.means[1] += dy / self.count;
        self.squares[0] += dx * (x - self.means[0]);
        self.squares[1] += dy * (y - self.means[1]);
        self.product += dx * (y - self.means[1]);
    }

    fn correlation(&self) -> Option<f64> {
        let scale = (self.squares[0] * self.squares[1]).sqrt();
        (scale > 1e-9).then(|| (self.product / scale).clamp(-1.0, 1.0))
    }
}

/// Eight sums side by side, in a fixed order; 0 where the model gave no number.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let cosine = f64::from(sums.iter().sum::<f32>());
    if cosine.is_finite() { cosine } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A unit vector in the plane, at a share of a quarter turn.
    fn at(turn: f64) -> Arc<[f32]> {
        let angle = turn * std::f64::consts::FRAC_PI_2;
        Arc::from([angle.cos() as f32, angle.sin() as f32])
    }

    fn chance(seed: u64, number: u64) -> f64 {
        (hash_pair(seed, number) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn learn(gate: &mut Gate, number: u64, turns: [f64; 2]) {
        let meaning = Meaning { fingerprint: number, vector: at(turns[1]) };
        let embedding = Embedding { fingerprint: number / 3, vector: at(turns[0]), meaning: None };
        gate.learn(&embedding, &meaning);
    }

    #[test]
    fn views_that_agree_close_it_and_views_that_do_not_open_it_again() {
        let mut gate = Gate::new(300);
        for number in 0..2_000 {
            let turn = chance(1, number);
            learn(&mut gate, number, [turn, 0.9 * turn + 0.1 * chance(2, number)]);
            assert_eq!(gate.correlation().is_some(), number + 1 >= TEXTS_MIN as u64, "{number}");
        }
        assert!(gate.correlation().is_some_and(|rho| rho > 0.8) && !gate.is_open());
        for number in 10_000..14_000 {
            learn(&mut gate, number, [chance(3, number), chance(4, number)]);
        }
        assert!(gate.correlation().is_some_and(|rho| rho.abs() < 0.2) && gate.is_open(), "{gate:?}");
        assert_eq!(gate.sample.len(), TEXTS);
    }

    #[test]
    fn few_texts_however_often_or_all_alike_say_nothing() {
        let mut few = Gate::new(2_000);
        for number in 0..5_000 {
            learn(&mut few, number % 40, [chance(1, number % 40), chance(2, number % 40)]);
        }
        assert!(few.correlation().is_none() && !few.is_open());
        let mut alike = Gate::new(2_000);
        for number in 0..5_000 {
            learn(&mut alike, number, [0.5, chance(2, number)]);
        }
        assert!(alike.correlation().is_none() && !alike.is_open());
        let mut broken = Gate::new(2_000);
        for number in 0..200 {
            let vector: Arc<[f32]> = Arc::from([f32::NAN, f32::INFINITY]);
            let meaning = Meaning { fingerprint: number, vector: Arc::clone(&vector) };
            broken.learn(&Embedding { fingerprint: number, vector, meaning: None }, &meaning);
        }
        assert!(!broken.is_open());
    }

    #[test]
    fn the_correlation_is_that_of_the_textbook() {
        let points: Vec<(f64, f64)> = (0..100).map(|n| (chance(5, n), chance(5, n) + chance(6, n))).collect();
        let mut sums = Sums::default();
        for (x, y) in &points {
            sums.add(*x, *y);
        }
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / 100.0;
        let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
        let covariance = mean(&|point| point.0 * point.1) - x * y;
        let deviations = (mean(&|point| point.0.powi(2)) - x * x) * (mean(&|point| point.1.powi(2)) - y * y);
        let expected = covariance / deviations.sqrt();
        assert!(sums.correlation().is_some_and(|rho| (rho - expected).abs() < 1e-9));
    }
}
