//! Plain distances of test texts from the training texts: the same for every fit, kept once for an experiment.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::Provenance;

/// Distances of the texts of every test set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistancesRecord {
    /// [`SCHEMA`](crate::SCHEMA) of the writer.
    pub schema: u32,
    /// SHA-256 of `settings`, in hex.
    pub key: String,
    /// Everything that determines the distances.
    pub settings: Value,
    /// By test set.
    pub domains: Vec<TextDistances>,
    /// Where, when and with what they were computed.
    pub provenance: Provenance,
}

/// Columns over the texts of a test set, in the order of the set, four digits each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextDistances {
    /// Test set.
    pub domain: String,
    /// Euclidean norm of the adapters' input.
    pub input_norm: Vec<f64>,
    /// Squared Mahalanobis distance to the nearest class mean.
    pub mahalanobis: Vec<f64>,
    /// Distance to the 10th nearest training text.
    pub nearest_neighbours: Vec<f64>,
}
