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
use crate::score::{BINS, Scored, Truth};

/// One domain under both rows, seed by seed.
pub(crate) struct Pairs<'a> {
    /// `(row, reference)` per seed.
    pub(crate) seeds: Vec<(Scored<'a>, Scored<'a>)>,
}

impl Pairs<'_> {
    fn examples(&self) -> usize {
        self.seeds[0].0.predictive.examples()
    }
}

/// Negative log-likelihood of each example's target distribution.
fn nll_of(scored: &Scored<'_>, targets: &Array2<f64>) -> Array1<f64> {
    -(targets * &scored.predictive.log_probabilities()).sum_axis(Axis(1))
}

fn one_hot(scored: &Scored<'_>, truth: &Truth) -> Array2<f64> {
    let mut targets = Array2::zeros((truth.labels.len(), scored.predictive.classes()));
    for (mut row, &label) in targets.outer_iter_mut().zip(&truth.labels) {
        row[label] = 1.0;
    }
    targets
}

fn brier_of(scored: &Scored<'_>, truth: &Truth) -> Array1<f64> {
    (&scored.predictive.probabilities() - &one_hot(scored, truth)).mapv(|gap| gap * gap).sum_axis(Axis(1))
}

fn correct_of(truth: &Truth) -> Array1<f64> {
    truth.correct.iter().map(|&correct| f64::from(u8::from(correct))).collect()
}

fn ece_of(scored: &Scored<'_>, truth: &Truth, examples: &[usize]) -> f64 {
    let probabilities = scored.predictive.probabilities().select(Axis(0), examples);
    let labels: Vec<usize> = examples.iter().map(|&example| truth.labels[example]).collect();
    // A resample of examples that were scored before cannot be out of range; NaN would be refused by the bootstrap.
    metrics::expected_calibration_error(probabilities.view(), &labels, BINS).unwrap_or(f64::NAN)
}

fn aurc_of(truth: &Truth, confidence: &[f64], examples: &[usize]) -> f64 {
    let confidence: Vec<f64> = examples.iter().map(|&example| confidence[example]).collect();
    let correct: Vec<bool> = examples.iter().map(|&example| truth.correct[example]).collect();
    metrics::RiskCoverage::from_confidence(&confidence, &correct).map_or(f64::NAN, |curve| curve.aurc())
}

/// Differences on one domain; `inside` is the in-distribution domain when this one is shifted. What needs labels or ratings is absent
/// where there are none.
pub(crate) fn differences(
    pairs: &Pairs<'_>,
    inside: Option<&Pairs<'_>>,
    bootstrap: &Bootstrap,
) -> Result<Vec<Difference>> {
    let domain = pairs.seeds[0].0.domain.info.id.as_str();
    let mut found = Vec::new();
    for (metric, interval) in with_labels(pairs, inside.is_none(), bootstrap)? {
        found.push(difference(domain, metric, interval));
    }
    if let Some(inside) = inside {
        found.push(difference(domain, "auroc_predictive_entropy", detection(pairs, inside, bootstrap)?));
    }
    Ok(found)
}

fn difference(domain: &str, metric: &str, interval: Interval) -> Difference {
    let Interval { estimate, lower, upper } = interval;
    Difference { domain: domain.to_owned(), metric: metric.to_owned(), estimate, lower, upper }
}

/// Differences of the metrics that need labels; none without.
fn with_labels(
    pairs: &Pairs<'_>,
    in_distribution: bool,
    bootstrap: &Bootstrap,
) -> Result<Vec<(&'static str, Interval)>> {
    // Labels and ratings are those of the domain, the same for every row and seed.
    let Some(seeds) = pairs
        .seeds
        .iter()
        .map(|(row, reference)| Some(((row, row.truth.as_ref()?), (reference, reference.truth.as_ref()?))))
        .collect::<Option<Vec<_>>>()
    else {
        return Ok(Vec::new());
    };
    let n = pairs.examples();
    let per_example = |f: &dyn Fn(&Scored<'_>, &Truth) -> Array1<f64>| {
        let mut total = Array1::<f64>::zeros(n);
        for ((row, own), (reference, other)) in &seeds {
            total += &(f(row, own) - f(reference, other));
        }
        total / seeds.len() as f64
    };
    let mean_difference = |f: &dyn Fn(&Scored<'_>, &Truth) -> f64| {
        seeds.iter().map(|((row, own), (reference, other))| f(row, own) - f(reference, other)).sum::<f64>()
            / seeds.len() as f64
    };
    let mut means = vec![
        ("accuracy", per_example(&|_, truth| correct_of(truth))),
        ("nll", per_example(&|scored, truth| nll_of(scored, &one_hot(scored, truth)))),
        ("brier", per_example(&brier_of)),
    ];
    if let Some(soft) = pairs.seeds[0].0.soft_labels() {
        means.push(("soft_nll", per_example(&|scored, _| nll_of(scored, &soft))));
    }
    let mut found = Vec::new();
    for (metric, values) in means {
        let mean = |examples: &[usize]| examples.iter().map(|&i| values[i]).sum::<f64>() / examples.len() as f64;
        found.push((metric, bootstrap.interval(n, mean)?));
    }
    let ece = |examples: &[usize]| mean_difference(&|scored, truth| ece_of(scored, truth, examples));
    found.push(("ece", bootstrap.interval(n, ece)?));
    if in_distribution {
        let aurc = |examples: &[usize]| {
            mean_difference(&|scored, truth| aurc_of(truth, &scored.predictive.max_probability().to_vec(), examples))
        };
        found.push(("aurc", bootstrap.interval(n, aurc)?));
    }
    Ok(found)
}

/// Difference of the AUROC of detecting this domain against the in-distribution one by predictive entropy.
fn detection(pairs: &Pairs<'_>, inside: &Pairs<'_>, bootstrap: &Bootstrap) -> Result<Interval> {
    let prepare = |inside: &Scored<'_>, shifted: &Scored<'_>| {
        let entropy = |scored: &Scored<'_>| scored.predictive.predictive_entropy().to_vec();
        PreparedAuroc::new(&entropy(inside), &entropy(shifted))
    };
    let mut prepared = Vec::new();
    for ((row, reference), (row_inside, reference_inside)) in pairs.seeds.iter().zip(&inside.seeds) {
        prepared.push((prepare(row_inside, row)?, prepare(reference_inside, reference)?));
    }
    let (inside_n, n) = (inside.examples(), pairs.examples());
    let auroc = |first: &[usize], second: &[usize]| {
        let (first, second) = (weights(first, inside_n), weights(second, n));
        let gap = |(row, reference): &(PreparedAuroc, PreparedAuroc)| {
            row.with_weights(&first, &second) - reference.with_weights(&first, &second)
        };
        prepared.iter().map(gap).sum::<f64>() / prepared.len() as f64
    };
    Ok(bootstrap.interval_two_groups(inside_n, n, auroc)?)
}
