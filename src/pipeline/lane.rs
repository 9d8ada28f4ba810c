//! All that is known of one partition: its reader, its detector, its incidents, and what is still in flight.
//!
//! Everything here is a function of the partition's records in their order. Embeddings may come back in any order
//! and in any batches; events are judged strictly in the order they were read.

mod growth;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use super::{Commit, Counts, Effect, LaneView, Settings, Ticket};
use crate::alert::Incidents;
use crate::decode::{self, Decoded};
use crate::detect::{Detector, Gauges};
use crate::flow::{
    Alert, Embedding, Event, Fault, Lane, Origin, Point, Reading, Record, Rejection, Schema, Time, Traced,
    Verdict,
};
use crate::offsets::Offsets;
use crate::render;
use growth::Reader;

/// What a step of a lane asks for; collected so that one step makes one embedding request.
pub(super) struct Output<'a> {
    lane: &'a Lane,
    generation: u64,
    counts: &'a mut Counts,
    effects: &'a mut Vec<Effect>,
    pub(super) texts: Vec<Arc<str>>,
    pub(super) slots: Vec<(u64, usize)>,
    pub(super) tickets_issued: usize,
    pub(super) tickets_returned: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(
        lane: &'a Lane,
        generation: u64,
        counts: &'a mut Counts,
        effects: &'a mut Vec<Effect>,
    ) -> Self {
        Self {
            lane,
            generation,
            counts,
            effects,
            texts: Vec::new(),
            slots: Vec::new(),
            tickets_issued: 0,
            tickets_returned: 0,
        }
    }

    fn ticket(&mut self, offset: i64) -> Ticket {
        self.tickets_issued += 1;
        Ticket { lane: self.lane.clone(), generation: self.generation, offset }
    }

    fn publish(&mut self, offset: i64, alert: Alert) {
        self.counts.alerts += 1;
        let ticket = self.ticket(offset);
        self.effects.push(Effect::Publish { ticket, alert: Box::new(alert) });
    }

    fn reject(&mut self, record: Traced<Arc<Record>>, rejection: Rejection) {
        *self.counts.rejected.entry(rejection.fault).or_default() += 1;
        let ticket = self.ticket(record.origin.offset);
        self.effects.push(Effect::Reject { ticket, record, rejection });
    }
}

/// One partition while it is ours.
#[derive(Debug)]
pub(super) struct LaneState {
    settings: Arc<Settings>,
    generation: u64,
    live_from: i64,
    stage: Stage,
    queue: VecDeque<Waiting>,
    /// Serial of the event at the front of the queue; the one behind it has the next.
    serial_front: u64,
    offsets: Offsets,
    committed: i64,
    unacknowledged: usize,
    /// No more records will come.
    ended: bool,
}

#[derive(Debug)]
enum Stage {
    /// Keeping the first events until there are enough to tell what their fields are.
    Gathering(Gathered),
    /// Judging.
    Running(Box<Running>),
}

/// The first events, and the bytes of their records.
#[derive(Debug, Default)]
struct Gathered {
    events: Vec<(Traced<Arc<Record>>, Event)>,
    bytes: usize,
}

/// Bytes of first events that are kept at most, and one record more: a thousand of a kilobyte. They are not counted
/// with what waits to be judged, since nothing that the world does would make them fewer: a hundred partitions, each
/// a little short of its thousand, would stop the source for ever. Of large records fewer tell as much.
const GATHERED_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
struct Running {
    reader: Reader,
    detector: Detector,
    incidents: Incidents,
    /// Of the event judged last.
    time: Option<Time>,
}

/// A rendered event that waits for its embeddings or for its turn.
#[derive(Debug)]
struct Waiting {
    record: Traced<Arc<Record>>,
    point: Point,
    /// What it was rendered by: the detector is taught new fields when their first event is judged, not when it is read.
    schema: Arc<Schema>,
    /// Texts not yet embedded.
    missing: usize,
    failed: bool,
}

impl LaneState {
    /// A lane that has seen nothing; `reading` is what its fields were inferred to be in an earlier life.
    pub(super) fn new(
        settings: &Arc<Settings>,
        generation: u64,
        live_from: i64,
        reading: Option<&Reading>,
    ) -> Self {
        let mut lane = Self {
            settings: Arc::clone(settings),
            generation,
            live_from,
            stage: Stage::Gathering(Gathered::default()),
            queue: VecDeque::new(),
            serial_front: 0,
            offsets: Offsets::new(live_from, settings.replay_events),
            committed: live_from,
            unacknowledged: 0,
            ended: false,
        };
        if !settings.render.fields.is_empty() {
            lane.stage = lane.running(Reader::named(&settings.render));
        } else if let Some(reader) = reading.and_then(|reading| Reader::known(&settings.render, reading)) {
            lane.stage = lane.running(reader);
        }
        lane
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Events rendered and not yet judged.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Alerts and rejections not yet acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.unacknowledged
    }

    /// Bytes of records that wait to be judged or acknowledged.
    pub(super) fn bytes(&self) -> usize {
        self.offsets.bytes()
    }

    /// Whether a finite lane has nothing left to do.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.queue.is_empty() && self.unacknowledged == 0
    }

    pub(super) fn view(&self, lane: &Lane) -> LaneView {
        let (gathered, gauges) = match &self.stage {
            Stage::Gathering(first) => (first.events.len(), Gauges::default()),
            Stage::Running(running) => (0, running.detector.gauges()),
        };
        let gates = match &self.stage {
            Stage::Gathering(_) => Vec::new(),
            Stage::Running(running) => running.detector.gates(),
        };
        LaneView {
            lane: lane.clone(),
            seen: gauges.seen,
            warm: gathered == 0 && gauges.seen >= self.settings.detect.warmup_events,
            threshold: gauges.threshold,
            gathered,
            waiting: self.queue.len(),
            budgeted: gauges.budgeted,
            realised: gauges.realised,
            gates,
        }
    }

    /// Takes records in, in order.
    pub(super) fn read(
        &mut self,
        records: Vec<Traced<Record>>,
        output: &mut Output,
        decoded: &mut dyn FnMut(),
    ) {
        for record in records {
            output.counts.read += 1;
            output.counts.bytes += record.value.payload.as_ref().map_or(0, Vec::len) as u64;
            if self.offsets.begin(record.origin.offset) {
                self.take_in(record.map(Arc::new), output);
            }
        }
        decoded();
        self.advance(output);
    }

    /// No more records will come: infer from what there is, and sum up what is open once all is judged.
    pub(super) fn ended(&mut self, output: &mut Output) {
        self.ended = true;
        if let Stage::Gathering(first) = &self.stage
            && !first.events.is_empty()
        {
            self.settle(output);
        }
        self.advance(output);
    }

    /// Fills in one embedding; `None` when the embedder failed on the text for good.
    pub(super) fn embedded(&mut self, serial: u64, text: usize, embedding: Option<Embedding>) {
        let at = serial.checked_sub(self.serial_front).and_then(|at| usize::try_from(at).ok());
        let Some(waiting) = at.and_then(|at| self.queue.get_mut(at)) else { return };
        waiting.missing = waiting.missing.saturating_sub(1);
        waiting.failed |= embedding.is_none();
        if let Some(slot) = waiting.point.embeddings.get_mut(text) {
            *slot = embedding;
        }
    }

    /// Judges every event at the front that is complete.
    pub(super) fn advance(&mut self, output: &mut Output) {
        while self.queue.front().is_some_and(|front| front.missing == 0) {
            let Some(waiting) = self.queue.pop_front() else { return };
            self.serial_front += 1;
            self.judge(waiting, output);
        }
        if self.ended
            && self.queue.is_empty()
            && let Stage::Running(running) = &mut self.stage
        {
            for alert in running.incidents.finish() {
                let offset = alert.last_offset;
                self.publish(offset, alert, output);
            }
        }
    }

    /// The other side has an alert or rejection.
    pub(super) fn acknowledged(&mut self, offset: i64, output: &mut Output) {
        if self.offsets.release(offset) {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
            output.tickets_returned += 1;
        }
    }

    /// Asks for a commit if there is anything new to commit.
    pub(super) fn commit(&mut self, output: &mut Output) {
        let offset = self.offsets.committable();
        if offset > self.committed {
            self.committed = offset;
            let enough = self.offsets.replay_from().unwrap_or(offset).min(offset);
            let (lane, generation) = (output.lane.clone(), self.generation);
            // Nothing while it is open what the fields are.
            let (replay_from, reading) = match &mut self.stage {
                Stage::Running(running) => running.reader.kept(enough),
                Stage::Gathering(_) => (enough, None),
            };
            output.effects.push(Effect::Commit(Commit { lane, generation, offset, replay_from, reading }));
        }
    }

    fn take_in(&mut self, record: Traced<Arc<Record>>, output: &mut Output) {
        let event = match decode::decode(&self.settings.decode, &record.value) {
            Ok(Decoded::Event(mut event)) => {
                render::forget(&self.settings.render, &mut event);
                event
            }
            Ok(Decoded::Tombstone) => {
                output.counts.tombstones += 1;
                self.offsets.release(record.origin.offset);
                return;
            }
            Err(rejection) => return self.reject(record, rejection, output),
        };
        match &mut self.stage {
            Stage::Gathering(first) => {
                first.bytes += weight(&record.value);
                first.events.push((record, event));
                if first.events.len() >= enough(&self.settings) || first.bytes >= GATHERED_BYTES_MAX {
                    self.settle(output);
                }
            }
            Stage::Running(_) => self.enqueue(record, &event, output),
        }
    }

    /// Infers the schema from the events gathered, then takes them in.
    fn settle(&mut self, output: &mut Output) {
        let Stage::Gathering(first) = &mut self.stage else { return };
        let (records, events): (Vec<_>, Vec<_>) = std::mem::take(&mut first.events).into_iter().unzip();
        let reader = Reader::inferred(&self.settings.render, &events);
        let (lane, schema) = (output.lane.clone(), Arc::clone(reader.schema()));
        output.effects.push(Effect::Settled { lane, schema, joined: None });
        self.stage = self.running(reader);
        for (record, event) in records.into_iter().zip(&events) {
            self.enqueue(record, event, output);
        }
    }

    fn running(&self, reader: Reader) -> Stage {
        Stage::Running(Box::new(Running {
            detector: Detector::new(self.settings.detect, Arc::clone(reader.schema())),
            reader,
            incidents: Incidents::new(self.settings.alert),
            time: None,
        }))
    }

    fn enqueue(&mut self, record: Traced<Arc<Record>>, event: &Event, output: &mut Output) {
        let Stage::Running(running) = &mut self.stage else { return };
        let joined = running.reader.meet(record.origin.offset, event);
        let schema = Arc::clone(running.reader.schema());
        if let Some(joined) = joined {
            output.counts.joined += joined.len() as u64;
            let (lane, schema) = (output.lane.clone(), Arc::clone(&schema));
            output.effects.push(Effect::Settled { lane, schema, joined: Some(joined) });
        }
        let sample = running.reader.render(event);
        output.counts.mistyped += u64::from(sample.mistyped);
        if is_empty(&sample) {
            let message = "none of the fields that are read is there".to_owned();
            return self.reject(
                record,
                Rejection { fault: Fault::NoFields, stage: "render", message },
                output,
            );
        }
        let serial = self.serial_front + self.queue.len() as u64;
        let mut missing = 0;
        for (index, text) in sample.texts.iter().enumerate() {
            if let Some(text) = text {
                output.texts.push(Arc::clone(text));
                output.slots.push((serial, index));
                missing += 1;
            }
        }
        self.offsets.weigh(record.origin.offset, weight(&record.value));
        let embeddings = vec![None; sample.texts.len()];
        let point = Point { sample, embeddings };
        self.queue.push_back(Waiting { record, point, schema, missing, failed: false });
    }

    fn reject(&mut self, record: Traced<Arc<Record>>, rejection: Rejection, output: &mut Output) {
        // A replayed record was put aside when it was live.
        if record.origin.offset >= self.live_from {
            // The hold of `begin` becomes the hold of the rejection.
            self.unacknowledged += 1;
            self.offsets.weigh(record.origin.offset, weight(&record.value));
            output.reject(record, rejection);
        }
    }

    fn judge(&mut self, waiting: Waiting, output: &mut Output) {
        let Waiting { record: Traced { origin, value: record }, point, schema, failed, .. } = waiting;
        let offset = origin.offset;
        if failed {
            let message = "the embedder failed on a text of this record".to_owned();
            let rejection = Rejection { fault: Fault::NotEmbedded, stage: "embed", message };
            return self.reject(Traced { origin, value: record }, rejection, output);
        }
        let Stage::Running(running) = &mut self.stage else { return };
        // A time that cannot be read is taken to be the last one: the broker's clock may be years from the events'.
        let last = schema.time.as_ref().and(running.time);
        let time = point.sample.time.or(last).unwrap_or_else(|| match origin.time {
            // A line of a file: its own time, or that of the line that it goes on from.
            Time(0) => render::leading_time(&record).or(running.time).unwrap_or_default(),
            time => time,
        });
        running.time = Some(time);
        let point = Traced { origin: Origin { time, ..origin }, value: point };
        running.detector.grow(&schema);
        let verdict = running.detector.judge(&point);
        let judged = Traced { origin: point.origin, value: verdict };
        count(output.counts, &judged.value);
        // Of fields that do not count yet no incident may know either.
        let heard = running.detector.heard();
        let point = if heard.len() < schema.len() {
            Cow::Owned(Point { sample: point.value.sample.within(heard), ..point.value })
        } else {
            Cow::Borrowed(&point.value)
        };
        let outcome = running.incidents.take(&judged, &point, &record, heard);
        running.detector.settle(time, outcome.opened);
        if self.settings.trace {
            output.effects.push(Effect::Judged { verdict: Box::new(judged), opened: outcome.opened });
        }
        if offset < self.live_from {
            output.counts.replayed += 1;
            return;
        }
        output.counts.incidents += u64::from(outcome.opened);
        for alert in outcome.alerts {
            self.publish(offset, alert, output);
        }
        self.offsets.release(offset);
    }

    /// Asks for an alert to be published; the offset waits for its acknowledgement.
    fn publish(&mut self, offset: i64, alert: Alert, output: &mut Output) {
        self.offsets.hold(offset);
        self.unacknowledged += 1;
        output.publish(offset, alert);
    }
}

/// Events from which fields are inferred: never more than may not alert anyway, so that no alert waits for them.
fn enough(settings: &Settings) -> usize {
    let silent = usize::try_from(settings.detect.warmup_events).unwrap_or(usize::MAX);
    settings.render.infer_events.min(silent).max(1)
}

/// Bytes that a record takes as long as it is kept.
fn weight(record: &Record) -> usize {
    record.key.as_ref().map_or(0, Vec::len) + record.payload.as_ref().map_or(0, Vec::len)
}

fn is_empty(sample: &crate::flow::Sample) -> bool {
    sample.texts.iter().all(Option::is_none)
        && sample.numbers.iter().all(Option::is_none)
        && sample.categories.iter().all(Option::is_none)
}

fn count(counts: &mut Counts, verdict: &Verdict) {
    counts.judged += 1;
    counts.withheld += u64::from(!verdict.admitted);
    counts.anomalies += u64::from(verdict.is_anomaly());
}
