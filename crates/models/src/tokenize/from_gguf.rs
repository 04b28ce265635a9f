//! The tokenizer that a GGUF file describes.

use serde_json::json;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, Tokenizer};

use super::words::Words;
use crate::gguf::{Kind, Vocabulary};

/// The tokenizer of a vocabulary, without cutting and padding.
///
/// # Errors
/// One line, where its parts do not go together or its words are not known.
pub(super) fn tokenizer(vocabulary: &Vocabulary) -> Result<Tokenizer, String> {
    let words = Words::of(&vocabulary.words)?;
    let told =
        |error: tokenizers::Error| format!("has a malformed vocabulary ({error}); take the model's own tokenizer.json");
    let tokens = || (0_u32..).zip(&vocabulary.tokens);
    // Numbers without a token have a name that no text may be read as.
    let named: Vocab = tokens()
        .filter(|(_, (_, kind))| *kind != Kind::Unused)
        .map(|(number, (text, _))| (text.clone(), number))
        .collect();
    let model = BPE::builder().vocab_and_merges(named, vocabulary.merges.clone()).ignore_merges(words.whole);
    let mut tokenizer = Tokenizer::new(model.build().map_err(told)?);
    if words.composed {
        tokenizer.with_normalizer(Some(NFC)).map_err(told)?;
    }
    tokenizer.with_pre_tokenizer(Some(words.cutter().map_err(told)?));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let added = |kind: Kind, is_special: bool| {
        tokens()
            .filter(move |(_, (_, own))| *own == kind)
            .map(move |(_, (text, _))| AddedToken { normalized: false, ..AddedToken::from(text.clone(), is_special) })
    };
    tokenizer.add_special_tokens(added(Kind::Special, true)).map_err(told)?;
    tokenizer.add_tokens(added(Kind::Whole, false)).map_err(told)?;
    let adds_bos = vocabulary.adds_bos.unwrap_or(words.adds_bos);
    let before = mark(vocabulary, "bos", vocabulary.bos, adds_bos)?;
    let after = mark(vocabulary, "eos", vocabulary.eos, vocabulary.adds_eos)?;
    if before.is_some() || after.is_some() {
        tokenizer.with_post_processor(Some(around(before, after)?));
    }
    Ok(tokenizer)
}

/// A token that stands around texts, if it does.
fn mark<'a>(
    vocabulary: &'a Vocabulary,
    name: &str,
    number: Option<u32>,
    stands: bool,
) -> Result<Option<(&'a str, u32)>, String> {
    if !stands {
        return Ok(None);
    }
    let found = number.and_then(|number| Some((vocabulary.tokens.get(number as usize)?.0.as_str(), number)));
    found.map(Some).ok_or_else(|| {
        format!("puts a token of {name} around texts, but has no tokenizer.ggml.{name}_token_id; take the model's own tokenizer.json")
    })
}

/// What puts tokens around a text, or around each of a pair.
fn around(before: Option<(&str, u32)>, after: Option<(&str, u32)>) -> Result<PostProcessorWrapper, String> {
    let special = |(text, _): (&str, u32), segment: u32| json!({"SpecialToken": {"id": text, "type_id": segment}});
    let one = |sequence: &str, segment: u32| {
        let text = json!({"Sequence": {"id": sequence, "type_id": segment}});
        let before = before.map(|token| special(token, segment));
        before.into_iter().chain([text]).chain(after.map(|token| special(token, segment))).collect::<Vec<_>>()
    };
    let tokens: serde_json::Map<_, _> = [before, after]
        .into_iter()
        .flatten()
        .map(|(text, number)| (text.to_owned(), json!({"id": text, "ids": [number], "tokens": [text]})))
        .collect();
    let pair = [one("A", 0), one("B", 1)].concat();
    let template = json!({"type": "TemplateProcessing", "single": one("A", 0), "pair": pair, "special_tokens": tokens});
    serde_json::from_value(template).map_err(|error| format!("cannot put tokens around texts: {error}"))
}
