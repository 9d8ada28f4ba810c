//! Drives the daemon's pipeline over finite inputs, on one thread, one lane after the other.
//!
//! Everything is done in place of the daemon's threads: reading, embedding, acknowledging. A lane is judged to its end before
//! the next begins, so that what comes out depends on nothing but the inputs and the configuration. It must never let what is
//! known of a record (its label) near the pipeline.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::feed::Feed;
use super::label::{Labels, field};
use super::progress::Progress;
use super::trail::{Known, Trail};
use super::{Error, Sinks};
use crate::daemon::embedding::Embedding;
use crate::decode::{self, Decoded};
use crate::detect::Gate;
use crate::embed::worker::Answer;
use crate::flow::{Lane, Record, Schema, Traced, Value};
use crate::pipeline::{Action, Effect, EmbedRequest, Pipeline, Settings};
use crate::render;

/// How long to wait for the embedding worker before looking whether it has broken down.
const LOOK: Duration = Duration::from_millis(100);
/// The only assignment of each lane.
const GENERATION: u64 = 1;

/// Time spent, by stage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) read: Duration,
    pub(super) embed: Duration,
    pub(super) pipeline: Duration,
    pub(super) grade: Duration,
}

/// Where the label stands, and what names a series.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// Pointer of the label, and what its values mean.
    pub(super) label: Option<(String, Labels)>,
    /// Pointer of the field whose value names a record's series.
    pub(super) series: Option<String>,
}

/// What one pass over the inputs gathers.
pub(super) struct Drive<'a> {
    decode: decode::Settings,
    render: render::Settings,
    embedding: &'a mut Embedding,
    reading: &'a Reading,
    sinks: Sinks,
    pub(super) pipeline: Pipeline,
    pub(super) trail: Trail,
    pub(super) spent: Spent,
    pub(super) schemas: BTreeMap<Lane, Arc<Schema>>,
    /// How a transformer's view of each text field stood when its lane was last seen.
    pub(super) gates: BTreeMap<Lane, Vec<Gate>>,
    /// Records taken in and not yet judged: offset, and what is known.
    ahead: VecDeque<(i64, Known)>,
    series: BTreeMap<String, u32>,
    progress: Progress,
    effects: Vec<Effect>,
    actions: VecDeque<Action>,
    /// Requests that the embedding worker has not answered.
    asked: usize,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        settings: &Settings,
        embedding: &'a mut Embedding,
        reading: &'a Reading,
        sinks: Sinks,
        progress: Progress,
    ) -> Self {
        Self {
            decode: settings.decode,
            render: settings.render.clone(),
            embedding,
            reading,
            sinks,
            pipeline: Pipeline::new(Settings { trace: true, ..settings.clone() }),
            trail: Trail::default(),
            spent: Spent::default(),
            schemas: BTreeMap::new(),
            gates: BTreeMap::new(),
            ahead: VecDeque::new(),
            series: BTreeMap::new(),
            progress,
            effects: Vec::new(),
            actions: VecDeque::new(),
            asked: 0,
        }
    }

    /// Judges one input to its end; `batch` records at once.
    ///
    /// # Errors
    /// When it cannot be read, a label cannot be understood, or the embedder cannot go on.
    pub(super) fn lane(&mut self, feed: &mut Feed, batch: usize) -> Result<(), Error> {
        let lane = feed.lane().clone();
        let live_from = feed.first();
        if !self.render.fields.is_empty() {
            self.schemas.insert(lane.clone(), Arc::new(render::schema(&self.render, &[])));
        }
        self.apply(Action::Assigned {
            lane: lane.clone(),
            generation: GENERATION,
            live_from,
            reading: None,
        })?;
        let mut records = Vec::new();
        loop {
            let begun = now();
            let more = feed.read(&mut records);
            self.spent.read += begun.elapsed();
            let more = more?;
            let mut rest = std::mem::take(&mut records).into_iter();
            loop {
                let batch: Vec<Traced<Record>> = rest.by_ref().take(batch.max(1)).collect();
                if batch.is_empty() {
                    break;
                }
                self.learn_labels(feed, &batch)?;
                let action = Action::Read { lane: lane.clone(), generation: GENERATION, records: batch };
                self.apply(action)?;
                while !self.pipeline.accepts() {
                    self.wait()?;
                }
            }
            self.progress.show(self.trail.rows.len(), feed.share());
            if !more {
                break;
            }
        }
        self.wait_for_all()?;
        // How a transformer's view stands once all is judged: a lane that has ended is forgotten. One too short to have
        // settled on its fields by now has nothing to say.
        for view in self.pipeline.lanes().filter(|view| !view.gates.is_empty()) {
            self.gates.insert(view.lane, view.gates);
        }
        self.apply(Action::Ended { lane, generation: GENERATION })?;
        self.wait_for_all()?;
        self.ahead.clear();
        Ok(())
    }

    /// Waits until all that the embedder was asked is answered and judged.
    fn wait_for_all(&mut self) -> Result<(), Error> {
        while self.asked > 0 {
            self.wait()?;
        }
        Ok(())
    }

    /// All inputs are judged.
    ///
    /// # Errors
    /// When the rows cannot be written to their end.
    pub(super) fn finish(mut self) -> Result<Self, Error> {
        self.progress.clear();
        self.trail.finish();
        self.sinks.finish()?;
        Ok(self)
    }

    /// Reads what the pipeline must not know.
    fn learn_labels(&mut self, feed: &Feed, records: &[Traced<Record>]) -> Result<(), Error> {
        if self.reading.label.is_none() && self.reading.series.is_none() {
            return Ok(());
        }
        let begun = now();
        for record in records {
            let mut known = Known::default();
            // What cannot be decoded is put aside by the pipeline, which counts it.
            if let Ok(Decoded::Event(event)) = decode::decode(&self.decode, &record.value) {
                if let Some((pointer, labels)) = &self.reading.label {
                    let said = labels.read(pointer, &event);
                    known.label =
                        said.map_err(|what| Error::Data(format!("{}: {what}", feed.place(&record.origin))))?;
                }
                if let Some(pointer) = &self.reading.series {
                    let name = field(&event, pointer).map_or_else(String::new, written);
                    let name = format!("{}\u{0}{name}", record.origin.lane);
                    let next = u32::try_from(self.series.len()).unwrap_or(u32::MAX);
                    known.series = *self.series.entry(name).or_insert(next);
                }
            }
            self.ahead.push_back((record.origin.offset, known));
        }
        self.spent.grade += begun.elapsed();
        Ok(())
    }

    /// Applies an action and all that comes of it at once.
    fn apply(&mut self, action: Action) -> Result<(), Error> {
        self.actions.push_back(action);
        self.run()
    }

    fn run(&mut self) -> Result<(), Error> {
        loop {
            self.take_answers();
            let Some(action) = self.actions.pop_front() else { return Ok(()) };
            let begun = now();
            self.pipeline.apply(action, &mut self.effects);
            self.spent.pipeline += begun.elapsed();
            let mut effects = std::mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                self.perform(effect)?;
            }
            self.effects = effects;
        }
    }

    fn perform(&mut self, effect: Effect) -> Result<(), Error> {
        match effect {
            Effect::Embed(request) => self.embed(request)?,
            Effect::Publish { ticket, alert } => {
                self.sinks.alert(&alert)?;
                self.actions.push_back(Action::Published(ticket));
            }
            Effect::Reject { ticket, .. } => self.actions.push_back(Action::Published(ticket)),
            Effect::Judged { verdict, opened } => {
                let begun = now();
                let known = self.known(verdict.origin.offset);
                self.trail.take(&verdict, opened, known);
                self.sinks.row(&verdict, opened, known.label)?;
                self.spent.grade += begun.elapsed();
            }
            Effect::Settled { lane, schema, .. } => {
                self.schemas.insert(lane, schema);
            }
            Effect::Commit(_) | Effect::Stopped => {}
        }
        Ok(())
    }

    /// What is known of the event at that offset; those before it were put aside.
    fn known(&mut self, offset: i64) -> Known {
        while let Some((at, known)) = self.ahead.pop_front() {
            if at == offset {
                return known;
            }
        }
        Known::default()
    }

    fn embed(&mut self, request: EmbedRequest) -> Result<(), Error> {
        let begun = now();
        match &mut *self.embedding {
            Embedding::Inline(embedder) => {
                let texts: Vec<&str> = request.texts.iter().map(AsRef::as_ref).collect();
                let embeddings =
                    embedder.embed(&texts).map_err(|error| Error::Embedder(error.to_string()))?;
                self.actions.push_back(Action::Embedded { id: request.id, embeddings });
            }
            Embedding::Worker { worker, answer, lexical, .. } => {
                lexical.ask(&request);
                worker.submit(request, answer);
                self.asked += 1;
            }
        }
        self.spent.embed += begun.elapsed();
        Ok(())
    }

    /// Takes the answers that are there.
    fn take_answers(&mut self) {
        while self.asked > 0 {
            let Embedding::Worker { answers, .. } = &*self.embedding else { return };
            let Ok(answer) = answers.try_recv() else { return };
            self.answered(answer);
        }
    }

    /// Waits for the next answer, for a while.
    fn wait(&mut self) -> Result<(), Error> {
        let Embedding::Worker { worker, answers, .. } = &*self.embedding else {
            return Err(Error::Embedder("an embedder in place has not answered".to_owned()));
        };
        let begun = now();
        let answer = answers.recv_timeout(LOOK);
        self.spent.embed += begun.elapsed();
        match answer {
            Ok(answer) => self.answered(answer),
            Err(_) => {
                if let Some(trouble) = worker.failed() {
                    return Err(Error::Embedder(trouble));
                }
            }
        }
        self.run()
    }

    fn answered(&mut self, answer: Answer) {
        self.asked -= 1;
        let action = self.embedding.joined(answer);
        self.actions.push_back(action);
    }
}

fn written(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(truth) => truth.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a backtest tells how long each stage took")]
pub(super) fn now() -> Instant {
    Instant::now()
}
