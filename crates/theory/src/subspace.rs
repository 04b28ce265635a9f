//! Linear subspaces: orthonormal bases, projections, distances.

use ndarray::{Array1, Array2, ArrayView1, s};
use ndarray_linalg::{Eigh as _, QR as _, SVD as _, UPLO};
use rand::Rng;

use crate::error::{Error, Result};
use crate::random::normal;

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

/// The principal directions of inputs, by falling energy: eigenvectors of their second-moment matrix `sum x x^T`.
///
/// It is not centred: `S_X` is a linear subspace, and a common offset of the inputs is part of what training saw.
#[derive(Debug, Clone)]
pub struct Principal {
    energies: Array1<f64>,
    directions: Array2<f64>,
}

impl Principal {
    /// Of a symmetric second-moment matrix `[d, d]`.
    ///
    /// # Errors
    /// [`Error::NotFinite`]; [`Error::Subspace`] when it is zero or not square.
    pub fn of(second_moment: &Array2<f64>) -> Result<Self> {
        if !second_moment.iter().all(|entry| entry.is_finite()) {
            return Err(Error::NotFinite { what: "the second moments of the inputs" });
        }
        let d = second_moment.nrows();
        if !second_moment.is_square() || second_moment.iter().all(|&entry| entry == 0.0) {
            return Err(Error::Subspace { got: 0, dimension: d, expected: "give inputs that are not all zero" });
        }
        // LAPACK's order is by rising eigenvalue. Rounding may leave those of missing directions below 0.
        let (energies, directions) = second_moment.eigh(UPLO::Lower)?;
        Ok(Self {
            energies: energies.slice(s![..;-1]).mapv(|energy| energy.max(0.0)),
            directions: directions.slice(s![.., ..;-1]).to_owned(),
        })
    }

    /// `sum (x . u_j)^2` over the inputs, falling.
    pub fn energies(&self) -> &Array1<f64> {
        &self.energies
    }

    /// Orthonormal directions `u_j`, the columns of `[d, d]`.
    pub fn directions(&self) -> &Array2<f64> {
        &self.directions
    }

    /// Smallest `k` whose first `k` directions hold this share of the energy.
    pub fn dimension_at(&self, share: f64) -> usize {
        let wanted = share * self.energies.sum();
        let mut held = 0.0;
        for (place, energy) in self.energies.iter().enumerate() {
            held += energy;
            // The sum itself is rounded.
            if held >= wanted * (1.0 - 1e-12) {
                return place + 1;
            }
        }
        self.energies.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Dropout, Layer, Site};
    use crate::random::stream;

    #[test]
    fn principal_directions_are_the_axes_of_a_diagonal_matrix() {
        let energies = [0.5, 8.0, 0.0, 1.5];
        let principal = Principal::of(&Array2::from_diag(&Array1::from(energies.to_vec()))).unwrap();
        assert_eq!(principal.energies().to_vec(), [8.0, 1.5, 0.5, 0.0]);
        for (column, axis) in [(0, 1), (1, 3), (2, 0), (3, 2)] {
            assert!((principal.directions()[[axis, column]].abs() - 1.0).abs() < 1e-14);
        }
        let dimensions = [0.5, 0.8, 0.81, 0.95, 1.0].map(|share| principal.dimension_at(share));
        assert_eq!(dimensions, [1, 1, 2, 2, 3]);
        assert!(Principal::of(&Array2::zeros((3, 3))).is_err());
        assert!(Principal::of(&Array2::from_elem((2, 2), f64::NAN)).is_err());
    }

    #[test]
    fn the_span_of_inputs_is_where_their_energy_is() {
        let mut random = stream(3, 0);
        let x = normal((9, 3), 1.0, &mut random).dot(&normal((3, 20), 1.0, &mut random));
        let (span, principal) = (Subspace::span(&x).unwrap(), Principal::of(&x.dot(&x.t())).unwrap());
        assert_eq!((span.dimension(), principal.dimension_at(1.0 - 1e-9)), (3, 3));
        for direction in principal.directions().columns().into_iter().take(3) {
            assert!(span.distance(direction) < 1e-10);
        }
    }

    #[test]
    fn variances_of_many_are_those_of_each() {
        let mut random = stream(4, 0);
        let x = normal((5, 7), 1.0, &mut random);
        for site in Site::ALL {
            let (a, b) = (normal((3, 7), 1.0, &mut random), normal((4, 3), 1.0, &mut random));
            let layer = Layer::new(a, b, 1.7, site, Dropout::new(0.3).unwrap()).unwrap();
            for (many, row) in layer.variances(x.view()).iter().zip(x.rows()) {
                assert!((many - layer.variance(row)).abs() < 1e-12 * many);
            }
        }
    }
}
