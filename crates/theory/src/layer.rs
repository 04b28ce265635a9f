//! One adapted linear map with dropout: exact moments and samples, in f64.
//!
//! With multipliers `z = Bernoulli(q) / q`, `E z = 1`, `Var z = kappa = (1 - q) / q`, the increment of an input `x` is
//!
//! | site | increment | covariance |
//! |---|---|---|
//! | input | `s B A (z * x)` | `s^2 kappa (BA) diag(x^2) (BA)^T` |
//! | rank | `s B (z * (A x))` | `s^2 kappa B diag((A x)^2) B^T` |
//! | weight | `s B ((Z * A) x)` | `s^2 kappa B diag((A * A) x^2) B^T` |
//!
//! Derivation, for all three: the increment is `s F (z * c(x))` with a fixed factor `F` and independent multipliers, so its
//! covariance is `s^2 F diag(Var(z) c^2) F^T`: `F = BA`, `c = x`; `F = B`, `c = A x`; and for the weight site the `i`-th
//! component `sum_j Z_ij A_ij x_j` has variance `kappa sum_j A_ij^2 x_j^2`, independent over `i`. The trace is a quadratic
//! form in `x` in each case, `V(x) = x^T Q x` ([`Layer::quadratic_form`]).

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};
use rand::Rng;

use crate::error::{Error, Result};

/// Where the multipliers act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Site {
    /// `s B A (z * x)`.
    Input,
    /// `s B (z * (A x))`.
    Rank,
    /// `s B ((Z * A) x)`.
    Weight,
}

impl Site {
    /// Every site.
    pub const ALL: [Self; 3] = [Self::Input, Self::Rank, Self::Weight];

    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Rank => "rank",
            Self::Weight => "weight",
        }
    }
}

/// Dropout probability `p` in [0, 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout(f64);

impl Dropout {
    /// Dropout with probability `p`.
    ///
    /// # Errors
    /// [`Error::Setting`] outside [0, 1).
    pub fn new(p: f64) -> Result<Self> {
        if (0.0..1.0).contains(&p) {
            Ok(Self(p))
        } else {
            Err(Error::Setting { name: "dropout probability", got: p, expected: "0 <= p < 1" })
        }
    }

    /// `q = 1 - p`.
    pub fn keep(self) -> f64 {
        1.0 - self.0
    }

    /// `kappa = p / q`.
    pub fn variance(self) -> f64 {
        self.0 / self.keep()
    }

    /// One multiplier, `Bernoulli(q) / q`.
    pub fn multiplier(self, random: &mut impl Rng) -> f64 {
        if random.random::<f64>() < self.keep() { 1.0 / self.keep() } else { 0.0 }
    }

    /// Multipliers of this shape.
    pub fn mask(self, shape: (usize, usize), random: &mut impl Rng) -> Array2<f64> {
        Array2::from_shape_simple_fn(shape, || self.multiplier(random))
    }
}

/// Adapter `s B A` with dropout at a site.
#[derive(Debug, Clone)]
pub struct Layer {
    /// `A [r, d_in]`.
    pub a: Array2<f64>,
    /// `B [d_out, r]`.
    pub b: Array2<f64>,
    /// `s`.
    pub scale: f64,
    /// Site.
    pub site: Site,
    /// Dropout.
    pub dropout: Dropout,
}

impl Layer {
    /// A layer whose matrices go together. Any `r >= 1` is allowed: nothing here needs `r <= min(d_in, d_out)`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NotFinite`], or [`Error::Setting`] for a scale that is not finite.
    pub fn new(a: Array2<f64>, b: Array2<f64>, scale: f64, site: Site, dropout: Dropout) -> Result<Self> {
        if a.nrows() == 0 || a.ncols() == 0 || b.ncols() != a.nrows() || b.nrows() == 0 {
            let (got, expected) = (b.shape().to_vec(), vec![b.nrows().max(1), a.nrows().max(1)]);
            return Err(Error::Shape { what: "B", got, expected });
        }
        for (what, matrix) in [("A", &a), ("B", &b)] {
            if !matrix.iter().all(|entry| entry.is_finite()) {
                return Err(Error::NotFinite { what });
            }
        }
        if !scale.is_finite() {
            return Err(Error::Setting { name: "scale", got: scale, expected: "a finite number" });
        }
        Ok(Self { a, b, scale, site, dropout })
    }

    /// `s B A x`.
    pub fn mean(&self, x: ArrayView1<'_, f64>) -> Array1<f64> {
        self.b.dot(&self.a.dot(&x)) * self.scale
    }

    /// Covariance of the increment `[d_out, d_out]`.
    pub fn covariance(&self, x: ArrayView1<'_, f64>) -> Array2<f64> {
        let factor = match self.site {
            Site::Input => self.b.dot(&self.a),
            Site::Rank | Site::Weight => self.b.clone(),
        };
        let weights = match self.site {
            Site::Input => x.mapv(|x| x * x),
            Site::Rank => self.a.dot(&x).mapv(|u| u * u),
            Site::Weight => self.a.mapv(|a| a * a).dot(&x.mapv(|x| x * x)),
        };
        (&factor * &weights).dot(&factor.t()) * (self.scale * self.scale * self.dropout.variance())
    }

    /// `Q [d_in, d_in]` with `V(x) = tr Cov = x^T Q x`.
    pub fn quadratic_form(&self) -> Array2<f64> {
        let norms = self.b.mapv(|b| b * b).sum_axis(Axis(0));
        let form = match self.site {
            Site::Input => Array2::from_diag(&self.b.dot(&self.a).mapv(|m| m * m).sum_axis(Axis(0))),
            Site::Rank => (&self.a.t() * &norms).dot(&self.a),
            Site::Weight => Array2::from_diag(&norms.dot(&self.a.mapv(|a| a * a))),
        };
        form * (self.scale * self.scale * self.dropout.variance())
    }

    /// `V(x)`, the trace of the covariance.
    pub fn variance(&self, x: ArrayView1<'_, f64>) -> f64 {
        x.dot(&self.quadratic_form().dot(&x))
    }

    /// `V(x)` of every row of `x [n, d_in]`: `n r d_in` operations at most, where the quadratic form takes `n d_in^2`.
    pub fn variances(&self, x: ArrayView2<'_, f64>) -> Array1<f64> {
        let norms = self.b.mapv(|b| b * b).sum_axis(Axis(0));
        let variances = match self.site {
            Site::Input => x.mapv(|x| x * x).dot(&self.b.dot(&self.a).mapv(|m| m * m).sum_axis(Axis(0))),
            Site::Rank => x.dot(&self.a.t()).mapv(|u| u * u).dot(&norms),
            Site::Weight => x.mapv(|x| x * x).dot(&norms.dot(&self.a.mapv(|a| a * a))),
        };
        variances * (self.scale * self.scale * self.dropout.variance())
    }

    /// One sample of the increment.
    pub fn sample(&self, x: ArrayView1<'_, f64>, random: &mut impl Rng) -> Array1<f64> {
        let core = match self.site {
            Site::Input => self.a.dot(&x.mapv(|x| x * self.dropout.multiplier(random))),
            Site::Rank => self.a.dot(&x).mapv(|u| u * self.dropout.multiplier(random)),
            Site::Weight => {
                let mut masked = self.dropout.mask(self.a.dim(), random);
                Zip::from(&mut masked).and(&self.a).for_each(|z, &a| *z *= a);
                masked.dot(&x)
            }
        };
        self.b.dot(&core) * self.scale
    }
}
