//! Partitions of a topic between two offsets, pulled by whoever wants their records.
//!
//! For records of the past: bounds are settled before the first record is read, so that a range ends although the topic
//! goes on growing. It joins no group and must never commit: it leaves no trace at the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::topic_partition_list::Offset;

use super::context::Context;
use super::starts::list;
use super::{Settings, lanes, options};
use crate::flow::{Lane, Record, Traced};
use crate::source::{SourceError, now};

/// Records a piece.
const PIECE: usize = 512;
/// How long one poll waits for a record.
const POLL: Duration = Duration::from_millis(100);
/// How long one question may take, and how long to ask a broker that does not answer.
const TIMEOUT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

/// What to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The topic's name.
    pub topic: String,
    /// A partition; none: all of them, one after the other.
    pub partition: Option<i32>,
    /// First offset; none: the oldest there is.
    pub from: Option<i64>,
    /// The offset after the last; none: what is there now.
    pub to: Option<i64>,
}

/// One partition's part of it.
pub struct Range {
    consumer: Arc<BaseConsumer<Context>>,
    lane: Lane,
    from: i64,
    to: i64,
    next: i64,
    /// When something last came, once reading has begun.
    heard: Option<Instant>,
    over: bool,
}

/// Settles the bounds of each partition; `settings` say how to reach the broker.
///
/// # Errors
/// When the broker cannot be reached or refuses us, or there is no such topic, partition or offset.
pub fn open(settings: &Settings, bounds: &Bounds) -> Result<Vec<Range>, SourceError> {
    let consumer = Arc::new(options::bounded(settings)?);
    let partitions = partitions(&consumer, settings, &bounds.topic)?;
    let wanted = match bounds.partition {
        Some(partition) if partitions.contains(&partition) => vec![partition],
        Some(partition) => {
            let what = format!(
                "topic {} has {} partitions, none of number {partition}",
                bounds.topic,
                partitions.len()
            );
            return Err(SourceError::Settings(what));
        }
        None if partitions.len() > 1 && (bounds.from.is_some() || bounds.to.is_some()) => {
            let what = format!(
                "offsets are a partition's own, and topic {} has {}; name one with --partition",
                bounds.topic,
                partitions.len()
            );
            return Err(SourceError::Settings(what));
        }
        None => partitions,
    };
    let topic: Arc<str> = Arc::from(bounds.topic.as_str());
    let ranges = wanted.into_iter().map(|partition| {
        let lane = Lane { topic: Arc::clone(&topic), partition };
        let (low, high) = patiently(&consumer, settings, || {
            consumer.fetch_watermarks(&lane.topic, lane.partition, TIMEOUT)
        })?;
        let (from, to) = within(&lane, bounds, low, high).map_err(SourceError::Settings)?;
        let consumer = Arc::clone(&consumer);
        Ok(Range { consumer, lane, from, to, next: from, heard: None, over: from >= to })
    });
    ranges.collect()
}

impl Range {
    /// Its lane.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// The first offset that it may give.
    pub fn first(&self) -> i64 {
        self.from
    }

    /// Appends the next records; false when there will be no more.
    ///
    /// # Errors
    /// When the records are gone, the broker refuses us, or has not been heard of for long.
    pub fn read(&mut self, records: &mut Vec<Traced<Record>>) -> Result<bool, SourceError> {
        if self.over {
            return Ok(false);
        }
        let consumer = Arc::clone(&self.consumer);
        let heard = if let Some(heard) = self.heard {
            heard
        } else {
            let place = list([(&self.lane, Offset::Offset(self.next))].into_iter());
            let assigned = consumer.assign(&place);
            assigned
                .map_err(|error| SourceError::Fatal(format!("{} cannot be assigned: {error}", self.lane)))?;
            now()
        };
        self.heard = Some(heard);
        let mut read = 0;
        while read < PIECE && !self.over {
            let Some(message) = consumer.poll(POLL) else { break };
            match message {
                Ok(message) => {
                    self.take(&message, records);
                    read += 1;
                }
                Err(KafkaError::PartitionEOF(partition)) => self.over |= partition == self.lane.partition,
                Err(error) => self.judge(&error)?,
            }
        }
        if read > 0 {
            self.heard = Some(now());
        } else if !self.over && heard.elapsed() > PATIENCE {
            let reason = consumer.context().reason();
            return Err(SourceError::Unreachable(format!("{} at offset {}: {reason}", self.lane, self.next)));
        }
        Ok(!self.over)
    }

    /// How much of it was read, 0 to 1.
    pub fn share(&self) -> f64 {
        let (done, all) = (self.next - self.from, self.to - self.from);
        if all > 0 { done as f64 / all as f64 } else { 1.0 }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, records: &mut Vec<Traced<Record>>) {
        // What was read ahead of the range before.
        if message.partition() != self.lane.partition || message.topic() != &*self.lane.topic {
            return;
        }
        if message.offset() < self.to {
            self.next = message.offset() + 1;
            records.push(lanes::traced(&self.lane, message));
        }
        self.over = message.offset() + 1 >= self.to;
    }

    fn judge(&self, error: &KafkaError) -> Result<(), SourceError> {
        use RDKafkaErrorCode as Code;
        let reason = self.consumer.context().reason();
        match error.rdkafka_error_code() {
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => Err(SourceError::Fatal(reason)),
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Err(SourceError::Settings(format!(
                "offset {} of {} is gone; begin with a later one",
                self.next, self.lane
            ))),
            code if code.is_some_and(is_refusal) => Err(SourceError::Refused(reason)),
            _ => {
                tracing::debug!(%error, "the library reports an error and goes on");
                Ok(())
            }
        }
    }
}

fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
    )
}

/// Asks until there is an answer, for as long as [`PATIENCE`].
fn patiently<T>(
    consumer: &BaseConsumer<Context>,
    settings: &Settings,
    ask: impl Fn() -> Result<T, KafkaError>,
) -> Result<T, SourceError> {
    let begun = now();
    loop {
        let error = match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // Serves what the library has to say; there are no records yet.
        let said = consumer.poll(Duration::from_millis(20)).and_then(Result::err);
        let codes =
            [Some(&error), said.as_ref()].into_iter().flatten().filter_map(KafkaError::rdkafka_error_code);
        let reason = Some(consumer.context().reason()).filter(|reason| !reason.is_empty());
        let reason = reason.unwrap_or_else(|| error.to_string());
        if codes.into_iter().any(is_refusal) {
            return Err(SourceError::Refused(reason));
        }
        if begun.elapsed() > PATIENCE {
            return Err(SourceError::Unreachable(format!("broker {}: {reason}", settings.brokers)));
        }
        std::thread::sleep(POLL);
    }
}

/// Numbers of the topic's partitions, in order.
fn partitions(
    consumer: &BaseConsumer<Context>,
    settings: &Settings,
    topic: &str,
) -> Result<Vec<i32>, SourceError> {
    let metadata = patiently(consumer, settings, || consumer.fetch_metadata(Some(topic), TIMEOUT))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let mut partitions: Vec<i32> =
        found.iter().flat_map(|found| found.partitions()).map(MetadataPartition::id).collect();
    partitions.sort_unstable();
    match found.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            Err(SourceError::Refused(format!("no permission to describe topic {topic}")))
        }
        _ if partitions.is_empty() => Err(SourceError::MissingTopic(vec![topic.to_owned()])),
        _ => Ok(partitions),
    }
}

/// The bounds of a partition that holds `low` up to, not including, `high`.
fn within(lane: &Lane, bounds: &Bounds, low: i64, high: i64) -> Result<(i64, i64), String> {
    let (from, to) = (bounds.from.unwrap_or(low), bounds.to.unwrap_or(high));
    let held = format!("{lane} holds offsets {low} up to, not including, {high}");
    if from < low || from > high {
        return Err(format!("there is no offset {from} to begin with: {held}"));
    }
    if to > high {
        return Err(format!("there is no offset {to} to end before: {held}"));
    }
    if to < from || (to == from && bounds.to.is_some()) {
        return Err(format!("nothing lies between offset {from} and offset {to}: {held}"));
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(from: Option<i64>, to: Option<i64>) -> Result<(i64, i64), String> {
        let lane = Lane { topic: "t".into(), partition: 3 };
        within(&lane, &Bounds { from, to, ..Bounds::default() }, 10, 20)
    }

    #[test]
    fn bounds_lie_within_what_the_partition_holds() {
        assert_eq!(bounds(None, None), Ok((10, 20)));
        assert_eq!(bounds(Some(12), Some(13)), Ok((12, 13)));
        assert_eq!(bounds(Some(20), None), Ok((20, 20)));
        for (from, to) in
            [(Some(9), None), (Some(21), None), (None, Some(21)), (Some(15), Some(15)), (None, Some(2))]
        {
            let refused = bounds(from, to).expect_err("it lies outside");
            assert!(refused.contains("t[3] holds offsets 10 up to, not including, 20"), "{refused}");
        }
    }
}
