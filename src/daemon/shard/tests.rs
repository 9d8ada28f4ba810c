//! A shard's sign of life, with a model that answers only when it is let.

use std::thread;

use crossbeam_channel::bounded;

use super::super::notify::{Pulse, Watch};
use super::*;
use crate::config::Config;
use crate::embed::EmbedError;
use crate::embed::tokens::Tokens;
use crate::embed::worker::{Run, Settings, Tokenise};
use crate::flow::{Origin, Record, Time, Traced};

struct Bytes;

impl Tokenise for Bytes {
    fn tokenise(&self, text: &str) -> Result<Tokens, EmbedError> {
        Ok(text.bytes().map(u32::from).collect())
    }
}

/// Says when it runs, and runs until nobody holds it.
struct Held {
    runs: Sender<()>,
    hold: Receiver<()>,
}

impl Run for Held {
    fn run(&mut self, texts: &[Tokens]) -> Result<Vec<Option<Arc<[f32]>>>, EmbedError> {
        let _unless_nobody_asks = self.runs.try_send(());
        assert!(self.hold.recv().is_err(), "nothing is sent, the other end is dropped");
        Ok(texts.iter().map(|_| Some(Arc::from([1.0_f32, 0.0].as_slice()))).collect())
    }
}

fn arrival(action: Action) -> Arrival {
    Arrival { action, sent: now() }
}

/// Whether it beats within so many of the shard's pulses.
fn beats(watch: &mut Watch, pulses: u32) -> bool {
    watch.moved();
    (0..pulses).any(|_| {
        thread::sleep(PULSE);
        watch.moved()
    })
}

#[test]
fn an_idle_shard_beats_and_one_whose_model_hangs_does_not() {
    let sets = [("source.topics", "[\"logs\"]"), ("render.infer_events", "20")];
    let config = Config::load(None, &sets.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let pipeline = Pipeline::new(config.expect("it is valid").pipeline);
    let ((runs, running), (held, hold)) = (bounded(1), bounded(0));
    let worker = Worker::start(Settings::default(), Bytes, Held { runs, hold }).expect("it starts");
    let (answer, answers) = bounded(64);
    let (inlet, inbox) = bounded(4);
    let (_ack, acknowledgements) = bounded(4);
    let ((outgoing, _taken), (commits, _committed)) = (bounded(64), bounded(64));
    let (pulse, abandon) = (Pulse::default(), Arc::new(AtomicBool::new(false)));
    let embedding = Embedding::Worker { worker, answer, answers, lexical: Lexical::default() };
    let mut watch = pulse.watch(embedding.work());
    let shard = Shard {
        index: 0,
        pipeline,
        warmup: 1,
        embedding,
        inbox,
        acknowledgements,
        outgoing,
        commits,
        abandon: Arc::clone(&abandon),
        progress: Arc::default(),
        panel: Arc::default(),
        pulse,
    };
    let thread = thread::Builder::new().spawn(move || shard.run()).expect("it starts");
    assert!(beats(&mut watch, 50), "idle, with nothing to read");

    let lane = Lane { topic: "logs".into(), partition: 0 };
    inlet
        .send(arrival(Action::Assigned { lane: lane.clone(), generation: 1, live_from: 0, reading: None }))
        .expect("it listens");
    let records = (0..40).map(|offset| {
        let record =
            Record { payload: Some(format!("message {offset} of many").into_bytes()), ..Record::default() };
        let origin = Origin { lane: lane.clone(), offset, time: Time(offset) };
        Traced { origin, value: record }
    });
    inlet
        .send(arrival(Action::Read { lane: lane.clone(), generation: 1, records: records.collect() }))
        .expect("it listens");
    running.recv_timeout(Duration::from_secs(20)).expect("the model is asked");
    // What it did before is counted once more; then it waits for an answer that does not come.
    thread::sleep(PULSE * 3);
    assert!(!beats(&mut watch, 5), "it asked, and nothing answers");

    drop(held);
    assert!(beats(&mut watch, 50), "the model answers again");
    abandon.store(true, Ordering::Relaxed);
    assert!(thread.join().expect("it does not break").is_ok());
    assert!(watch.moved(), "what has ended is not waited for");
}
