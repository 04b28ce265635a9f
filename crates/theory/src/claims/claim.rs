//! What a claim is, how much of it is computed, and which law its check confronts with measurements.

use crate::error::Result;
use crate::evidence::Evidence;

/// How much is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grid {
    /// Seconds: in every test run.
    Quick,
    /// Minutes: what the committed table shows.
    Full,
}

impl Grid {
    /// `quick` or `full` of two values.
    pub(crate) fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// The law that a check confronts with its measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// As stated.
    Stated,
    /// Its prediction times a factor: how sharply the check sees.
    Scaled(f64),
    /// The wrong variant of this number, in the order of [`Claim::wrong`].
    Wrong(usize),
}

impl Law {
    /// The factor on predictions.
    pub(crate) fn factor(self) -> f64 {
        match self {
            Self::Scaled(factor) => factor,
            Self::Stated | Self::Wrong(_) => 1.0,
        }
    }

    /// Whether this is wrong variant `number`.
    pub(crate) fn is_wrong(self, number: usize) -> bool {
        self == Self::Wrong(number)
    }
}

/// A claim with its check.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Identifier.
    pub id: &'static str,
    /// What is stated, in one sentence.
    pub statement: &'static str,
    /// Under which assumptions, without a full stop.
    pub assumptions: &'static str,
    /// What it means for "adapter variance grows with distance from the fine-tuning subspace": sentences, the last without its full stop.
    pub bearing: &'static str,
    /// Wrong variants that the check must refute.
    pub wrong: &'static [&'static str],
    /// Whether the statement predicts a number, so that a 10 % error in it is meaningful.
    pub quantitative: bool,
    /// Confronts a law with measurements.
    pub examine: fn(Grid, u64, Law) -> Result<Evidence>,
}
