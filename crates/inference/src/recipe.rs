//! What a method asks of the training loop: posterior, loss, rules of single parameters, snapshots.

use bayeslora_adapters::PosteriorSettings;

use crate::error::Result;
use crate::member::Member;
use crate::optimise::Rule;

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
    pub after_step: &'a (dyn Fn(&Member, u32) -> Result<bool> + Sync),
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
            after_step: &|_, _| Ok(false),
            training_set: TrainingSet::Whole,
            start: None,
            snapshots: &[],
        }
    }
}
