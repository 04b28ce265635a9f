//! Activations in memory and in a file: the same numbers, bit by bit, within the budget.
#![cfg(test)]

use std::path::Path;

use bayeslora_adapters::{LoraShape, TargetMap};
use bayeslora_data::Silent;
use bayeslora_inference::methods::from_settings;
use bayeslora_inference::{Budget, FitContext, Predictor, Reading, Resources, Sentences, TrainingSettings};
use bayeslora_models::{Backbone, Encoded, target_slots};
use candle_core::Device;

fn tiny() -> Backbone {
    Backbone::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/tiny"), &Device::Cpu).unwrap()
}

/// Texts of 3 to 10 tokens whose label is the parity of the second; more rows than one pass through the prefix has.
fn sentences(backbone: &Backbone, (split, count): (u8, u32), budget: &Budget) -> Sentences {
    let text = |i: u32| {
        let ids: Vec<u32> =
            [2, 5 + i % 2].into_iter().chain((0..i % 8).map(|k| 20 + (i * 7 + k * 3) % 30)).chain([3]).collect();
        Encoded { segments: vec![0; ids.len()], ids, truncated: false }
    };
    let texts: Vec<Encoded> = (0..count).map(text).collect();
    let labels = (0..count).map(|i| i % 2).collect();
    Sentences::of_encoded(backbone, &texts, labels, split, 1, (budget, &Silent)).unwrap()
}

/// Bytes of the activations of some sentences.
fn bytes(backbone: &Backbone, sentences: &Sentences) -> u64 {
    (4 * sentences.tokens() * backbone.width()) as u64
}

/// Bits of everything that is computed from the activations: means, batches, fits, and every kind of prediction.
fn results(backbone: &Backbone, budget: &Budget) -> Vec<u64> {
    let (train, validation) = (sentences(backbone, (0, 400), budget), sentences(backbone, (1, 60), budget));
    assert!(train.tokens() > 2048);
    let mut bits: Vec<u64> = train.mean_hidden().unwrap().iter().map(|value| value.to_bits()).collect();
    let batch = train.batch(&[7, 3, 399], backbone.device()).unwrap();
    let mut add = |values: Vec<f32>| bits.extend(values.into_iter().map(|value| u64::from(value.to_bits())));
    add(batch.hidden.flatten_all().unwrap().to_vec1().unwrap());
    let slots = target_slots(backbone, &[1, 2], &[TargetMap::Query, TargetMap::Output]).unwrap();
    let training = TrainingSettings { epochs: 1, batch_size: 16, ..Default::default() };
    let settings = "site = 'rank'\ndropout = 0.2\nlinearised = true";
    let laplace = from_settings("laplace", "".parse().unwrap()).unwrap();
    let dropout = from_settings("mc-dropout", settings.parse().unwrap()).unwrap();
    for method in [dropout, laplace] {
        let folder = tempfile::tempdir().unwrap();
        let fitted = method.fit(&FitContext {
            backbone,
            from: 1,
            slots: &slots,
            lora: LoraShape::new(2, 4.0).unwrap(),
            train_head: true,
            language: None,
            training: &training,
            train: &train,
            validation: &validation,
            classes: 2,
            seed: 1,
            folder: folder.path(),
            progress: &Silent,
        });
        let fitted = fitted.unwrap();
        let predictor = Predictor { backbone, from: 1, samples: 5, seed: 3, progress: &Silent };
        for reading in method.readings() {
            add(predictor.logits(&fitted, reading, &validation).unwrap().into_iter().collect());
        }
        assert!(method.readings().iter().any(|reading| *reading != Reading::Mean));
    }
    bits
}

#[test]
fn results_do_not_depend_on_the_budget_and_stay_within_it() {
    let backbone = tiny();
    let ample = Budget::new(1 << 30);
    let expected = results(&backbone, &ample);
    assert_eq!(ample.held(), 0, "what is dropped is given back");
    let (train, validation) = (sentences(&backbone, (0, 400), &ample), sentences(&backbone, (1, 60), &ample));
    let [train, validation] = [&train, &validation].map(|sentences| bytes(&backbone, sentences));
    assert_eq!(ample.held(), train + validation);
    // Nothing fits; the smaller split alone; the larger alone; both.
    for (limit, most) in [(0, 0), (train - 1, validation), (train, train), (train + validation, train + validation)] {
        let budget = Budget::new(limit);
        assert!(results(&backbone, &budget) == expected, "{limit} bytes change the results");
        assert_eq!((budget.most(), budget.held()), (most, 0), "{limit} bytes");
    }
}

#[test]
fn less_memory_than_a_pass_takes_is_one_sentence() {
    let backbone = tiny();
    let resources = Resources { memory: 1 << 20, ..Resources::default() };
    let message = resources.room(&backbone, 10).unwrap_err().to_string();
    assert!(
        message.starts_with("--memory of 1 MiB is less than one pass through this model takes; give at least "),
        "{message}"
    );
    let least: u64 =
        message.split("at least ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
    let enough = Resources { memory: least << 20, ..Resources::default() };
    assert!(enough.room(&backbone, 10).unwrap().limit() < 1 << 20, "the least that would do is told");
    assert!(enough.room(&backbone, 100_000).is_err(), "a longer text takes more");
}
