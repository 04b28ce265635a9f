use super::*;

const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n##c\n.\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// A tokenizer of single letters; `normalizer` is its JSON.
fn json(normalizer: &str, more: &str) -> String {
    format!(
        r###"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": {normalizer},
            "pre_tokenizer": {{"type": "BertPreTokenizer"}}, "post_processor": null, "decoder": null,
            "model": {{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {{"[UNK]": 0, "a": 1, "b": 2, "A": 3}}}}{more}}}"###
    )
}

const CASED: &str = r#"{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": false}"#;

#[test]
fn a_vocabulary_alone_makes_berts_tokenizer() {
    let folder = folder(&[("vocab.txt", VOCABULARY)]);
    let tokenizer = Tokenizer::load(folder.path(), 16).unwrap();
    // [CLS] a b c ##c . [SEP], lower-cased as BertTokenizer is unless it is told otherwise.
    assert_eq!(tokenizer.encode("A b cc.").unwrap(), [2, 5, 6, 7, 8, 9, 3]);
    assert_eq!(tokenizer.encode("z [MASK]").unwrap(), [2, 1, 4, 3]);
    let pair = tokenizer.encode_text("a b", Some("c")).unwrap();
    assert_eq!((pair.ids, pair.segments), (vec![2, 5, 6, 3, 7, 3], vec![0, 0, 0, 0, 1, 1]));
}

#[test]
fn a_vocabulary_without_special_tokens_is_refused() {
    let folder = folder(&[("vocab.txt", "a\nb\n")]);
    let message = Tokenizer::load(folder.path(), 16).unwrap_err().to_string();
    assert!(message.ends_with("vocab.txt: has no [CLS]; expected BERT's vocabulary"), "{message}");
}

#[test]
fn lower_case_is_as_tokenizer_config_says() {
    for (config, expected) in [("{}", 3), (r#"{"do_lower_case": true}"#, 1), (r#"{"do_lower_case": null}"#, 3)] {
        let folder = folder(&[("tokenizer.json", &json(CASED, "")), ("tokenizer_config.json", config)]);
        assert_eq!(Tokenizer::load(folder.path(), 16).unwrap().encode("A").unwrap(), [expected], "{config}");
    }
}

/// A cased tokenizer of BERT's kind, without any template.
fn bert_json() -> String {
    let vocabulary = r#""vocab": {"[UNK]": 0, "a": 1, "b": 2, "A": 3, "[CLS]": 4, "[SEP]": 5}"#;
    json(CASED, "").replace(r#""vocab": {"[UNK]": 0, "a": 1, "b": 2, "A": 3}"#, vocabulary)
}

#[test]
fn berts_class_makes_everything_but_the_vocabulary_and_others_do_not() {
    // transformers 5.24: BertTokenizer is lower-casing unless told otherwise and sets [CLS] a [SEP] b [SEP]; PreTrainedTokenizerFast
    // takes the file as it is and reads no `do_lower_case`.
    let (backbone, plain) = ([4, 1, 5, 2, 5].as_slice(), [3, 2].as_slice());
    let config = |model: &str| format!(r#"{{"model_type": "{model}"}}"#);
    for (name, text, expected) in [
        ("tokenizer_config.json", r#"{"tokenizer_class": "BertTokenizer"}"#.to_owned(), backbone),
        ("tokenizer_config.json", r#"{"tokenizer_class": "DistilBertTokenizerFast"}"#.to_owned(), backbone),
        (
            "tokenizer_config.json",
            r#"{"tokenizer_class": "BertTokenizer", "do_lower_case": false}"#.to_owned(),
            &[4, 3, 5, 2, 5],
        ),
        (
            "tokenizer_config.json",
            r#"{"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": true}"#.to_owned(),
            plain,
        ),
        ("config.json", config("bert"), backbone),
        ("config.json", config("distilbert"), backbone),
        ("config.json", config("electra"), plain),
    ] {
        let folder = folder(&[("tokenizer.json", &bert_json()), (name, &text)]);
        let pair = Tokenizer::load(folder.path(), 16).unwrap().encode_text("A", Some("b")).unwrap();
        assert_eq!(pair.ids, expected, "{text}");
    }
    let folder = folder(&[("tokenizer.json", &json(CASED, "")), ("config.json", &config("bert"))]);
    let message = Tokenizer::load(folder.path(), 16).unwrap_err().to_string();
    assert!(message.contains("tokenizer.json: ") && message.contains("[CLS]"), "{message}");
}

#[test]
fn a_length_has_an_older_name_and_is_a_whole_number() {
    for (text, expected) in [
        (r#"{"max_len": 6}"#, Ok(Some(6))),
        (r#"{"max_len": 6, "model_max_length": 7}"#, Ok(Some(7))),
        (r#"{"model_max_length": 1000000000000000019884624838656}"#, Ok(None)),
        (r#"{"model_max_length": 6.5}"#, Err("model_max_length is 6.5; expected a whole number of tokens, at least 1")),
        (r#"{"max_len": 0}"#, Err("max_len is 0; expected a whole number")),
    ] {
        let folder = folder(&[("tokenizer_config.json", text)]);
        match (Tokenizer::own_length(folder.path()), expected) {
            (Ok(length), Ok(expected)) => assert_eq!(length, expected, "{text}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }
}

#[test]
fn a_word_without_end_is_not_read_whole() {
    let folder = folder(&[("vocab.txt", VOCABULARY)]);
    let tokenizer = Tokenizer::load(folder.path(), 8).unwrap();
    // Every point is a word of its own: eight megabytes of them, and six are kept between the special tokens.
    let encoded = tokenizer.encode_text(&".".repeat(8 << 20), None).unwrap();
    assert_eq!((encoded.ids, encoded.truncated), (vec![2, 9, 9, 9, 9, 9, 9, 3], true));
    let left = folder_of_left();
    let encoded = Tokenizer::load(left.path(), 4).unwrap().encode_text(&(".".repeat(1 << 20) + "ab"), None).unwrap();
    assert_eq!((encoded.ids, encoded.truncated), (vec![2, 9, 1, 3], true));
}

#[test]
fn settings_of_marks_around_a_text_must_be_what_the_tokenizer_does() {
    let template = r#""post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "b", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {"b": {"id": "b", "ids": [2], "tokens": ["b"]}}}"#;
    let marked = json(CASED, "").replace(r#""post_processor": null"#, template);
    for (json, config, expected) in [
        (
            json(CASED, ""),
            r#"{"add_bos_token": false, "bos_token": "b", "add_eos_token": false, "eos_token": "A"}"#,
            Ok(1),
        ),
        (marked.clone(), r#"{"add_bos_token": true, "bos_token": {"content": "b"}}"#, Ok(2)),
        (
            marked.clone(),
            r#"{"add_bos_token": null, "bos_token": "b", "add_eos_token": true, "eos_token": null}"#,
            Ok(2),
        ),
        (marked.clone(), r#"{"add_bos_token": false, "bos_token": "b", "tokenizer_class": "RobertaTokenizer"}"#, Ok(2)),
        (
            json(CASED, ""),
            r#"{"add_bos_token": true, "bos_token": "b"}"#,
            Err("puts no b before a text, but add_bos_token is true in"),
        ),
        (
            marked.clone(),
            r#"{"add_bos_token": false, "bos_token": "b"}"#,
            Err("puts a b before a text, but add_bos_token is false in"),
        ),
        (
            marked,
            r#"{"add_eos_token": true, "eos_token": "A"}"#,
            Err("puts no A after a text, but add_eos_token is true in"),
        ),
    ] {
        let folder = folder(&[("tokenizer.json", &json), ("tokenizer_config.json", config)]);
        match (Tokenizer::load(folder.path(), 16).map(|tokenizer| tokenizer.encode("a").unwrap().len()), expected) {
            (Ok(length), Ok(expected)) => assert_eq!(length, expected, "{config}"),
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(&format!("tokenizer.json: {part}")), "{error}");
            }
            (got, _) => panic!("{config}: {got:?}"),
        }
    }
}

#[test]
fn a_token_that_was_added_may_be_beyond_what_a_decoder_embeds() {
    let added = r#""added_tokens": [{"id": 4, "content": "<image>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}]"#;
    let folder = folder(&[("tokenizer.json", &json(CASED, "").replace(r#""added_tokens": []"#, added))]);
    let tokenizer = Tokenizer::load(folder.path(), 16).unwrap();
    assert_eq!(tokenizer.encode("a <image>").unwrap(), [1, 4]);
    tokenizer.check_pieces(4).unwrap();
    assert!(tokenizer.check_pieces(3).unwrap_err().to_string().contains("reach 3, but the model embeds 3; expected"));
}

/// A vocabulary whose texts are cut at their beginning.
fn folder_of_left() -> tempfile::TempDir {
    folder(&[("vocab.txt", VOCABULARY), ("tokenizer_config.json", r#"{"truncation_side": "left"}"#)])
}

#[test]
fn lower_case_that_cannot_be_had_is_refused() {
    let folder =
        folder(&[("tokenizer.json", &json("null", "")), ("tokenizer_config.json", r#"{"do_lower_case": true}"#)]);
    let message = Tokenizer::load(folder.path(), 16).unwrap_err().to_string();
    assert!(
        message.contains("has no BertNormalizer, but tokenizer_config.json beside it says do_lower_case: true"),
        "{message}"
    );
}

#[test]
fn keys_that_robertas_tokenizers_do_not_read_are_not_read_and_its_space_is() {
    let bytes = json("null", "")
        .replace(r#"{"type": "BertPreTokenizer"}"#, r#"{"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}]}"#)
        .replace(r#""A": 3"#, r#""A": 3, "Ġa": 4"#);
    for (config, expected) in [
        ("{}", 4),
        (r#"{"tokenizer_class": "RobertaTokenizerFast", "do_lower_case": true}"#, 1),
        (r#"{"tokenizer_class": "RobertaTokenizer", "add_prefix_space": true, "strip_accents": true}"#, 4),
        (r#"{"tokenizer_class": "XLMRobertaTokenizer", "add_prefix_space": true, "do_lower_case": true}"#, 4),
    ] {
        let folder = folder(&[("tokenizer.json", &bytes), ("tokenizer_config.json", config)]);
        assert_eq!(Tokenizer::load(folder.path(), 16).unwrap().encode("a").unwrap(), [expected], "{config}");
    }
    let config = r#"{"tokenizer_class": "XLMRobertaTokenizer", "add_prefix_space": false}"#;
    let folder = folder(&[("tokenizer.json", &bytes), ("tokenizer_config.json", config)]);
    let message = Tokenizer::load(folder.path(), 16).unwrap_err().to_string();
    assert!(message.contains("tokenizer_config.json: add_prefix_space is false; expected true, or none"), "{message}");
}

#[test]
fn texts_are_cut_at_the_side_that_the_folder_says() {
    let right = json(CASED, "");
    let left_by_itself = right.replace(
        r#""truncation": null"#,
        r#""truncation": {"direction": "Left", "max_length": 9, "strategy": "LongestFirst", "stride": 0}"#,
    );
    for (json, config, expected) in [
        (&right, "{}", [1, 1]),
        (&right, r#"{"truncation_side": "left"}"#, [2, 2]),
        (&left_by_itself, "{}", [2, 2]),
        (&left_by_itself, r#"{"truncation_side": "right"}"#, [1, 1]),
    ] {
        let folder = folder(&[("tokenizer.json", json), ("tokenizer_config.json", config)]);
        let encoded = Tokenizer::load(folder.path(), 2).unwrap().encode_text("a a b b", None).unwrap();
        assert_eq!((&encoded.ids[..], encoded.truncated), (&expected[..], true), "{config}");
    }
}

#[test]
fn a_text_that_is_not_cut_is_not_said_to_be() {
    let folder = folder(&[("tokenizer.json", &json(CASED, ""))]);
    let tokenizer = Tokenizer::load(folder.path(), 2).unwrap();
    assert!(!tokenizer.encode_text("a b", None).unwrap().truncated);
    assert!(tokenizer.encode_text("a b a", None).unwrap().truncated);
}

#[test]
fn a_long_text_is_cut_as_when_it_is_read_whole() {
    for side in ["left", "right"] {
        let config = format!(r#"{{"truncation_side": "{side}"}}"#);
        let folder = folder(&[("tokenizer.json", &json(CASED, "")), ("tokenizer_config.json", &config)]);
        let tokenizer = Tokenizer::load(folder.path(), 3).unwrap();
        let many = "a b ".repeat(1000);
        let spaces = format!("b{}a b A{}", " ".repeat(5000), " ".repeat(5000));
        let word = "é".repeat(3000);
        for text in [many.as_str(), spaces.as_str(), word.as_str()] {
            assert_eq!(
                tokenizer.encode_text(text, None).unwrap(),
                tokenizer.encode_whole(text, None).unwrap(),
                "{side}"
            );
        }
    }
}

#[test]
fn the_length_of_its_own_is_that_of_tokenizer_config_unless_it_means_none() {
    for (config, expected) in [
        ("{}", None),
        (r#"{"model_max_length": 6}"#, Some(6)),
        (r#"{"model_max_length": 1000000000000000019884624838656}"#, None),
    ] {
        let folder = folder(&[("tokenizer_config.json", config)]);
        assert_eq!(Tokenizer::own_length(folder.path()).unwrap(), expected, "{config}");
    }
    let folder = folder(&[("tokenizer_config.json", r#"{"model_max_length": -3}"#)]);
    let message = Tokenizer::own_length(folder.path()).unwrap_err().to_string();
    assert!(message.ends_with("model_max_length is -3; expected a whole number of tokens, at least 1"), "{message}");
}

#[test]
fn what_the_tokenizers_crate_panics_at_is_an_error_with_the_file() {
    let fixed = json(CASED, "").replace(r#"{"type": "BertPreTokenizer"}"#, r#"{"type": "FixedLength", "length": 0}"#);
    let folder = folder(&[("tokenizer.json", &fixed)]);
    // Where the panic is, is the crate's business: at loading or at the first text.
    let message = match Tokenizer::load(folder.path(), 16) {
        Err(error) => error.to_string(),
        Ok(tokenizer) => tokenizer.encode("a").unwrap_err().to_string(),
    };
    assert!(message.contains("tokenizer.json"), "{message}");
}

#[test]
fn a_folder_without_tokenizer_says_what_was_looked_for() {
    let folder = folder(&[]);
    let message = Tokenizer::load(folder.path(), 16).unwrap_err().to_string();
    assert!(
        message.contains("tokenizer.json: not found, nor vocab.txt; expected the tokenizer saved with the model"),
        "{message}"
    );
}
