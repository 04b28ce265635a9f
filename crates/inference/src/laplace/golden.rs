//! Laplace-LoRA against its formulae in PyTorch and PEFT (`tests/golden/laplace.py`), which invert every block as a dense matrix: factors,
//! evidence and its optimum, and Gaussians over logits. The adapters are PEFT's of the models crate's tests.
//!
//! What is compared is the definition of the module above: gradients are summed over the rows of all sentences, inputs averaged over them. The
//! paper's equation (arXiv 2308.13111) sums over examples and knows no tokens; its code sums over all tokens in both factors and divides the
//! inputs' by the number of sentences, so that its curvature is about the one here times the mean length of a sentence.
//! Prior, evidence and predictive are the paper's. Unlike it the head has a block too, its bias within, and nothing is damped or of low rank.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bayeslora_models::{Backbone, SavedAdapter};
use candle_core::{Device, Tensor};
use serde::Deserialize;

use super::*;
use bayeslora_data::Silent;

#[derive(Deserialize)]
struct Golden {
    rounding: Rounding,
    cases: Vec<Case>,
}

/// How far the same sums are with the network in f32, as shares of the largest entry; the largest of all cases.
#[derive(Deserialize)]
struct Rounding {
    mean: f64,
    factors: f64,
    covariance: f64,
}

/// The network is in f32 here too, but adds in another order, and rotates and weights in f32: so many times PyTorch's own rounding.
const MARGIN: f64 = 10.0;

#[derive(Deserialize)]
struct Case {
    model: String,
    adapter: String,
    ids: Vec<Vec<u32>>,
    /// The first so many sentences are the training set.
    train: usize,
    maps: Vec<String>,
    /// Logits, `[sentences, classes]`.
    mean: Vec<f64>,
    /// Of the outputs' and the inputs' factor of every map.
    traces: BTreeMap<String, [f64; 2]>,
    reaches: BTreeMap<String, Reached>,
    approximations: BTreeMap<String, Approximation>,
}

#[derive(Deserialize)]
struct Reached {
    precisions: Vec<f64>,
    square: f64,
    best_precision: f64,
    evidence: Vec<f64>,
    /// Of each precision, `[sentences, classes, classes]`.
    covariance: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Approximation {
    best_precision: f64,
}

fn tests(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// The golden values, and tolerances. Those of factors hold for the evidence and its optimum too: a curvature larger by a share e moves the
/// logarithms of both by less than e.
fn golden() -> (Vec<Case>, Rounding) {
    let golden: Golden = serde_json::from_slice(&std::fs::read(tests("tests/golden/laplace.json")).unwrap()).unwrap();
    let Rounding { mean, factors, covariance } = golden.rounding;
    let tolerances = Rounding { mean: MARGIN * mean, factors: MARGIN * factors, covariance: MARGIN * covariance };
    (golden.cases, tolerances)
}

/// `V diag(values) V'`.
fn product(eigen: &Eigen) -> Vec<f64> {
    let vectors = eigen.vectors.mapv(f64::from);
    (&vectors * &eigen.values).dot(&vectors.t()).into_iter().collect()
}

/// Every entry, to a share of the largest.
fn assert_close(got: impl IntoIterator<Item = f64>, expected: &[f64], tolerance: f64, what: &str) {
    let got: Vec<f64> = got.into_iter().collect();
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            (got - expected).abs() <= tolerance * largest,
            "{what}, entry {index}: {got} for {expected} of {largest}"
        );
    }
}

struct Fixture {
    backbone: Backbone,
    saved: SavedAdapter,
    from: usize,
    train: Sentences,
    all: Sentences,
}

impl Fixture {
    fn new(case: &Case) -> Self {
        let folder = tests("../models/tests/golden").join(&case.model);
        let backbone = Backbone::load(&folder, &Device::Cpu).unwrap();
        let saved = SavedAdapter::load(&folder.join(&case.adapter), &backbone, &folder, Ok).unwrap();
        let from = saved.adapters.first_block().unwrap();
        let sentences =
            |tokens: &[Vec<u32>]| Sentences::of_tokens(&backbone, tokens, Vec::new(), 0, from, &Silent).unwrap();
        let (train, all) = (sentences(&case.ids[..case.train]), sentences(&case.ids));
        Self { backbone, saved, from, train, all }
    }

    fn network(&self) -> Network<'_> {
        let Self { backbone, saved, from, .. } = self;
        Network { backbone, from: *from, adapters: &saved.adapters, head: &saved.head }
    }

    fn fit(&self, reach: Reach) -> Laplace {
        Laplace::fit(self.network(), &self.train, (reach, 1), &Silent).unwrap()
    }

    /// PEFT's names of the maps of every block.
    fn maps(&self) -> Vec<String> {
        let adapters = self.saved.adapters.iter();
        let names = adapters
            .flat_map(|(slot, _)| ["lora_A", "lora_B"].map(|m| format!("{}.{m}", self.backbone.module_path(slot))));
        names.chain(["classifier".to_owned()]).collect()
    }
}

#[test]
fn factors_are_those_of_passes_back_for_each_label() {
    let tensors = candle_core::safetensors::load(tests("tests/golden/laplace.safetensors"), &Device::Cpu).unwrap();
    let (cases, tolerance) = golden();
    let mut compared = 0;
    for case in cases {
        let fixture = Fixture::new(&case);
        let laplace = fixture.fit(Reach::All);
        let names = fixture.maps();
        assert_eq!(BTreeSet::from_iter(&names), BTreeSet::from_iter(&case.maps));
        assert_eq!(names.len(), laplace.blocks.len());
        for (name, block) in names.iter().zip(&laplace.blocks) {
            for (side, eigen, trace) in
                [("outputs", &block.outputs, case.traces[name][0]), ("inputs", &block.inputs, case.traces[name][1])]
            {
                let name = format!("{}/{}/{name}.{side}", case.model, case.adapter);
                assert_close([eigen.values.sum()], &[trace], tolerance.factors, &name);
                let Some(expected) = tensors.get(&name) else { continue };
                let values = |t: &Tensor| -> Vec<f64> {
                    t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
                };
                assert_close(product(eigen), &values(expected), tolerance.factors, &name);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, tensors.len());
}

#[test]
fn evidence_and_predictive_are_those_of_dense_inverses() {
    let (cases, tolerance) = golden();
    for case in cases {
        for (title, expected) in &case.reaches {
            let what = format!("{}/{}, {title}", case.model, case.adapter);
            let mut fixture = Fixture::new(&case);
            if title == "all, frozen head" {
                fixture.saved.head = fixture.saved.head.clone().frozen();
            }
            let laplace = fixture.fit(if title == "head" { Reach::Head } else { Reach::All });
            assert_close([laplace.square], &[expected.square], tolerance.mean, &format!("{what}: squared weights"));
            let best = laplace.best_precision();
            assert_close([best], &[expected.best_precision], tolerance.factors, &format!("{what}: best precision"));
            for ((&precision, &evidence), covariance) in
                expected.precisions.iter().zip(&expected.evidence).zip(&expected.covariance)
            {
                let what = format!("{what}, precision {precision}");
                assert_close([laplace.log_evidence(precision)], &[evidence], tolerance.factors, &what);
                let fitted = laplace.clone().with_precision(precision);
                let gaussian = fitted.gaussian(fixture.network(), &fixture.all, &Silent).unwrap();
                assert_close(gaussian.mean().iter().copied(), &case.mean, tolerance.mean, &what);
                let sentences = gaussian.covariance();
                for (got, expected) in
                    sentences.outer_iter().zip(covariance.chunks_exact(sentences.len() / case.ids.len()))
                {
                    assert_close(got.iter().copied(), expected, tolerance.covariance, &what);
                }
            }
        }
        // The other conventions are no rounding of this one.
        let best = case.approximations["expand"].best_precision;
        for other in ["tokens", "sentences", "reduce", "exact"] {
            let other = case.approximations[other].best_precision;
            assert!((other / best - 1.0).abs() > 10.0 * tolerance.factors, "{other} for {best}");
        }
    }
}
