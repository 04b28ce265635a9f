//! How the logits of some sentences depend on every map in a Laplace posterior: the inputs of the map, and gradients by its outputs.
//!
//! Probabilities do not change when all logits move together, so everything here lives in `C - 1` directions: that many passes back,
//! one for two classes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bayeslora_adapters::{
    AdapterSet, Dependence, Draw, Increment, LowRank, Moments, Parameter, Reach, Slot, StochasticAdapter,
};
use bayeslora_metrics::softmax;
use bayeslora_models::{Backbone, Head, Packing, Pass};
use candle_core::{DType, Tensor, Var};
use ndarray::{Array2, Axis};

use crate::error::Result;
use crate::prefix::Batch;
use crate::shapes::matrix_of;

/// Weighted sums of a sentence's logits, `C - 1` of them, that are differentiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directions {
    /// Columns of a factor of `diag(p) - p p'`, so that squares of gradients add up to the curvature of the loss.
    Curvature,
    /// An orthonormal basis of the logits that sum to 0.
    Contrasts,
}

impl Directions {
    /// Weights of the sums, each `[sentences, classes]`.
    fn weights(self, logits: &Array2<f64>) -> Vec<Array2<f64>> {
        let (sentences, classes) = logits.dim();
        let factors: Vec<Array2<f64>> = match self {
            Self::Curvature => logits.outer_iter().map(|logits| curvature_factor(&softmax(&logits.to_vec()))).collect(),
            Self::Contrasts => vec![contrasts(classes); sentences],
        };
        let weights = |k: usize| Array2::from_shape_fn((sentences, classes), |(n, class)| factors[n][[class, k]]);
        (0..classes - 1).map(weights).collect()
    }
}

/// `L [classes, classes - 1]` with `L L' = diag(p) - p p'`, the curvature of the loss by the logits: its Cholesky factor, known in closed
/// form (Tanabe and Sagae, "An exact Cholesky decomposition and the generalized inverse of the variance-covariance matrix of the
/// multinomial distribution", 1992).
pub(super) fn curvature_factor(p: &[f64]) -> Array2<f64> {
    let classes = p.len();
    let mut factor = Array2::zeros((classes, classes - 1));
    // Sums of the probabilities after a class, from the end: differences from 1 would lose the small ones.
    let mut after = 0.0;
    for column in (0..classes).rev() {
        if after > 0.0 {
            let pivot = (p[column] * after / (p[column] + after)).sqrt();
            factor[[column, column]] = pivot;
            for row in column + 1..classes {
                factor[[row, column]] = -pivot * p[row] / after;
            }
        }
        after += p[column];
    }
    factor
}

/// Orthonormal columns `[classes, classes - 1]` that sum to 0 (Helmert's).
pub(super) fn contrasts(classes: usize) -> Array2<f64> {
    Array2::from_shape_fn((classes, classes - 1), |(row, column)| {
        let before = (column + 1) as f64;
        let length = (before * (before + 1.0)).sqrt();
        match row.cmp(&(column + 1)) {
            std::cmp::Ordering::Less => 1.0 / length,
            std::cmp::Ordering::Equal => -before / length,
            std::cmp::Ordering::Greater => 0.0,
        }
    })
}

/// The share of a batch in one linear map whose weights have a posterior: `A` of an adapter, from the activations to the core; `B`, from
/// the core to what is added, the scale `s` in its gradients; or the head, its bias as the weight of an input that is 1.
#[derive(Debug)]
pub(crate) struct Tangent {
    /// `[rows, inputs]`.
    pub(crate) inputs: Array2<f32>,
    /// Of each direction, `[rows, outputs]`; a sentence's logits depend on its own rows only.
    pub(crate) gradients: Vec<Array2<f32>>,
    /// Rows of each sentence.
    pub(crate) sentences: Vec<Range<usize>>,
}

/// Logits of a batch with what they depend on.
#[derive(Debug)]
pub(crate) struct Tangents {
    /// `[sentences, classes]`.
    pub(crate) logits: Array2<f64>,
    pub(crate) maps: Vec<Tangent>,
}

/// A network whose logits are differentiated.
#[derive(Clone, Copy)]
pub(crate) struct Network<'a> {
    pub(crate) backbone: &'a Backbone,
    /// First block to compute.
    pub(crate) from: usize,
    pub(crate) adapters: &'a AdapterSet,
    pub(crate) head: &'a Head,
}

impl Network<'_> {
    /// Logits of the batch at the mean of the adapters, and their dependence on the maps within `reach`.
    pub(super) fn tangents(&self, batch: &Batch, reach: Reach, directions: Directions) -> Result<Tangents> {
        let Self { backbone, from, adapters, head } = *self;
        let taps = Taps::default();
        let mut tapped = AdapterSet::new();
        for (slot, adapter) in adapters.shared() {
            tapped.insert(slot, Box::new(OutputTap { adapter, taps: Arc::clone(&taps) }));
        }
        let mut pass = Pass::new(if reach == Reach::All { &tapped } else { adapters }, Draw::Mean);
        let pooled = backbone.pooled(from, &batch.hidden, &batch.packing, &mut pass)?;
        let logits = head.logits(&pooled)?.squeeze(0)?;
        let (sentences, classes) = logits.dims2()?;
        let values = matrix(&logits)?.mapv(f64::from);
        let weights: Vec<Array2<f32>> = directions.weights(&values).iter().map(single_precision).collect();

        let taps = std::mem::take(&mut *taps.lock().unwrap_or_else(PoisonError::into_inner));
        let mut gradients: BTreeMap<Slot, Vec<Array2<f32>>> = BTreeMap::new();
        for weights in weights.iter().filter(|_| !taps.is_empty()) {
            let weights = Tensor::from_iter(weights.iter().copied(), logits.device())?.reshape((sentences, classes))?;
            // Sentences do not depend on each other: the gradient of their sum holds the gradient of each.
            let store = (&logits * weights)?.sum_all()?.backward()?;
            for (&slot, tap) in &taps {
                let gradient = store.get(&tap.offset).map_or_else(|| tap.offset.zeros_like(), |g| Ok(g.clone()))?;
                gradients.entry(slot).or_default().push(matrix(&gradient.squeeze(0)?)?);
            }
        }
        let every: Vec<Range<usize>> = batch.packing.sentences().collect();
        let single: Vec<Range<usize>> = Packing::single_rows(sentences).sentences().collect();
        let mut maps = Vec::new();
        for (slot, mut by_direction) in gradients {
            let (Some(tap), Some(adapter)) = (taps.get(&slot), adapters.get(slot)) else { continue };
            let lora = adapter.low_rank();
            let up = matrix(&lora.b().as_detached_tensor())?;
            #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
            let scale = lora.scale() as f32;
            for gradient in &mut by_direction {
                *gradient *= scale;
            }
            let (x, core) = (matrix(&tap.x)?, matrix(&tap.core)?);
            let rows = if x.nrows() == batch.packing.rows() { &every } else { &single };
            maps.push(Tangent {
                inputs: x,
                gradients: by_direction.iter().map(|g| g.dot(&up)).collect(),
                sentences: rows.clone(),
            });
            maps.push(Tangent { inputs: core, gradients: by_direction, sentences: rows.clone() });
        }
        let logits = values;
        if !head.is_trained() {
            return Ok(Tangents { logits, maps });
        }
        let mut inputs = matrix(&head.features(&pooled)?.squeeze(0)?)?;
        if head.bias.is_some() {
            inputs = ndarray::concatenate![Axis(1), inputs, Array2::ones((sentences, 1))];
        }
        maps.push(Tangent { inputs, gradients: weights, sentences: single });
        Ok(Tangents { logits, maps })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
fn single_precision(matrix: &Array2<f64>) -> Array2<f32> {
    matrix.mapv(|value| value as f32)
}

/// The values of a matrix.
pub(super) fn matrix(tensor: &Tensor) -> Result<Array2<f32>> {
    let shape = tensor.dims2()?;
    let values = tensor.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    matrix_of("a tensor", shape, values)
}

/// What passed a map, and where its output can be moved.
#[derive(Debug)]
struct Tap {
    /// `[rows, d_in]`.
    x: Tensor,
    /// `[rows, r]`.
    core: Tensor,
    /// Added to the output, 0: the gradient by it is the gradient by the output. `[1, rows, d_out]`.
    offset: Var,
}

type Taps = Arc<Mutex<BTreeMap<Slot, Tap>>>;

/// An adapter at its mean with a tap in its output.
#[derive(Debug)]
struct OutputTap {
    adapter: Arc<dyn StochasticAdapter>,
    taps: Taps,
}

impl StochasticAdapter for OutputTap {
    fn increment(&self, slot: Slot, x: &Tensor, _: &Draw<'_>) -> bayeslora_adapters::Result<Increment> {
        let core = self.adapter.mean_core(slot, x)?;
        let lora = self.adapter.low_rank();
        let (samples, rows, _) = core.dims3()?;
        let offset = Var::zeros((samples, rows, lora.b().dims()[0]), core.dtype(), core.device())?;
        let increment = Increment {
            up: lora.b().as_detached_tensor(),
            offset: Some(offset.as_tensor().clone()),
            ..Increment::of_core(core, lora)
        };
        let tap = Tap { x: x.squeeze(0)?.detach(), core: increment.core.squeeze(0)?.detach(), offset };
        self.taps.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, tap);
        Ok(increment)
    }

    fn low_rank(&self) -> &LowRank {
        self.adapter.low_rank()
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        self.adapter.parameters()
    }

    fn first_order_covariance(&self, dependence: Dependence<'_>) -> bayeslora_adapters::Result<Vec<f64>> {
        self.adapter.first_order_covariance(dependence)
    }

    fn moments(&self, x: &Tensor) -> bayeslora_adapters::Result<Moments> {
        self.adapter.moments(x)
    }
}
