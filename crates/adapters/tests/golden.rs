//! Every posterior at every scope against its definition in PyTorch (`golden/generate.py`): samples from the same addressed
//! noise, divergence, and the gradient of all of it with respect to input and parameters.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::Path;

use bayeslora_adapters::{Draw, LowRank, Noise, PosteriorSettings, Rows, Sampling, Slot, Stream, TargetMap};
use candle_core::{Device, Tensor, Var};
use serde::Deserialize;

/// f32 against f64, relative to the largest entry: sums of some dozens of products, through a square root in C-LoRA.
const TOLERANCE: f64 = 2e-5;

#[derive(Deserialize)]
struct Golden {
    seed: u64,
    slot: GoldenSlot,
    examples: Vec<u32>,
    lengths: Vec<usize>,
    samples: (u32, u32),
    scale: f64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct GoldenSlot {
    block: u8,
    map: TargetMap,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    posterior: PosteriorSettings,
    tensors: BTreeMap<String, Values>,
    x: Values,
    weights: Values,
    increment: Values,
    divergence: Option<f64>,
    gradients: BTreeMap<String, Values>,
}

#[derive(Deserialize)]
struct Values {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Values {
    fn tensor(&self) -> Tensor {
        let values = Tensor::from_slice(&self.values, self.shape.as_slice(), &Device::Cpu).unwrap();
        values.to_dtype(candle_core::DType::F32).unwrap()
    }

    fn assert_close(&self, got: &Tensor, what: &str) {
        assert_eq!(got.dims(), self.shape, "{what}");
        let got = got.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let largest = self.values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        for (index, (&got, &expected)) in got.iter().zip(&self.values).enumerate() {
            let got = f64::from(got);
            assert!((got - expected).abs() <= TOLERANCE * largest, "{what}, entry {index}: {got} against {expected}");
        }
    }
}

#[test]
fn samples_divergences_and_gradients_are_those_of_pytorch() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/posteriors.json");
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let slot = Slot::new(golden.slot.block, golden.slot.map);
    let rows = Rows::of_sentences(&golden.examples, &golden.lengths);
    assert_eq!(golden.cases.len(), 36);
    for case in &golden.cases {
        let mut tensors: BTreeMap<String, Tensor> =
            case.tensors.iter().map(|(name, values)| (name.clone(), values.tensor())).collect();
        let (a, b) = (tensors.remove("lora_A.weight").unwrap(), tensors.remove("lora_B.weight").unwrap());
        let shape = (b.dims()[0], a.dims()[1]);
        let lora = LowRank::from_tensors(slot, shape, &a, &b, golden.scale).unwrap();
        let adapter = case.posterior.restored(slot, lora, &tensors).unwrap();
        let x = Var::from_tensor(&case.x.tensor()).unwrap();

        let (first, end) = golden.samples;
        let noise = Noise::new(golden.seed, Stream::Training);
        let draw = Draw::Sampled(Sampling { noise, samples: first..end, rows: &rows, with_divergence: true });
        let increment = adapter.increment(slot, &x, &draw).unwrap();
        let output = increment.core.broadcast_matmul(&increment.up.t().unwrap()).unwrap();
        let output = (output * increment.scale).unwrap();
        case.increment.assert_close(&output, &case.name);

        let mut loss = (&output * case.weights.tensor()).unwrap().sum_all().unwrap();
        assert_eq!(increment.divergence.is_some(), case.divergence.is_some(), "{}", case.name);
        if let (Some(got), Some(expected)) = (&increment.divergence, case.divergence) {
            let value = f64::from(got.to_scalar::<f32>().unwrap());
            assert!((value - expected).abs() <= TOLERANCE * expected, "{}: {value} nats", case.name);
            loss = (loss + got).unwrap();
        }
        let gradients = loss.backward().unwrap();
        let vars = adapter.parameters().into_iter().map(|p| (p.name, p.var)).chain([("x", &x)]);
        let mut compared = 0;
        for (name, var) in vars {
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("{}: no gradient of {name}", case.name));
            case.gradients[name].assert_close(gradient, &format!("{}: gradient of {name}", case.name));
            compared += 1;
        }
        assert_eq!(compared, case.gradients.len(), "{}", case.name);
    }
}
