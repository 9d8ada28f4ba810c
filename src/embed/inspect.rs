//! What a model's folder is: what its files say, and what the model says once it runs.
//!
//! The files alone tell much, so a machine without ONNX Runtime is no reason to say nothing. It must never change a
//! file.

use std::path::Path;
use std::time::{Duration, Instant};

use super::models::{Folder, refused_for_quantisation};
use super::onnx::ports::{self, Port};
use super::onnx::{Onnx, Settings};
use super::pooling::Pooling;
use super::pull::{SUMS, part};
use super::tokens::Tokeniser;
use super::{EmbedError, Embedder as _};

/// What was found.
#[derive(Debug)]
pub struct Inspection {
    /// Names and sizes of the files that are read.
    pub files: Vec<(String, u64)>,
    /// sha256 of graph, weights and tokenizer.
    pub sha256: String,
    /// Files that are not what `SHA256SUMS` says; none without that file.
    pub changed: Option<Vec<String>>,
    /// Whether a text's vector would depend on its batch.
    pub dynamically_quantised: bool,
    /// What `1_Pooling/config.json` asks for.
    pub pooling: Option<Pooling>,
    /// What the tokenizer says.
    pub tokenizer: Result<Tokenizer, String>,
    /// What the model says once it runs, or why it does not.
    pub running: Result<Running, String>,
    /// Why it is refused whatever it says: its quantisation, or files that are not what was pulled.
    refused: Option<String>,
    /// Whether ONNX Runtime was found and loaded.
    runtime: bool,
}

/// Whether the daemon would run a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It would.
    Yes,
    /// It would not: why, and what to do.
    No(String),
    /// Without ONNX Runtime nobody can tell.
    NoRuntime,
}

impl Inspection {
    /// Whether the daemon would run it.
    pub fn fit(&self) -> Fit {
        match (&self.tokenizer, &self.refused, &self.running) {
            (Err(why), _, _) | (Ok(_), Some(why), _) => Fit::No(why.clone()),
            (Ok(_), None, Ok(_)) => Fit::Yes,
            (Ok(_), None, Err(_)) if !self.runtime => Fit::NoRuntime,
            (Ok(_), None, Err(why)) => Fit::No(why.lines().map(str::trim).collect::<Vec<_>>().join(" ")),
        }
    }
}

/// What the tokenizer says of itself.
#[derive(Debug)]
pub struct Tokenizer {
    /// Tokens it knows.
    pub vocabulary: usize,
    /// Where it would cut a text by itself.
    pub cut_at: Option<u64>,
    /// Tokens of the sample text, marks included.
    pub sample_tokens: usize,
}

/// What a loaded model says.
#[derive(Debug)]
pub struct Running {
    /// ONNX Runtime's library.
    pub library: String,
    /// What runs it: `cpu` or `cuda`.
    pub provider: &'static str,
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// The output that is read.
    pub output: String,
    /// How token vectors become one; `None` where the graph does it.
    pub pooling: Option<Pooling>,
    /// Length of its vectors.
    pub dimensions: usize,
    /// Digest as alerts show it.
    pub digest: String,
    /// How long loading and warming took.
    pub load: Duration,
    /// How long the sample text took.
    pub sample: Duration,
}

/// Looks at the folder of `settings`, with `sample` as the text to embed.
///
/// # Errors
/// When the folder holds no model, or a file cannot be read.
pub fn inspect(settings: &Settings, sample: &str) -> Result<Inspection, EmbedError> {
    let folder = Folder::open(&settings.folder)?;
    let contents = folder.read()?;
    let mut files = Vec::new();
    for path in [&folder.model, &folder.tokenizer].into_iter().chain(&folder.weights) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, path.metadata().map_or(0, |about| about.len())));
    }
    // It is to be told, not refused.
    let settings = Settings { allow_dynamic_quantisation: true, ..settings.clone() };
    let changed = changed(&settings.folder);
    let differs = changed.as_ref().filter(|changed| !changed.is_empty()).map(|changed| {
        format!("{} not as pulled (see {SUMS}); remove the folder and pull it anew", are(changed))
    });
    let quantised = contents.dynamically_quantised.then(|| refused_for_quantisation(&folder.model));
    let running = run(&settings, sample).map_err(|error| error.to_string());
    Ok(Inspection {
        files,
        sha256: contents.sha256,
        changed,
        dynamically_quantised: contents.dynamically_quantised,
        pooling: folder.pooling,
        tokenizer: tokenizer(&folder.tokenizer, &settings, sample),
        running,
        refused: quantised.or(differs),
        runtime: ports::library().is_some(),
    })
}

fn are(names: &[String]) -> String {
    format!("{} {}", names.join(" and "), if names.len() == 1 { "is" } else { "are" })
}

fn run(settings: &Settings, sample: &str) -> Result<Running, EmbedError> {
    let begun = now();
    let mut onnx = Onnx::open(settings)?;
    let load = begun.elapsed();
    let begun = now();
    let vectors = onnx.embed(&[sample])?;
    if vectors.iter().any(Option::is_none) {
        let why = "model gives no finite vector for the text; take the fp32 model, or another";
        return Err(EmbedError::Unusable(why.to_owned()));
    }
    let sample = begun.elapsed();
    Ok(Running {
        library: ports::library().map_or_else(String::new, |path| path.display().to_string()),
        provider: onnx.provider(),
        inputs: onnx.inputs(),
        outputs: onnx.outputs(),
        output: onnx.output().to_owned(),
        pooling: onnx.pooling(),
        dimensions: onnx.dimensions(),
        digest: onnx.digest().to_owned(),
        load,
        sample,
    })
}

fn tokenizer(path: &Path, settings: &Settings, sample: &str) -> Result<Tokenizer, String> {
    let told = |error: EmbedError| error.to_string();
    let tokeniser = Tokeniser::open(path, &settings.prefix, settings.tokens_max).map_err(told)?;
    let json = std::fs::read(path).ok();
    let json = json.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    Ok(Tokenizer {
        vocabulary: tokeniser.vocabulary(),
        cut_at: json.and_then(|json| json.pointer("/truncation/max_length")?.as_u64()),
        sample_tokens: tokeniser.tokenise(sample).map_err(told)?.len(),
    })
}

/// Files that differ from what was pulled.
fn changed(folder: &Path) -> Option<Vec<String>> {
    let sums = std::fs::read_to_string(folder.join(SUMS)).ok()?;
    let differs = |line: &str| {
        let (asked, name) = line.split_once("  ")?;
        let same = part::digest(&folder.join(name)).is_ok_and(|(found, _)| found == asked);
        (!same).then(|| name.to_owned())
    };
    Some(sums.lines().filter_map(differs).collect())
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a model takes is what is asked; no verdict sees the time"
)]
fn now() -> Instant {
    Instant::now()
}
