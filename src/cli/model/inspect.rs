//! `outlierd model inspect`: what a model's folder is, and in the last line whether the daemon would run it.
//!
//! Whether it would is decided where the daemon decides it; here it is only told.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::{DATA, UNAVAILABLE, USAGE, fail, say};
use super::{add, pooling_name};
use crate::embed::inspect::{Fit, Inspection, Running, inspect};
use crate::embed::onnx;

pub(super) const EXAMPLES: &str = "Examples:
  outlierd model inspect models/all-MiniLM-L6-v2
  outlierd model inspect models/e5-small-v2 --prefix 'query: ' --text 'disk 7 failed'
  outlierd model inspect model --library /opt/onnxruntime/lib/libonnxruntime.so

The last line says whether the daemon would run it. Exit codes: 0 fit for use, 64 no folder was named, 65 not fit for use, 69 the
folder is not there or cannot be read, or ONNX Runtime is missing.";

#[derive(Debug, Args)]
pub(in crate::cli) struct Inspect {
    /// The model's folder.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// ONNX Runtime's library; searched for where it is not given.
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// What stands before each text.
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// The text to embed.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "connection to replica 7 refused by peer after 3 tries"
    )]
    text: String,
}

/// Runs it.
pub(super) fn run(options: &Inspect) -> ExitCode {
    let settings = onnx::Settings {
        folder: options.folder.clone(),
        library: options.library.clone(),
        prefix: options.prefix.clone(),
        ..onnx::Settings::default()
    };
    let folder = options.folder.display();
    match std::fs::read_dir(&options.folder) {
        Ok(_) => {}
        Err(_) if options.folder.is_file() => {
            let why =
                format!("{folder} is a file; name the folder that model.onnx and tokenizer.json lie in");
            return fail(USAGE, &why);
        }
        Err(error) => {
            let why = format!(
                "cannot look into {folder}: {error}; outlierd model list prints the models that are here, outlierd \
                 model pull gets one"
            );
            return fail(UNAVAILABLE, &why);
        }
    }
    let (told, fit) = match inspect(&settings, &options.text) {
        Ok(found) => (described(&found, options), found.fit()),
        Err(error) => (format!("{folder}\n"), Fit::No(error.to_string())),
    };
    let (code, verdict) = match fit {
        Fit::Yes => (ExitCode::SUCCESS, "yes".to_owned()),
        Fit::No(why) => (ExitCode::from(DATA), format!("no: {why}")),
        Fit::NoRuntime => (
            ExitCode::from(UNAVAILABLE),
            "no: ONNX Runtime is not usable here, so the model was not run; give --library FILE, or run: pip install \
             onnxruntime"
                .to_owned(),
        ),
    };
    say(&format!("{told}fit for use: {verdict}\n"));
    code
}

fn described(found: &Inspection, options: &Inspect) -> String {
    let mut text = format!("{}\n", options.folder.display());
    for (name, bytes) in &found.files {
        add(&mut text, &format!("  {name:<22} {bytes:>12} bytes\n"));
    }
    let mut line = |name: &str, value: &str| add(&mut text, &format!("{name:<22} {value}\n"));
    line("sha256", &found.sha256);
    match &found.changed {
        None => line("as pulled", "not known: no SHA256SUMS"),
        Some(changed) if changed.is_empty() => line("as pulled", "yes"),
        Some(changed) => line("as pulled", &format!("NO: {} differ; pull it anew", changed.join(", "))),
    }
    line(
        "dynamically quantised",
        if found.dynamically_quantised { "YES: a text's vector would depend on its batch" } else { "no" },
    );
    line("1_Pooling/config.json", found.pooling.map_or("not there: the mean is taken", pooling_name));
    match &found.tokenizer {
        Ok(tokenizer) => {
            line("vocabulary", &tokenizer.vocabulary.to_string());
            let cut =
                tokenizer.cut_at.map_or_else(|| "none of its own".to_owned(), |at| format!("{at} tokens"));
            line("tokenizer's own limit", &format!("{cut}; [model] tokens_max decides"));
            line("tokens of the text", &format!("{} in {:?}", tokenizer.sample_tokens, options.text));
        }
        Err(_) => line("tokenizer", "unreadable"),
    }
    match &found.running {
        Ok(running) => text.push_str(&loaded(running)),
        // The last line says it; of several fields that a tokenizer lacks, its library names any one.
        Err(why) if found.tokenizer.is_err() || found.fit() == Fit::No(why.clone()) => {}
        Err(why) => add(&mut text, &format!("not loaded             {why}\n")),
    }
    text
}

fn loaded(running: &Running) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| add(&mut text, &format!("{name:<22} {value}\n"));
    line("onnx runtime", &running.library);
    line("runs on", running.provider);
    for input in &running.inputs {
        line("input", &format!("{} {}", input.name, input.kind));
    }
    for output in &running.outputs {
        let read = if output.name == running.output { " (read)" } else { "" };
        line("output", &format!("{} {}{read}", output.name, output.kind));
    }
    line("pooling", running.pooling.map_or("by the graph", pooling_name));
    line("dimensions", &running.dimensions.to_string());
    line("digest in alerts", &running.digest);
    line("loaded in", &format!("{:.0} ms", running.load.as_secs_f64() * 1e3));
    line("text embedded in", &format!("{:.1} ms", running.sample.as_secs_f64() * 1e3));
    text
}
