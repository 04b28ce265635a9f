//! Stochastic adapters: one file each, the same three verbs.
//!
//! Every adapter here adds `s B e(x)` to its frozen map, where the *core* `e [rows, r]` is random. That keeps the
//! random part small and lets the backbone fuse the rest. One whose `B` is random too adds an *offset* of the output beside it.

mod contextual;
mod dropout;
mod gaussian;
mod inducing;
mod lrvd;
mod rank_gaussian;
mod rank_switch;
mod settings;
mod weight_gaussian;
mod weights;
mod widened;

use bayeslora_kernels::{LowRankTerm, Packed};
use candle_core::{DType, Device, Tensor, Var};

pub use contextual::{Contextual, ContextualSettings, CoreSource, ScaleActivation};
pub use dropout::{DropoutLora, DropoutSettings};
pub use gaussian::{Gaussian, GaussianSettings};
pub use inducing::{Inducing, InducingSettings};
pub use lrvd::{Lrvd, LrvdSampling, LrvdSettings, LrvdVariant};
pub use rank_gaussian::{KlDirection, RankGaussian, RankGaussianSettings};
pub use rank_switch::{RankSwitch, RankSwitchSettings};
pub use settings::{Blocks, LaplaceSettings, PosteriorSettings, Reach};
pub use weight_gaussian::{WeightGaussian, WeightGaussianSettings};
pub use widened::Widened;

use crate::draw::{Draw, Sampling};
use crate::error::{Error, Result};
use crate::linear::Dependence;
use crate::lora::LowRank;
use crate::noise::Address;
use crate::site::MaskScope;
use crate::slot::Slot;

/// What an adapter adds to its map: `s B e + o`.
#[derive(Debug, Clone)]
pub struct Increment {
    /// `e [samples or 1, rows, r]`.
    pub core: Tensor,
    /// `B [d_out, r]`.
    pub up: Tensor,
    /// `s`.
    pub scale: f64,
    /// `o [samples or 1, rows, d_out]`: noise that the core does not carry.
    pub offset: Option<Tensor>,
    /// Divergence of the posterior from its prior in nats (a scalar), where the draw asked for it and it depends on
    /// the activations.
    pub divergence: Option<Tensor>,
}

impl Increment {
    /// `s B e` with the pair's own `B` and `s`.
    pub fn of_core(core: Tensor, lora: &LowRank) -> Self {
        Self { core, up: lora.b().as_tensor().clone(), scale: lora.scale(), offset: None, divergence: None }
    }

    /// What is added to the map's output, for the frozen map to add.
    pub fn term(&self) -> LowRankTerm<'_> {
        LowRankTerm { core: &self.core, up: &self.up, scale: self.scale, offset: self.offset.as_ref() }
    }
}

/// A named trainable tensor of an adapter.
#[derive(Debug, Clone)]
pub struct Parameter<'a> {
    /// Name within the adapter, as in its file (`lora_A.weight`).
    pub name: &'static str,
    /// The tensor.
    pub var: &'a Var,
}

/// Activations of a pass on a processor, outside any tensor.
#[derive(Debug, Clone, Copy)]
pub struct Activations<'a> {
    /// `[samples, rows, width]`, row after row.
    pub values: &'a [f32],
    /// 1 where nothing random has happened yet, else the number of samples drawn.
    pub samples: usize,
    /// Rows of a sample.
    pub rows: usize,
}

/// Buffers that calls of [`StochasticAdapter::core`] reuse.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) masked: Vec<f32>,
    /// `A`.
    pub(crate) down: Packed,
    pub(crate) words: Vec<u32>,
    /// What `words` were drawn at, row by row.
    pub(crate) leads: Vec<Option<Address>>,
}

/// A LoRA adapter whose output is random given its input.
pub trait StochasticAdapter: Send + Sync + std::fmt::Debug {
    /// The increment for activations `x [samples or 1, rows, d_in]`.
    ///
    /// # Errors
    /// When shapes do not go together.
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> Result<Increment>;

    /// The core `e [samples, rows, r]` alone, without gradients, on a processor: written into `core`; returns its samples, 1
    /// where nothing was drawn. The values are those of [`increment`](Self::increment), to rounding.
    ///
    /// # Errors
    /// When shapes do not go together.
    fn core(
        &self,
        slot: Slot,
        x: Activations<'_>,
        draw: &Draw<'_>,
        _scratch: &mut Scratch,
        core: &mut Vec<f32>,
    ) -> Result<usize> {
        core_by_tensors(self, slot, x, draw, core)
    }

    /// Whether increments may have an offset. Default: no; an adapter that has an [`add_offset`](Self::add_offset) of its own says yes.
    fn has_offset(&self) -> bool {
        false
    }

    /// Adds the offset `o` of the [`increment`](Self::increment) to `out [samples, rows, d_out]`, given the `core` and the samples
    /// that [`core`](Self::core) gave for the same arguments.
    ///
    /// # Errors
    /// When shapes do not go together.
    fn add_offset(
        &self,
        _slot: Slot,
        _x: Activations<'_>,
        _draw: &Draw<'_>,
        _scratch: &mut Scratch,
        _core: &[f32],
        _out: &mut [f32],
    ) -> Result<()> {
        Ok(())
    }

    /// The core `e [samples or 1, rows, r]` at the mean, for derivatives by `x`: those by the adapter's own parameters may be
    /// missing.
    ///
    /// # Errors
    /// When shapes do not go together.
    fn mean_core(&self, slot: Slot, x: &Tensor) -> Result<Tensor> {
        Ok(self.increment(slot, x, &Draw::Mean)?.core)
    }

    /// The low-rank pair.
    fn low_rank(&self) -> &LowRank;

    /// The trainable tensors, in a fixed order; the low-rank pair first, where it is trained itself.
    fn parameters(&self) -> Vec<Parameter<'_>>;

    /// Divergence of the posterior from its prior in nats (a scalar), where it is a function of the parameters alone; see
    /// [`Increment::divergence`] for one that depends on the activations.
    ///
    /// # Errors
    /// When a tensor operation fails.
    fn divergence(&self) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Covariance that this adapter's noise gives to outputs that depend on its core, to first order, `[sentences, outputs,
    /// outputs]` row after row, in f64.
    ///
    /// # Errors
    /// When shapes do not go together.
    fn first_order_covariance(&self, dependence: Dependence<'_>) -> Result<Vec<f64>>;

    /// Exact conditional moments of the increment for single inputs `x [n, d_in]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the width of `x` is not that of `A`.
    fn moments(&self, x: &Tensor) -> Result<Moments>;
}

/// Exact mean and covariance of an adapter's increment at each of `n` inputs, in f64.
///
/// All posteriors of this crate have `Cov = F diag(w(x)) F^T` with a factor `F` common to all inputs.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Mean increment `[n, d_out]`.
    pub mean: Tensor,
    /// `F [d_out, k]`.
    pub factor: Tensor,
    /// `w [n, k]`.
    pub weights: Tensor,
}

impl Moments {
    /// `F diag(w) F^T`, `[n, d_out, d_out]`.
    ///
    /// # Errors
    /// When factor and weights do not go together.
    pub fn covariance(&self) -> Result<Tensor> {
        let (n, k) = self.weights.dims2()?;
        let weighted = self.factor.unsqueeze(0)?.broadcast_mul(&self.weights.reshape((n, 1, k))?)?;
        Ok(weighted.broadcast_matmul(&self.factor.t()?)?)
    }

    /// The diagonal of the covariance, `sum_k w_k F_jk^2`, `[n, d_out]`, without the rest of it.
    ///
    /// # Errors
    /// When factor and weights do not go together.
    pub fn variance(&self) -> Result<Tensor> {
        Ok(self.weights.matmul(&self.factor.sqr()?.t()?)?)
    }

    /// `V(x) = tr Cov = sum_k w_k |F_k|^2`, `[n]` (theory.md, section 1).
    ///
    /// # Errors
    /// When factor and weights do not go together.
    pub fn total_variance(&self) -> Result<Tensor> {
        let squares = self.factor.sqr()?.sum_keepdim(0)?;
        Ok(self.weights.broadcast_mul(&squares)?.sum(1)?)
    }
}

/// The core of the adapter's increment, made with tensors, in `core`; returns its samples.
fn core_by_tensors<A: StochasticAdapter + ?Sized>(
    adapter: &A,
    slot: Slot,
    x: Activations<'_>,
    draw: &Draw<'_>,
    core: &mut Vec<f32>,
) -> Result<usize> {
    let width = adapter.low_rank().a().dims()[1];
    let x = Tensor::from_slice(x.values, (x.samples, x.rows, width), &Device::Cpu)?;
    let drawn = adapter.increment(slot, &x, draw)?.core.detach();
    *core = drawn.flatten_all()?.to_vec1()?;
    Ok(drawn.dim(0)?)
}

/// `core = center + sd * n`, component by component, with the standard normals `n` of the draw.
///
/// # Shapes
/// `center` and `sd`: `[samples or 1, rows, rank]`; `core`: `[samples, rows, rank]`.
fn components(
    (center, sd): (&[f32], &[f32]),
    rank: usize,
    (slot, scope): (Slot, MaskScope),
    sampling: &Sampling<'_>,
    scratch: &mut Scratch,
    core: &mut [f32],
) {
    let Scratch { masked: normals, words, .. } = scratch;
    normals.resize(rank, 0.0);
    let mut previous: Option<Address> = None;
    for (index, out) in core.chunks_exact_mut(rank).enumerate() {
        let at = sampling.address(slot, scope, index);
        if previous != Some(at) {
            sampling.noise.fill_normal(at, words, normals);
            previous = Some(at);
        }
        let start = index * rank % center.len();
        let moments = center[start..][..rank].iter().zip(&sd[start..][..rank]);
        for ((out, (center, sd)), normal) in out.iter_mut().zip(moments).zip(normals.iter()) {
            *out = center + sd * normal;
        }
    }
}

/// `(A, B, A x)` in f64 for inputs `x [n, d_in]`.
fn double_precision(lora: &LowRank, x: &Tensor) -> Result<(Tensor, Tensor, Tensor, Tensor)> {
    let expected = lora.a().dims()[1];
    if x.rank() != 2 || x.dims()[1] != expected {
        return Err(Error::Shape {
            what: "input of the moments".to_owned(),
            got: x.dims().to_vec(),
            expected: format!("[n, {expected}]"),
        });
    }
    let a = lora.a().as_detached_tensor().to_dtype(DType::F64)?;
    let b = lora.b().as_detached_tensor().to_dtype(DType::F64)?;
    let x = x.detach().to_dtype(DType::F64)?;
    let u = x.matmul(&a.t()?)?;
    Ok((a, b, x, u))
}
