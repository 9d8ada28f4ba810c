//! A transformer through ONNX Runtime: the only code that knows the ort library.
//!
//! The library is loaded at run time, so that the binary starts without it. What was asked for is what runs, or the
//! operator's own fallback, said aloud: ONNX Runtime would fall back to the CPU in silence.
//!
//! A text's vector does not depend on its batch: texts run at a padded length that follows from their own length
//! ([`crate::batch::padded`]), the rows of a batch do not touch each other, and where the number of rows decides how
//! sums are taken, a batch is filled up (see [`Model`]). Nothing is rounded: rounding moves such differences to the
//! edges of its grid, it does not remove them. Graphs that quantise activations by their range at run time cannot keep
//! this promise: they are refused, or run one text at a time.

mod library;
mod pooler;
pub mod ports;
mod said;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider as _};
use ort::logging::LogLevel;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{DynValue, Tensor, TensorElementType, ValueType};
use sha2::{Digest, Sha256};

use self::library::environment;
pub use self::library::{Missing, look};
use self::pooler::Pooler;
use super::models::{Folder, refused_for_quantisation};
use super::pooling::{Pooling, pool, unit};
use super::tokens::{Tokeniser, Tokens};
use super::worker::Run;
use super::{EmbedError, Embedder, fingerprint};
use crate::batch;
use crate::flow::Embedding;

/// Where the model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first CUDA device if the library and the machine have one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device.
    Cuda {
        /// Its number.
        id: i32,
    },
}

/// What to do when the CUDA device that was asked for does not work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Run on the CPU, with a warning.
    Cpu,
    /// Do not start.
    #[default]
    Fail,
}

/// Which model, and how to run it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder with model.onnx and tokenizer.json.
    pub folder: PathBuf,
    /// The ONNX Runtime library; searched for when `None`.
    pub library: Option<PathBuf>,
    /// Where to run.
    pub device: Device,
    /// What to do when that does not work.
    pub fallback: Fallback,
    /// How token vectors become one; without effect on a graph that pools by itself.
    pub pooling: Pooling,
    /// What is put before each text, such as `query: `.
    pub prefix: String,
    /// Tokens of a text that are read.
    pub tokens_max: usize,
    /// CPU threads of the model; 0 for one a core.
    pub threads: usize,
    /// Padded tokens that run together: about 1 024 suit a CPU, 16 384 a GPU.
    pub batch_tokens: usize,
    /// Whether a dynamically quantised graph may run, one text at a time.
    pub allow_dynamic_quantisation: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("model"),
            library: None,
            device: Device::default(),
            fallback: Fallback::default(),
            pooling: Pooling::default(),
            prefix: String::new(),
            tokens_max: 256,
            threads: 0,
            batch_tokens: 1024,
            allow_dynamic_quantisation: false,
        }
    }
}

/// A tokeniser and its model, warm.
#[derive(Debug)]
pub struct Onnx {
    tokeniser: Tokeniser,
    model: Model,
}

impl Onnx {
    /// Loads the library and the model, and runs the largest shape once.
    ///
    /// # Errors
    /// When anything is not as it should be, in words for the operator.
    pub fn open(settings: &Settings) -> Result<Self, EmbedError> {
        let folder = Folder::open(&settings.folder)?;
        let contents = folder.read()?;
        if contents.dynamically_quantised && !settings.allow_dynamic_quantisation {
            return Err(EmbedError::Unusable(refused_for_quantisation(&folder.model)));
        }
        let tokeniser = Tokeniser::open(&folder.tokenizer, &settings.prefix, settings.tokens_max)?;
        let pooling = match settings.pooling {
            Pooling::Auto => folder.pooling.unwrap_or(Pooling::Mean),
            asked => asked,
        };
        let told = format!("{} {pooling:?} {} {:?}", contents.sha256, settings.tokens_max, settings.prefix);
        let plan = Plan {
            environment: environment(settings.library.as_deref())?,
            file: folder.model,
            digest: format!("onnx-1/{:x}", Sha256::digest(told)),
            pooling,
            pools_by_setting: settings.pooling != Pooling::Auto,
            tokens_max: settings.tokens_max,
            batch_tokens: settings.batch_tokens,
            one_at_a_time: contents.dynamically_quantised,
            padding: tokeniser.padding(),
            threads: match settings.threads {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                threads => threads,
            },
        };
        let model = plan.model(settings.device, settings.fallback)?;
        Ok(Self { tokeniser, model })
    }

    /// What really runs the model: `cpu` or `cuda`.
    pub fn provider(&self) -> &'static str {
        self.model.provider()
    }

    /// The two parts, for threads of their own.
    pub fn split(self) -> (Tokeniser, Model) {
        (self.tokeniser, self.model)
    }
}

impl Embedder for Onnx {
    fn dimensions(&self) -> usize {
        self.model.dimensions
    }

    fn digest(&self) -> &str {
        self.model.digest()
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Option<Embedding>>, EmbedError> {
        let tokens = texts.iter().map(|text| self.tokeniser.tokenise(text)).collect::<Result<Vec<_>, _>>()?;
        let vectors = self.model.run(&tokens)?;
        let named = texts.iter().zip(vectors);
        Ok(named
            .map(|(text, vector)| {
                Some(Embedding { fingerprint: fingerprint(text), vector: vector?, meaning: None })
            })
            .collect())
    }
}

/// All that is known before a session is there.
struct Plan {
    environment: Environment,
    file: PathBuf,
    digest: String,
    pooling: Pooling,
    pools_by_setting: bool,
    tokens_max: usize,
    batch_tokens: usize,
    one_at_a_time: bool,
    padding: u32,
    threads: usize,
}

impl Plan {
    fn model(&self, device: Device, fallback: Fallback) -> Result<Model, EmbedError> {
        let cuda = match device {
            Device::Cpu => None,
            Device::Auto => ep::CUDA::is_available().unwrap_or(false).then_some(0),
            Device::Cuda { id } => Some(id),
        };
        let Some(id) = cuda else { return self.warm_model(None) };
        self.warm_model(Some(id)).or_else(|error| {
            if device != Device::Auto && fallback == Fallback::Fail {
                // What does not load on the CPU either is no fault of the device's.
                self.warm_model(None)?;
                let hint = "install onnxruntime-gpu with CUDA and cuDNN, or set [model] fallback = \"cpu\"";
                return Err(EmbedError::Unusable(format!("cuda device {id} does not work: {error}; {hint}")));
            }
            tracing::warn!(device = id, %error, "cuda does not work, the model runs on the cpu");
            self.warm_model(None)
        })
    }

    /// Builds a session and runs its largest shape, so that the first text waits for nothing and a model that does not
    /// fit is found out now.
    fn warm_model(&self, cuda: Option<i32>) -> Result<Model, EmbedError> {
        let failed = |error: ort::Error| {
            let why = said::plain(&error.to_string(), &self.file);
            let advice = if cuda.is_none() { "; is it whole? pull it anew" } else { "" };
            EmbedError::Unusable(format!("model does not load: {}: {why}{advice}", self.file.display()))
        };
        let mut builder = self.builder(cuda).map_err(failed)?;
        let session = builder.commit_from_file(&self.file).map_err(failed)?;
        let graph = Graph::of(&session, self.pools_by_setting)?;
        let pooler = match cuda {
            Some(id) if !graph.pools => Some(self.pooler(id, graph.element).map_err(failed)?),
            _ => None,
        };
        let mut model = Model {
            graph,
            session,
            pooler,
            dimensions: 0,
            digest: self.digest.clone(),
            provider: if cuda.is_some() { "cuda" } else { "cpu" },
            pooling: self.pooling,
            tokens_max: self.tokens_max,
            batch_tokens: self.batch_tokens,
            one_at_a_time: self.one_at_a_time,
            padding: self.padding,
        };
        let longest = vec![self.padding; self.tokens_max];
        let rows = if self.one_at_a_time { 1 } else { batch::capacity(self.tokens_max, self.batch_tokens) };
        model.run_rows(self.tokens_max, &vec![&longest; rows]).map_err(|error| {
            EmbedError::Unusable(format!(
                "model fails on {rows} texts of {} tokens: {error}; lower [model] tokens_max or batch_tokens",
                self.tokens_max
            ))
        })?;
        Ok(model)
    }

    fn pooler(&self, device: i32, element: TensorElementType) -> ort::Result<Pooler> {
        let memory =
            MemoryInfo::new(AllocationDevice::CUDA, device, AllocatorType::Device, MemoryType::Default)?;
        Pooler::new(&self.builder(Some(device))?, memory, element, self.pooling)
    }

    fn builder(&self, cuda: Option<i32>) -> ort::Result<SessionBuilder> {
        let mut builder = Session::builder(&self.environment)?
            .with_log_level(LogLevel::Warning)?
            .with_deterministic_compute(true)?
            .with_intra_threads(self.threads)?;
        if let Some(id) = cuda {
            // TF32 rounds products to 10 bits, by the kernel's choice.
            let provider = ep::CUDA::default().with_device_id(id).with_tf32(false).build();
            builder = builder.with_execution_providers([provider.error_on_failure()])?;
        }
        Ok(builder)
    }
}

/// The names by which a graph is fed and read.
#[derive(Debug)]
struct Graph {
    mask: bool,
    types: bool,
    output: String,
    element: TensorElementType,
    /// Whether the output is a vector for each text; for each token otherwise.
    pools: bool,
}

impl Graph {
    const IDS: &str = "input_ids";
    const MASK: &str = "attention_mask";
    const TYPES: &str = "token_type_ids";

    fn of(session: &Session, pools_by_setting: bool) -> Result<Self, EmbedError> {
        let inputs: Vec<&str> = session.inputs().iter().map(ort::value::Outlet::name).collect();
        let known = [Self::IDS, Self::MASK, Self::TYPES];
        let strange = session.inputs().iter().find(|input| {
            !known.contains(&input.name()) || input.dtype().tensor_type() != Some(TensorElementType::Int64)
        });
        if strange.is_some() || !inputs.contains(&Self::IDS) {
            return Err(EmbedError::Unusable(format!(
                "model takes {inputs:?}; a text encoder takes {known:?} as int64, the last two if it likes"
            )));
        }
        let outputs: Vec<(&str, usize)> = session.outputs().iter().filter_map(output).collect();
        let (chosen, rank) = choose(&outputs, pools_by_setting).ok_or_else(|| {
            let names: Vec<&str> = session.outputs().iter().map(ort::value::Outlet::name).collect();
            EmbedError::Unusable(format!(
                "model gives {names:?}, none of which is a vector for each text or token; take a text encoder"
            ))
        })?;
        let takes = |name| inputs.contains(&name);
        let element = session.outputs().iter().find(|outlet| outlet.name() == chosen);
        let element = element.and_then(|outlet| outlet.dtype().tensor_type());
        Ok(Self {
            mask: takes(Self::MASK),
            types: takes(Self::TYPES),
            output: chosen.to_owned(),
            element: element.unwrap_or(TensorElementType::Float32),
            pools: rank != 3,
        })
    }
}

/// Name and rank of an output of numbers that can be read.
fn output(outlet: &ort::value::Outlet) -> Option<(&str, usize)> {
    match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32 | TensorElementType::Float16, shape, .. } => {
            Some((outlet.name(), shape.len()))
        }
        _ => None,
    }
}

/// Which output holds the vectors. A vector for each text (rank 2) under sentence-transformers' own name comes first,
/// unless the operator pools; then a vector for each token (rank 3). `pooler_output` is a classifier's input.
fn choose<'a>(outputs: &[(&'a str, usize)], pools_by_setting: bool) -> Option<(&'a str, usize)> {
    let first = |wanted: &dyn Fn(&str, usize) -> bool| {
        outputs.iter().copied().find(|(name, rank)| wanted(name, *rank))
    };
    let pooled = first(&|name, rank| name == "sentence_embedding" && rank == 2).filter(|_| !pools_by_setting);
    let tokens = || first(&|_, rank| rank == 3);
    pooled.or_else(tokens).or_else(|| first(&|name, rank| rank == 2 && name != "pooler_output"))
}

/// A session and how to read it; one thread owns it. On a GPU, and with a graph that pools by itself, each batch runs at
/// its full number of rows: few texts then cost as much as many.
#[derive(Debug)]
pub struct Model {
    session: Session,
    /// Where a GPU pools what the graph does not.
    pooler: Option<Pooler>,
    graph: Graph,
    dimensions: usize,
    digest: String,
    provider: &'static str,
    pooling: Pooling,
    tokens_max: usize,
    batch_tokens: usize,
    one_at_a_time: bool,
    padding: u32,
}

impl Model {
    /// What makes its vectors what they are: sha256 over graph, weights, tokenizer, pooling, prefix and `tokens_max`.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Length of its vectors.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// What really runs it: `cpu` or `cuda`.
    pub fn provider(&self) -> &'static str {
        self.provider
    }

    /// The length at which a text of `len` tokens runs.
    fn width(&self, len: usize) -> usize {
        if self.one_at_a_time { len } else { batch::padded(len).min(self.tokens_max).max(len) }
    }

    /// Rows in which `texts` texts of one width run: as many as fit where their number could touch a bit. A GPU's
    /// kernels follow the whole shape (measured on an H200: else each text alone differs from itself in a batch by 1e-7
    /// in single precision, two fifths of them by up to 2e-4 in half precision); and a graph that pools splits its sums among threads by it (measured: with three
    /// threads a third of all texts differ in the last bit). Token vectors on a CPU do not.
    fn rows(&self, width: usize, texts: usize) -> usize {
        let capacity = batch::capacity(width, self.batch_tokens);
        let filled = self.provider != "cpu" || self.graph.pools;
        let least = if filled && !self.one_at_a_time { capacity } else { 1 };
        texts.max(least)
    }

    fn inputs(&self, width: usize, rows: &[&Tokens]) -> ort::Result<Vec<(&'static str, DynValue)>> {
        let shape = [rows.len(), width];
        let tensor = |each: &dyn Fn(&Tokens, usize) -> i64| {
            let values: Vec<i64> =
                rows.iter().flat_map(|text| (0..width).map(move |at| each(text, at))).collect();
            Tensor::from_array((shape, values)).map(Tensor::into_dyn)
        };
        let id = |text: &Tokens, at| i64::from(text.get(at).copied().unwrap_or(self.padding));
        let mut inputs = vec![(Graph::IDS, tensor(&id)?)];
        if self.graph.mask {
            inputs.push((Graph::MASK, tensor(&|text, at| i64::from(at < text.len()))?));
        }
        if self.graph.types {
            inputs.push((Graph::TYPES, tensor(&|_, _| 0)?));
        }
        Ok(inputs)
    }

    /// Runs texts of one width; no more than fit.
    fn run_rows(&mut self, width: usize, texts: &[&Tokens]) -> Result<Vec<Option<Arc<[f32]>>>, EmbedError> {
        let failed = |error: ort::Error| EmbedError::Batch(format!("onnx runtime: {error}"));
        let rows = self.rows(width, texts.len());
        let filled: Vec<&Tokens> =
            texts.iter().copied().chain(std::iter::repeat_n(texts[0], rows - texts.len())).collect();
        let inputs = self.inputs(width, &filled).map_err(failed)?;
        let name = &self.graph.output;
        let mut binding;
        let mut outputs = match &self.pooler {
            None => self.session.run(inputs).map_err(failed)?,
            Some(pooler) => {
                binding = self.session.create_binding().map_err(failed)?;
                for (name, value) in &inputs {
                    binding.bind_input(*name, value).map_err(failed)?;
                }
                pooler.keep(name, &mut binding).map_err(failed)?;
                self.session.run_binding(&binding).map_err(failed)?
            }
        };
        let missing = || EmbedError::Batch(format!("model gave no output {name:?}"));
        let mut output = outputs.remove(name).ok_or_else(missing)?;
        if let Some(pooler) = &mut self.pooler {
            output = pooler.sums(&output, &filled, width).map_err(failed)?;
        }
        let (shape, values) = floats(&output).map_err(failed)?;
        let (count, dimensions) = match *shape {
            [count, dimensions] => (count, dimensions),
            [count, tokens, dimensions] if usize::try_from(tokens) == Ok(width) => (count, dimensions),
            _ => (0, 0),
        };
        let (count, dimensions) =
            (usize::try_from(count).unwrap_or(0), usize::try_from(dimensions).unwrap_or(0));
        if count != rows || dimensions == 0 || (self.dimensions > 0 && dimensions != self.dimensions) {
            return Err(EmbedError::Batch(format!(
                "model gave shape {shape:?} for {rows} texts of {width} tokens"
            )));
        }
        self.dimensions = dimensions;
        let pooled = shape.len() == 2;
        Ok(values
            .chunks_exact(values.len() / rows)
            .zip(texts)
            .map(|(row, text)| {
                if pooled {
                    unit(row)
                } else {
                    pool(&row[..text.len() * dimensions], dimensions, self.pooling)
                }
            })
            .collect())
    }
}

impl Run for Model {
    /// Texts of any lengths, in any number: they run in groups of one padded length.
    fn run(&mut self, texts: &[Tokens]) -> Result<Vec<Option<Arc<[f32]>>>, EmbedError> {
        let nothing: Arc<[f32]> = vec![0.0; self.dimensions].into();
        let mut vectors: Vec<_> =
            texts.iter().map(|text| text.is_empty().then(|| Arc::clone(&nothing))).collect();
        let widths: Vec<usize> = texts.iter().map(|text| self.width(text.len())).collect();
        let mut order: Vec<usize> = (0..texts.len()).filter(|at| !texts[*at].is_empty()).collect();
        order.sort_by_key(|at| widths[*at]);
        for group in order.chunk_by(|a, b| widths[*a] == widths[*b]) {
            let width = widths[group[0]];
            let most = if self.one_at_a_time { 1 } else { batch::capacity(width, self.batch_tokens) };
            for batch in group.chunks(most) {
                let rows: Vec<&Tokens> = batch.iter().map(|at| &texts[*at]).collect();
                for (at, vector) in batch.iter().zip(self.run_rows(width, &rows)?) {
                    vectors[*at] = vector;
                }
            }
        }
        Ok(vectors)
    }
}

/// The shape and the numbers of an output, widened to single precision.
fn floats(value: &DynValue) -> ort::Result<(Vec<i64>, Cow<'_, [f32]>)> {
    if let Ok((shape, values)) = value.try_extract_tensor::<half::f16>() {
        let values = values.iter().map(|value| value.to_f32()).collect();
        return Ok((shape.to_vec(), Cow::Owned(values)));
    }
    let (shape, values) = value.try_extract_tensor::<f32>()?;
    Ok((shape.to_vec(), Cow::Borrowed(values)))
}

#[cfg(test)]
mod tests;
