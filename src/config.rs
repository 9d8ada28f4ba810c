//! Settings as written, and how they become settings as used.
//!
//! What the operator wrote (`raw`) is one type; what the parts run with ([`Config`]) is another, valid by
//! construction. All that is wrong is said at once, each with its file and line.
//!
//! ```text
//!  default.toml ─▶ document ─┐          ┌─ keys: what may stand where
//!  file ─────────▶ document ─┤  load  ◀─┤─ shape, options: whether it does     resolve
//!  OUTLIERD_… ───────────────┼────────▶ Figment, Places ──▶ Raw ──────────────────────▶ Config
//!  --set … ──────────────────┘                                between settings, secrets
//! ```

mod document;
mod fault;
mod interpolate;
mod keys;
mod load;
mod options;
mod places;
mod raw;
mod reference;
mod resolve;
mod same;
mod schema;
mod secret;
mod shape;
mod show;
mod together;
mod units;
mod world;
mod written;

use std::net::SocketAddr;
use std::path::Path;

use crate::detect::Selection;
use crate::embed::{onnx, worker};
use crate::{pipeline, sink, source};

use fault::Fault;
pub use load::Set;

/// The defaults; the file is also the reference for a reader.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// Everything that is wrong with a configuration, a line each.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not valid\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

/// Where events come from.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    /// Topics.
    Kafka(source::kafka::Settings),
    /// Files.
    File(source::file::Settings),
    /// Standard input.
    Stdin(source::stdin::Settings),
}

/// Where alerts go.
#[derive(Clone, Debug)]
pub enum SinkConfig {
    /// A topic.
    Kafka(sink::kafka::Settings),
    /// Standard output.
    Stdout(sink::stdout::Settings),
    /// A file.
    File(sink::file::Settings),
}

/// What embeds texts.
#[derive(Clone, Debug)]
pub enum ModelConfig {
    /// The built-in embedder.
    Hashed {
        /// Distinct texts whose embeddings are kept, a shard.
        cache_texts: usize,
    },
    /// A model through ONNX Runtime.
    Onnx {
        /// The model.
        model: onnx::Settings,
        /// The worker that runs it.
        worker: worker::Settings,
    },
}

/// How the log is written.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A filter of tracing-subscriber.
    pub level: String,
    /// Text or JSON; none: text on a terminal.
    pub text: Option<bool>,
}

/// What the daemon runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of this use of the daemon: the consumer group.
    pub service: String,
    /// Where events come from.
    pub source: SourceConfig,
    /// Where alerts go.
    pub sink: SinkConfig,
    /// What embeds texts.
    pub model: ModelConfig,
    /// What judges.
    pub pipeline: pipeline::Settings,
    /// Threads that judge; 0: one a core.
    pub shards: usize,
    /// Address of the admin server.
    pub admin: Option<SocketAddr>,
    /// The log.
    pub log: LogConfig,
    /// The budget as written.
    pub budget: String,
    /// Digest of all settings that can change a verdict; 16 hexadecimal digits.
    pub digest: String,
}

impl Config {
    /// Reads defaults, a file, the environment and settings of the command line; later ones win.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key, where it was set and what it should be.
    pub fn load(file: Option<&Path>, sets: &[Set]) -> Result<Self, ConfigError> {
        let (config, faults) = judged(file, sets, true, false);
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(ConfigError(fault::lines(faults))),
        }
    }

    /// The same, but for a field that is never read; a bare name is a field at the top.
    #[must_use]
    pub fn ignoring(mut self, field: &str) -> Self {
        self.pipeline.render.ignore.push(resolve::pointer(field));
        self.digest = resolve::digest(&self.pipeline);
        self
    }

    /// The same, but for the channels that are asked.
    #[must_use]
    pub fn asking(mut self, channels: Selection) -> Self {
        self.pipeline.detect.channels = channels;
        self.digest = resolve::digest(&self.pipeline);
        self
    }
}

/// Everything that is wrong with the settings; with `environment` also with what they point at: files, model, port, broker.
///
/// # Errors
/// As [`Config::load`].
pub fn validate(file: Option<&Path>, sets: &[Set], environment: bool) -> Result<(), ConfigError> {
    let faults = judged(file, sets, environment, environment).1;
    if faults.is_empty() { Ok(()) } else { Err(ConfigError(fault::lines(faults))) }
}

/// The settings in effect with where each came from, secrets redacted: as TOML, or as a JSON object.
///
/// # Errors
/// Values that do not fit and keys that do not exist; whether settings can work together, [`validate`] tells.
pub fn show(file: Option<&Path>, sets: &[Set], json: bool) -> Result<String, ConfigError> {
    let loaded = load::layered(DEFAULTS, file, &load::environment(), sets);
    if !loaded.faults.is_empty() {
        return Err(ConfigError(fault::lines(loaded.faults)));
    }
    Ok(if json { format!("{:#}\n", show::json_object(&loaded)) } else { show::toml(&loaded) })
}

/// A JSON Schema (draft 2020-12) of configuration files.
pub fn schema() -> String {
    let defaults = load::layered(DEFAULTS, None, &[], &[]);
    format!("{:#}\n", schema::schema(DEFAULTS, &defaults))
}

/// The settings with all that is wrong with them; none when a file cannot be read at all.
fn judged(file: Option<&Path>, sets: &[Set], secrets: bool, world: bool) -> (Option<Config>, Vec<Fault>) {
    let loaded = load::layered(DEFAULTS, file, &load::environment(), sets);
    if !loaded.complete {
        return (None, loaded.faults);
    }
    match loaded.raw() {
        Ok(raw) => {
            let mut faults = resolve::Faults { places: &loaded.places, found: loaded.faults.clone() };
            let config = resolve::resolve(&raw, secrets, &mut faults);
            if world {
                world::check(&config, &mut faults);
            }
            (Some(config), faults.found)
        }
        Err(wrong) => (None, loaded.faults.into_iter().chain(wrong).collect()),
    }
}

#[cfg(test)]
mod tests;
