//! The paper's own experiment on the dropout adapters of a finished run.

use std::path::PathBuf;

use bayeslora_adapters::Draw;
use bayeslora_metrics::{Predictive, accuracy, error_by_quantile, partial_spearman, spearman};
use bayeslora_models::Pass;
use candle_core::DType;
use ndarray::Array2;

use super::figures::draw;
use super::findings::{Finding, Kind, Plane, Point, SENTENCE_SAMPLES, SENTENCES, Sentence, principal_plane};
use super::table::{csv, page};
use crate::error::{Error, Result};
use crate::experiment::Plan;
use crate::publish::generated;
use crate::run::opened::OpenedPlan;
use crate::run::unit::Unit;
use crate::studies::kept::KeptPredictions;
use crate::studies::saved::dropout_adapters;
use bayeslora_data::Progress;
use bayeslora_data::assets::Assets;
use bayeslora_data::tasks::{DomainInfo, Example};
use bayeslora_inference::Member;
use bayeslora_inference::Reading;
use bayeslora_inference::{Resources, Sentences};
use bayeslora_records::Store;

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
pub fn measure_paper(
    plan: &Plan,
    resources: &Resources,
    assets: &Assets,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>> {
    let store = Store::new(plan.folder.join("protocol"));
    store.check_writable()?;
    let opened = OpenedPlan::open(plan, Store::new(&plan.folder), resources, assets, progress)?;
    if opened.data.classes.len() != 2 {
        let classes = opened.data.classes.len();
        let task = &plan.experiment.task;
        return Err(Error::Report(format!("paper: {task} has {classes} classes; the paper's task has two")));
    }
    let units = opened.units();
    let saved = dropout_adapters(&opened, &units)?;
    let texts = Texts::read(&opened)?;
    let pictured =
        texts.shifted.iter().map(|(.., sentences)| sentences.tokens()).sum::<usize>() + texts.test.1.tokens();
    let sampled = saved.len() * (SENTENCE_SAMPLES as usize + 1) * texts.sentences.tokens();
    progress.expect((pictured + sampled) as u64);
    let mut findings = Vec::new();
    let mut picture = None;
    for (unit, adapter, ..) in saved {
        progress.stage(&unit.name());
        let member = Member { adapters: adapter.adapters, head: adapter.head, posterior: adapter.posterior };
        let kept = KeptPredictions::open(&opened, unit)?;
        let reader = Reader { opened: &opened, unit, member, kept };
        let (finding, errors) = reader.finding(&texts)?;
        findings.push(finding);
        if picture.is_none() {
            picture = Some(reader.picture(&texts, &errors)?);
        }
    }
    let (points, shares) = picture.unwrap_or_default();
    let shifted: Vec<String> = texts.shifted.iter().map(|(domain, _)| domain.label.clone()).collect();
    let mut files = vec![
        ("table.md".to_owned(), page(plan, &opened.data, &findings, shares)?.markdown().into_bytes()),
        ("table.csv".to_owned(), csv(&findings)?),
    ];
    files.extend(draw(&findings, &points, &shifted)?);
    generated::write(files.into_iter().map(|(name, bytes)| (store.folder().join(name), bytes)).collect())
}

/// What is read.
struct Texts<'a> {
    test: (&'a DomainInfo, Sentences),
    /// Some texts of every other set.
    shifted: Vec<(&'a DomainInfo, Sentences)>,
    /// The paper's five.
    sentences: Sentences,
}

impl<'a> Texts<'a> {
    fn read(opened: &'a OpenedPlan<'_>) -> Result<Self> {
        let compute = opened.prefixes(opened.lowest())?;
        let (mut test, mut shifted) = (None, Vec::new());
        for (split, domain) in (2..).zip(&opened.data.domains) {
            let (info, examples) = (&domain.info, &domain.examples);
            if info.in_distribution {
                test = Some((info, compute(examples, split)?));
            } else if info.corruption.is_none() {
                shifted.push((info, compute(&examples[..PICTURED.min(examples.len())], split)?));
            }
        }
        let example = |text: &&str| {
            let text = (*text).to_owned();
            Example { id: text.clone(), text, label: None, ratings: None, choice: None }
        };
        let sentences: Vec<Example> = SENTENCES.iter().map(example).collect();
        Ok(Self {
            test: test.ok_or_else(|| Error::Report("paper: no test set of the training domain".to_owned()))?,
            shifted,
            sentences: compute(&sentences, u8::MAX)?,
        })
    }
}

/// A trained adapter with what it is read by.
struct Reader<'a> {
    opened: &'a OpenedPlan<'a>,
    unit: &'a Unit<'a>,
    member: Member,
    kept: KeptPredictions<'a>,
}

impl Reader<'_> {
    /// What the adapter says of the paper's sentences, which no run reads.
    fn predict(&self, samples: u32, sentences: &Sentences) -> Result<Predictive> {
        let predictor = self.opened.predictor(self.unit, self.opened.lowest(), samples, 0);
        let logits = predictor.member_logits(&self.member, samples, sentences)?;
        Ok(Predictive::from_logits(logits.view(), self.unit.method.prediction.averaging)?)
    }

    /// What is found on the texts, with the errors on the test set.
    fn finding(&self, texts: &Texts<'_>) -> Result<(Finding, Vec<bool>)> {
        let (test, sentences) = &texts.test;
        let sampled = self.kept.of_domain(Reading::Sampled, &test.id, sentences.len())?;
        let still = self.kept.of_domain(Reading::Mean, &test.id, sentences.len())?;
        let validated = self.kept.of_validation(Reading::Sampled)?;
        let labels: Vec<usize> = sentences.labels().iter().map(|&label| label as usize).collect();
        let validation = self.opened.data.validation.iter().filter_map(|example| example.label);
        let validation: Vec<usize> = validation.map(|label| label as usize).collect();
        let errors_of = |predictive: &Predictive| -> Vec<bool> {
            predictive.predicted().iter().zip(&labels).map(|(guess, label)| guess != label).collect()
        };
        let (errors, still_errors) = (errors_of(&sampled), errors_of(&still));
        let numbers = |errors: &[bool]| errors.iter().map(|&e| f64::from(u8::from(e))).collect::<Vec<_>>();
        let (variance, entropy) = (sampled.probability_variance().to_vec(), still.predictive_entropy().to_vec());
        let drawn = self.predict(SENTENCE_SAMPLES, &texts.sentences)?;
        let one = self.predict(0, &texts.sentences)?;
        let finding = Finding {
            label: self.unit.method.label.clone(),
            seed: self.unit.seed,
            validation_accuracy: accuracy(&validated.predicted(), &validation)?,
            test_accuracy: accuracy(&sampled.predicted(), &labels)?,
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
        };
        Ok((finding, errors))
    }

    /// The test set and some of the other sets on the principal plane of the test set's states.
    fn picture(&self, texts: &Texts<'_>, errors: &[bool]) -> Result<(Vec<Point>, [f64; 2])> {
        let (test, sentences) = &texts.test;
        let reference = self.states(sentences)?;
        let mut points = Vec::new();
        let mut place_all = |states: &Array2<f64>, info: &DomainInfo, kind: &dyn Fn(usize) -> Kind| -> Result<_> {
            let Plane { at, shares } = principal_plane(&reference, states)?;
            let variance =
                self.kept.of_domain(Reading::Sampled, &info.id, states.nrows())?.probability_variance().to_vec();
            let placed = at.into_iter().zip(variance).enumerate();
            points.extend(placed.map(|(place, (at, variance))| Point { at, variance, kind: kind(place) }));
            Ok(shares)
        };
        let shares = place_all(&reference, test, &|place| if errors[place] { Kind::Wrong } else { Kind::Right })?;
        for (number, (info, sentences)) in texts.shifted.iter().enumerate() {
            place_all(&self.states(sentences)?, info, &|_| Kind::Shifted(number))?;
        }
        Ok((points, shares))
    }

    /// States above the last block of the tokens that are read at the mean of the posterior, `[sentences, width]`.
    fn states(&self, sentences: &Sentences) -> Result<Array2<f64>> {
        let backbone = &self.opened.backbone;
        let width = backbone.width();
        let mut all = Array2::zeros((sentences.len(), width));
        for places in sentences.batches_of_rows(ROWS_PER_PASS) {
            let batch = sentences.batch(&places, backbone.device())?;
            let mut pass = Pass::new(&self.member.adapters, Draw::Mean);
            let first = backbone.states(self.opened.lowest(), &batch.hidden, &batch.packing, &mut pass)?;
            let values: Vec<f64> = first.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
            for (row, place) in values.chunks(width).zip(places) {
                all.row_mut(place).assign(&ndarray::ArrayView1::from(row));
            }
        }
        Ok(all)
    }
}
