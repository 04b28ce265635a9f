//! Runs an experiment: what is missing is fitted, predicted and scored; what is there is kept.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use bayeslora_adapters::{Slot, derive_seed};
use bayeslora_models::{Bert, Tokenizer, save_adapter, target_slots};
use candle_core::Device;
use ndarray::Array3;
use serde_json::json;

use crate::assets::{AssetDir, AssetId, Assets};
use crate::differences::{Pairs, differences};
use crate::experiment::{Plan, PlannedMethod};
use crate::methods::Reading;
use crate::predict::Predictor;
use crate::prefix::Sentences;
use crate::progress::Progress;
use crate::provenance;
use crate::record::{ComparisonRecord, Outcome, RowRecord, SCHEMA, UnitRecord};
use crate::score::Scored;
use crate::store::{Store, key_of};
use crate::tasks::{TaskData, vader};
use crate::train::{Bench, Fitted};
use crate::{Error, Result};

/// Version of the computation, part of every unit's key: raised by any change that alters a number.
const COMPUTATION: u32 = 1;

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct RunSummary {
    /// Units computed now.
    pub computed: usize,
    /// Units found.
    pub found: usize,
    /// Units that failed, with the reason.
    pub failed: Vec<String>,
    /// Files of the report.
    pub report: Vec<PathBuf>,
}

/// Logits of a row and of the reference at one seed, domain by domain.
type PairedLogits = (Vec<Array3<f32>>, Vec<Array3<f32>>);

/// A unit of the plan: one method at one seed.
struct Unit<'a> {
    method: &'a PlannedMethod,
    seed: u64,
    key: String,
}

/// Everything units share.
struct Workshop<'a> {
    plan: &'a Plan,
    store: Store,
    model: AssetDir,
    data: TaskData,
    bert: Bert,
    slots: Vec<Slot>,
    progress: &'a dyn Progress,
}

/// The sentences of every split, with their prefix activations.
struct Splits {
    train: Sentences,
    validation: Sentences,
    domains: Vec<Sentences>,
}

/// Computes what is missing of `plan`, then writes its report.
///
/// # Errors
/// When an asset cannot be had, data or weights are damaged, or results cannot be written. A fit that diverges is no
/// error: it becomes a failed row.
pub fn run(plan: &Plan, assets: &Assets, progress: &dyn Progress) -> Result<RunSummary> {
    let store = Store::new(&plan.folder);
    store.check_writable()?;
    let workshop = Workshop::open(plan, store, assets, progress)?;
    let units = workshop.units();
    let mut summary = RunSummary::default();
    let mut missing = Vec::new();
    for unit in &units {
        match workshop.store.unit(&unit.method.id, unit.seed, &unit.key)? {
            Some(_) => summary.found += 1,
            None => missing.push(unit),
        }
    }
    if !missing.is_empty() {
        workshop.announce(&missing)?;
        let splits = workshop.splits()?;
        for (number, unit) in missing.iter().enumerate() {
            let UnitName(name) = unit.name();
            progress.stage(&format!("{name} ({} of {})", number + 1, missing.len()));
            let record = workshop.compute(unit, &splits)?;
            if let Outcome::Failed { reason } = &record.outcome {
                summary.failed.push(format!("{name}: {reason}"));
            }
            workshop.store.write_unit(&record)?;
            summary.computed += 1;
        }
    }
    workshop.compare(&units)?;
    summary.report = crate::report_files::write_report(plan, None)?;
    Ok(summary)
}

struct UnitName(String);

impl Unit<'_> {
    fn name(&self) -> UnitName {
        UnitName(format!("{}, seed {}", self.method.label, self.seed))
    }
}

/// Key of a unit, given the digests of model and data.
pub(crate) fn unit_key(plan: &Plan, method: &PlannedMethod, seed: u64, model: &str, data: &str) -> String {
    key_of(&json!({
        "computation": COMPUTATION,
        "task": plan.experiment.task,
        "method": method.method.settings(),
        "adapter": plan.experiment.adapter,
        "max-tokens": plan.experiment.max_tokens,
        "training": plan.training,
        "prediction": plan.prediction,
        "seed": seed,
        "model": model,
        "data": data,
    }))
}

/// Key of a comparison of `row` with the plan's reference, given the keys of their units, seed by seed.
pub(crate) fn comparison_key(plan: &Plan, row: &str, own: &[&str], reference: &[&str]) -> String {
    key_of(&json!({
        "units": [own, reference],
        "row": row,
        "reference": plan.experiment.reference,
        "bootstrap": plan.experiment.bootstrap,
    }))
}

impl<'a> Workshop<'a> {
    fn open(plan: &'a Plan, store: Store, assets: &Assets, progress: &'a dyn Progress) -> Result<Self> {
        let mut tell = |event: crate::assets::Event| progress.note(&event.to_string());
        let data_folder = assets.open(AssetId::VaderIcwsm2014, &mut tell)?;
        let model = assets.open(plan.model, &mut tell)?;
        let data = vader::load(data_folder.path(), &plan.data.clone().check()?)?;
        let bert = Bert::load(model.path(), &Device::Cpu)?;
        let adapter = &plan.experiment.adapter;
        let slots = target_slots(&bert, &adapter.target_blocks, &adapter.target_maps)?;
        for &slot in &slots {
            let (d_out, d_in) = bert.slot_shape(slot)?;
            if adapter.rank > d_out.min(d_in) {
                return Err(bayeslora_adapters::Error::Rank { slot, got: adapter.rank, d_out, d_in }.into());
            }
        }
        Ok(Self { plan, store, model, data, bert, slots, progress })
    }

    fn units(&self) -> Vec<Unit<'a>> {
        let mut units = Vec::new();
        for &seed in &self.plan.seeds {
            for method in &self.plan.methods {
                let key = unit_key(self.plan, method, seed, self.model.digest(), &self.data.digest);
                units.push(Unit { method, seed, key });
            }
        }
        units
    }

    fn tokenizer(&self) -> Result<Tokenizer> {
        let longest = self.plan.experiment.max_tokens.min(self.bert.config().max_position_embeddings);
        Ok(Tokenizer::load(self.model.path(), longest)?)
    }

    /// First adapted block; everything below is frozen. With the pooler alone adapted it is the last block, of which the
    /// rows of the first tokens are wanted.
    fn from(&self) -> usize {
        let first = self.slots.first().map_or(0, |slot| usize::from(slot.block));
        first.min(self.bert.blocks() - 1)
    }

    /// Tells how much work lies ahead, before any of it.
    fn announce(&self, missing: &[&Unit<'_>]) -> Result<()> {
        let tokenizer = self.tokenizer()?;
        let count = |examples: &[crate::tasks::Example]| -> Result<u64> {
            examples.iter().try_fold(0, |total, example| Ok(total + tokenizer.encode(&example.text)?.len() as u64))
        };
        let (train, validation) = (count(&self.data.train)?, count(&self.data.validation)?);
        let mut tested = 0;
        for domain in &self.data.domains {
            tested += count(&domain.examples)?;
        }
        let mut work = train + validation + tested;
        for unit in missing {
            let members = u64::from(unit.method.method.members());
            work += 3 * members * u64::from(self.plan.training.epochs) * train;
            for reading in unit.method.method.readings() {
                work += tested
                    * match reading {
                        Reading::Mean => 1,
                        Reading::Sampled => u64::from(self.plan.prediction.samples),
                        Reading::Members => members,
                    };
            }
        }
        self.progress.expect(work);
        Ok(())
    }

    fn splits(&self) -> Result<Splits> {
        self.progress.stage("frozen prefix of every sentence");
        let tokenizer = self.tokenizer()?;
        let compute = |examples: &[crate::tasks::Example], split| {
            Sentences::compute(&self.bert, &tokenizer, examples, split, self.from(), self.progress)
        };
        let train = compute(&self.data.train, 0)?;
        let validation = compute(&self.data.validation, 1)?;
        let domains = (2..).zip(&self.data.domains).map(|(split, domain)| compute(&domain.examples, split));
        Ok(Splits { train, validation, domains: domains.collect::<Result<_>>()? })
    }

    /// One unit: fit, predict, score.
    fn compute(&self, unit: &Unit<'_>, splits: &Splits) -> Result<UnitRecord> {
        let folder = self.store.run_folder(&unit.key);
        let bench = Bench {
            bert: &self.bert,
            from: self.from(),
            slots: &self.slots,
            lora: self.plan.lora,
            training: &self.plan.training,
            train: &splits.train,
            validation: &splits.validation,
            classes: self.data.classes.len(),
            seed: unit.seed,
            folder: &folder,
            progress: self.progress,
        };
        let outcome = match unit.method.method.fit(&bench) {
            Ok(fitted) => {
                let rows = self.predict(unit, &fitted, splits)?;
                self.keep_adapters(unit, &fitted)?;
                Outcome::Finished { fit: fitted.record, rows }
            }
            Err(error @ Error::Diverged { .. }) => Outcome::Failed { reason: error.to_string() },
            Err(error) => return Err(error),
        };
        Ok(UnitRecord {
            schema: SCHEMA,
            key: unit.key.clone(),
            experiment: self.plan.experiment.name.clone(),
            profile: self.plan.profile.clone(),
            method: unit.method.id.clone(),
            seed: unit.seed,
            outcome,
            provenance: provenance::current(self.model.digest(), &self.data.digest),
        })
    }

    fn predict(&self, unit: &Unit<'_>, fitted: &Fitted, splits: &Splits) -> Result<Vec<RowRecord>> {
        let predictor = Predictor {
            bert: &self.bert,
            from: self.from(),
            samples: self.plan.prediction.samples,
            seed: derive_seed(unit.seed, u64::MAX),
            progress: self.progress,
        };
        let examples: usize = splits.domains.iter().map(Sentences::len).sum();
        let mut kept = HashMap::new();
        let mut rows = Vec::new();
        for (row, _, _, reading) in
            self.plan.rows().into_iter().filter(|(_, _, planned, _)| planned.id == unit.method.id)
        {
            let started = Instant::now();
            let mut logits: Vec<Array3<f32>> = Vec::new();
            for sentences in &splits.domains {
                logits.push(predictor.logits(fitted, reading, sentences)?);
            }
            let seconds = started.elapsed().as_secs_f64();
            let scored = self.score(&logits)?;
            let inside = scored.iter().find(|scored| scored.domain.in_distribution);
            let mut domains = Vec::new();
            for one in &scored {
                domains.push(one.record(inside.filter(|_| !one.domain.in_distribution))?);
            }
            rows.push(RowRecord {
                row: row.clone(),
                samples: predictor.samples_of(fitted, reading),
                seconds,
                examples_per_second: examples as f64 / seconds,
                domains,
            });
            for (domain, logits) in self.data.domains.iter().zip(logits) {
                kept.insert(format!("{row}.{}", domain.id), logits);
            }
        }
        self.store.write_predictions(&unit.key, &kept)?;
        Ok(rows)
    }

    fn score(&self, logits: &[Array3<f32>]) -> Result<Vec<Scored<'_>>> {
        let averaging = self.plan.prediction.averaging;
        self.data.domains.iter().zip(logits).map(|(domain, logits)| Scored::new(domain, logits, averaging)).collect()
    }

    /// Saves the adapters for `bayeslora predict` and drops the checkpoints they came from.
    fn keep_adapters(&self, unit: &Unit<'_>, fitted: &Fitted) -> Result<()> {
        let folder = self.store.run_folder(&unit.key);
        let adapter = &self.plan.experiment.adapter;
        for (number, member) in fitted.members.iter().enumerate() {
            let name = if fitted.members.len() == 1 { "adapter".to_owned() } else { format!("adapter-{number}") };
            let base = self.plan.model.name();
            let (rank, alpha) = (adapter.rank, adapter.alpha);
            save_adapter(&folder.join(name), &member.adapters, &member.head, &member.posterior, rank, alpha, base)?;
        }
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for path in
            entries.map(|entry| entry.path()).filter(|p| p.to_string_lossy().ends_with(".checkpoint.safetensors"))
        {
            std::fs::remove_file(&path)
                .map_err(|error| Error::Store { path: path.clone(), problem: format!("cannot be removed: {error}") })?;
        }
        Ok(())
    }

    /// Paired differences of every row against the reference, where both finished at every seed and predictions are kept.
    fn compare(&self, units: &[Unit<'_>]) -> Result<()> {
        let plan = self.plan;
        let rows = plan.rows();
        let keys_of = |method: &str| -> Vec<&str> {
            units.iter().filter(|unit| unit.method.id == method).map(|unit| unit.key.as_str()).collect()
        };
        let Some((reference, _, reference_method, _)) = rows.iter().find(|(id, ..)| *id == plan.experiment.reference)
        else {
            return Ok(());
        };
        for (row, label, method, _) in rows.iter().filter(|(id, ..)| id != reference) {
            let (own_keys, reference_keys) = (keys_of(&method.id), keys_of(&reference_method.id));
            let key = comparison_key(plan, row, &own_keys, &reference_keys);
            if self.store.comparison(row, &key)?.is_some() {
                continue;
            }
            self.progress.stage(&format!("bootstrap of {label}"));
            let mut logits = Vec::new();
            for (own, other) in own_keys.into_iter().zip(reference_keys) {
                match (self.kept(own, row)?, self.kept(other, reference)?) {
                    (Some(own), Some(other)) => logits.push((own, other)),
                    _ => break,
                }
            }
            if logits.len() < plan.seeds.len() {
                self.progress
                    .note(&format!("no paired differences for {label}: predictions of some seeds were not kept"));
                continue;
            }
            let differences = self.differences(&logits)?;
            let bootstrap = &plan.experiment.bootstrap;
            self.store.write_comparison(&ComparisonRecord {
                schema: SCHEMA,
                key,
                row: row.clone(),
                reference: reference.clone(),
                seeds: plan.seeds.clone(),
                resamples: bootstrap.resamples,
                level: bootstrap.level,
                differences,
            })?;
        }
        Ok(())
    }

    /// Kept logits of a row, domain by domain.
    fn kept(&self, key: &str, row: &str) -> Result<Option<Vec<Array3<f32>>>> {
        let Some(mut all) = self.store.predictions(key)? else { return Ok(None) };
        Ok(self.data.domains.iter().map(|domain| all.remove(&format!("{row}.{}", domain.id))).collect())
    }

    fn differences(&self, logits: &[PairedLogits]) -> Result<Vec<crate::record::Difference>> {
        let mut pairs: Vec<Pairs<'_>> = self.data.domains.iter().map(|_| Pairs { seeds: Vec::new() }).collect();
        for (own, other) in logits {
            for (pair, (row, reference)) in pairs.iter_mut().zip(self.score(own)?.into_iter().zip(self.score(other)?)) {
                pair.seeds.push((row, reference));
            }
        }
        let inside = self.data.domains.iter().position(|domain| domain.in_distribution).map(|place| &pairs[place]);
        let mut found = Vec::new();
        for (pair, domain) in pairs.iter().zip(&self.data.domains) {
            let inside = inside.filter(|_| !domain.in_distribution);
            found.extend(differences(pair, inside, &self.plan.experiment.bootstrap)?);
        }
        Ok(found)
    }
}
