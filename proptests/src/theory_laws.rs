//! Laws of the f64 reference of a dropout layer: enumeration of all masks, changes of basis, agreement with candle.

use bayeslora_adapters::{
    Draw, DropoutSite, LowRank, MaskScope, Noise, PosteriorSettings, Rows, Sampling, Slot, StochasticAdapter, Stream,
    TargetMap,
};
use bayeslora_theory::{Dropout, Layer, Site, Subspace, stream};
use candle_core::{DType, Device, Tensor};
use ndarray::{Array1, Array2};
use proptest::prelude::*;

const D_IN: usize = 3;
const D_OUT: usize = 2;
const RANK: usize = 2;

fn matrix(rows: usize, columns: usize) -> impl Strategy<Value = Array2<f64>> {
    proptest::collection::vec(-2.0..2.0f64, rows * columns)
        .prop_map(move |values| Array2::from_shape_vec((rows, columns), values).unwrap())
}

fn layer() -> impl Strategy<Value = Layer> {
    let site = proptest::sample::select(Site::ALL.to_vec());
    (matrix(RANK, D_IN), matrix(D_OUT, RANK), 0.1..3.0f64, site, 0.0..0.9f64)
        .prop_map(|(a, b, scale, site, p)| Layer::new(a, b, scale, site, Dropout::new(p).unwrap()).unwrap())
}

fn input() -> impl Strategy<Value = Array1<f64>> {
    proptest::collection::vec(-3.0..3.0f64, D_IN).prop_map(Array1::from)
}

/// Mean and covariance of the increment over all masks, each with its probability.
fn enumerated(layer: &Layer, x: &Array1<f64>) -> (Array1<f64>, Array2<f64>) {
    let count = match layer.site {
        Site::Input => D_IN,
        Site::Rank => RANK,
        Site::Weight => RANK * D_IN,
    };
    let keep = layer.dropout.keep();
    let (mut mean, mut second) = (Array1::<f64>::zeros(D_OUT), Array2::<f64>::zeros((D_OUT, D_OUT)));
    for mask in 0_u32..1 << count {
        let z: Vec<f64> = (0..count).map(|i| if mask >> i & 1 == 1 { 1.0 / keep } else { 0.0 }).collect();
        let probability: f64 = z.iter().map(|&z| if z > 0.0 { keep } else { 1.0 - keep }).product();
        let core = match layer.site {
            Site::Input => layer.a.dot(&(x * &Array1::from(z))),
            Site::Rank => layer.a.dot(x) * Array1::from(z),
            Site::Weight => (&layer.a * &Array2::from_shape_vec((RANK, D_IN), z).unwrap()).dot(x),
        };
        let out = layer.b.dot(&core) * layer.scale;
        mean.scaled_add(probability, &out);
        for i in 0..D_OUT {
            for j in 0..D_OUT {
                second[[i, j]] += probability * out[i] * out[j];
            }
        }
    }
    let covariance = Array2::from_shape_fn((D_OUT, D_OUT), |(i, j)| second[[i, j]] - mean[i] * mean[j]);
    (mean, covariance)
}

fn back(tensor: &Tensor) -> Array2<f64> {
    let values = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    Array2::from_shape_vec(tensor.dims2().unwrap(), values).unwrap()
}

/// The candle implementation of a layer, which keeps f32 weights, and the reference with what it kept.
fn twin(layer: &Layer, scope: MaskScope) -> (Box<dyn StochasticAdapter>, Layer) {
    let site = match layer.site {
        Site::Input => DropoutSite::Input,
        Site::Rank => DropoutSite::Rank,
        Site::Weight => DropoutSite::Weight,
    };
    let single = |matrix: &Array2<f64>| {
        let values: Vec<f64> = matrix.iter().copied().collect();
        Tensor::from_vec(values, matrix.dim(), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
    };
    let (a, b) = (single(&layer.a), single(&layer.b));
    let slot = Slot::new(0, TargetMap::Query);
    let lora = LowRank::from_tensors(slot, (D_OUT, D_IN), &a, &b, layer.scale).unwrap();
    let posterior = PosteriorSettings::Dropout { site, scope, dropout: 1.0 - layer.dropout.keep() };
    let adapter = posterior.initial(slot, lora, &Noise::new(0, Stream::Initial), &Device::Cpu).unwrap();
    (adapter, Layer { a: back(&a), b: back(&b), ..layer.clone() })
}

/// Size of the terms that cancel in a covariance of `layer` at `x`.
fn size(layer: &Layer, x: &Array1<f64>) -> f64 {
    let norm = |values: &Array2<f64>| values.iter().map(|v| v * v).sum::<f64>();
    (layer.scale / layer.dropout.keep()).powi(2) * norm(&layer.a) * norm(&layer.b) * x.dot(x) + 1e-300
}

fn close(left: &Array2<f64>, right: &Array2<f64>, tolerance: f64) -> bool {
    (left - right).iter().all(|difference| difference.abs() <= tolerance)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// No sampling: the formulas are sums over all masks.
    #[test]
    fn moments_are_those_of_all_masks(layer in layer(), x in input()) {
        let (mean, covariance) = enumerated(&layer, &x);
        let size = size(&layer, &x);
        prop_assert!((mean - layer.mean(x.view())).iter().all(|d| d.abs() <= 1e-13 * size.sqrt()));
        prop_assert!(close(&covariance, &layer.covariance(x.view()), 1e-13 * size));
    }

    /// `V` is the trace of the covariance, never negative, and quadratic along every ray.
    #[test]
    fn variance_is_a_quadratic_form(layer in layer(), x in input(), u in input(), delta in -10.0..10.0f64) {
        let form = layer.quadratic_form();
        let size = size(&layer, &x) + size(&layer, &u);
        let v = layer.variance(x.view());
        prop_assert!((v - layer.covariance(x.view()).diag().sum()).abs() <= 1e-13 * size);
        prop_assert!(v >= -1e-14 * size);
        let moved = layer.variance((&x + &(&u * delta)).view());
        let predicted = v + 2.0 * delta * x.dot(&form.dot(&u)) + delta * delta * u.dot(&form.dot(&u));
        prop_assert!((moved - predicted).abs() <= 1e-12 * size * (1.0 + delta * delta));
    }

    /// At the rank site an orthogonal change of the input's basis changes nothing: only `A x` matters.
    #[test]
    fn the_rank_site_does_not_know_the_basis(layer in layer(), x in input(), seed: u64) {
        let basis = Subspace::random(D_IN, D_IN, &mut stream(seed, 0)).unwrap().basis().clone();
        let rank = Layer { site: Site::Rank, ..layer };
        let turned = Layer { a: rank.a.dot(&basis.t()), ..rank.clone() };
        let size = size(&rank, &x);
        let difference = turned.variance(basis.dot(&x).view()) - rank.variance(x.view());
        prop_assert!(difference.abs() <= 1e-12 * size);
    }

    /// The candle implementation gives the same moments, for every site and at every scope.
    #[test]
    fn candle_agrees_with_the_reference(
        layer in layer(), x in input(), scope in proptest::sample::select(MaskScope::ALL.to_vec()),
    ) {
        let (adapter, reference) = twin(&layer, scope);
        let moments = adapter.moments(&Tensor::from_vec(x.to_vec(), (1, D_IN), &Device::Cpu).unwrap()).unwrap();
        let size = size(&reference, &x);
        let covariance = back(&moments.covariance().unwrap().squeeze(0).unwrap());
        prop_assert!(close(&covariance, &reference.covariance(x.view()), 1e-12 * size));
        let mean = moments.mean.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        prop_assert!((Array1::from(mean) - reference.mean(x.view())).iter().all(|d| d.abs() <= 1e-12 * size.sqrt()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(36))]

    /// Samples of the candle implementation, pooled over the tokens of two sentences, have the variance that T1 says: tokens add
    /// where each has its own mask, sentences where each has its own.
    #[test]
    fn pooled_samples_have_the_variance_of_their_scope(
        layer in layer(), tokens in proptest::collection::vec(input(), 4), scope in proptest::sample::select(MaskScope::ALL.to_vec()),
        seed: u64,
    ) {
        const SAMPLES: u32 = 8_000;
        let (adapter, reference) = twin(&layer, scope);
        let rows = Rows::of_sentences(&[3, 9], &[1, 3]);
        let flat: Vec<f64> = tokens.iter().flatten().copied().collect();
        let x = Tensor::from_vec(flat, (1, 4, D_IN), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        let noise = Noise::new(seed, Stream::Predictive);
        let draw = Draw::Sampled(Sampling { noise, samples: 0..SAMPLES, rows: &rows, with_divergence: false });
        let increment = adapter.increment(Slot::new(0, TargetMap::Query), &x, &draw).unwrap();
        // Pooled in the core: `B` is the same for every token. Samples follow one another along the first axis.
        let core = increment.core.to_dtype(DType::F64).unwrap().sum(1).unwrap();
        let pooled = back(&core).dot(&back(&increment.up).t()) * increment.scale;
        let sum = |tokens: &[Array1<f64>]| tokens.iter().fold(Array1::zeros(D_IN), |sum, x| sum + x);
        let v = |x: Array1<f64>| reference.variance(x.view());
        let predicted = match scope {
            MaskScope::Token => tokens.iter().map(|x| v(x.clone())).sum::<f64>(),
            MaskScope::Sequence => v(tokens[0].clone()) + v(sum(&tokens[1..])),
            MaskScope::Sample => v(sum(&tokens)),
        };
        let mean = reference.mean(sum(&tokens).view());
        let squares: Vec<f64> = pooled.rows().into_iter().map(|row| (&row - &mean).mapv(|d| d * d).sum()).collect();
        let n = f64::from(SAMPLES);
        let measured = squares.iter().sum::<f64>() / n;
        let spread = squares.iter().map(|square| (square - measured).powi(2)).sum::<f64>() / n;
        // |z| > 5.5 has probability 4e-8 under the normal limit, of which rare drops of a large term leave some distance; the
        // floor is f32 rounding of the increments.
        let floor = 1e-4 * tokens.iter().map(|x| size(&reference, x)).sum::<f64>();
        prop_assert!(
            (measured - predicted).abs() < 5.5 * (spread / n).sqrt() + floor,
            "{:?} {scope:?}: {measured} for {predicted}", layer.site
        );
    }
}

/// The input and weight sites do depend on the basis: `Q` is diagonal in the basis of the coordinates.
#[test]
fn the_other_sites_know_the_basis() {
    let half = 0.5_f64.sqrt();
    let basis = ndarray::array![[half, -half], [half, half]];
    for (site, before, after) in [(Site::Input, 1.0, 0.5), (Site::Weight, 1.0, 0.5), (Site::Rank, 1.0, 1.0)] {
        // A reads the first coordinate; kappa = 1.
        let (a, b) = (ndarray::array![[1.0, 0.0]], ndarray::array![[1.0]]);
        let layer = Layer::new(a, b, 1.0, site, Dropout::new(0.5).unwrap()).unwrap();
        let x = ndarray::array![1.0, 0.0];
        let turned = Layer { a: layer.a.dot(&basis.t()), ..layer.clone() };
        assert!((layer.variance(x.view()) - before).abs() < 1e-12, "{site:?}");
        assert!((turned.variance(basis.dot(&x).view()) - after).abs() < 1e-12, "{site:?}");
    }
}
