//! AdamW, SGD, clipping and the schedule against torch and transformers (`golden/optimiser.py`), step by step.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::Path;

use bayeslora_inference::{Optimiser, Rule, linear_schedule};
use candle_core::{DType, Device, Tensor, Var};
use serde::Deserialize;

/// f32 against f64 over 23 steps whose updates are at most 0.2 of values of order 1.
const TOLERANCE: f64 = 5e-6;

#[derive(Deserialize)]
struct Golden {
    rate: f64,
    sgd_rate: f64,
    decay: f64,
    clip_norm: f64,
    warmup: f64,
    shapes: BTreeMap<String, Vec<usize>>,
    initial: BTreeMap<String, Vec<f64>>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    gradients: BTreeMap<String, Vec<f64>>,
    norm: f64,
    parameters: BTreeMap<String, Vec<f64>>,
}

#[test]
fn parameters_follow_those_of_torch() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/optimiser.json");
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let tensor = |name: &str, values: &[f64]| {
        let shape = golden.shapes[name].as_slice();
        Tensor::from_slice(values, shape, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
    };
    let names = ["first", "second", "sgd"];
    let vars = names.map(|name| Var::from_tensor(&tensor(name, &golden.initial[name])).unwrap());
    let adamw = Rule::AdamW { rate: golden.rate, decay: golden.decay };
    let rules = [adamw, adamw, Rule::Sgd { rate: golden.sgd_rate }];
    // A parameter without a part in the loss stays, decay or not.
    let idle = Var::from_slice(&[1.0_f32, 2.0], 2, &Device::Cpu).unwrap();
    let mut optimiser = Optimiser::new(vars.iter().cloned().zip(rules).chain([(idle.clone(), adamw)])).unwrap();
    let total = u32::try_from(golden.steps.len()).unwrap();
    let mut clipped = 0;
    for (number, step) in (0..total).zip(&golden.steps) {
        let given = names.iter().map(|name| Some(tensor(name, &step.gradients[*name])));
        let gradients: Vec<Option<Tensor>> = given.chain([None]).collect();
        let factor = linear_schedule(number, total, golden.warmup);
        let norm = optimiser.step(&gradients, factor, golden.clip_norm).unwrap();
        assert!((norm - step.norm).abs() < 1e-6 * step.norm, "step {number}: norm {norm}, not {}", step.norm);
        clipped += usize::from(norm > golden.clip_norm);
        for (name, var) in names.iter().zip(&vars) {
            let got = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (index, (&got, &expected)) in got.iter().zip(&step.parameters[*name]).enumerate() {
                let difference = (f64::from(got) - expected).abs();
                assert!(difference < TOLERANCE, "step {number}, {name}[{index}]: {got} against {expected}");
            }
        }
    }
    assert_eq!(idle.to_vec1::<f32>().unwrap(), [1.0, 2.0]);
    assert!(0 < clipped && clipped < golden.steps.len(), "the steps show clipping and its absence: {clipped} clipped");
}
