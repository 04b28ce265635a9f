//! How a fit is read as a predictive.

/// How a fit is read as a predictive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// One deterministic pass at the mean of the posterior.
    Mean,
    /// Monte-Carlo samples of the posterior.
    Sampled,
    /// One deterministic pass per member.
    Members,
    /// Samples of Gaussian logits: the network linearised at the mean of the posterior.
    Linearised,
}

impl Reading {
    /// The word in row identifiers.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Sampled => "sampled",
            Self::Members => "members",
            Self::Linearised => "linearised",
        }
    }
}
