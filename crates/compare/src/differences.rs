//! Paired bootstrap differences of a row against the reference row: examples resampled, seeds averaged.
//!
//! The test examples are the same for every row and seed, so a resample draws examples once and evaluates both rows of
//! every seed on them. The intervals cover the sampling of test examples; the spread over seeds stands beside them in the
//! tables as a standard deviation.

use bayeslora_metrics as metrics;
use bayeslora_metrics::{Bootstrap, Interval, PreparedAuroc, weights};
use ndarray::{Array1, Array2, Axis};

use crate::Result;
use crate::record::Difference;
use crate::score::{BINS, Scored};

/// One domain under both rows, seed by seed.
pub(crate) struct Pairs<'a> {
    /// `(row, reference)` per seed.
    pub(crate) seeds: Vec<(Scored<'a>, Scored<'a>)>,
}

impl Pairs<'_> {
    fn examples(&self) -> usize {
        self.seeds[0].0.labels.len()
    }

    /// Mean over seeds of `f(row) - f(reference)`.
    fn mean_difference(&self, f: impl Fn(&Scored<'_>) -> f64) -> f64 {
        self.seeds.iter().map(|(row, reference)| f(row) - f(reference)).sum::<f64>() / self.seeds.len() as f64
    }

    /// Per-example differences averaged over seeds, for metrics that are means over examples.
    fn per_example(&self, f: impl Fn(&Scored<'_>) -> Array1<f64>) -> Array1<f64> {
        let mut total = Array1::zeros(self.examples());
        for (row, reference) in &self.seeds {
            total += &(f(row) - f(reference));
        }
        total / self.seeds.len() as f64
    }
}

/// Negative log-likelihood of each example's target distribution.
fn nll_of(scored: &Scored<'_>, targets: &Array2<f64>) -> Array1<f64> {
    -(targets * &scored.predictive.log_probabilities()).sum_axis(Axis(1))
}

fn one_hot(scored: &Scored<'_>) -> Array2<f64> {
    let mut targets = Array2::zeros((scored.labels.len(), scored.predictive.classes()));
    for (mut row, &label) in targets.outer_iter_mut().zip(&scored.labels) {
        row[label] = 1.0;
    }
    targets
}

fn brier_of(scored: &Scored<'_>) -> Array1<f64> {
    (&scored.predictive.probabilities() - &one_hot(scored)).mapv(|gap| gap * gap).sum_axis(Axis(1))
}

fn correct_of(scored: &Scored<'_>) -> Array1<f64> {
    scored.correct.iter().map(|&correct| f64::from(u8::from(correct))).collect()
}

fn ece_of(scored: &Scored<'_>, examples: &[usize]) -> f64 {
    let probabilities = scored.predictive.probabilities().select(Axis(0), examples);
    let labels: Vec<usize> = examples.iter().map(|&example| scored.labels[example]).collect();
    // A resample of examples that were scored before cannot be out of range; NaN would be refused by the bootstrap.
    metrics::expected_calibration_error(probabilities.view(), &labels, BINS).unwrap_or(f64::NAN)
}

fn aurc_of(scored: &Scored<'_>, confidence: &[f64], examples: &[usize]) -> f64 {
    let confidence: Vec<f64> = examples.iter().map(|&example| confidence[example]).collect();
    let correct: Vec<bool> = examples.iter().map(|&example| scored.correct[example]).collect();
    metrics::RiskCoverage::from_confidence(&confidence, &correct).map_or(f64::NAN, |curve| curve.aurc())
}

/// Differences on one domain; `inside` is the in-distribution domain when this one is shifted.
pub(crate) fn differences(
    pairs: &Pairs<'_>,
    inside: Option<&Pairs<'_>>,
    bootstrap: &Bootstrap,
) -> Result<Vec<Difference>> {
    let domain = pairs.seeds[0].0.domain.id;
    let n = pairs.examples();
    let mut found = Vec::new();
    let mut put = |metric: &str, interval: Interval| {
        let Interval { estimate, lower, upper, .. } = interval;
        found.push(Difference { domain: domain.to_owned(), metric: metric.to_owned(), estimate, lower, upper });
    };
    let means = [
        ("accuracy", pairs.per_example(correct_of)),
        ("nll", pairs.per_example(|scored| nll_of(scored, &one_hot(scored)))),
        ("brier", pairs.per_example(brier_of)),
        ("soft_nll", pairs.per_example(|scored| nll_of(scored, &scored.soft_labels()))),
    ];
    for (metric, values) in means {
        let mean = |examples: &[usize]| examples.iter().map(|&i| values[i]).sum::<f64>() / examples.len() as f64;
        put(metric, bootstrap.interval(n, mean)?);
    }
    put("ece", bootstrap.interval(n, |examples| pairs.mean_difference(|scored| ece_of(scored, examples)))?);
    match inside {
        None => {
            let aurc = |examples: &[usize]| {
                pairs.mean_difference(|s| aurc_of(s, &s.predictive.max_probability().to_vec(), examples))
            };
            put("aurc", bootstrap.interval(n, aurc)?);
        }
        Some(inside) => {
            let prepare = |inside: &Scored<'_>, shifted: &Scored<'_>| {
                let entropy = |scored: &Scored<'_>| scored.predictive.predictive_entropy().to_vec();
                PreparedAuroc::new(&entropy(inside), &entropy(shifted))
            };
            let mut prepared = Vec::new();
            for ((row, reference), (row_inside, reference_inside)) in pairs.seeds.iter().zip(&inside.seeds) {
                prepared.push((prepare(row_inside, row)?, prepare(reference_inside, reference)?));
            }
            let inside_n = inside.examples();
            let auroc = |first: &[usize], second: &[usize]| {
                let (first, second) = (weights(first, inside_n), weights(second, n));
                let gap = |(row, reference): &(PreparedAuroc, PreparedAuroc)| {
                    row.with_weights(&first, &second) - reference.with_weights(&first, &second)
                };
                prepared.iter().map(gap).sum::<f64>() / prepared.len() as f64
            };
            put("auroc_predictive_entropy", bootstrap.interval_two_groups(inside_n, n, auroc)?);
        }
    }
    Ok(found)
}
