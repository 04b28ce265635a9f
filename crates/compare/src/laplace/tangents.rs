//! How the logits of some sentences depend on every map in a Laplace posterior: the inputs of the map, and the gradient of each logit
//! by its outputs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bayeslora_adapters::{
    AdapterSet, Dependence, Draw, Increment, LowRank, Moments, Parameter, Slot, StochasticAdapter,
};
use bayeslora_models::{Bert, Packing, Pass};
use candle_core::{DType, Tensor, Var};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::member::Member;
use crate::prefix::Batch;

/// Which weights have a posterior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reach {
    /// Every `A` and `B`, and the head.
    All,
    /// The head alone: the last layer.
    Head,
}

/// The share of a batch in one linear map whose weights have a posterior: `A` of an adapter, from the activations to the core; `B`, from
/// the core to what is added, the scale `s` in its gradients; or the head, its bias as the weight of an input that is 1.
#[derive(Debug)]
pub(crate) struct Tangent {
    /// `[rows, inputs]`.
    pub(crate) inputs: Array2<f32>,
    /// Of each logit, `[rows, outputs]`; a sentence's logits depend on its own rows only.
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
    pub(crate) bert: &'a Bert,
    /// First block to compute.
    pub(crate) from: usize,
    pub(crate) member: &'a Member,
}

impl Network<'_> {
    /// Logits of the batch at the mean of the adapters, and their dependence on the maps within `reach`.
    pub(crate) fn tangents(&self, batch: &Batch, reach: Reach) -> Result<Tangents> {
        let Self { bert, from, member } = *self;
        let taps = Taps::default();
        let mut tapped = AdapterSet::new();
        for (slot, adapter) in member.adapters.shared() {
            tapped.insert(slot, Box::new(OutputTap { adapter, taps: Arc::clone(&taps) }));
        }
        let adapters = if reach == Reach::All { &tapped } else { &member.adapters };
        let mut pass = Pass::new(adapters, Draw::Mean);
        let first = bert.first_tokens(from, &batch.hidden, &batch.packing, &mut pass)?;
        let pooled = bert.pool(&first, &mut pass)?;
        let logits = member.head.logits(&pooled)?.squeeze(0)?;
        let (sentences, classes) = logits.dims2()?;

        let taps = std::mem::take(&mut *taps.lock().unwrap_or_else(PoisonError::into_inner));
        let mut gradients: BTreeMap<Slot, Vec<Array2<f32>>> = BTreeMap::new();
        for class in 0..if taps.is_empty() { 0 } else { classes } {
            // Sentences do not depend on each other: the gradient of their sum holds the gradient of each.
            let store = logits.narrow(1, class, 1)?.sum_all()?.backward()?;
            for (&slot, tap) in &taps {
                let gradient = store.get(&tap.offset).map_or_else(|| tap.offset.zeros_like(), |g| Ok(g.clone()))?;
                gradients.entry(slot).or_default().push(matrix(&gradient.squeeze(0)?)?);
            }
        }
        let every: Vec<Range<usize>> = batch.packing.sentences().collect();
        let single: Vec<Range<usize>> = Packing::single_rows(sentences).sentences().collect();
        let mut maps = Vec::new();
        for (slot, by_class) in gradients {
            let (Some(tap), Some(adapter)) = (taps.get(&slot), member.adapters.get(slot)) else { continue };
            let lora = adapter.low_rank();
            let up = matrix(&lora.b().as_detached_tensor())?;
            #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
            let by_class: Vec<Array2<f32>> = by_class.into_iter().map(|g| g * lora.scale() as f32).collect();
            let (x, core) = (matrix(&tap.x)?, matrix(&tap.core)?);
            let rows = if x.nrows() == batch.packing.rows() { &every } else { &single };
            maps.push(Tangent {
                inputs: x,
                gradients: by_class.iter().map(|g| g.dot(&up)).collect(),
                sentences: rows.clone(),
            });
            maps.push(Tangent { inputs: core, gradients: by_class, sentences: rows.clone() });
        }
        let logits = matrix(&logits)?.mapv(f64::from);
        if !member.head.is_trained() {
            return Ok(Tangents { logits, maps });
        }
        let features = matrix(&member.head.features(&pooled)?.squeeze(0)?)?;
        let mut inputs = Array2::ones((sentences, features.ncols() + 1));
        inputs.slice_mut(ndarray::s![.., ..-1]).assign(&features);
        let own = |class: usize| Array2::from_shape_fn((sentences, classes), |(_, c)| f32::from(u8::from(c == class)));
        let gradients = (0..classes).map(own).collect();
        maps.push(Tangent { inputs, gradients, sentences: single });
        Ok(Tangents { logits, maps })
    }
}

/// The values of a matrix.
fn matrix(tensor: &Tensor) -> Result<Array2<f32>> {
    let shape = tensor.dims2()?;
    let values = tensor.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    Ok(Array2::from_shape_vec(shape, values).unwrap_or_default())
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

/// An adapter at its mean with a tap in its output: the core is widened by an offset that the up-projection passes on unchanged.
#[derive(Debug)]
struct OutputTap {
    adapter: Arc<dyn StochasticAdapter>,
    taps: Taps,
}

impl StochasticAdapter for OutputTap {
    fn increment(&self, slot: Slot, x: &Tensor, _: &Draw<'_>) -> bayeslora_adapters::Result<Increment> {
        let core = self.adapter.mean_core(slot, x)?;
        let lora = self.adapter.low_rank();
        let up = lora.b().as_detached_tensor();
        let (samples, rows, _) = core.dims3()?;
        let width = up.dim(0)?;
        let offset = Var::zeros((samples, rows, width), core.dtype(), core.device())?;
        let tap = Tap { x: x.squeeze(0)?.detach(), core: core.squeeze(0)?.detach(), offset };
        let widened = Tensor::cat(&[&core, tap.offset.as_tensor()], 2)?;
        let pass_on = (Tensor::eye(width, up.dtype(), up.device())? / lora.scale())?;
        let up = Tensor::cat(&[&up, &pass_on], 1)?;
        self.taps.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, tap);
        Ok(Increment { core: widened, up, scale: lora.scale(), divergence: None })
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
