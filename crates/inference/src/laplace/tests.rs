use std::path::Path;

use bayeslora_adapters::{AdapterSet, Draw, LoraShape, Noise, PosteriorSettings, Stream};
use bayeslora_models::{Backbone, Head, SavedAdapter, classify, initial_adapters, save_adapter, target_slots};
use candle_core::{Device, Tensor};

use super::*;
use crate::member::Member;
use bayeslora_data::Silent;

type Two = [[f64; 2]; 2];

fn golden(model: &str) -> Backbone {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden").join(model);
    Backbone::load(&folder, &Device::Cpu).unwrap()
}

fn tiny() -> Backbone {
    golden("tiny")
}

/// Adapters on every map of the last two blocks and the pooler, `B` not zero, two classes.
fn member(backbone: &Backbone) -> Member {
    member_of(backbone, 2)
}

fn member_of(backbone: &Backbone, classes: usize) -> Member {
    let noise = Noise::new(3, Stream::Initial);
    let slots = target_slots(backbone, &[1, 2], &backbone.maps()).unwrap();
    let posterior = PosteriorSettings::Deterministic;
    let adapters: AdapterSet =
        initial_adapters(backbone, &slots, LoraShape::new(3, 6.0).unwrap(), &posterior, &noise).unwrap();
    for (number, (_, parameter)) in adapters.parameters().enumerate() {
        if parameter.name == "lora_B.weight" {
            let ramp = Tensor::arange(0.0_f32, parameter.var.elem_count() as f32, &Device::Cpu).unwrap();
            let wave = (ramp + number as f64).unwrap().sin().unwrap().affine(0.2, 0.0).unwrap();
            parameter.var.set(&wave.reshape(parameter.var.shape()).unwrap()).unwrap();
        }
    }
    let head = Head::initial(backbone, classes, &noise).unwrap();
    head.weight.set(&(head.weight.as_detached_tensor() * 20.0).unwrap()).unwrap();
    Member { adapters, head, posterior }
}

fn network<'a>(backbone: &'a Backbone, member: &'a Member) -> Network<'a> {
    Network { backbone, from: 1, adapters: &member.adapters, head: &member.head }
}

fn fit(network: Network<'_>, train: &Sentences, reach: Reach) -> Laplace {
    Laplace::fit(network, train, (reach, 1), &Silent).unwrap()
}

fn sentences(backbone: &Backbone, tokens: &[Vec<u32>]) -> Sentences {
    let labels = (0..).map(|i| i % 2).take(tokens.len()).collect();
    Sentences::of_tokens(backbone, tokens, labels, 0, 1, &Silent).unwrap()
}

fn some_tokens(count: u32) -> Vec<Vec<u32>> {
    (0..count).map(|i| (0..2 + i % 5).map(|k| 5 + (i * 7 + k * 3) % 60).collect()).collect()
}

/// `G_b = J_b J_b'` of every map, by automatic differentiation of the parameters themselves; the head's weight and bias are one map.
fn products_of_gradients(backbone: &Backbone, member: &Member, sentence: &Sentences) -> Vec<Two> {
    let batch = sentence.batch(&[0], &Device::Cpu).unwrap();
    let Member { adapters, head, .. } = member;
    let logits = classify(backbone, head, adapters, Draw::Mean, 1, &batch.hidden, &batch.packing).unwrap().logits;
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

/// Without what moves both logits alike: `P a P` with `P = I - 1 1' / 2`.
fn centred(a: Two) -> Two {
    let half = 0.25 * (a[0][0] + a[1][1] - a[0][1] - a[1][0]);
    [[half, -half], [-half, half]]
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
    let backbone = tiny();
    let member = member(&backbone);
    let network = network(&backbone, &member);
    let sentence = sentences(&backbone, &[vec![7]]);
    let products = products_of_gradients(&backbone, &member, &sentence);
    let logits = network
        .tangents(&sentence.batch(&[0], &Device::Cpu).unwrap(), Reach::Head, Directions::Contrasts)
        .unwrap()
        .logits;
    let p = 1.0 / (1.0 + (logits[[0, 1]] - logits[[0, 0]]).exp());
    let curvature = [[p * (1.0 - p), -p * (1.0 - p)], [-p * (1.0 - p), p * (1.0 - p)]];
    for (reach, products) in [(Reach::All, products.as_slice()), (Reach::Head, &products[products.len() - 1..])] {
        let laplace = fit(network, &sentence, reach);
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
            assert_close(covariance(&gaussian, 0), centred(expected), 1e-4, &format!("{reach:?} {lambda}"));
            let got = -2.0 * fitted.log_evidence(lambda) - lambda * fitted.square;
            assert!((got - determinants).abs() < 1e-4 * determinants.max(1.0), "{reach:?}: {got} for {determinants}");
        }
    }
}

/// Where the prior is all there is, logits have covariance `J J' / lambda`: also for sentences of several tokens, whose rows add up.
#[test]
fn a_strong_prior_leaves_the_squared_gradients() {
    const LAMBDA: f64 = 1e9;
    let backbone = tiny();
    let member = member(&backbone);
    let network = network(&backbone, &member);
    let tokens = some_tokens(5);
    let laplace = fit(network, &sentences(&backbone, &tokens), Reach::All).with_precision(LAMBDA);
    for tokens in &tokens {
        let sentence = sentences(&backbone, std::slice::from_ref(tokens));
        let mut expected = [[0.0; 2]; 2];
        for product in products_of_gradients(&backbone, &member, &sentence) {
            expected = [0, 1].map(|k| [0, 1].map(|l| expected[k][l] + product[k][l] / LAMBDA));
        }
        let gaussian = laplace.gaussian(network, &sentence, &Silent).unwrap();
        assert_close(covariance(&gaussian, 0), centred(expected), 1e-4, &format!("{} tokens", tokens.len()));
    }
}

#[test]
fn twice_the_data_is_twice_the_curvature() {
    let backbone = tiny();
    let member = member(&backbone);
    let network = network(&backbone, &member);
    let tokens = some_tokens(7);
    let of = |tokens: &[Vec<u32>]| fit(network, &sentences(&backbone, tokens), Reach::All);
    let (once, twice) = (of(&tokens), of(&[tokens.clone(), tokens.clone()].concat()));
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
    let backbone = tiny();
    let member = member(&backbone);
    let network = network(&backbone, &member);
    for reach in [Reach::All, Reach::Head] {
        let laplace = fit(network, &sentences(&backbone, &some_tokens(20)), reach);
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
    let backbone = tiny();
    let member = member(&backbone);
    let network = network(&backbone, &member);
    let tokens = some_tokens(200);
    let laplace = fit(network, &sentences(&backbone, &tokens[..30]), Reach::All);
    // 200 sentences of 2 to 6 tokens are two passes.
    let together = laplace.gaussian(network, &sentences(&backbone, &tokens), &Silent).unwrap();
    for place in [0, 57, 199] {
        let alone = laplace.gaussian(network, &sentences(&backbone, &tokens[place..=place]), &Silent).unwrap();
        assert_close(covariance(&together, place), covariance(&alone, 0), 1e-4, &format!("place {place}"));
        for class in 0..2 {
            assert!((together.mean()[[place, class]] - alone.mean()[[0, class]]).abs() < 1e-5);
        }
    }
}

#[test]
fn directions_are_what_they_say() {
    for p in [vec![0.2, 0.8], vec![0.7, 1e-9, 0.3 - 1e-9], vec![1.0, 0.0, 0.0], vec![0.1, 0.2, 0.3, 0.4]] {
        let factor = tangents::curvature_factor(&p);
        let squared = factor.dot(&factor.t());
        for ((i, j), got) in squared.indexed_iter() {
            let expected = if i == j { p[i] * (1.0 - p[i]) } else { -p[i] * p[j] };
            assert!((got - expected).abs() < 1e-15, "{p:?} {i} {j}: {got} for {expected}");
        }
        let basis = contrasts(p.len());
        let products = basis.t().dot(&basis);
        assert!(products.indexed_iter().all(|((i, j), v)| (v - f64::from(u8::from(i == j))).abs() < 1e-15));
        assert!(basis.sum_axis(Axis(0)).iter().all(|sum| sum.abs() < 1e-15));
    }
}

/// The head's curvature by its outputs is known, `sum_n diag(p_n) - p_n p_n'`; and under a strong prior the covariance is `P J J' P /
/// lambda`, with three classes as with two.
#[test]
fn three_classes_have_two_directions() {
    const LAMBDA: f64 = 1e9;
    let backbone = tiny();
    let member = member_of(&backbone, 3);
    let network = network(&backbone, &member);
    let train = sentences(&backbone, &some_tokens(6));
    let laplace = fit(network, &train, Reach::All);
    let Eigen { values, vectors } = &laplace.blocks.last().unwrap().outputs;
    let vectors = vectors.mapv(f64::from);
    let got = (&vectors * values).dot(&vectors.t());
    let mut expected = Array2::<f64>::zeros((3, 3));
    let laplace = laplace.with_precision(LAMBDA);
    let gaussian = laplace.gaussian(network, &train, &Silent).unwrap();
    for logits in gaussian.mean().outer_iter() {
        let p = logits.mapv(f64::exp) / logits.mapv(f64::exp).sum();
        expected = expected + Array2::from_diag(&p) - Array2::from_shape_fn((3, 3), |(i, j)| p[i] * p[j]);
    }
    let difference = (&got - &expected).mapv(f64::abs).sum();
    assert!(difference < 1e-5 * expected.mapv(f64::abs).sum(), "{got} for {expected}");

    for place in 0..train.len() {
        let batch = train.batch(&[place], &Device::Cpu).unwrap();
        let Member { adapters, head, .. } = &member;
        let logits = classify(&backbone, head, adapters, Draw::Mean, 1, &batch.hidden, &batch.packing).unwrap().logits;
        let gradients: Vec<Vec<f32>> = (0..3)
            .map(|class| {
                let store = logits.narrow(2, class, 1).unwrap().sum_all().unwrap().backward().unwrap();
                let flat = |(_, var): (&str, &candle_core::Var)| -> Vec<f32> {
                    let gradient = store.get(var).cloned().unwrap_or_else(|| var.zeros_like().unwrap());
                    gradient.flatten_all().unwrap().to_vec1().unwrap()
                };
                member.parameters().flat_map(flat).collect()
            })
            .collect();
        let product = |(k, l): (usize, usize)| -> f64 {
            gradients[k].iter().zip(&gradients[l]).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
        };
        let centring = Array2::from_shape_fn((3, 3), |(i, j)| f64::from(u8::from(i == j)) - 1.0 / 3.0);
        let expected = centring.dot(&Array2::from_shape_fn((3, 3), product)).dot(&centring) / LAMBDA;
        let got = gaussian.covariance().index_axis(Axis(0), place).to_owned();
        let difference = (&got - &expected).mapv(f64::abs).sum();
        assert!(difference < 1e-4 * expected.mapv(f64::abs).sum(), "{place}: {got} for {expected}");
    }
}

/// Saved and read again with its adapter, a posterior gives the same Gaussians; one of another adapter is refused.
#[test]
fn a_saved_posterior_predicts_the_same() {
    saved_posteriors_predict_the_same(&tiny());
}

/// Its head has no bias.
#[test]
fn a_saved_posterior_of_a_decoder_predicts_the_same() {
    saved_posteriors_predict_the_same(&golden("decoders/tiny/gemma3"));
}

fn saved_posteriors_predict_the_same(backbone: &Backbone) {
    let mut member = member(backbone);
    let known = |tokens: Vec<u32>| {
        tokens.into_iter().map(|token| token % u32::try_from(backbone.vocabulary()).unwrap()).collect()
    };
    let texts = |count| -> Vec<Vec<u32>> { some_tokens(count).into_iter().map(known).collect() };
    let (train, tested) = (sentences(backbone, &texts(20)), sentences(backbone, &texts(9)));
    for (reach, is_trained) in [(Reach::All, true), (Reach::Head, true), (Reach::All, false)] {
        if !is_trained {
            member.head = member.head.clone().frozen();
        }
        let laplace = fit(network(backbone, &member), &train, reach).with_precision(0.3);
        member.posterior = PosteriorSettings::Laplace(laplace.settings());
        let folder = tempfile::tempdir().unwrap();
        let Member { adapters, head, posterior } = &member;
        save_adapter(folder.path(), backbone, adapters, head, posterior, (3, 6.0), "tiny").unwrap();
        laplace.save(folder.path()).unwrap();
        let expected = laplace.gaussian(network(backbone, &member), &tested, &Silent).unwrap();

        let SavedAdapter { adapters, head, posterior } =
            SavedAdapter::load(folder.path(), backbone, folder.path(), Ok).unwrap();
        assert_eq!(posterior, member.posterior);
        let loaded = Laplace::load(folder.path(), laplace.settings(), &adapters, &head).unwrap();
        let network = Network { backbone, from: 1, adapters: &adapters, head: &head };
        let got = loaded.gaussian(network, &tested, &Silent).unwrap();
        for place in 0..tested.len() {
            // Eigenvalues are stored in f32.
            assert_close(covariance(&got, place), covariance(&expected, place), 1e-6, &format!("{reach:?} {place}"));
        }
        assert_eq!(got.mean(), expected.mean());
        let none = AdapterSet::new();
        let other =
            Laplace::load(folder.path(), LaplaceSettings { reach: Reach::All, ..laplace.settings() }, &none, &head);
        if reach == Reach::All {
            let problem = other.unwrap_err().to_string();
            assert!(problem.contains("laplace.safetensors") && problem.contains("another adapter"), "{problem}");
        }
    }
}
