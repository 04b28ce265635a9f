//! The paper's own experiment on the dropout adapters of a finished run.

use std::path::PathBuf;

use bayeslora_adapters::{Draw, derive_seed, files::write_atomically};
use bayeslora_metrics::{Predictive, accuracy, error_by_quantile, partial_spearman, spearman};
use bayeslora_models::Pass;
use candle_core::DType;
use ndarray::Array2;

use super::geometry::dropout_adapters;
use super::workshop::Workshop;
use crate::assets::Assets;
use crate::experiment::Plan;
use crate::member::Member;
use crate::paper::{self, Finding, Kind, Point, SENTENCE_SAMPLES, SENTENCES, Sentence};
use crate::predict::Predictor;
use crate::prefix::Sentences;
use crate::progress::Progress;
use crate::store::Store;
use crate::tasks::Example;
use crate::{Error, Result};

/// Rows of one pass.
const ROWS_PER_PASS: usize = 2048;
/// Texts of each other test set in the picture.
const PICTURED: usize = 300;

/// Sets what BayesLoRA v1 reports beside the same quantities of this run's dropout adapters, and writes table and figures into
/// `protocol` within the results.
///
/// # Errors
/// When an adapter is missing (the run was not finished here), the task has more than two classes, data or weights are damaged, or
/// results cannot be written.
pub fn measure_paper(plan: &Plan, assets: &Assets, progress: &dyn Progress) -> Result<Vec<PathBuf>> {
    let store = Store::new(plan.folder.join("protocol"));
    store.check_writable()?;
    let workshop = Workshop::open(plan, Store::new(&plan.folder), assets, progress)?;
    if workshop.data.classes.len() != 2 {
        let classes = workshop.data.classes.len();
        return Err(Error::Report(format!(
            "paper: {} has {classes} classes; the paper's task has two",
            plan.experiment.task
        )));
    }
    let units = workshop.units();
    let saved = dropout_adapters(&workshop, &units)?;
    let tokenizer = workshop.tokenizer()?;
    progress.stage("frozen prefix of every sentence");
    let compute = |examples: &[Example], split| {
        Sentences::compute(&workshop.bert, &tokenizer, examples, split, workshop.from(), progress)
    };
    let validation = compute(&workshop.data.validation, 1)?;
    let mut tests = Vec::new();
    for (split, domain) in (2..).zip(&workshop.data.domains) {
        let most =
            if domain.info.in_distribution { domain.examples.len() } else { PICTURED.min(domain.examples.len()) };
        if domain.info.corruption.is_none() {
            tests.push((domain, compute(&domain.examples[..most], split)?));
        }
    }
    let texts: Vec<Example> = SENTENCES
        .iter()
        .map(|&text| Example { id: text.to_owned(), text: text.to_owned(), label: None, ratings: None })
        .collect();
    let sentences = compute(&texts, u8::MAX)?;
    let (_, test) = tests
        .iter()
        .find(|(domain, _)| domain.info.in_distribution)
        .ok_or_else(|| Error::Report("paper: no test set of the training domain".to_owned()))?;
    for (unit, ..) in &saved {
        let samples = u64::from(unit.method.prediction.samples);
        progress.expect(samples * validation.tokens() as u64 + (samples + 1) * test.tokens() as u64);
    }
    let mut findings = Vec::new();
    let mut picture = None;
    for (unit, adapter, ..) in saved {
        progress.stage(&unit.name());
        let samples = unit.method.prediction.samples;
        let member = Member { adapters: adapter.adapters, head: adapter.head, posterior: adapter.posterior };
        let of = |part: u64| Predictor {
            bert: &workshop.bert,
            from: workshop.from(),
            samples,
            seed: derive_seed(unit.seed, part),
            progress,
        };
        let averaging = unit.method.prediction.averaging;
        let predict = |part: u64, samples: u32, sentences: &Sentences| -> Result<Predictive> {
            let logits = of(part).member_logits(&member, samples, sentences)?;
            Ok(Predictive::from_logits(logits.view(), averaging)?)
        };
        // The run's own samples of the test set, by their seed.
        let (sampled, still) = (predict(u64::MAX, samples, test)?, predict(u64::MAX, 0, test)?);
        let labels = |sentences: &Sentences| sentences.labels().iter().map(|&y| y as usize).collect::<Vec<_>>();
        let errors_of = |predictive: &Predictive| -> Vec<bool> {
            predictive.predicted().iter().zip(labels(test)).map(|(predicted, label)| *predicted != label).collect()
        };
        let (errors, still_errors) = (errors_of(&sampled), errors_of(&still));
        let numbers = |errors: &[bool]| errors.iter().map(|&e| f64::from(u8::from(e))).collect::<Vec<_>>();
        let (variance, entropy) = (sampled.probability_variance().to_vec(), still.predictive_entropy().to_vec());
        let (drawn, one) = (predict(0, SENTENCE_SAMPLES, &sentences)?, predict(0, 0, &sentences)?);
        findings.push(Finding {
            label: unit.method.label.clone(),
            seed: unit.seed,
            validation_accuracy: accuracy(&predict(1, samples, &validation)?.predicted(), &labels(&validation))?,
            test_accuracy: accuracy(&sampled.predicted(), &labels(test))?,
            error: spearman(&variance, &numbers(&errors))?,
            entropy_error: spearman(&entropy, &numbers(&still_errors))?,
            entropy: spearman(&variance, &entropy)?,
            error_given_entropy: partial_spearman(&variance, &numbers(&errors), &entropy)?,
            variance_deciles: error_by_quantile(&variance, &errors, 10)?,
            entropy_deciles: error_by_quantile(&entropy, &still_errors, 10)?,
            sentences: (0..SENTENCES.len())
                .map(|place| Sentence {
                    probability: drawn.probabilities()[[place, 1]],
                    // Of two classes, both probabilities vary alike.
                    variance: drawn.probability_variance()[place],
                    entropy: one.predictive_entropy()[place],
                })
                .collect(),
        });
        if picture.is_none() {
            let reference = states(&workshop, &member, test)?;
            let mut points = Vec::new();
            let mut shares = [0.0; 2];
            let mut foreign = 0;
            for (domain, sentences) in &tests {
                let own = states(&workshop, &member, sentences)?;
                let (places, explained) = paper::principal_plane(&reference, &own)?;
                let spread = predict(u64::MAX, samples, sentences)?.probability_variance().to_vec();
                for (place, (at, variance)) in places.into_iter().zip(spread).enumerate() {
                    let kind = match (domain.info.in_distribution, errors.get(place)) {
                        (true, Some(true)) => Kind::Wrong,
                        (true, _) => Kind::Right,
                        (false, _) => Kind::Shifted(foreign),
                    };
                    points.push(Point { at, variance, kind });
                }
                shares = explained;
                foreign += usize::from(!domain.info.in_distribution);
            }
            picture = Some((points, shares));
        }
    }
    let (points, shares) = picture.unwrap_or_default();
    let foreign = tests.iter().filter(|(domain, _)| !domain.info.in_distribution);
    let shifted: Vec<String> = foreign.map(|(domain, _)| domain.info.label.clone()).collect();
    let mut files = vec![
        ("table.md".to_owned(), paper::markdown(plan, &findings, shares)?.into_bytes()),
        ("table.csv".to_owned(), paper::csv(&findings)?),
    ];
    files.extend(paper::draw(&findings, &points, &shifted)?);
    let mut paths = Vec::new();
    for (name, bytes) in files {
        let path = store.folder().join(name);
        write_atomically(&path, &bytes)?;
        paths.push(path);
    }
    Ok(paths)
}

/// States of the first tokens above the last block at the mean of the posterior, `[sentences, width]`.
fn states(workshop: &Workshop<'_>, member: &Member, sentences: &Sentences) -> Result<Array2<f64>> {
    let (bert, from) = (&workshop.bert, workshop.from());
    let width = bert.config().hidden_size;
    let mut all = Array2::zeros((sentences.len(), width));
    for places in sentences.batches_of_rows(ROWS_PER_PASS) {
        let batch = sentences.batch(&places, bert.device())?;
        let mut pass = Pass::new(&member.adapters, Draw::Mean);
        let first = bert.first_tokens(from, &batch.hidden, &batch.packing, &mut pass)?;
        let values: Vec<f64> = first.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        for (row, place) in values.chunks(width).zip(places) {
            all.row_mut(place).assign(&ndarray::ArrayView1::from(row));
        }
    }
    Ok(all)
}
