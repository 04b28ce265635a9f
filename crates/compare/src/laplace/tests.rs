use std::path::Path;

use bayeslora_adapters::{AdapterSet, Draw, LoraShape, Noise, PosteriorSettings, Stream, TargetMap};
use bayeslora_models::{Bert, Head, classify, initial_adapters, target_slots};
use candle_core::{Device, Tensor};

use super::*;
use crate::member::Member;
use crate::progress::Silent;

type Two = [[f64; 2]; 2];

fn tiny() -> Bert {
    Bert::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/tiny"), &Device::Cpu).unwrap()
}

/// Adapters on every map of the last two blocks and the pooler, `B` not zero.
fn member(bert: &Bert) -> Member {
    let noise = Noise::new(3, Stream::Initial);
    let slots = target_slots(bert, &[1, 2], &TargetMap::ALL).unwrap();
    let posterior = PosteriorSettings::Deterministic;
    let adapters: AdapterSet =
        initial_adapters(bert, &slots, LoraShape::new(3, 6.0).unwrap(), &posterior, &noise).unwrap();
    for (number, (_, parameter)) in adapters.parameters().enumerate() {
        if parameter.name == "lora_B.weight" {
            let ramp = Tensor::arange(0.0_f32, parameter.var.elem_count() as f32, &Device::Cpu).unwrap();
            let wave = (ramp + number as f64).unwrap().sin().unwrap().affine(0.2, 0.0).unwrap();
            parameter.var.set(&wave.reshape(parameter.var.shape()).unwrap()).unwrap();
        }
    }
    let head = Head::initial(bert, 2, &noise).unwrap();
    head.weight.set(&(head.weight.as_detached_tensor() * 20.0).unwrap()).unwrap();
    Member { adapters, head, posterior }
}

fn sentences(bert: &Bert, tokens: &[Vec<u32>]) -> Sentences {
    let labels = (0..).map(|i| i % 2).take(tokens.len()).collect();
    Sentences::of_tokens(bert, tokens, labels, 0, 1, &Silent).unwrap()
}

fn some_tokens(count: u32) -> Vec<Vec<u32>> {
    (0..count).map(|i| (0..2 + i % 5).map(|k| 5 + (i * 7 + k * 3) % 60).collect()).collect()
}

/// `G_b = J_b J_b'` of every map, by automatic differentiation of the parameters themselves; the head's weight and bias are one map.
fn products_of_gradients(bert: &Bert, member: &Member, sentence: &Sentences) -> Vec<Two> {
    let batch = sentence.batch(&[0], &Device::Cpu).unwrap();
    let Member { adapters, head, .. } = member;
    let logits = classify(bert, head, adapters, Draw::Mean, 1, &batch.hidden, &batch.packing).unwrap().logits;
    let gradients: Vec<Vec<Vec<f64>>> = (0..2)
        .map(|class| {
            let store = logits.narrow(2, class, 1).unwrap().sum_all().unwrap().backward().unwrap();
            let flat = |var: &candle_core::Var| -> Vec<f64> {
                let gradient = store.get(var).cloned().unwrap_or_else(|| var.zeros_like().unwrap());
                gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
            };
            let mut maps: Vec<Vec<f64>> = member.parameters().map(|(_, var)| flat(var)).collect();
            let bias = maps.pop().unwrap();
            maps.last_mut().unwrap().extend(bias);
            maps
        })
        .collect();
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let maps = gradients[0].len();
    (0..maps).map(|map| [0, 1].map(|k| [0, 1].map(|l| dot(&gradients[k][map], &gradients[l][map])))).collect()
}

fn times(a: Two, b: Two) -> Two {
    [0, 1].map(|i| [0, 1].map(|j| a[i][0] * b[0][j] + a[i][1] * b[1][j]))
}

fn inverse(a: Two) -> Two {
    let determinant = a[0][0] * a[1][1] - a[0][1] * a[1][0];
    [[a[1][1] / determinant, -a[0][1] / determinant], [-a[1][0] / determinant, a[0][0] / determinant]]
}

fn covariance(gaussian: &GaussianLogits, place: usize) -> Two {
    [0, 1].map(|k| [0, 1].map(|l| gaussian.covariance()[[place, k, l]]))
}

fn assert_close(got: Two, expected: Two, tolerance: f64, what: &str) {
    let size = expected.iter().flatten().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
        assert!((got - expected).abs() < tolerance * size, "{what}: {got} against {expected} of {size}");
    }
}

/// A training set of one sentence of one token has curvature of Kronecker form, so each block is exact: with `L = diag(p) - p p'`,
/// `J (J' L J + lambda I)^-1 J' = G (L G + lambda I)^-1`, and `log det (I + J' L J / lambda) = log det (I + L G / lambda)`.
#[test]
fn one_sentence_of_one_token_has_the_exact_posterior_of_every_block() {
    let bert = tiny();
    let member = member(&bert);
    let network = Network { bert: &bert, from: 1, member: &member };
    let sentence = sentences(&bert, &[vec![7]]);
    let products = products_of_gradients(&bert, &member, &sentence);
    let logits = network.tangents(&sentence.batch(&[0], &Device::Cpu).unwrap(), Reach::Head).unwrap().logits;
    let p = 1.0 / (1.0 + (logits[[0, 1]] - logits[[0, 0]]).exp());
    let curvature = [[p * (1.0 - p), -p * (1.0 - p)], [-p * (1.0 - p), p * (1.0 - p)]];
    for (reach, products) in [(Reach::All, products.as_slice()), (Reach::Head, &products[products.len() - 1..])] {
        let laplace = Laplace::fit(network, &sentence, reach, 1).unwrap();
        for lambda in [0.01, 1.0, 100.0] {
            let (mut expected, mut determinants) = ([[0.0; 2]; 2], 0.0);
            for &product in products {
                let mut middle = times(curvature, product);
                middle[0][0] += lambda;
                middle[1][1] += lambda;
                let part = times(product, inverse(middle));
                expected = [0, 1].map(|k| [0, 1].map(|l| expected[k][l] + part[k][l]));
                determinants += ((middle[0][0] * middle[1][1] - middle[0][1] * middle[1][0]) / (lambda * lambda)).ln();
            }
            let fitted = laplace.clone().with_precision(lambda);
            let gaussian = fitted.gaussian(network, &sentence, &Silent).unwrap();
            // Gradients and rotations are f32.
            assert_close(covariance(&gaussian, 0), expected, 1e-4, &format!("{reach:?} {lambda}"));
            let got = -2.0 * fitted.log_evidence(lambda) - lambda * fitted.square;
            assert!((got - determinants).abs() < 1e-4 * determinants.max(1.0), "{reach:?}: {got} for {determinants}");
        }
    }
}

/// Where the prior is all there is, logits have covariance `J J' / lambda`: also for sentences of several tokens, whose rows add up.
#[test]
fn a_strong_prior_leaves_the_squared_gradients() {
    const LAMBDA: f64 = 1e9;
    let bert = tiny();
    let member = member(&bert);
    let network = Network { bert: &bert, from: 1, member: &member };
    let tokens = some_tokens(5);
    let laplace = Laplace::fit(network, &sentences(&bert, &tokens), Reach::All, 1).unwrap().with_precision(LAMBDA);
    for tokens in &tokens {
        let sentence = sentences(&bert, std::slice::from_ref(tokens));
        let mut expected = [[0.0; 2]; 2];
        for product in products_of_gradients(&bert, &member, &sentence) {
            expected = [0, 1].map(|k| [0, 1].map(|l| expected[k][l] + product[k][l] / LAMBDA));
        }
        let gaussian = laplace.gaussian(network, &sentence, &Silent).unwrap();
        assert_close(covariance(&gaussian, 0), expected, 1e-4, &format!("{} tokens", tokens.len()));
    }
}

#[test]
fn twice_the_data_is_twice_the_curvature() {
    let bert = tiny();
    let member = member(&bert);
    let network = Network { bert: &bert, from: 1, member: &member };
    let tokens = some_tokens(7);
    let fit = |tokens: &[Vec<u32>]| Laplace::fit(network, &sentences(&bert, tokens), Reach::All, 1).unwrap();
    let (once, twice) = (fit(&tokens), fit(&[tokens.clone(), tokens.clone()].concat()));
    for (once, twice) in once.blocks.iter().zip(&twice.blocks) {
        let (once_sum, twice_sum) = (once.outputs.values.sum(), twice.outputs.values.sum());
        assert!((twice_sum - 2.0 * once_sum).abs() <= 1e-5 * twice_sum, "{once_sum} {twice_sum}");
        let (once_sum, twice_sum) = (once.inputs.values.sum(), twice.inputs.values.sum());
        assert!((twice_sum - once_sum).abs() <= 1e-5 * twice_sum, "{once_sum} {twice_sum}");
    }
    for lambda in [0.1, 3.0] {
        let determinants = |laplace: &Laplace, l: f64| -2.0 * laplace.log_evidence(l) - l * laplace.square;
        let (left, right) = (determinants(&once, lambda), determinants(&twice, 2.0 * lambda));
        assert!((left - right).abs() < 1e-3 * left, "{left} {right}");
    }
}

#[test]
fn the_prior_precision_has_the_largest_evidence() {
    let bert = tiny();
    let member = member(&bert);
    let network = Network { bert: &bert, from: 1, member: &member };
    for reach in [Reach::All, Reach::Head] {
        let laplace = Laplace::fit(network, &sentences(&bert, &some_tokens(20)), reach, 1).unwrap();
        let best = laplace.best_precision();
        let top = laplace.log_evidence(best);
        for factor in [0.01, 0.5, 0.99, 1.01, 2.0, 100.0] {
            assert!(laplace.log_evidence(best * factor) < top, "{reach:?}: {best} times {factor}");
        }
        // The derivative that the search uses, by differences.
        for log in [-3.0_f64, 0.0, 4.0] {
            let lambda = log.exp();
            let gamma: f64 = laplace.eigenvalues().map(|value| value / (value + lambda)).sum();
            let slope = (laplace.log_evidence((log + 1e-4).exp()) - laplace.log_evidence((log - 1e-4).exp())) / 2e-4;
            let expected = 0.5 * (gamma - lambda * laplace.square);
            assert!((slope - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{reach:?}: {slope} for {expected}");
        }
    }
}

#[test]
fn predictions_do_not_depend_on_the_batch() {
    let bert = tiny();
    let member = member(&bert);
    let network = Network { bert: &bert, from: 1, member: &member };
    let tokens = some_tokens(200);
    let laplace = Laplace::fit(network, &sentences(&bert, &tokens[..30]), Reach::All, 1).unwrap();
    // 200 sentences of 2 to 6 tokens are two passes.
    let together = laplace.gaussian(network, &sentences(&bert, &tokens), &Silent).unwrap();
    for place in [0, 57, 199] {
        let alone = laplace.gaussian(network, &sentences(&bert, &tokens[place..=place]), &Silent).unwrap();
        assert_close(covariance(&together, place), covariance(&alone, 0), 1e-4, &format!("place {place}"));
        for class in 0..2 {
            assert!((together.mean()[[place, class]] - alone.mean()[[0, class]]).abs() < 1e-5);
        }
    }
}
