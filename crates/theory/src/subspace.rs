//! Linear subspaces: orthonormal bases, projections, distances.

use ndarray::{Array1, Array2, ArrayView1, s};
use ndarray_linalg::{QR as _, SVD as _};
use rand::Rng;

use crate::random::normal;
use crate::{Error, Result};

/// A subspace of `R^d`, by an orthonormal basis of it and one of its complement.
#[derive(Debug, Clone)]
pub struct Subspace {
    /// `[d, k]`.
    inside: Array2<f64>,
    /// `[d, d - k]`.
    outside: Array2<f64>,
}

impl Subspace {
    /// A uniformly random `k`-dimensional subspace of `R^d`.
    ///
    /// # Errors
    /// [`Error::Subspace`] unless `1 <= k <= d`.
    pub fn random(d: usize, k: usize, random: &mut impl Rng) -> Result<Self> {
        if k == 0 || k > d {
            return Err(Error::Subspace { got: k, dimension: d, expected: "between 1 and all of them" });
        }
        let (basis, _) = normal((d, d), 1.0, random).qr()?;
        Ok(Self { inside: basis.slice(s![.., ..k]).to_owned(), outside: basis.slice(s![.., k..]).to_owned() })
    }

    /// The span of the columns of `x [d, n]`: its left singular vectors whose singular value is not rounding.
    ///
    /// Duplicate columns and columns that depend on each other are no obstacle.
    ///
    /// # Errors
    /// [`Error::NotFinite`]; [`Error::Subspace`] when all columns are zero.
    pub fn span(x: &Array2<f64>) -> Result<Self> {
        if !x.iter().all(|entry| entry.is_finite()) {
            return Err(Error::NotFinite { what: "the inputs" });
        }
        let d = x.nrows();
        let (left, values, _) = x.svd(true, false)?;
        let largest = values.first().copied().unwrap_or(0.0);
        // LAPACK's bound on the error of a computed singular value.
        let rounding = largest * f64::EPSILON * d.max(x.ncols()) as f64;
        let k = values.iter().filter(|&&value| value > rounding).count();
        match left {
            Some(left) if k > 0 => {
                Ok(Self { inside: left.slice(s![.., ..k]).to_owned(), outside: left.slice(s![.., k..]).to_owned() })
            }
            _ => Err(Error::Subspace { got: 0, dimension: d, expected: "give inputs that are not all zero" }),
        }
    }

    /// `d`.
    pub fn ambient(&self) -> usize {
        self.inside.nrows()
    }

    /// `k`.
    pub fn dimension(&self) -> usize {
        self.inside.ncols()
    }

    /// Orthonormal basis `[d, k]`.
    pub fn basis(&self) -> &Array2<f64> {
        &self.inside
    }

    /// Orthonormal basis of the complement `[d, d - k]`.
    pub fn complement(&self) -> &Array2<f64> {
        &self.outside
    }

    /// `x_S`, the projection of `x`.
    pub fn project(&self, x: ArrayView1<'_, f64>) -> Array1<f64> {
        self.inside.dot(&self.inside.t().dot(&x))
    }

    /// `delta = |x - x_S|`.
    pub fn distance(&self, x: ArrayView1<'_, f64>) -> f64 {
        let rest = self.outside.t().dot(&x);
        rest.dot(&rest).sqrt()
    }

    /// A vector uniform on the unit sphere of the complement.
    ///
    /// # Errors
    /// [`Error::Subspace`] when the complement is empty.
    pub fn direction_outside(&self, random: &mut impl Rng) -> Result<Array1<f64>> {
        let codimension = self.outside.ncols();
        if codimension == 0 {
            let (got, dimension) = (self.dimension(), self.ambient());
            return Err(Error::Subspace { got, dimension, expected: "there is no outside" });
        }
        Ok(self.outside.dot(&crate::random::direction(codimension, random)))
    }
}
