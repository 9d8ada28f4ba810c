//! What is written beside a committed offset, so that a restart knows where to begin replaying.
//!
//! A small JSON object with a version: other fields may join it, and the broker allows 4096 bytes. It is read
//! leniently, since anybody with access to the group can write there: what cannot be understood means "no
//! replay", never an error.

use serde::{Deserialize, Serialize};

/// The broker's default limit (`offset.metadata.max.bytes`).
pub(super) const BYTES_MAX: usize = 4096;

const VERSION: u32 = 1;

/// The metadata of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CommitMetadata {
    v: u32,
    /// The offset from which reading again rebuilds the lane's state.
    pub(super) replay_from: i64,
}

impl CommitMetadata {
    /// Metadata of the current version.
    pub(super) fn new(replay_from: i64) -> Self {
        Self { v: VERSION, replay_from }
    }

    /// As it is committed.
    pub(super) fn encode(&self) -> String {
        format!(r#"{{"v":{},"replay_from":{}}}"#, self.v, self.replay_from)
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
        let metadata = CommitMetadata::new(7);
        assert_eq!(metadata.encode(), r#"{"v":1,"replay_from":7}"#);
        assert_eq!(CommitMetadata::decode(&metadata.encode(), 9), Some(metadata));
        let longest = CommitMetadata::new(i64::MAX);
        assert!(longest.encode().len() < 100);
        assert_eq!(CommitMetadata::decode(&longest.encode(), i64::MAX), Some(longest));
        let more = r#"{"v":1,"replay_from":7,"model":"abc"}"#;
        assert_eq!(CommitMetadata::decode(more, 9).map(|m| m.replay_from), Some(7), "fields may join");
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
