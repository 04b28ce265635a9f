//! The sampling-free predictive: a Gaussian over the logits of each sentence, to first order in the adapters' noise.
//!
//! Mean: the logits at the mean of the posterior. Covariance: the sum over adapted maps of what their noise gives to the
//! logits, with derivatives of all classes by reverse mode: one pass forward and one back for each class, whatever the number
//! of multipliers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bayeslora_adapters::{
    AdapterSet, Dependence, Draw, Increment, LowRank, Moments, Parameter, Slot, StochasticAdapter,
};
use bayeslora_kernels::Packing;
use candle_core::{DType, Tensor, Var};
use rayon::prelude::*;

use crate::classifier::classify;
use crate::error::Result;
use crate::sampler::{Hidden, Sampler};

/// Gaussians over the logits of some sentences.
#[derive(Debug, Clone, PartialEq)]
pub struct Linearised {
    /// `[sentences, classes]`.
    pub mean: Vec<f64>,
    /// `[sentences, classes, classes]`.
    pub covariance: Vec<f64>,
}

/// Rows of one pass. Its activations are kept for the way back, so it is smaller than a sampler's.
const ROWS_PER_PASS: usize = 512;

impl Sampler<'_> {
    /// Mean and covariance of the logits to first order in the noise.
    ///
    /// `advance` is called with the rows of each finished pass, from any thread.
    ///
    /// # Errors
    /// As [`Sampler::logits`].
    pub fn linearised(&self, hidden: Hidden<'_>, advance: &(dyn Fn(u64) + Sync)) -> Result<Linearised> {
        hidden.check(self.backbone.width())?;
        let classes = self.head.classes();
        let passes = hidden.batches(ROWS_PER_PASS);
        let parts = passes
            .par_iter()
            .map(|places| {
                let part = self.linearised_pass(hidden, places);
                advance(places.iter().map(|&place| hidden.lengths[place] as u64).sum());
                part
            })
            .collect::<Result<Vec<_>>>()?;
        let sentences = hidden.lengths.len();
        let mut mean = vec![0.0; sentences * classes];
        let mut covariance = vec![0.0; sentences * classes * classes];
        for (places, part) in passes.iter().zip(parts) {
            for (index, &place) in places.iter().enumerate() {
                let copy = |to: &mut [f64], from: &[f64], width: usize| {
                    to[place * width..][..width].copy_from_slice(&from[index * width..][..width]);
                };
                copy(&mut mean, &part.mean, classes);
                copy(&mut covariance, &part.covariance, classes * classes);
            }
        }
        Ok(Linearised { mean, covariance })
    }

    fn linearised_pass(&self, hidden: Hidden<'_>, places: &[usize]) -> Result<Linearised> {
        let device = self.backbone.device();
        let width = self.backbone.width();
        let lengths: Vec<usize> = places.iter().map(|&place| hidden.lengths[place]).collect();
        let packing = Packing::from_lengths(&lengths);
        let x = Tensor::from_vec(hidden.gather(places, width)?, (1, packing.rows(), width), device)?;
        let taps = Taps::default();
        let mut adapters = AdapterSet::new();
        for (slot, adapter) in self.adapters.shared() {
            adapters.insert(slot, Box::new(Tapped { adapter, taps: Arc::clone(&taps) }));
        }
        let logits =
            classify(self.backbone, self.head, &adapters, Draw::Mean, self.from, &x, &packing)?.logits.squeeze(0)?;
        let taps = std::mem::take(&mut *taps.lock().unwrap_or_else(PoisonError::into_inner));
        let classes = self.head.classes();
        let mut gradients: BTreeMap<Slot, Vec<Tensor>> = BTreeMap::new();
        for class in 0..classes {
            // Sentences do not depend on each other: the gradient of their sum holds the gradient of each.
            let store = logits.narrow(1, class, 1)?.sum_all()?.backward()?;
            for (&slot, tap) in &taps {
                // A core that the logits do not depend on has no gradient.
                let gradient = store.get(&tap.offset).map_or_else(|| tap.offset.zeros_like(), |g| Ok(g.clone()))?;
                gradients.entry(slot).or_default().push(gradient.detach());
            }
        }
        let every: Vec<Range<usize>> = packing.sentences().collect();
        let first: Vec<Range<usize>> = Packing::single_rows(packing.len()).sentences().collect();
        let mut covariance = vec![0.0; places.len() * classes * classes];
        for (slot, adapter) in self.adapters.iter() {
            let (Some(tap), Some(gradients)) = (taps.get(&slot), gradients.get(&slot)) else { continue };
            let sentences = if tap.x.dim(0)? == packing.rows() { &every } else { &first };
            let dependence = Dependence { x: &tap.x, gradients: &Tensor::cat(gradients, 0)?, sentences };
            for (total, part) in covariance.iter_mut().zip(adapter.first_order_covariance(dependence)?) {
                *total += part;
            }
        }
        let mean = logits.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        Ok(Linearised { mean, covariance })
    }
}

/// What passed a map, and where its core can be moved.
#[derive(Debug)]
struct Tap {
    /// `[rows, d_in]`.
    x: Tensor,
    /// Added to the core, 0: the gradient by it is the gradient by the core. `[1, rows, r]`.
    offset: Var,
}

type Taps = Arc<Mutex<BTreeMap<Slot, Tap>>>;

/// An adapter at its mean with a tap in its core.
#[derive(Debug)]
struct Tapped {
    adapter: Arc<dyn StochasticAdapter>,
    taps: Taps,
}

impl StochasticAdapter for Tapped {
    fn increment(&self, slot: Slot, x: &Tensor, _: &Draw<'_>) -> bayeslora_adapters::Result<Increment> {
        let core = self.adapter.mean_core(slot, x)?;
        let offset = Var::zeros(core.shape(), core.dtype(), core.device())?;
        let core = (&core + offset.as_tensor())?;
        let tap = Tap { x: x.squeeze(0)?.detach(), offset };
        self.taps.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, tap);
        let lora = self.adapter.low_rank();
        Ok(Increment { up: lora.b().as_detached_tensor(), ..Increment::of_core(core, lora) })
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
