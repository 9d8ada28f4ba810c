//! The embedding worker: for embedders that are slower than a function call.
//!
//! ```text
//!  submit ──▶ tokenisers ──▶ model ──▶ Answer
//!    cache,     T threads      one thread: batches by padded
//!    joins                     tokens or age, owns the session
//! ```
//!
//! Equal texts are embedded once: known ones are answered from the cache, ones on their way are joined. The number of
//! texts on their way is bounded, and [`Worker::submit`] waits for room, so the stage before waits too. An answer is
//! complete or does not come: when the model breaks down, nothing is answered (a text that was not embedded must not
//! pass for one that cannot be), [`Worker::failed`] says why, and the daemon has to end.

mod ledger;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use self::ledger::{Done, Job, Ledger};
use super::tokens::{Tokeniser, Tokens};
use super::{EmbedError, fingerprint};
use crate::batch::{self, Batch, Batcher};
use crate::flow::Embedding;
use crate::metrics;
use crate::pipeline::EmbedRequest;

/// How often a model that fails on everything is tried on a text known to work before it counts as broken.
const PROBES: u32 = 3;
/// The wait before the second probe; it doubles.
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// How often a thread that waits looks up.
const PULSE: Duration = Duration::from_millis(5);
/// How often a model without work looks whether it was told to end.
const IDLE: Duration = Duration::from_millis(100);
/// How often the log may tell of texts that cannot be tokenised.
const SAY: Duration = Duration::from_secs(10);
/// Any text that tokenises.
const PROBE: &str = "outlierd";

/// Most texts on their way that large batches are a reason for.
const TEXTS_MAX: usize = 1 << 16;

/// The part of an embedder that many threads share.
pub trait Tokenise: Send + Sync + 'static {
    /// The text's tokens.
    ///
    /// # Errors
    /// When this text has none; it then has no embedding.
    fn tokenise(&self, text: &str) -> Result<Tokens, EmbedError>;
}

/// The part of an embedder that one thread owns.
pub trait Run: Send + 'static {
    /// One vector a text, in order; `None` for a text that has no finite one. A text's vector does not depend on the
    /// others.
    ///
    /// # Errors
    /// When the batch failed as a whole.
    fn run(&mut self, texts: &[Tokens]) -> Result<Vec<Option<Arc<[f32]>>>, EmbedError>;
}

impl Tokenise for Tokeniser {
    fn tokenise(&self, text: &str) -> Result<Tokens, EmbedError> {
        Tokeniser::tokenise(self, text)
    }
}

/// How a worker works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Tokenising threads; 0 for one a core but one, at least one.
    pub tokenisers: usize,
    /// When a batch is full or due.
    pub batch: batch::Settings,
    /// Texts on their way, at most; a single larger request may pass alone.
    pub texts_max: usize,
    /// Vectors kept for texts that come again.
    pub cache_entries: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tokenisers: 0, batch: batch::Settings::default(), texts_max: 2_048, cache_entries: 16_384 }
    }
}

impl Settings {
    /// Room for as many texts as it takes to fill batches of every length. A batch that is not full goes after its wait,
    /// and on a GPU costs as much as a full one: with too few texts on their way all would go so.
    #[must_use]
    pub fn with_room_for_batches(self) -> Self {
        let room = self.batch.tokens_max.saturating_mul(2).min(TEXTS_MAX);
        Self { texts_max: self.texts_max.max(room), ..self }
    }
}

/// What became of a request: one entry a text, in order; `None` where the text cannot be embedded.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The request's id.
    pub id: u64,
    /// The embeddings.
    pub embeddings: Vec<Option<Embedding>>,
}

/// What a worker has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Texts asked for.
    pub texts: u64,
    /// Of these, known from the cache.
    pub cached: u64,
    /// Of these, joined to an equal text on its way.
    pub joined: u64,
    /// Of these, without an embedding.
    pub failed: u64,
    /// Batches run.
    pub batches: u64,
    /// Tokens run, without padding.
    pub tokens: u64,
    /// Tokens run, with padding.
    pub tokens_padded: u64,
    /// Time in the model.
    pub busy: Duration,
}

/// A handle to the worker; clone it for each thread that asks. When the last is dropped, what is on its way is answered
/// and the threads end.
#[derive(Clone)]
pub struct Worker {
    jobs: Sender<Job>,
    ledger: Arc<Ledger>,
    tokenisers: Arc<Mutex<Vec<JoinHandle<()>>>>,
    model: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Worker {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread cannot be started, or the tokeniser cannot read a plain word.
    pub fn start(settings: Settings, tokeniser: impl Tokenise, model: impl Run) -> Result<Self, EmbedError> {
        let probe = tokeniser.tokenise(PROBE)?;
        let ledger = Arc::new(Ledger::new(settings));
        let room = settings.texts_max.max(1);
        let (jobs, to_tokenise) = bounded(room);
        let (ready, to_run) = bounded(room);
        let spawn = |name: String, work: Box<dyn FnOnce() + Send>| {
            let unable = |error| EmbedError::Unusable(format!("thread {name} cannot be started: {error}"));
            thread::Builder::new().name(name.clone()).spawn(work).map_err(unable)
        };
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let count = if settings.tokenisers == 0 { cores() - 1 } else { settings.tokenisers };
        let tokeniser = Arc::new(tokeniser);
        let mut tokenisers = Vec::new();
        for number in 0..count.max(1) {
            let (tokeniser, ledger) = (Arc::clone(&tokeniser), Arc::clone(&ledger));
            let (jobs, ready) = (to_tokenise.clone(), ready.clone());
            tokenisers.push(spawn(
                format!("tokenise-{number}"),
                Box::new(move || tokenise(&*tokeniser, &ledger, &jobs, &ready)),
            )?);
        }
        let model = ModelThread {
            model,
            probe,
            batcher: Batcher::new(settings.batch),
            texts: to_run,
            ledger: Arc::clone(&ledger),
        };
        let model = spawn("embed".to_owned(), Box::new(move || model.work()))?;
        let (tokenisers, model) = (Arc::new(Mutex::new(tokenisers)), Arc::new(Mutex::new(Some(model))));
        Ok(Self { jobs, ledger, tokenisers, model })
    }

    /// Asks for a request's embeddings; waits, in the order of arrival, while too many texts are on their way. The
    /// answer goes to `reply`, from
    /// this or another thread, not always in the order of requests. `reply` must have room for all requests that its
    /// owner has open, or everyone waits; where nobody listens any more, the answer is dropped.
    pub fn submit(&self, request: EmbedRequest, reply: &Sender<Answer>) {
        let texts: Vec<(u64, Arc<str>)> =
            request.texts.into_iter().map(|text| (fingerprint(&text), text)).collect();
        let asked = now();
        let mut state = self.ledger.wait_for_room(texts.len());
        if state.failure.is_some() {
            return;
        }
        let (jobs, done) = state.open(request.id, texts, reply, asked);
        drop(state);
        done.into_iter().for_each(Done::send);
        for job in jobs {
            if self.jobs.send(job).is_err() {
                self.ledger.fail("the embedding threads have ended".to_owned());
            }
        }
    }

    /// Why nothing is answered any more, if so.
    pub fn failed(&self) -> Option<String> {
        self.ledger.lock().failure.clone()
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.ledger.lock().stats
    }

    /// Has the model's thread end after the batch that runs, whatever is on its way, and waits for that for so long. A
    /// process that leaves while a model is being taken off a GPU dies in the driver's own clearing up. False when the
    /// thread did not end in time.
    pub fn end(&self, patience: Duration) -> bool {
        self.ledger.fail("the embedding worker was told to end".to_owned());
        let deadline = now() + patience;
        let mut held = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        while held.as_ref().is_some_and(|model| !model.is_finished()) {
            if now() >= deadline {
                return false;
            }
            thread::sleep(PULSE);
        }
        // What a panic had to say was said.
        drop(held.take().map(JoinHandle::join));
        true
    }

    /// Gives this handle up and waits for the threads to end, which they do once all other handles are gone and all
    /// that is on its way is answered. Returns why the worker failed, if so.
    pub fn join(self) -> Option<String> {
        let Self { jobs, ledger, tokenisers, model } = self;
        drop(jobs);
        let tokenisers = std::mem::take(&mut *tokenisers.lock().unwrap_or_else(PoisonError::into_inner));
        let model = model.lock().unwrap_or_else(PoisonError::into_inner).take();
        for thread in tokenisers.into_iter().chain(model) {
            if thread.join().is_err() {
                ledger.fail("an embedding thread panicked".to_owned());
            }
        }
        ledger.lock().failure.clone()
    }
}

struct Ready {
    fingerprint: u64,
    tokens: Tokens,
    asked: Instant,
}

fn tokenise(tokeniser: &impl Tokenise, ledger: &Ledger, jobs: &Receiver<Job>, ready: &Sender<Ready>) {
    let (mut failed, mut said): (u64, Option<Instant>) = (0, None);
    for Job { fingerprint, text, asked } in jobs {
        match guarded(|| tokeniser.tokenise(&text)) {
            Ok(tokens) => {
                if ready.send(Ready { fingerprint, tokens, asked }).is_err() {
                    return;
                }
            }
            Err(error) => {
                failed += 1;
                if said.is_none_or(|said| said.elapsed() >= SAY) {
                    said = Some(now());
                    tracing::warn!(%error, bytes = text.len(), failed, "texts cannot be tokenised");
                }
                ledger.settle([(fingerprint, None)]);
            }
        }
    }
}

/// Another's code must not take a thread of ours with it.
fn guarded<T>(work: impl FnOnce() -> Result<T, EmbedError>) -> Result<T, EmbedError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word");
        Err(EmbedError::Batch(format!("panicked: {words}")))
    })
}

struct ModelThread<M> {
    model: M,
    probe: Tokens,
    batcher: Batcher<Ready>,
    texts: Receiver<Ready>,
    ledger: Arc<Ledger>,
}

impl<M: Run> ModelThread<M> {
    fn work(mut self) {
        let ledger = Arc::clone(&self.ledger);
        match guarded(|| self.serve()) {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, "the model is broken");
                ledger.fail(error.to_string());
            }
        }
    }

    fn serve(&mut self) -> Result<(), EmbedError> {
        while self.ledger.lock().failure.is_none() {
            let more = self.gather();
            let batch = if more { self.batcher.take(now()) } else { self.batcher.flush() };
            match batch {
                Some(batch) => self.run(batch)?,
                None if more => {}
                None => break,
            }
        }
        Ok(())
    }

    /// Takes in all that is there; waits if that makes no batch. False when no more will come. What it holds is bounded
    /// by the texts on their way.
    fn gather(&mut self) -> bool {
        loop {
            match self.texts.try_recv() {
                Ok(text) => self.push(text),
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => break,
            }
        }
        if self.batcher.is_full() {
            return true;
        }
        let text = match self.batcher.deadline() {
            Some(deadline) => self.texts.recv_deadline(deadline),
            None => self.texts.recv_timeout(IDLE),
        };
        match text {
            Ok(text) => self.push(text),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => {}
        }
        true
    }

    fn push(&mut self, text: Ready) {
        self.batcher.push(now(), text.tokens.len(), text);
    }

    /// Runs a batch; if that fails, each of its texts alone. A text that fails alone has no embedding, if the model
    /// works otherwise.
    fn run(&mut self, batch: Batch<Ready>) -> Result<(), EmbedError> {
        let padded = batch.padded * batch.items.len();
        let waited = batch.items.iter().map(|text| text.asked.elapsed()).max().unwrap_or_default();
        metrics::batched(padded, waited);
        let (fingerprints, tokens): (Vec<u64>, Vec<Tokens>) =
            batch.items.into_iter().map(|text| (text.fingerprint, text.tokens)).unzip();
        self.count(padded, &tokens);
        let error = match self.vectors(&tokens) {
            Ok(vectors) => {
                self.ledger.settle(fingerprints.into_iter().zip(vectors));
                return Ok(());
            }
            Err(error) => error,
        };
        tracing::warn!(%error, texts = tokens.len(), "a batch failed, its texts run one by one");
        let mut bad = Vec::new();
        let mut works = false;
        for (fingerprint, tokens) in fingerprints.into_iter().zip(tokens) {
            match self.vectors(std::slice::from_ref(&tokens)) {
                Ok(vectors) => {
                    works = true;
                    self.ledger.settle([(fingerprint, vectors.into_iter().next().flatten())]);
                }
                Err(_) => bad.push((fingerprint, None)),
            }
        }
        if !works {
            self.probe()?;
        }
        self.ledger.settle(bad);
        Ok(())
    }

    /// Whether the model still works at all.
    fn probe(&mut self) -> Result<(), EmbedError> {
        let probe = [self.probe.clone()];
        let mut outcome = self.vectors(&probe);
        for attempt in 1..PROBES {
            if outcome.is_ok() {
                break;
            }
            thread::sleep(PROBE_PAUSE * attempt);
            outcome = self.vectors(&probe);
        }
        outcome.map(drop)
    }

    fn vectors(&mut self, tokens: &[Tokens]) -> Result<Vec<Option<Arc<[f32]>>>, EmbedError> {
        let start = now();
        let vectors = guarded(|| self.model.run(tokens));
        let took = start.elapsed();
        metrics::embedded(tokens.len(), took);
        self.ledger.lock().stats.busy += took;
        let vectors = vectors?;
        if vectors.len() != tokens.len() {
            return Err(EmbedError::Batch(format!("{} vectors for {} texts", vectors.len(), tokens.len())));
        }
        Ok(vectors)
    }

    fn count(&self, padded: usize, tokens: &[Tokens]) {
        let mut state = self.ledger.lock();
        state.stats.batches += 1;
        state.stats.tokens += tokens.iter().map(|tokens| tokens.len() as u64).sum::<u64>();
        state.stats.tokens_padded += padded as u64;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this edge waits for batches to fill; no verdict sees the time"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
