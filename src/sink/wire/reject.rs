//! A dead letter's wire form: the record as it came, with the header names of Kafka Connect, so that the tools which
//! read Connect's dead letters read these. Standard output and files get one JSON object a line.
//!
//! The record must stay what it was: key, payload, headers and time are kept, and where the size leaves no room it
//! says what was cut.

use serde::Serialize;

use super::{base64, cut, stamp};
use crate::flow::{Origin, Record, Rejection};
use crate::sink::Provenance;

/// Header that holds the payload's length before it was cut.
pub const TRUNCATED: &str = "outlierd.truncated";

/// Header that holds the number of the record's own headers that were left out.
pub const HEADERS_DROPPED: &str = "outlierd.headers.dropped";

/// Header that holds the key's length before it was cut.
pub const KEY_TRUNCATED: &str = "outlierd.key.truncated";

/// Header that holds the record's time where the broker did not take it as the message's own.
pub const TIMESTAMP: &str = "outlierd.timestamp";

/// Bytes a header takes beside its name and value.
const HEADER_COST: usize = 16;

/// Bytes of the error message that are kept.
const MESSAGE_MAX: usize = 4_096;

/// Bytes of a payload that a line keeps.
const LINE_PAYLOAD_MAX: usize = 1 << 20;

/// A dead letter as a message: what a broker is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter<'a> {
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's payload, or as much of it as there is room for.
    pub payload: Option<&'a [u8]>,
    /// The record's headers, then Connect's, then what was cut.
    pub headers: Vec<(&'a str, Option<Vec<u8>>)>,
    /// The record's time in milliseconds, where it has one.
    pub timestamp: Option<i64>,
}

/// The record as a Kafka message of about `max` bytes at most, key and headers included. `task` is the shard.
pub fn dead_letter<'a>(
    record: &'a Record,
    origin: &Origin,
    rejection: &Rejection,
    provenance: &Provenance,
    task: usize,
    max: usize,
) -> DeadLetter<'a> {
    let connect = connect(origin, rejection, provenance, task);
    let room = max.saturating_sub(connect.iter().map(|header| cost(header.0, header.1.as_deref())).sum());
    let (key, payload) = (record.key.as_deref(), record.payload.as_deref());
    let own: usize = record.headers.iter().map(|(name, value)| cost(name, value.as_deref())).sum();
    let key_length = key.map_or(0, <[u8]>::len);
    // What is left out first is the payload's end, then the record's headers, then the key's end.
    let keeps_headers = own + key_length <= room;
    let key = key.map(|key| &key[..key_length.min(room)]);
    let taken = key.map_or(0, <[u8]>::len) + if keeps_headers { own } else { 0 };
    let kept = payload.map(|payload| &payload[..payload.len().min(room.saturating_sub(taken))]);

    let mut headers = Vec::with_capacity(record.headers.len() + connect.len() + 3);
    if keeps_headers {
        headers.extend(record.headers.iter().map(|(name, value)| (name.as_str(), value.clone())));
    }
    headers.extend(connect);
    let mut note = |name, number: usize| headers.push((name, Some(number.to_string().into_bytes())));
    let length = payload.map_or(0, <[u8]>::len);
    if kept.map_or(0, <[u8]>::len) < length {
        note(TRUNCATED, length);
    }
    if !keeps_headers && !record.headers.is_empty() {
        note(HEADERS_DROPPED, record.headers.len());
    }
    if key.map_or(0, <[u8]>::len) < key_length {
        note(KEY_TRUNCATED, key_length);
    }
    DeadLetter { key, payload: kept, headers, timestamp: Some(origin.time.0).filter(|time| *time > 0) }
}

/// Connect's headers, in its order. There is no stack trace: the header is there, without a value.
fn connect(
    origin: &Origin,
    rejection: &Rejection,
    provenance: &Provenance,
    task: usize,
) -> [(&'static str, Option<Vec<u8>>); 10] {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    [
        ("__connect.errors.topic", text(&origin.lane.topic)),
        ("__connect.errors.partition", text(&origin.lane.partition.to_string())),
        ("__connect.errors.offset", text(&origin.offset.to_string())),
        ("__connect.errors.connector.name", text(cut(&provenance.service, MESSAGE_MAX))),
        ("__connect.errors.task.id", text(&task.to_string())),
        ("__connect.errors.stage", text(rejection.stage)),
        ("__connect.errors.class.name", text(&format!("outlierd.{}", rejection.stage))),
        ("__connect.errors.exception.class.name", text(rejection.fault.name())),
        ("__connect.errors.exception.message", text(cut(&rejection.message, MESSAGE_MAX))),
        ("__connect.errors.exception.stacktrace", None),
    ]
}

fn cost(name: &str, value: Option<&[u8]>) -> usize {
    HEADER_COST + name.len() + value.map_or(0, <[u8]>::len)
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "@timestamp", skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    fault: &'static str,
    stage: &'static str,
    message: &'a str,
    topic: &'a str,
    partition: i32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<usize>,
    headers: Vec<HeaderPart<'a>>,
}

#[derive(Serialize)]
struct HeaderPart<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// The record as one line of JSON with a line feed. Bytes that are not UTF-8 stand in base64 under a name that says
/// so; a payload over a mebibyte is cut, and `truncated` is its length before.
pub fn line(record: &Record, origin: &Origin, rejection: &Rejection) -> Vec<u8> {
    let (key, key_base64) = text_or_base64(record.key.as_deref(), usize::MAX);
    let (payload, payload_base64) = text_or_base64(record.payload.as_deref(), LINE_PAYLOAD_MAX);
    let length = record.payload.as_ref().map_or(0, Vec::len);
    let headers = record.headers.iter().map(|(name, value)| {
        let (value, value_base64) = text_or_base64(value.as_deref(), usize::MAX);
        HeaderPart { name, value, value_base64 }
    });
    let line = Line {
        timestamp: stamp(origin.time),
        fault: rejection.fault.name(),
        stage: rejection.stage,
        message: &rejection.message,
        topic: &origin.lane.topic,
        partition: origin.lane.partition,
        offset: origin.offset,
        key,
        key_base64,
        payload,
        payload_base64,
        truncated: Some(length).filter(|length| *length > LINE_PAYLOAD_MAX),
        headers: headers.collect(),
    };
    // Texts, numbers and lists of them: nothing in a line can fail to be JSON.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn text_or_base64(bytes: Option<&[u8]>, max: usize) -> (Option<&str>, Option<String>) {
    let Some(bytes) = bytes else { return (None, None) };
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(cut(text, max)), None),
        Err(_) => (None, Some(base64(&bytes[..bytes.len().min(max)]))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::alert::tests::provenance;
    use super::*;
    use crate::flow::{Fault, Lane, Time};

    fn example() -> (Record, Origin, Rejection) {
        let record = Record {
            key: Some(b"k".to_vec()),
            payload: Some(b"\xff{".to_vec()),
            headers: vec![("trace".into(), Some(b"t1".to_vec())), ("empty".into(), None)],
        };
        let origin = Origin {
            lane: Lane { topic: "logs".into(), partition: 2 },
            offset: 9,
            time: Time(1_709_210_096_789),
        };
        let message = "byte 0 is not UTF-8".into();
        (record, origin, Rejection { fault: Fault::NotUtf8, stage: "decode", message })
    }

    #[test]
    fn headers_are_connects_after_the_records_own() {
        let (record, origin, rejection) = example();
        let letter = dead_letter(&record, &origin, &rejection, &provenance(), 1, 900_000);
        let header = |name, value: &str| (name, Some(value.as_bytes().to_vec()));
        assert_eq!(
            letter.headers,
            vec![
                header("trace", "t1"),
                ("empty", None),
                header("__connect.errors.topic", "logs"),
                header("__connect.errors.partition", "2"),
                header("__connect.errors.offset", "9"),
                header("__connect.errors.connector.name", "demo"),
                header("__connect.errors.task.id", "1"),
                header("__connect.errors.stage", "decode"),
                header("__connect.errors.class.name", "outlierd.decode"),
                header("__connect.errors.exception.class.name", "not_utf8"),
                header("__connect.errors.exception.message", "byte 0 is not UTF-8"),
                ("__connect.errors.exception.stacktrace", None),
            ]
        );
        assert_eq!((letter.key, letter.payload), (Some(&b"k"[..]), Some(&b"\xff{"[..])));
        assert_eq!(letter.timestamp, Some(1_709_210_096_789));
    }

    #[test]
    fn what_does_not_fit_is_cut_and_said() {
        let (mut record, origin, rejection) = example();
        record.payload = Some(vec![7; 2_000_000]);
        let at = |record: &Record, max: usize| {
            let letter = dead_letter(record, &origin, &rejection, &provenance(), 0, max);
            let notes = letter.headers.iter().filter(|header| header.0.starts_with("outlierd.")).cloned();
            let bytes: usize = letter.headers.iter().map(|(name, value)| cost(name, value.as_deref())).sum();
            let size = bytes + letter.key.map_or(0, <[u8]>::len) + letter.payload.map_or(0, <[u8]>::len);
            assert!(size <= max + 150, "{size} > {max}");
            notes.map(|(name, value)| (name.to_owned(), value)).collect::<Vec<_>>()
        };
        let note = |name: &str, number: &str| (name.to_owned(), Some(number.as_bytes().to_vec()));
        assert_eq!(at(&record, 900_000), vec![note(TRUNCATED, "2000000")]);
        record.headers = vec![("big".into(), Some(vec![1; 950_000]))];
        assert_eq!(at(&record, 900_000), vec![note(TRUNCATED, "2000000"), note(HEADERS_DROPPED, "1")]);
        record.key = Some(vec![2; 950_000]);
        assert_eq!(
            at(&record, 900_000),
            vec![note(TRUNCATED, "2000000"), note(HEADERS_DROPPED, "1"), note(KEY_TRUNCATED, "950000")]
        );
    }

    #[test]
    fn a_line_keeps_bytes_that_are_not_text() {
        let (mut record, mut origin, rejection) = example();
        let bytes = line(&record, &origin, &rejection);
        let json: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(
            (&json["payload_base64"], &json["@timestamp"]),
            (&"/3s=".into(), &"2024-02-29T12:34:56.789Z".into())
        );
        assert_eq!((&json["fault"], &json["stage"]), (&"not_utf8".into(), &"decode".into()));
        assert_eq!(
            (&json["topic"], &json["partition"], &json["offset"]),
            (&"logs".into(), &2.into(), &9.into())
        );
        assert_eq!((&json["key"], &json["headers"][0]["value"]), (&"k".into(), &"t1".into()));
        assert!(json.get("payload").is_none() && json.get("truncated").is_none());
        record.payload = Some("é".repeat(LINE_PAYLOAD_MAX).into_bytes());
        let json: serde_json::Value =
            serde_json::from_slice(&line(&record, &origin, &rejection)).expect("JSON");
        assert_eq!(json["payload"].as_str().map(str::len), Some(LINE_PAYLOAD_MAX));
        assert_eq!(json["truncated"], 2 * LINE_PAYLOAD_MAX);
        origin.time = Time(0);
        let untimed = line(&record, &origin, &rejection);
        assert!(!String::from_utf8_lossy(&untimed).contains("1970"), "nobody gave it a time");
    }
}
