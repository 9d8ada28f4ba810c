//! Card payments of 2 000 customers at 150 merchants, as a bank sees them.
//!
//! A merchant has one category, one channel and one country; a channel decides how cards are read, a country decides
//! the currency, a customer decides how much. So a strange amount or a strange pair is strange by these rules and by
//! nothing else. Nothing written here may tell whether a payment was planted.

use super::write::{Clock, hex, hundredths, padded, rounded};
use crate::demo::dice::{Dice, Weights, power_of_e};

const CUSTOMERS: usize = 2_000;
/// The first so many customers make [`ACTIVE_PERCENT`] of all payments.
const ACTIVE: usize = 300;
/// The others still pay often enough that an unknown customer is nothing special.
const ACTIVE_PERCENT: u64 = 92;
const MERCHANTS: usize = 150;
/// The first so many have at least 1 in 160 payments each; a rare combination is planted with one of them only.
const COMMON_MERCHANTS: usize = 60;

/// Payments a customer must have made before one of theirs is given a wrong amount.
pub(super) const KNOWN_PAYMENTS: u32 = 8;

/// Lowest typical amount of a customer, in the currency's main unit.
const LEVEL_MIN: f64 = 8.0;
/// Logarithm of highest over lowest: e^4.6 is about 100, so nobody's wrong amount is strange for everybody.
const LEVEL_RANGE: f64 = 4.6;
/// Deviation of the logarithm of an amount around its customer's level. With the factors of the categories, 0.7 to
/// 1.4, no usual amount is off by 8: 1.4 x e^(4.9 x 0.34) = 7.4.
const SPREAD: f64 = 0.34;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    Pos,
    Online,
    Atm,
}

use Channel::{Atm, Online, Pos};

const CHANNELS: [Channel; 3] = [Pos, Online, Atm];

impl Channel {
    fn name(self) -> &'static str {
        match self {
            Pos => "pos",
            Online => "online",
            Atm => "atm",
        }
    }

    /// How the card was read, the more usual way first; three in five payments are made that way.
    fn entry_modes(self) -> [&'static str; 2] {
        match self {
            Pos => ["contactless", "chip"],
            Online => ["ecommerce", "wallet"],
            Atm => ["chip", "chip"],
        }
    }
}

struct Category {
    name: &'static str,
    /// Its merchants by channel, in the order of [`CHANNELS`].
    merchants: [usize; 3],
    /// What it does to an amount.
    factor: f64,
}

const fn category(name: &'static str, merchants: [usize; 3], factor: f64) -> Category {
    Category { name, merchants, factor }
}

const CATEGORIES: [Category; 10] = [
    category("grocery", [25, 5, 0], 0.8),
    category("restaurant", [20, 5, 0], 0.9),
    category("fuel", [12, 0, 0], 1.0),
    category("pharmacy", [8, 4, 0], 0.7),
    category("clothing", [9, 7, 0], 1.1),
    category("electronics", [4, 8, 0], 1.4),
    category("travel", [4, 8, 0], 1.4),
    category("entertainment", [5, 7, 0], 0.8),
    category("utilities", [0, 9, 0], 1.1),
    category("cash", [0, 0, 10], 1.2),
];

/// Country and currency of every twenty merchants.
const PLACES: [(&str, &str); 20] = [
    ("DE", "EUR"),
    ("DE", "EUR"),
    ("DE", "EUR"),
    ("DE", "EUR"),
    ("DE", "EUR"),
    ("DE", "EUR"),
    ("DE", "EUR"),
    ("DE", "EUR"),
    ("DE", "EUR"),
    ("DE", "EUR"),
    ("AT", "EUR"),
    ("AT", "EUR"),
    ("FR", "EUR"),
    ("FR", "EUR"),
    ("NL", "EUR"),
    ("GB", "GBP"),
    ("GB", "GBP"),
    ("CH", "CHF"),
    ("CH", "CHF"),
    ("US", "USD"),
];

const CURRENCIES: [&str; 4] = ["EUR", "GBP", "CHF", "USD"];

/// Customers, merchants, and how much each customer has been seen.
#[derive(Debug)]
pub(super) struct Bank {
    /// Typical amount of each customer.
    levels: Vec<f64>,
    /// Payments made by each customer so far.
    payments: Vec<u32>,
    active: Weights,
    merchants: Vec<Merchant>,
    popular: Weights,
}

#[derive(Clone, Copy, Debug)]
struct Merchant {
    category: usize,
    channel: Channel,
    place: usize,
}

/// A payment before it is written.
struct Payment {
    customer: usize,
    merchant: usize,
    category: usize,
    country: &'static str,
    currency: &'static str,
    channel: Channel,
    entry_mode: &'static str,
    /// In the currency's main unit.
    amount: f64,
}

impl Bank {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let levels = (0..CUSTOMERS).map(|_| LEVEL_MIN * power_of_e(dice.unit() * LEVEL_RANGE)).collect();
        let mut merchants = Vec::with_capacity(MERCHANTS);
        for (category, kind) in CATEGORIES.iter().enumerate() {
            for (channel, count) in CHANNELS.into_iter().zip(kind.merchants) {
                merchants.extend((0..count).map(|_| Merchant { category, channel, place: 0 }));
            }
        }
        dice.shuffle(&mut merchants);
        for (at, merchant) in merchants.iter_mut().enumerate() {
            merchant.place = at % PLACES.len();
        }
        Self {
            levels,
            payments: vec![0; CUSTOMERS],
            // Zipf with a shifted rank: the busiest pays about seven times as often as the last of the active.
            active: Weights::new((0..ACTIVE as u64).map(|rank| 1_000_000 / (rank + 50))),
            merchants,
            // The rarest merchant has 1 in about 320 payments, so that a few thousand show nearly all of them.
            popular: Weights::new((0..MERCHANTS as u64).map(|rank| 1_000_000 / (rank + 30))),
        }
    }

    /// A usual payment: customer and JSON.
    pub(super) fn usual(&mut self, dice: &mut Dice, now: &Clock) -> (String, Vec<u8>) {
        let customer = self.customer(dice);
        let merchant = self.popular.draw(dice);
        let payment = self.payment(customer, merchant, dice);
        self.write(&payment, dice, now)
    }

    /// A payment whose amount is at least 8 times or at most a tenth of its customer's level, yet one that others
    /// pay every day. `None` when no customer is known well enough.
    pub(super) fn wrong_amount(&mut self, dice: &mut Dice, now: &Clock) -> Option<(String, Vec<u8>)> {
        let known = |bank: &Self, customer: usize| bank.payments[customer] >= KNOWN_PAYMENTS;
        let drawn = (0..64).map(|_| self.active.draw(dice)).find(|&customer| known(self, customer));
        let customer = drawn.or_else(|| (0..ACTIVE).find(|&customer| known(self, customer)))?;
        let merchant = self.popular.draw(dice);
        let mut payment = self.payment(customer, merchant, dice);
        let level = self.levels[customer];
        payment.amount = if level < 80.0 {
            level * (8.1 + dice.unit() * ((640.0 / level).clamp(8.1, 20.0) - 8.1))
        } else {
            level / (10.1 + dice.unit() * ((level / 7.0).clamp(10.1, 25.0) - 10.1))
        };
        Some(self.write(&payment, dice, now))
    }

    /// A payment in which one value does not go with another, though each is common.
    pub(super) fn rare_combination(&mut self, dice: &mut Dice, now: &Clock) -> (String, Vec<u8>) {
        let customer = self.active.draw(dice);
        let drawn = (0..64).map(|_| self.popular.draw(dice)).find(|&merchant| merchant < COMMON_MERCHANTS);
        let mut payment = self.payment(customer, drawn.unwrap_or(0), dice);
        match dice.below(4) {
            0 => {
                let own = CATEGORIES[payment.category].merchants;
                let unheard = |&at: &usize| own[at] == 0;
                let choices: Vec<usize> = (0..CHANNELS.len()).filter(unheard).collect();
                payment.channel = CHANNELS[choices[dice.index(choices.len())]];
                payment.entry_mode = entry_mode(payment.channel, dice);
            }
            1 => {
                let others = CURRENCIES.iter().filter(|&&currency| currency != payment.currency);
                let others: Vec<&'static str> = others.copied().collect();
                payment.currency = others[dice.index(others.len())];
            }
            2 => {
                let own = payment.channel.entry_modes();
                let all = CHANNELS.iter().flat_map(|channel| channel.entry_modes());
                let others: Vec<&'static str> = all.filter(|mode| !own.contains(mode)).collect();
                payment.entry_mode = others[dice.index(others.len())];
            }
            _ => {
                // Another category of the same channel, so that only the merchant does not go with it. Cash machines
                // have none: there any category is unheard of.
                let channel = CHANNELS.iter().position(|&channel| channel == payment.channel).unwrap_or(0);
                let other = |&at: &usize| at != payment.category;
                let near: Vec<usize> = (0..CATEGORIES.len())
                    .filter(other)
                    .filter(|&at| CATEGORIES[at].merchants[channel] > 0 || payment.channel == Atm)
                    .collect();
                payment.category = near[dice.index(near.len())];
            }
        }
        self.write(&payment, dice, now)
    }

    fn customer(&self, dice: &mut Dice) -> usize {
        if dice.percent(ACTIVE_PERCENT) {
            self.active.draw(dice)
        } else {
            ACTIVE + dice.index(CUSTOMERS - ACTIVE)
        }
    }

    fn payment(&self, customer: usize, at: usize, dice: &mut Dice) -> Payment {
        let merchant = self.merchants[at];
        let (country, currency) = PLACES[merchant.place];
        Payment {
            customer,
            merchant: at,
            category: merchant.category,
            country,
            currency,
            channel: merchant.channel,
            entry_mode: entry_mode(merchant.channel, dice),
            amount: self.levels[customer]
                * CATEGORIES[merchant.category].factor
                * power_of_e(SPREAD * dice.bell()),
        }
    }

    fn write(&mut self, payment: &Payment, dice: &mut Dice, now: &Clock) -> (String, Vec<u8>) {
        self.payments[payment.customer] = self.payments[payment.customer].saturating_add(1);
        let mut out = Vec::with_capacity(384);
        out.extend_from_slice(b"{\"time\":\"");
        now.write(&mut out);
        out.extend_from_slice(b"\",\"payment_id\":\"pay_");
        hex(&mut out, dice.bits(), 16);
        hex(&mut out, dice.bits(), 8);
        out.extend_from_slice(b"\",\"customer\":\"");
        let key = out.len();
        out.push(b'c');
        padded(&mut out, payment.customer as u64 + 1, 4);
        let key = String::from_utf8_lossy(&out[key..]).into_owned();
        out.extend_from_slice(b"\",\"card\":\"400000******");
        // A card of its own for each customer: 7 has no factor in common with 10 000.
        padded(&mut out, payment.customer as u64 * 7 % 10_000, 4);
        out.extend_from_slice(b"\",\"merchant\":\"m");
        padded(&mut out, payment.merchant as u64 + 1, 3);
        for (name, value) in [
            ("category", CATEGORIES[payment.category].name),
            ("country", payment.country),
            ("channel", payment.channel.name()),
            ("entry_mode", payment.entry_mode),
            ("currency", payment.currency),
        ] {
            out.extend_from_slice(b"\",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":\"");
            out.extend_from_slice(value.as_bytes());
        }
        out.extend_from_slice(b"\",\"amount\":");
        hundredths(&mut out, rounded(payment.amount * 100.0));
        out.extend_from_slice(b",\"reference\":\"");
        hex(&mut out, dice.bits(), 16);
        hex(&mut out, dice.bits(), 8);
        out.extend_from_slice(b"\"}");
        (key, out)
    }
}

fn entry_mode(channel: Channel, dice: &mut Dice) -> &'static str {
    channel.entry_modes()[usize::from(!dice.percent(60))]
}
