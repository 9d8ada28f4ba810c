//! A seeded, endless stream of plausible events with planted anomalies: a web shop's logs and card payments.
//!
//! It is the demo's own answer key: every event knows whether it was planted, and nothing in its bytes tells. Events
//! carry a simulated time, so the same seed gives the same bytes on every run and machine. It must never read a
//! clock or a random source of the system.

mod bank;
mod lines;
mod shop;
mod write;

use self::bank::Bank;
use self::shop::{Breakdown, Shop};
use self::write::Clock;
use crate::demo::dice::Dice;

/// Events before the first planted one, at least.
pub const CLEAN_EVENTS_MIN: u64 = 3_000;
/// Share of the events that stay clean at the start: one in so many.
const CLEAN_SHARE: u64 = 5;
/// Events from the end of one incident to the next.
const QUIET_EVENTS: (u64, u64) = (400, 800);
/// Lines of a burst.
const BURST_LINES: (u64, u64) = (50, 300);
/// Simulated milliseconds between events; within a burst, so that 300 lines take under six seconds.
const GAP_MS: (u64, u64) = (100, 700);
const BURST_GAP_MS: (u64, u64) = (2, 30);
/// Per cent of the events within a burst that belong to it.
const BURST_PERCENT: u64 = 85;
/// One round of incidents: each kind of single event equally often, bursts rarer. Shuffled each time.
const ROUND: [(Kind, usize); 4] =
    [(Kind::NewMessage, 4), (Kind::WrongAmount, 4), (Kind::RareCombination, 4), (Kind::Burst, 1)];

/// Where an event belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Log lines of the shop's services, keyed by host.
    Logs,
    /// Card payments, keyed by customer.
    Payments,
}

impl Topic {
    /// Both topics.
    pub const ALL: [Self; 2] = [Self::Logs, Self::Payments];

    /// The Kafka topic's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logs => "demo.logs",
            Self::Payments => "demo.payments",
        }
    }

    /// The topic of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

/// What is wrong with a planted event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A log line that no service has written before.
    NewMessage,
    /// An amount far from what this customer pays, though others pay it every day.
    WrongAmount,
    /// Values that are common each for itself, and never come together.
    RareCombination,
    /// 50 to 300 similar error lines of one service within seconds: one incident.
    Burst,
}

impl Kind {
    /// All kinds, in the order in which they are reported.
    pub const ALL: [Self; 4] = [Self::NewMessage, Self::WrongAmount, Self::RareCombination, Self::Burst];

    /// A stable name, such as `new_message`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NewMessage => "new_message",
            Self::WrongAmount => "wrong_amount",
            Self::RareCombination => "rare_combination",
            Self::Burst => "burst",
        }
    }
}

/// The incident a planted event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// Counts incidents from 0; all lines of one burst share it.
    pub id: u32,
    /// What is wrong.
    pub kind: Kind,
}

/// One event, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Where it goes.
    pub topic: Topic,
    /// Host of a log line, customer of a payment: what shares a key shares a partition.
    pub key: String,
    /// A JSON object of about 300 bytes, without any label.
    pub payload: Vec<u8>,
    /// There when it was planted.
    pub planted: Option<Planted>,
}

/// The stream. It never ends: take as many events as the run has.
#[derive(Debug)]
pub struct Generator {
    dice: Dice,
    now: Clock,
    shop: Shop,
    bank: Bank,
    /// Events that the run will have.
    events: u64,
    made: u64,
    /// The event at which the next incident may begin.
    next: u64,
    /// Kinds still to come in this round.
    round: Vec<Kind>,
    incidents: u32,
    burst: Option<Burst>,
}

#[derive(Debug)]
struct Burst {
    planted: Planted,
    down: Breakdown,
    left: u64,
}

impl Generator {
    /// A stream for a run of so many events: the first fifth, and at least [`CLEAN_EVENTS_MIN`], are clean.
    pub fn new(seed: u64, events: u64) -> Self {
        let mut dice = Dice::new(seed);
        let bank = Bank::new(&mut dice);
        let clean = (events / CLEAN_SHARE).max(CLEAN_EVENTS_MIN);
        let next = clean.saturating_add(dice.below(QUIET_EVENTS.0));
        Self {
            dice,
            now: Clock::new(),
            shop: Shop::new(),
            bank,
            events,
            made: 0,
            next,
            round: Vec::new(),
            incidents: 0,
            burst: None,
        }
    }

    fn normal(&mut self) -> Generated {
        let topic = if self.dice.percent(50) { Topic::Logs } else { Topic::Payments };
        let written = match topic {
            Topic::Logs => self.shop.usual(&mut self.dice, &self.now),
            Topic::Payments => self.bank.usual(&mut self.dice, &self.now),
        };
        generated(topic, written, None)
    }

    /// Begins the next incident; a burst only where the run has room for the whole of it.
    fn plant(&mut self) -> Generated {
        let mut kind = self.next_kind();
        if kind == Kind::Burst && self.made + 2 * BURST_LINES.1 > self.events && self.made < self.events {
            kind = Kind::NewMessage;
        }
        let mut planted = Planted { id: self.incidents, kind };
        self.incidents = self.incidents.wrapping_add(1);
        self.next = self.made + self.dice.between(QUIET_EVENTS.0, QUIET_EVENTS.1);
        let (dice, now) = (&mut self.dice, &self.now);
        let (topic, written) = match kind {
            Kind::NewMessage => (Topic::Logs, self.shop.fresh(dice, now)),
            Kind::WrongAmount => {
                let written = self.bank.wrong_amount(dice, now).unwrap_or_else(|| {
                    planted.kind = Kind::RareCombination;
                    self.bank.rare_combination(dice, now)
                });
                (Topic::Payments, written)
            }
            Kind::RareCombination if dice.percent(50) => (Topic::Logs, self.shop.misplaced(dice, now)),
            Kind::RareCombination => (Topic::Payments, self.bank.rare_combination(dice, now)),
            Kind::Burst => {
                let down = self.shop.breakdown(dice);
                let left = dice.between(BURST_LINES.0, BURST_LINES.1) - 1;
                self.burst = Some(Burst { planted, down, left });
                (Topic::Logs, self.shop.broken(down, dice, now))
            }
        };
        generated(topic, written, Some(planted))
    }

    fn next_kind(&mut self) -> Kind {
        if self.round.is_empty() {
            self.round = ROUND.iter().flat_map(|&(kind, count)| vec![kind; count]).collect();
            self.dice.shuffle(&mut self.round);
        }
        self.round.pop().unwrap_or(Kind::NewMessage)
    }

    /// The next line of the burst that is on, unless a normal event comes between.
    fn burst_line(&mut self) -> Option<Generated> {
        let burst = self.burst.as_mut()?;
        if !self.dice.percent(BURST_PERCENT) {
            return None;
        }
        let (planted, down) = (burst.planted, burst.down);
        burst.left -= 1;
        if burst.left == 0 {
            self.burst = None;
            self.next = self.made + self.dice.between(QUIET_EVENTS.0, QUIET_EVENTS.1);
        }
        let written = self.shop.broken(down, &mut self.dice, &self.now);
        Some(generated(Topic::Logs, written, Some(planted)))
    }
}

impl Iterator for Generator {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        let (low, high) = if self.burst.is_some() { BURST_GAP_MS } else { GAP_MS };
        self.now.advance(self.dice.between(low, high));
        let event = if self.burst.is_some() {
            self.burst_line().unwrap_or_else(|| self.normal())
        } else if self.made >= self.next {
            self.plant()
        } else {
            self.normal()
        };
        self.made += 1;
        Some(event)
    }
}

fn generated(topic: Topic, (key, payload): (String, Vec<u8>), planted: Option<Planted>) -> Generated {
    Generated { topic, key, payload, planted }
}

#[cfg(test)]
mod tests;
