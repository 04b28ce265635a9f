//! Texts as the tokens that a model reads.

use std::path::Path;

use bayeslora_models::{Backbone, Encoded, TOKENIZER_FILE, Tokenizer};

use crate::error::{Error, Result};

/// A text to be classified, or a pair of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Number of its line, from 1: with the seed it decides the text's samples.
    pub line: u64,
    /// The text.
    pub text: String,
    /// The second text of a pair, such as the hypothesis to a premise.
    pub second: Option<String>,
}

/// The tokenizer that an adapter was trained with, and how its model reads tokens.
#[derive(Debug)]
pub(crate) struct Reader {
    tokenizer: Tokenizer,
    /// What stands at the end of a text is left out where it is this token.
    padding: Option<u32>,
}

impl Reader {
    /// The tokenizer of `adapter` or `model` for texts of at most `max_tokens`, by default as many as the model reads.
    ///
    /// # Errors
    /// When there is no tokenizer, it is not the model's, or the model does not read so many tokens.
    pub(crate) fn load(bert: &Backbone, model: &Path, adapter: &Path, max_tokens: Option<usize>) -> Result<Self> {
        let longest = bert.longest_text();
        let source = Source::of(model, adapter);
        let own = source.own_length()?.map_or(longest, |length| length.min(longest));
        let length = max_tokens.unwrap_or(own);
        if !(2..=longest).contains(&length) {
            let expected = match (max_tokens, &source) {
                (None, Source::Folder(folder)) => format!(
                    "texts are 2 to {longest} tokens long: correct model_max_length in {}, or give --max-tokens",
                    folder.join("tokenizer_config.json").display()
                ),
                _ => format!("texts are 2 to {longest} tokens long: choose --max-tokens so"),
            };
            return Err(bayeslora_models::Error::Slot { what: format!("window of {length} tokens"), expected }.into());
        }
        Ok(Self { tokenizer: for_model(source.tokenizer(length)?, bert)?, padding: bert.padding() })
    }

    /// The same where the token after a text is asked for: all of its tokens are read.
    pub(crate) fn to_the_end(self) -> Self {
        Self { padding: None, ..self }
    }

    /// The tokens of a text or of a pair.
    ///
    /// # Errors
    /// When the tokenizer refuses it.
    pub(crate) fn encode(&self, text: &Text) -> Result<Encoded> {
        let mut encoded = self.tokenizer.encode_text(&text.text, text.second.as_deref())?;
        // A class head is read at the last token that is no padding, and no token sees those after it.
        while encoded.ids.len() > 1 && encoded.ids.last().copied() == self.padding && self.padding.is_some() {
            encoded.ids.pop();
            encoded.segments.pop();
        }
        Ok(encoded)
    }
}

/// The tokenizer in the folder of a model, for texts of at most `max_tokens`.
///
/// # Errors
/// When there is none, or it has tokens that the model does not embed.
pub fn tokenizer_of(bert: &Backbone, folder: &Path, max_tokens: usize) -> Result<Tokenizer> {
    for_model(Tokenizer::load(folder, max_tokens)?, bert)
}

/// A tokenizer as a model's texts want it: a decoder answers at the end of its text, so that is kept.
fn for_model(tokenizer: Tokenizer, bert: &Backbone) -> Result<Tokenizer> {
    if bert.is_causal() {
        tokenizer.check_pieces(bert.vocabulary())?;
        return Ok(tokenizer.keeping_ends()?);
    }
    tokenizer.check(bert.vocabulary())?;
    Ok(tokenizer)
}

/// Where a tokenizer lies.
enum Source<'a> {
    Folder(&'a Path),
    Gguf(&'a Path),
}

impl<'a> Source<'a> {
    /// A tokenizer saved with the adapter is the one it was trained with.
    fn of(model: &'a Path, adapter: &'a Path) -> Self {
        if [TOKENIZER_FILE, "vocab.txt"].into_iter().any(|file| adapter.join(file).is_file()) {
            Self::Folder(adapter)
        } else if model.is_file() {
            Self::Gguf(model)
        } else {
            Self::Folder(model)
        }
    }

    fn own_length(&self) -> Result<Option<usize>> {
        match self {
            Self::Folder(folder) => Ok(Tokenizer::own_length(folder)?),
            Self::Gguf(_) => Ok(None),
        }
    }

    fn tokenizer(&self, max_tokens: usize) -> Result<Tokenizer> {
        Ok(match self {
            Self::Folder(folder) => Tokenizer::load(folder, max_tokens)?,
            Self::Gguf(file) => Tokenizer::from_gguf(&bayeslora_models::Gguf::open(file)?, max_tokens)?,
        })
    }
}

/// The tokens of answers to choose from, each one token.
///
/// # Errors
/// When there are fewer than two, one is nothing or several tokens, or two are the same.
pub(crate) fn answer_tokens(model: &Path, adapter: &Path, answers: &[String]) -> Result<Vec<u32>> {
    let refused = |what: String, expected: &str| Err(Error::Parameter { what, expected: expected.to_owned() });
    if answers.len() < 2 {
        return refused(format!("{} answer to choose from", answers.len()), "give two or more, each with --choice");
    }
    // Room to tell an answer of many tokens from one.
    let tokenizer = Source::of(model, adapter).tokenizer(64)?.without_marks();
    let mut tokens = Vec::new();
    for answer in answers {
        let ids = tokenizer.encode(answer)?;
        let &[token] = ids.as_slice() else {
            return refused(
                format!("answer {answer:?} of {} tokens", ids.len()),
                "an answer is one token, such as a letter; write it as it stands after the text, its space included",
            );
        };
        if let Some(place) = tokens.iter().position(|&other| other == token) {
            return refused(
                format!("answers {:?} and {answer:?}, which are the same token", answers[place]),
                "give different ones",
            );
        }
        tokens.push(token);
    }
    Ok(tokens)
}
