//! V1, V2: what T sampled masks say of V, and what their noise takes from rankings.

use ndarray::{Array1, Array2, Axis};
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF as _, FisherSnedecor, Normal};

use super::{Claim, Grid, Law};
use crate::error::{Error, Result};
use crate::evidence::{Comparisons, Evidence, Values, mean_and_error};
use crate::layer::{Dropout, Layer, Site};
use crate::random::{normal, stream};

pub(super) const SAMPLED: Claim = Claim {
    id: "V1",
    statement: "S^2, the variance of T samples, has Var S^2 = 2 tr C^2 / (T - 1) + kappa^2 (1 - 6 p q) / (p q) sum_l |v_l|^4 / T, C the \
                covariance and v_l what one multiplier scales.",
    assumptions: "as M1; S^2 with divisor T - 1",
    bearing: "At T = 10 the estimate of V is coarse, more so where few multipliers matter or p is small",
    wrong: &[
        "without the fourth cumulant of a multiplier",
        "2 V^2 / (T - 1): as if the output had one dimension",
        "T^2 for T",
    ],
    quantitative: true,
    examine: sampled,
};

pub(super) const ATTENUATION: Claim = Claim {
    id: "V2",
    statement: "With S^2 = V chi^2_nu / nu, nu = m (T - 1), and log V normal with deviation tau, the AUROC between means Delta apart is \
                P(Delta + sqrt 2 tau Z + log F_(nu, nu) > 0), and Spearman's correlation 12 P(sqrt 2 tau Z_1 < log F_(nu, nu), Z_2 < 0) - 3, \
                with Z_1 and Z_2 correlated by r / 2.",
    assumptions: "normal noise, equal in the m dimensions of the output; r the correlation of log V with a normal score",
    bearing: "An AUROC or correlation measured with T samples is not V's: its probit shrinks nearly by sqrt(tau^2 / (tau^2 + psi'(nu / 2)))",
    wrong: &["no attenuation", "nu = T - 1, whatever the dimension", "twice the noise: two independent estimates"],
    quantitative: true,
    examine: attenuation,
};

/// What each multiplier scales, as columns `[d_out, multipliers]`.
fn scaled(layer: &Layer, x: &Array1<f64>) -> Array2<f64> {
    let rows = match layer.site {
        Site::Input => (layer.b.dot(&layer.a) * x).t().to_owned(),
        Site::Rank => (&layer.b * &layer.a.dot(x)).t().to_owned(),
        Site::Weight => {
            let (rank, d) = layer.a.dim();
            Array2::from_shape_fn((rank * d, layer.b.nrows()), |(place, o)| {
                layer.a[[place / d, place % d]] * x[place % d] * layer.b[[o, place / d]]
            })
        }
    };
    rows.reversed_axes() * layer.scale
}

/// `S^2` of `count` samples: the trace of their covariance with divisor `count - 1`.
fn sample_variance(vectors: &Array2<f64>, dropout: Dropout, count: usize, random: &mut impl rand::Rng) -> f64 {
    let (outputs, multipliers) = vectors.dim();
    let (mut sum, mut squares) = (vec![0.0; outputs], 0.0);
    for _ in 0..count {
        let mut sample = vec![0.0; outputs];
        for l in 0..multipliers {
            let z = dropout.multiplier(random) - 1.0;
            for (o, sample) in sample.iter_mut().enumerate() {
                *sample += z * vectors[[o, l]];
            }
        }
        squares += sample.iter().map(|h| h * h).sum::<f64>();
        sum.iter_mut().zip(&sample).for_each(|(sum, h)| *sum += h);
    }
    let count = count as f64;
    (squares - sum.iter().map(|h| h * h).sum::<f64>() / count) / (count - 1.0)
}

fn sampled(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(2_000, 20_000);
    let points = grid.pick(
        vec![(6, 2, 3, 0.1, 10), (6, 3, 4, 0.5, 4)],
        vec![(6, 2, 3, 0.1, 10), (6, 3, 4, 0.5, 4), (12, 4, 8, 0.2, 10), (8, 1, 1, 0.3, 10)],
    );
    let mut comparisons = Comparisons::default();
    let mut rows = Vec::new();
    for (number, &(d, d_out, rank, p, count)) in points.iter().enumerate() {
        for (place, site) in Site::ALL.into_iter().enumerate() {
            let mut random = stream(seed, (number * 3 + place) as u64);
            let (a, b) = (normal((rank, d), 1.0, &mut random), normal((d_out, rank), 1.0, &mut random));
            let x = normal((d, 1), 1.0, &mut random).column(0).to_owned();
            let layer = Layer::new(a, b, 1.5, site, Dropout::new(p)?)?;
            let vectors = scaled(&layer, &x);
            let covariance = layer.covariance(x.view());
            let (v, t, q) = (layer.variance(x.view()), count as f64, 1.0 - p);
            let square = covariance.iter().map(|c| c * c).sum::<f64>();
            let fourth = vectors.mapv(|v| v * v).sum_axis(Axis(0)).mapv(|square| square * square).sum();
            let cumulant = (p / q).powi(2) * (1.0 - 6.0 * p * q) / (p * q) * fourth;
            let predicted = match law {
                Law::Wrong(0) => 2.0 * square / (t - 1.0),
                Law::Wrong(1) => 2.0 * v * v / (t - 1.0),
                Law::Wrong(_) => 2.0 * square / (t * t - 1.0) + cumulant / (t * t),
                _ => (2.0 * square / (t - 1.0) + cumulant / t) * law.factor(),
            };
            let values: Vec<f64> = (0..replicas / 500)
                .into_par_iter()
                .flat_map_iter(|batch| {
                    let mut random = stream(seed, (number * 3 + place + 1) as u64 * (1 << 32) + batch);
                    let (vectors, dropout) = (&vectors, layer.dropout);
                    (0..500).map(move |_| sample_variance(vectors, dropout, count, &mut random)).collect::<Vec<_>>()
                })
                .map(|s| (s - v).powi(2) / predicted)
                .collect();
            comparisons.add_mean(&values, 1.0, true);
            rows.push(vec![
                site.word().to_owned(),
                p.to_string(),
                rank.to_string(),
                count.to_string(),
                format!("{:.0} %", 100.0 * ((2.0 * square / (t - 1.0) + cumulant / t).sqrt() / v)),
            ]);
        }
    }
    let values = Some(Values {
        title: "Standard deviation of the estimate, relative to V",
        columns: &["site", "p", "r", "T", "deviation"],
        rows,
    });
    let note = format!("{replicas} estimates a point");
    Ok(Evidence { values, ..comparisons.evidence(points.len() * 3, note) })
}

/// `integral phi(z) f(z) dz` by the trapezium rule, which converges faster than any power for such integrands.
fn over_normal(f: impl Fn(f64) -> f64) -> f64 {
    let step = 0.02;
    (-400..=400)
        .map(|place| {
            let z = f64::from(place) * step;
            (-z * z / 2.0).exp() * f(z)
        })
        .sum::<f64>()
        * step
        / (2.0 * std::f64::consts::PI).sqrt()
}

/// `log F_(nu, nu)`.
struct LogRatio(FisherSnedecor);

impl LogRatio {
    fn new(nu: f64) -> Result<Self> {
        let refused = |_| Error::Setting { name: "degrees of freedom", got: nu, expected: "a positive number" };
        FisherSnedecor::new(nu, nu).map(Self).map_err(refused)
    }

    fn above(&self, x: f64) -> f64 {
        self.0.sf(x.exp())
    }
}

/// AUROC between populations whose log V differ by `delta` in the mean.
fn auroc(delta: f64, tau: f64, nu: f64) -> Result<f64> {
    if nu.is_infinite() {
        return Ok(Normal::standard().cdf(delta / (tau * std::f64::consts::SQRT_2)));
    }
    let ratio = LogRatio::new(nu)?;
    Ok(over_normal(|z| ratio.above(-delta - std::f64::consts::SQRT_2 * tau * z)))
}

/// `P(Z_1 < log F / (sqrt 2 tau), Z_2 < 0)` with correlation `r` of the two.
fn quadrant(r: f64, tau: f64, nu: f64) -> Result<f64> {
    if nu.is_infinite() {
        return Ok(0.25 + r.asin() / (2.0 * std::f64::consts::PI));
    }
    let (ratio, normal) = (LogRatio::new(nu)?, Normal::standard());
    let slope = r / (1.0 - r * r).sqrt();
    Ok(over_normal(|z| normal.cdf(-slope * z) * ratio.above(std::f64::consts::SQRT_2 * tau * z)))
}

/// Expected Spearman correlation of `n` pairs: `(3 tau_K + (n - 2) rho_S) / (n + 1)` with the population's Kendall and Spearman.
fn spearman(r: f64, tau: f64, nu: f64, n: f64) -> Result<f64> {
    let kendall = 4.0 * quadrant(r, tau, nu)? - 1.0;
    let population = 12.0 * quadrant(r / 2.0, tau, nu)? - 3.0;
    Ok((3.0 * kendall + (n - 2.0) * population) / (n + 1.0))
}

/// Places of the values in their order, from 0.
fn places(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut places = vec![0.0; values.len()];
    for (place, &at) in order.iter().enumerate() {
        places[at] = place as f64;
    }
    places
}

/// `psi'(x)`, by recurrence and its asymptotic series.
fn trigamma(x: f64) -> f64 {
    if x < 12.0 {
        return 1.0 / (x * x) + trigamma(x + 1.0);
    }
    let y = 1.0 / (x * x);
    (1.0 + 1.0 / (2.0 * x) + y * (1.0 / 6.0 - y * (1.0 / 30.0 - y / 42.0))) / x
}

/// Texts in one sample of each population.
const TEXTS: usize = 100;

fn attenuation(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(60, 1000);
    // (Delta, tau, m, T, r)
    let points = grid.pick(
        vec![(1.0, 0.5, 1, 10, 0.8), (0.6, 0.3, 3, 10, 0.9)],
        vec![(1.0, 0.5, 1, 10, 0.8), (0.6, 0.3, 3, 10, 0.9), (0.3, 0.2, 2, 10, 0.5), (1.0, 0.4, 2, 100, 0.9)],
    );
    let mut comparisons = Comparisons::default();
    let mut rows = Vec::new();
    for (number, &(delta, tau, m, count, r)) in points.iter().enumerate() {
        let nu = (m * (count - 1)) as f64;
        let found: Vec<(f64, f64)> = (0..replicas)
            .into_par_iter()
            .map(|replica| {
                let mut random = stream(seed, (number as u64) << 32 | replica);
                // Log V and a score of each text, then V estimated from normal samples themselves.
                let draws = normal((2 * TEXTS, 2), 1.0, &mut random);
                let estimates: Vec<f64> = (0..2 * TEXTS)
                    .map(|text| {
                        let shift = if text < TEXTS { 0.0 } else { delta };
                        let samples = normal((count, m), 1.0, &mut random);
                        let mean = samples.sum_axis(Axis(0)) / count as f64;
                        let squares = (&samples - &mean).mapv(|d| d * d).sum();
                        (shift + tau * draws[[text, 0]]).exp() * squares
                    })
                    .collect();
                let n = TEXTS as f64;
                let ranks = places(&estimates);
                let area = (ranks[TEXTS..].iter().sum::<f64>() - n * (n - 1.0) / 2.0) / (n * n);
                let score = |text: usize| r * draws[[text, 0]] + (1.0 - r * r).sqrt() * draws[[text, 1]];
                let scores: Vec<f64> = (0..TEXTS).map(score).collect();
                let (left, right) = (places(&estimates[..TEXTS]), places(&scores));
                let squares = left.iter().zip(&right).map(|(l, r)| (l - r).powi(2)).sum::<f64>();
                (area, 1.0 - 6.0 * squares / (n * (n * n - 1.0)))
            })
            .collect();
        let claimed = match law {
            Law::Wrong(0) => f64::INFINITY,
            Law::Wrong(1) => (count - 1) as f64,
            Law::Wrong(_) => nu / 2.0,
            _ => nu,
        };
        // An error of 10 % is one in what exceeds chance.
        let said = (auroc(delta, tau, claimed)? - 0.5, spearman(r, tau, claimed, TEXTS as f64)?);
        let areas: Vec<f64> = found.iter().map(|found| (found.0 - 0.5) / said.0).collect();
        let correlations: Vec<f64> = found.iter().map(|found| found.1 / said.1).collect();
        comparisons.add_mean(&areas, law.factor(), true);
        comparisons.add_mean(&correlations, law.factor(), true);
        let shrunk = (tau * tau / (tau * tau + trigamma(nu / 2.0))).sqrt();
        let full = auroc(delta, tau, f64::INFINITY)?;
        let simple = Normal::standard().cdf(Normal::standard().inverse_cdf(full) * shrunk);
        let limit = 12.0 * quadrant(r / 2.0, tau, f64::INFINITY)? - 3.0;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| mean_and_error(&found.iter().map(of).collect::<Vec<_>>()).0;
        rows.push(vec![
            count.to_string(),
            m.to_string(),
            tau.to_string(),
            format!("{full:.3}"),
            format!("{:.3}", mean(&|found| found.0)),
            format!("{simple:.3}"),
            format!("{limit:.3}"),
            format!("{:.3}", mean(&|found| found.1)),
            format!("{:.3}", 6.0 / std::f64::consts::PI * (r * shrunk / 2.0).asin()),
        ]);
    }
    let values = Some(Values {
        title: "What T samples leave of AUROC and rank correlation",
        columns: &[
            "T",
            "m",
            "tau",
            "AUROC of V",
            "measured",
            "by probit",
            "correlation of V",
            "measured",
            "by reliability",
        ],
        rows,
    });
    let note = format!("{replicas} samples of {TEXTS} texts a population");
    Ok(Evidence { values, ..comparisons.evidence(2 * points.len(), note) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_many_degrees_the_noise_is_normal() {
        // With 2 and 2 degrees log F is logistic.
        let ratio = LogRatio::new(2.0).unwrap();
        assert!([-3.0, 0.0, 0.7].iter().all(|&x: &f64| (ratio.above(x) - 1.0 / (1.0 + x.exp())).abs() < 1e-9));
        // With many it is normal, of twice the variance of a logarithm of one chi-square: the formulas by reliability are exact.
        let (delta, tau, nu, r) = (1.0, 0.5, 2000.0, 0.4);
        let shrunk: f64 = (tau * tau / (tau * tau + trigamma(nu / 2.0))).sqrt();
        let area = Normal::standard().cdf(delta / (tau * std::f64::consts::SQRT_2) * shrunk);
        assert!((auroc(delta, tau, nu).unwrap() - area).abs() < 1e-6);
        assert!((area - auroc(delta, tau, f64::INFINITY).unwrap()).abs() > 1e-4);
        let share = 0.25 + (r * shrunk).asin() / (2.0 * std::f64::consts::PI);
        assert!((quadrant(r, tau, nu).unwrap() - share).abs() < 1e-6);
        // Equal means: chance, whatever the noise.
        assert!((auroc(0.0, 0.5, 9.0).unwrap() - 0.5).abs() < 1e-9);
        assert!((quadrant(0.0, 0.5, 9.0).unwrap() - 0.25).abs() < 1e-9);
        // psi'(1) = pi^2 / 6, psi'(1 / 2) = pi^2 / 2.
        let square = std::f64::consts::PI.powi(2);
        assert!((trigamma(1.0) - square / 6.0).abs() < 1e-9 && (trigamma(0.5) - square / 2.0).abs() < 1e-9);
    }

    #[test]
    fn what_a_multiplier_scales_gives_the_covariance() {
        let mut random = stream(2, 0);
        let x = normal((5, 1), 1.0, &mut random).column(0).to_owned();
        for site in Site::ALL {
            let (a, b) = (normal((3, 5), 1.0, &mut random), normal((2, 3), 1.0, &mut random));
            let layer = Layer::new(a, b, 1.3, site, Dropout::new(0.2).unwrap()).unwrap();
            let vectors = scaled(&layer, &x);
            let covariance = vectors.dot(&vectors.t()) * layer.dropout.variance();
            let difference = covariance - layer.covariance(x.view());
            assert!(difference.iter().all(|d| d.abs() < 1e-12), "{site:?}");
        }
    }
}
