//! The metrics a record may hold, declared once: key, label, digits, unit and which direction is better.
//!
//! Tables take their headings, rounding and arrows from here, so no report decides them for itself.

/// Bins of the binned calibration errors among [`METRICS`], and of reliability diagrams.
pub const ECE_BINS: usize = 15;

/// Which direction of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Larger values are better.
    Higher,
    /// Smaller values are better.
    Lower,
    /// The metric describes; it does not rank.
    Neither,
}

/// What a test set must have for a metric to exist on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// Texts.
    Nothing,
    /// Labels among the classes of the training data.
    Labels,
    /// Ratings of several people, whose shares are the target.
    Ratings,
}

/// What a table needs to know about one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricInfo {
    /// Name in records and CSV files.
    pub key: &'static str,
    /// Heading in tables.
    pub label: &'static str,
    /// Decimal places when displayed; records keep full precision.
    pub digits: usize,
    /// `nats`, `[0, 1]`, ...
    pub unit: &'static str,
    /// Which direction is better.
    pub better: Better,
    /// What the test set must have.
    pub needs: Needs,
}

const fn info(key: &'static str, label: &'static str, digits: usize, unit: &'static str, better: Better) -> MetricInfo {
    MetricInfo { key, label, digits, unit, better, needs: Needs::Nothing }
}

impl MetricInfo {
    const fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }
}

use Better::{Higher, Lower, Neither};

/// Every metric, in the order tables show them.
///
/// A key keeps its meaning for good. Records may hold keys that are not declared here, and tables leave them out: `raters_…`
/// correlated with entropies in which rounding broke ties.
pub const METRICS: &[MetricInfo] = &[
    info("accuracy", "Accuracy", 4, "[0, 1]", Higher).needs(Needs::Labels),
    info("nll", "NLL", 4, "nats", Lower).needs(Needs::Labels),
    info("brier", "Brier", 4, "[0, 2]", Lower).needs(Needs::Labels),
    info("ece", "ECE", 4, "[0, 1]", Lower).needs(Needs::Labels),
    info("adaptive_ece", "Adaptive ECE", 4, "[0, 1]", Lower).needs(Needs::Labels),
    info("classwise_ece", "Classwise ECE", 4, "[0, 1]", Lower).needs(Needs::Labels),
    info("aurc", "AURC", 4, "[0, 1]", Lower).needs(Needs::Labels),
    info("e_aurc", "E-AURC", 4, "[0, 1]", Lower).needs(Needs::Labels),
    info("selective_accuracy_80", "Accuracy at 80 % coverage", 4, "[0, 1]", Higher).needs(Needs::Labels),
    info("aurc_predictive_entropy", "AURC, predictive entropy", 4, "[0, 1]", Lower).needs(Needs::Labels),
    info("aurc_expected_entropy", "AURC, expected entropy", 4, "[0, 1]", Lower).needs(Needs::Labels),
    info("aurc_mutual_information", "AURC, mutual information", 4, "[0, 1]", Lower).needs(Needs::Labels),
    info("aurc_variance", "AURC, probability variance", 4, "[0, 1]", Lower).needs(Needs::Labels),
    info("aurc_input_norm", "AURC, input norm", 4, "[0, 1]", Lower).needs(Needs::Labels),
    info("aurc_mahalanobis", "AURC, Mahalanobis", 4, "[0, 1]", Lower).needs(Needs::Labels),
    info("aurc_nearest_neighbours", "AURC, 10th neighbour", 4, "[0, 1]", Lower).needs(Needs::Labels),
    info("variance_error_spearman", "Variance–error ρ", 3, "[-1, 1]", Higher).needs(Needs::Labels),
    info("variance_error_p", "Variance–error p", 4, "[0, 1]", Neither).needs(Needs::Labels),
    info("soft_nll", "NLL against raters", 4, "nats", Lower).needs(Needs::Ratings),
    info("rater_spearman_predictive_entropy", "ρ(predictive entropy, rater entropy)", 3, "[-1, 1]", Higher)
        .needs(Needs::Ratings),
    info("rater_spearman_expected_entropy", "ρ(expected entropy, rater entropy)", 3, "[-1, 1]", Higher)
        .needs(Needs::Ratings),
    info("rater_spearman_mutual_information", "ρ(mutual information, rater entropy)", 3, "[-1, 1]", Neither)
        .needs(Needs::Ratings),
    info("rater_sd_spearman_expected_entropy", "ρ(expected entropy, rating SD)", 3, "[-1, 1]", Neither)
        .needs(Needs::Ratings),
    info("auroc_max_probability", "AUROC, 1 − max p", 3, "[0, 1]", Higher),
    info("auroc_predictive_entropy", "AUROC, predictive entropy", 3, "[0, 1]", Higher),
    info("auroc_expected_entropy", "AUROC, expected entropy", 3, "[0, 1]", Higher),
    info("auroc_mutual_information", "AUROC, mutual information", 3, "[0, 1]", Higher),
    info("auroc_variance", "AUROC, probability variance", 3, "[0, 1]", Higher),
    info("aupr_max_probability", "AUPR, 1 − max p", 3, "[0, 1]", Higher),
    info("aupr_predictive_entropy", "AUPR, predictive entropy", 3, "[0, 1]", Higher),
    info("aupr_expected_entropy", "AUPR, expected entropy", 3, "[0, 1]", Higher),
    info("aupr_mutual_information", "AUPR, mutual information", 3, "[0, 1]", Higher),
    info("aupr_variance", "AUPR, probability variance", 3, "[0, 1]", Higher),
    info("fpr95_max_probability", "FPR at 95 % TPR, 1 − max p", 3, "[0, 1]", Lower),
    info("fpr95_predictive_entropy", "FPR at 95 % TPR, predictive entropy", 3, "[0, 1]", Lower),
    info("fpr95_expected_entropy", "FPR at 95 % TPR, expected entropy", 3, "[0, 1]", Lower),
    info("fpr95_mutual_information", "FPR at 95 % TPR, mutual information", 3, "[0, 1]", Lower),
    info("fpr95_variance", "FPR at 95 % TPR, probability variance", 3, "[0, 1]", Lower),
    info("auroc_input_norm", "AUROC, input norm", 3, "[0, 1]", Higher),
    info("auroc_mahalanobis", "AUROC, Mahalanobis", 3, "[0, 1]", Higher),
    info("auroc_nearest_neighbours", "AUROC, 10th neighbour", 3, "[0, 1]", Higher),
    info("aupr_input_norm", "AUPR, input norm", 3, "[0, 1]", Higher),
    info("aupr_mahalanobis", "AUPR, Mahalanobis", 3, "[0, 1]", Higher),
    info("aupr_nearest_neighbours", "AUPR, 10th neighbour", 3, "[0, 1]", Higher),
    info("fpr95_input_norm", "FPR at 95 % TPR, input norm", 3, "[0, 1]", Lower),
    info("fpr95_mahalanobis", "FPR at 95 % TPR, Mahalanobis", 3, "[0, 1]", Lower),
    info("fpr95_nearest_neighbours", "FPR at 95 % TPR, 10th neighbour", 3, "[0, 1]", Lower),
    info("ood_spearman_mutual_information", "ρ(mutual information, shifted)", 3, "[-1, 1]", Higher),
    info("ood_spearman_variance", "ρ(probability variance, shifted)", 3, "[-1, 1]", Higher),
    info("mean_predictive_entropy", "Mean predictive entropy", 4, "nats", Neither),
    info("mean_expected_entropy", "Mean expected entropy", 4, "nats", Neither),
    info("mean_mutual_information", "Mean mutual information", 5, "nats", Neither),
    info("mean_variance", "Mean probability variance", 5, "[0, 0.25]", Neither),
];

/// The declaration of `key`, if there is one.
pub fn metric(key: &str) -> Option<&'static MetricInfo> {
    METRICS.iter().find(|metric| metric.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_found() {
        for (index, metric_info) in METRICS.iter().enumerate() {
            let first = METRICS.iter().position(|m| m.key == metric_info.key);
            assert_eq!(first, Some(index), "{} is declared twice", metric_info.key);
            assert_eq!(metric(metric_info.key), Some(metric_info));
        }
        assert_eq!(metric("acuracy"), None);
    }
}
