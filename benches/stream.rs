//! Where the time goes: each stage of the stream, on the demo's events, on one core; and what an event costs as
//! the window grows. Prints tables. Run: `cargo bench --bench stream`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and may stop")]

use outlierd::config::Config;
use outlierd::demo::generate::{Generator, Topic};
use outlierd::flow::Record;
use outlierd::pipeline;

mod stages;

use stages::{fastest, run};

const EVENTS: usize = 60_000;
const ROUNDS: usize = 3;

fn main() {
    let settings = Config::load(None, &[("source.topics".into(), "[\"demo\"]".into())]).unwrap().pipeline;
    for topic in [Topic::Logs, Topic::Payments] {
        let records = records(topic);
        let bytes: usize = records.iter().filter_map(|record| record.payload.as_ref()).map(Vec::len).sum();
        let (name, bytes) = (topic.name(), bytes / records.len());
        println!("\n{EVENTS} events of {name}, {bytes} bytes each, one lane, one core; best of {ROUNDS}");
        stages::print(&settings, &records, ROUNDS);
    }
    windows(&settings);
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

/// The same events, judged with windows of growing size.
fn windows(settings: &pipeline::Settings) {
    println!("\nAn event's cost as the window grows (logs, texts repeat), best of {ROUNDS}\n");
    println!("{:<12}{:>12}{:>10}", "window", "ns/event", "ratio");
    let records = records(Topic::Logs);
    let mut first = None;
    for window_events in [1_000, 10_000, 100_000] {
        let detect = outlierd::detect::Settings { window_events, ..settings.detect };
        let settings = pipeline::Settings { detect, ..settings.clone() };
        let each = fastest(ROUNDS, || _ = run(&settings, &records)) / EVENTS as f64;
        let ratio = each / *first.get_or_insert(each);
        println!("{window_events:<12}{each:>12.0}{ratio:>10.2}");
    }
}
