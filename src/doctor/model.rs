//! The embedder: what was found, what really runs it, and one text through it.

use std::path::Path;
use std::time::Instant;

use super::Check;
use crate::config::ModelConfig;
use crate::embed::Embedder;
use crate::embed::hashed::Hashed;
use crate::embed::inspect::{Inspection, Running, inspect};
use crate::embed::models::{Surroundings, check_library};
use crate::embed::onnx::ports::library;
use crate::embed::onnx::{Device, Settings};

/// The text that is embedded.
const SAMPLE: &str = "connection to replica 7 refused by peer after 3 tries";

pub(super) fn checks(model: &ModelConfig) -> Vec<Check> {
    match model {
        ModelConfig::Hashed { .. } => hashed(),
        ModelConfig::Onnx { model, .. } => onnx(model),
    }
}

fn hashed() -> Vec<Check> {
    let mut embedder = Hashed::new(1);
    let begun = now();
    let vector = embedder.embed(&[SAMPLE]);
    let micros = begun.elapsed().as_secs_f64() * 1e6;
    let about =
        format!("built in, needs no file; {} dimensions, {}", embedder.dimensions(), embedder.digest());
    let embedded = match vector {
        Ok(_) => Check::ok("test embedding", format!("{micros:.0} µs")),
        Err(error) => Check::fail("test embedding", error.to_string(), "report this: it should not happen"),
    };
    vec![
        Check::unneeded("onnx runtime", "not needed: [model] kind is \"hashed\""),
        Check::ok("model", about),
        embedded,
    ]
}

fn onnx(settings: &Settings) -> Vec<Check> {
    let found = match inspect(settings, SAMPLE) {
        Ok(found) => found,
        Err(error) => {
            let remedy = "outlierd model pull all-MiniLM-L6-v2 fetches one; then set [model] path";
            let missing = Check::fail("model files", error.to_string(), remedy);
            let rest = ["onnx runtime", "model", "provider", "test embedding"];
            let rest = rest.map(|name| Check::skipped(name, "there is no model to load"));
            return std::iter::once(missing).chain(rest).collect();
        }
    };
    let mut checks = vec![files(settings, &found), runtime(settings)];
    if found.dynamically_quantised {
        checks.push(quantised(settings.allow_dynamic_quantisation));
    }
    match &found.running {
        Ok(running) => {
            checks.push(Check::ok("model", described(running)));
            checks.push(provider(settings.device, running.provider));
            checks.push(Check::ok(
                "test embedding",
                format!(
                    "{:.1} ms for one text; loaded and warmed in {:.1} s",
                    running.sample.as_secs_f64() * 1e3,
                    running.load.as_secs_f64()
                ),
            ));
        }
        // Why stands in the check of the library.
        Err(_) if library().is_none() => {
            for name in ["model", "provider", "test embedding"] {
                checks.push(Check::skipped(name, "needs ONNX Runtime"));
            }
        }
        Err(why) => {
            let remedy = if why.starts_with("cuda") {
                "nvidia-smi shows the devices; python's onnxruntime-gpu has to be of the CUDA that is there"
            } else {
                "outlierd model inspect DIR says more; a file that is damaged is pulled anew"
            };
            checks.push(Check::fail("model", why.clone(), remedy));
            checks.push(Check::skipped("provider", "the model does not run"));
            checks.push(Check::skipped("test embedding", "the model does not run"));
        }
    }
    checks
}

fn files(settings: &Settings, found: &Inspection) -> Check {
    let bytes: u64 = found.files.iter().map(|(_, bytes)| bytes).sum();
    let about = format!("{}: {bytes} bytes, sha256 {}", settings.folder.display(), found.sha256);
    match &found.changed {
        Some(changed) if !changed.is_empty() => Check::fail(
            "model files",
            format!("{about}; not as pulled: {}", changed.join(", ")),
            "remove the folder and pull it anew",
        ),
        Some(_) => Check::ok("model files", format!("{about}; as pulled")),
        None => Check::ok("model files", about),
    }
}

/// Where the library was looked for, up to where it was found.
fn runtime(settings: &Settings) -> Check {
    let found = library();
    let mut looked = Vec::new();
    for place in Surroundings::of_process().places(settings.library.as_deref()) {
        let same = found.as_deref().is_some_and(|found| is(&place.path, found));
        let outcome = match place.because {
            _ if same => "loaded".to_owned(),
            "loader" => "not found by the loader".to_owned(),
            _ => check_library(&place.path).err().unwrap_or_else(|| "could not be loaded".to_owned()),
        };
        looked.push(format!("{} ({}): {outcome}", place.path.display(), place.because));
        if same {
            break;
        }
    }
    match found {
        Some(_) => Check::ok("onnx runtime", looked.join("\n")),
        None => Check::fail(
            "onnx runtime",
            format!("no library; looked at\n{}", looked.join("\n")),
            "pip install onnxruntime (onnxruntime-gpu for CUDA), 1.24 to 1.32, or set [model] library",
        ),
    }
}

fn is(place: &Path, found: &Path) -> bool {
    place == found || std::path::absolute(place).is_ok_and(|place| place == found)
}

fn quantised(allowed: bool) -> Check {
    let found = "dynamically quantised: a text's vector depends on its batch";
    if allowed {
        Check::warn(
            "quantisation",
            format!("{found}; runs one text at a time"),
            "take the fp32 or fp16 model",
        )
    } else {
        Check::fail(
            "quantisation",
            found,
            "take the fp32 or fp16 model, or set [model] allow_dynamic_quantisation",
        )
    }
}

fn described(running: &Running) -> String {
    format!("{} dimensions, {}", running.dimensions, running.digest)
}

fn provider(asked: Device, runs: &str) -> Check {
    let graphics = Path::new("/dev/nvidiactl").exists();
    match (asked, runs) {
        (Device::Cuda { .. }, "cpu") => Check::warn(
            "provider",
            "cpu, although cuda was asked for: [model] fallback allows it",
            "outlierd doctor --verbose says why; onnxruntime-gpu with CUDA 13 and cuDNN 9 is needed",
        ),
        (Device::Auto, "cpu") if graphics => Check::warn(
            "provider",
            "cpu, although the machine has an NVIDIA device",
            "the library has no working CUDA: pip install 'onnxruntime-gpu[cuda,cudnn]', or set [model] device to \
             \"cpu\"",
        ),
        (asked, runs) => {
            let asked = match asked {
                Device::Auto => "auto".to_owned(),
                Device::Cpu => "cpu".to_owned(),
                Device::Cuda { id } => format!("cuda:{id}"),
            };
            Check::ok("provider", format!("{runs} ([model] device is \"{asked}\")"))
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a text takes is what is asked; no verdict sees the time"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_fallback_is_not_passed_over() {
        let fell = provider(Device::Cuda { id: 0 }, "cpu");
        assert_eq!(fell.status, Status::Warn);
        assert_eq!(provider(Device::Cpu, "cpu").status, Status::Ok);
        assert_eq!(provider(Device::Cuda { id: 1 }, "cuda").found, "cuda ([model] device is \"cuda:1\")");
    }
}
