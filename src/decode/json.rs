//! A JSON object: its scalars by their pointers (RFC 6901).
//!
//! The parser writes straight into the list of fields. A tree in between would cost more than the parsing, and
//! 48 MB of `[]` would take 583 MB of it. The parser must never see nesting that was not measured before.

use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Settings, reject};
use crate::flow::{Event, Fault, Rejection, Value};

/// The parser gives up at 128 levels, so that it cannot run out of stack.
const PARSER_DEPTH_MAX: usize = 127;

/// Names are written out once for each scalar beneath them: a long name over many scalars multiplies. All pointers
/// of an event together may take so many times the largest payload.
const POINTERS_PER_PAYLOAD: usize = 4;

/// Reads one object and nothing after it.
pub(super) fn read(settings: &Settings, content: &str) -> Result<Event, Rejection> {
    let depth_max = settings.depth_max.min(PARSER_DEPTH_MAX);
    if too_deep(content.as_bytes(), depth_max) {
        return Err(reject(Fault::TooDeep, format!("nested deeper than the {depth_max} levels allowed")));
    }
    let mut fields = Fields {
        event: Vec::with_capacity(16),
        path: String::with_capacity(64),
        names: Vec::with_capacity(16),
        entries: 0,
        entries_max: settings.fields_max,
        pointer_bytes: 0,
        pointer_bytes_max: settings.size_max.saturating_mul(POINTERS_PER_PAYLOAD),
        fault: Fault::Malformed,
    };
    let mut parser = serde_json::Deserializer::from_str(content);
    let root = Node { fields: &mut fields, root: true };
    let outcome = root.deserialize(&mut parser).and_then(|()| parser.end());
    if let Err(error) = outcome {
        return Err(reject(fields.fault, error.to_string()));
    }
    if fields.event.is_empty() {
        return Err(reject(Fault::NoFields, "an object without a single value".to_owned()));
    }
    Ok(Event { fields: fields.event })
}

/// Whether brackets outside strings nest deeper than allowed.
fn too_deep(bytes: &[u8], depth_max: usize) -> bool {
    // Setting one bit makes `[` of `{`. Where there are few opening brackets in all, there is no need to tell
    // which of them stand within strings; counting them is far cheaper.
    let opening = bytes.iter().filter(|byte| **byte | 0x20 == b'{').count();
    if opening <= depth_max {
        return false;
    }
    let (mut depth, mut within_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        if within_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => within_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => within_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// What was read so far, and where the parser stands.
struct Fields {
    event: Vec<(String, Value)>,
    /// Pointer of the place the parser stands at.
    path: String,
    /// Fingerprints of the names seen in the objects that are open, outermost first.
    names: Vec<u64>,
    entries: usize,
    entries_max: usize,
    pointer_bytes: usize,
    pointer_bytes_max: usize,
    /// What an error now would mean.
    fault: Fault,
}

impl Fields {
    fn enter<E: Error>(&mut self) -> Result<(), E> {
        self.entries += 1;
        if self.entries > self.entries_max {
            self.fault = Fault::TooLarge;
            return Err(E::custom(format_args!("more than the {} fields allowed", self.entries_max)));
        }
        Ok(())
    }

    fn push<E: Error>(&mut self, value: Value) -> Result<(), E> {
        self.pointer_bytes += self.path.len();
        if self.pointer_bytes > self.pointer_bytes_max {
            self.fault = Fault::TooLarge;
            return Err(E::custom(format_args!("names take more than {} bytes", self.pointer_bytes_max)));
        }
        self.event.push((self.path.clone(), value));
        Ok(())
    }

    /// Drops what an earlier entry of the same name left, in the object whose names and fields start there.
    fn supersede(&mut self, name: u64, names_from: usize, fields_from: usize) {
        let seen = self.names.get(names_from..).is_some_and(|names| names.contains(&name));
        self.names.push(name);
        if seen {
            let (path, mut at) = (&self.path, 0);
            self.event.retain(|(pointer, _)| {
                at += 1;
                let beneath = pointer.strip_prefix(path.as_str());
                at <= fields_from || !beneath.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
        }
    }
}

/// Mixes eight bytes at a time. Names that collide only cost a comparison.
fn fingerprint(name: &str) -> u64 {
    let mut mixed = name.len() as u64;
    for chunk in name.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mixed = (mixed.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    mixed
}

/// The value at the path.
struct Node<'a> {
    fields: &'a mut Fields,
    root: bool,
}

impl Node<'_> {
    fn scalar<E: Error>(mut self, value: Value) -> Result<(), E> {
        self.refuse_root()?;
        self.fields.push(value)
    }

    fn refuse_root<E: Error>(&mut self) -> Result<(), E> {
        if self.root {
            self.fields.fault = Fault::NotAnObject;
            return Err(E::custom("not an object"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(Value::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(i64::try_from(value).map_or(Value::Number(value as f64), Value::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if !value.is_finite() {
            return Err(E::custom("number out of range"));
        }
        // Minus zero plus zero is zero: two zeros would be two categories.
        self.scalar(Value::Number(value + 0.0))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        self.refuse_root()?;
        let fields = self.fields;
        let stem = fields.path.len();
        for index in 0_usize.. {
            write!(fields.path, "/{index}").map_err(A::Error::custom)?;
            if elements.next_element_seed(Element(fields))?.is_none() {
                break;
            }
            fields.path.truncate(stem);
        }
        fields.path.truncate(stem);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let fields = self.fields;
        let (stem, names_from, fields_from) = (fields.path.len(), fields.names.len(), fields.event.len());
        while let Some(name) = entries.next_key_seed(Name(&mut fields.path))? {
            fields.enter()?;
            fields.supersede(name, names_from, fields_from);
            entries.next_value_seed(Node { fields: &mut *fields, root: false })?;
            fields.path.truncate(stem);
        }
        fields.names.truncate(names_from);
        Ok(())
    }
}

/// An element of an array: counted, then read as any value.
struct Element<'a>(&'a mut Fields);

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        self.0.enter()?;
        Node { fields: self.0, root: false }.deserialize(parser)
    }
}

/// A name: appended to the path; gives its fingerprint.
struct Name<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<u64, D::Error> {
        parser.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<u64, E> {
        self.0.push('/');
        if name.bytes().any(|byte| byte == b'~' || byte == b'/') {
            for letter in name.chars() {
                match letter {
                    '~' => self.0.push_str("~0"),
                    '/' => self.0.push_str("~1"),
                    _ => self.0.push(letter),
                }
            }
        } else {
            self.0.push_str(name);
        }
        Ok(fingerprint(name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;

    const LIMITS: Settings =
        Settings { format: Format::Json, size_max: 100_000, depth_max: 4, fields_max: 20 };

    fn fault(content: &str) -> Fault {
        read(&LIMITS, content).expect_err(content).fault
    }

    fn fields(content: &str) -> Vec<(String, Value)> {
        read(&LIMITS, content).expect(content).fields
    }

    fn names(content: &str) -> Vec<String> {
        fields(content).into_iter().map(|(pointer, _)| pointer).collect()
    }

    #[test]
    fn scalars_keep_their_type_and_order() {
        let read = fields(r#"{"b":true,"n":null,"i":-7,"f":2.5,"t":"a\"b\u00e9"}"#);
        let expected = [
            ("/b", Value::Bool(true)),
            ("/n", Value::Null),
            ("/i", Value::Integer(-7)),
            ("/f", Value::Number(2.5)),
            ("/t", Value::Text("a\"bé".to_owned())),
        ];
        assert_eq!(read, expected.map(|(pointer, value)| (pointer.to_owned(), value)));
    }

    #[test]
    fn integers_are_exact_to_64_bits_and_numbers_beyond() {
        let read = fields(
            r#"{"a":9223372036854775807,"b":-9223372036854775808,"c":18446744073709551615,"d":1e300,"e":-0.0}"#,
        );
        let values: Vec<_> = read.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values[..2], [Value::Integer(i64::MAX), Value::Integer(i64::MIN)]);
        assert_eq!(values[2..4], [Value::Number(18_446_744_073_709_551_615.0), Value::Number(1e300)]);
        assert!(matches!(values[4], Value::Number(zero) if zero.is_sign_positive()));
    }

    #[test]
    fn nested_values_lie_at_pointers() {
        assert_eq!(
            names(r#"{"a":{"b":{"c":1}},"l":[1,"x",{"y":2},[3]],"":5}"#),
            ["/a/b/c", "/l/0", "/l/1", "/l/2/y", "/l/3/0", "/"]
        );
        assert_eq!(names(r#"{"a/b":1,"m~n":2,"~1":{"/":3}}"#), ["/a~1b", "/m~0n", "/~01/~1"]);
    }

    #[test]
    fn a_repeated_name_keeps_all_of_its_last_value_and_nothing_of_the_first() {
        assert_eq!(fields(r#"{"a":1,"b":2,"a":3}"#)[1], ("/a".to_owned(), Value::Integer(3)));
        assert_eq!(names(r#"{"a":1,"b":2,"a":3}"#), ["/b", "/a"]);
        assert_eq!(names(r#"{"a":{"x":1,"y":2},"ab":1,"a":{"y":3}}"#), ["/ab", "/a/y"]);
        assert_eq!(names(r#"{"a":{"x":1},"a":2}"#), ["/a"]);
        assert_eq!(names(r#"{"a":1,"a":{"x":2}}"#), ["/a/x"]);
        assert_eq!(names(r#"{"p":{"a":1},"q":{"a":1},"a":1}"#), ["/p/a", "/q/a", "/a"]);
        assert_eq!(names(r#"{"l":[{"a":1,"a":2},{"a":3}]}"#), ["/l/0/a", "/l/1/a"]);
    }

    #[test]
    fn what_is_not_an_object_or_holds_nothing_is_told_apart_from_what_is_broken() {
        for content in ["[1]", "12", "\"a\"", "true", "null", "-1.5", "18446744073709551615"] {
            assert_eq!(fault(content), Fault::NotAnObject, "{content}");
        }
        for content in ["{}", " { } ", r#"{"a":{}}"#, r#"{"a":[[],{}]}"#] {
            assert_eq!(fault(content), Fault::NoFields, "{content}");
        }
        for content in
            ["{", "{\"a\"}", "{\"a\":1}x", "{\"a\":1}{\"a\":2}", "nonsense", "{\"a\":01}", "{'a':1}"]
        {
            assert_eq!(fault(content), Fault::Malformed, "{content}");
        }
        let rejection = read(&LIMITS, "{\"a\":1,\n\"b\":?}").expect_err("broken");
        assert!(rejection.message.contains("line 2 column 5"), "{}", rejection.message);
    }

    #[test]
    fn numbers_that_are_none_are_malformed() {
        for number in ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "0x10", "1.", "+1"] {
            assert_eq!(fault(&format!("{{\"a\":{number}}}")), Fault::Malformed, "{number}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        assert_eq!(names(r#"{"a":[[[1]]]}"#), ["/a/0/0/0"]);
        assert_eq!(fault(r#"{"a":[[[[1]]]]}"#), Fault::TooDeep);
        assert_eq!(names(r#"{"a":"[[[[[[","b":"\"[[{{{{\\","c":"{[{["}"#), ["/a", "/b", "/c"]);
        assert_eq!(fault(r#"{"a":"\\","b":[[[[1]]]]}"#), Fault::TooDeep);
        let wide = Settings { depth_max: usize::MAX, fields_max: 200, ..LIMITS };
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(126), "]".repeat(126));
        assert!(read(&wide, &deep).is_ok());
        let deeper = format!("{{\"a\":{}1{}}}", "[".repeat(127), "]".repeat(127));
        assert_eq!(read(&wide, &deeper).expect_err("deep").fault, Fault::TooDeep);
    }

    #[test]
    fn fields_are_counted_as_they_come_empty_and_repeated_ones_too() {
        let list = |element: &str, count: usize| format!("{{\"a\":[{}]}}", vec![element; count].join(","));
        assert_eq!(fields(&list("1", 19)).len(), 19);
        assert_eq!(fault(&list("1", 20)), Fault::TooLarge);
        assert_eq!(fault(&list("{}", 20)), Fault::TooLarge);
        assert_eq!(fault(&format!("{{{}}}", vec!["\"a\":1"; 21].join(","))), Fault::TooLarge);
        // Counted while parsing: the end of the text is never reached.
        assert_eq!(fault(&format!("{{{},", vec!["\"a\":1"; 21].join(","))), Fault::TooLarge);
    }

    #[test]
    fn a_long_name_over_many_values_does_not_multiply() {
        let narrow = Settings { size_max: 1_000, ..LIMITS };
        let content = format!("{{\"{}\":[1,2,3,4,5,6,7,8,9]}}", "n".repeat(900));
        assert_eq!(read(&narrow, &content).expect_err("long").fault, Fault::TooLarge);
        assert_eq!(fields(&content).len(), 9);
    }
}
