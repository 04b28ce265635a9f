//! What every metric requires of its inputs: enough rows, equal lengths, labels that name classes, finite numbers and
//! rows that are distributions, `p_c >= 0` and `sum_c p_c = 1`.

use ndarray::ArrayView2;

use crate::error::{Error, Result};

/// How far a row of probabilities may sum from 1.
///
/// A softmax rounded to f32 misses 1 by up to `C * 2^-24`, 6e-8 per class; a row that was never normalised misses by far
/// more than this.
const SUM_TOLERANCE: f64 = 1e-6;

/// More bins than this are a mistake, and would cost memory instead of a message.
const MOST_BINS: usize = 1_000_000;

pub(crate) fn bins(what: &'static str, bins: usize) -> Result<()> {
    at_least(what, bins, 1)?;
    if bins > MOST_BINS {
        return Err(Error::Setting { what, value: bins as f64, expected: "[1, 1000000]" });
    }
    Ok(())
}

pub(crate) fn at_least(what: &'static str, got: usize, expected: usize) -> Result<()> {
    if got < expected { Err(Error::TooFew { what, got, expected }) } else { Ok(()) }
}

pub(crate) fn same_length(what: &'static str, got: usize, reference: &'static str, expected: usize) -> Result<()> {
    if got == expected { Ok(()) } else { Err(Error::Length { what, got, reference, expected }) }
}

pub(crate) fn finite(what: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::NotFinite { what, index: vec![index], value: values[index] }),
        None => Ok(()),
    }
}

/// One label per row, each naming one of `classes` classes.
pub(crate) fn labels(labels: &[usize], reference: &'static str, examples: usize, classes: usize) -> Result<()> {
    same_length("labels", labels.len(), reference, examples)?;
    match labels.iter().position(|&label| label >= classes) {
        Some(example) => Err(Error::Label { example, value: labels[example], classes }),
        None => Ok(()),
    }
}

/// At least one row, each a distribution.
pub(crate) fn probabilities(what: &'static str, rows: ArrayView2<'_, f64>) -> Result<()> {
    shape(rows)?;
    for (example, row) in rows.outer_iter().enumerate() {
        for (class, &value) in row.iter().enumerate() {
            if !(0.0..=1.0 + SUM_TOLERANCE).contains(&value) {
                return Err(Error::Probability { what, index: [example, class], value });
            }
        }
        sums_to_one(what, example, row.sum())?;
    }
    Ok(())
}

/// At least one row, each the logarithm of a distribution; minus infinity is the logarithm of 0.
pub(crate) fn log_probabilities(what: &'static str, rows: ArrayView2<'_, f64>) -> Result<()> {
    shape(rows)?;
    for (example, row) in rows.outer_iter().enumerate() {
        for (class, &value) in row.iter().enumerate() {
            // Negated so that NaN is refused too.
            if !matches!(value.partial_cmp(&SUM_TOLERANCE), Some(std::cmp::Ordering::Less)) {
                return Err(Error::LogProbability { what, index: [example, class], value });
            }
        }
        sums_to_one(what, example, row.iter().map(|value| value.exp()).sum())?;
    }
    Ok(())
}

fn shape(rows: ArrayView2<'_, f64>) -> Result<()> {
    at_least("examples", rows.nrows(), 1)?;
    at_least("classes", rows.ncols(), 1)
}

fn sums_to_one(what: &'static str, example: usize, sum: f64) -> Result<()> {
    if (sum - 1.0).abs() <= SUM_TOLERANCE { Ok(()) } else { Err(Error::RowSum { what, example, sum }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn rows_that_are_no_distributions_are_refused() {
        let check = |rows: ndarray::Array2<f64>| probabilities("probabilities", rows.view());
        assert_eq!(check(array![[0.25, 0.75], [1.0, 0.0]]), Ok(()));
        assert!(matches!(check(array![[0.5, 0.5], [1.5, -0.5]]), Err(Error::Probability { index: [1, 0], .. })));
        assert!(matches!(check(array![[0.5, f64::NAN]]), Err(Error::Probability { index: [0, 1], .. })));
        assert!(matches!(check(array![[0.5, 0.4]]), Err(Error::RowSum { example: 0, .. })));
        assert!(matches!(check(ndarray::Array2::zeros((0, 2))), Err(Error::TooFew { what: "examples", .. })));
        assert!(matches!(check(ndarray::Array2::zeros((2, 0))), Err(Error::TooFew { what: "classes", .. })));
    }

    #[test]
    fn log_probabilities_may_be_minus_infinity_but_not_nan() {
        let check = |rows: ndarray::Array2<f64>| log_probabilities("log-probabilities", rows.view());
        assert_eq!(check(array![[0.0, f64::NEG_INFINITY]]), Ok(()));
        assert!(matches!(check(array![[0.0, f64::NAN]]), Err(Error::LogProbability { index: [0, 1], .. })));
        assert!(matches!(check(array![[0.5, 0.5]]), Err(Error::LogProbability { index: [0, 0], .. })));
        assert!(matches!(check(array![[-0.5, -0.5]]), Err(Error::RowSum { example: 0, .. })));
    }

    #[test]
    fn labels_must_name_classes() {
        assert_eq!(labels(&[0, 2], "probabilities", 2, 3), Ok(()));
        assert_eq!(labels(&[0, 3], "probabilities", 2, 3), Err(Error::Label { example: 1, value: 3, classes: 3 }));
        assert!(matches!(labels(&[0], "probabilities", 2, 3), Err(Error::Length { got: 1, expected: 2, .. })));
    }
}
