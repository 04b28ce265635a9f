//! Posteriors that are known: the sampler must find them.
#![cfg(test)]

use bayeslora_posterior::{Activation, Error, Head, LastMap, Prior, Settings, Target, bulk_ess, r_hat, sample};
use ndarray::{Array2, arr1, arr2};

/// Numbers in [-1, 1) from a fixed linear congruence.
fn numbers(count: usize, mut state: u64) -> Vec<f64> {
    let mut next = || {
        state = (1_103_515_245 * state + 12345) % (1 << 31);
        state as f64 / f64::from(1_u32 << 30) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Linear regression with normal noise and a normal prior: precision `D + n v v'`, where all `n` texts have the features `v`.
struct Conjugate {
    prior_precision: Vec<f64>,
    features: Vec<f64>,
    texts: f64,
    /// Sum of the targets.
    total: f64,
}

impl Conjugate {
    /// Mean and covariance, by Sherman and Morrison.
    fn answer(&self) -> (Vec<f64>, Vec<Vec<f64>>) {
        let scaled: Vec<f64> = self.features.iter().zip(&self.prior_precision).map(|(v, d)| v / d).collect();
        let along: f64 = scaled.iter().zip(&self.features).map(|(a, b)| a * b).sum();
        let share = self.texts / (1.0 + self.texts * along);
        let covariance =
            |i: usize, j: usize| f64::from(u8::from(i == j)) / self.prior_precision[i] - share * scaled[i] * scaled[j];
        let n = self.features.len();
        let covariances: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| covariance(i, j)).collect()).collect();
        let mean = covariances.iter().map(|row| row.iter().zip(&self.features).map(|(c, v)| c * v * self.total).sum());
        (mean.collect(), covariances)
    }
}

impl Target for Conjugate {
    fn dimension(&self) -> usize {
        self.features.len()
    }

    fn log_density(&self, at: &[f64], gradient: &mut [f64]) -> f64 {
        let along: f64 = at.iter().zip(&self.features).map(|(a, b)| a * b).sum();
        let mut value = self.total * along - 0.5 * self.texts * along * along;
        for (place, own) in gradient.iter_mut().enumerate() {
            let (precision, feature) = (self.prior_precision[place], self.features[place]);
            *own = (self.total - self.texts * along) * feature - precision * at[place];
            value -= 0.5 * precision * at[place] * at[place];
        }
        value
    }
}

#[test]
fn a_conjugate_posterior_has_its_mean_and_covariance() {
    let target = Conjugate {
        prior_precision: (1..=12).map(f64::from).collect(),
        features: numbers(12, 3),
        texts: 40.0,
        total: 55.0,
    };
    let (mean, covariance) = target.answer();
    let settings = Settings { draws: 1000, seed: 7, ..Settings::default() };
    let chains = sample(&target, &settings, &|_| vec![0.0; 12], &|at| at.to_vec(), &|| ()).unwrap();
    assert_eq!(chains.iter().map(|chain| chain.divergences).sum::<usize>(), 0);
    // One function of the draws: its values by chain.
    let values = |f: &dyn Fn(&[f64]) -> f64| -> Vec<Vec<f64>> {
        chains.iter().map(|chain| chain.read.iter().map(|draw| f(draw)).collect()).collect()
    };
    let check = |of: &dyn Fn(&[f64]) -> f64, expected: f64, variance: f64| {
        let own = values(of);
        let (ess, r_hat) = (bulk_ess(&own).unwrap(), r_hat(&own).unwrap());
        let found = own.iter().flatten().sum::<f64>() / 4000.0;
        // Of 90 such comparisons none lies as far apart by chance but once in a thousand runs.
        assert!((found - expected).abs() < 5.0 * (variance / ess).sqrt(), "{found} for {expected}, ESS {ess}");
        assert!(r_hat < 1.02 && ess > 400.0, "R-hat {r_hat}, ESS {ess}");
    };
    for i in 0..12 {
        check(&|draw| draw[i], mean[i], covariance[i][i]);
        for j in 0..=i {
            let product = |draw: &[f64]| (draw[i] - mean[i]) * (draw[j] - mean[j]);
            // Isserlis: the variance of a product of two normals.
            check(&product, covariance[i][j], covariance[i][i] * covariance[j][j] + covariance[i][j].powi(2));
        }
    }
}

/// An adapter of two parameters.
fn two_parameters(temperature: f64) -> LastMap {
    let inputs = arr2(&[[0.9], [-0.4], [1.7], [0.3], [-1.2], [2.1]]);
    let frozen = arr2(&[[0.1], [-0.2], [0.0], [0.4], [0.2], [-0.1]]);
    let head = Head { weight: arr2(&[[0.8], [-1.1]]), bias: arr1(&[0.1, -0.05]) };
    let labels = vec![1, 0, 1, 1, 0, 1];
    LastMap::new((inputs, frozen), labels, (head, Activation::Tanh), (1, 1.5), Prior { sd: 1.3, temperature }).unwrap()
}

#[test]
fn two_parameters_have_the_predictions_of_quadrature() {
    let (inputs, frozen) = (arr2(&[[1.4], [-0.8]]), arr2(&[[0.0], [0.3]]));
    for temperature in [1.0, 0.3] {
        let map = two_parameters(temperature);
        let predicted = |at: &[f64]| {
            let log_p = map.log_probabilities(at, (inputs.view(), frozen.view())).unwrap();
            [log_p[[0, 1]].exp(), log_p[[1, 1]].exp()]
        };
        // The integrand is smooth and gone at the ends: the trapezoidal rule is exact to many digits.
        let (mut weights, mut sums, mut squares) = (0.0, [0.0; 2], [0.0; 2]);
        let steps = 361;
        for i in 0..steps {
            for j in 0..steps {
                let at = [i, j].map(|step| -9.0 + 18.0 * f64::from(step) / f64::from(steps - 1));
                let weight = map.log_density(&at, &mut [0.0; 2]).exp();
                weights += weight;
                for ((sum, square), p) in sums.iter_mut().zip(&mut squares).zip(predicted(&at)) {
                    *sum += weight * p;
                    *square += weight * p * p;
                }
            }
        }
        let settings = Settings { draws: 2000, acceptance: 0.9, seed: 3, ..Settings::default() };
        let start = |chain: usize| vec![0.3 + 0.1 * chain as f64, -0.2];
        let chains = sample(&map, &settings, &start, &|at| predicted(at), &|| ()).unwrap();
        for text in 0..2 {
            let own: Vec<Vec<f64>> = chains.iter().map(|chain| chain.read.iter().map(|p| p[text]).collect()).collect();
            let (ess, found) = (bulk_ess(&own).unwrap(), own.iter().flatten().sum::<f64>() / 8000.0);
            let expected = sums[text] / weights;
            let error = ((squares[text] / weights - expected * expected) / ess).sqrt();
            assert!((found - expected).abs() < 4.0 * error, "{found} for {expected} within {error}");
            assert!(error < 0.01, "{error}");
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let of = |count, columns, seed| Array2::from_shape_vec((count, columns), numbers(count * columns, seed)).unwrap();
    for (activation, temperature) in [(Activation::Tanh, 1.0), (Activation::Identity, 0.4)] {
        let head = Head { weight: of(3, 4, 5), bias: arr1(&[0.2, -0.3, 0.0]) };
        let labels = vec![0, 2, 1, 1, 0, 2, 2];
        let prior = Prior { sd: 0.7, temperature };
        let map = LastMap::new((of(7, 5, 1), of(7, 4, 2)), labels, (head, activation), (2, 0.8), prior).unwrap();
        let at = numbers(map.dimension(), 9);
        let mut gradient = vec![0.0; at.len()];
        map.log_density(&at, &mut gradient);
        for place in 0..at.len() {
            let value = |step: f64| {
                let mut moved = at.clone();
                moved[place] += step;
                map.log_density(&moved, &mut vec![0.0; at.len()])
            };
            let difference = (value(1e-5) - value(-1e-5)) / 2e-5;
            assert!((gradient[place] - difference).abs() < 1e-7, "{place}: {} for {difference}", gradient[place]);
        }
    }
}

#[test]
fn a_chain_is_the_same_whatever_runs_beside_it_and_bad_input_is_refused() {
    let map = two_parameters(1.0);
    let run = |chains| {
        let settings = Settings { chains, tune: 50, draws: 20, seed: 11, ..Settings::default() };
        sample(&map, &settings, &|_| vec![0.1, 0.1], &|at| at.to_vec(), &|| ()).unwrap()
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(one[0], three[0]);
    assert_ne!(three[0].read, three[1].read);
    let said = |settings: Settings, start: usize| {
        sample(&map, &settings, &|_| vec![0.0; start], &|_| (), &|| ()).unwrap_err().to_string()
    };
    assert_eq!(said(Settings { chains: 0, ..Settings::default() }, 2), "number of chains is 0, expected at least 1");
    assert_eq!(
        said(Settings { acceptance: 1.0, ..Settings::default() }, 2),
        "acceptance is 1, expected a number between 0 and 1"
    );
    assert_eq!(said(Settings::default(), 3), "start is of 3, expected 2");
    let head = Head { weight: arr2(&[[1.0], [2.0]]), bias: arr1(&[0.0, 0.0]) };
    let new = |labels: Vec<usize>, prior: Prior| {
        let data = (arr2(&[[1.0]]), arr2(&[[0.0]]));
        LastMap::new(data, labels, (head.clone(), Activation::Tanh), (1, 1.0), prior).unwrap_err()
    };
    let prior = Prior { sd: 1.0, temperature: 1.0 };
    assert_eq!(new(vec![2], prior).to_string(), "label is 2, expected a class of the head");
    assert_eq!(new(vec![0, 1], prior).to_string(), "labels is of 2 x 1, expected 1 x 1");
    let refused = new(vec![0], Prior { sd: 0.0, ..prior });
    assert!(matches!(refused, Error::Setting { what: "standard deviation of the prior", .. }), "{refused}");
}
