//! Training of `h(x) = s B A x` on squared loss, in f64: gradients of sampled and of expected dropout, and the optimisers.
//!
//! The loss over inputs `X [d_in, n]` and targets `Y [d_out, n]` is `|Y - s B A X|_F^2 / (2 n)`. Sampled dropout replaces the
//! adapter by a masked one, a fresh mask for every column. Dropout at the rank site has the expected loss
//!
//! `|Y - s B A X|_F^2 / (2 n) + s^2 kappa sum_i |b_i|^2 |a_i X|^2 / (2 n)`,
//!
//! because the error `y - s B (z * u)` has mean `y - s B u` and the trace of its covariance is `s^2 kappa sum_i |b_i|^2 u_i^2`.

use ndarray::{Array2, Axis, Zip};
use rand::Rng;

use crate::layer::{Dropout, Site};

/// A linear regression problem.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Inputs `[d_in, n]`.
    pub x: Array2<f64>,
    /// Targets `[d_out, n]`.
    pub y: Array2<f64>,
}

/// Adapter matrices, or gradients of them.
#[derive(Debug, Clone)]
pub struct Pair {
    /// `A [r, d_in]`.
    pub a: Array2<f64>,
    /// `B [d_out, r]`.
    pub b: Array2<f64>,
}

/// Gradient of the loss without dropout, or of its expectation under dropout at the rank site.
pub fn expected_gradient(problem: &Problem, pair: &Pair, scale: f64, dropout: Dropout) -> Pair {
    let Problem { x, y } = problem;
    let n = x.ncols() as f64;
    let u = pair.a.dot(x);
    let error = pair.b.dot(&u) * scale - y;
    let penalty = scale * scale * dropout.variance() / n;
    let norms = pair.b.mapv(|b| b * b).sum_axis(Axis(0));
    let energies = u.mapv(|u| u * u).sum_axis(Axis(1));
    let b = error.dot(&u.t()) * (scale / n) + &pair.b * &energies * penalty;
    let back = pair.b.t().dot(&error) * (scale / n) + &u * &norms.insert_axis(Axis(1)) * penalty;
    Pair { a: back.dot(&x.t()), b }
}

/// Gradient under one sampled mask per column.
pub fn sampled_gradient(
    problem: &Problem,
    pair: &Pair,
    scale: f64,
    (site, dropout): (Site, Dropout),
    random: &mut impl Rng,
) -> Pair {
    let Problem { x, y } = problem;
    let n = x.ncols() as f64;
    match site {
        Site::Input => {
            let x = dropout.mask(x.dim(), random) * x;
            let u = pair.a.dot(&x);
            let error = (pair.b.dot(&u) * scale - y) * (scale / n);
            Pair { a: pair.b.t().dot(&error).dot(&x.t()), b: error.dot(&u.t()) }
        }
        Site::Rank => {
            let mask = dropout.mask((pair.a.nrows(), x.ncols()), random);
            let u = &mask * &pair.a.dot(x);
            let error = (pair.b.dot(&u) * scale - y) * (scale / n);
            Pair { a: (mask * pair.b.t().dot(&error)).dot(&x.t()), b: error.dot(&u.t()) }
        }
        Site::Weight => {
            let mut gradient = Pair { a: Array2::zeros(pair.a.dim()), b: Array2::zeros(pair.b.dim()) };
            for (x, y) in x.axis_iter(Axis(1)).zip(y.axis_iter(Axis(1))) {
                let mask = dropout.mask(pair.a.dim(), random);
                let u = (&mask * &pair.a).dot(&x);
                let error = (pair.b.dot(&u) * scale - y) * (scale / n);
                let outer = |left: ndarray::Array1<f64>, right: ndarray::ArrayView1<'_, f64>| {
                    left.insert_axis(Axis(1)).dot(&right.insert_axis(Axis(0)))
                };
                gradient.a += &(mask * outer(pair.b.t().dot(&error), x));
                gradient.b += &outer(error, u.view());
            }
            gradient
        }
    }
}

/// What Adam adds to the root of its second moment.
pub(crate) const ADAM_EPSILON: f64 = 1e-8;

/// How parameters follow gradients. Weight decay is decoupled: each step first multiplies them by `1 - rate * decay`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimiser {
    /// Gradient descent.
    Sgd {
        /// Learning rate.
        rate: f64,
        /// Heavy-ball momentum.
        momentum: f64,
        /// Decoupled weight decay.
        decay: f64,
    },
    /// Adam (AdamW where `decay` is not 0) with moments 0.9 and 0.999 and epsilon 1e-8.
    Adam {
        /// Learning rate.
        rate: f64,
        /// Decoupled weight decay.
        decay: f64,
    },
}

/// An optimiser with what it remembers.
#[derive(Debug)]
pub struct Trainer {
    optimiser: Optimiser,
    first: Pair,
    second: Pair,
    steps: i32,
}

impl Trainer {
    /// Nothing remembered yet.
    pub fn new(optimiser: Optimiser, pair: &Pair) -> Self {
        let zeros = || Pair { a: Array2::zeros(pair.a.dim()), b: Array2::zeros(pair.b.dim()) };
        Self { optimiser, first: zeros(), second: zeros(), steps: 0 }
    }

    /// One step.
    pub fn step(&mut self, pair: &mut Pair, gradient: &Pair) {
        self.steps += 1;
        let Self { optimiser, first, second, steps } = self;
        update(*optimiser, *steps, &mut pair.a, &gradient.a, &mut first.a, &mut second.a);
        update(*optimiser, *steps, &mut pair.b, &gradient.b, &mut first.b, &mut second.b);
    }
}

fn update(
    optimiser: Optimiser,
    steps: i32,
    value: &mut Array2<f64>,
    gradient: &Array2<f64>,
    first: &mut Array2<f64>,
    second: &mut Array2<f64>,
) {
    match optimiser {
        Optimiser::Sgd { rate, momentum, decay } => {
            Zip::from(value).and(gradient).and(first).for_each(|value, &gradient, velocity| {
                *velocity = momentum * *velocity + gradient;
                *value = *value * (1.0 - rate * decay) - rate * *velocity;
            });
        }
        Optimiser::Adam { rate, decay } => {
            let (bias1, bias2) = (1.0 - 0.9_f64.powi(steps), 1.0 - 0.999_f64.powi(steps));
            Zip::from(value).and(gradient).and(first).and(second).for_each(|value, &gradient, first, second| {
                *first = 0.9 * *first + 0.1 * gradient;
                *second = 0.999 * *second + 0.001 * gradient * gradient;
                *value =
                    *value * (1.0 - rate * decay) - rate * (*first / bias1) / ((*second / bias2).sqrt() + ADAM_EPSILON);
            });
        }
    }
}
