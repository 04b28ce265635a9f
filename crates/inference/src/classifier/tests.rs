use bayeslora_models::TOKENIZER_FILE;

use super::*;

/// A tokenizer that knows one word, and fails on every other.
const ONE_WORD: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
    "pre_tokenizer": { "type": "Whitespace" }, "decoder": null,
    "post_processor": { "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": true,
        "add_prefix_space": false },
    "model": { "type": "WordLevel", "vocab": { "<s>": 0, "</s>": 2, "a": 4 }, "unk_token": "<unk>" }
}"#;

#[test]
fn pairs_are_not_tokenised_before_they_are_predicted_where_the_model_reads_no_segments() {
    let roberta = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/roberta");
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(roberta.join(file), folder.path().join(file)).unwrap();
    }
    std::fs::write(folder.path().join(TOKENIZER_FILE), ONE_WORD).unwrap();
    let options = InferenceOptions {
        samples: Some(0),
        coupling: Coupling::Independent,
        adaptive: None,
        linearised: false,
        seed: 0,
        max_tokens: None,
        choices: Vec::new(),
        site: None,
        scope: None,
        dropout: None,
        resources: Resources::default(),
    };
    let classifier = Classifier::load(folder.path(), &roberta.join("query-value"), options).unwrap();
    let pair = |second: &str| Text { line: 1, text: "a".to_owned(), second: Some(second.to_owned()) };
    assert_eq!(classifier.predict(&[pair("a")]).unwrap()[0].tokens, 6);
    classifier.check(&pair("b")).unwrap();
    classifier.predict(&[pair("b")]).unwrap_err();
}

#[test]
fn pieces_cover_all_samples_in_whole_groups() {
    for (samples, group) in [(0, 1), (20, 1), (SAMPLES_TOGETHER, 1), (10_000, 1), (10_000, 3), (9000, 2048)] {
        let mut seen = Vec::new();
        together(samples, group, |piece, range| {
            assert_eq!(piece, seen.len() as u64);
            seen.push(range);
            Ok(Vec::new())
        })
        .unwrap();
        assert_eq!((seen[0].start, seen[seen.len() - 1].end), (0, samples));
        assert!(seen.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].end.is_multiple_of(group)));
    }
}
