//! Distance scores on features: how far an example is from what was trained on, without any posterior. Larger = farther.

use std::cmp::Ordering;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};

use crate::error::{Error, Result};
use crate::inputs;

/// Squared Mahalanobis distance to the nearest class mean under one covariance for all classes:
/// `min_c (x - mu_c)' Sigma^-1 (x - mu_c)`, `Sigma = (1/n) sum_i (x_i - mu_(y_i)) (x_i - mu_(y_i))'` (Lee et al. 2018,
/// equations 1 and 2; their score is its negative).
///
/// `Sigma` is shrunk to `(1 - shrinkage) Sigma + shrinkage tr(Sigma) / d I`: with fewer examples than features it has no
/// inverse otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Mahalanobis {
    /// `L^-1` of `Sigma = L L'`, `[features, features]`.
    whitening: Array2<f64>,
    /// Class means, whitened, `[classes, features]`.
    means: Array2<f64>,
}

/// A pivot of the factor this much smaller than the largest is rounding: the inverse would be noise.
const SMALLEST_PIVOT: f64 = 1e-7;

impl Mahalanobis {
    /// Means and covariance of labelled features; a class without examples has no mean and is not compared with.
    ///
    /// # Shapes
    /// `features: [examples, features]`, `labels: [examples]`.
    /// # Errors
    /// [`Error::TooFew`] without examples or features, [`Error::NotFinite`], [`Error::Length`] and [`Error::Label`] for the
    /// labels, [`Error::Setting`] unless `0 <= shrinkage <= 1`, [`Error::Singular`] when the shrunk covariance has no
    /// inverse.
    /// # Examples
    /// ```
    /// use bayeslora_metrics::Mahalanobis;
    /// let train = ndarray::array![[0.0, 1.0], [2.0, 1.0], [1.0, 0.0], [1.0, 2.0]];
    /// let distance = Mahalanobis::fit(train.view(), &[0, 0, 0, 0], 1, 0.0)?;
    /// // The covariance is I / 2.
    /// assert!((distance.score(ndarray::array![[1.0, 4.0]].view())?[0] - 18.0).abs() < 1e-12);
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn fit(features: ArrayView2<'_, f64>, labels: &[usize], classes: usize, shrinkage: f64) -> Result<Self> {
        check(features)?;
        inputs::labels(labels, "features", features.nrows(), classes)?;
        if !(0.0..=1.0).contains(&shrinkage) {
            return Err(Error::Setting { what: "shrinkage", value: shrinkage, expected: "[0, 1]" });
        }
        let (examples, width) = features.dim();
        let mut means = Array2::<f64>::zeros((classes, width));
        let mut counts = vec![0.0; classes];
        for (row, &label) in features.outer_iter().zip(labels) {
            let mut mean = means.row_mut(label);
            mean += &row;
            counts[label] += 1.0;
        }
        for (mut mean, &count) in means.outer_iter_mut().zip(&counts) {
            mean /= f64::max(count, 1.0);
        }
        let centred = &features - &means.select(Axis(0), labels);
        let covariance = centred.t().dot(&centred) / examples as f64;
        let ridge = shrinkage * covariance.diag().sum() / width as f64;
        let shrunk = (1.0 - shrinkage) * covariance + ridge * Array2::<f64>::eye(width);
        let whitening = inverse_factor(&shrunk)?;
        let present: Vec<usize> = (0..classes).filter(|&class| counts[class] > 0.0).collect();
        let means = means.select(Axis(0), &present).dot(&whitening.t());
        Ok(Self { whitening, means })
    }

    /// Squared distance of each example to the nearest class mean, at least 0.
    ///
    /// # Shapes
    /// `features: [examples, features]` to `[examples]`.
    /// # Errors
    /// [`Error::TooFew`], [`Error::NotFinite`], [`Error::Length`] for another number of features.
    pub fn score(&self, features: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        check(features)?;
        same_width(features, self.whitening.nrows())?;
        let whitened = features.dot(&self.whitening.t());
        let nearest = |row: ArrayView1<'_, f64>| {
            let distances = self.means.outer_iter().map(|mean| (&row - &mean).mapv(|gap| gap * gap).sum());
            distances.fold(f64::INFINITY, f64::min)
        };
        Ok(whitened.map_axis(Axis(1), nearest))
    }
}

/// `L^-1` of a symmetric positive definite `L L'`, row by row: Cholesky's factor and its inverse by forward substitution.
///
/// Own code because the alternatives are a linear-algebra crate with six dependencies or the system's LAPACK.
fn inverse_factor(matrix: &Array2<f64>) -> Result<Array2<f64>> {
    let width = matrix.nrows();
    let mut factor = Array2::<f64>::zeros((width, width));
    let mut inverse = Array2::<f64>::zeros((width, width));
    let mut largest: f64 = 0.0;
    for i in 0..width {
        for j in 0..i {
            let left = matrix[[i, j]] - factor.slice(s![i, ..j]).dot(&factor.slice(s![j, ..j]));
            factor[[i, j]] = left / factor[[j, j]];
        }
        let pivot = (matrix[[i, i]] - factor.slice(s![i, ..i]).mapv(|entry| entry * entry).sum()).sqrt();
        largest = largest.max(pivot);
        // The square root of a negative rest is NaN, with which every comparison is false.
        if pivot.partial_cmp(&(SMALLEST_PIVOT * largest)) != Some(Ordering::Greater) {
            return Err(Error::Singular { features: width });
        }
        factor[[i, i]] = pivot;
        // L L^-1 = I: this row of the inverse from those above it.
        let above = factor.slice(s![i, ..i]).dot(&inverse.slice(s![..i, ..]));
        inverse.row_mut(i).assign(&(above / -pivot));
        inverse[[i, i]] = pivot.recip();
    }
    Ok(inverse)
}

/// Euclidean distance to the `k`-th nearest training example, both scaled to unit length (Sun et al. 2022, equation 2).
#[derive(Debug, Clone, PartialEq)]
pub struct NearestNeighbours {
    /// Unit training features, `[examples, features]`.
    train: Array2<f64>,
    k: usize,
}

/// Examples scored at a time: their similarities with every training example are in memory together.
const ROWS: usize = 256;

impl NearestNeighbours {
    /// Keeps the training features.
    ///
    /// # Shapes
    /// `features: [examples, features]`.
    /// # Errors
    /// [`Error::TooFew`] when `k` is 0 or there are fewer than `k` examples, [`Error::NotFinite`].
    /// # Examples
    /// ```
    /// use bayeslora_metrics::NearestNeighbours;
    /// let train = ndarray::array![[3.0, 0.0], [0.0, 5.0], [-1.0, 0.0]];
    /// let second = NearestNeighbours::new(train.view(), 2)?;
    /// // The cosines are 1, 0 and -1; |a - b|^2 = 2 - 2 cos.
    /// assert!((second.score(ndarray::array![[7.0, 0.0]].view())?[0] - 2f64.sqrt()).abs() < 1e-15);
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn new(features: ArrayView2<'_, f64>, k: usize) -> Result<Self> {
        check(features)?;
        inputs::at_least("k", k, 1)?;
        inputs::at_least("training examples", features.nrows(), k)?;
        Ok(Self { train: unit_rows(features), k })
    }

    /// Distance of each example to its `k`-th nearest training example, in `[0, 2]`. A feature of zeros has no direction and stays
    /// zero.
    ///
    /// # Shapes
    /// `features: [examples, features]` to `[examples]`.
    /// # Errors
    /// [`Error::TooFew`], [`Error::NotFinite`], [`Error::Length`] for another number of features.
    pub fn score(&self, features: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        check(features)?;
        same_width(features, self.train.ncols())?;
        let squares = |rows: ArrayView2<'_, f64>| rows.map_axis(Axis(1), |row| row.dot(&row));
        let own = squares(self.train.view());
        let mut scores = Vec::with_capacity(features.nrows());
        for rows in features.axis_chunks_iter(Axis(0), ROWS) {
            let rows = unit_rows(rows);
            let products = rows.dot(&self.train.t());
            for (row, square) in products.outer_iter().zip(squares(rows.view())) {
                let mut distances: Vec<f64> = row.iter().zip(&own).map(|(dot, own)| square + own - 2.0 * dot).collect();
                let (_, kth, _) = distances.select_nth_unstable_by(self.k - 1, f64::total_cmp);
                // Rounding takes the square of a distance to itself below 0.
                scores.push(kth.max(0.0).sqrt());
            }
        }
        Ok(scores.into())
    }
}

fn unit_rows(features: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut rows = features.to_owned();
    for mut row in rows.outer_iter_mut() {
        let length = row.dot(&row).sqrt();
        if length > 0.0 {
            row /= length;
        }
    }
    rows
}

fn check(features: ArrayView2<'_, f64>) -> Result<()> {
    inputs::at_least("examples", features.nrows(), 1)?;
    inputs::at_least("features", features.ncols(), 1)?;
    match features.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, column), &value)) => Err(Error::NotFinite { what: "features", index: vec![row, column], value }),
        None => Ok(()),
    }
}

fn same_width(features: ArrayView2<'_, f64>, expected: usize) -> Result<()> {
    inputs::same_length("a row of features", features.ncols(), "a row of the training features", expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn an_absent_class_attracts_nothing() {
        // Class 1 has no example: a mean of zeros would be at distance 0 of the origin.
        let train = array![[5.0, 1.0], [7.0, 1.0], [6.0, 0.0], [6.0, 2.0]];
        let distance = Mahalanobis::fit(train.view(), &[0, 0, 2, 2], 3, 0.5).unwrap();
        assert!(distance.score(array![[0.0, 0.0]].view()).unwrap()[0] > 10.0);
    }

    #[test]
    fn a_singular_covariance_is_refused_and_shrinkage_cures_it() {
        let train = array![[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]];
        let fit = |shrinkage| Mahalanobis::fit(train.view(), &[0, 0, 0], 1, shrinkage);
        assert_eq!(
            fit(0.0).unwrap_err().to_string(),
            "the covariance of 2 features has no inverse; raise shrinkage, or give more examples or fewer features"
        );
        assert!(fit(0.1).is_ok());
    }

    #[test]
    fn bad_inputs_are_refused() {
        let train = array![[1.0, 0.0], [0.0, 1.0]];
        assert!(matches!(Mahalanobis::fit(train.view(), &[0], 1, 0.1), Err(Error::Length { .. })));
        assert!(matches!(Mahalanobis::fit(train.view(), &[0, 1], 1, 0.1), Err(Error::Label { .. })));
        assert!(matches!(Mahalanobis::fit(train.view(), &[0, 0], 1, f64::NAN), Err(Error::Setting { .. })));
        let two = "training examples: got 2, expected at least 3";
        assert_eq!(NearestNeighbours::new(train.view(), 3).unwrap_err().to_string(), two);
        assert_eq!(NearestNeighbours::new(train.view(), 0).unwrap_err().to_string(), "k: got 0, expected at least 1");
        let one = NearestNeighbours::new(train.view(), 1).unwrap();
        let wide = one.score(array![[1.0, 2.0, 3.0]].view()).unwrap_err().to_string();
        assert_eq!(wide, "a row of features has 3 entries, a row of the training features has 2");
        let nan = one.score(array![[1.0, f64::NAN]].view()).unwrap_err().to_string();
        assert_eq!(nan, "features[0, 1] is NaN, expected a finite number");
    }
}
