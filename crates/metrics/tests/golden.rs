//! Every metric against scikit-learn, scipy and torchmetrics, or a numpy transcription where none of them has it.
//!
//! `golden/generate.py` writes `golden/metrics.json`, which records versions and seed. Where a neighbouring definition is
//! in use elsewhere, a test shows that these tolerances tell it apart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "reference values that cannot be read fail the test")]

use bayeslora_metrics as metrics;
use metrics::{Averaging, Predictive, RiskCoverage};
use ndarray::{Array2, Array3};
use serde::Deserialize;

/// Both sides work in f64 and sum at most a few thousand terms of order 1, each within an ulp or two of 2e-16; the libraries
/// add pairwise, this crate in order.
const F64: f64 = 1e-12;
/// torchmetrics casts confidences to f32 and the generator moves a confidence of 1.0 by 1e-6.
const F32: f64 = 3e-6;
/// Relative, for p-values: the log-gamma function of the incomplete beta loses digits in proportion to its size, 1e4 at
/// 3,000 examples.
const P_VALUE: f64 = 1e-9;

#[derive(Deserialize)]
struct Golden {
    predictive: Vec<PredictiveCase>,
    calibration: Vec<CalibrationCase>,
    selective: Vec<SelectiveCase>,
    quantiles: Vec<QuantileCase>,
    detection: Vec<DetectionCase>,
    rank: Vec<RankCase>,
    summary: Vec<SummaryCase>,
}

#[derive(Deserialize)]
struct PredictiveCase {
    name: String,
    shape: (usize, usize, usize),
    logits: Vec<f32>,
    labels: Vec<usize>,
    soft_labels: Vec<f64>,
    expected_entropy: Vec<f64>,
    probability_variance: Vec<f64>,
    #[serde(rename = "mean-probs")]
    probabilities: Aggregated,
    #[serde(rename = "mean-logits")]
    logits_averaged: Aggregated,
}

#[derive(Deserialize)]
struct Aggregated {
    probabilities: Vec<f64>,
    log_probabilities: Vec<f64>,
    predictive_entropy: Vec<f64>,
    mutual_information: Vec<f64>,
    predicted: Vec<usize>,
    max_probability: Vec<f64>,
    accuracy: f64,
    nll: f64,
    soft_nll: f64,
    brier: f64,
}

#[derive(Deserialize)]
struct CalibrationCase {
    name: String,
    shape: (usize, usize),
    probabilities: Vec<f64>,
    labels: Vec<usize>,
    by_bins: Vec<CalibrationValues>,
}

#[derive(Deserialize)]
struct CalibrationValues {
    bins: usize,
    reliability: Vec<ReliabilityRow>,
    ece: f64,
    ece_torchmetrics: Option<f64>,
    ece_right_closed: f64,
    adaptive: f64,
    classwise: f64,
}

#[derive(Deserialize)]
struct ReliabilityRow {
    count: usize,
    confidence: Option<f64>,
    accuracy: Option<f64>,
}

#[derive(Deserialize)]
struct SelectiveCase {
    name: String,
    confidence: Vec<f64>,
    correct: Vec<bool>,
    risk: Vec<f64>,
    aurc: f64,
    e_aurc: f64,
    e_aurc_continuous: Option<f64>,
    coverages: Vec<f64>,
    selective_accuracy: Vec<f64>,
}

#[derive(Deserialize)]
struct QuantileCase {
    name: String,
    scores: Vec<f64>,
    errors: Vec<bool>,
    quantiles: usize,
    bins: Vec<metrics::QuantileBin>,
}

#[derive(Deserialize)]
struct DetectionCase {
    name: String,
    negatives: Vec<f64>,
    positives: Vec<f64>,
    auroc: f64,
    aupr: f64,
    aupr_trapezoid: f64,
    tprs: Vec<f64>,
    fprs: Vec<f64>,
}

#[derive(Deserialize)]
struct RankCase {
    name: String,
    x: Vec<f64>,
    y: Vec<f64>,
    coefficient: f64,
    p_value: f64,
    pearson: f64,
}

#[derive(Deserialize)]
struct SummaryCase {
    values: Vec<f64>,
    mean: f64,
    sample_sd: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/metrics.json")).expect("metrics.json matches these structs")
}

#[track_caller]
fn close(what: &str, got: f64, expected: f64, tolerance: f64) {
    assert!((got - expected).abs() <= tolerance, "{what}: got {got}, expected {expected}");
}

#[track_caller]
fn all_close<'a>(what: &str, got: impl IntoIterator<Item = &'a f64>, expected: &[f64], tolerance: f64) {
    let got: Vec<f64> = got.into_iter().copied().collect();
    assert_eq!(got.len(), expected.len(), "{what}");
    // Relative above 1: log-probabilities reach -900.
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        close(&format!("{what}, entry {index}"), *got, *expected, tolerance * expected.abs().max(1.0));
    }
}

impl PredictiveCase {
    fn predictive(&self, averaging: Averaging) -> Predictive {
        let logits = Array3::from_shape_vec(self.shape, self.logits.clone()).unwrap();
        Predictive::from_logits(logits.view(), averaging).unwrap()
    }

    fn averagings(&self) -> [(Averaging, &Aggregated); 2] {
        [(Averaging::Probabilities, &self.probabilities), (Averaging::Logits, &self.logits_averaged)]
    }
}

#[test]
fn predictive_distributions_and_entropies() {
    for case in golden().predictive {
        for (averaging, expected) in case.averagings() {
            let name = format!("{}, {averaging}", case.name);
            let got = case.predictive(averaging);
            assert_eq!((got.samples(), got.examples(), got.classes()), case.shape);
            all_close(&name, got.probabilities(), &expected.probabilities, F64);
            all_close(&name, got.log_probabilities(), &expected.log_probabilities, F64);
            all_close(&name, got.predictive_entropy(), &expected.predictive_entropy, F64);
            all_close(&name, got.expected_entropy(), &case.expected_entropy, F64);
            all_close(&name, got.mutual_information(), &expected.mutual_information, F64);
            all_close(&name, got.probability_variance(), &case.probability_variance, F64);
            all_close(&name, &got.max_probability(), &expected.max_probability, F64);
            assert_eq!(got.predicted(), expected.predicted, "{name}");
        }
    }
}

#[test]
fn accuracy_and_proper_scores() {
    for case in golden().predictive {
        let (_, examples, classes) = case.shape;
        let soft = Array2::from_shape_vec((examples, classes), case.soft_labels.clone()).unwrap();
        for (averaging, expected) in case.averagings() {
            let name = format!("{}, {averaging}", case.name);
            let got = case.predictive(averaging);
            let log_p = got.log_probabilities();
            close(&name, metrics::accuracy(&got.predicted(), &case.labels).unwrap(), expected.accuracy, F64);
            let nll = metrics::negative_log_likelihood(log_p, &case.labels).unwrap();
            close(&name, nll, expected.nll, F64 * expected.nll.max(1.0));
            let soft_nll = metrics::soft_negative_log_likelihood(log_p, soft.view()).unwrap();
            close(&name, soft_nll, expected.soft_nll, F64 * expected.soft_nll.max(1.0));
            let brier = metrics::brier(got.probabilities(), &case.labels).unwrap();
            close(&name, brier, expected.brier, F64);
        }
    }
}

#[test]
fn scores_that_are_not_ours_do_not_match() {
    for case in golden().predictive.iter().filter(|case| case.shape.0 > 1 && case.name.contains("eight samples")) {
        let got = case.predictive(Averaging::Probabilities);
        let brier = metrics::brier(got.probabilities(), &case.labels).unwrap();
        let divided = brier / got.classes() as f64;
        assert!((divided - case.probabilities.brier).abs() > 0.01, "Brier score averaged over classes");
        let bits = metrics::negative_log_likelihood(got.log_probabilities(), &case.labels).unwrap() / 2f64.ln();
        assert!((bits - case.probabilities.nll).abs() > 0.01, "NLL in bits");
        let samples = got.samples() as f64;
        let population = got.probability_variance()[0] * (samples - 1.0) / samples;
        assert!((population - case.probability_variance[0]).abs() > 1e-6, "variance divided by S");
        let other = case.predictive(Averaging::Logits);
        let other = metrics::negative_log_likelihood(other.log_probabilities(), &case.labels).unwrap();
        assert!((other - case.probabilities.nll).abs() > 1e-3, "the other averaging");
    }
}

#[test]
fn calibration_errors() {
    for case in golden().calibration {
        let probs = Array2::from_shape_vec(case.shape, case.probabilities).unwrap();
        for expected in case.by_bins {
            let name = format!("{}, {} bins", case.name, expected.bins);
            let (probs, labels, bins) = (probs.view(), &case.labels, expected.bins);
            let ece = metrics::expected_calibration_error(probs, labels, bins).unwrap();
            close(&name, ece, expected.ece, F64);
            if let Some(torchmetrics) = expected.ece_torchmetrics {
                close(&name, ece, torchmetrics, F32);
            }
            let adaptive = metrics::adaptive_calibration_error(probs, labels, bins).unwrap();
            close(&name, adaptive, expected.adaptive, F64);
            let classwise = metrics::classwise_calibration_error(probs, labels, bins).unwrap();
            close(&name, classwise, expected.classwise, F64);
            let rows = metrics::reliability(probs, labels, bins).unwrap();
            assert_eq!(rows.len(), expected.reliability.len());
            for (row, expected) in rows.iter().zip(&expected.reliability) {
                assert_eq!(row.count, expected.count, "{name}, from {}", row.lower);
                assert_eq!(row.confidence.is_some(), expected.confidence.is_some());
                close(&name, row.confidence.unwrap_or(0.0), expected.confidence.unwrap_or(0.0), F64);
                close(&name, row.accuracy.unwrap_or(0.0), expected.accuracy.unwrap_or(0.0), F64);
            }
        }
    }
}

#[test]
fn bins_closed_on_the_right_do_not_match() {
    let golden = golden();
    let differs = |values: &&CalibrationValues| (values.ece - values.ece_right_closed).abs() > 1e-3;
    let edges = golden.calibration.iter().find(|case| case.name == "ties and confidences on the edges").unwrap();
    let values = edges.by_bins.iter().find(differs).expect("a case in which the closed side matters");
    let probs = Array2::from_shape_vec(edges.shape, edges.probabilities.clone()).unwrap();
    let ece = metrics::expected_calibration_error(probs.view(), &edges.labels, values.bins).unwrap();
    assert!((ece - values.ece_right_closed).abs() > 1e-3);
}

#[test]
fn risk_and_coverage() {
    let mut refuted = false;
    for case in golden().selective {
        let name = &case.name;
        let got = RiskCoverage::from_confidence(&case.confidence, &case.correct).unwrap();
        close(name, got.aurc(), case.aurc, F64);
        close(name, got.e_aurc(), case.e_aurc, F64);
        let (coverage, risk): (Vec<f64>, Vec<f64>) = got.curve(usize::MAX).into_iter().unzip();
        all_close(name, &risk, &case.risk, F64);
        close(name, coverage[0] * case.risk.len() as f64, 1.0, F64);
        for (&coverage, &expected) in case.coverages.iter().zip(&case.selective_accuracy) {
            close(name, got.selective_accuracy(coverage).unwrap(), expected, F64);
        }
        refuted |= case.e_aurc_continuous.is_some_and(|other| (other - got.e_aurc()).abs() > 1e-3);
    }
    assert!(refuted, "the continuous optimum of Geifman et al. must be told apart");
}

#[test]
fn errors_by_quantile() {
    for case in golden().quantiles {
        let got = metrics::error_by_quantile(&case.scores, &case.errors, case.quantiles).unwrap();
        assert_eq!(got.len(), case.bins.len(), "{}", case.name);
        for (got, expected) in got.iter().zip(&case.bins) {
            assert_eq!(got.count, expected.count, "{}", case.name);
            close(&case.name, got.mean_score, expected.mean_score, F64);
            close(&case.name, got.error_rate, expected.error_rate, F64);
        }
    }
}

#[test]
fn detection() {
    let mut refuted = false;
    for case in golden().detection {
        let (name, negatives, positives) = (&case.name, &case.negatives, &case.positives);
        close(name, metrics::auroc(negatives, positives).unwrap(), case.auroc, F64);
        let aupr = metrics::aupr(negatives, positives).unwrap();
        close(name, aupr, case.aupr, F64);
        refuted |= (aupr - case.aupr_trapezoid).abs() > 1e-3;
        for (&tpr, &expected) in case.tprs.iter().zip(&case.fprs) {
            close(name, metrics::fpr_at_tpr(negatives, positives, tpr).unwrap(), expected, F64);
        }
    }
    assert!(refuted, "the trapezoidal area under precision and recall must be told apart");
}

#[test]
fn rank_correlation() {
    let mut refuted = false;
    for case in golden().rank {
        let got = metrics::spearman(&case.x, &case.y).unwrap();
        close(&case.name, got.coefficient, case.coefficient, F64);
        close(&case.name, got.p_value, case.p_value, P_VALUE * case.p_value);
        refuted |= (got.coefficient - case.pearson).abs() > 0.01;
    }
    assert!(refuted, "Pearson's correlation must be told apart");
}

#[test]
fn summaries() {
    for case in golden().summary {
        let got = metrics::summarise(&case.values).unwrap();
        close("mean", got.mean, case.mean, F64);
        close("standard deviation", got.sample_sd.unwrap(), case.sample_sd, F64);
        let n = got.n as f64;
        let population = case.sample_sd * ((n - 1.0) / n).sqrt();
        assert!((got.sample_sd.unwrap() - population).abs() > 0.01, "divided by n, as numpy does by default");
    }
}
