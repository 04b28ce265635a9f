//! Tokenizers of GGUF files against a plain reading of their definition (`golden/generate_gguf.py`).

use std::collections::BTreeMap;

use bayeslora_models::{Gguf, Tokenizer};
use candle_core::quantized::gguf_file::Value;
use serde::Deserialize;

use crate::parts::{Parts, golden};

/// `words.json`.
#[derive(Deserialize)]
struct Golden {
    tokens: Vec<String>,
    kinds: Vec<i32>,
    merges: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    pre: String,
    text: String,
    ids: Vec<u32>,
}

fn golden_words() -> Golden {
    serde_json::from_slice(&std::fs::read(golden("words.json")).unwrap()).unwrap()
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn texts(texts: &[String]) -> Value {
    Value::Array(texts.iter().map(|own| text(own)).collect())
}

/// The vocabulary, with its words cut as `pre` says.
fn vocabulary(golden: &Golden, pre: &str) -> Parts {
    Parts::default()
        .key("general.architecture", text("llama"))
        .key("tokenizer.ggml.model", text("gpt2"))
        .key("tokenizer.ggml.pre", text(pre))
        .key("tokenizer.ggml.tokens", texts(&golden.tokens))
        .key("tokenizer.ggml.token_type", Value::Array(golden.kinds.iter().map(|kind| Value::I32(*kind)).collect()))
        .key("tokenizer.ggml.merges", texts(&golden.merges))
        .key("tokenizer.ggml.bos_token_id", Value::U32(0))
        .key("tokenizer.ggml.eos_token_id", Value::U32(2))
}

fn tokenizer(parts: &Parts, longest: usize) -> Result<Tokenizer, String> {
    let (_folder, path) = parts.write();
    let gguf = Gguf::open(&path).unwrap();
    let said = |error: bayeslora_models::Error| error.to_string().replace(&path.display().to_string(), "tiny.gguf");
    Tokenizer::from_gguf(&gguf, longest).map_err(said)
}

#[test]
fn texts_are_cut_and_merged_as_each_kind_of_vocabulary_does() {
    let golden = golden_words();
    let mut seen = BTreeMap::new();
    for Case { pre, text, ids } in &golden.cases {
        let tokenizer = tokenizer(&vocabulary(&golden, pre), 512).unwrap();
        *seen.entry(pre.as_str()).or_insert(0) += 1;
        if ids.is_empty() {
            assert!(tokenizer.encode(text).unwrap_err().to_string().contains("no tokens"), "{pre}: {text:?}");
            continue;
        }
        assert_eq!(tokenizer.encode(text).unwrap(), *ids, "{pre}: {text:?}");
    }
    assert_eq!(
        seen.keys().copied().collect::<Vec<_>>(),
        ["gpt-2", "llama-bpe", "qwen2", "smaug-bpe", "smollm", "tekken"]
    );
    // Where the kinds differ, so do the tokens.
    let of =
        |pre: &str, text: &str| &golden.cases.iter().find(|case| case.pre == pre && case.text == text).unwrap().ids;
    let year = "In 1984 they're 12345 of 2,000.";
    assert!(of("smollm", year).len() > of("gpt-2", year).len());
    assert_ne!(of("qwen2", "café naïve cafe\u{301}"), of("smaug-bpe", "café naïve cafe\u{301}"));
}

#[test]
fn digits_of_smollm_are_apart() {
    // transformers 5.24 loses this where it reads a GGUF file.
    let golden = golden_words();
    let tokenizer = tokenizer(&vocabulary(&golden, "smollm"), 16).unwrap();
    let digits: Vec<u32> = ["1", "9", "8", "4"].into_iter().map(|digit| tokenizer.token(digit).unwrap()).collect();
    assert_eq!(tokenizer.encode("1984").unwrap(), digits);
}

#[test]
fn marks_stand_around_texts_where_the_file_says_so() {
    let golden = golden_words();
    let the = |parts: Parts| tokenizer(&parts, 16).unwrap().encode("the").unwrap();
    let plain = the(vocabulary(&golden, "gpt-2"));
    let around = |parts: &[&[u32]]| parts.concat();
    let (bos, eos) = ("tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token");
    let both = vocabulary(&golden, "gpt-2").key(bos, Value::Bool(true)).key(eos, Value::Bool(true));
    assert_eq!(the(both.clone()), around(&[&[0], &plain, &[2]]));
    assert_eq!(the(vocabulary(&golden, "llama-bpe").key(bos, Value::Bool(false))), plain);
    let pair = tokenizer(&both, 16).unwrap().encode_text("the", Some("the")).unwrap();
    assert_eq!(pair.ids, around(&[&[0], &plain, &[2, 0], &plain, &[2]]));
    assert_eq!(pair.segments.iter().filter(|segment| **segment == 1).count(), plain.len() + 2);
    // After the template of a chat, which has written them itself.
    assert_eq!(tokenizer(&both, 16).unwrap().without_marks().encode("the").unwrap(), plain);
}

#[test]
fn a_decoder_keeps_the_end_of_a_long_text() {
    let golden = golden_words();
    let parts = vocabulary(&golden, "smollm").key("tokenizer.ggml.add_bos_token", Value::Bool(true));
    let (first, last) = (tokenizer(&parts, 4).unwrap(), tokenizer(&parts, 4).unwrap().keeping_ends().unwrap());
    let digit = |digit: &str| first.token(digit).unwrap();
    let long = "12345678".repeat(4000);
    for text in ["12345678", &long] {
        let encoded = first.encode_text(text, None).unwrap();
        assert_eq!((encoded.ids, encoded.truncated), (vec![0, digit("1"), digit("2"), digit("3")], true));
        let encoded = last.encode_text(text, None).unwrap();
        assert_eq!((encoded.ids, encoded.truncated), (vec![0, digit("6"), digit("7"), digit("8")], true));
    }
    let bare = last.without_marks();
    assert_eq!(bare.encode("12345678").unwrap(), ["5", "6", "7", "8"].map(digit));
    assert!(!bare.clone().keeping_ends().unwrap().encode_text("1234", None).unwrap().truncated);
}

#[test]
fn vocabularies_that_are_not_read_are_refused_by_name() {
    let golden = golden_words();
    let good = || vocabulary(&golden, "smollm");
    let without = |key: &str| {
        let mut parts = good();
        parts.keys.remove(key);
        parts
    };
    let twice = texts(&[golden.tokens.clone(), vec!["a".to_owned()]].concat());
    let bos = "tokenizer.ggml.add_bos_token";
    for (parts, expected) in [
        (
            good().key("tokenizer.ggml.model", text("llama")),
            "tokenizer.ggml.model is llama; only byte-level vocabularies (gpt2) are",
        ),
        (without("tokenizer.ggml.model"), "tokenizer.ggml.model is missing; only"),
        (
            good().key("tokenizer.ggml.pre", text("deepseek-llm")),
            "tokenizer.ggml.pre is \"deepseek-llm\"; the words of gpt-2, phi-2, ",
        ),
        (
            without("tokenizer.ggml.pre"),
            "has no tokenizer.ggml.pre, so that its texts would be cut into other words than in training; ",
        ),
        (
            without("tokenizer.ggml.tokens"),
            "has no tokenizer.ggml.tokens; expected a whole vocabulary: take the model's own",
        ),
        (without("tokenizer.ggml.merges"), "has no tokenizer.ggml.merges; expected a whole vocabulary"),
        (
            good().key("tokenizer.ggml.token_type", Value::Array(vec![Value::I32(1)])),
            "tokenizer.ggml.token_type is a list of 1; expected one for each of ",
        ),
        (
            good().key("tokenizer.ggml.tokens", twice).key("tokenizer.ggml.token_type", Value::U8(1)),
            "tokenizer.ggml.token_type is 1; expected a list",
        ),
        (
            good().key("tokenizer.ggml.merges", texts(&["t h e".to_owned()])),
            "tokenizer.ggml.merges has \"t h e\"; expected two tokens",
        ),
        (good().key("tokenizer.ggml.merges", texts(&["t zz".to_owned()])), "has a malformed vocabulary ("),
        (
            good().key("tokenizer.ggml.bos_token_id", Value::U32(5000)),
            "tokenizer.ggml.bos_token_id is 5000; expected the number of one of",
        ),
        (good().key(bos, Value::U32(1)), "tokenizer.ggml.add_bos_token is 1; expected true or false"),
        (
            {
                let mut parts = without("tokenizer.ggml.bos_token_id");
                parts.keys.insert(bos.to_owned(), Value::Bool(true));
                parts
            },
            "puts a token of bos around texts, but has no tokenizer.ggml.bos_token_id; take",
        ),
    ] {
        let message = tokenizer(&parts, 16).unwrap_err();
        assert!(message.starts_with(&format!("tiny.gguf: {expected}")), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    let mut parts = without("tokenizer.ggml.token_type");
    parts.keys.insert("tokenizer.ggml.tokens".to_owned(), texts(&["a".to_owned(), "a".to_owned()]));
    assert!(tokenizer(&parts, 16).unwrap_err().starts_with("tiny.gguf: tokenizer.ggml.tokens has \"a\" twice; take"));
}

#[test]
fn token_numbers_beyond_the_table_are_refused() {
    let golden = golden_words();
    let tokenizer = tokenizer(&vocabulary(&golden, "gpt-2"), 16).unwrap();
    // The last number has no token.
    let largest = golden.tokens.len() - 2;
    tokenizer.check_pieces(largest + 1).unwrap();
    let message = tokenizer.check_pieces(largest).unwrap_err().to_string();
    assert!(
        message.contains(&format!("its token numbers reach {largest}, but the model embeds {largest}; ")),
        "{message}"
    );
}
