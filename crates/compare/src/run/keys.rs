//! Keys of records and of fits: SHA-256 of everything that determines them.

use candle_core::{DType, Device};
use serde_json::{Value, json};

use bayeslora_records::{DistancesRecord, Provenance, RowId, UnitRecord, key_of};

use crate::experiment::{Plan, PlannedMethod};

/// Version of the computation, part of every unit's key: raised by any change that alters a number.
const COMPUTATION: u32 = 1;

/// What a fit is made of beside its settings: the bytes of model and data by their digests, and the arithmetic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) model: &'a str,
    pub(crate) data: &'a str,
    pub(crate) arithmetic: Arithmetic,
}

/// What numbers are computed in, and on which class of device: others end in other digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arithmetic {
    precision: DType,
    device: &'static str,
}

impl Arithmetic {
    /// That of every record so far, and so part of no key.
    pub(crate) const PLAIN: Self = Self { precision: DType::F32, device: PROCESSOR };

    /// Tensors of this type on this device.
    pub(crate) fn new(precision: DType, device: &Device) -> Self {
        let device = match device {
            Device::Cpu => PROCESSOR,
            Device::Cuda(_) => "cuda",
            Device::Metal(_) => "metal",
        };
        Self { precision, device }
    }
}

const PROCESSOR: &str = "cpu";

/// Everything that determines a fit.
fn fit_settings(plan: &Plan, method: &PlannedMethod, seed: u64, sources: Sources<'_>) -> Value {
    let Sources { model, data, arithmetic } = sources;
    let mut settings = json!({
        "computation": COMPUTATION,
        "task": plan.experiment.task,
        "method": method.method.settings(),
        "adapter": method.adapter,
        "max-tokens": plan.experiment.max_tokens,
        "training": method.training,
        "seed": seed,
        "model": model,
        "data": data,
    });
    // Which examples a seed draws follows from the data and the seed.
    if let Some(own) = plan.task.settings().train_per_seed {
        settings["train-per-seed"] = own.into();
    }
    if arithmetic.precision != Arithmetic::PLAIN.precision {
        settings["precision"] = arithmetic.precision.as_str().into();
    }
    if arithmetic.device != Arithmetic::PLAIN.device {
        settings["device"] = arithmetic.device.into();
    }
    settings
}

/// Everything that determines a unit: its fit, and how it predicts.
pub(crate) fn unit_settings(plan: &Plan, method: &PlannedMethod, seed: u64, sources: Sources<'_>) -> Value {
    let mut settings = fit_settings(plan, method, seed, sources);
    settings["prediction"] = json!(method.prediction);
    settings
}

/// Key of a fit. Units that only read it in other ways share it.
pub(crate) fn fit_key(plan: &Plan, method: &PlannedMethod, seed: u64, sources: Sources<'_>) -> String {
    let mut settings = fit_settings(plan, method, seed, sources);
    if let Some(parameters) = settings["method"]["parameters"].as_object_mut() {
        parameters.retain(|name, _| !method.method.parameters_of_readings().contains(&name.as_str()));
    }
    key_of(&settings)
}

/// Key of a unit in plain arithmetic, given the digests of model and data.
pub(crate) fn unit_key(plan: &Plan, method: &PlannedMethod, seed: u64, model: &str, data: &str) -> String {
    key_of(&unit_settings(plan, method, seed, Sources { model, data, arithmetic: Arithmetic::PLAIN }))
}

/// What the settings of a record say of its arithmetic: precision and device, where they are not the plain ones.
pub(crate) fn arithmetic_of(unit: &UnitRecord) -> [(&'static str, Option<&Value>); 2] {
    ["precision", "device"].map(|name| (name, unit.settings.as_ref().and_then(|own| own.get(name))))
}

/// Whether a record was computed in this arithmetic.
pub(crate) fn is_computed_in(unit: &UnitRecord, Arithmetic { precision, device }: Arithmetic) -> bool {
    let plain = [Arithmetic::PLAIN.precision.as_str(), Arithmetic::PLAIN.device];
    let own = arithmetic_of(unit)
        .into_iter()
        .zip(plain)
        .map(|((_, own), plain)| own.and_then(Value::as_str).unwrap_or(plain));
    own.eq([precision.as_str(), device])
}

/// Key that a record has if it belongs to this method of the plan: its own bytes and arithmetic in the plan's settings.
pub(crate) fn key_on_record(plan: &Plan, method: &PlannedMethod, unit: &UnitRecord) -> String {
    let Provenance { model_digest: model, data_digest: data, .. } = &unit.provenance;
    let mut settings = unit_settings(plan, method, unit.seed, Sources { model, data, arithmetic: Arithmetic::PLAIN });
    for (name, own) in arithmetic_of(unit) {
        if let Some(own) = own {
            settings[name] = own.clone();
        }
    }
    key_of(&settings)
}

/// Version of the distances, part of their key: raised by any change that alters one.
const DISTANCES: u32 = 1;

/// Everything that determines the distances of a plan's test texts: they are of what the reference's adapters are given.
pub(crate) fn distances_settings(plan: &Plan, sources: Sources<'_>) -> Value {
    let Sources { model, data, arithmetic } = sources;
    let adapter = &plan.method_of(&plan.reference).adapter;
    json!({
        "distances": DISTANCES,
        "task": plan.experiment.task,
        "target-blocks": adapter.target_blocks,
        "target-maps": adapter.target_maps,
        "max-tokens": plan.experiment.max_tokens,
        "model": model,
        "data": data,
        "precision": arithmetic.precision.as_str(),
        "device": arithmetic.device,
    })
}

/// Whether distances were computed in the arithmetic of a unit.
pub(crate) fn is_of_arithmetic(record: &DistancesRecord, unit: &UnitRecord) -> bool {
    let plain = [Arithmetic::PLAIN.precision.as_str(), Arithmetic::PLAIN.device];
    let own = arithmetic_of(unit).into_iter().zip(plain);
    own.map(|((name, own), plain)| (name, own.and_then(Value::as_str).unwrap_or(plain)))
        .all(|(name, own)| record.settings[name] == own)
}

/// Key that a record of distances has if it is of the plan's texts: its own bytes and arithmetic in the plan's settings.
pub(crate) fn distances_key_on_record(plan: &Plan, record: &DistancesRecord) -> String {
    let Provenance { model_digest: model, data_digest: data, .. } = &record.provenance;
    let mut settings = distances_settings(plan, Sources { model, data, arithmetic: Arithmetic::PLAIN });
    for name in ["precision", "device"] {
        settings[name] = record.settings[name].clone();
    }
    key_of(&settings)
}

/// Version of the comparisons that were kept before records had columns over texts, part of their keys.
const COMPARISON: u32 = 2;

/// Key that such a comparison of `row` with the plan's reference has if it is of these units, seed by seed.
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

    use bayeslora_inference::{Place, Precision, TrainingSettings};

    use super::*;
    use crate::experiment::Experiment;
    use crate::run::provenance;

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

    #[test]
    fn distances_belong_to_their_texts_and_to_the_input_of_the_adapters() {
        let text = EXPERIMENT.replace("MODEL", "'all-minilm-l6-v2'");
        let planned = |text: &str| {
            let experiment: Experiment = toml::from_str(text).unwrap();
            experiment.plan(Path::new("results/toy/experiment.toml"), "quick").unwrap()
        };
        let own = planned(&text);
        let key = |plan: &Plan, sources| key_of(&distances_settings(plan, sources));
        assert_eq!(key(&own, SOURCES), key(&planned(&text.replace("rank = 2", "rank = 3")), SOURCES));
        assert_ne!(
            key(&own, SOURCES),
            key(&planned(&text.replace("target-blocks = [1]", "target-blocks = [2]")), SOURCES)
        );
        assert_ne!(key(&own, SOURCES), key(&own, Sources { data: "others", ..SOURCES }));
        let half = Sources { arithmetic: Arithmetic { precision: DType::BF16, ..Arithmetic::PLAIN }, ..SOURCES };
        let place = Place { device: Device::Cpu, precision: Precision::F32 };
        let provenance = provenance::current(&place, SOURCES.model, SOURCES.data);
        for sources in [SOURCES, half] {
            let settings = distances_settings(&own, sources);
            let key = key_of(&settings);
            let record = DistancesRecord { schema: 1, key, settings, domains: vec![], provenance: provenance.clone() };
            assert_eq!(distances_key_on_record(&own, &record), record.key);
            let unit = |settings| UnitRecord {
                schema: 1,
                key: String::new(),
                settings: Some(settings),
                experiment: String::new(),
                profile: String::new(),
                method: "mle".to_owned(),
                seed: 1,
                outcome: bayeslora_records::Outcome::Failed { reason: String::new() },
                provenance: provenance.clone(),
            };
            // Units of plain arithmetic do not name it.
            let is_plain = sources.arithmetic == Arithmetic::PLAIN;
            assert_eq!(is_of_arithmetic(&record, &unit(json!({}))), is_plain);
            assert_eq!(is_of_arithmetic(&record, &unit(json!({ "precision": "bf16" }))), !is_plain);
        }
    }

    #[test]
    fn a_profile_may_name_another_task() {
        let text =
            EXPERIMENT.replace("MODEL", "'all-minilm-l6-v2'") + "profiles.other = { seeds = [1], task = \"sst2\" }\n";
        let experiment: Experiment = toml::from_str(&text).unwrap();
        let planned =
            |profile: &str| experiment.clone().plan(Path::new("results/toy/experiment.toml"), profile).unwrap();
        let (own, other) = (planned("quick"), planned("other"));
        assert_eq!(other.task.domains()[0].id, "sst2");
        assert_ne!(fit_key(&own, &own.methods[0], 1, SOURCES), fit_key(&other, &other.methods[0], 1, SOURCES));
    }

    #[test]
    fn a_profile_may_change_the_adapters_and_the_training_of_all() {
        let text = EXPERIMENT.replace("MODEL", "'all-minilm-l6-v2'");
        let planned = |changes: &str| {
            let text = format!("{text}profiles.other = {{ seeds = [1], {changes} }}\n");
            let experiment: Experiment = toml::from_str(&text).unwrap();
            experiment.plan(Path::new("results/toy/experiment.toml"), "other").map_err(|error| error.to_string())
        };
        let own = planned("").unwrap();
        let key = |plan: &Plan| fit_key(plan, &plan.methods[0], 1, SOURCES);
        let ranked = planned("adapter = { rank = 1 }").unwrap();
        assert_eq!((own.methods[0].adapter.rank, ranked.methods[0].adapter.rank), (2, 1));
        let trained = planned("training = { batch-size = 3, epochs = 7 }, epochs = 2").unwrap();
        let own_loop = &own.methods[0].training;
        // Epochs of the profile itself go before those of its training loop.
        let expected = TrainingSettings { batch_size: 3, epochs: 2, ..own_loop.clone() };
        assert!(
            own_loop.batch_size != 3 && trained.methods[0].training == expected,
            "{:?}",
            trained.methods[0].training
        );
        assert!(key(&own) != key(&ranked) && key(&own) != key(&trained));
        for (section, wrong) in [("adapter", "rnak"), ("training", "batch-sise")] {
            let said = planned(&format!("{section} = {{ {wrong} = 1 }}")).unwrap_err();
            assert!(said.contains(&format!("profile \"other\": {section}: ")) && said.contains(wrong), "{said}");
        }
    }

    /// A plan of one method: MC-dropout with further `parameters`, `training` and `prediction`.
    fn plan(parameters: &str, training: &str, prediction: &str) -> Plan {
        let method = format!(
            "[{{ id = 'mle', label = 'MC', kind = 'mc-dropout', parameters = {{ site = 'rank', dropout = 0.1{parameters} }}, \
             training = {{ {training} }}, prediction = {{ {prediction} }} }}]"
        );
        let text = EXPERIMENT.replace("MODEL", "'all-minilm-l6-v2'");
        let text = text.replace(r#"[{ id = "mle", label = "MLE", kind = "mle" }]"#, &method);
        let text = text.replace("reference = \"mle\"", "reference = 'mle/mean'");
        let experiment: Experiment = toml::from_str(&text).unwrap();
        experiment.plan(Path::new("results/toy/experiment.toml"), "quick").unwrap()
    }

    const SOURCES: Sources<'_> = Sources { model: "weights", data: "data", arithmetic: Arithmetic::PLAIN };

    fn keys(plan: &Plan, seed: u64, sources: Sources<'_>) -> [String; 2] {
        let method = &plan.methods[0];
        [key_of(&unit_settings(plan, method, seed, sources)), fit_key(plan, method, seed, sources)]
    }

    #[test]
    fn a_draw_of_its_own_is_another_fit() {
        let text = EXPERIMENT.replace("MODEL", "'all-minilm-l6-v2'") + "[data]\nmax-train = 50\n";
        let key = |text: &str| {
            let experiment: Experiment = toml::from_str(text).unwrap();
            let plan = experiment.plan(Path::new("results/toy/experiment.toml"), "quick").unwrap();
            fit_key(&plan, &plan.methods[0], 1, SOURCES)
        };
        let drawn = |count: u32| key(&format!("{text}train-per-seed = {count}\n"));
        assert!(drawn(20) != key(&text) && drawn(20) != drawn(30));
    }

    #[test]
    fn a_fit_is_shared_by_units_that_read_it_in_other_ways_and_by_no_others() {
        let [unit, fit] = keys(&plan("", "", ""), 1, SOURCES);
        let own = plan("", "", "");
        assert_eq!(unit, unit_key(&own, &own.methods[0], 1, "weights", "data"));
        assert_ne!(unit, fit);
        for other in [
            plan("", "", "samples = 3"),
            plan("", "", "averaging = 'mean-logits'"),
            plan(", linearised = true", "", "samples = 3"),
        ] {
            let [other_unit, other_fit] = keys(&other, 1, SOURCES);
            assert!(other_unit != unit && other_fit == fit, "{:?}", other.methods);
        }
        for other in [plan(", scope = 'sequence'", "", ""), plan("", "epochs = 9", "")] {
            let [other_unit, other_fit] = keys(&other, 1, SOURCES);
            assert!(other_unit != unit && other_fit != fit, "{:?}", other.methods);
        }
        let half = Arithmetic { precision: DType::BF16, ..Arithmetic::PLAIN };
        let elsewhere = Arithmetic { device: "cuda", ..Arithmetic::PLAIN };
        for (seed, sources) in [
            (2, SOURCES),
            (1, Sources { model: "others", ..SOURCES }),
            (1, Sources { data: "others", ..SOURCES }),
            (1, Sources { arithmetic: half, ..SOURCES }),
            (1, Sources { arithmetic: elsewhere, ..SOURCES }),
        ] {
            let [other_unit, other_fit] = keys(&own, seed, sources);
            assert!(other_unit != unit && other_fit != fit, "seed {seed}, {sources:?}");
        }
        assert_eq!(Arithmetic::new(DType::F32, &Device::Cpu), Arithmetic::PLAIN);
    }
}
