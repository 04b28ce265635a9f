//! The real backbone against transformers and PEFT: `bayeslora predict` of an adapter as PEFT saved it.
#![cfg(test)]

use std::path::Path;

use bayeslora_adapters::Coupling;
use bayeslora_data::assets::{AssetId, AssetOptions, Assets};
use bayeslora_inference::{Classifier, InferenceOptions, Text};

/// The bar for logits of an unchanged PEFT adapter.
const TOLERANCE: f64 = 1e-4;

#[test]
fn predictions_of_a_peft_adapter_are_those_of_pytorch() {
    let assets = Assets::new(&AssetOptions::from_env()).unwrap();
    let model = assets.open(AssetId::AllMiniLmL6V2, &mut |_| {}).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/minilm");
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(golden.join(name)).unwrap()).unwrap()
    };
    let options = InferenceOptions {
        samples: Some(0),
        coupling: Coupling::Independent,
        adaptive: None,
        linearised: false,
        seed: 0,
        max_tokens: Some(128),
        choices: Vec::new(),
        readout: None,
        normalisation: None,
        completions: false,
        site: None,
        scope: None,
        dropout: None,
        resources: bayeslora_inference::Resources::default(),
    };
    let classifier = Classifier::load(model.path(), &golden.join("query-value"), options).unwrap();
    let texts = json("expected.json")["texts"].as_array().unwrap().clone();
    let text = |(line, text): (u64, &serde_json::Value)| Text {
        line,
        text: text.as_str().unwrap().to_owned(),
        second: None,
        choices: None,
    };
    let texts: Vec<Text> = (1..).zip(&texts).map(text).collect();
    let predictions = classifier.predict(&texts).unwrap();
    let expected = json("query-value/expected.json");
    for (prediction, expected) in predictions.iter().zip(expected.as_array().unwrap()) {
        for (got, expected) in prediction.logits.iter().zip(expected.as_array().unwrap()) {
            let expected = expected.as_f64().unwrap();
            assert!((got - expected).abs() < TOLERANCE * expected.abs().max(1.0), "{got} against {expected}");
        }
    }
}
