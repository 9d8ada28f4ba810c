//! What a loaded graph takes and gives and which library runs it, for people who look at it.

use std::path::PathBuf;

use super::Onnx;
use crate::embed::EmbedError;
use crate::embed::pooling::Pooling;

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Type and shape in ONNX Runtime's words, such as `Tensor<i64>(batch, sequence)`.
    pub kind: String,
}

impl Onnx {
    /// What the graph takes.
    pub fn inputs(&self) -> Vec<Port> {
        self.model.session.inputs().iter().map(port).collect()
    }

    /// What the graph gives.
    pub fn outputs(&self) -> Vec<Port> {
        self.model.session.outputs().iter().map(port).collect()
    }

    /// The output that is read.
    pub fn output(&self) -> &str {
        &self.model.graph.output
    }

    /// How token vectors become one; `None` where the graph does it.
    pub fn pooling(&self) -> Option<Pooling> {
        (!self.model.graph.pools).then_some(self.model.pooling)
    }

    /// Tokens of a text, its marks included.
    ///
    /// # Errors
    /// When the tokenizer cannot read it.
    pub fn tokens(&self, text: &str) -> Result<usize, EmbedError> {
        self.tokeniser.tokenise(text).map(|tokens| tokens.len())
    }
}

/// The library that this process has loaded.
pub fn library() -> Option<PathBuf> {
    super::library::loaded()
}

fn port(outlet: &ort::value::Outlet) -> Port {
    Port { name: outlet.name().to_owned(), kind: outlet.dtype().to_string() }
}
