//! Ranks with ties shared (midranks) and Spearman's correlation, the Pearson correlation of midranks.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::error::{Error, Result};
use crate::inputs;

/// A correlation and how likely one at least as strong is without association.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Correlation {
    /// In `[-1, 1]`.
    pub coefficient: f64,
    /// Two-sided.
    pub p_value: f64,
}

/// Spearman's rank correlation with its two-sided p-value.
///
/// The Pearson correlation `r` of midranks; `p` from `t = r sqrt((n - 2) / (1 - r^2))`, Student with `n - 2` degrees of
/// freedom, as `scipy.stats.spearmanr`. The approximation is rough below about ten examples.
///
/// # Errors
/// [`Error::TooFew`] below three examples, [`Error::Length`], [`Error::NotFinite`], and [`Error::Constant`] naming the
/// input without variation.
/// # Examples
/// ```
/// let correlation = bayeslora_metrics::spearman(&[1.0, 2.0, 3.0, 4.0], &[1.0, 4.0, 9.0, 8.0])?;
/// assert!((correlation.coefficient - 0.8).abs() < 1e-15);
/// assert!((correlation.p_value - 0.2).abs() < 1e-12);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn spearman(x: &[f64], y: &[f64]) -> Result<Correlation> {
    inputs::same_length("y", y.len(), "x", x.len())?;
    inputs::at_least("examples", x.len(), 3)?;
    inputs::finite("x", x)?;
    inputs::finite("y", y)?;
    for (what, values) in [("x", x), ("y", y)] {
        if values.iter().all(|&value| equal(value, values[0])) {
            return Err(Error::Constant { what });
        }
    }
    let coefficient = pearson(&midranks(x), &midranks(y));
    Ok(Correlation { coefficient, p_value: student_p(coefficient, (x.len() - 2) as f64) })
}

/// Spearman's correlation of `x` and `y` with the ranks of `given` held fixed:
/// `(r_xy - r_xg r_yg) / sqrt((1 - r_xg^2) (1 - r_yg^2))` (Kendall and Stuart), its p-value from Student's t with `n - 3` degrees
/// of freedom.
///
/// # Errors
/// As [`spearman`], and below four examples; [`Error::Constant`] also when the ranks of `x` or `y` are those of `given`: nothing
/// is left to correlate.
/// # Examples
/// ```
/// // y follows x only through g.
/// let (x, y, g) = ([1.0, 3.0, 2.0, 5.0, 4.0], [2.0, 1.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0]);
/// let partial = bayeslora_metrics::partial_spearman(&x, &y, &g)?;
/// assert!((bayeslora_metrics::spearman(&x, &y)?.coefficient - 0.6).abs() < 1e-15);
/// // (0.6 - 0.8 * 0.9) / sqrt((1 - 0.64) (1 - 0.81))
/// assert!((partial.coefficient - (-0.12 / 0.0684_f64.sqrt())).abs() < 1e-12);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn partial_spearman(x: &[f64], y: &[f64], given: &[f64]) -> Result<Correlation> {
    inputs::at_least("examples", x.len(), 4)?;
    let xy = spearman(x, y)?.coefficient;
    let (xg, yg) = (spearman(x, given)?.coefficient, spearman(y, given)?.coefficient);
    for (what, own) in [("x given the third", xg), ("y given the third", yg)] {
        if 1.0 - own * own < 1e-12 {
            return Err(Error::Constant { what });
        }
    }
    let coefficient = (xy - xg * yg) / ((1.0 - xg * xg) * (1.0 - yg * yg)).sqrt();
    Ok(Correlation { coefficient, p_value: student_p(coefficient, (x.len() - 3) as f64) })
}

/// Ranks from 1, tied values sharing the mean of the ranks they occupy.
pub(crate) fn midranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0;
    for tied in order.chunk_by(|&a, &b| equal(values[a], values[b])) {
        let shared = below as f64 + (tied.len() + 1) as f64 / 2.0;
        for &index in tied {
            ranks[index] = shared;
        }
        below += tied.len();
    }
    ranks
}

/// Numeric equality, under which -0.0 and 0.0 tie; `total_cmp` sorts them apart but next to each other.
pub(crate) fn equal(a: f64, b: f64) -> bool {
    a.partial_cmp(&b) == Some(std::cmp::Ordering::Equal)
}

fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        let (dx, dy) = (a - mean_x, b - mean_y);
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0)
}

fn student_p(r: f64, degrees_of_freedom: f64) -> f64 {
    let t = r.abs() * (degrees_of_freedom / ((1.0 - r) * (1.0 + r))).sqrt();
    // |r| = 1 gives t = inf (the tail is 0). `StudentsT` cannot fail for positive degrees of freedom.
    StudentsT::new(0.0, 1.0, degrees_of_freedom).map_or(f64::NAN, |law| (2.0 * law.sf(t)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_their_ranks_whatever_the_sign_of_zero() {
        assert_eq!(midranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), [4.0, 1.0, 4.0, 2.0, 4.0]);
        assert_eq!(midranks(&[0.0, -0.0, 1.0]), [1.5, 1.5, 3.0]);
    }

    #[test]
    fn perfect_association_has_p_zero() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0];
        let down = spearman(&x, &[5.0, 4.0, 3.0, 2.0, 1.0]).unwrap();
        assert!((down.coefficient + 1.0).abs() < 1e-15);
        assert!(down.p_value < 1e-12);
        assert!(spearman(&x, &[1.0, 2.0, 3.0, 5.0, 4.0]).unwrap().p_value > 0.01);
    }

    #[test]
    fn bad_inputs_are_refused() {
        let refuse = |x: &[f64], y: &[f64]| spearman(x, y).unwrap_err().to_string();
        assert_eq!(refuse(&[1.0, 2.0, 3.0], &[4.0, 4.0, 4.0]), "y is constant, so its ranks correlate with nothing");
        assert_eq!(refuse(&[0.0, -0.0, 0.0], &[1.0, 2.0, 3.0]), "x is constant, so its ranks correlate with nothing");
        assert_eq!(refuse(&[1.0, 2.0], &[1.0, 2.0]), "examples: got 2, expected at least 3");
        assert_eq!(refuse(&[1.0, 2.0, 3.0], &[1.0]), "y has 1 entries, x has 3");
        assert_eq!(refuse(&[1.0, f64::NAN, 3.0], &[1.0, 2.0, 3.0]), "x[1] is NaN, expected a finite number");
    }
}
