//! MC-dropout LoRA: Bernoulli multipliers inside the low-rank path stay on at prediction (BayesLoRA v1; theory.md,
//! section 2; methods.md, section 4).

use bayeslora_kernels::{Onto, Threads, Turn, affine, borrow, dropout, product, weight_dropout};
use candle_core::{Device, Tensor};

use super::{Activations, Increment, Moments, Parameter, Scratch, StochasticAdapter, double_precision};
use crate::draw::{Draw, Sampling};
use crate::error::Result;
use crate::linear::{Dependence, multiply};
use crate::lora::LowRank;
use crate::noise::Address;
use crate::site::{DropoutSite, KeepProbability, MaskScope};
use crate::slot::Slot;

/// Where dropout acts, how often, and how far one draw reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutSettings {
    /// Site of the multipliers.
    pub site: DropoutSite,
    /// Reach of one draw.
    pub scope: MaskScope,
    /// Keep probability `q`.
    pub keep: KeepProbability,
}

impl DropoutSettings {
    /// No dropout: a deterministic adapter.
    pub const NONE: Self = Self { site: DropoutSite::Input, scope: MaskScope::Token, keep: KeepProbability::ONE };
}

/// A LoRA pair with dropout at one of three sites. With `q = 1` it is plain LoRA.
#[derive(Debug, Clone)]
pub struct DropoutLora {
    lora: LowRank,
    settings: DropoutSettings,
}

impl DropoutLora {
    /// Dropout on `lora`.
    pub fn new(lora: LowRank, settings: DropoutSettings) -> Self {
        Self { lora, settings }
    }

    fn sampled_core(&self, slot: Slot, x: &Tensor, sampling: &Sampling<'_>) -> Result<Tensor> {
        let DropoutSettings { site, scope, keep } = self.settings;
        let (draws, keep) = (sampling.draws(slot, scope)?, keep.keep());
        match site {
            DropoutSite::Input => self.lora.down(&dropout(x, draws, keep)?),
            DropoutSite::Rank => Ok(dropout(&self.lora.down(x)?, draws, keep)?),
            DropoutSite::Weight => Ok(weight_dropout(x, self.lora.a(), draws, keep)?),
        }
    }
}

/// Rows that are masked before their product is taken.
const ROWS_PER_TILE: usize = 32;

/// Fills `scratch.masked` with rows `first..` of `x * z`; row `i` of all samples is row `i % shared` of `x`. `multiply` says what
/// random words and their turn make of a row.
pub(super) fn drop_rows(
    x: &[f32],
    width: usize,
    (first, shared): (usize, usize),
    (slot, scope): (Slot, MaskScope),
    multiply: impl Fn(&[u32], Turn, &[f32], &mut [f32]),
    sampling: &Sampling<'_>,
    scratch: &mut Scratch,
) {
    let rows = sampling.rows.len();
    let coupling = sampling.noise.coupling();
    // A coupled group draws its words once, at the first of its samples that comes by, for all of its rows.
    let kept = if coupling.group() > 1 { rows } else { 1 };
    scratch.words.resize(kept * width, 0);
    scratch.leads.resize(kept, None);
    for (offset, out) in scratch.masked.chunks_exact_mut(width).enumerate() {
        let index = first + offset;
        let at = sampling.address(slot, scope, index);
        let turn = coupling.turn(at.sample);
        let lead = Address { sample: coupling.first(at.sample), ..at };
        let place = index % rows % kept;
        let words = &mut scratch.words[place * width..][..width];
        if scratch.leads[place] != Some(lead) {
            sampling.noise.counter(lead).fill(words);
            scratch.leads[place] = Some(lead);
        }
        multiply(words, turn, &x[index % shared * width..][..width], out);
    }
}

impl StochasticAdapter for DropoutLora {
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> Result<Increment> {
        let core = match draw {
            Draw::Sampled(sampling) if self.settings.keep < KeepProbability::ONE => {
                self.sampled_core(slot, x, sampling)?
            }
            _ => self.lora.down(x)?,
        };
        Ok(Increment::of_core(core, &self.lora))
    }

    fn core(
        &self,
        slot: Slot,
        x: Activations<'_>,
        draw: &Draw<'_>,
        scratch: &mut Scratch,
        core: &mut Vec<f32>,
    ) -> Result<usize> {
        let DropoutSettings { site, scope, keep } = self.settings;
        let (rank, width) = self.lora.a().dims2()?;
        self.lora.with_values(|a, _| scratch.down.fill(a, 1.0, (rank, width)))?;
        let sampling = match draw {
            Draw::Sampled(sampling) if keep < KeepProbability::ONE => sampling,
            _ => {
                core.resize(x.samples * x.rows * rank, 0.0);
                affine(core, &[], x.values, &scratch.down);
                return Ok(x.samples);
            }
        };
        let samples = sampling.count();
        let multiply = |words: &[u32], turn, x: &[f32], out: &mut [f32]| keep.keep().multiply(words, turn, x, out);
        scratch.leads.clear();
        core.resize(samples * x.rows * rank, 0.0);
        match site {
            DropoutSite::Input => {
                // A tile of masked rows stays in the cache between the mask and the product.
                for (tile, out) in core.chunks_mut(ROWS_PER_TILE * rank).enumerate() {
                    let first = tile * ROWS_PER_TILE;
                    scratch.masked.resize(out.len() / rank * width, 0.0);
                    drop_rows(x.values, width, (first, x.samples * x.rows), (slot, scope), multiply, sampling, scratch);
                    affine(out, &[], &scratch.masked, &scratch.down);
                }
            }
            DropoutSite::Rank => {
                scratch.masked.resize(samples * x.rows * rank, 0.0);
                let shared = x.samples * x.rows;
                let mut undropped = vec![0.0; shared * rank];
                affine(&mut undropped, &[], x.values, &scratch.down);
                drop_rows(&undropped, rank, (0, shared), (slot, scope), multiply, sampling, scratch);
                core.copy_from_slice(&scratch.masked);
            }
            DropoutSite::Weight => {
                let tensor = |t: &candle_core::Var| t.as_detached_tensor();
                let width = self.lora.a().dims()[1];
                let x = Tensor::from_slice(x.values, (x.samples, x.rows, width), &Device::Cpu)?;
                let drawn = weight_dropout(&x, &tensor(self.lora.a()), sampling.draws(slot, scope)?, keep.keep())?;
                *core = drawn.flatten_all()?.to_vec1()?;
            }
        }
        Ok(samples)
    }

    fn mean_core(&self, _: Slot, x: &Tensor) -> Result<Tensor> {
        let (samples, rows, width) = x.dims3()?;
        let core = x.reshape((samples * rows, width))?.matmul(&self.lora.a().as_detached_tensor().t()?)?;
        Ok(core.reshape((samples, rows, self.lora.rank()))?)
    }

    fn low_rank(&self) -> &LowRank {
        &self.lora
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        vec![
            Parameter { name: "lora_A.weight", var: self.lora.a() },
            Parameter { name: "lora_B.weight", var: self.lora.b() },
        ]
    }

    /// Derivatives by the multipliers, `g` the gradient by the core: input `(g A) * x`, rank `g * (A x)`, weight
    /// `g_i A_ij x_j`.
    fn first_order_covariance(&self, dependence: Dependence<'_>) -> Result<Vec<f64>> {
        let DropoutSettings { site, scope, keep } = self.settings;
        let (rank, width) = self.lora.a().dims2()?;
        let rows = dependence.x.dim(0)?;
        let (x, a) = (dependence.x.to_device(&Device::Cpu)?, self.lora.a().to_device(&Device::Cpu)?);
        let (x, a) = (x.storage_and_layout(), a.storage_and_layout());
        let (x, a) = (borrow(&x)?, borrow(&a)?);
        let mut covariance = match (site, scope) {
            (DropoutSite::Input, _) => {
                let transposed: Vec<f32> = (0..width).flat_map(|j| (0..rank).map(move |i| a[i * width + j])).collect();
                dependence.covariance(scope, width, |gradients, rows, out| {
                    let shape = (rows.len(), rank, width);
                    product(out, Onto::Nothing, 1.0, gradients, &transposed, shape, Threads::One);
                    for (out, x) in out.iter_mut().zip(&x[rows.start * width..rows.end * width]) {
                        *out *= x;
                    }
                })?
            }
            (DropoutSite::Rank, _) => {
                let mut u = vec![0.0; rows * rank];
                product(&mut u, Onto::Nothing, 1.0, x, a, (rows, width, rank), Threads::One);
                dependence.covariance(scope, rank, |gradients, rows, out| {
                    multiply(gradients, &u[rows.start * rank..rows.end * rank], out);
                })?
            }
            (DropoutSite::Weight, MaskScope::Token) => {
                let squares = |t: &Tensor| t.detach().sqr();
                dependence.component_covariance(&squares(dependence.x)?.matmul(&squares(self.lora.a())?.t()?)?)?
            }
            (DropoutSite::Weight, MaskScope::Sequence | MaskScope::Sample) => dependence.entry_covariance(|row| {
                let x = &x[row * width..][..width];
                a.chunks_exact(width).flat_map(|a| a.iter().zip(x).map(|(a, x)| a * x)).collect()
            })?,
        };
        let kappa = keep.multiplier_variance();
        for value in &mut covariance {
            *value *= kappa;
        }
        Ok(covariance)
    }

    /// Mean `s B A x`; covariance `s^2 kappa` times
    ///
    /// - input: `(BA) diag(x^2) (BA)^T`,
    /// - rank: `B diag((Ax)^2) B^T`,
    /// - weight: `B diag((A*A) x^2) B^T`
    ///
    /// (theory.md, section 2).
    fn moments(&self, x: &Tensor) -> Result<Moments> {
        let (a, b, x, u) = double_precision(&self.lora, x)?;
        let scale = self.lora.scale();
        let variance = scale * scale * self.settings.keep.multiplier_variance();
        let (factor, squares) = match self.settings.site {
            DropoutSite::Input => (b.matmul(&a)?, x.sqr()?),
            DropoutSite::Rank => (b.clone(), u.sqr()?),
            DropoutSite::Weight => (b.clone(), x.sqr()?.matmul(&a.sqr()?.t()?)?),
        };
        Ok(Moments { mean: (u.matmul(&b.t()?)? * scale)?, factor, weights: (squares * variance)? })
    }
}
