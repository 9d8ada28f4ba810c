//! Whether the values of a key are a series at all, or events that happen to share a key.
//!
//! Every number follows some number. What tells a series is what would vanish if its values were shuffled, and
//! there are two such things (predictive gain is none: a key may explain a number well, order or not). *Regularity*:
//! a series is sampled, so its values come evenly spaced; mean |d - d'| / (d + d') of successive gaps is .02 on
//! sampled metrics and above .5 on every stream of events measured. *Continuity*: the chance that the value before
//! is nearer to the value now than an older one of the same series, drawn at random; one half without order, .62 on
//! metrics, .50 to .55 on card payments. A tie is a half.
//!
//! A time may be constant, lie or run backwards: equal times tell nothing, and a step back is as irregular as can
//! be. If there is but one series, or one beside which the others are rare (a level that is nearly always the same),
//! evenly spaced times may be numbers given to events of any kind, so continuity has to show as well, and by a margin that
//! chance does not reach in thousands of looks. Events that come in bursts resemble each other within a burst, in any order (bytes of one visitor's
//! requests: continuity .57, irregularity .9), so of them much more continuity is asked. The older values are drawn by
//! a counter's hash. It must never look at scores.

use crate::detect::lru;

/// What one series leaves for the gate.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    seen: u64,
    last: f64,
    time: i64,
    gap: Option<i64>,
    older: [f64; OLDER],
}

/// Regularity and continuity over all series of one number field by one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    values: u64,
    series: u64,
    /// Values of the longest series.
    longest: u64,
    irregularity: Share,
    continuity: Share,
    on: bool,
}

impl Gate {
    /// Takes in a series' next value, finite, and its time.
    pub(super) fn observe(&mut self, trace: &mut Trace, x: f64, time: i64) {
        self.values += 1;
        self.series += u64::from(trace.seen == 0);
        self.observe_value(trace, x);
        if trace.seen > 0 {
            self.observe_gap(trace, time.saturating_sub(trace.time));
        }
        (trace.last, trace.time) = (x, time);
        trace.seen += 1;
        self.longest = self.longest.max(trace.seen);
        self.on = self.decide();
    }

    /// Whether these are series.
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// Chance that a value is nearer to the one before than to an older one.
    pub(super) fn continuity(&self) -> f64 {
        self.continuity.mean
    }

    fn observe_value(&mut self, trace: &mut Trace, x: f64) {
        let draw = lru::hash_pair(self.values, DRAWS);
        let place = |draw: u64| (draw % OLDER as u64) as usize;
        if trace.seen > OLDER as u64 {
            // Halves, since the difference of two finite numbers need not be finite.
            let distance = |other: f64| (x / 2.0 - other / 2.0).abs();
            let (own, other) = (distance(trace.last), distance(trace.older[place(draw)]));
            let nearer = (1.0 + f64::from(u8::from(own < other)) - f64::from(u8::from(own > other))) / 2.0;
            self.continuity.add(nearer);
        }
        if (1..=OLDER as u64).contains(&trace.seen) {
            trace.older[trace.seen as usize - 1] = trace.last;
        } else if trace.seen > 0 && place(draw >> 16) == 0 {
            trace.older[place(draw >> 32)] = trace.last;
        }
    }

    fn observe_gap(&mut self, trace: &mut Trace, gap: i64) {
        if let Some(before) = trace.gap.replace(gap) {
            let (gap, before) = (gap as f64, before as f64);
            if gap < 0.0 || before < 0.0 {
                self.irregularity.add(1.0);
            } else if gap + before > 0.0 {
                self.irregularity.add((gap - before).abs() / (gap + before));
            }
        }
    }

    fn decide(&self) -> bool {
        let continuity = |margin: f64| {
            let Share { count, mean } = self.continuity;
            if count < PROOF { 0.0 } else { mean - margin / count.sqrt() }
        };
        let regular = self.irregularity.count >= PROOF && self.irregularity.mean < IRREGULAR;
        let sampled = regular && (self.values >= self.longest * 3 / 2 || continuity(2.0) > 0.5);
        // Once on, the estimate itself decides: no flicker while it is about the limit.
        let bursts = self.irregularity.count >= PROOF && self.irregularity.mean > BURSTS;
        let limit = if bursts { CONTINUOUS_IN_BURSTS } else { CONTINUOUS };
        let continuous = continuity(if self.on { 0.0 } else { 2.0 }) > limit;
        self.values as f64 >= LONG * self.series as f64 && (sampled || continuous)
    }
}

/// Older values that a series leaves to compare with.
const OLDER: usize = 8;
/// Values a series must have on average: shorter ones have nothing to rank among.
const LONG: f64 = 100.0;
/// Observations before a share is believed.
const PROOF: f64 = 500.0;
/// Observations over which a share forgets.
const MEMORY: f64 = 2_000.0;
/// Irregularity below which arrivals are sampled.
const IRREGULAR: f64 = 0.25;
/// Continuity above which values hang together.
const CONTINUOUS: f64 = 0.53;
/// Irregularity above which arrivals come in bursts: one half is that of a Poisson process.
const BURSTS: f64 = 0.67;
/// The same where arrivals come in bursts, whose values resemble each other in any order.
const CONTINUOUS_IN_BURSTS: f64 = 0.65;
/// Tells this generator from others.
const DRAWS: u64 = 0x5e_71e5;

/// A running mean of values from 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    count: f64,
    mean: f64,
}

impl Share {
    fn add(&mut self, value: f64) {
        self.count = (self.count + 1.0).min(MEMORY);
        self.mean += (value - self.mean) / self.count;
    }
}
