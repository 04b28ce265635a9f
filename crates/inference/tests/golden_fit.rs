//! One small fit whose logits are known: whatever moves a number of a fit moves these.
//!
//! Processors round sums in different orders, so values agree to a tolerance, not to the bit. The second test holds the tolerance
//! between what rounding does to these logits and what a change of the computation does.
#![cfg(test)]

use std::path::Path;

use bayeslora_adapters::{LoraShape, TargetMap};
use bayeslora_data::Silent;
use bayeslora_inference::{FitContext, Predictor, Reading, Sentences, TrainingSettings, methods};
use bayeslora_models::{Backbone, target_slots};
use candle_core::Device;

/// Largest difference of a logit from its committed value.
const TOLERANCE: f32 = 2e-5;

/// What the fit depends on and may be changed by a test.
struct Changes {
    seed: u64,
    alpha: f64,
    learning_rate: f64,
}

const AS_COMMITTED: Changes = Changes { seed: 1, alpha: 8.0, learning_rate: 2e-3 };

/// Logits of 8 sentences at the mean and in three samples, after 6 steps of `mc-dropout` on the tiny encoder of `bayeslora-models`.
fn logits(changes: &Changes) -> Vec<f32> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/tiny");
    let backbone = Backbone::load(&model, &Device::Cpu).unwrap();
    let sentences = |split, count: u32| {
        let sentence = |i: u32| -> Vec<u32> {
            let words = (0..i % 4).map(|k| 20 + (i * 7 + k * 3) % 30);
            [2, 5 + i % 2].into_iter().chain(words).chain([3]).collect()
        };
        let tokens: Vec<Vec<u32>> = (0..count).map(sentence).collect();
        Sentences::of_tokens(&backbone, &tokens, (0..count).map(|i| i % 2).collect(), split, 1, &Silent).unwrap()
    };
    let (train, validation) = (sentences(0, 48), sentences(1, 8));
    let folder = tempfile::tempdir().unwrap();
    let context = FitContext {
        backbone: &backbone,
        from: 1,
        slots: &target_slots(&backbone, &[1, 2], &[TargetMap::Query, TargetMap::Value]).unwrap(),
        lora: LoraShape::new(4, changes.alpha).unwrap(),
        train_head: true,
        training: &TrainingSettings {
            epochs: 1,
            batch_size: 8,
            learning_rate: changes.learning_rate,
            ..TrainingSettings::default()
        },
        train: &train,
        validation: &validation,
        classes: 2,
        language: None,
        seed: changes.seed,
        folder: folder.path(),
        progress: &Silent,
    };
    let method = methods::from_settings("mc-dropout", "site = 'rank'\ndropout = 0.2".parse().unwrap()).unwrap();
    let fitted = method.fit(&context).unwrap();
    let predictor = Predictor { backbone: &backbone, from: 1, samples: 3, seed: 5, progress: &Silent };
    let read = |reading| predictor.logits(&fitted, reading, &validation).unwrap().into_iter();
    read(Reading::Mean).chain(read(Reading::Sampled)).collect()
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

#[test]
fn a_fit_gives_the_numbers_it_always_gave() {
    let committed: Vec<f32> = serde_json::from_str(include_str!("golden/fit.json")).unwrap();
    let found = logits(&AS_COMMITTED);
    assert!(
        committed.len() == found.len() && largest_difference(&committed, &found) < TOLERANCE,
        "the logits of a fit are not what they were. If that is meant, raise COMPUTATION in crates/compare/src/run/keys.rs, so that \
         units are fitted anew, and put these into crates/inference/tests/golden/fit.json:\n{}",
        serde_json::to_string(&found).unwrap()
    );
}

/// The scale moved by one unit in the last place of an f32 stands for another order of sums.
#[test]
fn the_tolerance_is_above_rounding_and_below_changes() {
    let found = logits(&AS_COMMITTED);
    let difference = |changes: Changes| largest_difference(&found, &logits(&changes));
    let rounded = difference(Changes { alpha: 8.0 * (1.0 + f64::from(f32::EPSILON)), ..AS_COMMITTED });
    assert!(rounded < TOLERANCE / 10.0, "rounding moves a logit by {rounded}");
    for changes in [
        Changes { seed: 2, ..AS_COMMITTED },
        Changes { learning_rate: 1.01 * AS_COMMITTED.learning_rate, ..AS_COMMITTED },
        Changes { alpha: 8.1, ..AS_COMMITTED },
    ] {
        let (seed, alpha, rate) = (changes.seed, changes.alpha, changes.learning_rate);
        let moved = difference(changes);
        assert!(moved > 2.0 * TOLERANCE, "seed {seed}, alpha {alpha}, rate {rate}: a logit moves by {moved} only");
    }
}
