//! A real transformer through the real ONNX Runtime: `MiniLM`, against its published figure.
//!
//! The parts are those that `tests/run` fetches; nothing is downloaded here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use outlierd::backtest::Report;
use outlierd::batch;
use outlierd::embed::onnx::{Device, Onnx, Settings};
use outlierd::embed::worker::{self, Worker};
use outlierd::embed::{EmbedError, Embedder};
use outlierd::flow::Embedding;
use outlierd::pipeline::EmbedRequest;

use crate::{dense, paraphrase};

fn part(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-parts").join(name);
    assert!(path.exists(), "{} is missing: run tests/run first", path.display());
    path
}

fn settings(folder: &Path) -> Settings {
    Settings {
        folder: folder.to_owned(),
        library: Some(part("onnxruntime/libonnxruntime.so")),
        device: Device::Cpu,
        batch_tokens: 512,
        ..Settings::default()
    }
}

fn minilm() -> Onnx {
    Onnx::open(&settings(&part("minilm"))).expect("MiniLM loads")
}

fn refused(settings: &Settings) -> String {
    match Onnx::open(settings) {
        Err(EmbedError::Unusable(why)) => why,
        other => panic!("should be unusable: {other:?}"),
    }
}

fn embed(onnx: &mut Onnx, texts: &[&str]) -> Vec<Embedding> {
    let embeddings = onnx.embed(texts).expect("the batch runs");
    embeddings.into_iter().map(|embedding| embedding.expect("a vector")).collect()
}

fn cosine(a: &Embedding, b: &Embedding) -> f32 {
    a.vector.iter().zip(b.vector.iter()).map(|(a, b)| a * b).sum()
}

/// Words drawn by a linear congruential generator, 0 to 39 of them a text.
fn texts(count: usize, mut seed: u64) -> Vec<String> {
    let words =
        "the payment of user was refused because limit exceeded at gateway nine Zürich 日本 🚀 timeout retry"
            .split(' ')
            .collect::<Vec<_>>();
    let mut below = |limit: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % limit
    };
    (0..count)
        .map(|_| {
            let length = below(40);
            (0..length).map(|_| words[below(words.len())]).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn the_published_similarity_is_reproduced() {
    let mut onnx = minilm();
    let vectors = embed(&mut onnx, &["The new movie is awesome", "The new movie is so great"]);
    let similarity = cosine(&vectors[0], &vectors[1]);
    assert!((similarity - 0.8939).abs() < 1e-3, "{similarity}");
    assert_eq!((onnx.dimensions(), onnx.provider()), (384, "cpu"));
}

#[test]
fn a_text_has_the_same_bits_whatever_its_batch() {
    let mut onnx = minilm();
    let texts = texts(60, 1);
    let alone: Vec<Embedding> = texts.iter().flat_map(|text| embed(&mut onnx, &[text])).collect();
    for (size, step) in [(5, 11), (17, 13), (60, 29)] {
        let order: Vec<usize> = (0..texts.len()).map(|at| at * step % texts.len()).collect();
        for batch in order.chunks(size) {
            let asked: Vec<&str> = batch.iter().map(|at| texts[*at].as_str()).collect();
            for (at, embedding) in batch.iter().zip(embed(&mut onnx, &asked)) {
                assert_eq!(embedding.fingerprint, alone[*at].fingerprint);
                assert_eq!(embedding.vector, alone[*at].vector, "{:?} in a batch of {size}", texts[*at]);
            }
        }
    }
}

#[test]
fn the_worker_gives_the_same_bits() {
    let texts = texts(60, 2);
    let mut onnx = minilm();
    let alone: Vec<Embedding> = texts.iter().flat_map(|text| embed(&mut onnx, &[text])).collect();
    let (tokeniser, model) = onnx.split();
    let batch = batch::Settings { tokens_max: 512, ..batch::Settings::default() };
    let settings = worker::Settings { batch, ..worker::Settings::default() };
    let worker = Worker::start(settings, tokeniser, model).expect("threads start");
    let (reply, answers) = crossbeam_channel::bounded(200);
    for (id, text) in texts.iter().enumerate() {
        worker.submit(EmbedRequest { id: id as u64, texts: vec![Arc::from(text.as_str())] }, &reply);
    }
    for answer in answers.iter().take(texts.len()) {
        let vector = answer.embeddings[0].as_ref().map(|embedding| &embedding.vector);
        assert_eq!(vector, Some(&alone[answer.id as usize].vector));
    }
    assert_eq!(worker.join(), None);
}

#[test]
fn odd_texts_have_vectors_of_unit_length() {
    let mut onnx = minilm();
    let long = "word ".repeat(200_000);
    let solid = "x".repeat(1 << 20);
    for text in ["", " ", "\u{0}", "\u{fffd}\u{202e}", "🚀🚀🚀", &long, &solid] {
        let vector = &embed(&mut onnx, &[text])[0].vector;
        let length: f32 = vector.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-4, "{length} for {} bytes", text.len());
    }
    let cut = embed(&mut onnx, &[&long, &"word ".repeat(300)]);
    assert_eq!(cut[0].vector, cut[1].vector, "both are cut at 256 tokens");
}

#[test]
fn the_digest_follows_what_makes_the_vectors() {
    let folder = part("minilm");
    let digest = |settings: &Settings| Onnx::open(settings).expect("loads").digest().to_owned();
    let plain = digest(&settings(&folder));
    assert_eq!(plain, digest(&Settings { threads: 1, batch_tokens: 256, ..settings(&folder) }));
    assert_ne!(plain, digest(&Settings { prefix: "query: ".to_owned(), ..settings(&folder) }));
    assert_ne!(plain, digest(&Settings { tokens_max: 128, ..settings(&folder) }));
}

#[test]
fn a_dynamically_quantised_model_is_refused() {
    let why = refused(&settings(&part("minilm-dynamic-quantised")));
    assert!(why.contains("dynamically quantised") && why.contains("allow_dynamic_quantisation"), "{why}");
}

#[test]
fn missing_and_wrong_files_are_named() {
    let why = refused(&settings(Path::new("/nowhere")));
    assert!(why.starts_with("model file missing: /nowhere/model.onnx; set [model] path, or run: "), "{why}");
    let folder = part("minilm");
    let library = |path: &Path| Settings { library: Some(path.to_owned()), ..settings(&folder) };
    let why = refused(&library(Path::new("/nowhere/libonnxruntime.so")));
    assert!(why.contains("/nowhere/libonnxruntime.so ([model] library): no such file"), "{why}");
    let why = refused(&library(&folder.join("tokenizer.json")));
    assert!(why.contains("tokenizer.json ([model] library): not a shared library"), "{why}");
    let why = refused(&Settings { tokens_max: 4, ..settings(&folder) });
    assert!(why.contains("tokens_max"), "{why}");
    let why = refused(&Settings { tokens_max: 1_000, ..settings(&folder) });
    assert!(why.contains("lower [model] tokens_max"), "MiniLM has 512 positions: {why}");
}

/// What a backtest of lines of JSON with a label finds, with the real model at hand.
fn graded(name: &str, lines: &str, sets: &[(&str, &str)]) -> Report {
    let (model, library) = (part("minilm"), part("onnxruntime/libonnxruntime.so"));
    let paths = [("model.path", &model), ("model.library", &library)];
    let paths = paths.map(|(key, path)| (key, path.display().to_string()));
    let paths = paths.iter().map(|(key, path)| (*key, path.as_str()));
    dense::graded(name, lines, &sets.iter().copied().chain(paths).collect::<Vec<_>>())
}

const ONNX: [(&str, &str); 2] = [("model.kind", "onnx"), ("model.device", "cpu")];

#[test]
fn meaning_finds_another_topic_where_letters_do_not() {
    let lines = paraphrase::lines(1_500, 1);
    let letters = graded("letters", &lines, &[]);
    let both = graded("both", &lines, &ONNX);
    let gate = &both.gates.values().next().unwrap()["/message"];
    assert!(gate.weight >= 0.3 && gate.correlation.is_some_and(|rho| rho < 0.5), "{gate:?}");
    let [without, with] = [&letters, &both].map(|report| report.auroc.unwrap());
    assert!(with > without + 0.015, "{without} {with}");
    assert!(letters.gates.is_empty() && !letters.channels.contains_key("meaning"));
}

#[test]
fn on_texts_of_programs_meaning_changes_no_figure() {
    let line = |number: usize| {
        let text = match number {
            _ if number % 97 == 60 => {
                format!("kernel panic at 0x{:08x} on cpu {}", number * 7_919, number % 4)
            }
            _ => match number * 31 % 5 {
                0 => {
                    format!("connection from 10.0.{}.{} accepted on port {number}", number % 7, number % 251)
                }
                1 => format!("user u{} logged in after {} tries", number * 13 % 400, number % 3),
                2 => format!("cache miss for /static/{}/{}.css", number % 17, number * 7 % 900),
                3 => format!("job {} finished in {} ms with status ok", number, number * 37 % 5_000),
                _ => format!("retrying upstream node{} in {} s", number % 40, number % 60),
            },
        };
        format!("{{\"message\":\"{text}\",\"label\":{}}}\n", u8::from(number % 97 == 60))
    };
    let lines: String = (0..1_200).map(line).collect();
    let letters = graded("logs-letters", &lines, &[]);
    let both = graded("logs-both", &lines, &ONNX);
    let gate = &both.gates.values().next().unwrap()["/message"];
    assert!(gate.weight.abs() < 1e-9 && gate.correlation.is_some_and(|rho| rho > 0.5), "{gate:?}");
    let figures = |report: &Report| (report.auroc, report.average_precision, report.alerts, report.incidents);
    assert_eq!(figures(&both), figures(&letters), "to the last bit");
    assert!(both.channels.contains_key("meaning"));
}
