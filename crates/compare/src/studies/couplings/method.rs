//! How couplings are measured, and what was found with one method.

use super::findings::Finding;
use super::stopping::Stopped;

/// How couplings are measured.
#[derive(Debug, Clone, Copy)]
pub struct CouplingsOptions {
    /// Test texts.
    pub texts: usize,
    /// Replicates of every number of samples.
    pub replicates: u32,
    /// Samples at most of an adaptive decision, and of its reference.
    pub most: u32,
    /// Resamples of each interval.
    pub resamples: u32,
}

/// What was found with one method's adapter.
#[derive(Debug)]
pub(crate) struct MethodCouplings {
    pub label: String,
    pub findings: Vec<Finding>,
    pub stopped: Vec<Stopped>,
    pub most: u32,
    /// Texts whose reference needed all samples.
    pub reference_capped: usize,
    pub texts: usize,
}
