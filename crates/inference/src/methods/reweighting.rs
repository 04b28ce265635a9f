//! Weights of the divergence over mini-batches: BLoB's reading of Blundell et al. (arXiv 1505.05424, section 3.4), methods.md, section
//! 7.3.

use serde::{Deserialize, Serialize};

use crate::context::FitContext;

/// `pi_i = 2^i / (2^(M+1) - 1)` at step `i = 1..M` of a cycle of `M` steps, written so that it does not overflow at large `M`.
///
/// It *grows* along the cycle: about 1/2 at the last step, 1/4 before it. A cycle adds up to `1 - 1 / (2^(M+1) - 1)`. `step` counts from 0.
pub(super) fn divergence_share(step: u32, cycle: u32) -> f64 {
    let steps = f64::from(cycle);
    let i = f64::from(step % cycle.max(1)) + 1.0;
    (i - steps - 1.0).exp2() / (1.0 - (-steps - 1.0).exp2())
}

/// Steps over which the weights of the divergence add up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DivergenceCycle {
    /// An epoch.
    Epoch,
    /// `floor(100 N^(pi / 8) / batch)`: the reference codes' "data set rescaling".
    Rescaled,
}

impl DivergenceCycle {
    /// Their number, at least 1.
    pub(super) fn steps(self, context: &FitContext<'_>) -> u32 {
        match self {
            Self::Epoch => context.steps_per_epoch(),
            Self::Rescaled => rescaled(context.train.len(), context.training.batch_size),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates to the range of u32")]
fn rescaled(examples: usize, batch_size: usize) -> u32 {
    let steps = 100.0 * (examples as f64).powf(std::f64::consts::PI / 8.0) / batch_size as f64;
    (steps.floor() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescaled_cycles_are_those_of_the_published_runs() {
        // methods.md, section 7.3, at batch 4.
        let published = [(640, 316), (1119, 393), (2558, 544), (4957, 706), (9427, 909)];
        for (examples, steps) in published {
            assert_eq!(rescaled(examples, 4), steps, "{examples}");
        }
        assert_eq!(rescaled(2, 1000), 1);
    }

    #[test]
    fn divergence_shares_add_up_at_any_cycle() {
        for cycle in [1, 2, 17, 909, 100_000] {
            let total: f64 = (0..cycle).map(|step| divergence_share(step, cycle)).sum();
            let expected = 1.0 - 1.0 / ((f64::from(cycle) + 1.0).exp2() - 1.0);
            assert!((total - expected).abs() < 1e-12, "{cycle}: {total}");
        }
    }
}
