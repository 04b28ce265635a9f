//! Predictive samples in, scores and paired statistics out.

mod registry;

pub use registry::{Better, METRICS, MetricInfo, metric};
