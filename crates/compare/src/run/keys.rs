//! Keys of records: SHA-256 of everything that determines them.

use serde_json::json;

use bayeslora_records::{RowId, key_of};

use crate::experiment::{Plan, PlannedMethod};

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
pub(crate) fn comparison_key(plan: &Plan, row: &RowId, own: &[&str], reference: &[&str]) -> String {
    key_of(&json!({
        "comparison": COMPARISON,
        "units": [own, reference],
        "row": row,
        "reference": plan.experiment.reference,
        "bootstrap": plan.experiment.bootstrap,
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::experiment::Experiment;

    const EXPERIMENT: &str = r#"
name = "toy"
title = "Toy"
analysis = ""
model = MODEL
task = "vader-movies"
reference = "mle"
max-tokens = 16
adapter = { rank = 2, alpha = 4.0, target-maps = ["query"], target-blocks = [1] }
methods = [{ id = "mle", label = "MLE", kind = "mle" }]
profiles.quick.seeds = [1]
"#;

    #[test]
    fn a_unit_belongs_to_the_bytes_of_its_model_not_to_their_place_or_name() {
        let key = |model: &str, digest: &str| {
            let experiment: Experiment = toml::from_str(&EXPERIMENT.replace("MODEL", model)).unwrap();
            let plan = experiment.plan(Path::new("results/toy/experiment.toml"), "quick").unwrap();
            unit_key(&plan, &plan.methods[0], 1, digest, "data")
        };
        let pinned = key("'all-minilm-l6-v2'", "weights");
        for model in ["{ path = 'here' }", "{ path = '/there' }", "{ path = 'here', name = 'Other' }"] {
            assert_eq!(key(model, "weights"), pinned, "{model}");
            assert_ne!(key(model, "others"), pinned, "{model}");
        }
        // Computed by hand (sorted JSON), as a committed record's key was: what exists keeps its key.
        assert_eq!(pinned, "70a80de151fab92d3c210e452f32c199783f2294df7f98cc55f4a68446fa5df7");
    }
}
