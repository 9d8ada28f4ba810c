//! The way into the pipeline: one bounded queue a shard, and before each a small outbox.
//!
//! The outbox exists so that a full queue never blocks a source that has to keep polling: what did not fit
//! stays there, in order, and the source reads nothing more until it is gone. So an outbox holds at most what
//! was read last and, of each lane, that it was revoked and that it is assigned again: rebalances are answered
//! while a shard is full, but a lane that goes before its shard has heard of it leaves nothing behind. It must never reorder what goes to one shard.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam_channel::{SendTimeoutError, Sender, TrySendError};

use super::{SourceError, now};
use crate::flow::Lane;
use crate::pipeline::Action;

/// An action on its way to a shard.
#[derive(Debug)]
pub struct Arrival {
    /// What it is.
    pub action: Action,
    /// When the source let go of it: what it waits from then on is a delay of ours. No verdict sees it.
    pub sent: Instant,
}

/// Where actions go.
pub struct Inlets {
    shards: Vec<Shard>,
}

/// What becomes of records in the outboxes when a source stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unseen {
    /// Nobody commits them, so they are read again.
    Forget,
    /// They cannot be read again: the shards are to have them.
    Keep,
}

struct Shard {
    queue: Sender<Arrival>,
    outbox: VecDeque<Arrival>,
    lanes: usize,
}

impl Inlets {
    /// One queue a shard; the queues' bounds are what bounds the records in flight.
    pub fn new(queues: Vec<Sender<Arrival>>) -> Self {
        let shards =
            queues.into_iter().map(|queue| Shard { queue, outbox: VecDeque::new(), lanes: 0 }).collect();
        Self { shards }
    }

    /// The shard with the fewest lanes, the first of them where several have; it counts one lane more from now.
    pub(crate) fn seat(&mut self) -> usize {
        let least = self.shards.iter().enumerate().min_by_key(|(_, shard)| shard.lanes).map_or(0, |(i, _)| i);
        if let Some(shard) = self.shards.get_mut(least) {
            shard.lanes += 1;
        }
        least
    }

    /// A lane has left the shard.
    pub(crate) fn leave(&mut self, shard: usize) {
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.lanes = shard.lanes.saturating_sub(1);
        }
    }

    /// Puts an action into a shard's outbox, behind all that is there.
    pub(crate) fn push(&mut self, shard: usize, action: Action) {
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.outbox.push_back(Arrival { action, sent: now() });
        }
    }

    /// Whether all that was pushed is in the shards' queues.
    pub(crate) fn is_clear(&self) -> bool {
        self.shards.iter().all(|shard| shard.outbox.is_empty())
    }

    /// Whether all that was pushed for one shard is in its queue.
    pub(crate) fn is_shard_clear(&self, shard: usize) -> bool {
        self.shards.get(shard).is_none_or(|shard| shard.outbox.is_empty())
    }

    /// Moves what fits into the queues, without waiting.
    ///
    /// # Errors
    /// When a shard has hung up.
    pub(crate) fn pump(&mut self) -> Result<(), SourceError> {
        for (index, shard) in self.shards.iter_mut().enumerate() {
            while let Some(arrival) = shard.outbox.pop_front() {
                match shard.queue.try_send(arrival) {
                    Ok(()) => {}
                    Err(TrySendError::Full(arrival)) => {
                        shard.outbox.push_front(arrival);
                        break;
                    }
                    Err(TrySendError::Disconnected(_)) => return Err(SourceError::ShardGone(index)),
                }
            }
        }
        Ok(())
    }

    /// As [`Self::pump`], and waits up to `wait` for the first full queue.
    ///
    /// # Errors
    /// When a shard has hung up.
    pub(crate) fn pump_for(&mut self, wait: Duration) -> Result<(), SourceError> {
        self.pump()?;
        let full = self.shards.iter_mut().enumerate().find(|(_, shard)| !shard.outbox.is_empty());
        if let Some((index, shard)) = full
            && let Some(arrival) = shard.outbox.pop_front()
        {
            match shard.queue.send_timeout(arrival, wait) {
                Ok(()) => {}
                Err(SendTimeoutError::Timeout(arrival)) => shard.outbox.push_front(arrival),
                Err(SendTimeoutError::Disconnected(_)) => return Err(SourceError::ShardGone(index)),
            }
        }
        self.pump()
    }

    /// Forgets records of a lane that no shard has seen, and the lane itself if its shard has not heard of it;
    /// whether it has.
    pub(crate) fn forget(&mut self, of: &Lane) -> bool {
        let mut known = true;
        for shard in &mut self.shards {
            shard.outbox.retain(|arrival| match &arrival.action {
                Action::Read { lane, .. } => lane != of,
                Action::Assigned { lane, .. } if lane == of => {
                    known = false;
                    false
                }
                _ => true,
            });
        }
        known
    }

    /// Tells every shard to stop.
    pub(crate) fn stop(&mut self, unseen: Unseen) {
        for shard in &mut self.shards {
            let keep = |action: &Action| unseen == Unseen::Keep || !matches!(action, Action::Read { .. });
            shard.outbox.retain(|arrival| keep(&arrival.action));
            shard.outbox.push_back(Arrival { action: Action::Stop, sent: now() });
        }
    }

    /// As [`Self::pump`], where a shard that has hung up is no error: it has nothing more to do.
    pub(crate) fn pump_stopping(&mut self) {
        for shard in &mut self.shards {
            while let Some(arrival) = shard.outbox.pop_front() {
                match shard.queue.try_send(arrival) {
                    Ok(()) => {}
                    Err(TrySendError::Full(arrival)) => {
                        shard.outbox.push_front(arrival);
                        break;
                    }
                    Err(TrySendError::Disconnected(_)) => shard.outbox.clear(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, bounded};

    use super::*;

    fn read(topic: &str) -> Action {
        Action::Read { lane: lane(topic), generation: 1, records: Vec::new() }
    }

    /// What comes next out of a shard's queue.
    fn taken(shard: &Receiver<Arrival>) -> Option<Action> {
        shard.try_recv().ok().map(|arrival| arrival.action)
    }

    fn lane(topic: &str) -> Lane {
        Lane { topic: topic.into(), partition: 0 }
    }

    #[test]
    fn a_lane_gets_the_least_loaded_shard() {
        let (a, _a) = bounded(1);
        let (b, _b) = bounded(1);
        let mut inlets = Inlets::new(vec![a, b]);
        assert_eq!([inlets.seat(), inlets.seat(), inlets.seat()], [0, 1, 0]);
        inlets.leave(0);
        inlets.leave(0);
        assert_eq!(inlets.seat(), 0);
    }

    #[test]
    fn what_does_not_fit_waits_in_order() {
        let (queue, shard) = bounded(1);
        let mut inlets = Inlets::new(vec![queue]);
        for topic in ["a", "b", "c"] {
            inlets.push(0, read(topic));
        }
        inlets.pump().unwrap();
        assert!(!inlets.is_clear());
        let mut seen = Vec::new();
        while let Some(action) = taken(&shard) {
            if let Action::Read { lane, .. } = action {
                seen.push(lane.topic.to_string());
            }
            inlets.pump_for(Duration::ZERO).unwrap();
        }
        assert_eq!(seen, ["a", "b", "c"]);
        assert!(inlets.is_clear());
    }

    #[test]
    fn stopping_forgets_unseen_records_and_revoking_those_of_the_lane() {
        let (queue, shard) = bounded(8);
        let mut inlets = Inlets::new(vec![queue]);
        inlets.push(0, read("a"));
        inlets.push(0, read("b"));
        inlets.push(0, Action::Revoked { lane: lane("a"), generation: 1 });
        assert!(inlets.forget(&lane("a")));
        inlets.pump().unwrap();
        assert!(matches!(taken(&shard), Some(Action::Read { lane, .. }) if &*lane.topic == "b"));
        assert!(matches!(taken(&shard), Some(Action::Revoked { .. })));

        inlets.push(0, read("b"));
        inlets.stop(Unseen::Forget);
        inlets.pump_stopping();
        assert!(matches!(taken(&shard), Some(Action::Stop)));
        assert!(taken(&shard).is_none());

        inlets.push(0, read("b"));
        inlets.stop(Unseen::Keep);
        inlets.pump_stopping();
        assert!(matches!(taken(&shard), Some(Action::Read { .. })));
        assert!(matches!(taken(&shard), Some(Action::Stop)));
    }

    #[test]
    fn a_lane_that_no_shard_has_heard_of_leaves_nothing_behind() {
        let (queue, shard) = bounded(8);
        let mut inlets = Inlets::new(vec![queue]);
        inlets.push(0, Action::Revoked { lane: lane("a"), generation: 1 });
        inlets.push(0, Action::Assigned { lane: lane("a"), generation: 2, live_from: 0, reading: None });
        inlets.push(0, read("a"));
        assert!(!inlets.forget(&lane("a")));
        inlets.pump().unwrap();
        assert!(matches!(taken(&shard), Some(Action::Revoked { .. })));
        assert!(taken(&shard).is_none());
    }

    #[test]
    fn a_shard_that_hung_up_is_an_error_unless_stopping() {
        let (queue, shard) = bounded(1);
        drop(shard);
        let mut inlets = Inlets::new(vec![queue]);
        inlets.push(0, read("a"));
        assert!(matches!(inlets.pump(), Err(SourceError::ShardGone(0))));
        inlets.stop(Unseen::Forget);
        inlets.pump_stopping();
        assert!(inlets.is_clear());
    }
}
