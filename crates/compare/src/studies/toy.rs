//! A made-up experiment, on whose findings the pages of the studies are tested.

use std::path::Path;

use crate::experiment::{Experiment, Plan};

const EXPERIMENT: &str = r#"
name = "toy"
title = "Toy"
analysis = ""
model = "all-minilm-l6-v2"
task = "vader-movies"
reference = "mle"
max-tokens = 16
adapter = { rank = 2, alpha = 4.0, target-maps = ["query"], target-blocks = [5] }
profiles.main.seeds = [1, 2]

[[methods]]
id = "mle"
label = "MLE"
kind = "mle"

[[methods]]
id = "mc"
label = "MC"
kind = "mc-dropout"
parameters = { site = "rank", scope = "sequence", dropout = 0.1 }
prediction = { samples = 10 }
"#;

/// Two methods, the second with dropout, at two seeds.
pub(super) fn plan() -> Plan {
    let experiment: Experiment = toml::from_str(EXPERIMENT).unwrap();
    experiment.plan(Path::new("results/toy/experiment.toml"), "main").unwrap()
}
