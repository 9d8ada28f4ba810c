//! The logs of a small web shop: seven services, each with its own machines, lines and rhythm.
//!
//! It knows how a line is written, not when one is planted. Nothing it writes may tell whether a line was planted.

use super::lines::{BURSTS, FRESH, Line, SERVICES, Service};
use super::write::{Clock, escaped, hex, hundredths, padded, rounded, whole};
use crate::demo::dice::{Dice, Weights, power_of_e};

/// Deviation of the logarithm of a duration; small, so that no usual duration is far out.
const SPREAD: f64 = 0.3;

/// The services and what they have done so far.
#[derive(Debug)]
pub(super) struct Shop {
    services: Vec<Staffed>,
    busy: Weights,
    fresh: Vec<Script>,
    /// Fresh lines not yet planted in this round.
    deck: Vec<usize>,
    bursts: Vec<Script>,
    /// Rises with every order named.
    orders: u64,
}

#[derive(Debug)]
struct Staffed {
    service: &'static Service,
    hosts: Vec<String>,
    lines: Vec<Script>,
    often: Weights,
}

/// A line, taken apart.
#[derive(Debug)]
struct Script {
    line: &'static Line,
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Words(&'static str),
    Slot(Slot),
}

/// What is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Number,
    Duration,
    User,
    Email,
    Ip,
    Node,
    Sku,
    Order,
    Path,
    Query,
    Carrier,
    Money,
    Process,
    Hex,
}

/// Which service breaks down, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breakdown {
    service: usize,
    script: usize,
}

const PATHS: [&str; 8] = [
    "/api/v2/cart",
    "/api/v2/items",
    "/api/v2/orders",
    "/api/v2/categories/shoes",
    "/api/v2/categories/garden",
    "/api/v2/categories/kitchen",
    "/api/v2/checkout/summary",
    "/api/v2/recommendations",
];

const QUERIES: [&str; 16] = [
    "running shoes",
    "garden chair",
    "coffee grinder",
    "rain jacket",
    "desk lamp",
    "water bottle",
    "yoga mat",
    "bike light",
    "tea pot",
    "wool socks",
    "camping stove",
    "bread knife",
    "phone case",
    "picture frame",
    "flower pot",
    "office chair",
];

const CARRIERS: [&str; 4] = ["DHL", "UPS", "GLS", "DPD"];

impl Shop {
    pub(super) fn new() -> Self {
        let services = SERVICES.iter().map(|service| Staffed {
            service,
            hosts: (1..=service.hosts).map(|host| format!("{}-{host:02}", service.name)).collect(),
            lines: service.lines.iter().map(Script::new).collect(),
            often: Weights::new(service.lines.iter().map(|line| line.weight)),
        });
        Self {
            services: services.collect(),
            busy: Weights::new(SERVICES.iter().map(|service| service.weight)),
            fresh: FRESH.iter().map(Script::new).collect(),
            deck: Vec::new(),
            bursts: BURSTS.iter().map(Script::new).collect(),
            orders: 0,
        }
    }

    /// A usual line, on a machine of its service: host and JSON.
    pub(super) fn usual(&mut self, dice: &mut Dice, now: &Clock) -> (String, Vec<u8>) {
        let staffed = &self.services[self.busy.draw(dice)];
        let script = &staffed.lines[staffed.often.draw(dice)];
        write(script, staffed.service, staffed.host(dice), &mut self.orders, dice, now)
    }

    /// A line that was never written before, until all of them have been.
    pub(super) fn fresh(&mut self, dice: &mut Dice, now: &Clock) -> (String, Vec<u8>) {
        if self.deck.is_empty() {
            self.deck = (0..self.fresh.len()).collect();
            dice.shuffle(&mut self.deck);
        }
        let script = &self.fresh[self.deck.pop().unwrap_or(0)];
        let staffed = &self.services[self.busy.draw(dice)];
        write(script, staffed.service, staffed.host(dice), &mut self.orders, dice, now)
    }

    /// A usual line of one service on a machine of another.
    pub(super) fn misplaced(&mut self, dice: &mut Dice, now: &Clock) -> (String, Vec<u8>) {
        let from = self.busy.draw(dice);
        let to = (from + 1 + dice.index(self.services.len() - 1)) % self.services.len();
        let (staffed, elsewhere) = (&self.services[from], &self.services[to]);
        let script = &staffed.lines[staffed.often.draw(dice)];
        write(script, staffed.service, elsewhere.host(dice), &mut self.orders, dice, now)
    }

    /// Picks what breaks down next.
    pub(super) fn breakdown(&self, dice: &mut Dice) -> Breakdown {
        Breakdown { service: self.busy.draw(dice), script: dice.index(self.bursts.len()) }
    }

    /// One line of a breakdown, on any machine of the service.
    pub(super) fn broken(&mut self, down: Breakdown, dice: &mut Dice, now: &Clock) -> (String, Vec<u8>) {
        let staffed = &self.services[down.service];
        let script = &self.bursts[down.script];
        write(script, staffed.service, staffed.host(dice), &mut self.orders, dice, now)
    }
}

impl Staffed {
    fn host(&self, dice: &mut Dice) -> &str {
        &self.hosts[dice.index(self.hosts.len())]
    }
}

impl Script {
    fn new(line: &'static Line) -> Self {
        let mut parts = Vec::new();
        let mut rest = line.text;
        let mut words = rest;
        while let Some(open) = rest.find('{') {
            let inside = &rest[open + 1..];
            let slot = inside.find('}').and_then(|close| Some((close, Slot::named(&inside[..close])?)));
            if let Some((close, slot)) = slot {
                parts.push(Part::Words(&words[..words.len() - inside.len() - 1]));
                parts.push(Part::Slot(slot));
                words = &inside[close + 1..];
                rest = words;
            } else {
                // A brace that names no slot is part of the message.
                rest = inside;
            }
        }
        parts.push(Part::Words(words));
        Self { line, parts }
    }
}

impl Slot {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "n" => Self::Number,
            "ms" => Self::Duration,
            "user" => Self::User,
            "email" => Self::Email,
            "ip" => Self::Ip,
            "node" => Self::Node,
            "sku" => Self::Sku,
            "order" => Self::Order,
            "path" => Self::Path,
            "query" => Self::Query,
            "carrier" => Self::Carrier,
            "money" => Self::Money,
            "pid" => Self::Process,
            "hex" => Self::Hex,
            _ => return None,
        })
    }

    /// Writes only characters that need no escape in JSON.
    fn write(self, out: &mut Vec<u8>, tenths: u64, orders: &mut u64, dice: &mut Dice) {
        match self {
            Self::Number => whole(out, dice.between(1, 48)),
            Self::Duration => whole(out, tenths.div_ceil(10)),
            Self::User => user(out, dice),
            Self::Email => {
                user(out, dice);
                out.extend_from_slice(b"@example.");
                out.extend_from_slice(["org", "com", "net"][dice.index(3)].as_bytes());
            }
            Self::Ip => {
                // The three blocks kept for documentation (RFC 5737).
                out.extend_from_slice(["192.0.2.", "198.51.100.", "203.0.113."][dice.index(3)].as_bytes());
                whole(out, dice.between(1, 254));
            }
            Self::Node => {
                out.extend_from_slice(b"10.4.");
                whole(out, dice.below(8));
                out.push(b'.');
                whole(out, dice.between(1, 254));
            }
            Self::Sku => {
                out.extend_from_slice(b"SKU-");
                padded(out, dice.below(60) * dice.below(60), 4);
            }
            Self::Order => {
                *orders += 1;
                out.extend_from_slice(b"ORD-");
                whole(out, 480_000 + *orders / 4 + dice.below(50));
            }
            Self::Path => out.extend_from_slice(PATHS[dice.index(PATHS.len())].as_bytes()),
            Self::Query => out.extend_from_slice(QUERIES[dice.index(QUERIES.len())].as_bytes()),
            Self::Carrier => out.extend_from_slice(CARRIERS[dice.index(CARRIERS.len())].as_bytes()),
            Self::Money => hundredths(out, dice.between(250, 19_900)),
            Self::Process => whole(out, dice.between(1_000, 65_000)),
            Self::Hex => hex(out, dice.bits(), 10),
        }
    }
}

fn user(out: &mut Vec<u8>, dice: &mut Dice) {
    out.extend_from_slice(b"u-");
    whole(out, dice.between(10_000, 14_999));
}

fn write(
    script: &Script,
    service: &Service,
    host: &str,
    orders: &mut u64,
    dice: &mut Dice,
    now: &Clock,
) -> (String, Vec<u8>) {
    let tenths = rounded(script.line.ms * power_of_e(SPREAD * dice.bell()) * 10.0).max(1);
    let mut out = Vec::with_capacity(448);
    out.extend_from_slice(b"{\"time\":\"");
    now.write(&mut out);
    for (name, value) in [
        ("level", script.line.level.name()),
        ("service", service.name),
        ("host", host),
        ("version", service.version),
    ] {
        out.extend_from_slice(b"\",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":\"");
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(b"\",\"message\":\"");
    for part in &script.parts {
        match part {
            Part::Words(words) => escaped(&mut out, words),
            Part::Slot(slot) => slot.write(&mut out, tenths, orders, dice),
        }
    }
    out.extend_from_slice(b"\",\"duration_ms\":");
    whole(&mut out, tenths / 10);
    out.push(b'.');
    whole(&mut out, tenths % 10);
    out.extend_from_slice(b",\"status\":");
    whole(&mut out, script.line.status);
    out.extend_from_slice(b",\"trace_id\":\"");
    hex(&mut out, dice.bits(), 16);
    hex(&mut out, dice.bits(), 16);
    out.extend_from_slice(b"\",\"span_id\":\"");
    hex(&mut out, dice.bits(), 16);
    out.extend_from_slice(b"\"}");
    (host.to_owned(), out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_of_every_line_is_known() {
        let usual = SERVICES.iter().flat_map(|service| service.lines);
        for line in usual.chain(&FRESH).chain(&BURSTS) {
            for part in Script::new(line).parts {
                let Part::Words(words) = part else { continue };
                let open = words.replace("${jndi:", "").contains('{');
                assert!(!open, "unknown slot in {:?}", line.text);
            }
        }
    }

    #[test]
    fn a_line_is_taken_apart_without_losing_a_character() {
        let script = Script::new(&SERVICES[1].lines[0]);
        let expected = [
            Part::Words("user "),
            Part::Slot(Slot::User),
            Part::Words(" added "),
            Part::Slot(Slot::Sku),
            Part::Words(" x"),
            Part::Slot(Slot::Number),
            Part::Words(" to cart"),
        ];
        assert_eq!(script.parts, expected);
        let odd = FRESH.iter().find(|line| line.text.starts_with("${jndi")).unwrap();
        assert_eq!(Script::new(odd).parts[0], Part::Words("${jndi:ldap://"));
    }

    #[test]
    fn the_tail_of_usual_lines_is_bounded() {
        let whole: u64 = SERVICES.iter().map(|service| service.weight).sum();
        let count: usize = SERVICES.iter().map(|service| service.lines.len()).sum();
        assert_eq!((whole, count), (100, 60));
        for service in &SERVICES {
            let all: u64 = service.lines.iter().map(|line| line.weight).sum();
            for line in service.lines {
                assert!(service.weight * line.weight * 450 > whole * all, "too rare: {}", line.text);
            }
        }
    }

    #[test]
    fn fresh_lines_do_not_come_twice_in_a_round() {
        let (mut shop, mut dice, now) = (Shop::new(), Dice::new(3), Clock::new());
        let mut decks: Vec<usize> = Vec::new();
        for _ in 0..FRESH.len() {
            shop.fresh(&mut dice, &now);
            decks.push(shop.deck.len());
        }
        assert_eq!(decks, (0..FRESH.len()).rev().collect::<Vec<_>>());
    }
}
