//! What every method of the registry owes: it learns, repeats itself, depends on its seed, and offers what it announces.
#![cfg(test)]

use std::path::Path;

use bayeslora_adapters::{LoraShape, TargetMap};
use bayeslora_compare::methods::{self, Method, Reading};
use bayeslora_compare::{Bench, Error, Fitted, Predictor, Sentences, Silent, TrainingSettings};
use bayeslora_models::{Bert, target_slots};
use candle_core::Device;
use ndarray::{Array3, Axis};

/// The parameters without a default, for every kind.
fn required(kind: &str) -> &'static str {
    match kind {
        "mc-dropout" => "site = 'rank'\ndropout = 0.2",
        "ensemble" => "members = 2",
        _ => "",
    }
}

fn method(kind: &str, parameters: &str) -> Result<Box<dyn Method>, String> {
    methods::from_settings(kind, parameters.parse().unwrap())
}

fn tiny() -> Bert {
    Bert::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/tiny"), &Device::Cpu).unwrap()
}

/// Sentences whose label is the second token's parity, with activations below block 1.
fn sentences(bert: &Bert, split: u8, count: u32) -> Sentences {
    let sentence = |i: u32| -> Vec<u32> {
        std::iter::once(2).chain([5 + i % 2]).chain((0..i % 4).map(|k| 20 + (i * 7 + k * 3) % 30)).chain([3]).collect()
    };
    let tokens: Vec<Vec<u32>> = (0..count).map(sentence).collect();
    let labels = (0..count).map(|i| i % 2).collect();
    Sentences::of_tokens(bert, &tokens, labels, split, 1, &Silent).unwrap()
}

struct Fixture {
    bert: Bert,
    train: Sentences,
    validation: Sentences,
    training: TrainingSettings,
}

impl Fixture {
    fn new() -> Self {
        let bert = tiny();
        let (train, validation) = (sentences(&bert, 0, 96), sentences(&bert, 1, 16));
        let training = TrainingSettings { epochs: 4, batch_size: 8, learning_rate: 1e-2, ..Default::default() };
        Self { bert, train, validation, training }
    }

    fn fit(&self, method: &dyn Method, seed: u64) -> Result<Fitted, Error> {
        let folder = tempfile::tempdir().unwrap();
        let slots =
            target_slots(&self.bert, &[1, 2], &[TargetMap::Query, TargetMap::Value, TargetMap::Output]).unwrap();
        method.fit(&Bench {
            bert: &self.bert,
            from: 1,
            slots: &slots,
            lora: LoraShape::new(4, 8.0).unwrap(),
            training: &self.training,
            train: &self.train,
            validation: &self.validation,
            classes: 2,
            seed,
            folder: folder.path(),
            progress: &Silent,
        })
    }

    fn logits(&self, fitted: &Fitted, reading: Reading) -> Array3<f32> {
        let predictor = Predictor { bert: &self.bert, from: 1, samples: 6, seed: 5, progress: &Silent };
        predictor.logits(fitted, reading, &self.validation).unwrap()
    }
}

fn accuracy(logits: &Array3<f32>, labels: &[u32]) -> f64 {
    let mean = logits.mean_axis(Axis(0)).unwrap();
    let right = mean.outer_iter().zip(labels).filter(|(row, label)| u32::from(row[1] > row[0]) == **label).count();
    right as f64 / labels.len() as f64
}

#[test]
fn every_method_learns_repeats_itself_and_depends_on_its_seed() {
    let fixture = Fixture::new();
    for kind in methods::kinds() {
        let method = method(kind, required(kind)).unwrap();
        let (first, again, other) =
            (fixture.fit(method.as_ref(), 1), fixture.fit(method.as_ref(), 1), fixture.fit(method.as_ref(), 2));
        let (first, again, other) = (first.unwrap(), again.unwrap(), other.unwrap());
        assert_eq!(u32::try_from(first.members.len()).unwrap(), method.members(), "{kind}");
        assert_eq!(first.record.best_epoch.len(), first.members.len(), "{kind}");
        assert!(!method.readings().is_empty(), "{kind}");
        for reading in method.readings() {
            let logits = fixture.logits(&first, reading);
            let samples = match reading {
                Reading::Mean => 1,
                Reading::Sampled => 6,
                Reading::Members => first.members.len(),
            };
            assert_eq!(logits.dim(), (samples, fixture.validation.len(), 2), "{kind}, {reading:?}");
            assert!(logits.iter().all(|logit| logit.is_finite()), "{kind}, {reading:?}");
            // Chance is 0.5: sixteen right of sixteen has probability 2e-5 under it, fifteen 2e-4.
            let accuracy = accuracy(&logits, fixture.validation.labels());
            assert!(accuracy > 0.9, "{kind}, {reading:?}: accuracy {accuracy}");
            assert_eq!(logits, fixture.logits(&again, reading), "{kind}, {reading:?}: another result of the same seed");
            assert_ne!(logits, fixture.logits(&other, reading), "{kind}, {reading:?}: the seed changes nothing");
            if samples > 1 {
                assert_ne!(logits.index_axis(Axis(0), 0), logits.index_axis(Axis(0), 1), "{kind}: equal samples");
            }
        }
    }
}

#[test]
fn settings_name_the_kind_and_unknown_parameters_are_refused() {
    for kind in methods::kinds() {
        let settings = method(kind, required(kind)).unwrap().settings();
        assert_eq!(settings["kind"], kind);
        assert!(settings["parameters"].is_object(), "{settings}");
        let problem = method(kind, &format!("{}\nno-such-parameter = 1", required(kind))).unwrap_err();
        assert!(problem.contains("no-such-parameter"), "{kind}: {problem}");
    }
    let problem = method("mc-dropot", "").unwrap_err();
    assert!(problem.contains("did you mean \"mc-dropout\"?"), "{problem}");
}

#[test]
fn a_fit_that_diverges_says_so() {
    let mut fixture = Fixture::new();
    fixture.training.learning_rate = 1e38;
    let problem = fixture.fit(method("mle", "").unwrap().as_ref(), 1).unwrap_err();
    assert!(matches!(problem, Error::Diverged { .. }), "{problem}");
    assert!(problem.to_string().contains("step"), "{problem}");
    // One step, whose own loss is still fine: the validation that follows it is not.
    fixture.training = TrainingSettings { epochs: 1, batch_size: 96, warmup: 0.0, ..fixture.training };
    let problem = fixture.fit(method("mle", "").unwrap().as_ref(), 1).unwrap_err();
    assert!(matches!(problem, Error::Diverged { step: 1, .. }), "{problem}");
}
