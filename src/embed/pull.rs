//! Fetches a model's folder: every file checked against its digest before the folder appears, all of it or nothing.
//!
//! Files come into a folder beside the target, named after it with `.part` behind, where a cut transfer goes on
//! later. Only when every file is there and right is the folder renamed into place: one step, which a crash cannot
//! halve. One pull at a time holds the `.part` folder's lock.
//!
//! Without a digest a file is refused, unless the operator says that the first copy is to be trusted: a model decides
//! what is strange, and a server may lie.

mod address;
pub(super) mod part;
mod proxy;
mod staging;
mod transfer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use self::staging::Staging;
use self::transfer::{Got, Transfer};
use super::known::Known;
use super::pooling::Pooling;

/// The digests of a pulled folder, in the form of sha256sum(1).
pub const SUMS: &str = "SHA256SUMS";

/// Why a pull ended without a model, by what its caller does next.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Asked for in a way that cannot work.
    #[error("{0}")]
    Asked(String),
    /// The server is not there, or does not have it; what came is kept, where it may be gone on with.
    #[error("{0}")]
    Unavailable(String),
    /// The server sent something else than was asked for; nothing of it is kept.
    #[error("{0}")]
    Wrong(String),
    /// A file or folder here.
    #[error("{what}: {error}")]
    Disk {
        /// What could not be done, with the path.
        what: String,
        /// Why.
        error: std::io::Error,
    },
}

/// One file to fetch.
#[derive(Clone, Debug)]
pub struct Want {
    /// Its name in the folder.
    pub name: String,
    /// Where it may be: the first that has it is taken.
    pub urls: Vec<String>,
    /// Its digest, 64 hexadecimal digits in lower case.
    pub sha256: Option<String>,
    /// Whether the folder does without.
    pub optional: bool,
}

/// What to fetch, and how patiently.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder that the model is to be.
    pub folder: PathBuf,
    /// Its files.
    pub files: Vec<Want>,
    /// Written as `1_Pooling/config.json`, where the model's makers say it and no file does.
    pub pooling: Option<Pooling>,
    /// Whether a file without a digest is taken as it comes.
    pub trust: bool,
    /// Whether plain http may be used beyond this machine.
    pub insecure_http: bool,
    /// Whether `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` count.
    pub proxies: bool,
    /// How long a server may be silent, or bring less than 1 KiB a second.
    pub stall: Duration,
    /// Tries without progress before giving up.
    pub tries: u32,
    /// The pause after the first of them; each further one is twice as long.
    pub pause: Duration,
    /// Largest file.
    pub size_max: u64,
    /// Redirects followed, for each request.
    pub redirects_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            files: Vec::new(),
            pooling: None,
            trust: false,
            insecure_http: false,
            proxies: true,
            stall: Duration::from_secs(30),
            tries: 6,
            pause: Duration::from_secs(1),
            size_max: 8 << 30,
            redirects_max: 8,
        }
    }
}

/// A file that came and is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Its name in the folder.
    pub name: String,
    /// Its digest.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// Who is told how far it is.
pub trait Watch {
    /// A file begins, or goes on: bytes that are there and bytes that it has, if the server says so.
    fn begin(&mut self, name: &str, there: u64, total: Option<u64>);
    /// So many of its bytes are there now.
    fn progress(&mut self, there: u64);
    /// Something went wrong and is tried again.
    fn trouble(&mut self, what: &str);
}

/// The files of a known model; `hub` is where repositories are.
pub fn of_known(known: &Known, hub: &str) -> Vec<Want> {
    let hub = hub.trim_end_matches('/');
    let files = [("model.onnx", known.model), ("tokenizer.json", known.tokenizer)];
    let want = |(name, remote): (&str, super::known::Remote)| Want {
        name: name.to_owned(),
        urls: vec![format!("{hub}/{}/resolve/main/{}", known.repository, remote.path)],
        sha256: remote.sha256.map(str::to_owned),
        optional: false,
    };
    files.into_iter().map(want).collect()
}

/// The files that belong to the graph at `url`: its tokenizer, its pooling and weights of its own, beside it or, where
/// its folder is called `onnx`, in the folder above.
pub fn of_url(url: &str, tokenizer: Option<&str>) -> Vec<Want> {
    let plain = url.split(['?', '#']).next().unwrap_or(url);
    let beside = plain.rsplit_once('/').map_or(plain, |(folder, _)| folder);
    let above = beside.strip_suffix("/onnx");
    let near = |name: &str| {
        let folders = [Some(beside), above].into_iter().flatten();
        folders.map(|folder| format!("{folder}/{name}")).collect::<Vec<_>>()
    };
    let want = |name: &str, urls, optional| Want { name: name.to_owned(), urls, sha256: None, optional };
    vec![
        want("model.onnx", vec![url.to_owned()], false),
        want(
            "tokenizer.json",
            tokenizer.map_or_else(|| near("tokenizer.json"), |url| vec![url.to_owned()]),
            false,
        ),
        want("1_Pooling/config.json", near("1_Pooling/config.json"), true),
        want("model.onnx_data", vec![format!("{beside}/model.onnx_data")], true),
        want("model.onnx.data", vec![format!("{beside}/model.onnx.data")], true),
    ]
}

/// Whether a text is a digest.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Fetches what is not there; returns what the folder holds. A folder that already holds exactly the files asked for
/// is left as it is.
///
/// # Errors
/// When anything is missing, wrong or cannot be had; the folder is then not there.
pub fn pull(settings: &Settings, watch: &mut dyn Watch) -> Result<Vec<Pulled>, PullError> {
    let wanted = pinned(settings)?;
    if let Some(there) = already(&settings.folder, &wanted)? {
        return Ok(there);
    }
    let staging = Staging::open(&settings.folder)?;
    // Another pull may have ended in between.
    if let Some(there) = already(&settings.folder, &wanted)? {
        return Ok(there);
    }
    let transfer = Transfer::new(settings, watch);
    let mut pulled = Vec::new();
    for want in wanted {
        match transfer.get(&want, staging.path(), watch)? {
            Got::File { sha256, bytes } => match implausible(&staging.path().join(&want.name), &want.name)? {
                None => pulled.push(Pulled { name: want.name, sha256, bytes }),
                Some(what) if want.optional && what == WEB_PAGE => {
                    watch.trouble(&format!("{} is {what}; it is optional and counts as missing", want.name));
                }
                Some(what) => {
                    let what = format!("{} is {what}; nothing of it was kept", want.name);
                    return Err(PullError::Wrong(what));
                }
            },
            Got::Missing(what) if !want.optional => return Err(PullError::Unavailable(what)),
            Got::Missing(_) => {}
        }
    }
    if let Some(pooling) = settings.pooling
        && !pulled.iter().any(|file| file.name == POOLING)
    {
        pulled.push(staging.write(POOLING, pooling_config(pooling).as_bytes())?);
    }
    staging.finish(&settings.folder, &pulled)?;
    Ok(pulled)
}

const POOLING: &str = "1_Pooling/config.json";

fn pooling_config(pooling: Pooling) -> String {
    let asks = |asked: bool| if asked { "true" } else { "false" };
    format!(
        "{{\"pooling_mode_cls_token\": {}, \"pooling_mode_mean_tokens\": {}, \"pooling_mode_lasttoken\": {}}}\n",
        asks(pooling == Pooling::Cls),
        asks(matches!(pooling, Pooling::Mean | Pooling::Auto)),
        asks(pooling == Pooling::Last)
    )
}

/// The files whose bytes are settled before they come, or may come as they like.
fn pinned(settings: &Settings) -> Result<Vec<Want>, PullError> {
    let loose = |want: &&Want| want.sha256.is_none() && !settings.trust;
    let missing: Vec<&str> = settings
        .files
        .iter()
        .filter(loose)
        .filter(|want| !want.optional)
        .map(|want| want.name.as_str())
        .collect();
    if !missing.is_empty() {
        return Err(PullError::Asked(format!(
            "no digest for {}: give --sha256 FILE=DIGEST for each (a hub shows it beside a large file; sha256sum prints \
             it for a copy you trust), or --sums with the {SUMS} of an earlier pull, or --trust to take what the server \
             sends now and have the digests printed",
            missing.join(" and ")
        )));
    }
    Ok(settings.files.iter().filter(|want| !loose(want)).cloned().collect())
}

/// What the folder holds, if it is there and is what is asked for.
fn already(folder: &Path, wanted: &[Want]) -> Result<Option<Vec<Pulled>>, PullError> {
    let empty = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(disk("cannot look into", folder, error)),
    };
    if empty {
        return Ok(None);
    }
    let mut there = Vec::new();
    for want in wanted.iter().filter(|want| !want.optional || want.sha256.is_some()) {
        let found = part::digest(&folder.join(&want.name));
        match (found, &want.sha256) {
            (Ok((sha256, bytes)), Some(asked)) if sha256 == *asked => {
                there.push(Pulled { name: want.name.clone(), sha256, bytes });
            }
            _ => {
                return Err(PullError::Asked(format!(
                    "{} is there and is not this model (see {}); remove it, or name another folder with --to",
                    folder.display(),
                    want.name
                )));
            }
        }
    }
    Ok(Some(there))
}

const WEB_PAGE: &str = "a web page";

/// What a file is that cannot be of the kind that its name says, and is removed for it: what a digest cannot tell where
/// none was given.
fn implausible(path: &Path, name: &str) -> Result<Option<&'static str>, PullError> {
    let mut head = [0; 64];
    let read = part::head(path, &mut head).map_err(|error| disk("cannot read", path, error))?;
    let head = &head[..read];
    let text = String::from_utf8_lossy(head).trim_start().to_ascii_lowercase();
    let what = if text.starts_with("<!doctype") || text.starts_with("<html") {
        Some(WEB_PAGE)
    } else if text.starts_with("version https://git-lfs") {
        Some("a pointer of Git LFS; take the address that resolves it")
    } else if head.is_empty() {
        Some("empty")
    } else if name == "model.onnx" && (head[0] == b'{' || head[0] == b'<') {
        Some("a text")
    } else if name == "tokenizer.json" && !is_tokenizer(path) {
        Some("no tokenizer")
    } else {
        None
    };
    if what.is_some() {
        std::fs::remove_file(path).map_err(|error| disk("cannot remove", path, error))?;
    }
    Ok(what)
}

fn is_tokenizer(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    serde_json::from_slice::<serde_json::Value>(&bytes).is_ok_and(|value| value.get("model").is_some())
}

fn disk(what: &str, path: &Path, error: std::io::Error) -> PullError {
    PullError::Disk { what: format!("{what} {}", path.display()), error }
}

fn hex(hash: Sha256) -> String {
    format!("{:x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_graph_is_looked_for_beside_it_and_above_onnx() {
        let wants = of_url("https://host/a/onnx/model_fp16.onnx?download=true", None);
        assert_eq!(wants[0].urls, ["https://host/a/onnx/model_fp16.onnx?download=true"]);
        assert_eq!(wants[1].urls, ["https://host/a/onnx/tokenizer.json", "https://host/a/tokenizer.json"]);
        let wants = of_url("https://host/model.onnx", Some("https://other/t.json"));
        assert_eq!(wants[1].urls, ["https://other/t.json"]);
        assert_eq!(wants[2].urls, ["https://host/1_Pooling/config.json"]);
    }

    #[test]
    fn nothing_comes_without_a_digest_unless_it_is_trusted() {
        let mut settings = Settings { files: of_url("https://host/model.onnx", None), ..Settings::default() };
        let why = pinned(&settings).unwrap_err().to_string();
        assert!(why.starts_with("no digest for model.onnx and tokenizer.json: give --sha256"), "{why}");
        for want in &mut settings.files[..2] {
            want.sha256 = Some("0".repeat(64));
        }
        assert_eq!(pinned(&settings).unwrap().len(), 2, "optional files only by digest");
        settings.trust = true;
        assert_eq!(pinned(&settings).unwrap().len(), 5);
    }

    #[test]
    fn known_models_need_no_more_than_their_names_where_their_digests_are_known() {
        let known = super::super::known::find("all-MiniLM-L6-v2").unwrap();
        let files = of_known(known, "https://hub.example/");
        assert_eq!(
            files[0].urls,
            ["https://hub.example/sentence-transformers/all-MiniLM-L6-v2/resolve/main/onnx/model.onnx"]
        );
        assert!(pinned(&Settings { files, ..Settings::default() }).is_ok());
    }
}
