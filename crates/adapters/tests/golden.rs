//! Every posterior at every scope against its definition in PyTorch (`golden/generate.py`): samples from the same addressed
//! noise, divergence, and the gradient of all of it with respect to input and parameters; gradients also against finite
//! differences.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::Path;

use bayeslora_adapters::{
    Draw, LowRank, Noise, PosteriorSettings, Rows, Sampling, Slot, StochasticAdapter, Stream, TargetMap,
};
use candle_core::{Device, Tensor, Var};
use serde::Deserialize;

/// f32 against f64, relative to the largest entry: sums of some dozens of products, through a square root in C-LoRA.
const TOLERANCE: f64 = 2e-5;

#[derive(Deserialize)]
struct Golden {
    seed: u64,
    slot: GoldenSlot,
    examples: Vec<u64>,
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

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/posteriors.json");
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(golden.cases.len(), 36);
    golden
}

impl Golden {
    fn slot(&self) -> Slot {
        Slot::new(self.slot.block, self.slot.map)
    }

    fn adapter(&self, case: &Case) -> Box<dyn StochasticAdapter> {
        let mut tensors: BTreeMap<String, Tensor> =
            case.tensors.iter().map(|(name, values)| (name.clone(), values.tensor())).collect();
        let (a, b) = (tensors.remove("lora_A.weight").unwrap(), tensors.remove("lora_B.weight").unwrap());
        let shape = (b.dims()[0], a.dims()[1]);
        let lora = LowRank::from_tensors(self.slot(), shape, &a, &b, self.scale).unwrap();
        case.posterior.restored(self.slot(), lora, &tensors).unwrap()
    }

    /// The increment for `x` with the generator's noise, and the divergence.
    fn sampled(&self, adapter: &dyn StochasticAdapter, x: &Tensor) -> (Tensor, Option<Tensor>) {
        let rows = Rows::of_sentences(&self.examples, &self.lengths);
        let (first, end) = self.samples;
        let noise = Noise::new(self.seed, Stream::Training);
        let draw = Draw::Sampled(Sampling { noise, samples: first..end, rows: &rows, with_divergence: true });
        let increment = adapter.increment(self.slot(), x, &draw).unwrap();
        let output = increment.core.broadcast_matmul(&increment.up.t().unwrap()).unwrap();
        ((output * increment.scale).unwrap(), increment.divergence)
    }
}

/// The scalar that the generator differentiates.
fn loss(output: &Tensor, divergence: Option<&Tensor>, weights: &Tensor) -> Tensor {
    let loss = (output * weights).unwrap().sum_all().unwrap();
    divergence.map_or_else(|| loss.clone(), |divergence| (&loss + divergence).unwrap())
}

#[test]
fn samples_divergences_and_gradients_are_those_of_pytorch() {
    let golden = golden();
    for case in &golden.cases {
        let adapter = golden.adapter(case);
        let x = Var::from_tensor(&case.x.tensor()).unwrap();
        let (output, divergence) = golden.sampled(adapter.as_ref(), &x);
        case.increment.assert_close(&output, &case.name);
        assert_eq!(divergence.is_some(), case.divergence.is_some(), "{}", case.name);
        if let (Some(got), Some(expected)) = (&divergence, case.divergence) {
            let value = f64::from(got.to_scalar::<f32>().unwrap());
            assert!((value - expected).abs() <= TOLERANCE * expected, "{}: {value} nats", case.name);
        }
        let gradients = loss(&output, divergence.as_ref(), &case.weights.tensor()).backward().unwrap();
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

/// Central differences along one direction per variable. Increments without noise in the scale are multilinear, so their
/// differences are exact but for rounding; C-LoRA's carry the third derivative times the step squared.
#[test]
fn gradients_are_those_of_finite_differences() {
    const STEP: f64 = 2e-3;
    let golden = golden();
    for case in &golden.cases {
        let adapter = golden.adapter(case);
        let x = Var::from_tensor(&case.x.tensor()).unwrap();
        let weights = case.weights.tensor();
        let value = || {
            let (output, divergence) = golden.sampled(adapter.as_ref(), &x);
            loss(&output, divergence.as_ref(), &weights)
        };
        let gradients = value().backward().unwrap();
        for (name, var) in adapter.parameters().into_iter().map(|p| (p.name, p.var)).chain([("x", &x)]) {
            let gradient = gradients.get(var).unwrap();
            // Along the gradient's signs, at the length of one entry: slopes add up instead of cancelling.
            let count = var.elem_count() as f64;
            let direction = (gradient.sign().unwrap() / count.sqrt()).unwrap();
            let slope = f64::from((gradient * &direction).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap());
            let start = var.as_detached_tensor().copy().unwrap();
            let at = |step: f64| {
                var.set(&(&start + (&direction * step).unwrap()).unwrap()).unwrap();
                f64::from(value().to_scalar::<f32>().unwrap())
            };
            let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            var.set(&start).unwrap();
            assert!((difference - slope).abs() < 5e-3 * slope, "{}, {name}: {difference} against {slope}", case.name);
        }
    }
}
