//! What an event costs on one core, whole, by stage and by channel, and how that grows: with windows, fields, keys and the
//! length of the stream. Prints tables; all times are processor time. Run: `cargo bench --bench detect`, or only some
//! of it: `cargo bench --bench detect -- stages channels window texts numbers categories keys length`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and may stop")]

use std::hint::black_box;
use std::sync::Arc;

use outlierd::config::Config;
use outlierd::detect::{Detector, Gauges, Selection};
use outlierd::embed::hashed::Hashed;
use outlierd::flow::{Point, Record, Schema, Traced};
use outlierd::pipeline;
use outlierd::render::Renderer;

#[path = "detect/logs.rs"]
mod logs;
mod stages;

use logs::{Logs, Shape, USUAL};
use stages::{clock, fastest};

const EVENTS: usize = 60_000;
const ROUNDS: usize = 3;
/// Events of a long stream that are timed together.
const PART: u64 = 25_600;

/// Prints one table.
type Part = fn(&pipeline::Settings);

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let parts: [(&str, Part); 8] = [
        ("stages", of_stages),
        ("channels", of_channels),
        ("window", by_window),
        ("texts", by_window_texts),
        ("numbers", by_numbers),
        ("categories", by_categories),
        ("keys", by_keys),
        ("length", by_length),
    ];
    let settings = settings(USUAL);
    for (name, part) in parts {
        if asked.is_empty() || asked.iter().any(|word| word == name) {
            part(&settings);
        }
    }
}

/// The default configuration, for events of that shape.
fn settings(shape: Shape) -> pipeline::Settings {
    let mut settings = Config::load(None, &[("source.topics".into(), "[\"demo\"]".into())]).unwrap().pipeline;
    settings.render.fields = Logs::fields(shape);
    settings
}

fn records(shape: Shape, events: usize) -> Vec<Record> {
    Logs::new(shape).take(events).collect()
}

/// What the detector is shown of such a stream.
fn points(shape: Shape, events: usize) -> (Arc<Schema>, Vec<Traced<Point>>) {
    let (settings, records) = (settings(shape), records(shape, events));
    let schema = stages::schema(&settings, &records);
    let (renderer, mut hashed) = (Renderer::new(&settings.render, Arc::clone(&schema)), Hashed::new(20_000));
    let point = |(offset, record)| {
        let sample = renderer.render(&stages::decoded(&settings, record));
        let found = stages::embed(&mut hashed, &sample);
        stages::point(offset, sample, found)
    };
    let points = records.iter().enumerate().map(point).collect();
    (schema, points)
}

fn of_stages(settings: &pipeline::Settings) {
    let records = records(USUAL, EVENTS);
    let bytes: usize = records.iter().filter_map(|record| record.payload.as_ref()).map(Vec::len).sum();
    println!("\n{EVENTS} logs, {} bytes each, one lane, one core; best of {ROUNDS}", bytes / EVENTS);
    stages::print(settings, &records, ROUNDS);
}

/// What judging costs with one channel, less what it costs with none.
fn of_channels(settings: &pipeline::Settings) {
    let (schema, points) = points(USUAL, EVENTS);
    let judged = |channels| {
        let settings = outlierd::detect::Settings { channels, ..settings.detect };
        let nanos = fastest(ROUNDS, || _ = judge(settings, &schema, &points));
        nanos / EVENTS as f64
    };
    println!("\nchannels alone, score, calibration and learning; best of {ROUNDS}\n");
    println!("{:<24}{:>12}", "channel", "ns/event");
    let none = judged(Selection::NONE);
    println!("{:<24}{none:>12.0}", "none");
    let mut sum = none;
    for name in Selection::NAMES {
        let own = judged(Selection::only(name).unwrap()) - none;
        sum += own;
        println!("{name:<24}{own:>12.0}");
    }
    println!("{:<24}{sum:>12.0}\n{:<24}{:>12.0}", "sum", "all", judged(Selection::ALL));
}

fn judge(settings: outlierd::detect::Settings, schema: &Arc<Schema>, points: &[Traced<Point>]) -> Gauges {
    let mut detector = Detector::new(settings, Arc::clone(schema));
    for point in points {
        let verdict = detector.judge(point);
        detector.settle(point.origin.time, verdict.is_anomaly());
        black_box(verdict);
    }
    detector.gauges()
}

/// A table of what judging costs as one thing grows: settings and shape by the value of it.
fn grows(
    title: &str,
    values: &[usize],
    with: impl Fn(usize, &mut outlierd::detect::Settings) -> Shape,
    settings: &pipeline::Settings,
) {
    println!("\n{title}\n");
    println!("{:<12}{:>12}{:>10}{:>12}{:>12}{:>12}", "", "ns/event", "ratio", "rows", "keys", "evicted");
    let mut first = None;
    for value in values {
        let mut settings = settings.detect;
        let shape = with(*value, &mut settings);
        let (schema, points) = points(shape, EVENTS);
        let mut gauges = Gauges::default();
        let nanos = fastest(2, || gauges = judge(settings, &schema, &points)) / EVENTS as f64;
        let ratio = nanos / *first.get_or_insert(nanos);
        let Gauges { rows, keys, evicted, .. } = gauges;
        println!("{value:<12}{nanos:>12.0}{ratio:>10.2}{rows:>12}{keys:>12}{evicted:>12}");
    }
}

fn by_window(settings: &pipeline::Settings) {
    let with = |events, settings: &mut outlierd::detect::Settings| {
        settings.window_events = events;
        USUAL
    };
    grows("judging, by the events of the window", &[1_000, 10_000, 100_000], with, settings);
}

fn by_window_texts(settings: &pipeline::Settings) {
    let with = |texts, settings: &mut outlierd::detect::Settings| {
        settings.window_texts = texts;
        USUAL
    };
    grows("judging, by the texts that the window holds at most", &[10, 100, 2_000, 20_000], with, settings);
}

fn by_numbers(settings: &pipeline::Settings) {
    let with = |numbers, _: &mut outlierd::detect::Settings| Shape { numbers, ..USUAL };
    grows("judging, by number fields", &[1, 4, 16, 64], with, settings);
}

fn by_categories(settings: &pipeline::Settings) {
    let with = |categories, _: &mut outlierd::detect::Settings| Shape { categories, ..USUAL };
    grows("judging, by category fields", &[1, 2, 4, 16], with, settings);
}

fn by_keys(settings: &pipeline::Settings) {
    let with = |keys, _: &mut outlierd::detect::Settings| Shape { keys, ..USUAL };
    grows("judging, by distinct keys", &[10, 1_000, 100_000], with, settings);
}

/// What the last tenth of a long stream costs against an early one: the whole pipeline, records made as it goes.
fn by_length(settings: &pipeline::Settings) {
    println!(
        "\nthe whole pipeline, by what came before\n\n{:<12}{:>12}{:>10}",
        "events", "ns/event", "ratio"
    );
    let (mut shard, mut logs) = (stages::Shard::new(settings), Logs::new(USUAL));
    let (mut first, mut spent) = (None, 0.0);
    while shard.judged() < 1_024_000 {
        let before = shard.judged();
        let mut part = 0.0;
        for _ in 0..PART / 512 {
            let records: Vec<Record> = logs.by_ref().take(512).collect();
            let start = clock();
            shard.read(records.into_iter());
            part += clock() - start;
        }
        spent += part;
        if [51_200, 204_800, 512_000, 1_024_000].contains(&(before + PART)) {
            let nanos = part / PART as f64;
            println!("{:<12}{nanos:>12.0}{:>10.2}", before + PART, nanos / *first.get_or_insert(nanos));
        }
    }
    println!("{:<12}{:>12.0}", "mean", spent / shard.judged() as f64);
}
