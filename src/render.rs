//! Writes an event as a model reads it.
//!
//! Models want columns, events are what somebody felt like sending: a [`Schema`] names the columns of a lane (those that
//! join later stand behind the first), and every event is then read by it alone. A field that is missing or of another type is `None`, never a
//! guess, so that one odd event cannot change what the next one means.

mod categories;
mod infer;
pub mod late;
mod numbers;
mod time;
mod words;

use std::collections::HashMap;
use std::sync::Arc;

use crate::flow::{Event, Record, Sample, Schema, Time, Value};

pub use infer::{Finding, Why};

/// What a field is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words: embedded, and watched by the text channel.
    Text,
    /// A quantity.
    Number,
    /// One of a limited set of values.
    Category,
    /// When it happened.
    Time,
    /// Who or what it is about: context for the others.
    Key,
    /// Not read.
    Ignore,
}

/// A field as the operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// JSON pointer, with its leading slash.
    pub pointer: String,
    /// What it is read as.
    pub kind: Kind,
}

/// What the renderer needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Named fields; when empty, fields are inferred.
    pub fields: Vec<Field>,
    /// Pointers of fields that are never read, nor what is nested in them; they are stronger than `fields`.
    pub ignore: Vec<String>,
    /// Events that inference looks at before the first verdict.
    pub infer_events: usize,
    /// Longest text, category or key that is read, in bytes; the rest is cut at a character boundary.
    pub text_max: usize,
}

/// Makes samples by one schema.
#[derive(Clone, Debug)]
pub struct Renderer {
    schema: Arc<Schema>,
    text_max: usize,
    /// What each pointer is read as; most are read once.
    slots: HashMap<Arc<str>, Vec<Slot>>,
}

/// A place in a sample.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Text(usize),
    Number(usize),
    Category(usize),
    Key(usize),
    Time,
}

type ToSlot = fn(usize) -> Slot;

impl Renderer {
    /// A renderer for a schema.
    pub fn new(settings: &Settings, schema: Arc<Schema>) -> Self {
        let mut slots: HashMap<Arc<str>, Vec<Slot>> = HashMap::new();
        let lists: [(&[Arc<str>], ToSlot); 5] = [
            (&schema.texts, Slot::Text),
            (&schema.numbers, Slot::Number),
            (&schema.categories, Slot::Category),
            (&schema.keys, Slot::Key),
            (schema.time.as_slice(), |_| Slot::Time),
        ];
        for (pointers, slot) in lists {
            for (index, pointer) in pointers.iter().enumerate() {
                slots.entry(pointer.clone()).or_default().push(slot(index));
            }
        }
        Self { schema, text_max: settings.text_max, slots }
    }

    /// The schema it renders by.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Whether it reads that field.
    pub fn reads(&self, pointer: &str) -> bool {
        self.slots.contains_key(pointer)
    }

    /// The sample of an event.
    pub fn render(&self, event: &Event) -> Sample {
        let mut sample = Sample {
            texts: vec![None; self.schema.texts.len()],
            numbers: vec![None; self.schema.numbers.len()],
            categories: vec![None; self.schema.categories.len()],
            keys: vec![None; self.schema.keys.len()],
            mistyped: 0,
            time: None,
        };
        for (pointer, value) in &event.fields {
            let slots = self.slots.get(pointer.as_str()).map_or(&[][..], Vec::as_slice);
            for slot in slots {
                self.fill(&mut sample, *slot, value);
            }
        }
        sample
    }

    fn fill(&self, sample: &mut Sample, slot: Slot, value: &Value) {
        if *value == Value::Null {
            return;
        }
        match slot {
            Slot::Text(index) => sample.texts[index] = categories::written(value, self.text_max),
            Slot::Category(index) => sample.categories[index] = categories::written(value, self.text_max),
            Slot::Key(index) => sample.keys[index] = categories::written(value, self.text_max),
            Slot::Number(index) => {
                sample.numbers[index] = numbers::quantity(value);
                sample.mistyped += u32::from(sample.numbers[index].is_none());
            }
            Slot::Time => {
                sample.time = time::read(value);
                sample.mistyped += u32::from(sample.time.is_none());
            }
        }
    }
}

/// The schema that the settings name, or that the first events of a lane show. Of several times the first counts.
pub fn schema(settings: &Settings, first: &[Event]) -> Schema {
    if settings.fields.is_empty() {
        return of(&findings(settings, first));
    }
    let named = settings.fields.iter().map(|field| (field.pointer.as_str(), field.kind));
    listed(named.filter(|(pointer, _)| !is_ignored(settings, pointer)))
}

/// The time that a line of text begins with, if it does. For records to which nobody else gave one.
pub fn leading_time(record: &Record) -> Option<Time> {
    let payload = record.payload.as_deref()?;
    let text = payload[..payload.len().min(time::HEAD)].utf8_chunks().next()?.valid();
    time::leading(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Takes the fields out of an event that are never read. To be called before anything looks at the event: what a field
/// is taken for may depend on which others there are.
pub fn forget(settings: &Settings, event: &mut Event) {
    if !settings.ignore.is_empty() {
        event.fields.retain(|(pointer, _)| !is_ignored(settings, pointer));
    }
}

fn is_ignored(settings: &Settings, pointer: &str) -> bool {
    let inside = |rest: &str| rest.is_empty() || rest.starts_with('/');
    settings.ignore.iter().any(|ignored| pointer.strip_prefix(ignored.as_str()).is_some_and(inside))
}

/// What the first events of a lane show of each field, whatever the settings name.
pub fn findings(settings: &Settings, first: &[Event]) -> Vec<Finding> {
    infer::findings(&first[..first.len().min(settings.infer_events.max(1))])
}

/// The schema of what was found.
pub fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Schema {
    listed(findings.into_iter().map(|finding| (finding.pointer.as_str(), finding.kind)))
}

fn listed<'a>(kinds: impl IntoIterator<Item = (&'a str, Kind)>) -> Schema {
    let mut schema = Schema::default();
    for (pointer, kind) in kinds {
        let list = match kind {
            Kind::Text => &mut schema.texts,
            Kind::Number => &mut schema.numbers,
            Kind::Category => &mut schema.categories,
            Kind::Key => &mut schema.keys,
            Kind::Time => {
                schema.time.get_or_insert_with(|| pointer.into());
                continue;
            }
            Kind::Ignore => continue,
        };
        if !list.iter().any(|known| **known == *pointer) {
            list.push(pointer.into());
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(fields: &[(&str, Kind)]) -> Settings {
        let fields =
            fields.iter().map(|(pointer, kind)| Field { pointer: (*pointer).to_owned(), kind: *kind });
        Settings { fields: fields.collect(), ignore: Vec::new(), infer_events: 100, text_max: 8 }
    }

    fn render(fields: &[(&str, Kind)], event: &[(&str, Value)]) -> Sample {
        let settings = settings(fields);
        let event = Event { fields: event.iter().map(|(p, v)| ((*p).to_owned(), v.clone())).collect() };
        Renderer::new(&settings, Arc::new(schema(&settings, &[]))).render(&event)
    }

    fn text(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    #[test]
    fn named_fields_are_the_schema_in_their_order_and_nothing_else_is_read() {
        let named = [
            ("/b", Kind::Number),
            ("/t", Kind::Text),
            ("/a", Kind::Number),
            ("/a", Kind::Number),
            ("/a", Kind::Key),
            ("/no", Kind::Ignore),
            ("/when", Kind::Time),
            ("/then", Kind::Time),
            ("/c", Kind::Category),
        ];
        let schema = schema(&settings(&named), &[Event { fields: vec![("/z".to_owned(), text("z"))] }]);
        assert_eq!(schema.numbers, [Arc::from("/b"), Arc::from("/a")]);
        assert_eq!((schema.texts, schema.categories), (vec!["/t".into()], vec!["/c".into()]));
        assert_eq!((schema.keys, schema.time), (vec!["/a".into()], Some("/when".into())));
    }

    #[test]
    fn numbers_come_from_numbers_and_from_texts_that_are_finite_ones() {
        let read = |value: Value| {
            let sample = render(&[("/n", Kind::Number)], &[("/n", value)]);
            (sample.numbers[0], sample.mistyped)
        };
        assert_eq!(read(Value::Integer(-3)), (Some(-3.0), 0));
        assert_eq!(read(Value::Number(0.5)), (Some(0.5), 0));
        assert_eq!(read(text(" 1.5e3 ")), (Some(1_500.0), 0));
        for odd in [text("inf"), text("NaN"), text("1e999"), text("fast"), text(""), Value::Bool(true)] {
            assert_eq!(read(odd), (None, 1));
        }
        assert_eq!(read(Value::Null), (None, 0));
        assert_eq!(render(&[("/n", Kind::Number)], &[("/m", Value::Integer(1))]).numbers, [None]);
    }

    #[test]
    fn categories_and_keys_are_exact_texts_of_any_scalar() {
        for (value, expected) in [
            (Value::Integer(i64::MAX), "9223372036854775807"),
            (Value::Integer(i64::MIN), "-9223372036854775808"),
            (Value::Number(0.1), "0.1"),
            (Value::Number(2.0), "2"),
            (Value::Number(1e300), "1e300"),
            (Value::Bool(false), "false"),
            (text(" A "), " A "),
        ] {
            let settings =
                Settings { text_max: 40, ..settings(&[("/c", Kind::Category), ("/c", Kind::Key)]) };
            let event = Event { fields: vec![("/c".to_owned(), value)] };
            let sample = Renderer::new(&settings, Arc::new(schema(&settings, &[]))).render(&event);
            assert_eq!(sample.categories, [Some(Arc::from(expected))]);
            assert_eq!((sample.keys, sample.mistyped), (sample.categories, 0));
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let read = |value: Value| render(&[("/t", Kind::Text)], &[("/t", value)]).texts[0].clone();
        assert_eq!(read(text("12345678")).as_deref(), Some("12345678"));
        assert_eq!(read(text("1234567é9")).as_deref(), Some("1234567"));
        assert_eq!(read(text("12345🦀")).as_deref(), Some("12345"));
        assert_eq!(read(Value::Integer(42)).as_deref(), Some("42"));
        assert_eq!(read(Value::Null), None);
    }

    #[test]
    fn the_time_of_an_event_is_read_or_counted_as_mistyped() {
        let read = |value: Value| {
            let sample = render(&[("/w", Kind::Time)], &[("/w", value)]);
            (sample.time, sample.mistyped)
        };
        assert_eq!(read(text("17/May/2015:10:05:03 +0000")), (Some(Time(1_431_857_103_000)), 0));
        assert_eq!(read(Value::Integer(1_431_857_103)), (Some(Time(1_431_857_103_000)), 0));
        assert_eq!(read(text("yesterday")), (None, 1));
        assert_eq!(read(Value::Bool(true)), (None, 1));
        assert_eq!(read(Value::Null), (None, 0));
    }

    #[test]
    fn what_is_ignored_is_read_neither_by_name_nor_from_an_event() {
        let named = [("/a", Kind::Number), ("/label", Kind::Number), ("/label/deep", Kind::Text)];
        let settings = Settings { ignore: vec!["/label".to_owned()], ..settings(&named) };
        let read = schema(&settings, &[]);
        assert_eq!((read.numbers, read.texts.len()), (vec!["/a".into()], 0));
        let names = ["/a", "/label", "/label/deep", "/labels", "/deep/label"];
        let fields = names.iter().map(|name| ((*name).to_owned(), Value::Bool(true)));
        let mut event = Event { fields: fields.collect() };
        forget(&settings, &mut event);
        let left: Vec<&str> = event.fields.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(left, ["/a", "/labels", "/deep/label"]);
    }

    #[test]
    fn only_the_first_events_are_looked_at() {
        let event =
            |name: &str, n: i64| Event { fields: vec![(name.to_owned(), Value::Number(n as f64 + 0.5))] };
        let events: Vec<_> =
            (0..200).map(|n| event(if n < 100 { "/a" } else { "/b" }, n * 7 % 101)).collect();
        assert_eq!(schema(&settings(&[]), &events).numbers, [Arc::from("/a")]);
    }
}
