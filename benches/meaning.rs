//! What a transformer adds: the stream of `tests/paraphrase.rs`, where only meaning tells, and any others, graded with the
//! built-in embedder alone, with a transformer beside it, and with `detect.meaning_matters = true`. Prints a table: AUROC /
//! average precision, the first fifth ungraded, and what the gate said.
//!
//! Run: `cargo bench --bench meaning -- --model DIR [--library FILE] [--events N] [--input FILE]...`; a file has one JSON
//! object a line and a field `label`.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and may stop")]

use outlierd::backtest::{self, Labels, Report};

#[path = "../tests/paraphrase.rs"]
mod paraphrase;

const SEED: u64 = 1;

/// The settings that a column of the table has beyond the defaults.
const COLUMNS: [(&str, &[(&str, &str)]); 3] = [
    ("built-in", &[]),
    ("with transformer", &[("model.kind", "onnx")]),
    ("meaning_matters = true", &[("model.kind", "onnx"), ("detect.meaning_matters", "true")]),
];

fn main() {
    let (mut model, mut events, mut inputs) = (Vec::new(), 5_000, Vec::new());
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match flag.as_str() {
            "--model" => model.push(("model.path".to_owned(), value())),
            "--library" => model.push(("model.library".to_owned(), value())),
            "--events" => events = value().parse().unwrap(),
            "--input" => inputs.push(value()),
            other => {
                println!("unknown: {other}");
                return;
            }
        }
    }
    if !model.iter().any(|(key, _)| key == "model.path") {
        println!("skipped: --model DIR names the folder of model.onnx and tokenizer.json");
        return;
    }
    let path = std::env::temp_dir().join(format!("paraphrase-{}.jsonl", std::process::id()));
    std::fs::write(&path, paraphrase::lines(events, SEED)).unwrap();
    inputs.insert(0, path.display().to_string());
    println!("| stream | {} | gate |", COLUMNS.map(|(name, _)| name).join(" | "));
    println!("|---|{}", "---|".repeat(COLUMNS.len() + 1));
    for input in &inputs {
        let reports = COLUMNS.map(|(_, sets)| graded(input, sets, &model));
        let figures = reports.each_ref().map(figures).join(" | ");
        let name = input.rsplit('/').next().unwrap_or(input).split(['.', '-']).next().unwrap_or(input);
        println!("| {name} | {figures} | {} |", gates(&reports[1]));
    }
    std::fs::remove_file(&path).unwrap();
}

fn graded(input: &str, sets: &[(&str, &str)], model: &[(String, String)]) -> Report {
    let settings = backtest::Settings {
        inputs: vec![input.to_owned()],
        labels: Some(Labels { field: "label".to_owned(), positive: Vec::new(), normal: Vec::new() }),
        skip: 0.2,
        ..backtest::Settings::default()
    };
    let mut all = model.to_vec();
    all.extend(sets.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let config = backtest::configure(None, &all, &settings).unwrap();
    backtest::run(&config, &settings).unwrap()
}

fn figures(report: &Report) -> String {
    let [auroc, precision] = [report.auroc, report.average_precision].map(Option::unwrap_or_default);
    format!("{auroc:.4} / {precision:.4}")
}

fn gates(report: &Report) -> String {
    let fields = report.gates.values().flatten().map(|(field, gate)| {
        let [correlation, lift] = [gate.correlation, gate.lift].map(Option::unwrap_or_default);
        format!("{field}: correlation {correlation:.2}, lift {lift:.1}, weight {:.2}", gate.weight)
    });
    fields.collect::<Vec<_>>().join("; ")
}
