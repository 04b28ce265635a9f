use std::path::Path;

use bayeslora_adapters::{Coupling, DropoutSite};
use bayeslora_models::TOKENIZER_FILE;

use super::network::{SAMPLES_TOGETHER, together};
use super::*;
use crate::resources::Resources;

/// A tokenizer that knows one word, and fails on every other.
const ONE_WORD: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
    "pre_tokenizer": { "type": "Whitespace" }, "decoder": null,
    "post_processor": { "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": true,
        "add_prefix_space": false },
    "model": { "type": "WordLevel", "vocab": { "<s>": 0, "</s>": 2, "a": 4 }, "unk_token": "<unk>" }
}"#;

/// Nothing but the defaults.
fn plain() -> InferenceOptions {
    InferenceOptions {
        samples: None,
        coupling: Coupling::Independent,
        adaptive: None,
        linearised: false,
        seed: 0,
        max_tokens: None,
        choices: Vec::new(),
        readout: None,
        normalisation: None,
        completions: false,
        site: None,
        scope: None,
        dropout: None,
        resources: Resources::default(),
    }
}

#[test]
fn pairs_are_not_tokenised_before_they_are_predicted_where_the_model_reads_no_segments() {
    let roberta = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/roberta");
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(roberta.join(file), folder.path().join(file)).unwrap();
    }
    std::fs::write(folder.path().join(TOKENIZER_FILE), ONE_WORD).unwrap();
    let options = InferenceOptions { samples: Some(0), ..plain() };
    let classifier = Classifier::load(folder.path(), &roberta.join("query-value"), options).unwrap();
    let pair = |second: &str| Text { line: 1, text: "a".to_owned(), second: Some(second.to_owned()), choices: None };
    assert_eq!(classifier.predict(&[pair("a")]).unwrap()[0].tokens, 6);
    classifier.check(&pair("b")).unwrap();
    classifier.predict(&[pair("b")]).unwrap_err();
}

/// More tokens than one pass has: pieces of texts, in order, each text as it is alone.
#[test]
fn many_texts_are_predicted_in_pieces() {
    let roberta = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/roberta");
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(roberta.join(file), folder.path().join(file)).unwrap();
    }
    std::fs::write(folder.path().join(TOKENIZER_FILE), ONE_WORD).unwrap();
    let options =
        InferenceOptions { samples: Some(3), seed: 4, site: Some(DropoutSite::Rank), dropout: Some(0.2), ..plain() };
    let classifier = Classifier::load(folder.path(), &roberta.join("query-value"), options).unwrap();
    let text =
        |line: u64| Text { line, text: vec!["a"; 5 + (line % 17) as usize].join(" "), second: None, choices: None };
    let texts: Vec<Text> = (1..=180).map(text).collect();
    let together = classifier.predict(&texts).unwrap();
    let lengths: Vec<usize> = together.iter().map(|prediction| prediction.tokens).collect();
    assert!(
        chunks_of_rows(&lengths, ROWS_PER_PASS).len() > 1,
        "{} tokens are one piece",
        lengths.iter().sum::<usize>()
    );
    assert_eq!(together.iter().map(|prediction| prediction.line).collect::<Vec<_>>(), (1..=180).collect::<Vec<_>>());
    for place in [0, 100, 179] {
        let alone = &classifier.predict(&texts[place..=place]).unwrap()[0];
        let apart = alone.probabilities.iter().zip(&together[place].probabilities).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f64::max) < 1e-5, "{place}");
        assert!(alone.variance.iter().any(|&variance| variance > 0.0), "nothing is sampled");
    }
    assert!(classifier.predict(&[]).unwrap().is_empty());
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
