//! From predictive samples and labels to a [`DomainRecord`].

use std::collections::BTreeMap;

use bayeslora_metrics as metrics;
use bayeslora_metrics::{Averaging, Predictive};
use ndarray::{Array2, Array3};

use crate::Result;
use crate::record::{DecilePoint, DomainRecord, Histogram, ReliabilityPoint, RiskPoint};
use crate::tasks::{Domain, Example};

/// Equal-width bins of every binned calibration error.
pub(crate) const BINS: usize = 15;
/// Points of a stored risk-coverage curve.
const CURVE_POINTS: usize = 101;
/// Bins of stored histograms.
const HISTOGRAM_BINS: usize = 40;

/// A predictive on one domain beside what the raters said.
pub(crate) struct Scored<'a> {
    pub(crate) domain: &'a Domain,
    pub(crate) predictive: Predictive,
    pub(crate) labels: Vec<usize>,
    pub(crate) correct: Vec<bool>,
}

impl<'a> Scored<'a> {
    pub(crate) fn new(domain: &'a Domain, logits: &Array3<f32>, averaging: Averaging) -> Result<Self> {
        let predictive = Predictive::from_logits(logits.view(), averaging)?;
        let labels: Vec<usize> = domain.examples.iter().map(|example| example.label as usize).collect();
        let correct = predictive.predicted().iter().zip(&labels).map(|(p, y)| p == y).collect();
        Ok(Self { domain, predictive, labels, correct })
    }

    /// Share of raters behind each class, `[examples, classes]`.
    pub(crate) fn soft_labels(&self) -> Array2<f64> {
        let examples = &self.domain.examples;
        let mut soft = Array2::zeros((examples.len(), 2));
        for (mut row, example) in soft.outer_iter_mut().zip(examples) {
            for (cell, share) in row.iter_mut().zip(example.soft_label()) {
                *cell = share;
            }
        }
        soft
    }

    /// Uncertainty scores that may tell shifted examples from others, larger for more uncertain ones. Those that are
    /// identically zero for a single deterministic pass are left out for it.
    pub(crate) fn detectors(&self) -> Vec<(&'static str, Vec<f64>)> {
        let p = &self.predictive;
        let mut scores = vec![
            ("max_probability", p.max_probability().iter().map(|p| 1.0 - p).collect()),
            ("predictive_entropy", p.predictive_entropy().to_vec()),
            ("expected_entropy", p.expected_entropy().to_vec()),
        ];
        if p.samples() > 1 {
            scores.push(("mutual_information", p.mutual_information().to_vec()));
            scores.push(("variance", p.probability_variance().to_vec()));
        }
        scores
    }

    /// The record, with detection against the in-distribution domain for a shifted one.
    pub(crate) fn record(&self, in_distribution: Option<&Self>) -> Result<DomainRecord> {
        let p = &self.predictive;
        let (probabilities, log_probabilities) = (p.probabilities(), p.log_probabilities());
        let labels = &self.labels;
        let mut scores: BTreeMap<String, Option<f64>> = BTreeMap::new();
        let mut put = |key: &str, value: Option<f64>| {
            scores.insert(key.to_owned(), value);
        };
        put("accuracy", Some(metrics::accuracy(&p.predicted(), labels)?));
        put("nll", Some(metrics::negative_log_likelihood(log_probabilities, labels)?));
        put("brier", Some(metrics::brier(probabilities, labels)?));
        put("ece", Some(metrics::expected_calibration_error(probabilities, labels, BINS)?));
        put("adaptive_ece", Some(metrics::adaptive_calibration_error(probabilities, labels, BINS)?));
        put("classwise_ece", Some(metrics::classwise_calibration_error(probabilities, labels, BINS)?));
        let soft = self.soft_labels();
        put("soft_nll", Some(metrics::soft_negative_log_likelihood(log_probabilities, soft.view())?));

        let selective = metrics::RiskCoverage::from_confidence(&p.max_probability().to_vec(), &self.correct)?;
        put("aurc", Some(selective.aurc()));
        put("e_aurc", Some(selective.e_aurc()));
        put("selective_accuracy_80", Some(selective.selective_accuracy(0.8)?));

        let raters: Vec<f64> = self.domain.examples.iter().map(Example::rater_entropy).collect();
        let spread: Vec<f64> = self.domain.examples.iter().map(Example::rating_sd).collect();
        let expected = p.expected_entropy().to_vec();
        put("raters_predictive_entropy", correlation(&p.predictive_entropy().to_vec(), &raters));
        put("raters_expected_entropy", correlation(&expected, &raters));
        put("raters_sd_expected_entropy", correlation(&expected, &spread));
        let mean = |values: &[f64]| Some(values.iter().sum::<f64>() / values.len() as f64);
        put("mean_predictive_entropy", mean(&p.predictive_entropy().to_vec()));
        put("mean_expected_entropy", mean(&expected));

        let mut deciles = Vec::new();
        if p.samples() > 1 {
            let (information, variance) = (p.mutual_information().to_vec(), p.probability_variance().to_vec());
            put("raters_mutual_information", correlation(&information, &raters));
            put("mean_mutual_information", mean(&information));
            put("mean_variance", mean(&variance));
            let errors: Vec<bool> = self.correct.iter().map(|correct| !correct).collect();
            let error_values: Vec<f64> = errors.iter().map(|&error| f64::from(u8::from(error))).collect();
            let relation = metrics::spearman(&variance, &error_values).ok();
            put("variance_error_spearman", relation.as_ref().map(|r| r.coefficient));
            put("variance_error_p", relation.as_ref().map(|r| r.p_value));
            for bin in metrics::error_by_quantile(&variance, &errors, 10)? {
                let count = bin.count as u64;
                deciles.push(DecilePoint { variance: bin.mean_score, error: bin.error_rate, count });
            }
        }
        if let Some(reference) = in_distribution {
            for ((name, shifted), (_, inside)) in self.detectors().into_iter().zip(reference.detectors()) {
                put(&format!("auroc_{name}"), Some(metrics::auroc(&inside, &shifted)?));
                put(&format!("aupr_{name}"), Some(metrics::aupr(&inside, &shifted)?));
                put(&format!("fpr95_{name}"), Some(metrics::fpr_at_tpr(&inside, &shifted, 0.95)?));
                if matches!(name, "mutual_information" | "variance") {
                    let is_shifted: Vec<f64> = inside.iter().map(|_| 0.0).chain(shifted.iter().map(|_| 1.0)).collect();
                    let all: Vec<f64> = inside.into_iter().chain(shifted).collect();
                    put(&format!("ood_spearman_{name}"), correlation(&all, &is_shifted));
                }
            }
        }
        // Every declared metric has an entry, so that a reader can tell "undefined" from "forgotten".
        for metric in metrics::METRICS {
            scores.entry(metric.key.to_owned()).or_insert(None);
        }

        let reliability = metrics::reliability(probabilities, labels, BINS)?;
        Ok(DomainRecord {
            domain: self.domain.id.to_owned(),
            in_distribution: self.domain.in_distribution,
            examples: labels.len() as u64,
            scores,
            reliability: reliability
                .into_iter()
                .map(|bin| ReliabilityPoint {
                    lower: bin.lower,
                    upper: bin.upper,
                    count: bin.count as u64,
                    confidence: bin.confidence,
                    accuracy: bin.accuracy,
                })
                .collect(),
            risk_coverage: selective
                .curve(CURVE_POINTS)
                .into_iter()
                .map(|(coverage, risk)| RiskPoint { coverage, risk })
                .collect(),
            deciles,
            histograms: self.histograms(),
        })
    }

    fn histograms(&self) -> BTreeMap<String, Histogram> {
        let p = &self.predictive;
        let most = (p.classes() as f64).ln();
        let mut histograms = BTreeMap::new();
        let entropy = p.predictive_entropy().to_vec();
        histograms.insert("predictive_entropy".to_owned(), histogram(&entropy, 0.0, most));
        if p.samples() > 1 {
            // Mutual information spans decades: its histogram is over log10.
            let logs: Vec<f64> = p.mutual_information().iter().map(|mi| mi.max(1e-8).log10()).collect();
            histograms.insert("log10_mutual_information".to_owned(), histogram(&logs, -6.0, 0.0));
        }
        histograms
    }
}

/// Spearman's coefficient; undefined where one side is constant.
fn correlation(x: &[f64], y: &[f64]) -> Option<f64> {
    metrics::spearman(x, y).ok().map(|relation| relation.coefficient)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bins; scores are finite")]
fn histogram(values: &[f64], lower: f64, upper: f64) -> Histogram {
    let mut counts = vec![0; HISTOGRAM_BINS];
    for value in values {
        let place = (value - lower) / (upper - lower) * HISTOGRAM_BINS as f64;
        counts[place.clamp(0.0, HISTOGRAM_BINS as f64 - 1.0) as usize] += 1;
    }
    Histogram { lower, upper, counts }
}
