//! Where to begin in a partition: computed before it is assigned, so that it is assigned once and never sought.
//!
//! "No committed offset" can also mean "the coordinator does not know yet", and to believe it wrongly would skip
//! or repeat a whole topic: it is believed when several answers in a row agree.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Start;
use super::context::Context;
use super::lanes::guarded;
use super::metadata::CommitMetadata;
use crate::flow::{Lane, Reading};

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StartAt {
    /// First offset to read.
    pub(super) from: i64,
    /// First offset that may raise an alert and be committed.
    pub(super) live_from: i64,
    /// Whether the group has no committed offset there.
    pub(super) fresh: bool,
    /// What the fields were inferred to be before.
    pub(super) reading: Option<Arc<Reading>>,
}

/// A committed offset and what was written beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Committed {
    offset: i64,
    metadata: Option<String>,
}

/// How long the question for committed offsets may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long the question for a partition's bounds may take: one without a leader does not answer.
const WATERMARKS: Duration = Duration::from_secs(2);

/// The same once another partition has not answered: many without a leader must not add up.
const WATERMARKS_SOON: Duration = Duration::from_millis(250);

/// How often "no committed offset" must be said, and how long to wait before asking again.
const ASK: u32 = 3;
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Finds out where to begin in each partition, in the order given.
///
/// # Errors
/// When the broker does not answer, or does not for a partition without a committed offset; ask again later.
pub(super) fn query(
    consumer: &BaseConsumer<Context>,
    lanes: &[Lane],
    start: Start,
) -> Result<Vec<StartAt>, KafkaError> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let committed = believe(|| committed(consumer, lanes), || std::thread::sleep(ASK_AGAIN))?;
    let mut starts = Vec::with_capacity(lanes.len());
    let mut patience = WATERMARKS;
    for (lane, committed) in lanes.iter().zip(committed) {
        let wait = if committed.is_some() { patience } else { WATERMARKS };
        let watermarks = consumer.fetch_watermarks(&lane.topic, lane.partition, wait);
        if watermarks.is_err() {
            patience = WATERMARKS_SOON;
        }
        starts.push(settle(lane, committed.as_ref(), watermarks, start)?);
    }
    Ok(starts)
}

/// Which of the lanes, by position, are outside what their partition holds.
///
/// # Errors
/// When the broker does not answer.
pub(super) fn out_of_range<'a>(
    consumer: &BaseConsumer<Context>,
    lanes: impl Iterator<Item = (&'a Lane, i64)>,
) -> Result<Vec<Lane>, KafkaError> {
    let mut out = Vec::new();
    for (lane, position) in lanes {
        let (low, high) = consumer.fetch_watermarks(&lane.topic, lane.partition, WATERMARKS)?;
        if !(low..=high).contains(&position) {
            out.push(lane.clone());
        }
    }
    Ok(out)
}

/// Asks until every lane has a committed offset, or some have had none often enough.
fn believe<E>(
    mut ask: impl FnMut() -> Result<Vec<Option<Committed>>, E>,
    wait: impl Fn(),
) -> Result<Vec<Option<Committed>>, E> {
    let mut committed = ask()?;
    for _ in 1..ASK {
        if committed.iter().all(Option::is_some) {
            break;
        }
        wait();
        committed = ask()?;
    }
    Ok(committed)
}

fn committed(consumer: &BaseConsumer<Context>, lanes: &[Lane]) -> Result<Vec<Option<Committed>>, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(lanes.len());
    for lane in lanes {
        list.add_partition(&lane.topic, lane.partition);
    }
    let list = consumer.committed_offsets(list, TIMEOUT)?;
    let mut committed = Vec::with_capacity(lanes.len());
    for lane in lanes {
        let Some(element) = list.find_partition(&lane.topic, lane.partition) else {
            committed.push(None);
            continue;
        };
        element.error()?;
        committed.push(match element.offset() {
            // Another program may have written bytes here, on which the library panics.
            Offset::Offset(offset) => {
                Some(Committed { offset, metadata: guarded(|| element.metadata().to_owned()) })
            }
            _ => None,
        });
    }
    Ok(committed)
}

/// Where to begin, whether or not the partition's bounds are known. What is committed does without: should it be
/// out of range, that shows once it is read.
fn settle<E: std::fmt::Display>(
    lane: &Lane,
    committed: Option<&Committed>,
    watermarks: Result<(i64, i64), E>,
    start: Start,
) -> Result<StartAt, E> {
    let (low, high) = match (watermarks, committed) {
        (Ok(watermarks), _) => watermarks,
        (Err(error), Some(known)) => {
            tracing::warn!(%lane, %error, committed = known.offset, "bounds are not known; beginning as committed");
            (0, known.offset)
        }
        (Err(error), None) => return Err(error),
    };
    Ok(decide(lane, committed, low, high, start))
}

fn decide(lane: &Lane, committed: Option<&Committed>, low: i64, high: i64, start: Start) -> StartAt {
    let fresh = || {
        let from = match start {
            Start::Earliest => low,
            Start::Latest => high,
        };
        StartAt { from, live_from: from, fresh: true, reading: None }
    };
    let Some(Committed { offset, metadata }) = committed else { return fresh() };
    if *offset > high {
        tracing::error!(
            %lane,
            committed = *offset,
            end = high,
            ?start,
            "the partition ends before the committed offset: it was made anew or truncated; beginning as for a new group"
        );
        return fresh();
    }
    if *offset < low {
        tracing::error!(
            %lane,
            committed = *offset,
            oldest = low,
            "records were deleted by retention before they were read"
        );
    }
    let decoded = metadata.as_deref().and_then(|text| CommitMetadata::decode(text, *offset));
    if decoded.is_none() {
        tracing::warn!(%lane, committed = *offset, "the commit's metadata is not ours; nothing is replayed");
    }
    let reading = decoded.as_ref().and_then(|metadata| metadata.reading(*offset)).map(Arc::new);
    let replay_from = decoded.map_or(*offset, |metadata| metadata.replay_from);
    if replay_from < low && low < *offset {
        tracing::warn!(%lane, replay_from, oldest = low, "retention has eaten part of what was to be replayed");
    }
    StartAt { from: replay_from.max(low), live_from: (*offset).max(low), fresh: false, reading }
}

/// Partitions and offsets for an assign; to be dropped right after it.
pub(super) fn list<'a>(starts: impl Iterator<Item = (&'a Lane, Offset)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (lane, from) in starts {
        let mut element = list.add_partition(&lane.topic, lane.partition);
        // A watermark is never negative; if it were, the library would report an error for this partition.
        if let Err(error) = element.set_offset(from) {
            tracing::error!(%lane, ?from, %error, "not an offset");
        }
    }
    list
}

/// Just partitions, for a pause or an unassign; to be dropped right after it.
pub(super) fn partitions<'a>(lanes: impl Iterator<Item = &'a Lane>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for lane in lanes {
        list.add_partition(&lane.topic, lane.partition);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(committed: Option<(i64, &str)>, low: i64, high: i64, start: Start) -> (i64, i64, bool) {
        let committed = committed.map(|(offset, text)| Committed { offset, metadata: Some(text.to_owned()) });
        let at = decide(&Lane { topic: "t".into(), partition: 0 }, committed.as_ref(), low, high, start);
        (at.from, at.live_from, at.fresh)
    }

    #[test]
    fn a_new_group_begins_as_told() {
        assert_eq!(start(None, 3, 9, Start::Earliest), (3, 3, true));
        assert_eq!(start(None, 3, 9, Start::Latest), (9, 9, true));
    }

    #[test]
    fn no_commit_is_believed_only_when_it_is_said_again() {
        let known = || Some(Committed { offset: 8, metadata: None });
        let mut answers = vec![vec![known(), known()], vec![known(), None], vec![None, None]];
        let believed = believe(|| answers.pop().ok_or("asked too often"), || {});
        assert_eq!(believed, Ok(vec![known(), known()]));
        let mut asked = 0;
        let ask = || {
            asked += 1;
            Ok::<_, ()>(vec![None])
        };
        assert_eq!(believe(ask, || {}), Ok(vec![None]));
        assert_eq!(asked, ASK);
        assert_eq!(believe(|| Err("no answer"), || {}), Err("no answer"));
    }

    #[test]
    fn a_restart_replays_up_to_the_commit() {
        let metadata = r#"{"v":1,"replay_from":5}"#;
        for policy in [Start::Earliest, Start::Latest] {
            assert_eq!(start(Some((8, metadata)), 3, 9, policy), (5, 8, false));
            assert_eq!(start(Some((9, metadata)), 3, 9, policy), (5, 9, false), "all was read");
        }
    }

    #[test]
    fn a_partition_without_a_leader_begins_as_committed() {
        let lane = Lane { topic: "t".into(), partition: 0 };
        let metadata = Some(r#"{"v":1,"replay_from":5}"#.to_owned());
        let known = Committed { offset: 8, metadata };
        let at = settle(&lane, Some(&known), Err("no leader"), Start::Latest);
        assert_eq!(at, Ok(StartAt { from: 5, live_from: 8, fresh: false, reading: None }));
        assert_eq!(settle(&lane, None, Err("no leader"), Start::Latest), Err("no leader"));
    }

    #[test]
    fn strange_metadata_means_no_replay() {
        for text in ["", "x", r#"{"v":9,"replay_from":5}"#] {
            assert_eq!(start(Some((8, text)), 3, 9, Start::Earliest), (8, 8, false));
        }
    }

    #[test]
    fn what_retention_has_eaten_is_not_asked_for() {
        let metadata = r#"{"v":1,"replay_from":5}"#;
        assert_eq!(start(Some((8, metadata)), 6, 9, Start::Latest), (6, 8, false));
        assert_eq!(start(Some((8, metadata)), 20, 30, Start::Latest), (20, 20, false));
    }

    #[test]
    fn a_partition_made_anew_begins_as_for_a_new_group() {
        assert_eq!(start(Some((8, "")), 0, 2, Start::Earliest), (0, 0, true));
        assert_eq!(start(Some((8, "")), 0, 2, Start::Latest), (2, 2, true));
    }
}
