//! Low-rank adapters of the last map of a classifier, with their posterior.

use ndarray::{Array1, Array2, ArrayView2, Zip, aview2};

use crate::error::{Error, Result};
use crate::target::Target;

/// What stands between the adapted map and the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Hyperbolic tangent: a BERT pooler.
    Tanh,
    /// Nothing: the head is linear in the adapted map, and its logits are in `B A`.
    Identity,
}

/// The frozen head: `logits = weight a + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// `[classes, d_out]`.
    pub weight: Array2<f64>,
    /// `[classes]`.
    pub bias: Array1<f64>,
}

/// The prior and the temperature of the posterior.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// Standard deviation of every entry of `A` and `B`, which are independent and normal around 0; above 0.
    pub sd: f64,
    /// Temperature `T` of the posterior, `p(theta | D)^(1 / T)`; 1 is Bayes, below it is cold. Above 0.
    pub temperature: f64,
}

/// A classifier whose last map has an adapter, everything below it and its head being frozen.
///
/// With `x_n` the map's input for text n and `c_n = W0 x_n + b` its frozen output:
/// `u_n = A x_n`, `a_n = act(c_n + s B u_n)`, `p(y_n | theta) = softmax(H a_n + h)_{y_n}`, and
/// `log p(theta | D) = (sum_n log p(y_n | theta) - |theta|^2 / (2 sd^2)) / T + const`.
///
/// The parameters are `A` (`[r, d_in]`), then `B` (`[d_out, r]`), row by row.
#[derive(Debug, Clone)]
pub struct LastMap {
    inputs: Array2<f64>,
    frozen: Array2<f64>,
    labels: Vec<usize>,
    head: Head,
    activation: Activation,
    rank: usize,
    scale: f64,
    prior: Prior,
}

impl LastMap {
    /// The posterior of adapters of `rank` and scale `s = alpha / r` given labelled texts.
    ///
    /// # Shapes
    /// `inputs: [texts, d_in]`, `frozen: [texts, d_out]`, `labels: [texts]`, `head.weight: [classes, d_out]`.
    /// # Errors
    /// [`Error::Shape`] when they do not fit, [`Error::Setting`] for a rank of 0, a label of no class, or a prior or temperature that is not
    /// positive.
    pub fn new(
        (inputs, frozen): (Array2<f64>, Array2<f64>),
        labels: Vec<usize>,
        (head, activation): (Head, Activation),
        (rank, scale): (usize, f64),
        prior: Prior,
    ) -> Result<Self> {
        let (texts, classes) = (inputs.nrows(), head.weight.nrows());
        check("frozen outputs", (frozen.nrows(), frozen.ncols()), (texts, head.weight.ncols()))?;
        check("labels", (labels.len(), 1), (texts, 1))?;
        check("bias of the head", (head.bias.len(), 1), (classes, 1))?;
        let beyond = labels.iter().copied().find(|&label| label >= classes);
        for (what, value, ok, expected) in [
            ("rank", rank as f64, rank > 0, "at least 1"),
            ("label", beyond.unwrap_or(0) as f64, beyond.is_none(), "a class of the head"),
            ("standard deviation of the prior", prior.sd, positive(prior.sd), "a positive number"),
            ("temperature of the posterior", prior.temperature, positive(prior.temperature), "a positive number"),
            ("scale", scale, scale.is_finite(), "a finite number"),
        ] {
            if !ok {
                return Err(Error::Setting { what, value, expected });
            }
        }
        Ok(Self { inputs, frozen, labels, head, activation, rank, scale, prior })
    }

    /// `A` and `B` of some parameters.
    fn split<'a>(&self, at: &'a [f64]) -> (ArrayView2<'a, f64>, ArrayView2<'a, f64>) {
        let (r, d_in, d_out) = (self.rank, self.inputs.ncols(), self.frozen.ncols());
        let (a, b) = at.split_at(r * d_in);
        let view =
            |values: &'a [f64], shape| ArrayView2::from_shape(shape, values).unwrap_or_else(|_| aview2::<f64, 0>(&[]));
        (view(a, (r, d_in)), view(&b[..d_out * r], (d_out, r)))
    }

    /// Activations `a = act(c + s B A x)` and `u = A x`, `[texts, d_out]` and `[texts, r]`.
    fn activations(
        &self,
        at: &[f64],
        (inputs, frozen): (ArrayView2<'_, f64>, ArrayView2<'_, f64>),
    ) -> [Array2<f64>; 2] {
        let (a, b) = self.split(at);
        let u = inputs.dot(&a.t());
        let mut out = frozen.to_owned();
        ndarray::linalg::general_mat_mul(self.scale, &u, &b.t(), 1.0, &mut out);
        if self.activation == Activation::Tanh {
            out.mapv_inplace(f64::tanh);
        }
        [out, u]
    }

    /// `log p(class)` of texts, `[texts, classes]`, under parameters `at`.
    ///
    /// # Shapes
    /// `at: [dimension]`, `inputs: [texts, d_in]`, `frozen: [texts, d_out]`.
    /// # Errors
    /// [`Error::Shape`] when they do not fit.
    pub fn log_probabilities(
        &self,
        at: &[f64],
        (inputs, frozen): (ArrayView2<'_, f64>, ArrayView2<'_, f64>),
    ) -> Result<Array2<f64>> {
        check("parameters", (at.len(), 1), (self.dimension(), 1))?;
        check("inputs", inputs.dim(), (inputs.nrows(), self.inputs.ncols()))?;
        check("frozen outputs", frozen.dim(), (inputs.nrows(), self.frozen.ncols()))?;
        let [activations, _] = self.activations(at, (inputs, frozen));
        Ok(self.log_softmax(&activations))
    }

    fn log_softmax(&self, activations: &Array2<f64>) -> Array2<f64> {
        let mut logits = activations.dot(&self.head.weight.t()) + &self.head.bias;
        for mut row in logits.outer_iter_mut() {
            let most = row.fold(f64::NEG_INFINITY, |most, &value| most.max(value));
            let total = most + row.iter().map(|value| (value - most).exp()).sum::<f64>().ln();
            row -= total;
        }
        logits
    }
}

impl Target for LastMap {
    fn dimension(&self) -> usize {
        self.rank * (self.inputs.ncols() + self.frozen.ncols())
    }

    fn log_density(&self, at: &[f64], gradient: &mut [f64]) -> f64 {
        let (_, b) = self.split(at);
        let [activations, u] = self.activations(at, (self.inputs.view(), self.frozen.view()));
        let log_p = self.log_softmax(&activations);
        let likelihood: f64 = self.labels.iter().zip(log_p.outer_iter()).map(|(&label, row)| row[label]).sum();
        // Towards the logits: one-hot minus probabilities.
        let mut back = log_p.mapv_into(|value| -value.exp());
        for (&label, mut row) in self.labels.iter().zip(back.outer_iter_mut()) {
            row[label] += 1.0;
        }
        let mut back = back.dot(&self.head.weight);
        if self.activation == Activation::Tanh {
            Zip::from(&mut back).and(&activations).for_each(|back, &a| *back *= 1.0 - a * a);
        }
        let Prior { sd, temperature } = self.prior;
        let of_prior: f64 = at.iter().map(|value| value * value).sum::<f64>() / (2.0 * sd * sd);
        for (own, value) in gradient.iter_mut().zip(at) {
            *own = -value / (sd * sd * temperature);
        }
        let factor = self.scale / temperature;
        let of_a = back.dot(&b).t().dot(&self.inputs);
        let of_b = back.t().dot(&u);
        for (own, value) in gradient.iter_mut().zip(of_a.iter().chain(of_b.iter())) {
            *own += factor * value;
        }
        (likelihood - of_prior) / temperature
    }
}

fn positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

fn check(what: &'static str, got: (usize, usize), expected: (usize, usize)) -> Result<()> {
    let shape = |(rows, columns): (usize, usize)| format!("{rows} x {columns}");
    if got == expected { Ok(()) } else { Err(Error::Shape { what, got: shape(got), expected: shape(expected) }) }
}
