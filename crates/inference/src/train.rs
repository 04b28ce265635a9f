//! The training loop all methods share: AdamW, linear warm-up, gradient clipping, early stopping on the validation set or
//! snapshots along the way, a checkpoint after every epoch.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use bayeslora_adapters::{Draw, Noise, Rows, Sampling, Stream, derive_seed};
use bayeslora_records::FitRecord;
use candle_core::Tensor;
use rayon::prelude::*;

use crate::checkpoint::{State, read_checkpoint, write_checkpoint};
use crate::context::FitContext;
use crate::error::{Error, Result};
use crate::fitted::Fitted;
use crate::member::Member;
use crate::optimise::{Optimiser, Rule, linear_schedule};
use crate::prefix::Batch;
use crate::readout::outputs;
use crate::recipe::{DivergenceUpdate, Objective, Position, Recipe, TrainingSet};
use crate::settings::{Schedule, Selection};
use crate::validation::{Validation, mean_nll, validate};

/// Trains member number `member` of a unit. A checkpoint in the folder is continued, with the same result as if nothing
/// had been interrupted.
///
/// # Errors
/// When the loss is not finite, a tensor operation fails, or a checkpoint cannot be written.
pub fn train(context: &FitContext<'_>, recipe: &Recipe<'_>, member: u64) -> Result<Fitted> {
    let seed = derive_seed(context.seed, member);
    let mut fresh = Member::initial(context, recipe.posterior, &Noise::new(seed, Stream::Initial))?;
    if let Some(start) = recipe.start {
        for ((_, var), (_, value)) in fresh.parameters().zip(start.parameters()) {
            var.set(&value.as_detached_tensor())?;
        }
        fresh.keep_frozen(start);
    }
    let default = Rule::AdamW { rate: context.training.learning_rate, decay: context.training.weight_decay };
    let rules = fresh.parameters().map(|(name, var)| (var.clone(), (recipe.rule)(name).unwrap_or(default)));
    let optimiser = Optimiser::new(rules)?;
    let order = Noise::new(seed, Stream::Order);
    let places = match recipe.training_set {
        TrainingSet::Whole => (0..context.train.len()).collect(),
        TrainingSet::Bootstrap => order.with_replacement(context.train.len()),
    };
    let mut fit = Fit {
        context,
        recipe,
        member: fresh,
        best: optimiser.parameters()?,
        snapshots: Vec::new(),
        optimiser,
        state: State::default(),
        path: context.folder.join(format!("member-{member}.checkpoint.safetensors")),
        noise: Noise::new(seed, Stream::Training),
        order,
        places,
    };
    fit.resume()?;
    while !fit.is_finished() {
        fit.epoch()?;
        fit.save()?;
    }
    fit.finish()
}

/// Parts of a step of an encoder that run side by side.
const PARTS: usize = 4;
/// Those of a decoder: its weights pass the caches once for each part, and its batches have fewer texts.
const PARTS_OF_DECODER: usize = 2;

struct Fit<'a> {
    context: &'a FitContext<'a>,
    recipe: &'a Recipe<'a>,
    member: Member,
    optimiser: Optimiser,
    best: Vec<Tensor>,
    /// Parameters at the steps of the recipe passed so far.
    snapshots: Vec<Vec<Tensor>>,
    state: State,
    path: PathBuf,
    noise: Noise,
    order: Noise,
    /// Examples of an epoch.
    places: Vec<usize>,
}

impl Fit<'_> {
    fn is_finished(&self) -> bool {
        let settings = self.context.training;
        let waited =
            self.state.epoch >= self.state.best_epoch.saturating_add(settings.patience) && self.state.epoch > 0;
        self.state.epoch >= settings.epochs || waited && self.recipe.snapshots.is_empty()
    }

    fn epoch(&mut self) -> Result<()> {
        let started = Instant::now();
        let settings = self.context.training;
        let order = self.order.permutation(self.places.len(), self.state.epoch);
        let order: Vec<usize> = order.into_iter().map(|index| self.places[index]).collect();
        for places in order.chunks(settings.batch_size) {
            let position = Position { step: self.state.steps, steps_per_epoch: self.context.steps_per_epoch() };
            let (gradients, tokens) = self.gradients(places, position)?;
            let factor = match settings.schedule {
                Schedule::Linear => linear_schedule(self.state.steps, self.context.steps(), settings.warmup),
                Schedule::Constant => 1.0,
            };
            self.optimiser.step(&gradients, factor, settings.clip_norm)?;
            if let DivergenceUpdate::Descent { rate } = self.recipe.divergence {
                let gradients = self.divergence_gradients(position)?;
                self.optimiser.descend(&gradients, rate * factor)?;
            }
            self.state.steps += 1;
            if (self.recipe.after_step)(&self.member, self.state.steps)? {
                self.optimiser.forget()?;
                self.state.moments_since = self.state.steps;
            }
            if self.recipe.snapshots.contains(&self.state.steps) {
                self.snapshots.push(self.optimiser.parameters()?);
            }
            self.state.tokens += tokens;
            self.context.progress.advance(3 * tokens);
        }
        self.state.epoch += 1;
        let Validation { nll, accuracy } = validate(self.context, &self.member)?;
        if !nll.is_finite() {
            return Err(Error::Diverged { loss: nll, step: self.state.steps });
        }
        let State { validation_nll, validation_accuracy, .. } = &self.state;
        let best = match settings.select {
            Selection::ValidationNll => validation_nll.iter().all(|&earlier| nll < earlier),
            Selection::ValidationAccuracy => validation_accuracy.iter().all(|&earlier| accuracy > earlier),
            Selection::Last => true,
        };
        if best {
            self.best = self.optimiser.parameters()?;
            self.state.best_epoch = self.state.epoch;
        }
        self.state.validation_nll.push(nll);
        self.state.validation_accuracy.push(accuracy);
        self.state.seconds += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Gradient of the loss of the sentences at `places`, and their tokens.
    ///
    /// The batch is cut into parts that run side by side, one thread each: the small operations of a step do not share
    /// out well. Their number is fixed and their gradients add up in order, so results do not depend on threads.
    fn gradients(&self, places: &[usize], position: Position) -> Result<(Vec<Option<Tensor>>, u64)> {
        let backbone = self.context.backbone;
        let count = match (backbone.device().is_cpu(), backbone.is_causal()) {
            // An accelerator has one queue.
            (false, _) => 1,
            (true, true) => PARTS_OF_DECODER,
            (true, false) => PARTS,
        };
        let parts = places
            .par_chunks(places.len().div_ceil(count).max(1))
            .map(|part| {
                let batch = self.context.train.batch(part, self.context.backbone.device())?;
                let loss = self.loss(&batch, position, part.len() as f64 / places.len() as f64)?;
                let value = f64::from(loss.to_scalar::<f32>()?);
                if !value.is_finite() {
                    return Err(Error::Diverged { loss: value, step: position.step });
                }
                Ok((self.optimiser.gradients(&loss.backward()?), batch.packing.rows() as u64))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut tokens = 0;
        let mut total: Vec<Option<Tensor>> = Vec::new();
        for (gradients, part_tokens) in parts {
            tokens += part_tokens;
            total = added(total, gradients)?;
        }
        if self.recipe.divergence == DivergenceUpdate::WithLoss {
            total = added(total, self.divergence_gradients(position)?)?;
        }
        let Objective { prior, .. } = (self.recipe.objective)(position);
        if prior > 0.0 {
            let squares = self.member.parameters().map(|(_, var)| Ok(Some((var.as_detached_tensor() * prior)?)));
            total = added(total, squares.collect::<Result<_>>()?)?;
        }
        Ok((total, tokens))
    }

    /// Gradient of the weighted divergence, as far as it is a function of the parameters alone.
    fn divergence_gradients(&self, position: Position) -> Result<Vec<Option<Tensor>>> {
        let Objective { divergence: weight, .. } = (self.recipe.objective)(position);
        match self.member.divergence()?.filter(|_| weight > 0.0) {
            Some(divergence) => Ok(self.optimiser.gradients(&(divergence * weight)?.backward()?)),
            None => Ok(Vec::new()),
        }
    }

    /// Loss of a part of a step's sentences; `share` of them are in it.
    fn loss(&self, batch: &Batch, position: Position, share: f64) -> Result<Tensor> {
        let Objective { nll, divergence, .. } = (self.recipe.objective)(position);
        let rows = Rows::of_packing(&batch.examples, &batch.packing);
        let sampling = Sampling {
            noise: self.noise,
            samples: position.step..position.step + 1,
            rows: &rows,
            with_divergence: divergence > 0.0,
        };
        let draw = if self.recipe.sampled { Draw::Sampled(sampling) } else { Draw::Mean };
        let FitContext { backbone, from, .. } = *self.context;
        let output = outputs(backbone, &self.member, draw, from, batch)?;
        let loss = (mean_nll(&output.logits, &batch.labels)? * (nll * share))?;
        match output.divergence {
            Some(kl) => Ok((loss + (kl * divergence)?)?),
            None => Ok(loss),
        }
    }

    fn save(&self) -> Result<()> {
        let mut tensors: HashMap<String, Tensor> = self.optimiser.state().into_iter().collect();
        for (index, tensor) in self.best.iter().enumerate() {
            tensors.insert(format!("best.{index}"), tensor.clone());
        }
        for (number, snapshot) in self.snapshots.iter().enumerate() {
            for (index, tensor) in snapshot.iter().enumerate() {
                tensors.insert(format!("snapshot.{number}.{index}"), tensor.clone());
            }
        }
        write_checkpoint(&self.path, &self.state, &tensors)
    }

    /// Continues from the checkpoint. One that cannot be read is left behind: training then starts again.
    fn resume(&mut self) -> Result<()> {
        let Ok(bytes) = std::fs::read(&self.path) else { return Ok(()) };
        let Some((state, tensors)) = read_checkpoint(&bytes, self.context.backbone.device()) else { return Ok(()) };
        let parameters = |what: &str| -> Option<Vec<Tensor>> {
            (0..self.best.len()).map(|index| tensors.get(&format!("{what}.{index}")).cloned()).collect()
        };
        let passed = self.recipe.snapshots.iter().filter(|&&step| step <= state.steps).count();
        let snapshots: Option<Vec<_>> = (0..passed).map(|number| parameters(&format!("snapshot.{number}"))).collect();
        if let (Some(best), Some(snapshots)) = (parameters("best"), snapshots)
            && self.optimiser.restore(&tensors, state.steps - state.moments_since)?
        {
            self.context.progress.advance(3 * state.tokens);
            self.best = best;
            self.snapshots = snapshots;
            self.state = state;
        }
        Ok(())
    }

    fn finish(self) -> Result<Fitted> {
        let State { steps, validation_nll, best_epoch, seconds, tokens, epoch, .. } = self.state;
        let (members, kept_epochs) = if self.recipe.snapshots.is_empty() {
            self.optimiser.set_parameters(&self.best)?;
            (vec![self.member], vec![best_epoch])
        } else {
            let members = self.snapshots.iter().map(|values| self.member.with_values(self.context, values));
            let per_epoch = self.context.steps_per_epoch();
            let epochs = self.recipe.snapshots.iter().take(self.snapshots.len()).map(|step| step.div_ceil(per_epoch));
            (members.collect::<Result<_>>()?, epochs.collect())
        };
        // Epochs that early stopping saved are not work that lies ahead any more.
        let saved = u64::from(self.context.training.epochs - epoch) * self.context.train.tokens() as u64;
        self.context.progress.advance(3 * saved);
        let record = FitRecord {
            trainable_parameters: self.optimiser.parameter_count() as u64,
            steps: steps.into(),
            validation_nll: vec![validation_nll; members.len()],
            best_epoch: kept_epochs,
            seconds,
            tokens_per_second: tokens as f64 / seconds.max(f64::MIN_POSITIVE),
            ..FitRecord::default()
        };
        Ok(Fitted { members, record, laplace: None })
    }
}

/// Sums of gradients, parameter by parameter; an empty list has none.
fn added(total: Vec<Option<Tensor>>, part: Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>> {
    if total.is_empty() || part.is_empty() {
        return Ok(if total.is_empty() { part } else { total });
    }
    let sum = |(total, part): (Option<Tensor>, Option<Tensor>)| match (total, part) {
        (Some(total), Some(part)) => Ok(Some((total + part)?)),
        (total, part) => Ok(total.or(part)),
    };
    total.into_iter().zip(part).map(sum).collect()
}
