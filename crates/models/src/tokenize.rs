//! Text to token numbers.

use std::path::{Path, PathBuf};

use tokenizers::{Tokenizer as Inner, TruncationParams};

use crate::config::BertConfig;
use crate::error::{Error, Result};

/// A tokenizer read from `tokenizer.json`, without padding, cutting texts at a number of tokens.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    path: PathBuf,
    inner: Inner,
    max_tokens: usize,
}

impl Tokenizer {
    /// Reads `tokenizer.json` from a model folder; texts are cut to `max_tokens`, special tokens included.
    ///
    /// # Errors
    /// [`Error::File`] when the file is missing or is no tokenizer.
    pub fn load(folder: &Path, max_tokens: usize) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let problem = |problem: String| Error::File { path: path.clone(), problem };
        if !path.is_file() {
            return Err(problem("not found; expected the tokenizer saved with the model".to_owned()));
        }
        let mut inner = Inner::from_file(&path).map_err(|error| problem(format!("not a tokenizer: {error}")))?;
        inner.with_padding(None);
        let truncation = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
        inner.with_truncation(Some(truncation)).map_err(|error| problem(format!("cannot cut texts: {error}")))?;
        Ok(Self { path, inner, max_tokens })
    }

    /// Refuses a tokenizer with tokens that the model of this configuration does not embed.
    ///
    /// # Errors
    /// [`Error::File`] with the largest of its token numbers.
    pub fn check(&self, config: &BertConfig) -> Result<()> {
        let largest = self.inner.get_vocab(true).into_values().max().unwrap_or(0);
        if (largest as usize) < config.vocab_size {
            return Ok(());
        }
        let problem = format!(
            "its token numbers reach {largest}, but vocab_size in config.json is {}; expected the tokenizer saved with the model",
            config.vocab_size
        );
        Err(Error::File { path: self.path.clone(), problem })
    }

    /// Token numbers of `text`, special tokens included: at least one, at most the maximum.
    ///
    /// # Errors
    /// [`Error::Tokenise`] when the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let problem = |problem: String| Error::Tokenise { text: text.chars().take(60).collect(), problem };
        let encoding = self.inner.encode_fast(text, true).map_err(|error| problem(error.to_string()))?;
        if encoding.is_empty() {
            return Err(problem("no tokens; the tokenizer adds no special tokens".to_owned()));
        }
        Ok(encoding.get_ids().to_vec())
    }

    /// Most tokens of a text.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }
}
