//! Do both sides compute the same thing? Asked before the clock is believed.
//!
//! Deterministic values must agree to rounding. Samples are compared by their means, standardised by their Monte-Carlo errors, and by
//! their variances: dropout of another strength would pass the first test and fail the second.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bayeslora_adapters::files::read_tensors;
use bayeslora_adapters::{
    DropoutLora, DropoutSettings, DropoutSite, KeepProbability, LowRank, MaskScope, Slot, StochasticAdapter as _,
};
use bayeslora_metrics::spearman;
use candle_core::{DType, Device};

use crate::record::Precision;

/// Largest distance of deterministic values, as a share of the largest.
const ROUNDING: f64 = 1e-4;
/// The same after training steps: rounding is amplified by the optimiser.
const TRAINED: f64 = 1e-3;
/// Largest statistic in standard errors.
const ERRORS: f64 = 5.0;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) of: String,
    pub(crate) statistic: f64,
    pub(crate) limit: f64,
    pub(crate) farthest: Option<(f64, f64)>,
}

/// Deterministic values `[4, texts, classes]` or plain.
pub(crate) fn deterministic(ours: &[f32], theirs: &[f32], is_trained: bool) -> Found {
    let pairs = || ours.iter().zip(theirs).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    let largest = pairs().map(|(a, _)| a.abs()).fold(f64::MIN_POSITIVE, f64::max);
    let farthest = pairs().max_by(|a, b| (a.0 - a.1).abs().total_cmp(&(b.0 - b.1).abs()));
    let gap = farthest.map_or(0.0, |(a, b)| (a - b).abs());
    let statistic = if ours.len() == theirs.len() { gap / largest } else { f64::INFINITY };
    let (what, limit) =
        if is_trained { ("logits after training without dropout", TRAINED) } else { ("logits", ROUNDING) };
    Found { of: format!("{what}, largest distance as a share of the largest"), statistic, limit, farthest }
}

/// Mean of values and its standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (n - 1.0).max(1.0) / n).sqrt())
}

/// Samples of predictives, `[4, texts, classes]` (see worker/predict.rs): the second of two classes; of four options the second and fourth.
pub(crate) fn samples(ours: &[f32], theirs: &[f32], samples: u32) -> Vec<Found> {
    let texts = ours.len() / 8;
    let value = |values: &[f32], row: usize, text: usize| {
        values.get((row * texts + text) * 2 + 1).map_or(f64::NAN, |&value| f64::from(value))
    };
    let t = f64::from(samples);
    let rows: Vec<[f64; 4]> = (0..texts)
        .map(|text| [value(ours, 0, text), value(theirs, 0, text), value(ours, 1, text), value(theirs, 1, text)])
        .filter(|[.., a, b]| a + b > 0.0)
        .collect();
    let standardised: Vec<f64> = rows.iter().map(|[a, b, va, vb]| (a - b) / ((va + vb) / t).sqrt()).collect();
    let squares: Vec<f64> = standardised.iter().map(|z| z * z).collect();
    let (mean, error) = mean_and_error(&squares);
    // With estimated variances a square is Student's, not normal's: its mean is df / (df - 2).
    let freedom = 2.0 * (t - 1.0);
    let expected = freedom / (freedom - 2.0);
    // Samples that are the same, of one noise, have no difference to estimate an error of: their statistics are 0.
    let place = (0..rows.len()).max_by(|&a, &b| squares[a].total_cmp(&squares[b]));
    let differences: Vec<f64> = rows.iter().map(|[.., a, b]| a - b).collect();
    let (difference, difference_error) = mean_and_error(&differences);
    let total = |place: usize| rows.iter().map(|row| row[place]).sum::<f64>() / rows.len() as f64;
    vec![
        Found {
            of: "mean probabilities: mean square of standardised differences, in standard errors above its expectation"
                .to_owned(),
            statistic: if mean == 0.0 { 0.0 } else { (mean - expected) / error },
            limit: ERRORS,
            farthest: place.map(|place| (rows[place][0], rows[place][1])),
        },
        Found {
            of: "variances of probabilities: mean difference in standard errors".to_owned(),
            statistic: if difference == 0.0 { 0.0 } else { difference.abs() / difference_error },
            limit: ERRORS,
            farthest: Some((total(2), total(3))),
        },
    ]
}

/// Samples of predictives, `[4, texts, classes]`, beside ours.
pub(crate) fn precision(ours: &[f32], theirs: &[f32]) -> Result<Precision> {
    let quarter = ours.len() / 4;
    ensure!(quarter > 0 && theirs.len() == ours.len(), "{} values beside {}", theirs.len(), ours.len());
    let row = |values: &[f32], row: usize| -> Vec<f64> {
        values[row * quarter..][..quarter].iter().copied().map(f64::from).collect()
    };
    let total = |values: &[f64]| values.iter().sum::<f64>();
    let (variances, other_variances) = (row(ours, 1), row(theirs, 1));
    let squares = row(ours, 2).into_iter().zip(row(theirs, 2)).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    // Both classes of two have the same variance of the probability.
    let of_last = |values: &[f64]| values.iter().skip(1).step_by(2).copied().collect::<Vec<_>>();
    Ok(Precision {
        variance_ratio: total(&other_variances) / total(&variances),
        rank_correlation: spearman(&of_last(&variances), &of_last(&other_variances))?.coefficient,
        logit_distance: (squares / quarter as f64).sqrt(),
        deviation: (total(&row(theirs, 3)) / quarter as f64).sqrt(),
    })
}

/// Exact mean `[rows, d_out]` and total variance `[rows]` of a layer.
pub(crate) struct Exact {
    mean: Vec<f64>,
    variance: Vec<f64>,
}

impl Exact {
    /// Of the layer in the file `input`.
    pub(crate) fn of(input: &Path, scale: f64, dropout: f64, site: DropoutSite) -> Result<Self> {
        let tensors = read_tensors(input, &Device::Cpu)?;
        let tensor = |name: &str| tensors.get(name).with_context(|| format!("{} has no {name}", input.display()));
        let (x, w) = (tensor("x")?, tensor("w")?);
        let lora = LowRank::from_tensors(Slot::NONE, w.dims2()?, tensor("a")?, tensor("b")?, scale)?;
        let keep = KeepProbability::from_dropout(dropout)?;
        let moments = DropoutLora::new(lora, DropoutSettings { site, scope: MaskScope::Token, keep }).moments(x)?;
        let frozen = x.to_dtype(DType::F64)?.matmul(&w.to_dtype(DType::F64)?.t()?)?;
        let frozen = frozen.broadcast_add(&tensor("bias")?.to_dtype(DType::F64)?)?;
        let mean = (frozen + &moments.mean)?.flatten_all()?.to_vec1()?;
        Ok(Self { mean, variance: moments.total_variance()?.to_vec1()? })
    }

    /// Compares means and variances `[2, rows, d_out]` of `samples` samples with the exact ones, row by row: rows are independent.
    pub(crate) fn compare(&self, values: &[f32], samples: u32) -> Vec<Found> {
        let rows = self.variance.len();
        let width = self.mean.len() / rows.max(1);
        let (means, variances) = values.split_at(values.len() / 2);
        let t = f64::from(samples);
        let of_row = |row: usize| row * width..(row + 1) * width;
        let mut squares = Vec::new();
        let mut ratios = Vec::new();
        for row in 0..rows {
            let total: f64 = variances[of_row(row)].iter().copied().map(f64::from).sum();
            let distance: f64 = means[of_row(row)]
                .iter()
                .zip(&self.mean[of_row(row)])
                .map(|(&mean, exact)| (f64::from(mean) - exact).powi(2))
                .sum();
            squares.push(distance / (self.variance[row] / t));
            ratios.push(total / self.variance[row]);
        }
        let worst = |values: &[f64]| values.iter().copied().max_by(|a, b| (a - 1.0).abs().total_cmp(&(b - 1.0).abs()));
        [("mean", squares), ("variance", ratios)]
            .map(|(what, values)| {
                let (mean, error) = mean_and_error(&values);
                Found {
                    of: format!("{what} against the exact one, mean ratio of squares minus 1 in standard errors"),
                    statistic: (mean - 1.0).abs() / error,
                    limit: ERRORS,
                    farthest: worst(&values).map(|value| (1.0, value)),
                }
            })
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_passes_and_a_wrong_logit_is_shown() {
        let ours = [1.0_f32, -2.0, 0.5, 0.25];
        assert!(deterministic(&ours, &[1.000_01, -2.0, 0.5, 0.25], false).statistic < ROUNDING);
        let found = deterministic(&ours, &[1.0, -2.0, 0.6, 0.25], false);
        assert!(found.statistic > found.limit);
        assert_eq!(found.farthest.map(|(a, b)| (a * 10.0).round() - (b * 10.0).round()), Some(-1.0));
        assert!(deterministic(&ours, &ours[..3], false).statistic.is_infinite());
    }

    /// `[4, texts, 2]` with this mean and variance of class 1 at every text, means moved by `shift` errors alternately.
    fn outputs(texts: usize, mean: f32, variance: f32, shift: impl Fn(usize) -> f32) -> Vec<f32> {
        let mut values = vec![0.0; texts * 8];
        for text in 0..texts {
            values[text * 2 + 1] = mean + shift(text) * (2.0 * variance / 20.0).sqrt();
            // Variances differ from text to text, as estimates do.
            values[(texts + text) * 2 + 1] = variance * if text.is_multiple_of(2) { 0.9 } else { 1.1 };
        }
        values
    }

    #[test]
    fn shifted_means_and_other_variances_are_seen() {
        let wobble = |text: usize| [0.9, -1.2, 0.2, -0.4, 1.6, -0.8, 0.1, 1.1][text % 8];
        let ours = outputs(256, 0.5, 0.01, |_| 0.0);
        let same = samples(&ours, &outputs(256, 0.5, 0.01, wobble), 20);
        assert!(same.iter().all(|found| found.statistic < found.limit || found.statistic.is_nan()), "{same:?}");
        assert!(samples(&ours, &ours, 20).iter().all(|found| found.statistic == 0.0));
        let moved = samples(&ours, &outputs(256, 0.5, 0.01, |text| wobble(text) + 1.5), 20);
        assert!(moved[0].statistic > moved[0].limit, "{moved:?}");
        let mut stronger = outputs(256, 0.5, 0.012, wobble);
        stronger[513] *= 1.01;
        let stronger = samples(&ours, &stronger, 20);
        assert!(stronger[1].statistic > stronger[1].limit, "{stronger:?}");
    }

    #[test]
    fn rounding_that_adds_variance_is_seen() {
        // Three texts of two classes: mean probabilities, their variances, mean logits, their variances.
        let mut ours = [1.0_f32; 24];
        ours[6..12].copy_from_slice(&[0.1, 0.1, 0.2, 0.2, 0.3, 0.3]);
        ours[18..].fill(0.04);
        let mut theirs = ours;
        let same = precision(&ours, &theirs).unwrap();
        let expected = [
            (same.variance_ratio, 1.0),
            (same.rank_correlation, 1.0),
            (same.logit_distance, 0.0),
            (same.deviation, 0.2),
        ];
        assert!(expected.iter().all(|(found, expected)| (found - expected).abs() < 1e-7), "{same:?}");
        theirs[6..12].copy_from_slice(&[0.9, 0.9, 0.6, 0.6, 0.3, 0.3]);
        theirs[12] = 1.0 + 6.0_f32.sqrt() / 10.0;
        let other = precision(&ours, &theirs).unwrap();
        assert!((other.variance_ratio - 3.0).abs() < 1e-6 && (other.rank_correlation + 1.0).abs() < 1e-12, "{other:?}");
        assert!((other.logit_distance - 0.1).abs() < 1e-6, "{other:?}");
        assert!(precision(&ours, &theirs[..8]).is_err());
    }

    #[test]
    fn a_layer_is_held_against_its_exact_moments() {
        let exact = Exact { mean: vec![0.0; 200], variance: vec![2.0; 100] };
        let values = |mean: f32, variance: f32| -> Vec<f32> {
            let wobble = |row: usize| if row.is_multiple_of(2) { 0.8 } else { 1.2 };
            let means = (0..200).map(|place| mean * wobble(place / 2));
            means.chain((0..200).map(|place| variance * wobble(place / 2))).collect()
        };
        // Standard error of a mean of four samples of variance 1: 0.5, so squares average 0.25 an entry.
        let good = exact.compare(&values(0.49, 1.0), 4);
        assert!(good.iter().all(|found| found.statistic < found.limit), "{good:?}");
        let bad = exact.compare(&values(0.7, 0.8), 4);
        assert!(bad.iter().all(|found| found.statistic > found.limit), "{bad:?}");
    }
}
