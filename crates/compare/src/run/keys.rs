//! Keys of records: SHA-256 of everything that determines them.

use serde_json::json;

use crate::experiment::{Plan, PlannedMethod};
use crate::store::key_of;

/// Version of the computation, part of every unit's key: raised by any change that alters a number.
const COMPUTATION: u32 = 1;

/// Key of a unit, given the digests of model and data.
pub(crate) fn unit_key(plan: &Plan, method: &PlannedMethod, seed: u64, model: &str, data: &str) -> String {
    key_of(&json!({
        "computation": COMPUTATION,
        "task": plan.experiment.task,
        "method": method.method.settings(),
        "adapter": method.adapter,
        "max-tokens": plan.experiment.max_tokens,
        "training": method.training,
        "prediction": method.prediction,
        "seed": seed,
        "model": model,
        "data": data,
    }))
}

/// Version of the comparisons, part of their keys: raised by any change that alters a number of theirs.
const COMPARISON: u32 = 2;

/// Key of a comparison of `row` with the plan's reference, given the keys of their units, seed by seed.
pub(crate) fn comparison_key(plan: &Plan, row: &str, own: &[&str], reference: &[&str]) -> String {
    key_of(&json!({
        "comparison": COMPARISON,
        "units": [own, reference],
        "row": row,
        "reference": plan.experiment.reference,
        "bootstrap": plan.experiment.bootstrap,
    }))
}

/// The key that comparisons had before they covered seeds: such a record is shown until the row is compared again.
pub(crate) fn comparison_over_examples_key(plan: &Plan, row: &str, own: &[&str], reference: &[&str]) -> String {
    key_of(&json!({
        "units": [own, reference],
        "row": row,
        "reference": plan.experiment.reference,
        "bootstrap": plan.experiment.bootstrap,
    }))
}
