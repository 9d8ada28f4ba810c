//! A number that does not belong to its key: this customer's amounts, this host's latency.
//!
//! How far out a value lies among all events is the joint channel's to say; here it is held against its habit. A
//! value is placed in a work space u = 4 asinh(z / 4), z = (x - median) / scale, where a field of any unit and
//! spread looks alike: linear within four scales of the median, where an amount's distance counts, and logarithmic
//! beyond. (Measured on card payments in context: average precision .22 for asinh alone, .32 to .33 for 3 to 6.)
//! There it is held against an asymmetric Laplace law, whose two-sided tail is -ln P(|U - at| > d) = d / width, in
//! nats: linear in u and so a power law in x far out, as heavy as money and sizes are; it never overflows and needs
//! no special function. The law of all events comes from quantiles of the last accepted values; the law of a key from
//! its own mean and mean deviation, shrunk towards the law of all (as if that had been seen [`SHRINKAGE`] times), so that
//! a key seen twice is not held to two values.
//!
//! The score is what the key adds: the tail by its law less the tail by the law of all, no less than 0. Of several key
//! fields only the one that has proved to predict the field best is asked (asking all and taking the largest cost card
//! purchases a third of their average precision: a job is shared by cards that live far apart). A field that its key
//! explains nearly wholly needs more: see [`EXPLAINED`].
//!
//! It must never learn from a value that the guard kept out, nor let a missing value stand for zero.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Channel, Held, Unit};
use crate::detect::Settings;
use crate::detect::gain::Gain;
use crate::detect::lru::{self, Lru};
use crate::flow::{Evidence, Point, Reason, Sample, Schema, Traced};

/// Watches every number field.
#[derive(Debug)]
pub(crate) struct Numeric {
    fields: Vec<Field>,
    keys: Vec<Key>,
    keys_max: usize,
    /// How many of the fields, and of the keys, count: one that has joined is no context for the others before it does.
    heard: [usize; 2],
}

impl Numeric {
    /// Has seen nothing; remembers at most `keys_max` distinct keys of each key field.
    pub(crate) fn new(keys_max: usize, schema: &Schema) -> Self {
        let mut numeric = Self { fields: Vec::new(), keys: Vec::new(), keys_max, heard: [0; 2] };
        numeric.extend(schema);
        numeric.hear();
        numeric
    }

    fn extend(&mut self, schema: &Schema) {
        let Self { fields, keys, keys_max, .. } = self;
        let key = |name: &Arc<str>| Key { name: name.clone(), hash: None, own: Lru::new(*keys_max) };
        keys.extend(schema.keys.iter().skip(keys.len()).map(key));
        for field in &mut *fields {
            field.gains.resize(keys.len(), Gain::default());
        }
        let field = |name: &Arc<str>| Field::new(name.clone(), keys.len());
        fields.extend(schema.numbers.iter().skip(fields.len()).map(field));
        for own in keys.iter_mut().flat_map(|key| key.own.values_mut()) {
            let mut longer = std::mem::take(own).into_vec();
            longer.resize(fields.len(), Own::default());
            *own = longer.into();
        }
    }

    /// The keys that may be a context of a field.
    fn contexts(&self, field: usize) -> &[Key] {
        let [fields, keys] = self.heard;
        let count = if field < fields { keys } else { self.keys.len() };
        self.keys.get(..count).unwrap_or_default()
    }
}

impl Channel for Numeric {
    fn name(&self) -> &'static str {
        "numeric"
    }

    fn unit(&self) -> Unit {
        Unit::Evidence
    }

    fn score(&mut self, point: &Traced<Point>, scores: &mut Vec<Option<f64>>) {
        let sample = &point.value.sample;
        for (at, key) in self.keys.iter_mut().enumerate() {
            key.hash = key_of(sample, at).map(lru::hash);
        }
        for (at, field) in self.fields.iter().enumerate() {
            let value = number(sample, at).filter(|_| field.learned >= ENOUGH);
            scores.push(value.and_then(|x| field.judge(x, at, self.contexts(at))).map(|(score, ..)| score));
        }
    }

    fn fields(&self) -> Vec<Arc<str>> {
        self.fields.iter().map(|field| field.name.clone()).collect()
    }

    fn grow(&mut self, _: &Settings, schema: &Schema) -> bool {
        self.extend(schema);
        true
    }

    fn hear(&mut self) {
        self.heard = [self.fields.len(), self.keys.len()];
    }

    fn learn(&mut self, point: &Traced<Point>) {
        let count = self.fields.len();
        for key in &mut self.keys {
            if let Some(hash) = key.hash {
                key.own.entry(hash, || vec![Own::default(); count].into());
            }
        }
        for (at, field) in self.fields.iter_mut().enumerate() {
            let Some(x) = number(&point.value.sample, at) else { continue };
            if field.work.is_set() {
                field.learn_in_context(x, at, &mut self.keys);
            }
            if let Some(before) = field.learn(x) {
                for own in self.keys.iter_mut().flat_map(|key| key.own.values_mut()) {
                    own[at].follow(before, field.work);
                }
            }
        }
    }

    fn explain(&self, point: &Traced<Point>, field: usize, evidence: &mut Evidence) {
        let sample = &point.value.sample;
        let (Some(known), Some(x)) = (self.fields.get(field), number(sample, field)) else { return };
        let Some((_, Some(law), at)) = known.judge(x, field, self.contexts(field)) else { return };
        let context = key_of(sample, at).map(|value| format!("{}={value}", self.keys[at].name));
        // Of all events as counted; of a key by its law, but not beyond what any event had.
        let low = written(known.work.value(law.at - TENTH * law.below).max(known.least));
        let high = written(known.work.value(law.at + TENTH * law.above));
        let range = if low == high { low } else { format!("{low} to {high}") };
        let of = context.as_ref().map_or_else(String::new, |context| format!(" of {context}"));
        evidence.reasons.push(Reason {
            channel: self.name(),
            field: known.name.clone(),
            value: exactly(x),
            expected: format!("{range} (90 % of events{of})"),
            context,
        });
    }

    fn held(&self) -> Held {
        Held {
            keys: self.keys.iter().map(|key| key.own.len()).sum(),
            evicted: self.keys.iter().map(|key| key.own.evicted()).sum(),
            ..Held::default()
        }
    }
}

/// Accepted values that a field's quantiles are taken from.
const SAMPLE: usize = 1_000;
/// Values before a field has an opinion.
const ENOUGH: u64 = 32;
/// How many values the law of all events counts for within a key.
const SHRINKAGE: f64 = 5.0;
/// Values after which a key's own law forgets.
const OWN_MEMORY: f64 = 100.0;
/// Gain in nats above which a key joins: measured on card payments, where .4 helps and .1 costs a third.
const JOINS: f64 = 0.3;
/// Gain in nats above which a key says nearly all there is to say about a field (a card, where its holder lives): what
/// remains is news only if it is far beyond the ordinary, by more than [`MARGIN`] nats.
const EXPLAINED: f64 = 1.0;
const MARGIN: f64 = 7.0;
/// Values of a key before one of them can be odd for it.
const KNOWN: f64 = 5.0;
/// ln 10: beyond so many widths lies a tenth of a Laplace law's events.
const TENTH: f64 = std::f64::consts::LN_10;
/// Least width of a law in the work space, so that a constant field has one.
const WIDTH_MIN: f64 = 0.2;
/// Scales from the median at which the work space turns from linear to logarithmic.
const KNEE: f64 = 4.0;
/// Largest |z|; its place is 920.
const RATIO_MAX: f64 = 1e100;

fn number(sample: &Sample, at: usize) -> Option<f64> {
    sample.numbers.get(at).copied().flatten().filter(|x| x.is_finite())
}

fn key_of(sample: &Sample, at: usize) -> Option<&str> {
    sample.keys.get(at)?.as_deref()
}

/// A key field, and what each of its values has of each number field.
#[derive(Debug)]
struct Key {
    name: Arc<str>,
    /// Of the event last scored.
    hash: Option<u64>,
    own: Lru<Box<[Own]>>,
}

/// Where and how a field's values are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Work {
    median: f64,
    scale: f64,
}

impl Work {
    fn is_set(self) -> bool {
        self.scale > 0.0
    }

    fn ratio(self, x: f64) -> f64 {
        // Halves, since the difference of two finite numbers need not be finite.
        (2.0 * ((x / 2.0 - self.median / 2.0) / self.scale)).clamp(-RATIO_MAX, RATIO_MAX)
    }

    fn place(self, x: f64) -> f64 {
        let ratio = self.ratio(x);
        let size = ratio.abs() / KNEE;
        KNEE * (size + (size * size + 1.0).sqrt()).ln().copysign(ratio)
    }

    fn value(self, u: f64) -> f64 {
        (self.median + self.scale * KNEE * (u / KNEE).sinh()).clamp(f64::MIN, f64::MAX)
    }
}

/// An asymmetric Laplace law in the work space.
#[derive(Clone, Copy, Debug, Default)]
struct Law {
    at: f64,
    below: f64,
    above: f64,
}

impl Law {
    fn of(at: f64, q: [f64; 5]) -> Self {
        let width = |quarter: f64, twentieth: f64| {
            let widths = ((at - quarter).abs() / std::f64::consts::LN_2, (at - twentieth).abs() / TENTH);
            widths.0.max(widths.1).max(WIDTH_MIN)
        };
        Self { at, below: width(q[1], q[0]), above: width(q[3], q[4]) }
    }

    /// -ln of the share that lies as far out on this side.
    fn score(self, u: f64) -> f64 {
        if u < self.at { (self.at - u) / self.below } else { (u - self.at) / self.above }
    }

    fn log_density(self, u: f64) -> f64 {
        -(self.below + self.above).ln() - self.score(u)
    }

    fn within(self, own: &Own) -> Self {
        let all = SHRINKAGE / (own.count + SHRINKAGE);
        // Widths differ by factors, so they are averaged as such.
        let pairs = (own.count - 1.0).max(0.0);
        let deviation = own.deviation.max(WIDTH_MIN / 10.0);
        let width = |whole: f64| whole * (deviation / whole).powf(pairs / (pairs + 2.0 * SHRINKAGE));
        Self { at: own.mean + all * (self.at - own.mean), below: width(self.below), above: width(self.above) }
    }
}

/// A key's own values of one field, in the work space.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    count: f64,
    mean: f64,
    deviation: f64,
}

impl Own {
    fn add(&mut self, u: f64) {
        // From the mean before it: the first value has no deviation, so there is one less of them.
        if self.count > 0.0 {
            self.deviation += ((u - self.mean).abs() - self.deviation) / self.count;
        }
        self.count = (self.count + 1.0).min(OWN_MEMORY);
        self.mean += (u - self.mean) / self.count;
    }

    /// The same law after the work space has moved.
    fn follow(&mut self, before: Work, after: Work) {
        if self.count > 0.0 {
            let ratio = after.ratio(before.value(self.mean));
            let stretch = before.scale / after.scale * (self.mean / KNEE).cosh() / (ratio / KNEE).hypot(1.0);
            self.mean = after.place(before.value(self.mean));
            self.deviation = (self.deviation * stretch).min(RATIO_MAX);
        }
    }
}

/// A number field.
#[derive(Debug)]
struct Field {
    name: Arc<str>,
    recent: VecDeque<f64>,
    /// The values there were at the last refresh, lowest first; those forgotten since, and work space.
    sorted: Vec<f64>,
    gone: Vec<f64>,
    coming: Vec<f64>,
    merged: Vec<f64>,
    learned: u64,
    /// Values at the end of `recent` that are not in `sorted` yet.
    pending: usize,
    work: Work,
    whole: Law,
    /// The least value lately.
    least: f64,
    gains: Vec<Gain>,
}

impl Field {
    fn new(name: Arc<str>, keys: usize) -> Self {
        Self {
            name,
            recent: VecDeque::new(),
            sorted: Vec::new(),
            gone: Vec::new(),
            coming: Vec::new(),
            merged: Vec::new(),
            learned: 0,
            pending: 0,
            work: Work::default(),
            whole: Law::default(),
            least: 0.0,
            gains: vec![Gain::default(); keys],
        }
    }

    /// The score, the law it comes from if the key is known, and that key; nothing while no key has proved itself.
    fn judge(&self, x: f64, at: usize, keys: &[Key]) -> Option<(f64, Option<Law>, usize)> {
        let (which, gain) = self.context(keys.len())?;
        let key = keys.get(which)?;
        let u = self.work.place(x);
        let own = key.hash.and_then(|hash| key.own.get(hash)?.get(at)).filter(|own| own.count >= KNOWN);
        // Of a key not known yet nothing can be odd.
        let Some(own) = own else { return Some((0.0, None, which)) };
        let law = self.whole.within(own);
        let least = if gain > EXPLAINED { MARGIN } else { 0.0 };
        let news = law.score(u) - self.whole.score(u);
        Some((if news > least { news } else { 0.0 }, Some(law), which))
    }

    /// The key, of so many, that has proved to predict this field best, and its gain.
    fn context(&self, keys: usize) -> Option<(usize, f64)> {
        let gains = self.gains.iter().take(keys).enumerate();
        let proven = gains.filter_map(|(at, gain)| Some((at, gain.proven(JOINS)?)));
        proven.reduce(|best, other| if other.1 > best.1 { other } else { best })
    }

    fn learn_in_context(&mut self, x: f64, at: usize, keys: &mut [Key]) {
        let u = self.work.place(x);
        for (key, gain) in keys.iter_mut().zip(&mut self.gains) {
            let own = key.hash.and_then(|hash| key.own.get_mut(hash)?.get_mut(at));
            let Some(own) = own else { continue };
            if own.count >= 2.0 && self.learned > SAMPLE as u64 / 2 {
                gain.add(self.whole.within(own).log_density(u) - self.whole.log_density(u));
            }
            own.add(u);
        }
    }

    /// Takes in a value; gives the work space there was, if it had to move.
    fn learn(&mut self, x: f64) -> Option<Work> {
        if self.recent.len() == SAMPLE {
            self.gone.extend(self.recent.pop_front());
        }
        self.recent.push_back(x);
        self.learned += 1;
        self.pending += 1;
        if self.pending < self.recent.len() / 16 + 1 {
            return None;
        }
        self.merge();
        self.refresh()
    }

    /// Brings `sorted` up to date: one pass over three sorted lists, where sorting all anew would cost six times as much.
    fn merge(&mut self) {
        let held = self.recent.len() - self.pending.min(self.recent.len());
        self.pending = 0;
        self.coming.clear();
        self.coming.extend(self.recent.range(held..));
        self.coming.sort_unstable_by(f64::total_cmp);
        self.gone.sort_unstable_by(f64::total_cmp);
        self.merged.clear();
        let (mut coming, mut gone) = (self.coming.iter().copied().peekable(), self.gone.iter().peekable());
        for &x in &self.sorted {
            if gone.next_if(|gone| x.total_cmp(gone).is_eq()).is_some() {
                continue;
            }
            while let Some(new) = coming.next_if(|new| new.total_cmp(&x).is_lt()) {
                self.merged.push(new);
            }
            self.merged.push(x);
        }
        self.merged.extend(coming);
        std::mem::swap(&mut self.sorted, &mut self.merged);
        self.gone.clear();
    }

    fn refresh(&mut self) -> Option<Work> {
        let last = self.sorted.len() - 1;
        let q = [5, 25, 50, 75, 95].map(|percent| self.sorted[(percent * last + 50) / 100]);
        self.least = self.sorted[0];
        let found = Work { median: q[2], scale: scale(q, &self.sorted) };
        let before = self.work;
        let moved = !before.is_set()
            || before.place(found.median).abs() > 0.5
            || (before.scale / found.scale).ln().abs() > 0.4;
        if moved {
            self.work = found;
        }
        let placed = q.map(|x| self.work.place(x));
        self.whole = Law::of(placed[2], placed);
        (moved && before.is_set()).then_some(before)
    }
}

/// A robust standard deviation: from the quartiles or, where those agree, from the twentieths, or from all. The
/// last resort is what a constant field is told apart by: a thousandth of its value.
fn scale(q: [f64; 5], sorted: &[f64]) -> f64 {
    let span = |low: f64, high: f64, width: f64| 2.0 * (high / width / 2.0 - low / width / 2.0);
    let quantiles = span(q[1], q[3], 1.35).max(span(q[0], q[4], 3.3));
    let robust = if quantiles > 0.0 {
        quantiles
    } else {
        let count = sorted.len() as f64;
        sorted.iter().map(|x| (x / 2.0 - q[2] / 2.0).abs() / count * 2.0).sum()
    };
    robust.max(q[2].abs() * 1e-3).max(if robust > 0.0 { f64::MIN_POSITIVE } else { 1e-6 }).min(f64::MAX)
}

/// Four significant digits: an expectation needs no more.
pub(super) fn written(x: f64) -> String {
    if x == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e12).contains(&x.abs()) {
        return format!("{x:.3e}");
    }
    let decimals = usize::try_from(3 - x.abs().log10().floor() as i32).unwrap_or(0);
    let text = format!("{x:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// All digits, but not three hundred of them.
pub(super) fn exactly(x: f64) -> String {
    if x == 0.0 || (1e-6..1e15).contains(&x.abs()) { format!("{x}") } else { format!("{x:e}") }
}

#[cfg(test)]
mod tests;
