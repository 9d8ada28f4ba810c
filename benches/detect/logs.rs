//! A seeded log as services write it: most of it the same few messages, with other numbers in them.
//!
//! A service's messages follow Zipf's law, and three in four hold an identifier or a number, so that the *text* seldom
//! comes again while its shape always does. Durations and sizes are skewed, each level and each route has its own.

use std::fmt::Write;

use outlierd::flow::Record;
use outlierd::render::{Field, Kind};

/// What the events hold besides two texts.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) numbers: usize,
    pub(crate) categories: usize,
    /// Distinct values of the one key; 0 for none.
    pub(crate) keys: usize,
}

/// Two texts, four numbers, two categories and a key of 500 values.
pub(crate) const USUAL: Shape = Shape { numbers: 4, categories: 2, keys: 500 };

const SUBJECTS: [&str; 8] =
    ["session", "order", "payment", "cache entry", "job", "mail", "upload", "connection from worker"];
const OUTCOMES: [&str; 5] =
    ["accepted", "written to the store", "expired", "handed over", "retried by policy"];
const ROUTES: [&str; 12] = [
    "/",
    "/health",
    "/login",
    "/api/v1/orders/#",
    "/api/v1/orders/#/items",
    "/api/v1/customers/#",
    "/search?q=#",
    "/static/app.js",
    "/static/img/#.png",
    "/api/v1/payments",
    "/api/v1/carts/#",
    "/metrics",
];

/// Draws events of a shape, for ever.
pub(crate) struct Logs {
    shape: Shape,
    state: u64,
    events: u64,
}

impl Logs {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape, state: 0x9e37_79b9_7f4a_7c15, events: 0 }
    }

    /// What its fields are, said rather than inferred: a benchmark measures the same fields whatever inference thinks.
    pub(crate) fn fields(shape: Shape) -> Vec<Field> {
        let field = |name: String, kind| Field { pointer: format!("/{name}"), kind };
        let fixed = [("time", Kind::Time), ("message", Kind::Text), ("path", Kind::Text)];
        let mut fields: Vec<Field> = fixed.map(|(name, kind)| field(name.to_owned(), kind)).into();
        fields.extend((0..shape.numbers).map(|at| field(format!("n{at}"), Kind::Number)));
        fields.extend((0..shape.categories).map(|at| field(format!("c{at}"), Kind::Category)));
        fields.extend((shape.keys > 0).then(|| field("host".to_owned(), Kind::Key)));
        fields
    }

    /// From 0 to 1 (xorshift64*).
    fn unit(&mut self) -> f64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, count: usize) -> usize {
        #[expect(clippy::cast_sign_loss, reason = "not negative")]
        let drawn = (self.unit() * count as f64) as usize;
        drawn.min(count.saturating_sub(1))
    }

    /// A rank by Zipf's law: log-uniform, which is its continuous form.
    fn zipf(&mut self, count: usize) -> usize {
        #[expect(clippy::cast_sign_loss, reason = "at least 1")]
        let rank = ((count + 1) as f64).powf(self.unit()) as usize;
        rank.clamp(1, count) - 1
    }

    fn message(&mut self, template: usize) -> String {
        let (subject, outcome) = (SUBJECTS[template % 8], OUTCOMES[template / 8 % 5]);
        match template % 4 {
            0 => format!("{subject} was {outcome} without a remark"),
            1 => format!("{subject} {} was {outcome}", self.below(1_000_000)),
            2 => format!("{subject} {:08x} was {outcome} after {} ms", self.below(1 << 31), self.below(300)),
            _ => format!("{} of {} in {subject} queue {outcome}", self.below(100), 100 * (1 + self.below(9))),
        }
    }

    fn number(&mut self, at: usize, template: usize) -> String {
        let unit = self.unit();
        match at % 4 {
            // A duration that depends on what was done, and a size over four decades.
            0 => format!("{:.2}", 3.0 * (1 + template % 7) as f64 - 8.0 * (1.0 - unit).ln()),
            1 => format!("{}", (10_f64.powf(2.0 + 4.0 * unit * unit)).round()),
            2 => format!("{:.3}", unit * (0.5 + 0.5 * self.unit())),
            _ => format!("{}", self.below(40)),
        }
    }
}

impl Iterator for Logs {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.events += 1;
        let Shape { numbers, categories, keys } = self.shape;
        let template = self.zipf(SUBJECTS.len() * OUTCOMES.len());
        let route = ROUTES[self.zipf(ROUTES.len())];
        let path = route.replace('#', &self.below(20_000).to_string());
        let mut json = String::new();
        let (seconds, millis) = (self.events / 100, self.events % 100 * 10);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        let day = 1 + seconds / 86_400 % 28;
        let time = format!("2026-01-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
        let message = self.message(template);
        write!(json, "{{\"time\":\"{time}\",\"message\":\"{message}\",\"path\":\"{path}\"").ok()?;
        for at in 0..numbers {
            let number = self.number(at, template);
            write!(json, ",\"n{at}\":{number}").ok()?;
        }
        for at in 0..categories {
            // The first follows the message, the second hardly.
            let value = if at % 2 == 0 { template % 5 } else { self.zipf(4) };
            write!(json, ",\"c{at}\":\"value-{value}\"").ok()?;
        }
        if keys > 0 {
            let key = self.below(keys);
            write!(json, ",\"host\":\"host-{key}\"").ok()?;
        }
        json.push('}');
        Some(Record { payload: Some(json.into_bytes()), ..Record::default() })
    }
}
