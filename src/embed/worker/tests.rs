//! The worker, with a tokeniser and a model that do as they are told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::Receiver;

use super::*;

/// A text's bytes are its tokens; `tokenless` has none.
struct Bytes;

impl Tokenise for Bytes {
    fn tokenise(&self, text: &str) -> Result<Tokens, EmbedError> {
        match text {
            "tokenless" => Err(EmbedError::Batch("no tokens".to_owned())),
            "panics" => panic!("a library's mistake"),
            text => Ok(text.bytes().map(u32::from).collect()),
        }
    }
}

/// A model that writes down what it ran and misbehaves when told.
#[derive(Clone, Default)]
struct Fake {
    /// Texts of each successful batch.
    ran: Arc<Mutex<Vec<Vec<String>>>>,
    broken: Arc<AtomicBool>,
    /// Each run takes one of these, where there is such a channel.
    leave: Option<Receiver<()>>,
    /// Texts that have come out.
    settled: Arc<AtomicUsize>,
}

impl Run for Fake {
    fn run(&mut self, texts: &[Tokens]) -> Result<Vec<Option<Arc<[f32]>>>, EmbedError> {
        if let Some(leave) = &self.leave {
            leave.recv().ok();
        }
        let words: Vec<String> =
            texts.iter().map(|text| text.iter().filter_map(|b| char::from_u32(*b)).collect()).collect();
        assert!(!words.iter().any(|word| word == "crash"), "the model's own mistake");
        if self.broken.load(Ordering::SeqCst) || words.iter().any(|word| word == "poison") {
            return Err(EmbedError::Batch("out of order".to_owned()));
        }
        let vectors =
            texts.iter().zip(&words).map(|(text, word)| (word != "nan").then(|| expected(text))).collect();
        self.settled.fetch_add(words.len(), Ordering::SeqCst);
        self.ran.lock().expect("no test panics with it").push(words);
        Ok(vectors)
    }
}

fn expected(tokens: &[u32]) -> Arc<[f32]> {
    Arc::from([tokens.len() as f32, tokens.iter().enumerate().map(|(at, b)| at as f32 * *b as f32).sum()])
}

fn settings() -> Settings {
    let batch = batch::Settings { tokens_max: 64, wait_max: Duration::from_millis(1) };
    Settings { tokenisers: 2, batch, texts_max: 32, cache_entries: 1 << 16 }
}

fn start(fake: &Fake) -> (Worker, Sender<Answer>, Receiver<Answer>) {
    let worker = Worker::start(settings(), Bytes, fake.clone()).expect("threads start");
    let (reply, answers) = bounded(10_000);
    (worker, reply, answers)
}

fn request(id: u64, texts: &[&str]) -> EmbedRequest {
    EmbedRequest { id, texts: texts.iter().map(|text| Arc::from(*text)).collect() }
}

fn check(answer: &Answer, texts: &[&str]) {
    assert_eq!(answer.embeddings.len(), texts.len());
    for (embedding, text) in answer.embeddings.iter().zip(texts) {
        let tokens: Tokens = text.bytes().map(u32::from).collect();
        let embedding = embedding.as_ref().unwrap_or_else(|| panic!("{text} has an embedding"));
        assert_eq!((&embedding.vector, embedding.fingerprint), (&expected(&tokens), fingerprint(text)));
    }
}

#[test]
fn every_request_is_answered_once_and_whole_whoever_asks() {
    let fake = Fake::default();
    let (worker, ..) = start(&fake);
    let texts: Vec<String> = (0..500).map(|i| format!("text {i} {}", "x".repeat(i % 40))).collect();
    thread::scope(|scope| {
        for asker in 0..3 {
            let (worker, texts) = (worker.clone(), &texts);
            scope.spawn(move || {
                let (reply, answers) = bounded(1_000);
                let asked = |id: usize| -> Vec<&str> {
                    (0..=id % 5).map(|at| texts[(id * 7 + at * 3 + asker) % 500].as_str()).collect()
                };
                for id in 0..1_000 {
                    worker.submit(request(id as u64, &asked(id)), &reply);
                }
                let mut seen = vec![0; 1_000];
                for answer in answers.iter().take(1_000) {
                    let id = usize::try_from(answer.id).expect("small");
                    check(&answer, &asked(id));
                    seen[id] += 1;
                }
                assert!(seen.iter().all(|count| *count == 1));
            });
        }
    });
    let stats = worker.stats();
    assert_eq!(worker.join(), None);
    let ran = fake.ran.lock().expect("the thread is gone");
    assert_eq!(ran.iter().map(Vec::len).sum::<usize>(), 500, "each text was embedded once");
    assert_eq!(stats.texts, 3 * 3_000);
    assert_eq!(stats.cached + stats.joined, 3 * 3_000 - 500);
    assert_eq!((stats.batches, stats.failed), (ran.len() as u64, 0));
    assert!(ran.iter().any(|batch| batch.len() > 1), "texts share batches");
}

#[test]
fn an_equal_text_on_its_way_is_joined_and_one_at_home_is_known() {
    let (go, leave) = bounded(16);
    let fake = Fake { leave: Some(leave), ..Fake::default() };
    let (worker, reply, answers) = start(&fake);
    worker.submit(request(1, &["same", "same"]), &reply);
    worker.submit(request(2, &["same"]), &reply);
    assert_eq!((worker.stats().joined, worker.stats().cached), (2, 0));
    go.send(()).expect("the model waits");
    for answer in answers.iter().take(2) {
        check(&answer, if answer.id == 1 { &["same", "same"] } else { &["same"] });
    }
    worker.submit(request(3, &["same"]), &reply);
    check(&answers.recv().expect("known"), &["same"]);
    assert_eq!(worker.stats().cached, 1);
    assert_eq!(*fake.ran.lock().expect("no panic"), [["same"]]);
}

#[test]
fn a_text_that_fails_alone_has_none_and_its_batch_mates_have_theirs() {
    let fake = Fake::default();
    let (worker, reply, answers) = start(&fake);
    let bad = ["poison", "nan", "tokenless", "panics", "crash"];
    for (id, bad) in bad.into_iter().enumerate() {
        worker.submit(request(id as u64, &["before", bad, "after", bad]), &reply);
        let answer = answers.recv().expect("an answer");
        let has: Vec<bool> = answer.embeddings.iter().map(Option::is_some).collect();
        assert_eq!(has, [true, false, true, false], "{bad}");
    }
    worker.submit(request(9, &[]), &reply);
    assert!(answers.recv().expect("even nothing is answered").embeddings.is_empty());
    assert_eq!(worker.failed(), None);
    assert_eq!(worker.stats().failed, 10);
}

#[test]
fn a_broken_model_answers_nothing_and_says_so() {
    let fake = Fake::default();
    let (worker, reply, answers) = start(&fake);
    fake.broken.store(true, Ordering::SeqCst);
    for id in 0..100 {
        worker.submit(request(id, &[&format!("text {id}")]), &reply);
    }
    drop(reply);
    assert!(answers.recv().is_err(), "no answer, and nobody holds a way to send one");
    assert!(worker.failed().is_some_and(|why| why.contains("out of order")));
    let (reply, answers) = bounded(1);
    worker.submit(request(100, &["after"]), &reply);
    drop(reply);
    assert!(answers.recv().is_err());
    assert!(worker.join().is_some());
}

#[test]
fn a_model_that_recovers_while_probed_lives_on() {
    let fake = Fake::default();
    let (worker, reply, answers) = start(&fake);
    fake.broken.store(true, Ordering::SeqCst);
    worker.submit(request(0, &["lost"]), &reply);
    while worker.stats().busy == Duration::ZERO {
        thread::yield_now();
    }
    fake.broken.store(false, Ordering::SeqCst);
    assert_eq!(answers.recv().expect("it lives").id, 0);
    worker.submit(request(1, &["next"]), &reply);
    check(&answers.recv().expect("it works"), &["next"]);
    assert_eq!(worker.failed(), None);
}

#[test]
fn the_last_handle_ends_the_threads_after_what_is_on_its_way() {
    let (go, leave) = bounded(100);
    let fake = Fake { leave: Some(leave), ..Fake::default() };
    let (worker, reply, answers) = start(&fake);
    let texts: Vec<String> = (0..20).map(|i| i.to_string()).collect();
    for (id, text) in texts.iter().enumerate() {
        worker.submit(request(id as u64, &[text]), &reply);
    }
    let other = worker.clone();
    drop(worker);
    drop(go);
    assert_eq!(other.join(), None);
    drop(reply);
    assert_eq!(answers.iter().count(), 20);
}

#[test]
fn a_worker_that_is_told_to_end_leaves_what_is_on_its_way() {
    let (go, leave) = bounded(0);
    let fake = Fake { leave: Some(leave), ..Fake::default() };
    let (worker, reply, answers) = start(&fake);
    let texts: Vec<String> = (0..20).map(|i| "x".repeat(i + 33)).collect();
    for (id, text) in texts.iter().enumerate() {
        worker.submit(request(id as u64, &[text]), &reply);
    }
    go.send(()).expect("the model waits");
    let other = worker.clone();
    worker.end(Duration::ZERO);
    drop(go);
    assert!(other.end(Duration::from_secs(60)), "though handles are there");
    assert!(other.failed().is_some());
    drop(reply);
    // The batch that ran, and perhaps the one after it.
    assert!(fake.ran.lock().expect("the thread is gone").len() <= 2, "of twenty");
    assert!(answers.iter().count() <= 2);
}

#[test]
fn an_idle_worker_ends_when_told() {
    let (worker, ..) = start(&Fake::default());
    assert!(worker.end(Duration::from_secs(60)));
    assert!(worker.end(Duration::ZERO), "it has ended");
}

#[test]
fn an_answer_nobody_waits_for_is_dropped() {
    let fake = Fake::default();
    let (worker, reply, answers) = start(&fake);
    drop(answers);
    for id in 0..200 {
        worker.submit(request(id, &[&format!("text {id}")]), &reply);
    }
    assert_eq!(worker.join(), None);
}

#[test]
fn room_is_given_in_the_order_of_arrival_and_a_failure_frees_all() {
    for fails in [false, true] {
        let ledger = Ledger::new(Settings { texts_max: 4, ..settings() });
        let (reply, _answers) = bounded(1);
        let texts = (0..3).map(|text| (text, Arc::from("")));
        ledger.wait_for_room(3).open(0, texts.collect(), &reply, now());
        let order = Mutex::new(Vec::new());
        let ask = |texts| {
            let state = ledger.wait_for_room(texts);
            assert_eq!(state.failure.is_some(), fails);
            order.lock().expect("no panic").push(texts);
        };
        let overtaken = thread::scope(|scope| {
            // One too large to share, and one that there is room for.
            for (asked, texts) in [(2, 8), (3, 1)] {
                scope.spawn(move || ask(texts));
                while ledger.lock().asked < asked {
                    thread::yield_now();
                }
            }
            let overtaken = !order.lock().expect("no panic").is_empty();
            if fails {
                ledger.fail("broken".to_owned());
            } else {
                ledger.settle((0..3).map(|text| (text, None)));
            }
            overtaken
        });
        let mut order = order.into_inner().expect("no panic");
        assert!(!overtaken, "{order:?}");
        if fails {
            order.sort_unstable_by(|a, b| b.cmp(a));
        }
        assert_eq!(order, [8, 1]);
    }
}

#[test]
fn no_more_texts_are_on_their_way_than_allowed() {
    let (go, leave) = bounded(1);
    let fake = Fake { leave: Some(leave), ..Fake::default() };
    let (worker, reply, answers) = start(&fake);
    let (submitted, mut most) = (AtomicUsize::new(0), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for id in 0..300 {
                worker.submit(request(id, &[&format!("text {id}")]), &reply);
                submitted.fetch_add(1, Ordering::SeqCst);
            }
        });
        while answers.len() < 300 {
            // In this order: what is submitted after the first look can only make the true number larger.
            let returned = submitted.load(Ordering::SeqCst);
            most = most.max(returned.saturating_sub(fake.settled.load(Ordering::SeqCst)));
            go.try_send(()).ok();
            thread::yield_now();
        }
    });
    assert!(most <= 32, "{most} texts were on their way");
    let large: Vec<String> = (0..100).map(|i| format!("large {i}")).collect();
    drop(go);
    worker.submit(request(300, &large.iter().map(String::as_str).collect::<Vec<_>>()), &reply);
    assert!(
        answers.iter().take(301).any(|answer| answer.embeddings.len() == 100),
        "a larger request passes alone"
    );
}
