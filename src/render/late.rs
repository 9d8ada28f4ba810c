//! Fields that a schema does not read, watched over a stretch of a lane's events: what has appeared late.
//!
//! A deploy adds a field, and a schema that was settled once would never read it. So a stretch of events is looked at
//! now and then by the very inference that the first events went through, but only at what is new. What was looked at and
//! refused is remembered by a hash, not to be looked at again: except what was rare, which may just be on its way in.
//!
//! Which events are watched is for the caller to say. It must never keep more than a bound of bytes, whatever comes:
//! names may be data themselves.

use super::{Finding, Kind, Renderer, Settings, Why, infer};
use crate::flow::{Event, Schema, Value};

/// What is new in a stretch of events.
#[derive(Debug, Default)]
pub struct Watch {
    /// The events, each with its new fields alone.
    events: Vec<Event>,
    bytes: usize,
    /// Some field holds numbers that are not strings.
    typed: bool,
}

/// Bytes of new fields that are kept at most, and one event more; as of the first events of a lane.
const BYTES_MAX: usize = 1 << 20;
/// What a field takes beside its characters.
const FIELD_BYTES: usize = 64;

impl Watch {
    /// Looks at the next event: for fields that are neither read nor among those passed over.
    pub fn see(&mut self, event: &Event, renderer: &Renderer, passed: &[u32]) {
        let mut new = Event::default();
        for (pointer, value) in &event.fields {
            self.typed |= matches!(value, Value::Integer(_) | Value::Number(_));
            if *value == Value::Null || renderer.reads(pointer) || self.bytes >= BYTES_MAX {
                continue;
            }
            if !passed.contains(&mark(pointer)) {
                new.fields.push((pointer.clone(), value.clone()));
            }
        }
        let text = |value: &Value| if let Value::Text(text) = value { text.len() } else { 0 };
        let size = |(pointer, value): &(String, Value)| FIELD_BYTES + pointer.len() + text(value);
        self.bytes += new.fields.iter().map(size).sum::<usize>();
        self.events.push(new);
    }

    /// What the new fields are, in the order in which they first appeared, for a schema that has room for so many. A time
    /// is none: what gave an event its place in time so far goes on doing so.
    pub fn findings(&self, settings: &Settings, room: usize) -> Vec<Finding> {
        infer::late(&self.events, settings.infer_events, self.typed, room)
    }
}

/// Fields that may still join a schema.
pub fn room(schema: &Schema) -> usize {
    infer::FIELDS_MAX.saturating_sub(schema.len())
}

/// The mark of a field that was found not worth reading; none of one that is read or may be looked at again.
pub fn refused(finding: &Finding) -> Option<u32> {
    let open = matches!(finding.why, Why::Rare | Why::Crowded);
    (finding.kind == Kind::Ignore && !open).then(|| mark(&finding.pointer))
}

/// A hash of a pointer, the same on every machine (FNV-1a of 32 bits: Fowler, Noll and Vo). Of a hundred pointers passed
/// over, one in 40 million new ones would be taken for one of them and not be read.
fn mark(pointer: &str) -> u32 {
    pointer.bytes().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn settings() -> Settings {
        Settings { fields: Vec::new(), ignore: Vec::new(), infer_events: 1_000, text_max: 100 }
    }

    /// What is found in so many events beside `/known`, a number or a text, with room for so many fields.
    fn found(
        count: i64,
        known: &Value,
        room: usize,
        passed: &[u32],
        late: impl Fn(i64) -> Vec<(String, Value)>,
    ) -> Vec<Finding> {
        let schema = Schema { numbers: vec!["/known".into()], ..Schema::default() };
        let renderer = Renderer::new(&settings(), Arc::new(schema));
        let mut watch = Watch::default();
        for event in 0..count {
            let mut fields = late(event);
            fields.push(("/known".to_owned(), known.clone()));
            watch.see(&Event { fields }, &renderer, passed);
        }
        watch.findings(&settings(), room)
    }

    fn field(name: &str, value: Value) -> (String, Value) {
        (name.to_owned(), value)
    }

    fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    const NUMBER: Value = Value::Integer(3);

    #[test]
    fn late_fields_are_what_they_would_have_been_had_they_come_first() {
        let late = |event: i64| {
            let scattered = event.wrapping_mul(7_919) % 997;
            vec![
                field("/number", Value::Number(scattered as f64 + 0.5)),
                field("/error/code", text(["E1", "E2"][usize::from(event % 3 == 0)])),
                field("/note", text(format!("job {scattered} was done in time"))),
                field("/who", text(format!("c{}", scattered % 200))),
                field("/counter", Value::Integer(event)),
                field("/id", text(format!("{:016x}f1", scattered * 1_000_003 + event))),
                field("/at", Value::Integer(1_700_000_000 + event)),
                field("/always", Value::Bool(true)),
                field("/nothing", Value::Null),
            ]
        };
        let kinds = |findings: &[Finding]| {
            findings.iter().map(|finding| (finding.pointer.clone(), finding.kind)).collect::<Vec<_>>()
        };
        let findings = found(1_000, &NUMBER, 100, &[], late);
        let events: Vec<_> = (0..1_000).map(|event| Event { fields: late(event) }).collect();
        let mut first = kinds(&super::super::findings(&settings(), &events));
        // Only that no time joins.
        assert_eq!(first[6], ("/at".to_owned(), Kind::Time));
        first[6].1 = Kind::Ignore;
        assert_eq!(kinds(&findings), first);
        assert_eq!(first.iter().filter(|(_, kind)| *kind != Kind::Ignore).count(), 5);
        assert_eq!(findings.iter().filter_map(refused).count(), 3, "a counter, an identifier, a time");
        // What was passed over is not looked at any more.
        let passed: Vec<_> = findings.iter().filter_map(refused).collect();
        assert_eq!(found(1_000, &NUMBER, 100, &passed, late).len(), 5);
        assert_eq!(
            kinds(&found(1_000, &NUMBER, 2, &[], late))
                .iter()
                .filter(|(_, kind)| *kind != Kind::Ignore)
                .count(),
            2
        );
    }

    #[test]
    fn a_field_has_to_be_in_as_many_events_as_at_first_however_few_are_watched() {
        for (events, kind) in [(19, Kind::Ignore), (20, Kind::Category)] {
            let findings = found(events, &NUMBER, 9, &[], |event| {
                vec![field("/c", text(["a", "b"][usize::from(event % 2 == 0)]))]
            });
            assert_eq!(findings[0].kind, kind);
            assert_eq!(refused(&findings[0]), None, "rare: it may be on its way in");
        }
    }

    #[test]
    fn strings_of_digits_are_judged_beside_the_numbers_that_others_are() {
        let digits = |event: i64| vec![field("/d", text((1 + event.wrapping_mul(7_919) % 997).to_string()))];
        let kind = |known: Value| found(1_000, &known, 9, &[], digits)[0].kind;
        assert_eq!((kind(NUMBER), kind(text("3"))), (Kind::Key, Kind::Key));
        let skewed = |event: i64| {
            let even = (1 + event.wrapping_mul(7_919) % 997) as f64 / 998.0;
            vec![field("/d", text(format!("{:.0}", 9_000.0 * even.powf(1.5))))]
        };
        let kind = |known: Value| found(1_000, &known, 9, &[], skewed)[0].kind;
        assert_ne!(
            kind(NUMBER),
            kind(text("3")),
            "where numbers are written as such, strings are no numbers"
        );
    }

    #[test]
    fn names_that_are_data_take_a_bounded_room() {
        let schema = Arc::new(Schema::default());
        let renderer = Renderer::new(&settings(), schema);
        let mut watch = Watch::default();
        for event in 0..1_000 {
            let fields = (0..1_000).map(|at| field(&format!("/by/u{event}x{at}"), text("x".repeat(50))));
            watch.see(&Event { fields: fields.collect() }, &renderer, &[]);
        }
        let kept: usize = watch.events.iter().map(|event| event.fields.len()).sum();
        assert!(watch.bytes < 2 * BYTES_MAX && kept < 20_000, "{} {kept}", watch.bytes);
        let findings = watch.findings(&settings(), 128);
        assert!(findings.len() <= 4_096 && findings.iter().all(|finding| finding.why == Why::Rare));
    }
}
