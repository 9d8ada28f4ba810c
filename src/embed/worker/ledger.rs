//! Which texts are on their way, and who waits for them.
//!
//! One lock over all of it: it is held for look-ups only, never while a channel or the model is waited for. A text is
//! on its way once, however many wait for it; how many may wait has a bound. Who waits for room gets it in the order
//! of arrival: smaller requests of other shards must not keep a large one waiting for ever.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::Sender;

use super::{Answer, Settings, Stats};
use crate::embed::cache::Cache;
use crate::flow::Embedding;

/// A text to be embedded.
pub(super) struct Job {
    pub(super) fingerprint: u64,
    pub(super) text: Arc<str>,
    /// When it was asked for.
    pub(super) asked: Instant,
}

/// A complete answer and where it goes. It is sent when no lock is held.
pub(super) struct Done {
    answer: Answer,
    reply: Sender<Answer>,
}

impl Done {
    pub(super) fn send(self) {
        // A receiver that is gone has lost its partitions or is at its end: it wants no answer.
        drop(self.reply.send(self.answer));
    }
}

/// A request some of whose texts are on their way.
struct Open {
    done: Done,
    left: usize,
}

/// A text's place: request and position.
type Place = (u64, usize);

pub(super) struct Ledger {
    state: Mutex<State>,
    /// Told when texts have come home, the next in line may look for room, or all is lost.
    room: Condvar,
    texts_max: usize,
}

pub(super) struct State {
    cache: Cache,
    /// Requests by the order they came in.
    open: BTreeMap<u64, Open>,
    /// Who waits for a text, by its fingerprint.
    waiting: BTreeMap<u64, Vec<Place>>,
    /// Places that wait.
    on_their_way: usize,
    requests: u64,
    /// Requests that have asked for room.
    pub(super) asked: u64,
    /// Requests that have got it, in the order in which they asked.
    admitted: u64,
    /// Why nothing is answered any more.
    pub(super) failure: Option<String>,
    pub(super) stats: Stats,
}

impl Ledger {
    pub(super) fn new(settings: Settings) -> Self {
        let state = State {
            cache: Cache::new(settings.cache_entries),
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            on_their_way: 0,
            requests: 0,
            asked: 0,
            admitted: 0,
            failure: None,
            stats: Stats::default(),
        };
        Self { state: Mutex::new(state), room: Condvar::new(), texts_max: settings.texts_max }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for those who came before, and then for room; or for the failure, which waits for nobody.
    pub(super) fn wait_for_room(&self, texts: usize) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let ticket = state.asked;
        state.asked += 1;
        let full = |state: &mut State| {
            let crowded = state.on_their_way > 0 && state.on_their_way + texts > self.texts_max;
            (state.admitted < ticket || crowded) && state.failure.is_none()
        };
        let mut state = self.room.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
        state.admitted += 1;
        if state.admitted < state.asked {
            // The next in line, who may find room as well, once this lock is given up.
            self.room.notify_all();
        }
        state
    }

    /// Hands vectors to those who wait for them.
    pub(super) fn settle(&self, vectors: impl IntoIterator<Item = (u64, Option<Arc<[f32]>>)>) {
        let mut state = self.lock();
        let done: Vec<Done> = vectors
            .into_iter()
            .flat_map(|(fingerprint, vector)| state.settle(fingerprint, vector.as_ref()))
            .collect();
        drop(state);
        self.room.notify_all();
        done.into_iter().for_each(Done::send);
    }

    /// The end: whoever waits for an answer waits in vain, so nobody shall wait for room.
    pub(super) fn fail(&self, why: String) {
        let mut state = self.lock();
        state.failure.get_or_insert(why);
        state.open.clear();
        state.waiting.clear();
        state.on_their_way = 0;
        drop(state);
        self.room.notify_all();
    }
}

impl State {
    /// Takes a request in: what has to be embedded, and the answer if that is nothing.
    pub(super) fn open(
        &mut self,
        id: u64,
        texts: Vec<(u64, Arc<str>)>,
        reply: &Sender<Answer>,
        asked: Instant,
    ) -> (Vec<Job>, Option<Done>) {
        let request = self.requests;
        self.requests += 1;
        self.stats.texts += texts.len() as u64;
        let mut embeddings = vec![None; texts.len()];
        let (mut jobs, mut left) = (Vec::new(), 0);
        for (at, (fingerprint, text)) in texts.into_iter().enumerate() {
            if let Some(vector) = self.cache.get(fingerprint) {
                self.stats.cached += 1;
                embeddings[at] = Some(Embedding { fingerprint, vector, meaning: None });
                continue;
            }
            left += 1;
            if let Some(places) = self.waiting.get_mut(&fingerprint) {
                self.stats.joined += 1;
                places.push((request, at));
            } else {
                self.waiting.insert(fingerprint, vec![(request, at)]);
                jobs.push(Job { fingerprint, text, asked });
            }
        }
        self.on_their_way += left;
        let done = Done { answer: Answer { id, embeddings }, reply: reply.clone() };
        if left == 0 {
            return (jobs, Some(done));
        }
        self.open.insert(request, Open { done, left });
        (jobs, None)
    }

    fn settle(&mut self, fingerprint: u64, vector: Option<&Arc<[f32]>>) -> Vec<Done> {
        if let Some(vector) = vector {
            self.cache.insert(fingerprint, Arc::clone(vector));
        }
        let mut done = Vec::new();
        for (request, at) in self.waiting.remove(&fingerprint).unwrap_or_default() {
            self.on_their_way -= 1;
            self.stats.failed += u64::from(vector.is_none());
            let Some(open) = self.open.get_mut(&request) else { continue };
            if let Some(place) = open.done.answer.embeddings.get_mut(at) {
                let embedding = |vector| Embedding { fingerprint, vector: Arc::clone(vector), meaning: None };
                *place = vector.map(embedding);
            }
            open.left -= 1;
            if open.left == 0 {
                done.extend(self.open.remove(&request).map(|open| open.done));
            }
        }
        done
    }
}
