//! Optimisers: AdamW with decoupled decay (Loshchilov and Hutter, arXiv 1711.05101), plain SGD, IVON and SGHMC, over parameters that
//! may follow different rules; gradient clipping; the linear schedule.

mod ivon;
mod sghmc;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::error::{Error, Result};

pub use ivon::Ivon;
pub use sghmc::Sghmc;

/// How a parameter is updated. Rates are at their peak; the schedule scales them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// AdamW with moments 0.9 and 0.999 and epsilon 1e-8.
    AdamW {
        /// Learning rate.
        rate: f64,
        /// Decoupled weight decay.
        decay: f64,
    },
    /// Gradient descent without momentum.
    Sgd {
        /// Learning rate.
        rate: f64,
    },
    /// The mean of weights that [`Ivon`] has a Gaussian over. Its gradients are not clipped.
    IvonMean(Ivon),
    /// The logarithm of the standard deviations of such weights; the first belongs to the first mean, and so on.
    IvonLogSd(Ivon),
    /// A step of [`Sghmc`], which has a schedule of its own. Its gradients are not clipped.
    Sghmc(Sghmc),
}

impl Rule {
    /// Whether gradients are clipped, with those of all such parameters together.
    fn is_clipped(self) -> bool {
        matches!(self, Self::AdamW { .. } | Self::Sgd { .. })
    }
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// A parameter with its rule and its moments: of AdamW; the momentum of IVON as `first` of the mean, and its curvature as `second` of the
/// deviations; the velocity of SGHMC as `first`.
#[derive(Debug)]
struct Slot {
    var: Var,
    rule: Rule,
    first: Tensor,
    second: Tensor,
}

/// Updates parameters from gradients.
#[derive(Debug)]
pub struct Optimiser {
    slots: Vec<Slot>,
    /// Places of means with those of their deviations, for IVON.
    pairs: Vec<(usize, usize)>,
    steps: u32,
}

impl Optimiser {
    /// For these parameters. Deviations of IVON are set to those of its initial curvature.
    ///
    /// # Errors
    /// When the moments cannot be allocated; [`Error::Parameter`] when means and deviations of IVON are no pairs.
    pub fn new(parameters: impl IntoIterator<Item = (Var, Rule)>) -> Result<Self> {
        let slot = |(var, rule): (Var, Rule)| -> Result<Slot> {
            let zeros = var.zeros_like()?.detach();
            let mut slot = Slot { var, rule, first: zeros.clone(), second: zeros };
            if let Rule::IvonLogSd(ivon) = rule {
                slot.second = (&slot.second + ivon.initial_curvature)?;
                slot.var.set(&ivon.log_sd(&slot.second)?)?;
            }
            Ok(slot)
        };
        let slots: Vec<Slot> = parameters.into_iter().map(slot).collect::<Result<_>>()?;
        let places = |is: fn(Rule) -> bool| (0..slots.len()).filter(|&place| is(slots[place].rule)).collect::<Vec<_>>();
        let means = places(|rule| matches!(rule, Rule::IvonMean(_)));
        let deviations = places(|rule| matches!(rule, Rule::IvonLogSd(_)));
        let shapes =
            |places: &[usize]| places.iter().map(|&place| slots[place].var.dims().to_vec()).collect::<Vec<_>>();
        if shapes(&means) != shapes(&deviations) {
            return Err(Error::Parameter {
                what: format!("{} means and {} deviations follow IVON", means.len(), deviations.len()),
                expected: "each mean needs deviations of its shape, in the same order".to_owned(),
            });
        }
        Ok(Self { pairs: means.into_iter().zip(deviations).collect(), slots, steps: 0 })
    }

    /// Scalar parameters altogether.
    pub fn parameter_count(&self) -> usize {
        self.slots.iter().map(|slot| slot.var.elem_count()).sum()
    }

    /// The gradients of the parameters, in their order. A parameter without one has no part in this loss (a posterior's
    /// scale in a mean pass).
    ///
    /// They are detached: candle's gradients remember the activations they were computed from, and moments made of them
    /// would keep those of every step alive.
    pub fn gradients(&self, store: &GradStore) -> Vec<Option<Tensor>> {
        self.slots.iter().map(|slot| store.get(&slot.var).map(Tensor::detach)).collect()
    }

    /// One update: clips the gradient of all parameters together to `clip_norm`, but for those of rules without clipping, and scales the rates
    /// by `factor`. Returns the norm before clipping. A parameter without a gradient stays.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn step(&mut self, gradients: &[Option<Tensor>], factor: f64, clip_norm: f64) -> Result<f64> {
        self.steps += 1;
        let mut squares = 0.0;
        for (slot, gradient) in self.slots.iter().zip(gradients) {
            if let (Some(gradient), true) = (gradient, slot.rule.is_clipped()) {
                squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        let norm = squares.sqrt();
        // torch.nn.utils.clip_grad_norm_, its 1e-6 included.
        let scale = (clip_norm / (norm + 1e-6)).min(1.0);
        for (index, (slot, gradient)) in self.slots.iter_mut().zip(gradients).enumerate() {
            match (gradient, slot.rule) {
                (Some(gradient), Rule::Sghmc(sghmc)) => slot.sample(sghmc, gradient, index, self.steps - 1)?,
                (Some(gradient), rule) if rule.is_clipped() => slot.update(&(gradient * scale)?, factor, self.steps)?,
                _ => {}
            }
        }
        for (mean, deviations) in self.pairs.clone() {
            if let (Some(Some(gradient)), Some(Some(by_log_sd))) = (gradients.get(mean), gradients.get(deviations)) {
                self.ivon((mean, deviations), (gradient, by_log_sd), factor)?;
            }
        }
        Ok(norm)
    }

    /// A step of IVON for the mean at one place and the deviations at another.
    fn ivon(&mut self, (mean, deviations): (usize, usize), gradients: (&Tensor, &Tensor), factor: f64) -> Result<()> {
        let Rule::IvonMean(ivon) = self.slots[mean].rule else { return Ok(()) };
        let state = ivon::State {
            mean: self.slots[mean].var.as_detached_tensor(),
            momentum: self.slots[mean].first.clone(),
            curvature: self.slots[deviations].second.clone(),
        };
        let ivon::State { mean: value, momentum, curvature } = ivon.next(&state, gradients, factor, self.steps)?;
        self.slots[mean].var.set(&value)?;
        self.slots[mean].first = momentum;
        self.slots[deviations].var.set(&ivon.log_sd(&curvature)?)?;
        self.slots[deviations].second = curvature;
        Ok(())
    }

    /// One step of plain gradient descent on a further objective, without clipping or moments. A parameter without a gradient
    /// stays, and so do all when `gradients` is empty.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn descend(&self, gradients: &[Option<Tensor>], rate: f64) -> Result<()> {
        for (slot, gradient) in self.slots.iter().zip(gradients) {
            if let Some(gradient) = gradient {
                slot.var.set(&(slot.var.as_detached_tensor() - (gradient * rate)?)?)?;
            }
        }
        Ok(())
    }

    /// Everything a checkpoint needs: parameters and moments, by name.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let slots = self.slots.iter().enumerate();
        slots
            .flat_map(|(index, slot)| {
                [
                    (format!("parameter.{index}"), slot.var.as_detached_tensor()),
                    (format!("first.{index}"), slot.first.clone()),
                    (format!("second.{index}"), slot.second.clone()),
                ]
            })
            .collect()
    }

    /// Restores what [`Self::state`] gave, after `steps` updates; `false`, with nothing changed, when it does not fit.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn restore(&mut self, state: &std::collections::BTreeMap<String, Tensor>, steps: u32) -> Result<bool> {
        let mut found = Vec::new();
        for (index, slot) in self.slots.iter().enumerate() {
            for name in ["parameter", "first", "second"] {
                match state.get(&format!("{name}.{index}")) {
                    Some(tensor) if tensor.dims() == slot.var.dims() => found.push(tensor.clone()),
                    _ => return Ok(false),
                }
            }
        }
        for (slot, tensors) in self.slots.iter_mut().zip(found.chunks_exact(3)) {
            slot.var.set(&tensors[0])?;
            slot.first = tensors[1].clone();
            slot.second = tensors[2].clone();
        }
        self.steps = steps;
        Ok(true)
    }

    /// Sets all moments to 0, as before the first step, but for curvatures of IVON, which are part of its posterior.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn forget(&mut self) -> Result<()> {
        self.steps = 0;
        for slot in &mut self.slots {
            slot.first = slot.var.zeros_like()?.detach();
            if !matches!(slot.rule, Rule::IvonLogSd(_)) {
                slot.second = slot.first.clone();
            }
        }
        Ok(())
    }

    /// Copies of the parameters.
    ///
    /// # Errors
    /// When a tensor cannot be copied.
    pub fn parameters(&self) -> Result<Vec<Tensor>> {
        self.slots.iter().map(|slot| Ok(slot.var.as_detached_tensor().copy()?)).collect()
    }

    /// Sets the parameters to copies taken before.
    ///
    /// # Errors
    /// When shapes do not go together.
    pub fn set_parameters(&self, values: &[Tensor]) -> Result<()> {
        for (slot, value) in self.slots.iter().zip(values) {
            slot.var.set(value)?;
        }
        Ok(())
    }
}

impl Slot {
    fn update(&mut self, gradient: &Tensor, factor: f64, steps: u32) -> Result<()> {
        let value = self.var.as_detached_tensor();
        let next = match self.rule {
            Rule::Sgd { rate } => (value - (gradient * (rate * factor))?)?,
            Rule::AdamW { rate, decay } => {
                let rate = rate * factor;
                self.first = ((&self.first * BETA1)? + (gradient * (1.0 - BETA1))?)?;
                self.second = ((&self.second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
                let steps = f64::from(steps);
                let first = (&self.first / (1.0 - BETA1.powf(steps)))?;
                let second = (&self.second / (1.0 - BETA2.powf(steps)))?;
                let direction = first.div(&(second.sqrt()? + EPSILON)?)?;
                ((value * (1.0 - rate * decay))? - (direction * rate)?)?
            }
            Rule::IvonMean(_) | Rule::IvonLogSd(_) | Rule::Sghmc(_) => return Ok(()),
        };
        Ok(self.var.set(&next)?)
    }

    /// A step of SGHMC.
    fn sample(&mut self, sghmc: Sghmc, gradient: &Tensor, index: usize, step: u32) -> Result<()> {
        let value = self.var.as_detached_tensor();
        let (next, velocity) = sghmc.next((&value, &self.first), gradient, index, step)?;
        self.first = velocity;
        Ok(self.var.set(&next)?)
    }
}

/// Factor of the learning rate at `step` (from 0) of `total`: linear from 0 over the first `warmup` share, then linear to
/// 0 at the end (transformers' `get_linear_schedule_with_warmup`).
///
/// # Examples
/// ```
/// use bayeslora_inference::linear_schedule;
/// assert_eq!(linear_schedule(0, 100, 0.1), 0.0);
/// assert_eq!(linear_schedule(5, 100, 0.1), 0.5);
/// assert_eq!(linear_schedule(10, 100, 0.1), 1.0);
/// assert_eq!(linear_schedule(55, 100, 0.1), 0.5);
/// ```
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a step count")]
pub fn linear_schedule(step: u32, total: u32, warmup: f64) -> f64 {
    let warmup = (warmup * f64::from(total)).ceil() as u32;
    if step < warmup {
        f64::from(step) / f64::from(warmup)
    } else {
        f64::from(total.saturating_sub(step)) / f64::from((total - warmup.min(total)).max(1))
    }
}
