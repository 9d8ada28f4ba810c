//! Models that are known to work: where they are published, under which licence, and how they are to be used.
//!
//! Only models whose licence lets anybody run and ship them. A digest stands here only where it was checked against
//! another copy of the file or is pinned alike by projects that have nothing to do with each other; without one,
//! the operator has to bring it, or say that the first copy is to be trusted. It must never be guessed.

use super::pooling::Pooling;

/// Where the models below are published; mirrors keep the same paths.
pub const HUB: &str = "https://huggingface.co";

/// A model by its name.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name here and, after the owner's, on the hub.
    pub name: &'static str,
    /// Owner and name of its repository on the hub.
    pub repository: &'static str,
    /// SPDX identifier.
    pub licence: &'static str,
    /// Length of its vectors.
    pub dimensions: usize,
    /// How its token vectors become one.
    pub pooling: Pooling,
    /// What it wants before each text when texts are compared with each other.
    pub prefix: &'static str,
    /// Tokens of a text that it was made for.
    pub tokens: usize,
    /// Size of the graph in megabytes, about.
    pub megabytes: u32,
    /// What it is for.
    pub languages: &'static str,
    /// The graph.
    pub model: Remote,
    /// The tokenizer.
    pub tokenizer: Remote,
}

/// A file of a repository.
#[derive(Clone, Copy, Debug)]
pub struct Remote {
    /// Where it lies in the repository.
    pub path: &'static str,
    /// Its digest, where it is known: 64 hexadecimal digits.
    pub sha256: Option<&'static str>,
}

const MODEL: Remote = Remote { path: "onnx/model.onnx", sha256: None };
const TOKENIZER: Remote = Remote { path: "tokenizer.json", sha256: None };

/// All of them, the smallest first.
pub const KNOWN: &[Known] = &[
    Known {
        name: "all-MiniLM-L6-v2",
        repository: "sentence-transformers/all-MiniLM-L6-v2",
        licence: "Apache-2.0",
        dimensions: 384,
        pooling: Pooling::Mean,
        prefix: "",
        tokens: 256,
        megabytes: 90,
        languages: "English",
        // Of a file of 90 405 214 bytes; pinned so beside the tokenizer's below by projects that do not know each other.
        model: Remote {
            sha256: Some("6fd5d72fe4589f189f8ebc006442dbb529bb7ce38f8082112682524616046452"),
            ..MODEL
        },
        // The same as in two packages of the model on PyPI.
        tokenizer: Remote {
            sha256: Some("be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            ..TOKENIZER
        },
    },
    Known {
        name: "bge-small-en-v1.5",
        repository: "BAAI/bge-small-en-v1.5",
        licence: "MIT",
        dimensions: 384,
        pooling: Pooling::Cls,
        prefix: "",
        tokens: 512,
        megabytes: 133,
        languages: "English",
        model: MODEL,
        tokenizer: TOKENIZER,
    },
    Known {
        name: "e5-small-v2",
        repository: "intfloat/e5-small-v2",
        licence: "MIT",
        dimensions: 384,
        pooling: Pooling::Mean,
        prefix: "query: ",
        tokens: 512,
        megabytes: 133,
        languages: "English",
        model: MODEL,
        tokenizer: TOKENIZER,
    },
    Known {
        name: "all-mpnet-base-v2",
        repository: "sentence-transformers/all-mpnet-base-v2",
        licence: "Apache-2.0",
        dimensions: 768,
        pooling: Pooling::Mean,
        prefix: "",
        tokens: 384,
        megabytes: 436,
        languages: "English",
        model: MODEL,
        tokenizer: TOKENIZER,
    },
    Known {
        name: "multilingual-e5-small",
        repository: "intfloat/multilingual-e5-small",
        licence: "MIT",
        dimensions: 384,
        pooling: Pooling::Mean,
        prefix: "query: ",
        tokens: 512,
        megabytes: 470,
        languages: "94 languages",
        model: MODEL,
        tokenizer: TOKENIZER,
    },
    Known {
        name: "paraphrase-multilingual-MiniLM-L12-v2",
        repository: "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        licence: "Apache-2.0",
        dimensions: 384,
        pooling: Pooling::Mean,
        prefix: "",
        tokens: 128,
        megabytes: 470,
        languages: "50 languages",
        model: MODEL,
        tokenizer: TOKENIZER,
    },
];

/// The model of that name, or of that repository.
pub fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(name) || known.repository == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_permissive_and_digests_are_digests() {
        for known in KNOWN {
            assert!(matches!(known.licence, "Apache-2.0" | "MIT"), "{}", known.name);
            assert!(known.repository.ends_with(known.name) && find(known.name).is_some());
            for digest in [known.model.sha256, known.tokenizer.sha256].into_iter().flatten() {
                assert!(super::super::pull::is_sha256(digest), "{digest}");
            }
        }
        assert_eq!(find("ALL-minilm-l6-v2").map(|known| known.dimensions), Some(384));
        assert!(find("gpt").is_none());
    }
}
