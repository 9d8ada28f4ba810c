//! The embedder that the configuration asks for, made ready before anything is read.

use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;

use super::Error;
use crate::config::{Config, ModelConfig, SourceConfig};
use crate::embed::hashed::{self, Hashed};
use crate::embed::lexical::Lexical;
use crate::embed::onnx::Onnx;
use crate::embed::worker::Worker;
use crate::embed::{EmbedError, Embedder};
use crate::sink::Provenance;

pub(crate) use super::shard::Embedding;

/// How long a batch that runs may keep the process from leaving.
const LEAVE: Duration = Duration::from_secs(1);

/// Ends the model's thread when it is dropped, however the daemon ends: the process must not leave before it.
pub(super) struct Held(Option<Worker>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(worker) = &self.0
            && !worker.end(LEAVE)
        {
            tracing::warn!("the model still runs; leaving without it");
        }
    }
}

/// One way to an embedder for each shard.
pub(crate) struct Embeddings {
    pub(crate) shards: Vec<Embedding>,
    pub(super) provider: String,
    pub(super) _held: Held,
    embedder: &'static str,
    digest: String,
}

/// Opens the model and warms it.
pub(crate) fn open(config: &Config) -> Result<Embeddings, Error> {
    let shards = match config.shards {
        0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
        shards => shards,
    };
    match &config.model {
        ModelConfig::Hashed { cache_texts } => {
            let embedder = Hashed::new(*cache_texts);
            let digest = embedder.digest().to_owned();
            let inline = |_| Embedding::Inline(Box::new(Hashed::new(*cache_texts)));
            Ok(Embeddings {
                shards: (0..shards).map(inline).collect(),
                provider: "cpu".into(),
                _held: Held(None),
                embedder: "hashed",
                digest,
            })
        }
        ModelConfig::Onnx { model, worker: worker_settings } => {
            let onnx = Onnx::open(model).map_err(unusable)?;
            let digest = format!("{} {}", hashed::DIGEST, onnx.digest());
            let provider = onnx.provider().to_owned();
            tracing::info!(%provider, model = %digest, dimensions = onnx.dimensions(), "model ready");
            let (tokeniser, model) = onnx.split();
            let worker =
                Worker::start(worker_settings.with_room_for_batches(), tokeniser, model).map_err(unusable)?;
            // A pipeline takes nothing in while `in_flight_max` requests are out; some more come from lanes that end.
            let answers_max = config.pipeline.in_flight_max + 1_024;
            let queued = |_| {
                let (answer, answers) = bounded(answers_max);
                let lexical = Lexical::new(worker_settings.cache_entries);
                Embedding::Worker { worker: worker.clone(), answer, answers, lexical }
            };
            let shards = (0..shards).map(queued).collect();
            Ok(Embeddings {
                shards,
                provider,
                _held: Held(Some(worker)),
                embedder: "hashed and onnx",
                digest,
            })
        }
    }
}

impl Embeddings {
    /// What each alert says about the daemon that raised it.
    pub(crate) fn provenance(&self, config: &Config) -> Provenance {
        Provenance {
            service: config.service.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: self.digest.clone(),
            config: config.digest.clone(),
            embedder: self.embedder.to_owned(),
            budget: config.budget.clone(),
            source: match config.source {
                SourceConfig::Kafka(_) => "kafka",
                SourceConfig::File(_) => "file",
                SourceConfig::Stdin(_) => "stdin",
            },
        }
    }
}

// A model or library that is missing is as often the machine's fault as the configuration's: unavailable.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn unusable(error: EmbedError) -> Error {
    Error::Unavailable(error.to_string())
}
