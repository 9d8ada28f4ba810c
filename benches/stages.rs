//! The pipeline on one thread, whole and stage by stage, and what it costs in processor time.

use std::hint::black_box;
use std::sync::Arc;

use outlierd::alert::Incidents;
use outlierd::decode::{self, Decoded};
use outlierd::detect::Detector;
use outlierd::embed::{Embedder, hashed::Hashed};
use outlierd::flow::{Embedding, Event, Lane, Origin, Point, Record, Sample, Schema, Time, Traced, Verdict};
use outlierd::pipeline::{self, Action, Effect, Pipeline};
use outlierd::render::{self, Renderer};

/// Texts whose vectors the embedder keeps, as by default.
const CACHE: usize = 20_000;
/// Records handed over at a time.
const CHUNK: usize = 512;

/// Nanoseconds that this thread has run: others may use the machine, too. On a system that does not tell, those that
/// have passed. As fresh as the scheduler's last tick, a few milliseconds old.
#[expect(clippy::disallowed_methods, reason = "a benchmark asks the clock")]
pub(crate) fn clock() -> f64 {
    thread_local!(static START: std::time::Instant = std::time::Instant::now());
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let run = told.and_then(|told| told.split_whitespace().next()?.parse().ok());
    run.unwrap_or_else(|| START.with(|start| start.elapsed().as_secs_f64() * 1e9))
}

/// Nanoseconds of the fastest of some rounds.
pub(crate) fn fastest(rounds: usize, mut round: impl FnMut()) -> f64 {
    let time = |_| {
        let start = clock();
        round();
        clock() - start
    };
    (0..rounds).map(time).fold(f64::INFINITY, f64::min)
}

/// Where a record came from.
pub(crate) fn origin(offset: usize) -> Origin {
    let lane = Lane { topic: "demo".into(), partition: 0 };
    Origin { lane, offset: i64::try_from(offset).unwrap(), time: Time(0) }
}

/// How records are read.
pub(crate) fn schema(settings: &pipeline::Settings, records: &[Record]) -> Arc<Schema> {
    let first = records.iter().take(settings.render.infer_events);
    let first: Vec<Event> = first.map(|record| decoded(settings, record)).collect();
    Arc::new(render::schema(&settings.render, &first))
}

pub(crate) fn decoded(settings: &pipeline::Settings, record: &Record) -> Event {
    match decode::decode(&settings.decode, record) {
        Ok(Decoded::Event(event)) => event,
        _ => Event::default(),
    }
}

pub(crate) fn embed(hashed: &mut Hashed, sample: &Sample) -> Vec<Option<Embedding>> {
    let texts: Vec<&str> = sample.texts.iter().flatten().map(AsRef::as_ref).collect();
    hashed.embed(&texts).unwrap()
}

/// Prints what each stage costs an event, and all of them as the pipeline runs them.
pub(crate) fn print(settings: &pipeline::Settings, records: &[Record], rounds: usize) {
    let schema = schema(settings, records);
    let mut times = [f64::INFINITY; NAMES.len()];
    for _ in 0..rounds {
        let round = by_stage(settings, &schema, records);
        times.iter_mut().zip(round).for_each(|(least, time)| *least = least.min(time));
    }
    let whole = fastest(rounds, || _ = run(settings, records));

    let Schema { texts, numbers, categories, keys, .. } = &*schema;
    let [texts, numbers, categories, keys] = [texts, numbers, categories, keys].map(Vec::len);
    println!("fields: {texts} texts, {numbers} numbers, {categories} categories, {keys} keys\n");
    println!("{:<24}{:>12}{:>10}", "stage", "ns/event", "share");
    let sum: f64 = times.iter().sum();
    let row = |name: &str, time: f64| {
        println!("{name:<24}{:>12.0}{:>9.1}%", time / records.len() as f64, 100.0 * time / sum);
    };
    NAMES.into_iter().zip(times).for_each(|(name, time)| row(name, time));
    row("sum of stages", sum);
    row("the pipeline as a whole", whole);
    println!("\n{:.0} events a second through the pipeline", records.len() as f64 / whole * 1e9);
}

const NAMES: [&str; 5] = ["decode", "render", "embed", "detect", "alert"];

/// Nanoseconds of each stage, run over some hundred records at a time, as the pipeline does: over all at once, each
/// would find its input gone from the processor's cache.
fn by_stage(settings: &pipeline::Settings, schema: &Arc<Schema>, records: &[Record]) -> [f64; NAMES.len()] {
    let renderer = Renderer::new(&settings.render, Arc::clone(schema));
    let mut detector = Detector::new(settings.detect, Arc::clone(schema));
    let (mut hashed, mut incidents) = (Hashed::new(CACHE), Incidents::new(settings.alert));
    let mut times = [0.0; NAMES.len()];
    for (number, records) in records.chunks(CHUNK).enumerate() {
        let owned: Vec<Arc<Record>> = records.iter().cloned().map(Arc::new).collect();
        let start = clock();
        let events: Vec<Event> = records.iter().map(|record| decoded(settings, record)).collect();
        let decoded = clock();
        let samples: Vec<Sample> = events.iter().map(|event| renderer.render(event)).collect();
        let rendered = clock();
        let found: Vec<_> = samples.iter().map(|sample| embed(&mut hashed, sample)).collect();
        let embedded = clock();
        let points = (number * CHUNK..).zip(samples).zip(found);
        let points: Vec<Traced<Point>> =
            points.map(|((offset, sample), found)| point(offset, sample, found)).collect();
        let assembled = clock();
        let verdicts: Vec<Verdict> = points.iter().map(|point| detector.judge(point)).collect();
        let judged = clock();
        for ((point, value), record) in points.iter().zip(verdicts).zip(&owned) {
            let judged = Traced { origin: point.origin.clone(), value };
            black_box(incidents.take(&judged, &point.value, record, schema));
        }
        let spent =
            [decoded - start, rendered - decoded, embedded - rendered, judged - assembled, clock() - judged];
        times.iter_mut().zip(spent).for_each(|(time, spent)| *time += spent);
    }
    times
}

/// What the detector is shown.
pub(crate) fn point(offset: usize, sample: Sample, found: Vec<Option<Embedding>>) -> Traced<Point> {
    let mut found = found.into_iter();
    let embeddings =
        sample.texts.iter().map(|text| text.as_ref().and_then(|_| found.next().flatten())).collect();
    let origin = Origin { time: sample.time.unwrap_or_default(), ..origin(offset) };
    Traced { origin, value: Point { sample, embeddings } }
}

/// The pipeline with an embedder as a function call, as a shard of the daemon runs it.
pub(crate) struct Shard {
    pipeline: Pipeline,
    hashed: Hashed,
    effects: Vec<Effect>,
    offset: usize,
}

impl Shard {
    pub(crate) fn new(settings: &pipeline::Settings) -> Self {
        let mut shard = Self {
            pipeline: Pipeline::new(settings.clone()),
            hashed: Hashed::new(CACHE),
            effects: Vec::new(),
            offset: 0,
        };
        let assigned = Action::Assigned { lane: origin(0).lane, generation: 1, live_from: 0, reading: None };
        shard.pipeline.apply(assigned, &mut shard.effects);
        shard
    }

    /// Takes records in and answers all that the pipeline asks for.
    pub(crate) fn read(&mut self, records: impl Iterator<Item = Record>) {
        let lane = origin(0).lane;
        let traced = records.map(|value| {
            self.offset += 1;
            Traced { origin: Origin { lane: lane.clone(), ..origin(self.offset - 1) }, value }
        });
        let records = traced.collect();
        self.pipeline.apply(Action::Read { lane, generation: 1, records }, &mut self.effects);
        let mut answers = Vec::new();
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Embed(request) => {
                    let texts: Vec<&str> = request.texts.iter().map(AsRef::as_ref).collect();
                    let embeddings = self.hashed.embed(&texts).unwrap();
                    answers.push(Action::Embedded { id: request.id, embeddings });
                }
                Effect::Publish { ticket, .. } | Effect::Reject { ticket, .. } => {
                    answers.push(Action::Published(ticket));
                }
                Effect::Commit(_) | Effect::Settled { .. } | Effect::Judged { .. } | Effect::Stopped => {}
            }
        }
        for answer in answers {
            self.pipeline.apply(answer, &mut self.effects);
        }
    }

    pub(crate) fn judged(&self) -> u64 {
        self.pipeline.counts().judged
    }
}

/// All records through a pipeline; how many were judged.
pub(crate) fn run(settings: &pipeline::Settings, records: &[Record]) -> u64 {
    let mut shard = Shard::new(settings);
    for records in records.chunks(CHUNK) {
        shard.read(records.iter().cloned());
    }
    shard.judged()
}
