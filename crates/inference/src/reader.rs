//! Texts as the tokens that a model reads.

use std::path::{Path, PathBuf};

use bayeslora_models::{Backbone, Encoded, TOKENIZER_FILE, Tokenizer, gguf_of};

use crate::error::Result;

/// A text to be classified, or a pair of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Number of its line, from 1: with the seed it decides the text's samples.
    pub line: u64,
    /// The text.
    pub text: String,
    /// The second text of a pair, such as the hypothesis to a premise.
    pub second: Option<String>,
    /// Answers of its own to choose from, as they stand after the text; or the one completion of it that is scored.
    pub choices: Option<Vec<String>>,
}

/// The tokenizer that an adapter was trained with, and how its model reads tokens.
#[derive(Debug)]
pub(crate) struct Reader {
    tokenizer: Tokenizer,
    ends: Ends,
}

/// What becomes of the two ends of a text.
#[derive(Debug)]
enum Ends {
    /// Read as the tokenizer gives it, but for what a class head does not read at the end: this token.
    OfClasses(Option<u32>),
    /// The next token is asked for: nothing stands after the text, and what stands before it stands there once.
    OfAnswers {
        /// The token before a text.
        before: Option<u32>,
        /// Tokens that the tokenizer puts after a text.
        after: usize,
    },
}

impl Reader {
    /// The tokenizer of `adapter` or `model` for texts of at most `max_tokens`, by default as many as the model reads. Where answers are
    /// asked for, a longer text loses its beginning; else the tokenizer's settings say which end is cut.
    ///
    /// # Errors
    /// When there is no tokenizer, it is not the model's, or the model does not read so many tokens.
    pub(crate) fn load(
        backbone: &Backbone,
        model: &Path,
        adapter: &Path,
        (max_tokens, for_answers): (Option<usize>, bool),
    ) -> Result<Self> {
        let source = Source::of(model, adapter);
        let length = source.length(backbone, max_tokens)?;
        let tokenizer = for_model(source.tokenizer(length)?, backbone)?;
        if !for_answers {
            return Ok(Self { tokenizer, ends: Ends::OfClasses(backbone.padding()) });
        }
        let [before, after] = marks(&source)?;
        let ends = Ends::OfAnswers { before: before.last().copied(), after: after.len() };
        Ok(Self { tokenizer: tokenizer.keeping_ends()?, ends })
    }

    /// The tokens of a text or of a pair.
    ///
    /// # Errors
    /// When the tokenizer refuses it.
    pub(crate) fn encode(&self, text: &Text) -> Result<Encoded> {
        let mut encoded = self.tokenizer.encode_text(&text.text, text.second.as_deref())?;
        let (before, after) = match self.ends {
            Ends::OfClasses(padding) => return Ok(encoded.without_padding(padding)),
            Ends::OfAnswers { before, after } => (before, after),
        };
        let length = encoded.ids.len().saturating_sub(after).max(1);
        encoded.ids.truncate(length);
        encoded.segments.truncate(length);
        if begins_twice(&encoded.ids, before) {
            encoded.ids.remove(0);
            encoded.segments.remove(0);
        }
        Ok(encoded)
    }
}

/// Whether the mark before a text stands there twice: the text of a chat's template begins with the one that the tokenizer puts before it.
pub(crate) fn begins_twice(ids: &[u32], before: Option<u32>) -> bool {
    matches!(ids, [first, second, ..] if first == second && Some(*first) == before)
}

/// The tokens that a tokenizer puts before and after a text.
pub(crate) fn marks(source: &Source<'_>) -> Result<[Vec<u32>; 2]> {
    let tokenizer = source.tokenizer(ENOUGH)?;
    let marked = tokenizer.encode(ANCHOR)?;
    let bare = tokenizer.without_marks().encode(ANCHOR)?;
    let start = marked.windows(bare.len().max(1)).position(|part| part == bare).unwrap_or(0);
    Ok([marked[..start].to_vec(), marked[(start + bare.len()).min(marked.len())..].to_vec()])
}

/// A text that every tokenizer has tokens for.
pub(crate) const ANCHOR: &str = ":";
/// Tokens that are more than a mark.
const ENOUGH: usize = 64;

/// The tokenizer in the folder of a model or in its GGUF file, for texts of at most `max_tokens`.
///
/// # Errors
/// When there is none, or it has tokens that the model does not embed.
pub fn tokenizer_of(backbone: &Backbone, folder: &Path, max_tokens: usize) -> Result<Tokenizer> {
    for_model(Source::of_model(folder).tokenizer(max_tokens)?, backbone)
}

/// Refuses a tokenizer of another model.
pub(crate) fn for_model(tokenizer: Tokenizer, backbone: &Backbone) -> Result<Tokenizer> {
    if backbone.is_causal() {
        tokenizer.check_pieces(backbone.vocabulary())?;
    } else {
        tokenizer.check(backbone.vocabulary())?;
    }
    Ok(tokenizer)
}

/// Where a tokenizer lies.
pub(crate) enum Source<'a> {
    Folder(&'a Path),
    Gguf(PathBuf),
}

impl<'a> Source<'a> {
    /// A tokenizer saved with the adapter is the one it was trained with.
    pub(crate) fn of(model: &'a Path, adapter: &'a Path) -> Self {
        if [TOKENIZER_FILE, "vocab.txt"].into_iter().any(|file| adapter.join(file).is_file()) {
            Self::Folder(adapter)
        } else {
            Self::of_model(model)
        }
    }

    fn of_model(model: &'a Path) -> Self {
        gguf_of(model).map_or(Self::Folder(model), Self::Gguf)
    }

    fn own_length(&self) -> Result<Option<usize>> {
        match self {
            Self::Folder(folder) => Ok(Tokenizer::own_length(folder)?),
            Self::Gguf(_) => Ok(None),
        }
    }

    /// Most tokens of a text: as many as are asked for, else the tokenizer's own length, within the model's positions.
    pub(crate) fn length(&self, backbone: &Backbone, max_tokens: Option<usize>) -> Result<usize> {
        let longest = backbone.longest_text();
        let own = self.own_length()?.map_or(longest, |length| length.min(longest));
        let length = max_tokens.unwrap_or(own);
        if (2..=longest).contains(&length) {
            return Ok(length);
        }
        let expected = match (max_tokens, self) {
            (None, Self::Folder(folder)) => format!(
                "texts are 2 to {longest} tokens long: correct model_max_length in {}, or give --max-tokens",
                folder.join("tokenizer_config.json").display()
            ),
            _ => format!("texts are 2 to {longest} tokens long: choose --max-tokens so"),
        };
        Err(bayeslora_models::Error::Slot { what: format!("window of {length} tokens"), expected }.into())
    }

    pub(crate) fn tokenizer(&self, max_tokens: usize) -> Result<Tokenizer> {
        Ok(match self {
            Self::Folder(folder) => Tokenizer::load(folder, max_tokens)?,
            Self::Gguf(file) => Tokenizer::from_gguf(&bayeslora_models::Gguf::open(file)?, max_tokens)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as tokens: `<s>` 1 before a text, `</s>` 2 after it, letters from 3 on, with or without a space before a text.
    fn folder(spaced: bool) -> tempfile::TempDir {
        let normalizer = if spaced { r#"{"type": "Prepend", "prepend": "_"}"# } else { "null" };
        let letters: Vec<String> = "_:ab".chars().zip(3..).map(|(letter, id)| format!("\"{letter}\": {id}")).collect();
        let text = format!(
            r#"{{"version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [{{"id": 1, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}}],
            "normalizer": {normalizer}, "pre_tokenizer": null,
            "post_processor": {{"type": "TemplateProcessing",
                "single": [{{"SpecialToken": {{"id": "<s>", "type_id": 0}}}}, {{"Sequence": {{"id": "A", "type_id": 0}}}},
                    {{"SpecialToken": {{"id": "</s>", "type_id": 0}}}}],
                "pair": [{{"Sequence": {{"id": "A", "type_id": 0}}}}, {{"Sequence": {{"id": "B", "type_id": 1}}}}],
                "special_tokens": {{"<s>": {{"id": "<s>", "ids": [1], "tokens": ["<s>"]}}, "</s>": {{"id": "</s>", "ids": [2], "tokens": ["</s>"]}}}}}},
            "decoder": null,
            "model": {{"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "vocab": {{"<s>": 1, "</s>": 2, {}, "_a": 7}}, "merges": ["_ a"]}}}}"#,
            letters.join(", ")
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(TOKENIZER_FILE), text).unwrap();
        folder
    }

    fn reader(folder: &Path, for_answers: bool) -> Reader {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/decoders/tiny/llama3");
        let decoder = Backbone::load(&golden, &candle_core::Device::Cpu).unwrap();
        Reader::load(&decoder, folder, folder, (Some(8), for_answers)).unwrap()
    }

    fn ids(reader: &Reader, text: &str) -> Vec<u32> {
        reader.encode(&Text { line: 1, text: text.to_owned(), second: None, choices: None }).unwrap().ids
    }

    #[test]
    fn a_class_head_reads_what_the_tokenizer_gives_and_answers_follow_the_text_itself() {
        let folder = folder(false);
        assert_eq!(ids(&reader(folder.path(), false), "ab"), [1, 5, 6, 2]);
        assert_eq!(ids(&reader(folder.path(), true), "ab"), [1, 5, 6]);
    }

    #[test]
    fn the_mark_before_a_text_stands_there_once() {
        let folder = folder(false);
        assert_eq!(ids(&reader(folder.path(), true), "<s>ab"), [1, 5, 6]);
    }

    #[test]
    fn padding_at_the_end_is_not_read_by_a_class_head() {
        let encoded = |ids: &[u32]| Encoded { ids: ids.to_vec(), segments: vec![0; ids.len()], truncated: false };
        assert_eq!(encoded(&[0, 5, 0, 6, 0, 0]).without_padding(Some(0)), encoded(&[0, 5, 0, 6]));
        assert_eq!(encoded(&[0, 0]).without_padding(Some(0)), encoded(&[0, 0]));
        assert_eq!(encoded(&[5, 0]).without_padding(None), encoded(&[5, 0]));
    }
}
