//! Where the time goes: each stage of the stream alone, on the demo's events, on one core; and what an event costs as
//! the window grows. Prints tables. Run: `cargo bench --bench stream`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and may stop")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outlierd::alert::Incidents;
use outlierd::config::Config;
use outlierd::decode::{self, Decoded};
use outlierd::demo::generate::{Generator, Topic};
use outlierd::detect::Detector;
use outlierd::embed::{Embedder, hashed::Hashed};
use outlierd::flow::{Embedding, Event, Lane, Origin, Point, Record, Sample, Schema, Time, Traced, Verdict};
use outlierd::pipeline::{self, Action, Effect, Pipeline};
use outlierd::render::{self, Renderer};

const EVENTS: usize = 60_000;
const ROUNDS: usize = 3;

fn main() {
    let settings = Config::load(None, &[("source.topics".into(), "[\"demo\"]".into())]).unwrap().pipeline;
    for topic in [Topic::Logs, Topic::Payments] {
        stages(&settings, topic);
    }
    windows(&settings);
}

#[expect(clippy::disallowed_methods, reason = "a benchmark asks the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Time of the fastest of some rounds.
fn fastest(mut round: impl FnMut()) -> Duration {
    let time = |round: &mut dyn FnMut()| {
        let start = now();
        round();
        start.elapsed()
    };
    (0..ROUNDS).map(|_| time(&mut round)).min().unwrap()
}

fn records(topic: Topic) -> Vec<Record> {
    let events = Generator::new(1, (EVENTS * 2) as u64).filter(|event| event.topic == topic).take(EVENTS);
    events
        .map(|event| Record {
            key: Some(event.key.into_bytes()),
            payload: Some(event.payload),
            headers: Vec::new(),
        })
        .collect()
}

fn origin(offset: usize) -> Origin {
    let lane = Lane { topic: "demo".into(), partition: 0 };
    Origin { lane, offset: i64::try_from(offset).unwrap(), time: Time(0) }
}

fn stages(settings: &pipeline::Settings, topic: Topic) {
    let records = records(topic);
    let bytes: usize = records.iter().filter_map(|record| record.payload.as_ref()).map(Vec::len).sum();
    let decode = |record: &Record| match decode::decode(&settings.decode, record) {
        Ok(Decoded::Event(event)) => event,
        _ => Event::default(),
    };
    let decoding = each(&records, |record| _ = black_box(decode(record)));

    let events: Vec<Event> = records.iter().map(decode).collect();
    let schema = Arc::new(render::schema(&settings.render, &events[..settings.render.infer_events]));
    let renderer = Renderer::new(&settings.render, Arc::clone(&schema));
    let rendering = each(&events, |event| _ = black_box(renderer.render(event)));

    let samples: Vec<Sample> = events.iter().map(|event| renderer.render(event)).collect();
    let embedding = fastest(|| {
        let mut hashed = Hashed::new(20_000);
        for sample in &samples {
            black_box(embed(&mut hashed, sample));
        }
    });

    let mut hashed = Hashed::new(20_000);
    let point = |(offset, sample): (usize, &Sample)| {
        let mut found = embed(&mut hashed, sample).into_iter();
        let embeddings = sample.texts.iter().map(|text| text.as_ref().and_then(|_| found.next().flatten()));
        let value = Point { embeddings: embeddings.collect(), sample: sample.clone() };
        Traced { origin: Origin { time: sample.time.unwrap_or_default(), ..origin(offset) }, value }
    };
    let points: Vec<Traced<Point>> = samples.iter().enumerate().map(point).collect();
    let detecting = fastest(|| {
        let mut detector = Detector::new(settings.detect, Arc::clone(&schema));
        for point in &points {
            black_box(detector.judge(point));
        }
    });
    let grouping = group(settings, &schema, &points, &records);

    let whole = fastest(|| _ = run(settings, &records));
    let mean = bytes / records.len();
    println!(
        "\n{EVENTS} events of {}, {mean} bytes each, one lane, one core; best of {ROUNDS}",
        topic.name()
    );
    let (texts, numbers) = (schema.texts.len(), schema.numbers.len());
    let (categories, keys) = (schema.categories.len(), schema.keys.len());
    println!("fields: {texts} texts, {numbers} numbers, {categories} categories, {keys} keys\n");
    let names = ["decode", "render", "embed", "detect", "alert"];
    let times = [decoding, rendering, embedding, detecting, grouping];
    print(&names.into_iter().zip(times).collect::<Vec<_>>(), whole);
}

/// Time of the fastest of some rounds over all items.
fn each<T>(items: &[T], mut step: impl FnMut(&T)) -> Duration {
    fastest(|| {
        for item in items {
            step(item);
        }
    })
}

fn embed(hashed: &mut Hashed, sample: &Sample) -> Vec<Option<Embedding>> {
    let texts: Vec<&str> = sample.texts.iter().flatten().map(AsRef::as_ref).collect();
    hashed.embed(&texts).unwrap()
}

/// What it costs to group verdicts into incidents.
fn group(
    settings: &pipeline::Settings,
    schema: &Arc<Schema>,
    points: &[Traced<Point>],
    records: &[Record],
) -> Duration {
    let mut detector = Detector::new(settings.detect, Arc::clone(schema));
    let verdicts: Vec<Verdict> = points.iter().map(|point| detector.judge(point)).collect();
    let records: Vec<Arc<Record>> = records.iter().cloned().map(Arc::new).collect();
    fastest(|| {
        let mut incidents = Incidents::new(settings.alert);
        for ((point, verdict), record) in points.iter().zip(&verdicts).zip(&records) {
            let judged = Traced { origin: point.origin.clone(), value: verdict.clone() };
            black_box(incidents.take(&judged, &point.value, record, schema));
        }
    })
}

fn print(table: &[(&str, Duration)], whole: Duration) {
    println!("{:<24}{:>12}{:>10}", "stage", "ns/event", "share");
    let sum: Duration = table.iter().map(|(_, time)| *time).sum();
    for (name, time) in table {
        row(name, *time, sum);
    }
    row("sum of stages", sum, sum);
    row("the pipeline as a whole", whole, sum);
    println!("\n{:.0} events a second through the pipeline", EVENTS as f64 / whole.as_secs_f64());
}

fn row(name: &str, time: Duration, whole: Duration) {
    let each = time.as_secs_f64() * 1e9 / EVENTS as f64;
    println!("{name:<24}{each:>12.0}{:>9.1}%", 100.0 * time.as_secs_f64() / whole.as_secs_f64());
}

/// The pipeline with an embedder as a function call, as a shard of the daemon runs it.
fn run(settings: &pipeline::Settings, records: &[Record]) -> u64 {
    let (mut pipeline, mut hashed) = (Pipeline::new(settings.clone()), Hashed::new(20_000));
    let lane = origin(0).lane;
    let mut effects = Vec::new();
    pipeline.apply(
        Action::Assigned { lane: lane.clone(), generation: 1, live_from: 0, schema: None },
        &mut effects,
    );
    for (chunk, records) in records.chunks(512).enumerate() {
        let traced = records.iter().enumerate().map(|(at, record)| Traced {
            origin: Origin { lane: lane.clone(), ..origin(chunk * 512 + at) },
            value: record.clone(),
        });
        let records = traced.collect();
        pipeline.apply(Action::Read { lane: lane.clone(), generation: 1, records }, &mut effects);
        let mut answers = Vec::new();
        for effect in effects.drain(..) {
            match effect {
                Effect::Embed(request) => {
                    let texts: Vec<&str> = request.texts.iter().map(AsRef::as_ref).collect();
                    let embeddings = hashed.embed(&texts).unwrap();
                    answers.push(Action::Embedded { id: request.id, embeddings });
                }
                Effect::Publish { ticket, .. } | Effect::Reject { ticket, .. } => {
                    answers.push(Action::Published(ticket));
                }
                Effect::Commit(_) | Effect::Settled { .. } | Effect::Judged { .. } | Effect::Stopped => {}
            }
        }
        for answer in answers {
            pipeline.apply(answer, &mut effects);
        }
    }
    pipeline.counts().judged
}

/// The same events, judged with windows of growing size.
fn windows(settings: &pipeline::Settings) {
    println!("\nAn event's cost as the window grows (logs, texts repeat), best of {ROUNDS}\n");
    println!("{:<12}{:>12}{:>10}", "window", "ns/event", "ratio");
    let records = records(Topic::Logs);
    let mut first = None;
    for window_events in [1_000, 10_000, 100_000] {
        let detect = outlierd::detect::Settings { window_events, ..settings.detect };
        let settings = pipeline::Settings { detect, ..settings.clone() };
        let time = fastest(|| _ = run(&settings, &records));
        let each = time.as_secs_f64() * 1e9 / EVENTS as f64;
        let ratio = each / *first.get_or_insert(each);
        println!("{window_events:<12}{each:>12.0}{ratio:>10.2}");
    }
}
