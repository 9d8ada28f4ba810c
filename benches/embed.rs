//! What embedding costs: the built-in embedder by text, and the ONNX worker against a bare loop over ort's session.
//!
//! The bare loop runs in a child process (a process can hold one ONNX Runtime environment): the same texts, cut into
//! the same batches beforehand, tensors made beforehand, nothing but `Session::run` on the clock. The worker gets
//! texts one by one and tokenises, batches, pools and answers on the clock. Rounds alternate; the median ratio counts.
//!
//! Run: `cargo bench --bench embed` (after `tests/run` has fetched `MiniLM`; without it, only the first table).
//!
//! With a model, a library and texts of one's own, on a GPU too, it measures the worker alone, and whether a text's
//! vector depends on its batch:
//! `cargo bench --bench embed -- --model DIR --library FILE --texts FILE [--device cuda] [--batch-tokens 16384]
//! [--on-their-way 32768] [--rounds 3] [--vectors OUT]`
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]
#![expect(clippy::disallowed_methods, reason = "a bench asks the clock")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use ort::session::Session;
use ort::value::Tensor;
use outlierd::batch::{self, Batch, Batcher};
use outlierd::embed::Embedder as _;
use outlierd::embed::hashed::Hashed;
use outlierd::embed::onnx::{Device, Onnx, Settings};
use outlierd::embed::tokens::{Tokeniser, Tokens};
use outlierd::embed::worker::{self, Worker};
use outlierd::pipeline::EmbedRequest;

const TEXTS: usize = 1_000;
const ROUNDS: usize = 7;
const TOKENS_MAX: usize = 256;

fn main() {
    if std::env::args().any(|argument| argument == "--bare") {
        return bare();
    }
    if let Some(texts) = option("--texts") {
        return own(&std::fs::read_to_string(texts).unwrap());
    }
    hashed();
    if part("minilm/model.onnx").exists() && part("onnxruntime/libonnxruntime.so").exists() {
        ratio();
    } else {
        println!("\nno MiniLM in target/test-parts: run tests/run first");
    }
}

fn part(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-parts").join(name)
}

/// Knuth's linear congruential generator.
fn numbers(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    }
}

/// Distinct texts of words that `MiniLM` knows whole: `10 + 0..=20` words, 12 to 32 tokens with the marks.
fn texts(count: usize) -> Vec<String> {
    let words: Vec<&str> =
        "the payment of this user was not accepted because limit had been reached at our gateway \
                            after time out and retry for order in shop before next day"
            .split_whitespace()
            .collect();
    let mut below = numbers(1);
    (0..count)
        .map(|_| (0..10 + below(21)).map(|_| words[below(words.len())]).collect::<Vec<_>>().join(" "))
        .collect()
}

fn hashed() {
    println!("built-in embedder, 60 characters a text");
    let texts: Vec<String> = texts(10_000).into_iter().map(|text| text.chars().take(60).collect()).collect();
    for (what, entries) in [("new texts", 0), ("texts met lately", 1 << 17)] {
        let mut hashed = Hashed::new(entries);
        for text in &texts {
            black_box(hashed.embed_one(text));
        }
        let start = Instant::now();
        for _ in 0..10 {
            for text in &texts {
                black_box(hashed.embed_one(text));
            }
        }
        println!(
            "  {what:<18} {:>6.0} ns a text",
            start.elapsed().as_nanos() as f64 / (10 * texts.len()) as f64
        );
    }
}

fn batching() -> batch::Settings {
    batch::Settings::default()
}

fn ratio() {
    let settings = Settings {
        folder: part("minilm"),
        library: Some(part("onnxruntime/libonnxruntime.so")),
        device: Device::Cpu,
        tokens_max: TOKENS_MAX,
        batch_tokens: batching().tokens_max,
        ..Settings::default()
    };
    let (tokeniser, model) = Onnx::open(&settings).unwrap().split();
    let settings = worker::Settings { batch: batching(), cache_entries: 0, ..worker::Settings::default() };
    let worker = Worker::start(settings, tokeniser, model).unwrap();
    let texts: Vec<Arc<str>> = texts(TEXTS).iter().map(|text| Arc::from(text.as_str())).collect();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("--bare")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    println!("\nMiniLM on the CPU, {TEXTS} texts of 12 to 32 tokens, texts a second");
    println!("  {:>5} {:>10} {:>10} {:>7}", "round", "bare loop", "worker", "ratio");
    let mut ratios: Vec<f64> = (0..=ROUNDS)
        .map(|round| {
            // Each goes first in turn, so that a machine that slows down favours neither.
            let (bare, through) = if round % 2 == 0 {
                let bare = ask(&mut child);
                (bare, through_worker(&worker, &texts))
            } else {
                let through = through_worker(&worker, &texts);
                (ask(&mut child), through)
            };
            let speed = |seconds: f64| TEXTS as f64 / seconds;
            let name = if round == 0 { "warm".to_owned() } else { round.to_string() };
            println!("  {name:>5} {:>10.1} {:>10.1} {:>7.3}", speed(bare), speed(through), bare / through);
            bare / through
        })
        .skip(1)
        .collect();
    drop(child.stdin.take());
    child.wait().unwrap();
    ratios.sort_by(f64::total_cmp);
    let stats = worker.stats();
    println!("  median ratio {:.3} (target 0.9)", ratios[ROUNDS / 2]);
    println!(
        "  worker: {:.1} texts a batch, {:.1} % padding, {:.1} s in the model",
        stats.texts as f64 / stats.batches as f64,
        100.0 - 100.0 * stats.tokens as f64 / stats.tokens_padded as f64,
        stats.busy.as_secs_f64()
    );
}

fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn number(name: &str, otherwise: usize) -> usize {
    option(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// The operator's own model, device and texts, a line each.
fn own(texts: &str) {
    let texts: Vec<Arc<str>> = texts.lines().map(Arc::from).collect();
    let cuda = option("--device").is_some_and(|device| device == "cuda");
    let batch_tokens = number("--batch-tokens", batching().tokens_max);
    let settings = Settings {
        folder: option("--model").unwrap().into(),
        library: option("--library").map(PathBuf::from),
        device: if cuda { Device::Cuda { id: 0 } } else { Device::Cpu },
        batch_tokens,
        ..Settings::default()
    };
    let start = Instant::now();
    let mut onnx = Onnx::open(&settings).unwrap();
    println!(
        "{} ready in {:.1} s, batches of {batch_tokens} tokens",
        onnx.provider(),
        start.elapsed().as_secs_f64()
    );
    let few: Vec<&str> = texts.iter().take(number("--compared", 1_000)).map(|text| &**text).collect();
    let together = onnx.embed(&few).unwrap();
    if let Some(file) = option("--vectors") {
        let numbers = together.iter().flat_map(|vector| vector.as_ref().unwrap().vector.iter());
        std::fs::write(file, numbers.flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    }
    let (mut differ, mut largest) = (0, 0.0_f32);
    let alone = few.iter().zip(&together).take(number("--alone", 200));
    for (text, together) in alone.clone() {
        let alone = onnx.embed(&[text]).unwrap();
        let (alone, together) = (&alone[0].as_ref().unwrap().vector, &together.as_ref().unwrap().vector);
        differ += usize::from(alone != together);
        largest = alone.iter().zip(together.iter()).map(|(a, b)| (a - b).abs()).fold(largest, f32::max);
    }
    println!("  {} texts alone and together: {differ} differ, by {largest:e} at most", alone.count());
    let (tokeniser, model) = onnx.split();
    let settings = worker::Settings {
        batch: batch::Settings { tokens_max: batch_tokens, ..batching() },
        texts_max: number("--on-their-way", worker::Settings::default().texts_max),
        cache_entries: 0,
        ..worker::Settings::default()
    };
    let worker = Worker::start(settings, tokeniser, model).unwrap();
    for round in 0..=number("--rounds", 3) {
        let before = worker.stats();
        let seconds = through_worker(&worker, &texts);
        let stats = worker.stats();
        let name = if round == 0 { "warm".to_owned() } else { round.to_string() };
        println!(
            "  {name:>5} {:>9.0} texts/s, {:.1} texts a batch, model busy {:.0} %",
            texts.len() as f64 / seconds,
            texts.len() as f64 / (stats.batches - before.batches) as f64,
            100.0 * (stats.busy.as_secs_f64() - before.busy.as_secs_f64()) / seconds
        );
    }
    assert_eq!(worker.join(), None);
}

/// Seconds for all texts, each a request of its own, as the pipeline asks.
fn through_worker(worker: &Worker, texts: &[Arc<str>]) -> f64 {
    let (reply, answers) = crossbeam_channel::bounded(texts.len());
    let start = Instant::now();
    for (id, text) in texts.iter().enumerate() {
        worker.submit(EmbedRequest { id: id as u64, texts: vec![Arc::clone(text)] }, &reply);
    }
    let answered = answers.iter().take(texts.len()).filter(|answer| answer.embeddings[0].is_some()).count();
    assert_eq!(answered, texts.len());
    start.elapsed().as_secs_f64()
}

fn ask(child: &mut Child) -> f64 {
    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let mut line = Vec::new();
    let answers = child.stdout.as_mut().unwrap();
    let mut byte = [0];
    while byte != *b"\n" {
        std::io::Read::read_exact(answers, &mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap().trim().parse().unwrap()
}

/// The other side: for each line, one round and its seconds.
fn bare() {
    let tokeniser = Tokeniser::open(&part("minilm/tokenizer.json"), "", TOKENS_MAX).unwrap();
    let mut waiting = Batcher::new(batching());
    let now = Instant::now();
    for text in texts(TEXTS) {
        let tokens = tokeniser.tokenise(&text).unwrap();
        waiting.push(now, tokens.len(), tokens);
    }
    let batches: Vec<Batch<Tokens>> = std::iter::from_fn(|| waiting.flush()).collect();
    let environment =
        ort::init_from(part("onnxruntime/libonnxruntime.so")).unwrap().with_telemetry(false).build().unwrap();
    let inputs: Vec<[Tensor<i64>; 3]> = batches
        .iter()
        .map(|batch| {
            let tensor = |each: &dyn Fn(&Tokens, usize) -> i64| {
                let values: Vec<i64> = batch
                    .items
                    .iter()
                    .flat_map(|text| (0..batch.padded).map(move |at| each(text, at)))
                    .collect();
                Tensor::from_array(([batch.items.len(), batch.padded], values)).unwrap()
            };
            [
                tensor(&|text, at| text.get(at).copied().map_or(0, i64::from)),
                tensor(&|text, at| i64::from(at < text.len())),
                tensor(&|_, _| 0),
            ]
        })
        .collect();
    let threads = std::thread::available_parallelism().unwrap().get();
    let mut session = Session::builder(&environment)
        .unwrap()
        .with_intra_threads(threads)
        .unwrap()
        .commit_from_file(part("minilm/model.onnx"))
        .unwrap();
    for line in BufReader::new(std::io::stdin()).lines() {
        line.unwrap();
        let start = Instant::now();
        for [ids, mask, types] in &inputs {
            let inputs =
                ort::inputs! { "input_ids" => ids, "attention_mask" => mask, "token_type_ids" => types };
            black_box(session.run(inputs).unwrap());
        }
        println!("{}", start.elapsed().as_secs_f64());
    }
}
