//! Texts to token ids: the only code that knows the tokenizers library.
//!
//! A tokenizer.json may carry truncation and padding of its own (`MiniLM`'s pads every text to 128 tokens): both are
//! cleared, texts are cut at the configured length, and padding is the batch's affair. One tokeniser serves any number
//! of threads.

use std::path::Path;

use tokenizers::{Tokenizer, TruncationParams};

use super::EmbedError;

/// Bytes read of a text, for each token allowed: far more than a token has, and what keeps a text of a megabyte from
/// costing a second of which all but the first tokens would be thrown away.
const BYTES_A_TOKEN: usize = 64;

/// Fewest tokens that leave room for a text between its marks.
pub const TOKENS_MIN: usize = 8;

/// Token ids of one text, its marks included; at most `tokens_max` of them.
pub type Tokens = Vec<u32>;

/// Cuts texts into tokens.
#[derive(Debug)]
pub struct Tokeniser {
    tokenizer: Tokenizer,
    prefix: String,
    bytes_max: usize,
    padding: u32,
}

impl Tokeniser {
    /// Reads a tokenizer.json. Each text is to be read as if `prefix` stood before it.
    ///
    /// # Errors
    /// When the file cannot be read, or leaves a text fewer tokens than are of use.
    pub fn open(file: &Path, prefix: &str, tokens_max: usize) -> Result<Self, EmbedError> {
        if tokens_max < TOKENS_MIN {
            return Err(EmbedError::Unusable(format!(
                "tokens_max is {tokens_max}, too few for any text; set [model] tokens_max to {TOKENS_MIN} or more"
            )));
        }
        let unreadable = |error: &dyn std::fmt::Display| {
            let why = error.to_string().replace(". at line", " at line");
            EmbedError::Unusable(format!(
                "tokenizer unreadable: {}: {why}; pull it anew, or take the one that the model's makers publish",
                file.display()
            ))
        };
        let mut tokenizer = Tokenizer::from_file(file).map_err(|error| unreadable(&error))?;
        let padding = tokenizer
            .get_padding()
            .map(|padding| padding.pad_id)
            .or_else(|| ["[PAD]", "<pad>"].into_iter().find_map(|name| tokenizer.token_to_id(name)));
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(Some(TruncationParams { max_length: tokens_max, ..TruncationParams::default() }))
            .map_err(|error| unreadable(&error))?;
        let bytes_max = tokens_max.saturating_mul(BYTES_A_TOKEN);
        Ok(Self { tokenizer, prefix: prefix.to_owned(), bytes_max, padding: padding.unwrap_or(0) })
    }

    /// The id that stands for no token: masked, but models that count positions by it need the right one.
    pub fn padding(&self) -> u32 {
        self.padding
    }

    /// How many tokens it knows.
    pub fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The text's tokens; none for an empty text where the tokenizer adds no marks.
    ///
    /// # Errors
    /// When the tokenizer cannot read this text.
    pub fn tokenise(&self, text: &str) -> Result<Tokens, EmbedError> {
        let text = &text[..text.floor_char_boundary(self.bytes_max)];
        let failed = |error| EmbedError::Batch(format!("text cannot be tokenised: {error}"));
        let encoding = if self.prefix.is_empty() {
            self.tokenizer.encode_fast(text, true).map_err(failed)?
        } else {
            self.tokenizer.encode_fast([&self.prefix, text].concat(), true).map_err(failed)?
        };
        Ok(encoding.get_ids().to_vec())
    }
}
