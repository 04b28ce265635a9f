//! The vocabulary of a GGUF file, of the byte-level kind that `tokenizer.ggml.model` calls `gpt2`.

use std::collections::HashSet;

use super::metadata::Metadata;

/// Tokens, how they are merged, and what stands around a text.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    /// Tokens by their numbers, in the spelling of byte-level vocabularies.
    pub(crate) tokens: Vec<(String, Kind)>,
    /// Pairs that are joined, the first first.
    pub(crate) merges: Vec<(String, String)>,
    /// How texts are cut into words, by the name that llama.cpp has for it.
    pub(crate) words: String,
    /// The tokens of beginning and end.
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    /// Whether they stand around a text, where the file says so.
    pub(crate) adds_bos: Option<bool>,
    pub(crate) adds_eos: bool,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A piece of text.
    Normal,
    /// A mark that is no text, such as the one between turns of a chat.
    Special,
    /// A text that is never cut.
    Whole,
    /// A number without a token.
    Unused,
}

const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const WORDS: &str = "tokenizer.ggml.pre";
/// What to do about a vocabulary that is not read.
const INSTEAD: &str = "take the model's own tokenizer.json";

impl Vocabulary {
    /// Reads the vocabulary in a file's keys.
    pub(crate) fn read(metadata: &Metadata<'_>) -> Result<Self, String> {
        let key = "tokenizer.ggml.model";
        match metadata.text(key)? {
            Some("gpt2") => {}
            found => {
                let found = found.unwrap_or("missing");
                return Err(format!("{key} is {found}; only byte-level vocabularies (gpt2) are read: {INSTEAD}"));
            }
        }
        let needed = |key: &str| format!("has no {key}; expected a whole vocabulary: {INSTEAD}");
        let texts = metadata.texts(TOKENS)?.ok_or_else(|| needed(TOKENS))?;
        let kinds = match metadata.counts(KINDS)? {
            None => vec![Kind::Normal; texts.len()],
            Some(kinds) if kinds.len() == texts.len() => kinds.into_iter().map(Kind::of).collect(),
            Some(_) => return Err(metadata.refused(KINDS, &format!("one for each of {} tokens", texts.len()))),
        };
        let mut seen = HashSet::new();
        if let Some(twice) = texts.iter().find(|text| !seen.insert(**text)) {
            return Err(format!("{TOKENS} has {twice:?} twice; {INSTEAD}"));
        }
        let merges = metadata.texts(MERGES)?.ok_or_else(|| needed(MERGES))?;
        let pair = |merge: &&str| match merge.split_once(' ') {
            Some((first, second)) if !second.contains(' ') => Ok((first.to_owned(), second.to_owned())),
            _ => Err(format!("{MERGES} has {merge:?}; expected two tokens with a space between them: {INSTEAD}")),
        };
        let token = |name: &str| {
            let key = format!("tokenizer.ggml.{name}_token_id");
            let token = metadata.count(&key)?;
            if token.is_some_and(|token| token >= texts.len()) {
                return Err(metadata.refused(&key, &format!("the number of one of {} tokens", texts.len())));
            }
            Ok(token.and_then(|token| u32::try_from(token).ok()))
        };
        let words = metadata.text(WORDS)?.ok_or_else(|| {
            format!("has no {WORDS}, so that its texts would be cut into other words than in training; {INSTEAD}")
        })?;
        Ok(Self {
            merges: merges.iter().map(pair).collect::<Result<_, _>>()?,
            words: words.to_owned(),
            bos: token("bos")?,
            eos: token("eos")?,
            adds_bos: metadata.truth("tokenizer.ggml.add_bos_token")?,
            adds_eos: metadata.truth("tokenizer.ggml.add_eos_token")?.unwrap_or(false),
            tokens: texts.into_iter().map(str::to_owned).zip(kinds).collect(),
        })
    }
}

impl Kind {
    /// By llama.cpp's number. Bytes (6) are pieces of text as well.
    fn of(number: u64) -> Self {
        match number {
            2 | 3 => Self::Special,
            4 => Self::Whole,
            5 => Self::Unused,
            _ => Self::Normal,
        }
    }
}
