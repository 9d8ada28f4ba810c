//! Small streams with known fields.

mod shapes;

use super::super::{Kind, Settings, schema};
use crate::flow::{Event, Schema, Value};

/// A linear congruential generator, so that streams are the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn unit(&mut self) -> f64 {
        self.below(1 << 30) as f64 / f64::from(1 << 30)
    }

    /// Skewed as waiting times are.
    fn skewed(&mut self, scale: f64) -> f64 {
        -scale * (1.0 - self.unit()).ln()
    }

    /// The same in whole numbers.
    fn counted(&mut self, scale: f64) -> u64 {
        (self.skewed(scale) as i64).cast_unsigned()
    }

    fn one_of(&mut self, texts: &[&str]) -> Value {
        text(texts[self.below(texts.len() as u64) as usize])
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

const LINES: [&str; 6] = [
    "connection to database lost",
    "request served in time",
    "cache miss for user profile",
    "job finished without errors",
    "retrying after a timeout",
    "session opened for user root",
];

fn whole(value: u64) -> Value {
    Value::Integer(value.cast_signed())
}

type Make = fn(&mut Random, u64) -> Value;

/// The kind of a field among others: a text, a number and a level.
fn kind_of(count: u64, make: Make) -> Kind {
    kind_named(count, "/field", true, make)
}

fn kind_named(count: u64, pointer: &str, typed: bool, make: Make) -> Kind {
    let mut random = Random(7);
    let events: Vec<_> = (0..count)
        .map(|n| {
            let mut fields = vec![("/line".to_owned(), random.one_of(&LINES))];
            if typed {
                fields.push(("/took".to_owned(), Value::Number(random.skewed(20.0))));
            }
            fields.push((pointer.to_owned(), make(&mut random, n)));
            fields.retain(|(_, value)| *value != Value::Null);
            Event { fields }
        })
        .collect();
    let settings = Settings { fields: Vec::new(), ignore: Vec::new(), infer_events: 5_000, text_max: 1_000 };
    let schema = schema(&settings, &events);
    assert!(schema.texts.iter().any(|text| &**text == "/line"), "{schema:?}");
    assert!(!typed || schema.numbers.iter().any(|number| &**number == "/took"), "{schema:?}");
    place(&schema, pointer)
}

fn place(schema: &Schema, pointer: &str) -> Kind {
    let lists = [
        (&schema.texts, Kind::Text),
        (&schema.numbers, Kind::Number),
        (&schema.categories, Kind::Category),
        (&schema.keys, Kind::Key),
    ];
    if schema.time.as_deref() == Some(pointer) {
        return Kind::Time;
    }
    let found = lists.iter().find(|(list, _)| list.iter().any(|known| **known == *pointer));
    found.map_or(Kind::Ignore, |(_, kind)| *kind)
}

const SIZES: [u64; 4] = [20, 60, 200, 1_000];

#[track_caller]
fn is_from(least: u64, expected: Kind, make: Make) {
    for count in SIZES.into_iter().filter(|count| *count >= least) {
        assert_eq!(kind_of(count, make), expected, "of {count} events");
    }
}

#[test]
fn messages_are_texts_however_few_they_are() {
    is_from(20, Kind::Text, |random, _| random.one_of(&LINES));
    is_from(20, Kind::Text, |random, _| random.one_of(&LINES[..2]));
    is_from(20, Kind::Text, |_, _| text("all is well here"));
    is_from(20, Kind::Text, |random, n| text(&format!("user {n} paid {} euros", random.below(100))));
    is_from(20, Kind::Text, |random, n| if n % 4 == 1 { random.one_of(&LINES) } else { text("-") });
    is_from(20, Kind::Text, |random, n| text(&format!("/shop/items/{n}?page={}", random.below(9))));
}

#[test]
fn few_words_are_categories_even_among_texts() {
    is_from(20, Kind::Category, |random, _| random.one_of(&["INFO", "WARN", "ERROR"]));
    is_from(20, Kind::Category, |random, _| {
        random.one_of(&["kernel", "app", "disk", "net", "mail", "cron", "auth", "db"])
    });
    is_from(20, Kind::Category, |random, _| Value::Bool(random.below(2) == 0));
    is_from(20, Kind::Category, |random, _| Value::Integer([200, 404, 500][random.below(3) as usize]));
    is_from(20, Kind::Category, |random, _| random.one_of(&["200", "404", "500"]));
    is_from(20, Kind::Category, |random, _| random.one_of(&["1.0", "1.1", "2.0"]));
    is_from(200, Kind::Category, |random, _| text(&format!("host-{}", random.below(30))));
}

#[test]
fn quantities_are_numbers_also_when_written_as_strings() {
    is_from(20, Kind::Number, |random, _| Value::Number(random.skewed(30.0)));
    is_from(20, Kind::Number, |random, _| Value::Integer(random.skewed(5_000.0) as i64));
    is_from(20, Kind::Number, |random, _| whole(random.below(10_000)));
    is_from(20, Kind::Number, |random, _| text(&format!("{:.2}", random.unit() * 90.0)));
    is_from(60, Kind::Number, |random, _| text(&format!("{}", random.skewed(2_000.0) as i64)));
    // A few that are none do no harm.
    is_from(60, Kind::Number, |random, n| {
        if n % 40 == 5 { text("-") } else { text(&format!("{:.1}", random.skewed(9.0))) }
    });
}

#[test]
fn names_of_many_things_are_keys() {
    is_from(60, Kind::Key, |random, _| text(&format!("10.0.{}.{}", random.below(20), random.below(20))));
    is_from(60, Kind::Key, |random, _| text(&random.below(5_000).to_string()));
    is_from(60, Kind::Key, |random, _| text(&format!("46459701082207{:05}", random.below(300) * 331)));
    is_from(60, Kind::Key, |random, _| text(&format!("{:05}", random.skewed(900.0) as i64)));
    // Not one comes back among so few, yet they must: there are only ten thousand.
    is_from(200, Kind::Key, |_, n| text(&(n * 7_919 % 10_007).to_string()));
}

#[test]
fn a_name_breaks_the_tie_between_even_quantities_and_identifiers_only() {
    let even: Make = |random, _| whole(random.below(3_000));
    let skewed: Make = |random, _| Value::Integer(random.skewed(3_000.0) as i64);
    for count in [200, 1_000] {
        assert_eq!(kind_named(count, "/user_id", true, even), Kind::Key);
        assert_eq!(kind_named(count, "/size", true, even), Kind::Number);
        assert_eq!(kind_named(count, "/sizes", true, skewed), Kind::Number);
        // Some users come more often, but they are no amounts.
        assert_eq!(kind_named(count, "/user_id", true, skewed), Kind::Key);
        assert_eq!(kind_named(count, "/user/homeZip", true, skewed), Kind::Key);
    }
}

#[test]
fn what_never_returns_is_dropped_and_what_never_changed_is_watched() {
    is_from(20, Kind::Ignore, |random, _| {
        text(&format!(
            "{:08x}-{:04x}-4{:03x}",
            random.below(1 << 31),
            random.below(1 << 16),
            random.below(1 << 12)
        ))
    });
    is_from(200, Kind::Ignore, |_, n| text(&format!("order-{}", n * 48_271 % 65_537)));
    is_from(200, Kind::Ignore, |random, n| whole(random.below(1 << 31) << 20 | n));
    is_from(20, Kind::Ignore, |_, n| whole(n + 40));
    is_from(20, Kind::Ignore, |_, n| text(&(n * 3 + 7).to_string()));
    // Two events have overtaken each other.
    is_from(20, Kind::Ignore, |_, n| whole(if n == 9 || n == 10 { 59 - n } else { n + 40 }));
    is_from(20, Kind::Category, |_, _| text("production"));
    is_from(20, Kind::Number, |_, _| Value::Integer(3));
    is_from(20, Kind::Category, |_, _| Value::Bool(false));
    is_from(20, Kind::Ignore, |_, _| Value::Null);
}

#[test]
fn times_are_found_in_every_form_and_unit() {
    is_from(20, Kind::Time, |_, n| text(&format!("2024-01-01T{:02}:{:02}:11Z", n / 60 % 24, n % 60)));
    is_from(20, Kind::Time, |_, n| text(&format!("17/May/2015:{:02}:{:02}:03 +0000", n / 60 % 24, n % 60)));
    is_from(20, Kind::Time, |random, n| whole(1_700_000_000 + n * 9 + random.below(15)));
    is_from(20, Kind::Time, |random, n| whole(1_700_000_000_000 + n * 900 + random.below(990)));
    is_from(20, Kind::Time, |_, n| Value::Number(1.7e9 + n as f64 * 0.25));
    // Many events within one second, as logs have them.
    is_from(60, Kind::Time, |_, n| whole(1_700_000_000 + n / 50));
    // Numbers of cards lie in the range of times too, but do not go with the stream.
    is_from(200, Kind::Key, |random, _| whole(1_645_970_108_220_000_000 + random.below(80) * 331));
    is_from(20, Kind::Number, |_, _| Value::Integer(1_645_970_108));
    // Out of order within the minute.
    is_from(20, Kind::Time, |random, n| {
        text(&format!("17/May/2015:{:02}:{:02}:{:02} +0000", n / 3_000, n / 50 % 60, random.below(60)))
    });
    // A time that does not move with the stream is not the event's own.
    is_from(20, Kind::Ignore, |random, _| {
        text(&format!("20{:02}-0{}-1{}T00:00:00Z", random.below(30), 1 + random.below(9), random.below(9)))
    });
    is_from(20, Kind::Number, |random, _| Value::Integer(1_200_000_000 + random.skewed(90_000.0) as i64));
}

#[test]
fn a_field_is_judged_where_it_is_present() {
    is_from(
        200,
        Kind::Number,
        |random, n| {
            if n % 4 == 0 { Value::Number(random.skewed(5.0)) } else { Value::Null }
        },
    );
    is_from(
        200,
        Kind::Category,
        |random, n| {
            if n % 4 == 0 { random.one_of(&["north", "south"]) } else { Value::Null }
        },
    );
    is_from(
        200,
        Kind::Ignore,
        |random, n| {
            if n == 3 { random.one_of(&["north", "south"]) } else { Value::Null }
        },
    );
}

#[test]
fn a_field_that_changes_its_type_is_read_by_its_text() {
    is_from(60, Kind::Category, |random, n| {
        if n % 2 == 0 { whole(random.below(4)) } else { random.one_of(&["none", "all"]) }
    });
}

#[test]
fn strings_of_digits_are_quantities_where_everything_is_a_string() {
    let spread: Make = |random, _| text(&(200 + random.skewed(80.0) as i64).to_string());
    for count in [200, 1_000] {
        assert_eq!(kind_named(count, "/bytes", false, spread), Kind::Number);
    }
}

#[test]
fn a_schema_is_bounded_and_keeps_the_fields_most_events_have() {
    let mut random = Random(3);
    let events: Vec<_> = (0..100)
        .map(|n| {
            let names = (0..300).filter(|name| name % 3 == 0 || n % 2 == 0);
            let fields = names.map(|name| (format!("/n/{name}"), Value::Number(random.skewed(1.0))));
            Event { fields: fields.collect() }
        })
        .collect();
    let settings = Settings { fields: Vec::new(), ignore: Vec::new(), infer_events: 100, text_max: 100 };
    let numbers = schema(&settings, &events).numbers;
    assert_eq!(numbers.len(), 128);
    assert!((0..300).step_by(3).all(|name| numbers.iter().any(|n| **n == *format!("/n/{name}"))));
}

#[test]
fn no_events_or_one_do_no_harm() {
    let settings = Settings { fields: Vec::new(), ignore: Vec::new(), infer_events: 0, text_max: 100 };
    assert_eq!(schema(&settings, &[]), Schema::default());
    let one =
        Event { fields: vec![("/m".to_owned(), text("disk is full")), ("/n".to_owned(), Value::Integer(1))] };
    assert_eq!(schema(&settings, &[one]).texts, ["/m".into()]);
}
