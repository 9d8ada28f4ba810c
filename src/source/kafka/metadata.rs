//! What is written beside a committed offset, so that a restart knows where to begin replaying.
//!
//! A small JSON object with a version: other fields may join it, and the broker allows 4096 bytes. It is read
//! leniently, since anybody with access to the group can write there: what cannot be understood means "no
//! replay", never an error.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::flow::{Epoch, Reading, Schema};

/// The broker's default limit (`offset.metadata.max.bytes`).
pub(super) const BYTES_MAX: usize = 4096;

const VERSION: u32 = 1;

/// The metadata of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CommitMetadata {
    v: u32,
    /// The offset from which reading again rebuilds the lane's state.
    pub(super) replay_from: i64,
    /// What records at that offset are read by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fields: Option<Fields>,
    /// What is read beside it from later offsets on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    joined: Vec<Joined>,
    /// Hashes of what was found not worth reading: eight hexadecimal digits each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    passed: String,
    /// Up to this offset it is settled what has joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reviewed: Option<i64>,
}

/// A schema as it is written: pointers by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    text: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    number: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    category: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    key: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

/// Fields that have joined the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Joined {
    from: i64,
    #[serde(flatten)]
    fields: Fields,
}

impl CommitMetadata {
    /// Metadata of the current version.
    pub(super) fn new(replay_from: i64, reading: Option<&Reading>) -> Self {
        let empty = Self {
            v: VERSION,
            replay_from,
            fields: None,
            joined: Vec::new(),
            passed: String::new(),
            reviewed: None,
        };
        let Some(reading) = reading else { return empty };
        let schemas = || reading.epochs.iter().map(|epoch| &*epoch.schema);
        let pairs = reading.epochs.iter().zip(schemas().skip(1)).zip(reading.epochs.iter().skip(1));
        let joined = pairs.map(|((before, schema), epoch)| Joined {
            from: epoch.from,
            fields: Fields::of(&schema.since(&before.schema)),
        });
        Self {
            fields: schemas().next().map(Fields::of),
            joined: joined.collect(),
            passed: reading.passed.iter().copied().flat_map(digits).collect(),
            reviewed: (reading.reviewed >= 0).then_some(reading.reviewed),
            ..empty
        }
    }

    /// As it is committed. What does not fit is left out, in this order: since when the fields that joined first are read
    /// (then records before that are replayed with them), what was passed over (it is looked at again), all fields (they
    /// are inferred again). A lane grows only as far as all of it fits, unless it grows again and again within a replay.
    pub(super) fn encode(&self) -> String {
        let mut kept = self.clone();
        loop {
            let whole = serde_json::to_string(&kept).ok().filter(|text| text.len() <= BYTES_MAX);
            if let Some(text) = whole {
                return text;
            }
            match &mut kept.fields {
                Some(fields) if !kept.joined.is_empty() => fields.extend(kept.joined.remove(0).fields),
                Some(_) if !kept.passed.is_empty() => kept.passed.clear(),
                Some(_) => kept = Self::new(self.replay_from, None),
                None => return format!(r#"{{"v":{},"replay_from":{}}}"#, self.v, self.replay_from),
            }
        }
    }

    /// How the lane's records had been read that were committed up to `offset`.
    pub(super) fn reading(&self, offset: i64) -> Option<Reading> {
        let first = self.fields.as_ref()?.schema();
        let mut epochs = vec![Epoch { from: 0, schema: Arc::new(first) }];
        for Joined { from, fields } in &self.joined {
            if let Some(before) = epochs.last().filter(|before| before.from < *from) {
                let schema = Arc::new(before.schema.and(&fields.schema()));
                epochs.push(Epoch { from: *from, schema });
            }
        }
        let hash = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let passed = self.passed.as_bytes().chunks_exact(8).filter_map(hash).collect();
        // An older version wrote none, and none of its fields joined late.
        Some(Reading { epochs, passed, reviewed: self.reviewed.unwrap_or(offset) })
    }

    /// Reads what was committed with `offset`. `None` when it is not ours, of another version, or nonsense.
    pub(super) fn decode(text: &str, offset: i64) -> Option<Self> {
        if text.len() > BYTES_MAX {
            return None;
        }
        let metadata: Self = serde_json::from_str(text).ok()?;
        (metadata.v == VERSION && (0..=offset).contains(&metadata.replay_from)).then_some(metadata)
    }
}

/// A hash as eight hexadecimal digits.
fn digits(hash: u32) -> [char; 8] {
    std::array::from_fn(|at| char::from_digit(hash >> (28 - 4 * at) & 15, 16).unwrap_or('0'))
}

impl Fields {
    fn of(schema: &Schema) -> Self {
        let owned = |pointers: &[Arc<str>]| pointers.iter().map(ToString::to_string).collect();
        Self {
            text: owned(&schema.texts),
            number: owned(&schema.numbers),
            category: owned(&schema.categories),
            key: owned(&schema.keys),
            time: schema.time.as_ref().map(ToString::to_string),
        }
    }

    fn schema(&self) -> Schema {
        let shared = |pointers: &[String]| pointers.iter().map(|pointer| pointer.as_str().into()).collect();
        Schema {
            texts: shared(&self.text),
            numbers: shared(&self.number),
            categories: shared(&self.category),
            keys: shared(&self.key),
            time: self.time.as_deref().map(Into::into),
        }
    }

    fn extend(&mut self, more: Self) {
        self.text.extend(more.text);
        self.number.extend(more.number);
        self.category.extend(more.category);
        self.key.extend(more.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let metadata = CommitMetadata::new(7, None);
        assert_eq!(metadata.encode(), r#"{"v":1,"replay_from":7}"#);
        assert_eq!(CommitMetadata::decode(&metadata.encode(), 9), Some(metadata));
        let longest = CommitMetadata::new(i64::MAX, None);
        assert!(longest.encode().len() < 100);
        assert_eq!(CommitMetadata::decode(&longest.encode(), i64::MAX), Some(longest));
        let more = r#"{"v":1,"replay_from":7,"model":"abc"}"#;
        assert_eq!(CommitMetadata::decode(more, 9).map(|m| m.replay_from), Some(7), "fields may join");
    }

    #[test]
    fn a_schema_comes_back_and_one_that_does_not_fit_is_left_out() {
        let schema = |texts: usize| Schema {
            texts: (0..texts).map(|n| format!("/text \"{n}\"").into()).collect(),
            numbers: vec!["/n".into()],
            time: Some("/at".into()),
            ..Schema::default()
        };
        let read = |schema: Schema| {
            let epochs = vec![Epoch { from: 0, schema: Arc::new(schema) }];
            let text = CommitMetadata::new(7, Some(&Reading { epochs, ..Reading::default() })).encode();
            assert!(text.len() <= BYTES_MAX);
            CommitMetadata::decode(&text, 9).unwrap()
        };
        let kept = read(schema(3)).reading(9).unwrap();
        assert_eq!(*kept.epochs[0].schema, schema(3));
        let left_out = read(schema(1_000));
        assert_eq!((left_out.replay_from, left_out.reading(9)), (7, None));
    }

    fn joined(from: i64, number: &str) -> (i64, Schema) {
        (from, Schema { numbers: vec![number.into()], ..Schema::default() })
    }

    fn reading(late: &[(i64, Schema)], passed: usize) -> Reading {
        let first = Schema { texts: vec!["/t".into()], time: Some("/at".into()), ..Schema::default() };
        let mut epochs = vec![Epoch { from: 0, schema: Arc::new(first) }];
        for (from, more) in late {
            let schema = Arc::new(epochs.last().unwrap().schema.and(more));
            epochs.push(Epoch { from: *from, schema });
        }
        let passed = (0..passed as u32).map(|at| at.wrapping_mul(2_654_435_761)).collect();
        Reading { epochs, passed, reviewed: 5_000 }
    }

    #[test]
    fn a_growth_comes_back_and_an_older_version_reads_what_was_first() {
        let key =
            Schema { keys: vec!["/k".into()], categories: vec!["/c/\"d\"".into()], ..Schema::default() };
        let whole = reading(&[joined(3_000, "/n"), (4_000, key)], 5);
        let text = CommitMetadata::new(7, Some(&whole)).encode();
        assert_eq!(CommitMetadata::decode(&text, 5_100).unwrap().reading(5_100), Some(whole));
        let fields = r#""fields":{"text":["/t"],"time":"/at"}"#;
        assert!(
            text.starts_with(&format!(r#"{{"v":1,"replay_from":7,{fields},"joined":[{{"from":3000,"#)),
            "{text}"
        );
        assert!(text.ends_with(r#""reviewed":5000}"#), "{text}");
    }

    #[test]
    fn what_today_writes_is_read_without_what_may_join_it() {
        let older = r#"{"v":1,"replay_from":7,"fields":{"text":["/t"],"number":[],"category":[],"key":[],"time":"/at"}}"#;
        let read = CommitMetadata::decode(older, 5_100).unwrap().reading(5_100);
        assert_eq!(read, Some(Reading { reviewed: 5_100, ..reading(&[], 0) }));
        // Nor does nonsense make more of it.
        for odd in
            [r#""passed":"12é45678""#, r#""joined":[{"from":-4,"number":["/n"]}]"#, r#""passed":"zzzzzzzz""#]
        {
            let text = older.replace(r#"/at"}}"#, &format!(r#"/at"}},{odd}}}"#));
            let odd = CommitMetadata::decode(&text, 5_100).unwrap().reading(5_100).unwrap();
            assert_eq!(odd.epochs, reading(&[], 0).epochs);
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_step_by_step() {
        let many: Vec<_> =
            (0..60).map(|at| joined(1_000 + at, &format!("/a/number/of/late/fields/{at}"))).collect();
        let whole = reading(&many, 100);
        let kept = |whole: &Reading| {
            let text = CommitMetadata::new(7, Some(whole)).encode();
            assert!(text.len() <= BYTES_MAX);
            CommitMetadata::decode(&text, 5_100).unwrap().reading(5_100).unwrap()
        };
        let read = kept(&whole);
        assert!((2..61).contains(&read.epochs.len()), "{}", read.epochs.len());
        assert_eq!(read.epochs.last(), whole.epochs.last());
        assert_eq!(read.epochs[0].schema, whole.epochs[61 - read.epochs.len()].schema);
        assert_eq!((&read.passed, read.reviewed), (&whole.passed, 5_000));
        let read = kept(&reading(&many, 1_000));
        assert_eq!((read.epochs.len(), read.passed.len()), (1, 0));
        assert_eq!(read.epochs[0].schema, whole.epochs[60].schema, "no field is forgotten");
    }

    #[test]
    fn what_is_not_ours_means_no_replay() {
        let long = format!(r#"{{"v":1,"replay_from":7,"x":"{}"}}"#, "y".repeat(BYTES_MAX));
        for text in [
            "",
            "{}",
            "null",
            "NaN",
            "\u{0}",
            r#"{"v":2,"replay_from":7}"#,
            r#"{"v":1}"#,
            r#"{"v":1,"replay_from":-1}"#,
            r#"{"v":1,"replay_from":10}"#,
            r#"{"v":1,"replay_from":7.5}"#,
            &long,
        ] {
            assert_eq!(CommitMetadata::decode(text, 9), None, "{text}");
        }
    }
}
