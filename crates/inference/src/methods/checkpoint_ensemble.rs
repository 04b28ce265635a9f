//! Checkpoint ensemble (methods.md, section 5): members are snapshots of one training, equally spaced over its last half, the
//! last one at its end; probabilities averaged over them.
//!
//! The Laplace-LoRA paper (arXiv 2308.13111) reports such an ensemble without code. Training is not stopped early: the steps of the snapshots
//! are fixed beforehand.

use bayeslora_adapters::PosteriorSettings;
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::parameters::{check_count, read, recorded, refused};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::recipe::Recipe;
use crate::settings::TrainingSettings;
use crate::train::train;
use bayeslora_records::Reading;

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct CheckpointEnsemble {
    /// Snapshots, at least 2; at most half the steps of the training. Default: 5.
    members: u32,
}

impl Default for CheckpointEnsemble {
    fn default() -> Self {
        Self { members: 5 }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: CheckpointEnsemble = read(parameters)?;
    check_count("members", method.members, 2)?;
    Ok(Box::new(method))
}

/// Steps after which `count` snapshots are taken over the part of `total` steps from `start` on: equally spaced, the last one
/// at the end, none at `start` itself. Fewer where there are not so many steps.
pub(super) fn spaced(start: u32, total: u32, count: u32) -> Vec<u32> {
    let span = u64::from(total.saturating_sub(start));
    let step = |k: u32| start + u32::try_from(span * u64::from(k) / u64::from(count.max(1))).unwrap_or(u32::MAX);
    let mut steps: Vec<u32> = (1..=count).map(step).filter(|&step| step > start).collect();
    steps.dedup();
    steps
}

impl Method for CheckpointEnsemble {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Members]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("checkpoint-ensemble", self)
    }

    fn check_steps(&self, examples: usize, training: &TrainingSettings) -> Result<()> {
        let steps = training.steps(examples);
        let most = spaced(steps / 2, steps, self.members).len();
        if most >= self.members as usize {
            return Ok(());
        }
        let expected = format!("a training of {steps} steps gives at most {most} snapshots");
        Err(refused(format!("members is {}", self.members), expected))
    }

    fn members(&self) -> u32 {
        self.members
    }

    fn trainings(&self) -> u32 {
        1
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        self.check_steps(context.train.len(), context.training)?;
        let snapshots = spaced(context.steps() / 2, context.steps(), self.members);
        train(context, &Recipe { snapshots: &snapshots, ..Recipe::plain(PosteriorSettings::Deterministic) }, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_spaced_over_the_last_half() {
        assert_eq!(spaced(50, 100, 5), [60, 70, 80, 90, 100]);
        assert_eq!(spaced(24, 48, 4), [30, 36, 42, 48]);
        assert_eq!(spaced(5, 11, 4), [6, 8, 9, 11]);
        // Fewer steps than snapshots.
        assert_eq!(spaced(1, 3, 5), [2, 3]);
        assert!(spaced(0, 0, 3).is_empty());
    }
}
