//! The curves of a test set, from what every text was given. Records of before that was kept hold the curves themselves.

use bayeslora_metrics::{ECE_BINS, RiskCoverage, reliability_of_top};
use bayeslora_records::{DomainRecord, Histogram, PerText, ReliabilityPoint, RiskPoint};

use crate::error::Result;

/// Points of a risk-coverage curve.
const CURVE_POINTS: usize = 101;
/// Bins of a histogram.
const HISTOGRAM_BINS: usize = 40;

/// The record with its curves: those of the test set in distribution, and histograms of every set.
pub(crate) fn with_curves(record: &DomainRecord) -> Result<DomainRecord> {
    let mut filled = record.clone();
    let Some(columns) = &record.per_text else { return Ok(filled) };
    filled.histograms.extend(histograms(columns));
    let (top, correct) = (columns.top_probability(), columns.correct());
    if !record.in_distribution || top.is_empty() {
        return Ok(filled);
    }
    let point = |bin: bayeslora_metrics::ReliabilityBin| ReliabilityPoint {
        lower: bin.lower,
        upper: bin.upper,
        count: bin.count as u64,
        confidence: bin.confidence,
        accuracy: bin.accuracy,
    };
    filled.reliability = reliability_of_top(&top, &correct, ECE_BINS)?.into_iter().map(point).collect();
    let points = RiskCoverage::from_confidence(&top, &correct)?.curve(CURVE_POINTS).into_iter();
    filled.risk_coverage = points.map(|(coverage, risk)| RiskPoint { coverage, risk }).collect();
    Ok(filled)
}

fn histograms(columns: &PerText) -> Vec<(String, Histogram)> {
    let most = (columns.classes as f64).ln();
    let mut found = Vec::new();
    let entropy = columns.entropy();
    if !entropy.is_empty() {
        found.push(("predictive_entropy".to_owned(), histogram(&entropy, 0.0, most)));
    }
    if !columns.mutual_information.is_empty() {
        // Mutual information spans decades: its histogram is over log10.
        let logs: Vec<f64> = columns.mutual_information.iter().map(|mi| mi.max(1e-8).log10()).collect();
        found.push(("log10_mutual_information".to_owned(), histogram(&logs, -6.0, 0.0)));
    }
    found
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
