//! How far a series departs from its own course, at six time scales.
//!
//! Five deviations of the mean of the last values from the mean of what came before them (the value before, 30, all;
//! of four values, 100; of 24 values, 300), and a two-sided cumulative sum (Page, "Continuous inspection schemes",
//! Biometrika 1954) of standardised values against drifts that no single value shows. No predictor: every one tried
//! (exponential, Holt, seasonal, autoregressive, mixtures) found fewer anomalies than these plain differences, once
//! each is ranked among the largest its own series has shown; see `record`.
//!
//! score = ln min(n, [`BUDGET`]) + 2 ln mean of rank^(-1/2) over the scales, nats against the budget of its own
//! series: 0 if each scale saw what one event in n reaches, less for what is common. With one scale it would be
//! ln(n / rank), the surprise of that rank among n. n ends at 500, or a long series would be louder than a short one
//! for being long. Not every series is one of deviations in an order of chance: what rises at each step (a disk that fills up, a
//! total) has a record at each step. So the score's upper tenth is followed, and what it is above [`USUAL`] taken off (three
//! numbers of each of 20 hosts, one of them ever rising: AUROC .57 without, .90 with; 38 of 53 windows of metrics both ways).
//!
//! Sums are taken anew from the last values at each event: a sum carried on would drift. Values beyond
//! [`VALUE_MAX`] are taken for that: their squares would overflow.

use super::record::{RANK_MAX, Records};

/// One series: its last values, its means and its records.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    count: u64,
    recent: [f64; RECENT],
    before: [f64; WINDOWS.len()],
    level: f64,
    variance: f64,
    rising: f64,
    falling: f64,
    records: [Records; SCALES],
    /// Upper tenth of scores lately, by stochastic approximation (Robbins & Monro, Ann. Math. Statist. 1951).
    usual: f64,
}

/// What a course makes of its next value, without having learned it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    before: [f64; WINDOWS.len()],
    means: [f64; WINDOWS.len()],
    rising: f64,
    falling: f64,
    /// Logarithms of the deviations.
    pub(super) logs: [f32; SCALES],
    /// 1 is as large as the largest, less is a record; [`UNKNOWN`] while a scale has nothing to compare with.
    pub(super) ranks: [f64; SCALES],
    /// Nats; finite, may be negative.
    pub(super) score: f64,
    /// The same, nothing taken off.
    pub(super) plain: f64,
}

impl Course {
    /// Values learned.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Holds a value, finite, against the course so far.
    pub(super) fn look(&self, x: f64) -> Look {
        let x = x.clamp(-VALUE_MAX, VALUE_MAX);
        let mut look = Look {
            before: [x; WINDOWS.len()],
            means: [x; WINDOWS.len()],
            rising: 0.0,
            falling: 0.0,
            logs: [LOG_MIN; SCALES],
            ranks: [UNKNOWN; SCALES],
            score: 0.0,
            plain: 0.0,
        };
        for (scale, &(last, horizon)) in WINDOWS.iter().enumerate() {
            if self.count < last {
                continue;
            }
            let leaving = self.back(last);
            let share = ((self.count - last + 1) as f64).min(horizon).recip();
            let before = if self.count == last { leaving } else { self.before[scale] };
            let before = before + share * (leaving - before);
            let mean = ((1..last).map(|back| self.back(back)).sum::<f64>() + x) / last as f64;
            (look.before[scale], look.means[scale]) = (before, mean);
            look.logs[scale] = log(difference(mean, before));
            look.ranks[scale] = self.rank(scale, look.logs[scale]);
        }
        let z = self.standardised(x);
        look.rising = (self.rising + z - DRIFT).max(0.0);
        look.falling = (self.falling - z - DRIFT).max(0.0);
        look.logs[CUSUM] = log(look.rising.max(look.falling));
        look.ranks[CUSUM] = self.rank(CUSUM, look.logs[CUSUM]);
        let mean = look.ranks.iter().map(|rank| rank.sqrt().recip()).sum::<f64>() / SCALES as f64;
        look.plain = ((self.count + 1) as f64).min(BUDGET).ln() + 2.0 * mean.ln();
        look.score = look.plain - (self.usual - USUAL).max(0.0);
        look
    }

    /// Takes in the value that was looked at last.
    pub(super) fn learn(&mut self, x: f64, look: &Look) {
        let x = x.clamp(-VALUE_MAX, VALUE_MAX);
        let now = self.count as u32;
        for (scale, records) in self.records.iter_mut().enumerate() {
            if WINDOWS.get(scale).is_none_or(|&(last, _)| self.count >= last) {
                records.learn(look.logs[scale], now);
            }
        }
        self.before = look.before;
        (self.rising, self.falling) = (look.rising, look.falling);
        let share = ((self.count + 1) as f64).min(LEVEL).recip();
        let louder = look.plain > self.usual;
        self.usual += USUAL_STEP * share * if louder { 1.0 - TENTH } else { -TENTH };
        if self.count == 0 {
            self.level = x;
        }
        let off = difference_signed(x, self.level);
        self.level += share * off;
        self.variance += share * (off * off - self.variance);
        self.recent[(self.count % RECENT as u64) as usize] = x;
        self.count += 1;
    }

    /// What was normal, in words that go on "the value is 7 where ...", by the scale that ranks highest.
    pub(super) fn expected(&self, look: &Look, written: impl Fn(f64) -> String) -> String {
        let first = |best: usize, at: usize| if look.ranks[at] < look.ranks[best] { at } else { best };
        let scale = (0..SCALES).reduce(first).unwrap_or(0);
        let above = self.records[scale].above(look.logs[scale]);
        let times = match above {
            0 => String::new(),
            1 => "all but once ".to_owned(),
            _ => format!("all but {above} times "),
        };
        let events = format!("{times}in {} events", self.count);
        let Some(&(last, horizon)) = WINDOWS.get(scale) else {
            return format!("it kept closer to its level, {}, {events}", written(self.level));
        };
        let Some(bound) = self.records[scale].nth(above) else {
            return format!("it seldom moves as far in {} events", self.count);
        };
        let bound = if bound <= LOG_MIN { 0.0 } else { f64::from(bound).exp() };
        let (bound, before) = (written(bound), written(look.before[scale]));
        let near = match horizon {
            1.0 => format!("the value before, {before}"),
            f64::INFINITY => format!("its mean, {before}"),
            _ => format!("the mean of the {horizon} before, {before}"),
        };
        let moved = if last == 1 {
            "it".to_owned()
        } else {
            format!("the mean of the last {last}, {},", written(look.means[scale]))
        };
        match above {
            0 if bound == "0" => format!("{moved} never moved from {near}, {events}"),
            _ => format!("{moved} stayed within {bound} of {near}, {events}"),
        }
    }

    /// None at all is no deviation, however few are held of it.
    fn rank(&self, scale: usize, log: f32) -> f64 {
        if log <= LOG_MIN { RANK_MAX } else { self.records[scale].rank(log, self.count as u32) }
    }

    /// The value so many events before the next.
    fn back(&self, events: u64) -> f64 {
        self.recent[((self.count - events) % RECENT as u64) as usize]
    }

    /// Deviations of the level so far, cut off at [`Z_MAX`]: one outlier is no drift.
    fn standardised(&self, x: f64) -> f64 {
        let deviation = self.variance.sqrt();
        if self.count <= SETTLED || difference(self.level + deviation, self.level) <= 0.0 {
            return 0.0;
        }
        (difference_signed(x, self.level) / deviation).clamp(-Z_MAX, Z_MAX)
    }
}

/// Last values that are averaged, and over how many before them the other mean forgets.
pub(super) const WINDOWS: [(u64, f64); 5] =
    [(1, 1.0), (1, 30.0), (1, f64::INFINITY), (4, 100.0), (24, 300.0)];
/// The windows and the cumulative sum.
pub(super) const SCALES: usize = WINDOWS.len() + 1;
/// Values from which a course is judged.
pub(super) const ENOUGH: u64 = 32;
/// Largest value told apart from others.
pub(super) const VALUE_MAX: f64 = 1e150;

/// The scale of the cumulative sum.
const CUSUM: usize = WINDOWS.len();
/// Values remembered.
const RECENT: usize = 24;
/// Rank while a scale has nothing to compare with.
const UNKNOWN: f64 = 1e3;
/// Events of a series, at most, among which a rank is surprising.
const BUDGET: f64 = 500.0;
/// Share of events that are as loud as what is usual, its nats for a series that has no trend, and by how much it moves.
const TENTH: f64 = 0.1;
const USUAL: f64 = 3.0;
const USUAL_STEP: f64 = 10.0;
/// Values over which level and variance forget.
const LEVEL: f64 = 300.0;
/// Values before a variance is believed.
const SETTLED: u64 = 20;
/// Standard deviations an event that are no drift.
const DRIFT: f64 = 0.5;
/// Standard deviations that a value counts for at most.
const Z_MAX: f64 = 4.0;
/// Logarithm that stands for no deviation: less than that of any difference of two values, but for the least.
const LOG_MIN: f32 = -400.0;
/// Share of two numbers by which they may differ for rounding alone.
const ROUNDING: f64 = 1e-12;

fn log(deviation: f64) -> f32 {
    (deviation.ln() as f32).max(LOG_MIN)
}

/// Of two means, 0 if rounding could have made it.
fn difference(a: f64, b: f64) -> f64 {
    difference_signed(a, b).abs()
}

fn difference_signed(a: f64, b: f64) -> f64 {
    if (a - b).abs() <= ROUNDING * a.abs().max(b.abs()) { 0.0 } else { a - b }
}
