//! A value that does not belong to its context: this user's country, this service's operation.
//!
//! How rare a value is in itself, alone and together with the others, is the joint channel's to say; here it is held
//! against its habit. The score is ln p(v) - ln p(v | c), the pointwise mutual information with its sign turned (Church &
//! Hanks, "Word association norms, mutual information, and lexicography", 1990), under decayed counts with half a count
//! added to each value held and to one not yet seen (Krichevsky & Trofimov, "The performance of universal encoding", IEEE
//! Trans. Inf. Theory 1981), p(v | c) shrunk towards p(v) as if that had been seen [`SHRINKAGE`] times: so a context hardly
//! known says nothing, and a new key is not strange. Up to [`MARGIN`] nats it counts for nothing: more takes a habit of some
//! hundred events to break.
//!
//! That law cannot tell a habit that nobody ever breaks (a host runs one service) from one that is broken daily, and of a
//! context of a few events in a hundred it never says enough. So it is measured how often a known value turns up that its
//! context has not had, by the age of the context (`habits`); where that is rarer than [`BROKEN`], it is the score. It is so
//! once: what comes again has come before, whether the guard let it teach or not (a shop that took up a second trade would be
//! told of for ever). (Planted combinations of the demo found, five seeds: 18 of 122 without, 50 with; with a limit of 6 nats in
//! place of 8 card purchases lose .03 of average precision, as customers do try new things.)
//!
//! The context c, another category or a key, is the one that has proved to predict the
//! field best; asking all and taking the largest would let the worst speak.
//!
//! It must never hold more pairs of fields or values than its limits, nor call a new key strange.

use std::sync::Arc;

use super::{Channel, Held, Unit};
use crate::detect::Settings;
use crate::detect::gain::Gain;
use crate::detect::lru::{self, Lru};
use crate::flow::{Evidence, Point, Reason, Sample, Schema, Traced};

use counts::{Count, Decay, Total};
use habits::Habits;

mod counts;
mod habits;

/// Watches every category field.
#[derive(Debug)]
pub(crate) struct Categorical {
    fields: Vec<Field>,
    keys: Vec<Key>,
    pairs: Vec<Pair>,
    /// Pairs with a field that has joined and does not count yet.
    coming: Vec<Pair>,
    /// How many fields count.
    heard: usize,
    keys_max: usize,
    decay: Decay,
    /// Events learned.
    clock: u64,
    /// When the best of the pairs are chosen, and the best of those coming.
    trials: [u64; 2],
}

impl Categorical {
    /// Has seen nothing. Counts lose half their weight in `half_life_events`; a table holds at most `keys_max`
    /// values or combinations.
    pub(crate) fn new(half_life_events: f64, keys_max: usize, schema: &Schema) -> Self {
        let decay = Decay(-1.0 / half_life_events.max(1.0));
        let mut categorical = Self {
            fields: Vec::new(),
            keys: Vec::new(),
            pairs: Vec::new(),
            coming: Vec::new(),
            heard: 0,
            keys_max,
            decay,
            clock: 0,
            trials: [0; 2],
        };
        categorical.extend(schema);
        categorical.hear();
        categorical
    }

    /// Takes in what the schema has more, and begins to try the pairs that it makes.
    fn extend(&mut self, schema: &Schema) {
        let (known, held) = (self.fields.len(), self.keys.len());
        let keys_max = self.keys_max;
        self.fields.extend(schema.categories.iter().skip(known).map(|name| Field::new(name, keys_max)));
        self.keys.extend(schema.keys.iter().skip(held).map(|name| Key::new(name, keys_max)));
        let count = self.fields.len();
        let of_keys = (0..self.keys.len()).flat_map(|key| (0..count).map(move |a| (a, Other::Key(key))));
        let of_keys =
            of_keys.filter(|(a, other)| *a >= known || matches!(other, Other::Key(key) if *key >= held));
        // Fields that stand near each other first: if there are too many pairs to try, these are likelier.
        let of_fields = (1..count).flat_map(|gap| (gap..count).map(move |b| (b - gap, Other::Field(b))));
        let of_fields = of_fields.filter(|(_, other)| matches!(other, Other::Field(b) if *b >= known));
        let room = PAIRS_TRIED.saturating_sub(self.coming.len());
        let tried = of_keys.take(PAIRS_TRIED / 2).chain(of_fields).take(room);
        self.coming.extend(tried.map(|(field, other)| Pair::new(field, other, keys_max)));
        self.trials[1] = self.clock + TRIAL;
    }

    /// The score of a field's value and the pair that gives it; nothing while no context has proved itself.
    fn judge(&self, at: usize) -> Option<(f64, &Pair)> {
        let plain = self.fields.get(at)?.share?;
        let pairs = if at < self.heard { &self.pairs } else { &self.coming };
        let proven = pairs.iter().filter_map(|pair| Some((pair, pair.proven(at)?)));
        let (pair, share) = proven
            .reduce(|best, other| if other.1.gain.rank() > best.1.gain.rank() { other } else { best })?;
        let news = pair.hash.map_or(0.0, |_| (plain / share.given).ln());
        let broken = if pair.unheard == Some(true) { share.broken() } else { 0.0 };
        let loud = |nats: f64, limit: f64| if nats > limit { nats } else { 0.0 };
        Some((loud(news, MARGIN).max(loud(broken, BROKEN)), pair))
    }
}

impl Channel for Categorical {
    fn name(&self) -> &'static str {
        "categorical"
    }

    fn unit(&self) -> Unit {
        Unit::Evidence
    }

    fn score(&mut self, point: &Traced<Point>, scores: &mut Vec<Option<f64>>) {
        let sample = &point.value.sample;
        for (at, field) in self.fields.iter_mut().enumerate() {
            field.meet(sample.categories.get(at).and_then(Option::as_deref), self.clock, self.decay);
        }
        for (at, key) in self.keys.iter_mut().enumerate() {
            key.meet(key_of(sample, at));
        }
        for pair in self.pairs.iter_mut().chain(&mut self.coming) {
            pair.meet(&self.fields, &self.keys, self.clock, self.decay);
        }
        for at in 0..self.fields.len() {
            let score = self.judge(at).map(|(score, _)| score);
            scores.push(score.filter(|_| self.clock >= ENOUGH));
        }
    }

    fn fields(&self) -> Vec<Arc<str>> {
        self.fields.iter().map(|field| field.name.clone()).collect()
    }

    fn learn(&mut self, _: &Traced<Point>) {
        for pair in self.pairs.iter_mut().chain(&mut self.coming) {
            pair.observe(&self.keys, self.clock, true);
            pair.learn(&self.keys, self.clock, self.decay);
        }
        for field in &mut self.fields {
            field.learn(self.clock, self.decay);
        }
        for key in &mut self.keys {
            if let Some(hash) = key.hash {
                key.totals.entry(hash, Total::default).add(self.decay);
            }
        }
        self.clock += 1;
        for (pairs, trial) in [&mut self.pairs, &mut self.coming].into_iter().zip(self.trials) {
            if self.clock == trial {
                choose(pairs);
            }
        }
    }

    fn grow(&mut self, _: &Settings, schema: &Schema) -> bool {
        self.extend(schema);
        true
    }

    fn hear(&mut self) {
        self.pairs.append(&mut self.coming);
        self.heard = self.fields.len();
        let [trial, coming] = self.trials;
        self.trials = [trial.max(coming), 0];
        if self.clock >= self.trials[0] {
            choose(&mut self.pairs);
        }
    }

    fn skip(&mut self) {
        // How often habits are broken is learned of all events, or what the guard turns away would look ever rarer.
        for pair in self.pairs.iter_mut().chain(&mut self.coming) {
            pair.observe(&self.keys, self.clock, false);
        }
    }

    fn explain(&self, point: &Traced<Point>, field: usize, evidence: &mut Evidence) {
        let sample = &point.value.sample;
        let (Some(known), Some((_, pair))) = (self.fields.get(field), self.judge(field)) else { return };
        let Some(value) = category_of(sample, field) else { return };
        let Some((context, events)) = self.named(pair, field, sample) else { return };
        let both = pair.joint.get(pair.hash.unwrap_or_default()).map_or(0, |count| count.seen);
        // The combination may outlive its context in a full table.
        let seen = match both.min(events) {
            0 => "never".to_owned(),
            1 => "once".to_owned(),
            seen => format!("{} times", grouped(seen)),
        };
        evidence.reasons.push(Reason {
            channel: self.name(),
            field: known.name.clone(),
            value: value.to_owned(),
            expected: format!("{seen} with {context} ({} events)", grouped(events)),
            context: Some(context),
        });
    }

    fn held(&self) -> Held {
        let tables = || {
            let values = self.fields.iter().map(|field| (field.values.len(), field.values.evicted()));
            let keys = self.keys.iter().map(|key| (key.totals.len(), key.totals.evicted()));
            let pairs =
                self.pairs.iter().chain(&self.coming).map(|pair| (pair.joint.len(), pair.joint.evicted()));
            values.chain(keys).chain(pairs)
        };
        Held {
            rows: 0,
            keys: tables().map(|(held, _)| held).sum(),
            evicted: tables().map(|(_, evicted)| evicted).sum(),
        }
    }
}

impl Categorical {
    /// A pair's context for a field, as `pointer=value`, and in how many events it was seen.
    fn named(&self, pair: &Pair, field: usize, sample: &Sample) -> Option<(String, u64)> {
        if field != pair.field {
            let other = self.fields.get(pair.field)?;
            return Some((format!("{}={}", other.name, category_of(sample, pair.field)?), other.count.seen));
        }
        match pair.other {
            Other::Field(at) => {
                let other = self.fields.get(at)?;
                Some((format!("{}={}", other.name, category_of(sample, at)?), other.count.seen))
            }
            Other::Key(at) => {
                let key = self.keys.get(at)?;
                Some((format!("{}={}", key.name, key_of(sample, at)?), key.total.events))
            }
        }
    }
}

/// How many events the value p(v) stands for within a context.
const SHRINKAGE: f64 = 2.0;
/// Events before a field has an opinion.
const ENOUGH: u64 = 32;
/// Gain in nats above which a context joins: clearly positive, and small, as a field with one common value has
/// little entropy to explain.
const JOINS: f64 = 0.1;
/// Nats that a context must add before it is news: below that, one event in fifty has something of the kind.
const MARGIN: f64 = 4.0;
/// The same where it is known how often such habits are broken: less than one event in 3 000.
const BROKEN: f64 = 8.0;
/// Pairs of fields tried at first, and for how many events, and how many stay.
const PAIRS_TRIED: usize = 128;
const TRIAL: u64 = 500;
const PAIRS: usize = 16;

/// Keeps the pairs that have gained most.
fn choose(pairs: &mut Vec<Pair>) {
    if pairs.len() > PAIRS {
        // Stable: of equal gains the pair tried first stays.
        pairs.sort_by(|a, b| b.rank().total_cmp(&a.rank()));
        pairs.truncate(PAIRS);
    }
}

fn key_of(sample: &Sample, at: usize) -> Option<&str> {
    sample.keys.get(at)?.as_deref()
}

fn category_of(sample: &Sample, at: usize) -> Option<&str> {
    sample.categories.get(at)?.as_deref()
}

/// A category field, and what it says of the event last met.
#[derive(Debug)]
struct Field {
    name: Arc<str>,
    values: Lru<Count>,
    all: Count,
    hash: Option<u64>,
    count: Count,
    share: Option<f64>,
    mass: f64,
}

impl Field {
    fn new(name: &Arc<str>, keys_max: usize) -> Self {
        let (values, all, count) = (Lru::new(keys_max), Count::default(), Count::default());
        Self { name: name.clone(), values, all, hash: None, count, share: None, mass: 0.0 }
    }

    fn meet(&mut self, value: Option<&str>, clock: u64, decay: Decay) {
        self.hash = value.map(lru::hash);
        self.count = self.hash.and_then(|hash| self.values.get(hash)).copied().unwrap_or_default();
        self.mass = self.count.now(clock, decay);
        let kinds = self.values.len() as f64 + 1.0;
        let share = (self.mass + 0.5) / (self.all.now(clock, decay) + 0.5 * kinds);
        self.share = self.hash.map(|_| share.min(1.0));
    }

    fn learn(&mut self, clock: u64, decay: Decay) {
        if let Some(hash) = self.hash {
            self.values.entry(hash, Count::default).add(clock, decay);
            self.all.add(clock, decay);
        }
    }
}

/// A key field, and what it says of the event last met.
#[derive(Debug)]
struct Key {
    name: Arc<str>,
    totals: Lru<Total>,
    hash: Option<u64>,
    total: Total,
}

impl Key {
    fn new(name: &Arc<str>, keys_max: usize) -> Self {
        Self { name: name.clone(), totals: Lru::new(keys_max), hash: None, total: Total::default() }
    }

    fn meet(&mut self, value: Option<&str>) {
        self.hash = value.map(lru::hash);
        self.total = self.hash.and_then(|hash| self.totals.get(hash)).copied().unwrap_or_default();
    }
}

/// What a field is paired with.
#[derive(Clone, Copy, Debug)]
enum Other {
    Field(usize),
    Key(usize),
}

/// Two fields whose values may belong together, and what they say of the event last met.
#[derive(Debug)]
struct Pair {
    field: usize,
    other: Other,
    joint: Lru<Count>,
    hash: Option<u64>,
    /// Whether the values have not come together lately; none where one of them has not come at all.
    unheard: Option<bool>,
    /// Of the field's value given the other's; the other way round too if both are categories.
    shares: [Share; 2],
}

/// One direction of a pair.
#[derive(Debug, Default)]
struct Share {
    gain: Gain,
    given: f64,
    plain: f64,
    mass: f64,
    habits: Habits,
}

impl Share {
    fn meet(&mut self, joint: f64, context: f64, plain: f64) {
        // The combination may outlive its context in a full table.
        let joint = joint.min(context);
        self.given = (joint + SHRINKAGE * plain) / (context + SHRINKAGE);
        (self.plain, self.mass) = (plain, context);
    }

    /// Nats of a value that the context has not had.
    fn broken(&self) -> f64 {
        // What is expected before anything is known is what the law says.
        self.habits.nats(self.mass, SHRINKAGE / (self.mass + SHRINKAGE))
    }

    fn learn(&mut self) {
        if self.mass >= 2.0 {
            self.gain.add(self.given.ln() - self.plain.ln());
        }
    }
}

impl Pair {
    fn new(field: usize, other: Other, keys_max: usize) -> Self {
        Self {
            field,
            other,
            joint: Lru::new(keys_max),
            hash: None,
            unheard: None,
            shares: Default::default(),
        }
    }

    fn meet(&mut self, fields: &[Field], keys: &[Key], clock: u64, decay: Decay) {
        let field = &fields[self.field];
        let hash = match self.other {
            Other::Field(at) => fields[at].hash,
            Other::Key(at) => keys[at].hash,
        };
        self.hash = field.hash.zip(hash).map(|(a, b)| lru::hash_pair(a, b));
        self.unheard = None;
        let (Some(hash), Some(plain)) = (self.hash, field.share) else { return };
        let count = self.joint.get(hash).copied().unwrap_or_default();
        match self.other {
            Other::Field(at) => {
                let (other, joint) = (&fields[at], count.now(clock, decay));
                let known = field.mass > 0.0 && other.mass > 0.0;
                self.unheard = known.then(|| count.is_unheard(clock, decay));
                self.shares[0].meet(joint, other.mass, plain);
                self.shares[1].meet(joint, field.mass, other.share.unwrap_or(1.0));
            }
            Other::Key(at) => {
                let total = keys[at].total;
                self.unheard = (field.mass > 0.0).then(|| count.is_unheard(total.events, decay));
                self.shares[0].meet(count.now(total.events, decay), total.mass, plain);
            }
        }
    }

    /// Takes note whether the event last met breaks a habit: once, whether it is learned or not. What comes again is told of
    /// as long as it is strange by its law, and no longer by this. What is not learned takes no place of what was.
    fn observe(&mut self, keys: &[Key], clock: u64, learned: bool) {
        let Some(hash) = self.hash else { return };
        let clock = match self.other {
            Other::Field(_) => clock,
            Other::Key(at) => keys[at].total.events,
        };
        if learned || !self.joint.is_full() || self.joint.get(hash).is_some() {
            self.joint.entry(hash, Count::default).met = clock + 1;
        }
        let Some(unheard) = self.unheard else { return };
        for share in self.shares.iter_mut().filter(|share| share.mass >= 2.0) {
            share.habits.observe(share.mass, unheard);
        }
    }

    fn learn(&mut self, keys: &[Key], clock: u64, decay: Decay) {
        let Some(hash) = self.hash else { return };
        let clock = match self.other {
            Other::Field(_) => clock,
            Other::Key(at) => keys[at].total.events + 1,
        };
        self.joint.entry(hash, Count::default).add(clock, decay);
        self.shares[0].learn();
        if matches!(self.other, Other::Field(_)) {
            self.shares[1].learn();
        }
    }

    /// What the other field says of this one, if the pair is about it and has proved itself.
    fn proven(&self, field: usize) -> Option<&Share> {
        let share = match self.other {
            _ if self.field == field => &self.shares[0],
            Other::Field(at) if at == field => &self.shares[1],
            _ => return None,
        };
        share.gain.above(JOINS).then_some(share)
    }

    fn rank(&self) -> f64 {
        match self.other {
            Other::Field(_) => self.shares[0].gain.rank().max(self.shares[1].gain.rank()),
            Other::Key(_) => self.shares[0].gain.rank(),
        }
    }
}

/// A count with its thousands set apart, as in 4 812.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
