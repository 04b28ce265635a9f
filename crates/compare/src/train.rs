//! The training loop all methods share: AdamW, linear warm-up, gradient clipping, early stopping on the validation set or
//! snapshots along the way, a checkpoint after every epoch.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use bayeslora_adapters::{Draw, LoraShape, Noise, PosteriorSettings, Rows, Sampling, Slot, Stream, derive_seed};
use bayeslora_host::write_atomically;
use bayeslora_models::{Bert, classify};
use candle_core::{D, Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::experiment::{Schedule, Selection, TrainingSettings};
use crate::laplace::Laplace;
use crate::member::Member;
use crate::optimise::{Optimiser, Rule, linear_schedule};
use crate::prefix::{Batch, Sentences};
use bayeslora_data::Progress;
use bayeslora_records::FitRecord;

/// Everything a fit may use.
pub struct Bench<'a> {
    /// The frozen backbone.
    pub bert: &'a Bert,
    /// First adapted block.
    pub from: usize,
    /// Adapted slots.
    pub slots: &'a [Slot],
    /// Rank and scale.
    pub lora: LoraShape,
    /// Whether the head is trained, or stays what it is at first.
    pub train_head: bool,
    /// The loop's settings.
    pub training: &'a TrainingSettings,
    /// Training sentences.
    pub train: &'a Sentences,
    /// Validation sentences.
    pub validation: &'a Sentences,
    /// Number of classes.
    pub classes: usize,
    /// Seed of the unit.
    pub seed: u64,
    /// Folder for checkpoints, the unit's own.
    pub folder: &'a Path,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

impl Bench<'_> {
    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> u32 {
        u32::try_from(self.train.len().div_ceil(self.training.batch_size)).unwrap_or(u32::MAX)
    }

    /// Steps of a training that is not stopped early.
    pub fn steps(&self) -> u32 {
        self.steps_per_epoch().saturating_mul(self.training.epochs)
    }
}

/// Where a fit is: what schedules of an objective may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// Step, from 0.
    pub step: u32,
    /// Steps of an epoch.
    pub steps_per_epoch: u32,
}

/// Weights of the parts of the loss, `nll * mean NLL + divergence * KL + prior / 2 * |theta|^2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// Weight of the mean NLL.
    pub nll: f64,
    /// Weight of the divergence of the posterior from its prior.
    pub divergence: f64,
    /// Weight of half the sum of squares of every trained parameter: `1 / (sigma_p^2 N)` for a prior `N(0, sigma_p^2)`.
    pub prior: f64,
}

impl Default for Objective {
    /// The mean NLL alone.
    fn default() -> Self {
        Self { nll: 1.0, divergence: 0.0, prior: 0.0 }
    }
}

/// How the divergence of a posterior from its prior is descended, where it is a function of the parameters alone.
///
/// A divergence that depends on the activations (C-LoRA) is always part of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DivergenceUpdate {
    /// As part of the loss.
    WithLoss,
    /// By a step of plain gradient descent of its own after each step of the loss, not clipped.
    Descent {
        /// Peak learning rate; follows the schedule of the loss.
        rate: f64,
    },
}

/// Which examples a fit is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainingSet {
    /// Every one, once an epoch.
    Whole,
    /// As many, drawn with replacement once for the whole fit.
    Bootstrap,
}

/// What a method asks of the shared loop.
pub struct Recipe<'a> {
    /// Posterior of every adapter.
    pub posterior: PosteriorSettings,
    /// Weights of the loss at a position.
    pub objective: &'a (dyn Fn(Position) -> Objective + Sync),
    /// Rule of a parameter that does not follow AdamW, by name.
    pub rule: &'a (dyn Fn(&str) -> Option<Rule> + Sync),
    /// How the divergence is descended.
    pub divergence: DivergenceUpdate,
    /// Whether steps draw samples of the posterior; else they are at its mean.
    pub sampled: bool,
    /// Called after each step with the member and the number of steps so far: true where it has set parameters to other values, which
    /// the optimiser's moments do not know.
    pub amend: &'a (dyn Fn(&Member, u32) -> Result<bool> + Sync),
    /// Examples trained on.
    pub training_set: TrainingSet,
    /// Where training starts: untrained adapters and head, or the values of a member of the same shapes.
    pub start: Option<&'a Member>,
    /// Steps after which the parameters are kept, ascending. Where there are any, training does not stop early, and they
    /// are the members of the fit, instead of the parameters of the best epoch.
    pub snapshots: &'a [u32],
}

impl Recipe<'_> {
    /// Mean NLL, AdamW throughout.
    pub fn plain(posterior: PosteriorSettings) -> Self {
        Recipe {
            posterior,
            objective: &|_| Objective::default(),
            rule: &|_| None,
            divergence: DivergenceUpdate::WithLoss,
            sampled: true,
            amend: &|_, _| Ok(false),
            training_set: TrainingSet::Whole,
            start: None,
            snapshots: &[],
        }
    }
}

/// What a method fitted.
#[derive(Debug)]
pub struct Fitted {
    /// One, or the members of an ensemble.
    pub members: Vec<Member>,
    /// How it went.
    pub record: FitRecord,
    /// A Gaussian over weights of the first member, read through the linearised network.
    pub laplace: Option<Laplace>,
}

impl Fitted {
    /// Several fits as one ensemble.
    pub fn ensemble(fits: Vec<Self>) -> Self {
        let mut record = FitRecord::default();
        let mut members = Vec::new();
        let mut tokens = 0.0;
        for fit in fits {
            record.trainable_parameters += fit.record.trainable_parameters;
            record.steps += fit.record.steps;
            record.validation_nll.extend(fit.record.validation_nll);
            record.best_epoch.extend(fit.record.best_epoch);
            record.seconds += fit.record.seconds;
            record.post_hoc_seconds += fit.record.post_hoc_seconds;
            tokens += fit.record.tokens_per_second * fit.record.seconds;
            members.extend(fit.members);
        }
        record.tokens_per_second = tokens / record.seconds.max(f64::MIN_POSITIVE);
        Self { members, record, laplace: None }
    }
}

/// What a checkpoint says beside its tensors.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    epoch: u32,
    steps: u32,
    validation_nll: Vec<f64>,
    validation_accuracy: Vec<f64>,
    best_epoch: u32,
    seconds: f64,
    tokens: u64,
    /// Steps before the optimiser's moments began.
    #[serde(default)]
    moments_since: u32,
}

/// Trains member number `member` of a unit. A checkpoint in the folder is continued, with the same result as if nothing
/// had been interrupted.
///
/// # Errors
/// When the loss is not finite, a tensor operation fails, or a checkpoint cannot be written.
pub fn train(bench: &Bench<'_>, recipe: &Recipe<'_>, member: u64) -> Result<Fitted> {
    let seed = derive_seed(bench.seed, member);
    let mut fresh = Member::initial(bench, recipe.posterior, &Noise::new(seed, Stream::Initial))?;
    if let Some(start) = recipe.start {
        for ((_, var), (_, value)) in fresh.parameters().zip(start.parameters()) {
            var.set(&value.as_detached_tensor())?;
        }
        fresh.keep_frozen(start);
    }
    let default = Rule::AdamW { rate: bench.training.learning_rate, decay: bench.training.weight_decay };
    let rules = fresh.parameters().map(|(name, var)| (var.clone(), (recipe.rule)(name).unwrap_or(default)));
    let optimiser = Optimiser::new(rules)?;
    let order = Noise::new(seed, Stream::Order);
    let places = match recipe.training_set {
        TrainingSet::Whole => (0..bench.train.len()).collect(),
        TrainingSet::Bootstrap => order.with_replacement(bench.train.len()),
    };
    let mut fit = Fit {
        bench,
        recipe,
        member: fresh,
        best: optimiser.parameters()?,
        snapshots: Vec::new(),
        optimiser,
        state: State::default(),
        path: bench.folder.join(format!("member-{member}.checkpoint.safetensors")),
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

/// Parts of a step that run side by side.
const PARTS: usize = 4;

struct Fit<'a> {
    bench: &'a Bench<'a>,
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
        let settings = self.bench.training;
        let waited =
            self.state.epoch >= self.state.best_epoch.saturating_add(settings.patience) && self.state.epoch > 0;
        self.state.epoch >= settings.epochs || waited && self.recipe.snapshots.is_empty()
    }

    fn epoch(&mut self) -> Result<()> {
        let started = Instant::now();
        let settings = self.bench.training;
        let order = self.order.permutation(self.places.len(), self.state.epoch);
        let order: Vec<usize> = order.into_iter().map(|index| self.places[index]).collect();
        for places in order.chunks(settings.batch_size) {
            let position = Position { step: self.state.steps, steps_per_epoch: self.bench.steps_per_epoch() };
            let (gradients, tokens) = self.gradients(places, position)?;
            let factor = match settings.schedule {
                Schedule::Linear => linear_schedule(self.state.steps, self.bench.steps(), settings.warmup),
                Schedule::Constant => 1.0,
            };
            self.optimiser.step(&gradients, factor, settings.clip_norm)?;
            if let DivergenceUpdate::Descent { rate } = self.recipe.divergence {
                let gradients = self.divergence_gradients(position)?;
                self.optimiser.descend(&gradients, rate * factor)?;
            }
            self.state.steps += 1;
            if (self.recipe.amend)(&self.member, self.state.steps)? {
                self.optimiser.forget()?;
                self.state.moments_since = self.state.steps;
            }
            if self.recipe.snapshots.contains(&self.state.steps) {
                self.snapshots.push(self.optimiser.parameters()?);
            }
            self.state.tokens += tokens;
            self.bench.progress.advance(3 * tokens);
        }
        self.state.epoch += 1;
        let Validation { nll, accuracy } = validate(self.bench, &self.member)?;
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
        let parts = places
            .par_chunks(places.len().div_ceil(PARTS).max(1))
            .map(|part| {
                let batch = self.bench.train.batch(part, self.bench.bert.device())?;
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
        let rows = Rows::of_sentences(&batch.examples, &batch.lengths);
        let sampling = Sampling {
            noise: self.noise,
            samples: position.step..position.step + 1,
            rows: &rows,
            with_divergence: divergence > 0.0,
        };
        let draw = if self.recipe.sampled { Draw::Sampled(sampling) } else { Draw::Mean };
        let Bench { bert, from, .. } = *self.bench;
        let Member { adapters, head, .. } = &self.member;
        let output = classify(bert, head, adapters, draw, from, &batch.hidden, &batch.packing)?;
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
        let encoding = |error: &dyn std::fmt::Display| Error::Store {
            path: self.path.clone(),
            problem: format!("cannot be encoded: {error}"),
        };
        let state = serde_json::to_string(&self.state).map_err(|error| encoding(&error))?;
        let metadata = HashMap::from([("state".to_owned(), state)]);
        let bytes = safetensors::serialize(&tensors, Some(metadata)).map_err(|error| encoding(&error))?;
        Ok(write_atomically(&self.path, &bytes)?)
    }

    /// Continues from the checkpoint. One that cannot be read is left behind: training then starts again.
    fn resume(&mut self) -> Result<()> {
        let Ok(bytes) = std::fs::read(&self.path) else { return Ok(()) };
        let Some((state, tensors)) = read_checkpoint(&bytes, self.bench.bert.device()) else { return Ok(()) };
        let parameters = |what: &str| -> Option<Vec<Tensor>> {
            (0..self.best.len()).map(|index| tensors.get(&format!("{what}.{index}")).cloned()).collect()
        };
        let passed = self.recipe.snapshots.iter().filter(|&&step| step <= state.steps).count();
        let snapshots: Option<Vec<_>> = (0..passed).map(|number| parameters(&format!("snapshot.{number}"))).collect();
        if let (Some(best), Some(snapshots)) = (parameters("best"), snapshots)
            && self.optimiser.restore(&tensors, state.steps - state.moments_since)?
        {
            self.bench.progress.advance(3 * state.tokens);
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
            let members = self.snapshots.iter().map(|values| self.member.with_values(self.bench, values));
            let per_epoch = self.bench.steps_per_epoch();
            let epochs = self.recipe.snapshots.iter().take(self.snapshots.len()).map(|step| step.div_ceil(per_epoch));
            (members.collect::<Result<_>>()?, epochs.collect())
        };
        // Epochs that early stopping saved are not work that lies ahead any more.
        let saved = u64::from(self.bench.training.epochs - epoch) * self.bench.train.tokens() as u64;
        self.bench.progress.advance(3 * saved);
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

fn read_checkpoint(bytes: &[u8], device: &Device) -> Option<(State, BTreeMap<String, Tensor>)> {
    let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).ok()?;
    let state = serde_json::from_str(metadata.metadata().as_ref()?.get("state")?).ok()?;
    let tensors = candle_core::safetensors::load_buffer(bytes, device).ok()?;
    Some((state, tensors.into_iter().collect()))
}

/// Rows of one forward pass of validation.
const ROWS_PER_PASS: usize = 2048;

/// The validation sentences at the mean of the posterior.
struct Validation {
    /// Mean, nats.
    nll: f64,
    /// Share of them whose most probable class is right.
    accuracy: f64,
}

fn validate(bench: &Bench<'_>, member: &Member) -> Result<Validation> {
    let (mut nll, mut right) = (0.0, 0);
    for places in bench.validation.batches_of_rows(ROWS_PER_PASS) {
        let batch = bench.validation.batch(&places, bench.bert.device())?;
        let output = classify(
            bench.bert,
            &member.head,
            &member.adapters,
            Draw::Mean,
            bench.from,
            &batch.hidden,
            &batch.packing,
        )?;
        nll += f64::from(mean_nll(&output.logits, &batch.labels)?.to_scalar::<f32>()?) * places.len() as f64;
        let predicted: Vec<u32> = output.logits.squeeze(0)?.argmax(D::Minus1)?.to_vec1()?;
        right += predicted.iter().zip(&batch.labels).filter(|(predicted, label)| predicted == label).count();
    }
    let examples = bench.validation.len() as f64;
    Ok(Validation { nll: nll / examples, accuracy: right as f64 / examples })
}

/// Mean cross-entropy in nats.
///
/// # Shapes
/// `logits: [1, sentences, classes]`.
fn mean_nll(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let logits = logits.squeeze(0)?;
    let labels = Tensor::new(labels, logits.device())?.unsqueeze(1)?;
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let normaliser = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok((normaliser - shifted.gather(&labels, 1)?)?.mean_all()?)
}
