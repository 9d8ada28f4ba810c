//! What is written beside a committed offset, so that a restart knows where to begin replaying.
//!
//! A small JSON object with a version: other fields may join it, and the broker allows 4096 bytes. It is read
//! leniently, since anybody with access to the group can write there: what cannot be understood means "no
//! replay", never an error.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::flow::Schema;

/// The broker's default limit (`offset.metadata.max.bytes`).
pub(super) const BYTES_MAX: usize = 4096;

const VERSION: u32 = 1;

/// The metadata of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CommitMetadata {
    v: u32,
    /// The offset from which reading again rebuilds the lane's state.
    pub(super) replay_from: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fields: Option<Fields>,
}

/// A schema as it is written: pointers by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Fields {
    text: Vec<String>,
    number: Vec<String>,
    category: Vec<String>,
    key: Vec<String>,
    time: Option<String>,
}

impl CommitMetadata {
    /// Metadata of the current version.
    pub(super) fn new(replay_from: i64, schema: Option<&Schema>) -> Self {
        let owned = |pointers: &[Arc<str>]| pointers.iter().map(ToString::to_string).collect();
        let fields = schema.map(|schema| Fields {
            text: owned(&schema.texts),
            number: owned(&schema.numbers),
            category: owned(&schema.categories),
            key: owned(&schema.keys),
            time: schema.time.as_ref().map(ToString::to_string),
        });
        Self { v: VERSION, replay_from, fields }
    }

    /// As it is committed. Fields that do not fit are left out: then they are inferred again.
    pub(super) fn encode(&self) -> String {
        let whole = serde_json::to_string(self).ok().filter(|text| text.len() <= BYTES_MAX);
        whole.unwrap_or_else(|| format!(r#"{{"v":{},"replay_from":{}}}"#, self.v, self.replay_from))
    }

    /// What the lane's fields had been inferred to be.
    pub(super) fn schema(&self) -> Option<Arc<Schema>> {
        let shared = |pointers: &[String]| pointers.iter().map(|pointer| pointer.as_str().into()).collect();
        self.fields.as_ref().map(|fields| {
            Arc::new(Schema {
                texts: shared(&fields.text),
                numbers: shared(&fields.number),
                categories: shared(&fields.category),
                keys: shared(&fields.key),
                time: fields.time.as_deref().map(Into::into),
            })
        })
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
        let read = |schema: &Schema| {
            let text = CommitMetadata::new(7, Some(schema)).encode();
            assert!(text.len() <= BYTES_MAX);
            CommitMetadata::decode(&text, 9).unwrap()
        };
        assert_eq!(read(&schema(3)).schema().as_deref(), Some(&schema(3)));
        let left_out = read(&schema(1_000));
        assert_eq!((left_out.replay_from, left_out.schema()), (7, None));
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
