//! Training on expected losses without allocation: what the grids spend their time in.
//!
//! The gradient is that of [`crate::expected_gradient`] for dropout at the rank site, its plain twin. For dropout at the input site the
//! error `y - s B A (z * x)` has the mean `y - s B A x`, and the trace of its covariance is `s^2 kappa sum_j |(B A)_:j|^2 x_j^2`. So the
//! expected loss is `|Y - s B A X|_F^2 / (2 n) + s^2 kappa sum_j Delta_j |(B A)_:j|^2 / 2`, with `Delta_j` the mean of `x_j^2` over columns.

use ndarray::{Array1, Array2, Axis};

use crate::dynamics::{Optimiser, Pair, Problem, Trainer};
use crate::layer::{Dropout, Site};

/// What dropout adds to the expected squared loss.
#[derive(Debug, Clone)]
enum Penalty {
    /// `s^2 kappa / n`.
    Rank(f64),
    /// `s^2 kappa Delta_j`.
    Input(Vec<f64>),
}

/// Expected gradients of one problem.
#[derive(Debug)]
struct Gradients {
    /// `X'`, inputs one after another.
    inputs: Vec<f64>,
    /// `Y'`.
    targets: Vec<f64>,
    scale: f64,
    penalty: Penalty,
    gradient: Pair,
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    // Four sums at once: a single one would wait for itself.
    let mut sums = [0.0; 4];
    let (chunks, others) = (left.chunks_exact(4), right.chunks_exact(4));
    let rest = chunks.remainder().iter().zip(others.remainder()).map(|(l, r)| l * r).sum::<f64>();
    for (l, r) in chunks.zip(others) {
        for (sum, (l, r)) in sums.iter_mut().zip(l.iter().zip(r)) {
            *sum += l * r;
        }
    }
    sums.iter().sum::<f64>() + rest
}

fn add_multiple(to: &mut [f64], factor: f64, of: &[f64]) {
    for (to, of) in to.iter_mut().zip(of) {
        *to += factor * of;
    }
}

impl Gradients {
    fn new(problem: &Problem, pair: &Pair, scale: f64, (site, dropout): (Site, Dropout)) -> Self {
        let n = problem.x.ncols() as f64;
        let strength = scale * scale * dropout.variance();
        let penalty = if site == Site::Input {
            Penalty::Input((problem.x.mapv(|x| x * x).sum_axis(Axis(1)) * (strength / n)).to_vec())
        } else {
            Penalty::Rank(strength / n)
        };
        Self {
            inputs: problem.x.t().iter().copied().collect(),
            targets: problem.y.t().iter().copied().collect(),
            scale,
            penalty,
            gradient: Pair { a: Array2::zeros(pair.a.dim()), b: Array2::zeros(pair.b.dim()) },
        }
    }

    fn at(&mut self, pair: &Pair) -> &Pair {
        let Self { inputs, targets, scale, penalty, gradient } = self;
        let ((rank, d), outputs) = (pair.a.dim(), pair.b.nrows());
        let step = *scale * d as f64 / inputs.len() as f64;
        gradient.a.fill(0.0);
        gradient.b.fill(0.0);
        let norms = pair.b.mapv(|b| b * b).sum_axis(Axis(0));
        let mut energies = Array1::<f64>::zeros(rank);
        let (mut read, mut error) = (vec![0.0; rank], vec![0.0; outputs]);
        let (Some(a), Some(b)) = (pair.a.as_slice(), pair.b.as_slice()) else { return gradient };
        let (Some(to_a), Some(to_b)) = (gradient.a.as_slice_mut(), gradient.b.as_slice_mut()) else { return gradient };
        for (x, y) in inputs.chunks_exact(d).zip(targets.chunks_exact(outputs)) {
            for (i, row) in a.chunks_exact(d).enumerate() {
                read[i] = dot(row, x);
                energies[i] += read[i] * read[i];
            }
            for (o, row) in b.chunks_exact(rank).enumerate() {
                error[o] = (*scale * dot(row, &read) - y[o]) * step;
                add_multiple(&mut to_b[o * rank..(o + 1) * rank], error[o], &read);
            }
            for (i, read) in read.iter().enumerate() {
                let mut back = error.iter().enumerate().map(|(o, error)| b[o * rank + i] * error).sum::<f64>();
                if let Penalty::Rank(strength) = penalty {
                    back += *strength * norms[i] * read;
                }
                add_multiple(&mut to_a[i * d..(i + 1) * d], back, x);
            }
        }
        match penalty {
            Penalty::Rank(strength) => {
                for (place, to) in to_b.iter_mut().enumerate() {
                    *to += *strength * energies[place % rank] * b[place];
                }
            }
            Penalty::Input(strengths) => {
                let mut map = vec![0.0; d];
                for (o, row) in b.chunks_exact(rank).enumerate() {
                    map.fill(0.0);
                    for (i, &b) in row.iter().enumerate() {
                        add_multiple(&mut map, b, &a[i * d..(i + 1) * d]);
                    }
                    map.iter_mut().zip(strengths.iter()).for_each(|(map, strength)| *map *= strength);
                    for (i, &b) in row.iter().enumerate() {
                        add_multiple(&mut to_a[i * d..(i + 1) * d], b, &map);
                        to_b[o * rank + i] += dot(&map, &a[i * d..(i + 1) * d]);
                    }
                }
            }
        }
        gradient
    }
}

/// Trains `pair` on the expected loss of dropout at the rank or input site for `steps` steps.
pub(crate) fn descend_on(
    problem: &Problem,
    mut pair: Pair,
    scale: f64,
    dropout: (Site, Dropout),
    (optimiser, steps): (Optimiser, usize),
) -> Pair {
    // Rows lie one after another, whatever made the matrices.
    pair = Pair { a: pair.a.as_standard_layout().into_owned(), b: pair.b.as_standard_layout().into_owned() };
    let mut gradients = Gradients::new(problem, &pair, scale, dropout);
    let mut trainer = Trainer::new(optimiser, &pair);
    for _ in 0..steps {
        let gradient = gradients.at(&pair);
        trainer.step(&mut pair, gradient);
    }
    pair
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamics::expected_gradient;
    use crate::random::{normal, stream};

    fn scene() -> (Problem, Pair) {
        let mut random = stream(11, 0);
        let problem = Problem { x: normal((7, 5), 1.0, &mut random), y: normal((3, 5), 1.0, &mut random) };
        (problem, Pair { a: normal((2, 7), 1.0, &mut random), b: normal((3, 2), 1.0, &mut random) })
    }

    fn close(left: &Array2<f64>, right: &Array2<f64>, within: f64) -> bool {
        (left - right).iter().all(|difference| difference.abs() < within)
    }

    #[test]
    fn the_gradient_at_the_rank_site_is_that_of_its_plain_twin() {
        let ((problem, pair), dropout) = (scene(), Dropout::new(0.3).unwrap());
        let plain = expected_gradient(&problem, &pair, 1.5, dropout);
        let mut gradients = Gradients::new(&problem, &pair, 1.5, (Site::Rank, dropout));
        // Twice: buffers are cleared.
        gradients.at(&pair);
        let fast = gradients.at(&pair);
        assert!(close(&fast.a, &plain.a, 1e-13) && close(&fast.b, &plain.b, 1e-13));
    }

    #[test]
    fn the_gradient_at_the_input_site_is_the_derivative_of_the_loss_over_all_masks() {
        let ((problem, pair), dropout, scale) = (scene(), Dropout::new(0.3).unwrap(), 1.5);
        // One column: 2^7 masks.
        let problem = Problem {
            x: problem.x.slice(ndarray::s![.., ..1]).to_owned(),
            y: problem.y.slice(ndarray::s![.., ..1]).to_owned(),
        };
        let loss = |pair: &Pair| -> f64 {
            (0..1_u32 << 7)
                .map(|mask| {
                    let kept = mask.count_ones();
                    let share = 0.7_f64.powi(kept.cast_signed()) * 0.3_f64.powi(7 - kept.cast_signed());
                    let z = Array2::from_shape_fn((7, 1), |(j, _)| f64::from(mask >> j & 1) / 0.7);
                    let error = pair.b.dot(&pair.a.dot(&(z * &problem.x))) * scale - &problem.y;
                    share * error.iter().map(|e| e * e).sum::<f64>() / 2.0
                })
                .sum()
        };
        let gradient = Gradients::new(&problem, &pair, scale, (Site::Input, dropout)).at(&pair).clone();
        for (matrix, gradient) in [(0, &gradient.a), (1, &gradient.b)] {
            for (index, gradient) in gradient.indexed_iter() {
                let at = |step: f64| {
                    let mut moved = pair.clone();
                    let entries = if matrix == 0 { &mut moved.a } else { &mut moved.b };
                    entries[index] += step;
                    loss(&moved)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((difference - gradient).abs() < 1e-7, "{matrix} {index:?}: {difference} against {gradient}");
            }
        }
    }
}
