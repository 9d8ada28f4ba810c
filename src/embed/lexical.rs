//! The built-in view of texts that a worker's transformer embeds: kept while they are on their way, and joined to what
//! comes back.
//!
//! A transformer does not take the place of the built-in embedder: it knows less than letters where programs write the
//! texts, so both are held. It must never change the order or the number of an answer's embeddings.

use std::collections::BTreeMap;

use super::hashed::Hashed;
use crate::flow::{Embedding, Meaning};
use crate::pipeline::EmbedRequest;

/// One asker's requests that are on their way: as many as it has open.
#[derive(Debug, Default)]
pub struct Lexical {
    hashed: Hashed,
    waiting: BTreeMap<u64, Vec<Embedding>>,
}

impl Lexical {
    /// Keeps at most so many vectors for texts that come again.
    pub fn new(cache_entries: usize) -> Self {
        Self { hashed: Hashed::new(cache_entries), waiting: BTreeMap::new() }
    }

    /// Embeds the texts of a request that goes to a worker.
    pub fn ask(&mut self, request: &EmbedRequest) {
        let embeddings = request.texts.iter().map(|text| self.hashed.embed_one(text)).collect();
        self.waiting.insert(request.id, embeddings);
    }

    /// The worker's embeddings for a request become what its texts mean; a text that has none there has none at all. An
    /// answer to nothing that was asked stays as it is.
    pub fn join(&mut self, id: u64, answer: Vec<Option<Embedding>>) -> Vec<Option<Embedding>> {
        let Some(lexical) = self.waiting.remove(&id) else { return answer };
        let joined = lexical.into_iter().zip(answer).map(|(lexical, meaning)| {
            let Embedding { fingerprint, vector, .. } = meaning?;
            Some(Embedding { meaning: Some(Meaning { fingerprint, vector }), ..lexical })
        });
        joined.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_any_order_find_their_texts_and_nothing_is_kept() {
        let mut lexical = Lexical::new(8);
        let request = |id, texts: &[&str]| EmbedRequest {
            id,
            texts: texts.iter().map(|text| (*text).into()).collect(),
        };
        lexical.ask(&request(1, &["disk 7 failed", "all is well"]));
        lexical.ask(&request(2, &["disk 8 failed"]));
        let vector = |number: f32| Embedding {
            fingerprint: number.to_bits().into(),
            vector: [number].into(),
            meaning: None,
        };
        let second = lexical.join(2, vec![Some(vector(3.0))]);
        let first = lexical.join(1, vec![Some(vector(1.0)), None]);
        let meaning = |embedding: &Option<Embedding>| {
            embedding.as_ref().and_then(|one| Some(one.meaning.as_ref()?.vector[0]))
        };
        assert_eq!(
            (meaning(&first[0]), meaning(&first[1]), meaning(&second[0])),
            (Some(1.0), None, Some(3.0))
        );
        assert!(first[1].is_none(), "what the model cannot read is not judged by its letters alone");
        let masked = |embedding: &Option<Embedding>| embedding.as_ref().map(|one| one.fingerprint);
        assert_eq!(masked(&first[0]), masked(&second[0]), "numbers are masked in one view");
        assert!(lexical.waiting.is_empty());
        assert_eq!(lexical.join(7, vec![None]).len(), 1);
    }
}
