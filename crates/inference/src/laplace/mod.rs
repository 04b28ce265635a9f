//! Laplace's approximation of the posterior over trained weights, Kronecker-factored, read through the linearised network (Daxberger et
//! al., arXiv 2106.14806; Laplace-LoRA, arXiv 2308.13111; methods.md, section 8).
//!
//! `q(theta) = N(theta*, (H + lambda I)^-1)` with `H` the generalised Gauss-Newton matrix of the softmax likelihood over the training set,
//! its expectation over classes exact. Each map has a block of its own, `S (x) Q`: `S` sums outer products of gradients by the outputs
//! over all rows of all sentences, `Q` averages those of the inputs over rows ("expand", Eschenhagen et al., arXiv 2311.00636). A row is a
//! token whose output some logit depends on: in the last block that of the token that is read, keys and values excepted. Laplace-LoRA's code has
//! all tokens in `Q`, and divides it by the number of sentences, which counts a sentence's curvature once more for each of its tokens.
//!
//! Logits are then Gaussian with mean `f(x; theta*)` and covariance `J (H + lambda I)^-1 J'`, here without the part that moves all logits
//! alike, which no probability depends on.

mod files;
mod tangents;

use bayeslora_adapters::{LaplaceSettings, Reach};
use bayeslora_metrics::GaussianLogits;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, Array3, Axis, s};
use ndarray_linalg::{JobSvd, SVDDC as _};
use rayon::prelude::*;

pub(crate) use tangents::Network;
use tangents::{Directions, Tangent, contrasts};

use crate::error::{Error, Result};
use crate::prefix::Sentences;
use crate::shapes::gaussian;
use bayeslora_data::Progress;

/// Rows of one pass, whose activations are kept for the way back.
const ROWS_PER_PASS: usize = 512;
/// Passes whose activations are held at a time, so that every thread has work. Fixed: sums do not depend on the number of threads.
const PASSES_AT_A_TIME: usize = 4;

/// A Gaussian posterior over weights, known by its precision.
#[derive(Debug, Clone)]
pub struct Laplace {
    /// `A` and `B` of every adapter in the order of the slots, then the head; or the head alone.
    blocks: Vec<Block>,
    settings: LaplaceSettings,
    /// `|theta*|^2` of the weights that have a posterior.
    square: f64,
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
    /// Of a positive semi-definite matrix: its singular value decomposition, which LAPACK has by divide and conquer. The symmetric
    /// solver at hand is QR iteration, several times slower at the widths of a transformer.
    #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
    fn of(matrix: &Array2<f64>) -> Result<Self> {
        let (vectors, values, _) = matrix.svddc(JobSvd::Some)?;
        let vectors = vectors.ok_or_else(|| Error::Shape {
            what: "the singular vectors of a curvature",
            got: 0,
            expected: format!("{:?}", matrix.dim()),
        })?;
        Ok(Self { values, vectors: vectors.mapv(|value| value as f32) })
    }
}

/// Sums of outer products of a map, on and above the diagonal.
#[derive(Debug, Default)]
struct Factors {
    outputs: Array2<f64>,
    inputs: Array2<f64>,
    rows: usize,
}

impl Factors {
    /// Adds the rows of some passes; their `gradients` are in the directions of the curvature.
    fn add(&mut self, tangents: &[&Tangent]) {
        self.rows += tangents.iter().map(|tangent| tangent.inputs.nrows()).sum::<usize>();
        add_squares(&mut self.inputs, tangents.iter().map(|tangent| &tangent.inputs));
        add_squares(&mut self.outputs, tangents.iter().flat_map(|tangent| &tangent.gradients));
    }

    fn block(self) -> Result<Block> {
        let mean = self.inputs / self.rows.max(1) as f64;
        Ok(Block { outputs: Eigen::of(&mirrored(self.outputs))?, inputs: Eigen::of(&mirrored(mean))? })
    }
}

/// Columns of a block of a symmetric product.
const COLUMNS_PER_BLOCK: usize = 192;

/// `total += sum X'X`, on and above the diagonal: in f32 over the rows of some passes, in f64 over those sums.
fn add_squares<'a>(total: &mut Array2<f64>, matrices: impl Iterator<Item = &'a Array2<f32>>) {
    let mut sum = Array2::<f32>::zeros((0, 0));
    for x in matrices {
        let width = x.ncols();
        if sum.is_empty() {
            sum = Array2::zeros((width, width));
        }
        for start in (0..width).step_by(COLUMNS_PER_BLOCK) {
            let end = width.min(start + COLUMNS_PER_BLOCK);
            let (left, right) = (x.slice(s![.., ..end]), x.slice(s![.., start..end]));
            general_mat_mul(1.0, &left.t(), &right, 1.0, &mut sum.slice_mut(s![..end, start..end]));
        }
    }
    if total.is_empty() {
        *total = Array2::zeros(sum.dim());
    }
    total.zip_mut_with(&sum, |total, &sum| *total += f64::from(sum));
}

/// The symmetric matrix of what is on and above the diagonal.
fn mirrored(mut matrix: Array2<f64>) -> Array2<f64> {
    for row in 0..matrix.nrows() {
        for column in 0..row {
            matrix[[row, column]] = matrix[[column, row]];
        }
    }
    matrix
}

impl Laplace {
    /// The posterior around the weights of `network`, by the curvature at all sentences of `train`, with prior precision 1.
    ///
    /// # Errors
    /// When a tensor operation or a decomposition fails.
    pub(crate) fn fit(
        network: Network<'_>,
        train: &Sentences,
        (reach, draws): (Reach, u32),
        progress: &dyn Progress,
    ) -> Result<Self> {
        let mut factors: Vec<Factors> = Vec::new();
        for passes in train.batches_of_rows(ROWS_PER_PASS).chunks(PASSES_AT_A_TIME) {
            let tangents = (passes.par_iter())
                .map(|places| {
                    let batch = train.batch(places, network.backbone.device())?;
                    let tangents = network.tangents(&batch, reach, Directions::Curvature)?;
                    progress.advance(TOKEN_PASSES * batch.packing.rows() as u64);
                    Ok(tangents.maps)
                })
                .collect::<Result<Vec<_>>>()?;
            factors.resize_with(tangents[0].len(), Factors::default);
            factors.par_iter_mut().enumerate().for_each(|(map, factors)| {
                factors.add(&tangents.iter().map(|maps| &maps[map]).collect::<Vec<_>>());
            });
        }
        let blocks = factors.into_par_iter().map(Factors::block).collect::<Result<Vec<_>>>()?;
        let adapters = network.adapters.parameters().filter(|_| reach == Reach::All);
        let vars = adapters.filter(|(_, parameter)| parameter.name.starts_with("lora_")).map(|(_, p)| p.var);
        let mut square = 0.0;
        // A frozen head has no posterior.
        let head =
            std::iter::once(&network.head.weight).chain(&network.head.bias).filter(|_| network.head.is_trained());
        for var in vars.chain(head) {
            square += f64::from(var.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        Ok(Self { blocks, settings: LaplaceSettings { reach, precision: 1.0, draws }, square })
    }

    /// The same with another prior precision `lambda`, positive.
    #[must_use]
    pub(crate) fn with_precision(mut self, precision: f64) -> Self {
        self.settings.precision = precision;
        self
    }

    /// What an adapter's file says of it.
    pub fn settings(&self) -> LaplaceSettings {
        self.settings
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

    /// Gaussians over the logits of `sentences`, to first order and up to what moves all logits alike.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub(crate) fn gaussian(
        &self,
        network: Network<'_>,
        sentences: &Sentences,
        progress: &dyn Progress,
    ) -> Result<GaussianLogits> {
        let classes = network.head.classes();
        let basis = contrasts(classes);
        let deviations: Vec<Array2<f32>> =
            self.blocks.iter().map(|block| block.deviations(self.settings.precision)).collect();
        let passes = sentences.batches_of_rows(ROWS_PER_PASS);
        let parts = (passes.par_iter())
            .map(|places| {
                let batch = sentences.batch(places, network.backbone.device())?;
                let tangents = network.tangents(&batch, self.settings.reach, Directions::Contrasts)?;
                let mut total = Array3::zeros((places.len(), classes - 1, classes - 1));
                for (map, (block, deviations)) in tangents.maps.iter().zip(self.blocks.iter().zip(&deviations)) {
                    total += &block.covariance(map, deviations);
                }
                progress.advance(batch.packing.rows() as u64);
                Ok((tangents.logits, total))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut mean = vec![0.0; sentences.len() * classes];
        let mut covariance = vec![0.0; sentences.len() * classes * classes];
        for (places, (logits, parts)) in passes.iter().zip(parts) {
            for ((&place, logits), part) in places.iter().zip(logits.outer_iter()).zip(parts.outer_iter()) {
                let own = basis.dot(&part).dot(&basis.t());
                for (to, from) in mean[place * classes..].iter_mut().zip(logits) {
                    *to = *from;
                }
                for (to, from) in covariance[place * classes * classes..].iter_mut().zip(&own) {
                    *to = *from;
                }
            }
        }
        gaussian(mean, covariance, sentences.len())
    }
}

/// Work of a training token in the curvature, in passes of a token: forward, back, and outer products.
const TOKEN_PASSES: u64 = 3;

impl Laplace {
    /// Token passes of a fit over a training set of so many tokens.
    pub(crate) fn work(tokens: u64) -> u64 {
        TOKEN_PASSES * tokens
    }
}

impl Block {
    /// `1 / sqrt(l_i l_j + lambda)`, the wider side in columns.
    #[expect(clippy::cast_possible_truncation, reason = "weights of f32 numbers")]
    fn deviations(&self, precision: f64) -> Array2<f32> {
        let shape = (self.outputs.values.len(), self.inputs.values.len());
        let deviations = Array2::from_shape_fn(shape, |(i, j)| {
            (1.0 / (self.outputs.values[i] * self.inputs.values[j] + precision).sqrt()) as f32
        });
        if self.widens() { deviations.t().as_standard_layout().into_owned() } else { deviations }
    }

    /// Whether the map has more outputs than inputs.
    fn widens(&self) -> bool {
        self.outputs.values.len() > self.inputs.values.len()
    }

    /// What the map's weights give to the covariance of each sentence's directions, `[sentences, directions, directions]`.
    ///
    /// The derivative by the weights is `sum over rows of g x'`, turned into the coordinates of the block on both sides. The
    /// narrow side (the rank, or the head's classes) is turned row by row; the wide side too where a sentence has fewer rows than
    /// the narrow side has columns, else after the sum.
    fn covariance(&self, tangent: &Tangent, deviations: &Array2<f32>) -> Array3<f64> {
        let (sentences, directions) = (tangent.sentences.len(), tangent.gradients.len());
        let (narrow, wide) = deviations.dim();
        let widens = self.widens();
        let rows_first = tangent.inputs.nrows() < sentences * narrow;
        let turned = |rows: &Array2<f32>, by: &Eigen, now: bool| if now { rows.dot(&by.vectors) } else { rows.clone() };
        let inputs = turned(&tangent.inputs, &self.inputs, widens || rows_first);
        let gradients: Vec<Array2<f32>> =
            tangent.gradients.iter().map(|rows| turned(rows, &self.outputs, !widens || rows_first)).collect();
        let mut derivatives = Array2::<f32>::zeros((sentences * directions * narrow, wide));
        let blocks = derivatives.axis_chunks_iter_mut(Axis(0), narrow);
        for (index, mut block) in blocks.enumerate() {
            let own = s![tangent.sentences[index / directions].clone(), ..];
            let (x, g) = (inputs.slice(own), gradients[index % directions].slice(own));
            let (left, right) = if widens { (x, g) } else { (g, x) };
            general_mat_mul(1.0, &left.t(), &right, 0.0, &mut block);
        }
        if !rows_first {
            derivatives = derivatives.dot(if widens { &self.outputs.vectors } else { &self.inputs.vectors });
        }
        for mut block in derivatives.axis_chunks_iter_mut(Axis(0), narrow) {
            block *= deviations;
        }
        let mut covariance = Array3::zeros((sentences, directions, directions));
        for (sentence, mut covariance) in covariance.outer_iter_mut().enumerate() {
            let of = |direction: usize| {
                let start = (sentence * directions + direction) * narrow;
                derivatives.slice(s![start..start + narrow, ..])
            };
            for first in 0..directions {
                for second in first..directions {
                    let (left, right) = (of(first), of(second));
                    let rows = left.rows().into_iter().zip(right.rows());
                    let product = rows.map(|(left, right)| f64::from(left.dot(&right))).sum();
                    covariance[[first, second]] = product;
                    covariance[[second, first]] = product;
                }
            }
        }
        covariance
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
