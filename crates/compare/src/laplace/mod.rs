//! Laplace's approximation of the posterior over trained weights, Kronecker-factored, read through the linearised network (Daxberger et
//! al., arXiv 2106.14806; Laplace-LoRA, arXiv 2308.13111; methods.md, section 8).
//!
//! `q(theta) = N(theta*, (H + lambda I)^-1)` with `H` the generalised Gauss-Newton matrix of the softmax likelihood over the training set,
//! its expectation over classes exact. Each map has a block of its own, `S (x) Q`: `S` sums outer products of gradients by the outputs
//! over all rows of all sentences, `Q` averages those of the inputs over rows ("expand", Eschenhagen et al., arXiv 2311.00636). Laplace-LoRA's
//! code divides `Q` by the number of sentences instead, which counts a sentence's curvature once more for each of its tokens.
//!
//! Logits are then Gaussian with mean `f(x; theta*)` and covariance `J (H + lambda I)^-1 J'`.

mod tangents;

use bayeslora_metrics::GaussianLogits;
use ndarray::{Array1, Array2, Array3, Axis};
use ndarray_linalg::{Eigh as _, UPLO};
use rayon::prelude::*;

use tangents::Tangent;
pub(crate) use tangents::{Network, Reach};

use crate::Result;
use crate::predict::gaussian;
use crate::prefix::Sentences;
use crate::progress::Progress;

/// Rows of one pass, whose activations are kept for the way back.
const ROWS_PER_PASS: usize = 512;

/// A Gaussian posterior over weights, known by its precision.
#[derive(Debug, Clone)]
pub struct Laplace {
    blocks: Vec<Block>,
    reach: Reach,
    /// `lambda`.
    precision: f64,
    /// `|theta*|^2` of the weights that have a posterior.
    square: f64,
    /// Draws of the logits in a reading by samples.
    draws: u32,
}

/// The curvature of one map in the coordinates in which it is diagonal: `H_(ij) = outputs_i inputs_j`.
#[derive(Debug, Clone)]
struct Block {
    outputs: Eigen,
    inputs: Eigen,
}

/// A symmetric matrix, `V diag(values) V'`.
#[derive(Debug, Clone)]
struct Eigen {
    values: Array1<f64>,
    /// Columns, in the precision of the activations they rotate.
    vectors: Array2<f32>,
}

impl Eigen {
    #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
    fn of(matrix: &Array2<f64>) -> Result<Self> {
        let (values, vectors) = matrix.eigh(UPLO::Lower)?;
        // Rounding leaves what should be 0 on either side of it.
        Ok(Self { values: values.mapv(|value| value.max(0.0)), vectors: vectors.mapv(|value| value as f32) })
    }
}

/// Sums of outer products of a map.
#[derive(Debug, Default)]
struct Factors {
    outputs: Array2<f64>,
    inputs: Array2<f64>,
    rows: usize,
}

impl Factors {
    fn add(&mut self, tangent: &Tangent, probabilities: &Array2<f64>) {
        if self.rows == 0 {
            let width = tangent.gradients.first().map_or(0, Array2::ncols);
            self.outputs = Array2::zeros((width, width));
            self.inputs = Array2::zeros((tangent.inputs.ncols(), tangent.inputs.ncols()));
        }
        self.inputs += &tangent.inputs.t().dot(&tangent.inputs).mapv(f64::from);
        self.rows += tangent.inputs.nrows();
        // diag(p) - p p' = sum_c p_c (p - e_c)(p - e_c)': one weighted sum of the logits' gradients for each class.
        for class in 0..tangent.gradients.len() {
            let mut weighted = Array2::zeros(tangent.gradients[class].dim());
            for (sentence, rows) in tangent.sentences.iter().enumerate() {
                let p = probabilities.row(sentence);
                for (other, gradient) in tangent.gradients.iter().enumerate() {
                    let weight = p[class].sqrt() * (p[other] - f64::from(u8::from(other == class)));
                    #[expect(clippy::cast_possible_truncation, reason = "gradients are f32")]
                    let weight = weight as f32;
                    let own = ndarray::s![rows.clone(), ..];
                    weighted.slice_mut(own).scaled_add(weight, &gradient.slice(own));
                }
            }
            self.outputs += &weighted.t().dot(&weighted).mapv(f64::from);
        }
    }

    fn block(&self) -> Result<Block> {
        let mean = &self.inputs / self.rows.max(1) as f64;
        Ok(Block { outputs: Eigen::of(&self.outputs)?, inputs: Eigen::of(&mean)? })
    }
}

impl Laplace {
    /// The posterior around the weights of `network`, by the curvature at all sentences of `train`, with prior precision 1.
    ///
    /// # Errors
    /// When a tensor operation or a decomposition fails.
    pub(crate) fn fit(network: Network<'_>, train: &Sentences, reach: Reach, draws: u32) -> Result<Self> {
        let mut factors: Vec<Factors> = Vec::new();
        for places in train.batches_of_rows(ROWS_PER_PASS) {
            let tangents = network.tangents(&train.batch(&places, network.bert.device())?, reach)?;
            let probabilities = softmax(&tangents.logits);
            factors.resize_with(tangents.maps.len(), Factors::default);
            factors.par_iter_mut().zip(&tangents.maps).for_each(|(factors, map)| factors.add(map, &probabilities));
        }
        let blocks = factors.par_iter().map(Factors::block).collect::<Result<Vec<_>>>()?;
        let mut square = 0.0;
        for (name, var) in network.member.parameters() {
            if reach == Reach::All && name.starts_with("lora_") || name.starts_with("classifier.") {
                square += f64::from(var.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        Ok(Self { blocks, reach, precision: 1.0, square, draws })
    }

    /// The same with another prior precision `lambda`, positive.
    #[must_use]
    pub(crate) fn with_precision(self, precision: f64) -> Self {
        Self { precision, ..self }
    }

    /// Prior precision `lambda`.
    pub fn precision(&self) -> f64 {
        self.precision
    }

    /// Draws of the logits in a reading by samples.
    pub fn draws(&self) -> u32 {
        self.draws
    }

    /// Curvature in every direction.
    fn eigenvalues(&self) -> impl Iterator<Item = f64> {
        self.blocks.iter().flat_map(|block| {
            let inputs = &block.inputs.values;
            block.outputs.values.iter().flat_map(move |&output| inputs.iter().map(move |&input| output * input))
        })
    }

    /// `-1/2 [ log det (H + lambda I) - log det (lambda I) + lambda |theta*|^2 ]`: the log marginal likelihood in nats, less the log
    /// likelihood at `theta*`, which does not depend on `lambda`.
    pub(crate) fn log_evidence(&self, precision: f64) -> f64 {
        let determinants: f64 = self.eigenvalues().map(|value| (value / precision).ln_1p()).sum();
        -0.5 * (determinants + precision * self.square)
    }

    /// The prior precision of largest evidence.
    ///
    /// Its derivative by `log lambda` is `(gamma - lambda |theta*|^2) / 2` with `gamma = sum l / (l + lambda)`, the number of well determined
    /// weights (`MacKay` 1992). The first term falls and the second rises with `lambda`: there is one root, found by bisection.
    pub(crate) fn best_precision(&self) -> f64 {
        let rises = |log: f64| {
            let precision = log.exp();
            let gamma: f64 = self.eigenvalues().map(|value| value / (value + precision)).sum();
            gamma > precision * self.square
        };
        let (mut low, mut high) = (-30.0_f64, 30.0_f64);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if rises(middle) { low = middle } else { high = middle }
        }
        f64::midpoint(low, high).exp()
    }

    /// Gaussians over the logits of `sentences`.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub(crate) fn gaussian(
        &self,
        network: Network<'_>,
        sentences: &Sentences,
        progress: &dyn Progress,
    ) -> Result<GaussianLogits> {
        let classes = network.member.head.classes();
        let weights: Vec<Array2<f64>> = self.blocks.iter().map(|block| block.variances(self.precision)).collect();
        let mut mean = vec![0.0; sentences.len() * classes];
        let mut covariance = vec![0.0; sentences.len() * classes * classes];
        for places in sentences.batches_of_rows(ROWS_PER_PASS) {
            let batch = sentences.batch(&places, network.bert.device())?;
            let tangents = network.tangents(&batch, self.reach)?;
            let parts: Vec<Array3<f64>> = (tangents.maps.par_iter().zip(&self.blocks).zip(&weights))
                .map(|((map, block), weights)| block.covariance(map, weights))
                .collect();
            for (index, &place) in places.iter().enumerate() {
                for class in 0..classes {
                    mean[place * classes + class] = tangents.logits[[index, class]];
                }
                let own = &mut covariance[place * classes * classes..][..classes * classes];
                for part in &parts {
                    for (total, part) in own.iter_mut().zip(part.index_axis(Axis(0), index)) {
                        *total += part;
                    }
                }
            }
            progress.advance(batch.packing.rows() as u64);
        }
        gaussian(mean, covariance, sentences.len())
    }
}

impl Block {
    /// `1 / (l_i l_j + lambda)`, `[outputs, inputs]`.
    fn variances(&self, precision: f64) -> Array2<f64> {
        let shape = (self.outputs.values.len(), self.inputs.values.len());
        Array2::from_shape_fn(shape, |(i, j)| 1.0 / (self.outputs.values[i] * self.inputs.values[j] + precision))
    }

    /// What the map's weights give to the covariance of each sentence's logits, `[sentences, classes, classes]`.
    fn covariance(&self, tangent: &Tangent, variances: &Array2<f64>) -> Array3<f64> {
        let classes = tangent.gradients.len();
        let inputs = tangent.inputs.dot(&self.inputs.vectors);
        let gradients: Vec<Array2<f32>> = tangent.gradients.iter().map(|g| g.dot(&self.outputs.vectors)).collect();
        let mut covariance = Array3::zeros((tangent.sentences.len(), classes, classes));
        for (sentence, rows) in tangent.sentences.iter().enumerate() {
            let own = ndarray::s![rows.clone(), ..];
            let jacobians: Vec<Array2<f64>> =
                gradients.iter().map(|g| g.slice(own).t().dot(&inputs.slice(own)).mapv(f64::from)).collect();
            for first in 0..classes {
                let weighted = &jacobians[first] * variances;
                for second in first..classes {
                    let product = (&weighted * &jacobians[second]).sum();
                    covariance[[sentence, first, second]] = product;
                    covariance[[sentence, second, first]] = product;
                }
            }
        }
        covariance
    }
}

fn softmax(logits: &Array2<f64>) -> Array2<f64> {
    let mut probabilities = logits.clone();
    for mut row in probabilities.rows_mut() {
        let largest = row.fold(f64::NEG_INFINITY, |largest, &logit| largest.max(logit));
        row.mapv_inplace(|logit| (logit - largest).exp());
        let total = row.sum();
        row /= total;
    }
    probabilities
}

#[cfg(test)]
mod tests;
