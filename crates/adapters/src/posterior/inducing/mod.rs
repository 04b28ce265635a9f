//! Factors `A` and `B` that a small inducing matrix conditions (Bayesian-LoRA, arXiv 2601.21003; the construction: Ritter et al., arXiv
//! 2105.14594; methods.md, section 14).
//!
//! A factor is `W = sigma_p (M(U) + lambda E)`, both factors independent, one draw of both a sample. Its prior extends the `d1 d2` standard
//! normal entries of `W / sigma_p` by a matrix `U [m1, m2]`, jointly matrix-normal: the rows of `W` and `U` together have the covariance
//! `[[I, Z'], [Z, Z Z' + D^2]]` with learnt `Z [m1, d1]` and `D` diagonal, the columns another of this form. So `U` has the covariance
//! `K_c (x) K_r`, and given `U` the matrix is Gaussian with mean `Z_r' K_r^-1 U K_c^-1 Z_c` and covariance `I - P_c (x) P_r`,
//! `P = Z' K^-1 Z`.
//!
//! `U` is whitened, `U = L_r V L_c'` with `V ~ N(0, I)` a priori and independent `N(m, s^2)` a posteriori. With `Q = L^-1 [Z, D]`, whose rows
//! are orthonormal (those of Gram and Schmidt for the rows of `[Z, D]`, `L` being Cholesky's factor of `K`), everything is a product:
//! `M = Q_r' V Q_c` in the columns of `Q` that belong to `Z`. Noise given `U` comes by Matheron's rule: a draw `G` of the extended prior is
//! whitened, `Q_r G Q_c'`, and what it explains is taken away. It is multiplied by `lambda`; then the divergence of the factor given `U` is
//! `d1 d2 (lambda^2 - 1 - 2 log lambda) / 2`, whatever `U` is, and that of `V` the usual one.

mod factor;
mod settings;

use candle_core::{DType, Device, Tensor, Var};

use self::factor::{Factor, PARTS};
use super::{Activations, Increment, Moments, Parameter, Scratch, StochasticAdapter, weights::addresses};
use crate::draw::{Draw, Sampling};
use crate::error::{Error, Result};
use crate::linear::Dependence;
use crate::lora::LowRank;
use crate::noise::Noise;
use crate::slot::Slot;

pub use settings::InducingSettings;

/// A LoRA pair whose factors inducing matrices condition.
///
/// The pair itself is not trained: it holds the means of the factors as [`settle`](Self::settle) left them, for files. Whatever it holds, the
/// increments are those of the factors.
#[derive(Debug, Clone)]
pub struct Inducing {
    lora: LowRank,
    factors: [Factor; 2],
}

/// Names of the tensors in their file: those of `A`, then those of `B`, each in the order of [`PARTS`].
const NAMES: [&str; 2 * PARTS] = [
    "inducing.a.row_basis",
    "inducing.a.column_basis",
    "inducing.a.log_row_noise",
    "inducing.a.log_column_noise",
    "inducing.a.mean",
    "inducing.a.log_sd",
    "inducing.a.log_scale",
    "inducing.b.row_basis",
    "inducing.b.column_basis",
    "inducing.b.log_row_noise",
    "inducing.b.log_column_noise",
    "inducing.b.mean",
    "inducing.b.log_sd",
    "inducing.b.log_scale",
];

impl Inducing {
    /// Random bases and a random mean of `A`; the mean of `B` is 0, so that the mean of the pair changes nothing.
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting out of its range.
    pub fn initial(
        slot: Slot,
        lora: &LowRank,
        settings: InducingSettings,
        noise: &Noise,
        device: &Device,
    ) -> Result<Self> {
        settings.check()?;
        let (a, b) = (lora.a().dims2()?, lora.b().dims2()?);
        let mut tensors = Factor::initial(slot, 0, a, settings, noise, device)?;
        tensors.extend(Factor::initial(slot, 1, b, settings, noise, device)?);
        let lora = LowRank::from_tensors(slot, (b.0, a.1), lora.a(), lora.b(), lora.scale())?;
        Self::from_tensors(slot, lora, settings, &tensors)
    }

    /// From given tensors in the order of [`Self::tensor_names`].
    ///
    /// # Errors
    /// [`Error::Shape`] when they have other shapes; [`Error::Setting`] as above.
    pub fn from_tensors(slot: Slot, lora: LowRank, settings: InducingSettings, tensors: &[Tensor]) -> Result<Self> {
        settings.check()?;
        let dims = [lora.a().dims2()?, lora.b().dims2()?];
        let shapes = dims.iter().flat_map(|&dims| Factor::shapes(dims, settings));
        for (index, (name, shape)) in NAMES.iter().zip(shapes).enumerate() {
            let got = tensors.get(index).map(|tensor| tensor.dims().to_vec()).unwrap_or_default();
            if got != shape {
                return Err(Error::Shape { what: format!("{name} of {slot}"), got, expected: format!("{shape:?}") });
            }
        }
        let (of_a, of_b) = tensors.split_at(PARTS);
        let factors = [Factor::new(of_a, dims[0], settings)?, Factor::new(of_b, dims[1], settings)?];
        let adapter = Self { lora, factors };
        adapter.settle()?;
        Ok(adapter)
    }

    /// The same adapter, known by its settings: it shares the tensors of `adapter`. None where those have other names.
    pub fn sharing(adapter: &dyn StochasticAdapter, settings: InducingSettings) -> Option<Self> {
        let parameters = adapter.parameters();
        let find = |name: &&str| parameters.iter().find(|parameter| parameter.name == *name).map(|p| p.var.clone());
        let vars: Vec<Var> = NAMES.iter().map(find).collect::<Option<_>>()?;
        let lora = adapter.low_rank().clone();
        let (of_a, of_b) = vars.split_at(PARTS);
        let dims = [lora.a().dims2().ok()?, lora.b().dims2().ok()?];
        let factors = [Factor::of(of_a, dims[0], settings)?, Factor::of(of_b, dims[1], settings)?];
        Some(Self { lora, factors })
    }

    /// Names of the tensors in their file.
    pub fn tensor_names() -> &'static [&'static str] {
        &NAMES
    }

    /// Sets the pair to the means of the factors, which is what its file should hold.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn settle(&self) -> Result<()> {
        for (var, factor) in [self.lora.a(), self.lora.b()].into_iter().zip(&self.factors) {
            var.set(&factor.mean()?.detach())?;
        }
        Ok(())
    }

    /// The scales `lambda` of `A` and `B`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn scales(&self) -> Result<[f64; 2]> {
        let [of_a, of_b] = &self.factors;
        Ok([of_a.scale_value()?, of_b.scale_value()?])
    }

    /// The factors of each sample; their means where nothing is drawn.
    fn drawn(&self, slot: Slot, rows: usize, sampling: Option<&Sampling<'_>>) -> Result<Vec<[Tensor; 2]>> {
        let [of_a, of_b] = &self.factors;
        let Some(sampling) = sampling else { return Ok(vec![[of_a.mean()?, of_b.mean()?]]) };
        let bases = [of_a.bases()?, of_b.bases()?];
        let draw = |sample: usize| {
            let [at_a, at_b] = addresses(slot, sampling, sample * rows);
            Ok([of_a.draw(&bases[0], &sampling.noise, at_a)?, of_b.draw(&bases[1], &sampling.noise, at_b)?])
        };
        (0..sampling.count()).map(draw).collect()
    }
}

impl StochasticAdapter for Inducing {
    /// All of `B` that the stored pair does not have is in the offset.
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> Result<Increment> {
        let (samples, rows, _) = x.dims3()?;
        let sampling = match draw {
            Draw::Mean => None,
            Draw::Sampled(sampling) => Some(sampling),
        };
        let factors = self.drawn(slot, rows, sampling)?;
        let stored = self.lora.b().as_detached_tensor();
        let count = if sampling.is_some() { factors.len() } else { samples };
        let (mut cores, mut offsets) = (Vec::new(), Vec::new());
        for sample in 0..count {
            let [a, b] = &factors[sample % factors.len()];
            let core = x.get(sample % samples)?.matmul(&a.t()?)?;
            offsets.push((core.matmul(&(b - &stored)?.t()?)? * self.lora.scale())?);
            cores.push(core);
        }
        let (core, offset) = (Tensor::stack(&cores, 0)?, Some(Tensor::stack(&offsets, 0)?));
        Ok(Increment { core, up: stored, scale: self.lora.scale(), offset, divergence: None })
    }

    fn has_offset(&self) -> bool {
        true
    }

    fn add_offset(
        &self,
        slot: Slot,
        x: Activations<'_>,
        draw: &Draw<'_>,
        _scratch: &mut Scratch,
        _core: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        let width = self.lora.a().dims()[1];
        let x = Tensor::from_slice(x.values, (x.samples, x.rows, width), &Device::Cpu)?;
        if let Some(offset) = self.increment(slot, &x, draw)?.offset {
            let offset = offset.detach().flatten_all()?.to_vec1::<f32>()?;
            out.iter_mut().zip(&offset).for_each(|(out, offset)| *out += offset);
        }
        Ok(())
    }

    fn low_rank(&self) -> &LowRank {
        &self.lora
    }

    /// Without the pair, which is made of them.
    fn parameters(&self) -> Vec<Parameter<'_>> {
        let vars = self.factors.iter().flat_map(Factor::vars);
        NAMES.into_iter().zip(vars).map(|(name, var)| Parameter { name, var }).collect()
    }

    /// `sum (s^2 + m^2 - 1 - 2 log s) / 2 + d1 d2 (lambda^2 - 1 - 2 log lambda) / 2`, of both factors.
    fn divergence(&self) -> Result<Option<Tensor>> {
        let [of_a, of_b] = &self.factors;
        Ok(Some((of_a.divergence()? + of_b.divergence()?)?))
    }

    fn first_order_covariance(&self, _: Dependence<'_>) -> Result<Vec<f64>> {
        Err(Error::Linearised { noise: "the noise of a random `B` (inducing matrices)" })
    }

    /// With `e = A x` of mean `a` and covariance `C`: mean `s B a`, covariance `s^2 (B C B' + E cov(B e | e))`, each a matrix of fixed columns
    /// with weights that may be negative; the sum is positive semi-definite.
    fn moments(&self, x: &Tensor) -> Result<Moments> {
        let (d_in, scale) = (self.lora.a().dims()[1], self.lora.scale());
        if x.rank() != 2 || x.dims()[1] != d_in {
            let what = "input of the moments".to_owned();
            return Err(Error::Shape { what, got: x.dims().to_vec(), expected: format!("[n, {d_in}]") });
        }
        let x = x.detach().to_dtype(DType::F64)?;
        let [of_a, of_b] = [self.factors[0].fixed()?, self.factors[1].fixed()?];
        let core = x.matmul(&of_a.mean.t()?)?;
        let (inner, inner_weights) =
            of_a.covariance(&x.sqr()?.sum_keepdim(1)?, &x.matmul(&of_a.columns.t()?)?.sqr()?)?;
        let spread = |rows: &Tensor| inner_weights.matmul(&rows.matmul(&inner)?.sqr()?.t()?);
        // E |e|^2 and E (Q e)_j^2.
        let identity = Tensor::eye(core.dim(1)?, DType::F64, core.device())?;
        let length = (core.sqr()?.sum_keepdim(1)? + spread(&identity)?.sum_keepdim(1)?)?;
        let along = (core.matmul(&of_b.columns.t()?)?.sqr()? + spread(&of_b.columns)?)?;
        let (outer, outer_weights) = of_b.covariance(&length, &along)?;
        let factor = Tensor::cat(&[&of_b.mean.matmul(&inner)?, &outer], 1)?;
        let weights = (Tensor::cat(&[&inner_weights, &outer_weights], 1)? * (scale * scale))?;
        Ok(Moments { mean: (core.matmul(&of_b.mean.t()?)? * scale)?, factor, weights })
    }
}

#[cfg(test)]
mod tests;
