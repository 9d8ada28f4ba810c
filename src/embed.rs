//! Turns texts into embeddings.
//!
//! Two embedders stand behind one trait. [`hashed::Hashed`] is built in, needs no file and costs a microsecond: it is
//! called in place. [`onnx::Onnx`] runs a transformer through ONNX Runtime, on CPU or GPU: slow enough that it has
//! threads of its own, in [`worker::Worker`], which gathers texts into batches; what it gives stands beside the built-in
//! view ([`lexical::Lexical`]).
//!
//! A text's vector must never depend on what shares its batch: scores would change when records are read again.

pub mod cache;
pub mod hashed;
pub mod inspect;
pub mod known;
pub mod lexical;
pub mod models;
pub mod onnx;
pub mod pooling;
pub mod pull;
pub mod tokens;
pub mod worker;

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
    /// One embedding a text, in order; `None` for a text that the model has no finite vector for. The same text gives
    /// the same vector whatever its batch.
    ///
    /// # Errors
    /// When the batch failed as a whole.
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Option<Embedding>>, EmbedError>;
}

/// The fingerprint of a text that is embedded as it stands: eight bytes at a step, each step a bijection of the state.
/// Stable across runs and machines.
pub fn fingerprint(text: &str) -> u64 {
    let step = |hash: u64, word: [u8; 8]| {
        let hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^ hash >> 32
    };
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = words.iter().fold(text.len() as u64, |hash, word| step(hash, *word));
    let hash = step(hash, last).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_tell_texts_apart_and_do_not_change() {
        let texts: Vec<String> = (0..20_000).map(|i| "\0".repeat(i % 20) + &(i / 20).to_string()).collect();
        let mut seen: Vec<u64> = texts.iter().map(|text| fingerprint(text)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), texts.len());
        assert_eq!(fingerprint("outlierd"), 10_390_092_116_546_971_548, "snapshots hold fingerprints");
    }
}
