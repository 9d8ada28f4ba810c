//! `outlierd model`: get a model, see which there are, look into one.

mod bar;
mod inspect;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use self::bar::Bar;
use self::inspect::Inspect;
use super::{DATA, UNAVAILABLE, USAGE, fail, say};
use crate::embed::known::{self, HUB, KNOWN, Known};
use crate::embed::pooling::Pooling;
use crate::embed::pull::{self, PullError, Pulled};
use crate::embed::{onnx, pull::is_sha256};

const PULL_EXAMPLES: &str = "Examples:
  outlierd model pull all-MiniLM-L6-v2
  outlierd model pull e5-small-v2 --sha256 model.onnx=DIGEST --sha256 tokenizer.json=DIGEST
  outlierd model pull e5-small-v2 --trust --to /var/lib/outlierd/e5
  outlierd model pull e5-small-v2 --sums /var/lib/outlierd/e5/SHA256SUMS
  HTTPS_PROXY=http://proxy:3128 outlierd model pull https://models.example/minilm/model.onnx --sums SHA256SUMS

Every byte is held against a digest before the folder appears. A transfer that was cut goes on where it ended when the
same command is run again. A server that is silent, or slower than 1 KiB a second, for the seconds of --timeout is asked
again. Of an address, what follows a ? is neither shown nor kept, and is not sent for the files beside it: where it is a
token, name the tokenizer's own address with --tokenizer.

Proxies: HTTPS_PROXY counts for https, HTTP_PROXY for http, ALL_PROXY for what has none of its own; each may be
http://HOST:PORT or https://HOST:PORT, with USER:PASSWORD@ (percent-encoded) before HOST. Anything else is refused.
NO_PROXY lists what is reached directly: HOST, HOST:PORT, .SUFFIX (every host below it), ADDRESS, ADDRESS/BITS, or * for
everything.

Exit codes: 64 asked for wrongly, 65 what came is not what was asked for, 69 it cannot be had now.";

const LIST_EXAMPLES: &str = "Examples:
  outlierd model list
  outlierd model list /var/lib/outlierd";

/// Where models go and are looked for.
const FOLDER: &str = "models";

#[derive(Debug, Subcommand)]
pub(super) enum Model {
    /// Fetch a model's folder, every file checked against its digest.
    #[command(after_help = PULL_EXAMPLES)]
    Pull(Box<Pull>),
    /// Print the models that are known by name, and those that lie in a folder.
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// Say what a model's folder is: files, inputs, outputs, pooling, dimensions, whether it is fit for use.
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(Inspect),
}

#[derive(Debug, Args)]
pub(super) struct Pull {
    /// A known model (see: outlierd model list), or the address of a model.onnx.
    #[arg(value_name = "NAME|URL")]
    model: String,
    /// The folder to make; without it models/NAME.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// The digest of a file, or of model.onnx where no file is named; may be given again.
    #[arg(long, value_name = "[FILE=]DIGEST", value_parser = pin)]
    sha256: Vec<(String, String)>,
    /// Digests of files as sha256sum prints them, such as the SHA256SUMS that an earlier pull wrote.
    #[arg(long, value_name = "FILE")]
    sums: Option<PathBuf>,
    /// Take files without a digest as the server sends them now, and print their digests.
    #[arg(long)]
    trust: bool,
    /// The address of tokenizer.json, where it is not beside the model.
    #[arg(long, value_name = "URL")]
    tokenizer: Option<String>,
    /// Where known models are published; a mirror keeps the same paths.
    #[arg(long, value_name = "URL", default_value = HUB)]
    hub: String,
    /// Allow http beyond this machine: anybody on the way can then read and change what has no digest.
    #[arg(long)]
    insecure_http: bool,
    /// Seconds that a server may be silent, or slower than 1 KiB a second.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Tries without progress before giving up.
    #[arg(long, value_name = "NUMBER", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    tries: u32,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Folder whose folders are models; without it models, which need not be there.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Runs it.
pub(super) fn run(model: &Model) -> ExitCode {
    match model {
        Model::Pull(options) => run_pull(options),
        Model::List(options) => match list(options.folder.as_deref()) {
            Ok(text) => {
                say(&text);
                ExitCode::SUCCESS
            }
            Err(why) => fail(UNAVAILABLE, &why),
        },
        Model::Inspect(options) => inspect::run(options),
    }
}

fn run_pull(options: &Pull) -> ExitCode {
    let known = known::find(&options.model);
    let settings = match settings(options, known) {
        Ok(settings) => settings,
        Err(why) => return fail(USAGE, &why),
    };
    let mut bar = Bar::new();
    let outcome = pull::pull(&settings, &mut bar);
    drop(bar);
    match outcome {
        Ok(files) => {
            say(&told(&settings.folder, &files, known));
            ExitCode::SUCCESS
        }
        Err(error @ PullError::Asked(_)) => fail(USAGE, &error),
        Err(error @ PullError::Wrong(_)) => fail(DATA, &error),
        Err(error) => fail(UNAVAILABLE, &error),
    }
}

fn settings(options: &Pull, known: Option<&Known>) -> Result<pull::Settings, String> {
    let is_url = options.model.contains("://");
    if options.hub.contains(['?', '#', '@']) {
        return Err("--hub is an address without a query, user or password".to_owned());
    }
    let mut files = match known {
        Some(known) => pull::of_known(known, &options.hub),
        None if is_url => pull::of_url(&options.model, options.tokenizer.as_deref()),
        None => {
            let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
            // It may be an address without its beginning, and have a token in it.
            let asked = options.model.contains(['?', '@', ':']).then_some("that");
            return Err(format!(
                "no model is known as {}; known are {}; others go by the address of their model.onnx, from https:// on",
                asked.map_or_else(|| format!("{:?}", options.model), str::to_owned),
                names.join(", ")
            ));
        }
    };
    let mut pins = Vec::new();
    if let Some(path) = &options.sums {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        pins.extend(sums(&text).map_err(|line| format!("{}: not a digest: {line}", path.display()))?);
    }
    pins.extend(options.sha256.iter().cloned());
    for (name, digest) in pins {
        match files.iter_mut().find(|want| want.name == name) {
            Some(want) => {
                want.sha256 = Some(digest);
                want.optional = false;
            }
            // What is written here and not fetched stands in SHA256SUMS too.
            None if options.sha256.iter().all(|(given, _)| *given != name) => {}
            None => {
                let names: Vec<&str> = files.iter().map(|want| want.name.as_str()).collect();
                return Err(format!("no file {name} is fetched; files are {}", names.join(", ")));
            }
        }
    }
    let name = known.map_or_else(|| folder_name(&options.model), |known| known.name.to_owned());
    Ok(pull::Settings {
        folder: options.to.clone().unwrap_or_else(|| Path::new(FOLDER).join(name)),
        files,
        pooling: known.map(|known| known.pooling),
        trust: options.trust,
        insecure_http: options.insecure_http,
        stall: Duration::from_secs(options.timeout),
        tries: options.tries,
        ..pull::Settings::default()
    })
}

/// A folder's name out of an address: that of the folder that the model lies in.
fn folder_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let path = path.split_once("://").map_or(path, |(_, path)| path);
    let parts = path.split('/').skip(1);
    let dull = ["onnx", "resolve", "main", "raw", "blob", "model.onnx", ""];
    let name = parts.filter(|part| !dull.contains(part)).last().unwrap_or("model");
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = name.trim_end_matches(".onnx").chars().map(safe).collect();
    if name.trim_matches('.').is_empty() { "model".to_owned() } else { name }
}

fn told(folder: &Path, files: &[Pulled], known: Option<&Known>) -> String {
    let mut text = format!("{}\n", folder.display());
    for file in files {
        add(&mut text, &format!("  {:<22} {:>12} bytes  sha256 {}\n", file.name, file.bytes, file.sha256));
    }
    if let Some(known) = known {
        add(
            &mut text,
            &format!(
                "licence {}, {} dimensions, {}\n",
                known.licence,
                known.dimensions,
                pooling_name(known.pooling)
            ),
        );
    }
    add(&mut text, &format!("\n[model]\nkind = \"onnx\"\npath = {:?}\n", folder.display().to_string()));
    if let Some(known) = known {
        if !known.prefix.is_empty() {
            add(&mut text, &format!("prefix = {:?}\n", known.prefix));
        }
        if known.tokens < onnx::Settings::default().tokens_max {
            add(&mut text, &format!("tokens_max = {}\n", known.tokens));
        }
    }
    text
}

/// The known models, and those in the folder; without one named, in the usual folder, if it is there.
fn list(named: Option<&Path>) -> Result<String, String> {
    let folder = named.unwrap_or(Path::new(FOLDER));
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => Some(entries),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(format!(
                "cannot look into {}: {error}; name a folder whose folders are models",
                folder.display()
            ));
        }
    };
    let mut text = format!(
        "{:<39} {:<11} {:>4} {:>6} {:>7}  {:<10} languages\n",
        "known by name", "licence", "dim.", "tokens", "size", "prefix"
    );
    for known in KNOWN {
        let digest = if known.model.sha256.is_some() { "" } else { "; bring a digest, or --trust" };
        add(
            &mut text,
            &format!(
                "  {:<37} {:<11} {:>4} {:>6} {:>4} MB  {:<10} {}{digest}\n",
                known.name,
                known.licence,
                known.dimensions,
                known.tokens,
                known.megabytes,
                format!("{:?}", known.prefix),
                known.languages
            ),
        );
    }
    let mut there: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("model.onnx").is_file() && path.join("tokenizer.json").is_file())
        .collect();
    there.sort();
    add(&mut text, &format!("in {}\n", folder.display()));
    for path in &there {
        let size = path.join("model.onnx").metadata().map_or(0, |about| about.len());
        add(&mut text, &format!("  {:<37} {:>9} bytes\n", path.display().to_string(), size));
    }
    if there.is_empty() {
        text.push_str("  none; get one: outlierd model pull all-MiniLM-L6-v2\n");
    }
    Ok(text)
}

fn add(text: &mut String, more: &str) {
    text.push_str(more);
}

fn pooling_name(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::Auto | Pooling::Mean => "mean of the tokens",
        Pooling::Cls => "first token",
        Pooling::Last => "last token",
    }
}

fn pin(text: &str) -> Result<(String, String), String> {
    let (name, digest) = text.split_once('=').unwrap_or(("model.onnx", text));
    if is_sha256(digest) {
        Ok((name.to_owned(), digest.to_ascii_lowercase()))
    } else {
        Err("should be 64 hexadecimal digits, or FILE= and those".to_owned())
    }
}

/// The lines of sha256sum(1): digest, two spaces or a space and a star, name.
fn sums(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pins = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (digest, name) = line.split_once(' ').ok_or_else(|| line.to_owned())?;
        let name = name.trim_start_matches([' ', '*']).trim_start_matches("./");
        if !is_sha256(digest) || name.is_empty() {
            return Err(line.to_owned());
        }
        pins.push((name.to_owned(), digest.to_ascii_lowercase()));
    }
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_people_write_them() {
        let digest = "AB".repeat(32);
        let low = digest.to_ascii_lowercase();
        assert_eq!(pin(&digest), Ok(("model.onnx".to_owned(), low.clone())));
        assert_eq!(pin(&format!("t.json={digest}")), Ok(("t.json".to_owned(), low.clone())));
        assert!(pin("t.json=12").is_err() && pin("").is_err());
        let text = format!("{digest}  model.onnx\n\n{digest} *1_Pooling/config.json\n");
        let names: Vec<String> = sums(&text).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["model.onnx", "1_Pooling/config.json"]);
        assert!(sums("nonsense here").is_err());
    }

    #[test]
    fn a_folder_is_named_after_what_the_address_says() {
        for (url, name) in [
            ("https://host/owner/minilm/resolve/main/onnx/model.onnx", "minilm"),
            ("https://host/models/e5.onnx?download=true", "e5"),
            ("https://host/model.onnx", "model"),
            ("https://host/..", "model"),
            ("https://host/a%2f..%2fb/model.onnx", "a-2f..-2fb"),
        ] {
            assert_eq!(folder_name(url), name);
        }
    }
}
