//! Finds and loads the ONNX Runtime library, once for a process.
//!
//! Asking ort anything before a library is loaded, or loading one that is none, ends in a panic or in words that help
//! nobody: so each place is looked at first, and an error names every place that was tried.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep;
use ort::logging::LogLevel;

use super::Settings;
use crate::embed::EmbedError;
use crate::embed::models::{Folder, Place, Surroundings, check_library};
use crate::embed::tokens::Tokeniser;

/// The library that was loaded, and its environment: a process can have one of each.
static RUNTIME: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// What is missing for a model to be opened.
#[derive(Debug)]
pub enum Missing {
    /// A file of the model, or what is in it.
    Model(String),
    /// ONNX Runtime.
    Library(String),
}

/// Whether a model's files are there and the library loads, without opening the model, which may take long.
///
/// # Errors
/// What is missing, in words for the operator.
pub fn look(settings: &Settings) -> Result<(), Missing> {
    let model = |error: EmbedError| Missing::Model(error.to_string());
    let folder = Folder::open(&settings.folder).map_err(model)?;
    Tokeniser::open(&folder.tokenizer, &settings.prefix, settings.tokens_max).map_err(model)?;
    environment(settings.library.as_deref()).map(|_| ()).map_err(|error| Missing::Library(error.to_string()))
}

/// Where the library that was loaded lies.
pub(super) fn loaded() -> Option<PathBuf> {
    let runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    runtime.as_ref().map(|(path, _)| path.clone())
}

/// Loads the library on the first call.
pub(super) fn environment(library: Option<&Path>) -> Result<Environment, EmbedError> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let places = Surroundings::of_process().places(library);
    let mut tried = Vec::new();
    for Place { path, because } in places {
        let outcome = match (&*runtime, because) {
            // The loader has its own folders; only it can tell.
            (None, "loader") => load(&path),
            (None, _) => std::path::absolute(&path).map_err(|error| error.to_string()).and_then(|path| {
                check_library(&path)?;
                load(&path)
            }),
            (Some(_), "loader") => Err("another library is loaded".to_owned()),
            (Some((loaded, environment)), _) => check_library(&path).and_then(|()| {
                let same = std::path::absolute(&path).is_ok_and(|path| path == *loaded);
                same.then(|| (loaded.clone(), environment.clone()))
                    .ok_or_else(|| format!("this process has loaded {} already", loaded.display()))
            }),
        };
        match outcome {
            Ok((path, environment)) => {
                *runtime = Some((path, environment.clone()));
                return Ok(environment);
            }
            Err(reason) => tried.push(format!("\n  {} ({because}): {reason}", path.display())),
        }
    }
    Err(EmbedError::Unusable(format!(
        "onnx runtime library not usable, tried:{}\nset [model] library to libonnxruntime.so of ONNX Runtime 1.24 to \
         1.32, or run: pip install onnxruntime",
        tried.concat()
    )))
}

fn load(path: &Path) -> Result<(PathBuf, Environment), String> {
    let builder = ort::init_from(path).map_err(|error| match error {
        ort::LoadDynamicError::BadVersion { version_str, .. } => {
            format!("is ONNX Runtime {version_str}, 1.{} or later is needed", ort::MINOR_VERSION)
        }
        error => error.to_string(),
    })?;
    preload_cuda(path);
    let environment = builder
        .with_name("outlierd")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, category, _, _, message| log(level, category, message)))
        .build()
        .map_err(|error| error.to_string())?;
    environment.set_log_level(LogLevel::Warning);
    Ok((path.to_owned(), environment))
}

/// Its errors come back as results too, so none of its lines is one.
fn log(level: LogLevel, category: &str, message: &str) {
    match level {
        LogLevel::Error | LogLevel::Fatal => tracing::warn!(category, message, "onnx runtime"),
        _ => tracing::debug!(category, message, "onnx runtime"),
    }
}

/// Python's wheels keep CUDA and cuDNN in `site-packages/nvidia`, where the loader does not look: beside the library's own
/// package, else in the first installation that has them. Whether this was needed and enough, the provider will tell.
fn preload_cuda(library: &Path) {
    // They are large, and a library without that provider has no use for them.
    if !library.with_file_name("libonnxruntime_providers_cuda.so").is_file() {
        return;
    }
    let (beside, around) = (library.ancestors().nth(3).map(Path::to_owned), Surroundings::of_process());
    let packages = beside.into_iter().chain(around.packages());
    let Some(nvidia) = packages.map(|packages| packages.join("nvidia")).find(|nvidia| nvidia.is_dir()) else {
        return;
    };
    for (cuda, cudnn) in [(Some(nvidia.join("cu13/lib")), None), (None, Some(nvidia.join("cudnn/lib")))] {
        let present = |folder: Option<PathBuf>| folder.filter(|folder| folder.is_dir());
        if let Err(error) = ep::cuda::preload_dylibs(present(cuda).as_deref(), present(cudnn).as_deref()) {
            tracing::debug!(%error, "cuda libraries of python's wheels do not load");
        }
    }
}
