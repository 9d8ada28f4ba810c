//! The thread that commits, so that the one that polls never waits for a commit.
//!
//! Only a synchronous commit says how it went: of an asynchronous one the library (rdkafka 0.39) reports nothing
//! unless it is an automatic one. But a synchronous commit blocks for the session timeout when the coordinator
//! is gone. So it has a thread of its own, which also drops the consumer in the end, since saying goodbye
//! blocks as long. One commit is under way at a time; what is to be committed is decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::context::Context;
use super::metadata::CommitMetadata;
use crate::flow::{Lane, Reading};
use crate::source::SourceError;

/// How far a lane is to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The lane.
    pub(super) lane: Lane,
    /// The next offset to read.
    pub(super) offset: i64,
    /// Where to replay from.
    pub(super) replay_from: i64,
    /// What the lane's fields were inferred to be.
    pub(super) reading: Option<Arc<Reading>>,
}

/// What became of a commit.
pub(super) struct Outcome {
    /// What was to be committed.
    pub(super) marks: Vec<Mark>,
    /// Whether it was.
    pub(super) result: KafkaResult<()>,
}

/// The polling thread's end of the committing thread.
pub(super) struct Committer {
    requests: Sender<Vec<Mark>>,
    outcomes: Receiver<Outcome>,
    under_way: bool,
}

impl Committer {
    /// Starts the thread. It ends when this is dropped, and drops the consumer if it was the last to hold it.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(consumer: &Arc<BaseConsumer<Context>>) -> Result<Self, SourceError> {
        let (requests, asked) = crossbeam_channel::bounded::<Vec<Mark>>(1);
        let (answers, outcomes) = crossbeam_channel::bounded(1);
        let consumer = Arc::clone(consumer);
        std::thread::Builder::new()
            .name("source-commit".to_owned())
            .spawn(move || {
                while let Ok(marks) = asked.recv() {
                    let result = commit(&consumer, &marks);
                    if answers.send(Outcome { marks, result }).is_err() {
                        break;
                    }
                }
                drop(consumer);
                // Hanging up says that the consumer is gone.
                drop(answers);
            })
            .map_err(SourceError::Thread)?;
        Ok(Self { requests, outcomes, under_way: false })
    }

    /// Whether a commit is under way: then no other can be asked for.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Asks for a commit. Does nothing while one is under way.
    pub(super) fn ask(&mut self, marks: Vec<Mark>) {
        if !self.under_way {
            self.under_way = self.requests.try_send(marks).is_ok();
            if !self.under_way {
                tracing::error!("the committing thread is gone: nothing is committed any more; restart");
            }
        }
    }

    /// What became of the commit under way, once it is known.
    pub(super) fn outcome(&mut self) -> Option<Outcome> {
        match self.outcomes.try_recv() {
            Ok(outcome) => {
                self.under_way = false;
                Some(outcome)
            }
            Err(TryRecvError::Disconnected) => {
                self.under_way = false;
                None
            }
            Err(TryRecvError::Empty) => None,
        }
    }

    /// Lets the thread drop the consumer, and waits up to `patience` for it; whether it is gone. The caller must
    /// have dropped its own hold of it.
    pub(super) fn leave(self, patience: Duration) -> bool {
        let Self { requests, outcomes, .. } = self;
        drop(requests);
        loop {
            match outcomes.recv_timeout(patience) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

fn commit(consumer: &BaseConsumer<Context>, marks: &[Mark]) -> KafkaResult<()> {
    // Must not outlive this function: the consumer's drop would hang.
    let mut list = TopicPartitionList::with_capacity(marks.len());
    for mark in marks {
        let mut element = list.add_partition(&mark.lane.topic, mark.lane.partition);
        element.set_offset(Offset::Offset(mark.offset))?;
        element.set_metadata(CommitMetadata::new(mark.replay_from, mark.reading.as_deref()).encode());
    }
    if consumer.assignment_lost() {
        return Err(KafkaError::ConsumerCommit(rdkafka::error::RDKafkaErrorCode::AssignmentLost));
    }
    consumer.commit(&list, CommitMode::Sync)
}
