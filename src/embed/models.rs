//! What has to lie on disk: the model's folder and the ONNX Runtime library; and what the files say about themselves.
//!
//! Everything that can be wrong is found here, by reading, before the library is asked to load anything: its own
//! messages are for its programmers.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::EmbedError;
use super::pooling::Pooling;

/// The files of a model's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The graph.
    pub model: PathBuf,
    /// The tokenizer.
    pub tokenizer: PathBuf,
    /// Weights that the graph keeps beside itself, where it does.
    pub weights: Vec<PathBuf>,
    /// What sentence-transformers' `1_Pooling/config.json` asks for, if it is there.
    pub pooling: Option<Pooling>,
}

/// What reading the graph's bytes tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// sha256 of graph, weights and tokenizer, in hexadecimal digits.
    pub sha256: String,
    /// Whether activations are quantised by their own range at run time, so that a text's vector depends on its batch.
    pub dynamically_quantised: bool,
}

impl Folder {
    /// Looks for the files.
    ///
    /// # Errors
    /// When one is missing.
    pub fn open(folder: &Path) -> Result<Self, EmbedError> {
        let required = |name: &str| {
            let path = folder.join(name);
            match fs::metadata(&path) {
                Ok(about) if about.is_file() => return Ok(path),
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    return Err(unreadable(&path, &error));
                }
                _ => {}
            }
            Err(EmbedError::Unusable(format!(
                "model file missing: {}; set [model] path, or run: outlierd model pull all-MiniLM-L6-v2",
                path.display()
            )))
        };
        let optional = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        Ok(Self {
            model: required("model.onnx")?,
            tokenizer: required("tokenizer.json")?,
            weights: ["model.onnx_data", "model.onnx.data"].into_iter().filter_map(optional).collect(),
            pooling: optional("1_Pooling/config.json").and_then(|path| pooling(&path)),
        })
    }

    /// Reads all files once.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(&self) -> Result<Contents, EmbedError> {
        let mut sha256 = Sha256::new();
        let mut scan = Scan::default();
        read_through(&self.model, |bytes| {
            sha256.update(bytes);
            scan.read(bytes);
        })?;
        for path in self.weights.iter().chain([&self.tokenizer]) {
            read_through(path, |bytes| sha256.update(bytes))?;
        }
        Ok(Contents { sha256: format!("{:x}", sha256.finalize()), dynamically_quantised: scan.found })
    }
}

/// Why a model that quantises at run time is not run as others are.
pub fn refused_for_quantisation(model: &Path) -> String {
    format!(
        "model is dynamically quantised: {}: a text's vector would depend on its batch; use the fp32 or fp16 model, or \
         set [model] allow_dynamic_quantisation to run one text at a time",
        model.display()
    )
}

fn unreadable(path: &Path, error: &std::io::Error) -> EmbedError {
    EmbedError::Unusable(format!(
        "model file unreadable: {}: {error}; let the user that outlierd runs as read it, or pull the model anew",
        path.display()
    ))
}

fn read_through(path: &Path, mut each: impl FnMut(&[u8])) -> Result<(), EmbedError> {
    let failed = |error| unreadable(path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(()),
            read => each(&buffer[..read]),
        }
    }
}

/// Looks for nodes that quantise at run time: field 4 of an ONNX `NodeProto`, the operator's name, starting with
/// `DynamicQuantize` (`DynamicQuantizeLinear`, and the fused `DynamicQuantizeMatMul` and `DynamicQuantizeLSTM`).
#[derive(Debug, Default)]
struct Scan {
    /// The end of what was read before: a name may lie across two reads.
    tail: Vec<u8>,
    found: bool,
}

impl Scan {
    const NAME: &[u8] = b"DynamicQuantize";
    /// Protobuf's tag of field 4, length-delimited.
    const TAG: u8 = 4 << 3 | 2;

    fn read(&mut self, bytes: &[u8]) {
        let overlap = Self::NAME.len() + 2;
        self.tail.extend_from_slice(bytes);
        self.found = self.found
            || self.tail.windows(overlap).any(|window| {
                window[0] == Self::TAG
                    && usize::from(window[1]) >= Self::NAME.len()
                    && window[2..] == *Self::NAME
            });
        self.tail.drain(..self.tail.len().saturating_sub(overlap - 1));
    }
}

fn pooling(config: &Path) -> Option<Pooling> {
    let config: serde_json::Value = serde_json::from_slice(&fs::read(config).ok()?).ok()?;
    let asks = |name: &str| config.get(name).and_then(serde_json::Value::as_bool).unwrap_or(false);
    let asked = [
        ("pooling_mode_cls_token", Pooling::Cls),
        ("pooling_mode_lasttoken", Pooling::Last),
        ("pooling_mode_mean_tokens", Pooling::Mean),
    ];
    asked.into_iter().find(|(name, _)| asks(name)).map(|(_, pooling)| pooling)
}

/// Where an ONNX Runtime library may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A file, or a bare name for the loader to find.
    pub path: PathBuf,
    /// Why this one: `[model] library`, `ORT_DYLIB_PATH`, `beside the binary`, `python`, `loader`.
    pub because: &'static str,
}

/// What the search for the library looks at; [`Surroundings::of_process`] reads it from the process.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `ORT_DYLIB_PATH`.
    pub variable: Option<PathBuf>,
    /// The binary's folder.
    pub beside: Option<PathBuf>,
    /// Where Python installations may be, most particular first: each holds `lib/python3.…`.
    pub prefixes: Vec<PathBuf>,
}

impl Surroundings {
    /// Reads the environment.
    pub fn of_process() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = variable("HOME").map(|home| home.join(".local"));
        let prefixes = [variable("VIRTUAL_ENV"), variable("CONDA_PREFIX"), home]
            .into_iter()
            .flatten()
            .chain(["/usr/local", "/usr", "/opt/venv", "/opt/conda"].map(PathBuf::from))
            .collect();
        let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        Self { variable: variable("ORT_DYLIB_PATH"), beside, prefixes }
    }

    /// Folders of Python's packages, most particular first.
    pub fn packages(&self) -> impl Iterator<Item = PathBuf> {
        self.prefixes.iter().flat_map(|prefix| site_packages(prefix)).filter(|packages| packages.is_dir())
    }

    /// Where to look, in order. What the operator names is the only place; the rest is searched. No Python is run.
    pub fn places(&self, library: Option<&Path>) -> Vec<Place> {
        if let Some(path) = library {
            return vec![Place { path: path.to_owned(), because: "[model] library" }];
        }
        if let Some(path) = &self.variable {
            return vec![Place { path: path.clone(), because: "ORT_DYLIB_PATH" }];
        }
        let mut places = Vec::new();
        for folder in self.beside.iter().flat_map(|beside| [beside.clone(), beside.join("lib")]) {
            places.extend(libraries(&folder, "beside the binary"));
        }
        for packages in self.packages() {
            places.extend(libraries(&packages.join("onnxruntime/capi"), "python"));
        }
        let loader = ["libonnxruntime.so", "libonnxruntime.so.1"];
        places.extend(loader.map(|name| Place { path: PathBuf::from(name), because: "loader" }));
        places
    }
}

/// The libraries in a folder, newest name first; where there is none, the name that was looked for.
fn libraries(folder: &Path, because: &'static str) -> Vec<Place> {
    let mut found: Vec<PathBuf> = children(folder)
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("libonnxruntime.so")
        })
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    if found.is_empty() {
        found.push(folder.join("libonnxruntime.so"));
    }
    found.into_iter().map(|path| Place { path, because }).collect()
}

fn site_packages(prefix: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["lib", "lib64"]
        .into_iter()
        .flat_map(|lib| children(&prefix.join(lib)).collect::<Vec<_>>())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3")))
        .flat_map(|python| ["site-packages", "dist-packages"].map(|packages| python.join(packages)))
        .collect();
    found.sort_unstable();
    found
}

fn children(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whether the file begins as a shared library of Linux does: asked before the loader is, whose answer to anything else
/// is hard to read.
///
/// # Errors
/// When it does not, or cannot be read, in words for the operator.
pub fn check_library(path: &Path) -> Result<(), String> {
    let mut magic = [0; 4];
    match File::open(path).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if magic == *b"\x7fELF" => Ok(()),
        Ok(()) => Err("not a shared library".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err("not a shared library".to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("no such file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(reads: &[&[u8]]) -> bool {
        let mut scan = Scan::default();
        for bytes in reads {
            scan.read(bytes);
        }
        scan.found
    }

    #[test]
    fn nodes_that_quantise_at_run_time_are_found_wherever_the_reads_are_cut() {
        let node = [&b"weights \x22\x06MatMul \x22\x15DynamicQuantizeLinear"[..], &[0; 40]].concat();
        for cut in 0..node.len() {
            assert!(found(&[&node[..cut], &node[cut..]]), "cut at {cut}");
        }
        assert!(found(&node.chunks(1).collect::<Vec<_>>()));
        assert!(found(&[b"\x22\x15DynamicQuantizeMatMul"]));
        assert!(!found(&[b"\x22\x0eQuantizeLinear \x12\x15DynamicQuantizeLinear is a name here"]));
    }

    #[test]
    fn what_the_operator_names_is_the_only_place() {
        let mut around = Surroundings {
            variable: Some(PathBuf::from("/from/variable.so")),
            beside: Some(PathBuf::from("/nowhere/bin")),
            prefixes: Vec::new(),
        };
        let paths = |places: Vec<Place>| -> Vec<(String, &str)> {
            places.into_iter().map(|place| (place.path.display().to_string(), place.because)).collect()
        };
        let named = paths(around.places(Some(Path::new("/named.so"))));
        assert_eq!(named, [("/named.so".to_owned(), "[model] library")]);
        assert_eq!(paths(around.places(None)), [("/from/variable.so".to_owned(), "ORT_DYLIB_PATH")]);
        around.variable = None;
        let reasons: Vec<&str> = around.places(None).iter().map(|place| place.because).collect();
        assert_eq!(reasons, ["beside the binary", "beside the binary", "loader", "loader"]);
    }

    #[test]
    fn libraries_of_python_are_found_newest_first() {
        let prefix = std::env::temp_dir().join(format!("outlierd-models-{}", std::process::id()));
        let capi = prefix.join("lib/python3.11/site-packages/onnxruntime/capi");
        fs::create_dir_all(&capi).expect("a folder");
        for name in
            ["libonnxruntime.so.1.27.0", "libonnxruntime.so.1.31.1", "libonnxruntime_providers_shared.so"]
        {
            fs::write(capi.join(name), "text").expect("a file");
        }
        let places = Surroundings { prefixes: vec![prefix.clone()], ..Surroundings::default() }.places(None);
        let found: Vec<PathBuf> =
            places.into_iter().filter(|place| place.because == "python").map(|place| place.path).collect();
        let refusal = found.first().map(|path| check_library(path));
        fs::remove_dir_all(&prefix).expect("the folder");
        assert_eq!(
            found,
            ["libonnxruntime.so.1.31.1", "libonnxruntime.so.1.27.0"].map(|name| capi.join(name))
        );
        assert_eq!(refusal, Some(Err("not a shared library".to_owned())));
    }
}
