//! Turns texts into embeddings.

use crate::flow::Embedding;

/// Why an embedder cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The library, the model or the device is not as it should be: the operator must act.
    #[error("{0}")]
    Unusable(String),
    /// This batch failed; another may work.
    #[error("{0}")]
    Batch(String),
}

/// What every embedder can do. One thread owns it.
pub trait Embedder: Send {
    /// Length of its vectors.
    fn dimensions(&self) -> usize;
    /// What makes its vectors what they are: kind, version, sha256 of the model; the same digest, the same vectors.
    fn digest(&self) -> &str;
    /// One embedding a text, in order. The same text gives the same vector whatever its batch.
    ///
    /// # Errors
    /// When the batch failed as a whole.
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError>;
}
