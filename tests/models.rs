//! A real transformer through the real ONNX Runtime: `MiniLM`, against its published figure.
//!
//! The parts are those that `tests/run` fetches; nothing is downloaded here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use outlierd::batch;
use outlierd::embed::onnx::{Device, Onnx, Settings};
use outlierd::embed::worker::{self, Worker};
use outlierd::embed::{EmbedError, Embedder};
use outlierd::flow::Embedding;
use outlierd::pipeline::EmbedRequest;

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
    assert_eq!(why, "model file missing: /nowhere/model.onnx; set [model] path");
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
