//! From predictive samples and labels to a [`DomainRecord`].
//!
//! More than 400 lines: a third is tests, one for each family of scores.

use std::collections::BTreeMap;

use bayeslora_metrics as metrics;
use bayeslora_metrics::{Averaging, Predictive};
use ndarray::{Array2, Array3, ArrayView1};

use crate::error::Result;
use crate::scoring::distances::Distances;
use bayeslora_data::tasks::{Domain, Ratings};
use bayeslora_records::{DomainRecord, PerText, four_digits, probability_digits};

/// A predictive on one domain, beside the labels and the ratings that the domain has.
pub(crate) struct Scored<'a> {
    pub(crate) domain: &'a Domain,
    pub(crate) predictive: Predictive,
    pub(crate) truth: Option<Truth>,
    /// Of the texts from the training texts, where they were computed.
    pub(crate) distances: Option<&'a Distances>,
}

/// The labels of a domain, and which of them were predicted.
pub(crate) struct Truth {
    pub(crate) labels: Vec<usize>,
    pub(crate) correct: Vec<bool>,
}

/// A score that may tell foreign examples from those of the training domain, or errors from the rest: larger for more uncertain
/// ones.
struct Score {
    /// Name in metric keys: `auroc_<name>`, `aurc_<name>`.
    name: &'static str,
    /// One number per example; `None` where there is nothing of the kind.
    of: fn(&Scored<'_>) -> Option<Vec<f64>>,
}

/// Every score, in the order of the tables. Those of disagreement are identically zero for a single pass, which has none; distances need
/// no predictive at all.
const SCORES: &[Score] = &[
    Score { name: "max_probability", of: |s| Some(s.predictive.max_probability().iter().map(|p| 1.0 - p).collect()) },
    Score { name: "predictive_entropy", of: |s| Some(s.predictive.predictive_entropy().to_vec()) },
    Score { name: "expected_entropy", of: |s| Some(s.predictive.expected_entropy().to_vec()) },
    Score { name: "mutual_information", of: |s| s.sampled().map(|p| p.mutual_information().to_vec()) },
    Score { name: "variance", of: |s| s.sampled().map(|p| p.probability_variance().to_vec()) },
    Score { name: "input_norm", of: |s| s.distances.map(|d| d.input_norm.clone()) },
    Score { name: "mahalanobis", of: |s| s.distances.map(|d| d.mahalanobis.clone()) },
    Score { name: "nearest_neighbours", of: |s| s.distances.map(|d| d.nearest_neighbours.clone()) },
];

/// Metric keys and values; `None` where a metric is undefined.
type Scores = BTreeMap<String, Option<f64>>;

/// Scores kept of corrupted copies: there are up to fifteen of a test set, and all of all of them would be most of an experiment's records.
const OF_COPIES: [&str; 9] = [
    "accuracy",
    "nll",
    "brier",
    "ece",
    "aurc",
    "auroc_predictive_entropy",
    "auroc_mutual_information",
    "auroc_mahalanobis",
    "auroc_nearest_neighbours",
];

impl<'a> Scored<'a> {
    pub(crate) fn new(domain: &'a Domain, logits: &Array3<f32>, averaging: Averaging) -> Result<Self> {
        let predictive = Predictive::from_logits(logits.view(), averaging)?;
        let labels: Option<Vec<usize>> =
            domain.examples.iter().map(|example| example.label.map(|label| label as usize)).collect();
        let truth = labels.map(|labels| {
            let correct = predictive.predicted().iter().zip(&labels).map(|(p, y)| p == y).collect();
            Truth { labels, correct }
        });
        Ok(Self { domain, predictive, truth, distances: None })
    }

    /// The predictive, if it has samples that can disagree.
    fn sampled(&self) -> Option<&Predictive> {
        (self.predictive.samples() > 1).then_some(&self.predictive)
    }

    /// What the raters said of every example; `None` when some were not rated.
    fn ratings(&self) -> Option<Vec<&Ratings>> {
        self.domain.examples.iter().map(|example| example.ratings.as_ref()).collect()
    }

    /// Share of raters behind each class, `[examples, classes]`; `None` when some examples were not rated.
    pub(crate) fn soft_labels(&self) -> Option<Array2<f64>> {
        let ratings = self.ratings()?;
        let mut soft = Array2::zeros((ratings.len(), 2));
        for (mut row, ratings) in soft.outer_iter_mut().zip(ratings) {
            for (cell, share) in row.iter_mut().zip(ratings.soft_label()) {
                *cell = share;
            }
        }
        Some(soft)
    }

    /// The record, with detection against the in-distribution domain for a shifted one. What needs labels or ratings is left
    /// undefined where there are none.
    pub(crate) fn record(&self, in_distribution: Option<&Self>) -> Result<DomainRecord> {
        let p = &self.predictive;
        let mut scores = Scores::new();
        let mean = |values: &[f64]| Some(values.iter().sum::<f64>() / values.len() as f64);
        scores.insert("mean_predictive_entropy".to_owned(), mean(&p.predictive_entropy().to_vec()));
        scores.insert("mean_expected_entropy".to_owned(), mean(&p.expected_entropy().to_vec()));
        if p.samples() > 1 {
            scores.insert("mean_mutual_information".to_owned(), mean(&p.mutual_information().to_vec()));
            scores.insert("mean_variance".to_owned(), mean(&p.probability_variance().to_vec()));
        }
        self.against_raters(&mut scores)?;
        if let Some(reference) = in_distribution {
            self.detection(reference, &mut scores)?;
        }
        if let Some(truth) = &self.truth {
            self.quality(&truth.labels, &mut scores)?;
            self.selective(&truth.correct, &mut scores)?;
            self.variance_against_errors(&truth.correct, &mut scores);
        }
        // Every declared metric has an entry, so that a reader can tell "undefined" from "forgotten".
        for metric in metrics::METRICS {
            scores.entry(metric.key.to_owned()).or_insert(None);
        }
        if self.domain.info.corruption.is_some() {
            scores.retain(|key, _| OF_COPIES.contains(&key.as_str()));
        }
        Ok(DomainRecord {
            domain: self.domain.info.id.clone(),
            in_distribution: self.domain.info.in_distribution,
            examples: p.examples() as u64,
            scores,
            reliability: Vec::new(),
            risk_coverage: Vec::new(),
            histograms: BTreeMap::new(),
            per_text: self.domain.info.corruption.is_none().then(|| self.per_text()),
        })
    }

    /// Proper scores and calibration.
    fn quality(&self, labels: &[usize], scores: &mut Scores) -> Result<()> {
        let p = &self.predictive;
        let (probabilities, log_probabilities) = (p.probabilities(), p.log_probabilities());
        for (key, value) in [
            ("accuracy", metrics::accuracy(&p.predicted(), labels)?),
            ("nll", metrics::negative_log_likelihood(log_probabilities, labels)?),
            ("brier", metrics::brier(probabilities, labels)?),
            ("ece", metrics::expected_calibration_error(probabilities, labels, metrics::ECE_BINS)?),
            ("adaptive_ece", metrics::adaptive_calibration_error(probabilities, labels, metrics::ECE_BINS)?),
            ("classwise_ece", metrics::classwise_calibration_error(probabilities, labels, metrics::ECE_BINS)?),
        ] {
            scores.insert(key.to_owned(), Some(value));
        }
        Ok(())
    }

    /// Selective prediction by the top probability, and by every other score.
    fn selective(&self, correct: &[bool], scores: &mut Scores) -> Result<()> {
        let curve = metrics::RiskCoverage::from_confidence(&self.predictive.max_probability().to_vec(), correct)?;
        scores.insert("aurc".to_owned(), Some(curve.aurc()));
        scores.insert("e_aurc".to_owned(), Some(curve.e_aurc()));
        scores.insert("selective_accuracy_80".to_owned(), Some(curve.selective_accuracy(0.8)?));
        // By the top probability it is `aurc` itself.
        for score in SCORES.iter().filter(|score| score.name != "max_probability") {
            if let Some(uncertainty) = (score.of)(self) {
                let confidence: Vec<f64> = uncertainty.iter().map(|value| -value).collect();
                let own = metrics::RiskCoverage::from_confidence(&confidence, correct)?;
                scores.insert(format!("aurc_{}", score.name), Some(own.aurc()));
            }
        }
        Ok(())
    }

    /// Whether variance points at errors.
    fn variance_against_errors(&self, correct: &[bool], scores: &mut Scores) {
        if self.predictive.samples() == 1 {
            return;
        }
        let variance = self.predictive.probability_variance().to_vec();
        let errors: Vec<f64> = correct.iter().map(|&correct| f64::from(u8::from(!correct))).collect();
        let relation = metrics::spearman(&variance, &errors).ok();
        scores.insert("variance_error_spearman".to_owned(), relation.as_ref().map(|r| r.coefficient));
        scores.insert("variance_error_p".to_owned(), relation.as_ref().map(|r| r.p_value));
    }

    /// Agreement with the raters, where there are any.
    fn against_raters(&self, scores: &mut Scores) -> Result<()> {
        let (Some(ratings), Some(soft)) = (self.ratings(), self.soft_labels()) else { return Ok(()) };
        let p = &self.predictive;
        let raters: Vec<f64> = ratings.iter().map(|ratings| ratings.entropy()).collect();
        let spread: Vec<f64> = ratings.iter().map(|ratings| ratings.sd()).collect();
        let expected = p.expected_entropy().to_vec();
        let soft_nll = metrics::soft_negative_log_likelihood(p.log_probabilities(), soft.view())?;
        scores.insert("soft_nll".to_owned(), Some(soft_nll));
        let predictive = correlation(&p.predictive_entropy().to_vec(), &raters);
        scores.insert("rater_spearman_predictive_entropy".to_owned(), predictive);
        scores.insert("rater_spearman_expected_entropy".to_owned(), correlation(&expected, &raters));
        scores.insert("rater_sd_spearman_expected_entropy".to_owned(), correlation(&expected, &spread));
        if p.samples() > 1 {
            let information = correlation(&p.mutual_information().to_vec(), &raters);
            scores.insert("rater_spearman_mutual_information".to_owned(), information);
        }
        Ok(())
    }

    /// Detection by every score that both sides have.
    fn detection(&self, reference: &Self, scores: &mut Scores) -> Result<()> {
        for score in SCORES {
            let (Some(shifted), Some(inside)) = ((score.of)(self), (score.of)(reference)) else { continue };
            let name = score.name;
            scores.insert(format!("auroc_{name}"), Some(metrics::auroc(&inside, &shifted)?));
            scores.insert(format!("aupr_{name}"), Some(metrics::aupr(&inside, &shifted)?));
            scores.insert(format!("fpr95_{name}"), Some(metrics::fpr_at_tpr(&inside, &shifted, 0.95)?));
            if matches!(name, "mutual_information" | "variance") {
                let is_shifted: Vec<f64> = inside.iter().map(|_| 0.0).chain(shifted.iter().map(|_| 1.0)).collect();
                let all: Vec<f64> = inside.into_iter().chain(shifted).collect();
                scores.insert(format!("ood_spearman_{name}"), correlation(&all, &is_shifted));
            }
        }
        Ok(())
    }

    /// What every text was given, without what follows from it.
    fn per_text(&self) -> PerText {
        let p = &self.predictive;
        let rounded = |values: ArrayView1<'_, f64>| values.iter().copied().map(four_digits).collect();
        let mut columns = PerText { classes: p.classes(), ..PerText::default() };
        if p.samples() > 1 {
            columns.mutual_information = rounded(p.mutual_information());
        }
        if p.classes() > 2 || self.truth.is_none() {
            columns.predictive_entropy = rounded(p.predictive_entropy());
        }
        let Some(Truth { labels, correct }) = &self.truth else { return columns };
        let probabilities = p.probabilities();
        let own = labels.iter().zip(probabilities.outer_iter()).map(|(&y, row)| probability_digits(row[y]));
        columns.label_probability = own.collect();
        columns.wrong = (0..correct.len()).filter(|&text| !correct[text]).collect();
        if p.classes() > 2 {
            let (predicted, top) = (p.predicted(), p.max_probability());
            columns.wrong_class = columns.wrong.iter().map(|&text| predicted[text]).collect();
            columns.wrong_probability = columns.wrong.iter().map(|&text| probability_digits(top[text])).collect();
        }
        columns
    }
}

/// Spearman's coefficient; undefined where one side is constant.
fn correlation(x: &[f64], y: &[f64]) -> Option<f64> {
    metrics::spearman(x, y).ok().map(|relation| relation.coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bayeslora_data::tasks::{Corruption, DomainInfo, Example};

    fn domain(labelled: bool, rated: bool) -> Domain {
        let info = DomainInfo {
            id: "toy".to_owned(),
            label: "Toy".to_owned(),
            in_distribution: false,
            labelled,
            rated,
            corruption: None,
        };
        let example = |n: u32| Example {
            id: n.to_string(),
            text: String::new(),
            label: labelled.then_some(n % 2),
            ratings: rated.then(|| Ratings { each: vec![1, -1, i8::from(n.is_multiple_of(3))], mean: 0.5 }),
            choice: None,
        };
        Domain { info, examples: (0..12).map(example).collect() }
    }

    fn logits(shift: f32) -> Array3<f32> {
        Array3::from_shape_fn((3, 12, 2), |(s, n, c)| {
            let value = u8::try_from((5 * s + 7 * n + 3 * c) % 11).unwrap_or(0);
            f32::from(value) / 4.0 + shift * f32::from(u8::try_from(n * c).unwrap_or(0))
        })
    }

    /// Keys with a value.
    fn defined(record: &DomainRecord) -> Vec<&str> {
        record.scores.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key.as_str()).collect()
    }

    #[test]
    fn what_a_domain_lacks_is_absent_and_the_rest_does_not_change() {
        fn score<'a>(domain: &'a Domain, shift: f32, distances: &'a Distances) -> Scored<'a> {
            let scored = Scored::new(domain, &logits(shift), Averaging::Probabilities).unwrap();
            Scored { distances: Some(distances), ..scored }
        }
        let mut inside = domain(true, false);
        inside.info.in_distribution = true;
        let numbers = |factor: u32| (0..12).map(|n| f64::from(n * factor % 7)).collect::<Vec<f64>>();
        let distances = Distances { input_norm: numbers(2), mahalanobis: numbers(3), nearest_neighbours: numbers(5) };
        let reference = score(&inside, 0.0, &distances);
        let records = [(true, true), (true, false), (false, false)].map(|(labelled, rated)| {
            let shifted = domain(labelled, rated);
            score(&shifted, 0.1, &distances).record(Some(&reference)).unwrap()
        });
        let [rated, labelled, bare] = &records;
        let exists = |needs: metrics::Needs| {
            let keys = metrics::METRICS.iter().filter(move |metric| metric.needs <= needs).map(|metric| metric.key);
            let mut keys: Vec<&str> = keys.collect();
            keys.sort_unstable();
            keys
        };
        // A metric exists exactly where its declaration says that it does.
        assert_eq!(defined(rated), exists(metrics::Needs::Ratings));
        assert_eq!(defined(labelled), exists(metrics::Needs::Labels));
        assert_eq!(defined(bare), exists(metrics::Needs::Nothing));
        for record in &records {
            assert_eq!((record.scores.len(), record.examples), (metrics::METRICS.len(), 12));
            for key in defined(bare) {
                assert_eq!(record.scores[key], rated.scores[key], "{key}");
            }
        }
        let mut copies = domain(true, false);
        copies.info.corruption = Some((Corruption::Typos, 1));
        let copies = score(&copies, 0.1, &distances).record(None).unwrap();
        assert!(copies.per_text.is_none());
        assert!(copies.scores.len() == OF_COPIES.len() && OF_COPIES.iter().all(|key| copies.scores.contains_key(*key)));
        assert_eq!(copies.scores["accuracy"], labelled.scores["accuracy"]);
    }

    #[test]
    fn scores_follow_from_what_every_text_was_given() {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let toy = domain(true, false);
        let three = Array3::from_shape_fn((3, 12, 3), |(s, n, c)| logits(0.2)[[s, n, c % 2]] + f32::from(c == 2) * 0.3);
        for logits in [logits(0.2), three] {
            let record = Scored::new(&toy, &logits, Averaging::Probabilities).unwrap().record(None).unwrap();
            let columns = record.per_text.unwrap();
            let holds = |key: &str, value: f64| {
                let score = record.scores[key].unwrap();
                // The relative error of four digits.
                assert!((score - value).abs() <= 5e-4 * score.abs(), "{key}: {value} for {score}");
            };
            holds("nll", mean(&columns.negative_log_likelihood()));
            let correct = columns.correct();
            holds("accuracy", mean(&correct.iter().map(|&correct| f64::from(u8::from(correct))).collect::<Vec<_>>()));
            holds("mean_mutual_information", mean(&columns.mutual_information));
            holds("mean_predictive_entropy", mean(&columns.entropy()));
            let top = columns.top_probability();
            holds("aurc", metrics::RiskCoverage::from_confidence(&top, &correct).unwrap().aurc());
            holds(
                "ece",
                metrics::PreparedEce::of_top(&top, &correct, metrics::ECE_BINS).unwrap().with_weights(&[1; 12]),
            );
            if logits.dim().2 == 2 {
                assert!(columns.predictive_entropy.is_empty() && columns.wrong_class.is_empty());
                holds("brier", mean(&columns.brier()));
            } else {
                let predicted = Scored::new(&toy, &logits, Averaging::Probabilities).unwrap().predictive.predicted();
                let wrong: Vec<usize> = columns.wrong.iter().map(|&text| predicted[text]).collect();
                assert!(columns.wrong_class == wrong && !wrong.is_empty());
            }
        }
        let unlabelled = domain(false, false);
        let bare = Scored::new(&unlabelled, &logits(0.2), Averaging::Probabilities).unwrap();
        let columns = bare.record(None).unwrap().per_text.unwrap();
        assert!(columns.label_probability.is_empty() && columns.predictive_entropy.len() == 12);
    }
}
