//! What the columns of the tables mean.

use bayeslora_render::{Block, Section};

use crate::report::Report;

/// Beginnings or ends of metric keys, and what is said once a table has a metric with one of them.
const MEANINGS: [(&[&str], &str); 12] = [
    (&["nll"], "**NLL**: mean negative log probability of the label, nats."),
    (&["brier"], "**Brier**: squared distance of the probabilities from the label, summed over classes, 0 to 2."),
    (
        &["ece"],
        "**ECE**: mean gap between confidence and accuracy over 15 bins of the top probability, weighted by their counts. *Adaptive*: \
         bins of equal counts. *Classwise*: the probability of each class against its share, averaged over classes.",
    ),
    (
        &["aurc"],
        "**AURC**: mean risk (share of errors) over all coverages, surest first; sure means a large top probability unless the \
         heading names another score. **E-AURC**: its excess over the best order of the same errors.",
    ),
    (
        &["variance_error"],
        "**Variance–error ρ**: Spearman's correlation of probability variance and error, text by text. Its p is the mean of the \
         seeds' p-values: it describes, and tests nothing.",
    ),
    (
        &["soft_nll"],
        "**NLL against raters**: mean cross entropy from the raters' shares of the classes to the probabilities, nats.",
    ),
    (
        &["rater_spearman_", "rater_sd_"],
        "**ρ(…, rater entropy)**: Spearman's correlation with the entropy of a text's ratings, or with their SD.",
    ),
    (
        &["auroc_", "aupr_", "fpr95_"],
        "**AUROC, AUPR, FPR at 95 % TPR**: telling shifted texts (the positive ones) from the test set in distribution by the score named. \
         A score that knows nothing has 0.5, the share of shifted texts, and 0.95.",
    ),
    (&["ood_spearman"], "**ρ(…, shifted)**: Spearman's correlation of the score with being shifted."),
    (
        &["_entropy", "_mutual_information", "_variance"],
        "**Predictive entropy**: of the averaged probabilities. **Expected entropy**: the mean of the samples' entropies. **Mutual \
         information**: the difference of the two. All in nats. **Probability variance**: of a class's probability over samples, the largest \
         over classes. A single pass has neither of the last two.",
    ),
    (
        &["_mahalanobis", "_nearest_neighbours", "_input_norm"],
        "**Mahalanobis**: squared distance from the nearest class mean of the training texts under one covariance (shrunk by 1 %). \
         **10th neighbour**: distance from the 10th nearest training text at unit length. **Input norm**: Euclidean. All three of the mean \
         over tokens of the activations below the first adapted block, which are frozen: no fit, no posterior.",
    ),
    (&["selective_accuracy_80"], "**Accuracy at 80 % coverage**: among the 80 % of largest top probability."),
];

/// The section; what no record holds is not explained.
pub(crate) fn section(report: &Report<'_>) -> Vec<Section> {
    let has = |mark: &&str| {
        let mut keys = report.aggregate.scores.iter().map(|score| score.metric.as_str());
        keys.any(|key| key.starts_with(mark) || key.ends_with(mark))
    };
    let explained = MEANINGS.iter().filter(|(marks, _)| marks.iter().any(has));
    let mut points: Vec<String> = explained.map(|(_, meaning)| (*meaning).to_owned()).collect();
    if report.definition.rows.iter().any(|row| row.id.ends_with("/mean")) {
        points.push(
            "**mean**, **linearised**, **sampled**: one fit read in three ways. Its noise is off, taken to first order, or averaged over \
             samples."
                .to_owned(),
        );
    }
    vec![Section::new("What the columns mean", [Block::Points(points)])]
}
