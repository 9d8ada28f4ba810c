//! Turns bytes into an event.
//!
//! Anyone may write to a topic, so every limit is checked before the work it bounds: size before a byte is looked
//! at, nesting before parsing, the number of fields and the room their names take while parsing. What cannot be
//! read is a [`Rejection`], a value that the stream carries on to the dead letters; it must never be a panic, and
//! must never cost more memory than a small multiple of the payload.

mod json;
mod text;

use crate::flow::{Event, Fault, Record, Rejection};

/// How the bytes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// JSON when the first byte that is not white space is `{`, text otherwise.
    #[default]
    Auto,
    /// One JSON object a record.
    Json,
    /// One line of text a record; the event has a single field `/message`.
    Text,
}

/// What the decoder needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How the bytes are written.
    pub format: Format,
    /// Largest payload, in bytes; checked before parsing.
    pub size_max: usize,
    /// Deepest nesting of objects and arrays, the outermost object included; checked before parsing. The parser
    /// itself goes no deeper than 127.
    pub depth_max: usize,
    /// Most fields an event may have; checked while parsing. Every name and every element of an array counts,
    /// repeated and empty ones too.
    pub fields_max: usize,
}

/// What a record turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// Something to judge.
    Event(Event),
    /// A deletion in a compacted topic: counted and skipped.
    Tombstone,
}

/// Reads a record. A byte order mark in front is skipped.
///
/// # Errors
/// A [`Rejection`] when the bytes cannot be read as the format says.
pub fn decode(settings: &Settings, record: &Record) -> Result<Decoded, Rejection> {
    let Some(payload) = record.payload.as_deref() else { return Ok(Decoded::Tombstone) };
    if payload.len() > settings.size_max {
        let message = format!("{} bytes, more than the {} allowed", payload.len(), settings.size_max);
        return Err(reject(Fault::TooLarge, message));
    }
    let payload = payload.strip_prefix(b"\xef\xbb\xbf").unwrap_or(payload);
    let Some(first) = payload.iter().find(|byte| !byte.is_ascii_whitespace()) else {
        return Err(reject(Fault::Empty, format!("nothing in {} bytes", payload.len())));
    };
    let content = std::str::from_utf8(payload)
        .map_err(|error| reject(Fault::NotUtf8, format!("not utf-8 from byte {} on", error.valid_up_to())))?;
    let event = match settings.format {
        Format::Json => json::read(settings, content),
        Format::Auto if *first == b'{' => json::read(settings, content),
        Format::Auto | Format::Text => text::read(content),
    };
    event.map(Decoded::Event)
}

fn reject(fault: Fault, message: String) -> Rejection {
    Rejection { fault, stage: "decode", message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Value;

    const LIMITS: Settings = Settings { format: Format::Auto, size_max: 1_000, depth_max: 8, fields_max: 20 };

    fn read(format: Format, payload: &[u8]) -> Result<Event, Fault> {
        let record = Record { payload: Some(payload.to_vec()), ..Record::default() };
        match decode(&Settings { format, ..LIMITS }, &record) {
            Ok(Decoded::Event(event)) => Ok(event),
            Ok(Decoded::Tombstone) => panic!("not a tombstone"),
            Err(rejection) => {
                assert_eq!(rejection.stage, "decode");
                Err(rejection.fault)
            }
        }
    }

    fn message(text: &str) -> Event {
        Event { fields: vec![("/message".to_owned(), Value::Text(text.to_owned()))] }
    }

    #[test]
    fn no_payload_is_a_tombstone() {
        assert_eq!(decode(&LIMITS, &Record::default()), Ok(Decoded::Tombstone));
    }

    #[test]
    fn size_is_looked_at_before_anything_else() {
        assert_eq!(read(Format::Auto, &[0xff; 1_001]), Err(Fault::TooLarge));
        assert_eq!(read(Format::Text, &[b' '; 1_001]), Err(Fault::TooLarge));
        assert!(read(Format::Text, &[b'a'; 1_000]).is_ok());
    }

    #[test]
    fn nothing_or_white_space_is_empty() {
        for format in [Format::Auto, Format::Json, Format::Text] {
            for payload in [&b""[..], b" \t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"] {
                assert_eq!(read(format, payload), Err(Fault::Empty), "{format:?} {payload:?}");
            }
        }
        assert_eq!(read(Format::Text, "\u{2003}\u{a0}".as_bytes()), Err(Fault::Empty));
    }

    #[test]
    fn auto_takes_an_object_for_json_and_all_else_for_text() {
        let object = Event { fields: vec![("/a".to_owned(), Value::Integer(1))] };
        assert_eq!(read(Format::Auto, b" \n{\"a\":1}"), Ok(object.clone()));
        assert_eq!(read(Format::Auto, b"\xef\xbb\xbf{\"a\":1}"), Ok(object));
        assert_eq!(read(Format::Auto, b"[main] started"), Ok(message("[main] started")));
        assert_eq!(read(Format::Auto, b"12 dropped"), Ok(message("12 dropped")));
        assert_eq!(read(Format::Text, b"{\"a\":1}"), Ok(message("{\"a\":1}")));
        assert_eq!(read(Format::Auto, b"{a}"), Err(Fault::Malformed));
    }

    #[test]
    fn a_line_loses_its_end_and_nothing_else() {
        assert_eq!(read(Format::Auto, b"  disk full \r\n"), Ok(message("  disk full ")));
        assert_eq!(read(Format::Text, b"one\ntwo\n\n"), Ok(message("one\ntwo")));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_with_their_place() {
        assert_eq!(read(Format::Auto, b"caf\xe9"), Err(Fault::NotUtf8));
        let record = Record { payload: Some(b"{\"a\":\"\xff\"}".to_vec()), ..Record::default() };
        let rejection = decode(&LIMITS, &record).expect_err("not utf-8");
        assert_eq!((rejection.fault, rejection.message.contains("byte 6")), (Fault::NotUtf8, true));
    }
}
