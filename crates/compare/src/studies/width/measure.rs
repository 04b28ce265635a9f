//! The fits of a finished run, read at every width.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bayeslora_data::Progress;
use bayeslora_data::assets::Assets;
use bayeslora_data::tasks::Domain;
use bayeslora_inference::{Fitted, Member, Predictor, Resources, Sentences};
use bayeslora_metrics::{GaussianLogits, Predictive, negative_log_likelihood};
use bayeslora_records::{DomainRecord, Reading as HowRead, Store};
use ndarray::Array3;

use super::figure;
use super::findings::{FITTED, Measured, Reading, Shown};
use super::table::{csv, page};
use crate::error::{Error, Result};
use crate::experiment::{Plan, Row};
use crate::publish::generated;
use crate::run::opened::OpenedPlan;
use crate::run::unit::Unit;
use crate::studies::saved::{RandomUnits, kept_fit, random_units};

/// Scores of the test set in distribution, plain and with its temperature.
const INSIDE: [&str; 5] = ["accuracy", "nll", "ece", "aurc", "mean_mutual_information"];
const TEMPERED: [&str; 2] = ["nll", "ece"];
/// Of shifted sets.
const SHIFTED: [&str; 4] = ["nll", "ece", "auroc_predictive_entropy", "auroc_mutual_information"];

/// What is read.
#[derive(Debug, Clone, PartialEq)]
pub struct WidthOptions {
    /// Deviations, times the fitted ones, at least 0; 1 is read whether it is named or not.
    pub widths: Vec<f64>,
    /// Validation texts, and texts of each test domain, at most: the first ones.
    pub texts: usize,
}

/// Reads every sampled or linearised row of a finished run at other widths, and writes tables and a figure into the folder `out`.
///
/// # Errors
/// When a width is negative or not finite, a fit is missing (the run was not finished here), data or weights are damaged, or results
/// cannot be written.
pub fn measure_widths(
    plan: &Plan,
    options: &WidthOptions,
    out: &Path,
    resources: &Resources,
    assets: &Assets,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>> {
    let widths = sorted(&options.widths)?;
    let store = Store::new(out);
    store.check_writable()?;
    let mut opened = OpenedPlan::open(plan, Store::new(&plan.folder), resources, assets, progress)?;
    opened.data.validation.truncate(options.texts);
    opened.data.domains.iter_mut().for_each(|domain| domain.examples.truncate(options.texts));
    let opened = opened;
    let units = opened.units();
    let RandomUnits { finished, failed } = random_units(&opened, &units)?;
    let compute = opened.prefixes(opened.lowest())?;
    let validation = compute(&opened.data.validation, 1)?;
    let domains = (2..).zip(&opened.data.domains).map(|(split, domain)| compute(&domain.examples, split));
    let texts = Texts { validation, domains: domains.collect::<Result<_>>()? };
    let passes = |unit: &Unit<'_>, row: &Row| -> u64 {
        let own = unit.method.passes(row.reading);
        if row.reading == HowRead::Linearised {
            return own;
        }
        // At 0 all samples are the same pass.
        widths.iter().map(|&width| if width > 0.0 { own } else { 1 }).sum()
    };
    let work: u64 = finished.iter().flat_map(|(unit, rows)| rows.iter().map(|row| passes(unit, row))).sum();
    progress.expect(work * texts.tokens() as u64);
    let mut readings = Vec::new();
    for (unit, rows) in &finished {
        progress.stage(&unit.name());
        let fitted = kept_fit(&opened, unit)?;
        for row in rows {
            let predictor =
                opened.predictor(unit, opened.lowest(), unit.method.prediction.samples, OpenedPlan::PREDICTIVE);
            let posterior = Posterior::of(&predictor, &fitted, row, &texts)?;
            for &width in &widths {
                let named = |error: Error| error.in_unit(format!("{}, {} at width {width}", unit.name(), row.label));
                let (validation, logits) = posterior.logits(width).map_err(named)?;
                readings.push(reading(&opened, unit, row, width, (&validation, &logits)).map_err(named)?);
            }
        }
    }
    let shown = shown(&opened, &readings);
    let of_domain = |domain: &Domain| (domain.info.label.clone(), domain.examples.len());
    let counts: Vec<(String, usize)> = std::iter::once(("validation".to_owned(), opened.data.validation.len()))
        .chain(opened.data.domains.iter().map(of_domain))
        .collect();
    let measured = Measured { widths: &widths, texts: &counts, failed: &failed, readings: &readings, shown: &shown };
    let mut files = vec![
        ("table.md".to_owned(), page(plan, options.texts, &measured)?.markdown().into_bytes()),
        ("table.csv".to_owned(), csv(&readings, &shown)?),
    ];
    files.push(figure::draw(plan, &measured)?);
    generated::write(files.into_iter().map(|(name, bytes)| (store.folder().join(name), bytes)).collect())
}

/// The widths in ascending order, each once, with that of the posterior.
pub(super) fn sorted(widths: &[f64]) -> Result<Vec<f64>> {
    if let Some(width) = widths.iter().find(|width| !(width.is_finite() && **width >= 0.0)) {
        return Err(Error::Report(format!("width {width}: expected a number of at least 0")));
    }
    // A negative zero is the mean as well.
    let mut all: Vec<f64> = widths.iter().map(|width| width + 0.0).chain([FITTED]).collect();
    all.sort_by(f64::total_cmp);
    all.dedup_by(|a, b| a.total_cmp(b).is_eq());
    Ok(all)
}

/// The texts that every fit is read on.
struct Texts {
    validation: Sentences,
    domains: Vec<Sentences>,
}

impl Texts {
    fn all(&self) -> impl Iterator<Item = &Sentences> {
        std::iter::once(&self.validation).chain(&self.domains)
    }

    fn tokens(&self) -> usize {
        self.all().map(Sentences::tokens).sum()
    }
}

/// A row of a fit, to be read at any width.
enum Posterior<'a> {
    Sampled {
        predictor: &'a Predictor<'a>,
        member: &'a Member,
        texts: &'a Texts,
    },
    /// The Gaussians of all texts, which need no second pass.
    Gaussian {
        of_texts: Vec<GaussianLogits>,
        draws: usize,
        seed: u64,
    },
}

impl<'a> Posterior<'a> {
    fn of(predictor: &'a Predictor<'a>, fitted: &'a Fitted, row: &Row, texts: &'a Texts) -> Result<Self> {
        if row.reading == HowRead::Sampled {
            return Ok(Self::Sampled { predictor, member: &fitted.members[0], texts });
        }
        let of_texts = texts.all().map(|sentences| predictor.linearised(fitted, sentences));
        let draws = predictor.samples_of(fitted, row.reading) as usize;
        Ok(Self::Gaussian { of_texts: of_texts.collect::<Result<_, _>>()?, draws, seed: predictor.seed })
    }

    /// Logits of the validation texts, and of every domain.
    fn logits(&self, width: f64) -> Result<(Array3<f32>, Vec<Array3<f32>>)> {
        let mut all = match self {
            Self::Sampled { predictor, member, texts } if width > 0.0 => {
                let adapters = member.adapters.widened(width)?;
                let widened = Member { adapters, head: member.head.clone(), posterior: member.posterior };
                let logits =
                    texts.all().map(|sentences| predictor.member_logits(&widened, predictor.samples, sentences));
                logits.collect::<Result<Vec<_>, _>>()?
            }
            Self::Sampled { predictor, member, texts } => {
                let means = texts.all().map(|sentences| predictor.member_logits(member, 0, sentences));
                means.collect::<Result<Vec<_>, _>>()?
            }
            Self::Gaussian { of_texts, draws, seed } => {
                // At 0 all draws are the mean.
                let draws = if width > 0.0 { *draws } else { 1 };
                let widened = of_texts.iter().map(|one| Ok(one.widened(width)?.samples(draws, *seed)));
                widened.collect::<Result<Vec<_>>>()?
            }
        };
        let validation = all.remove(0);
        Ok((validation, all))
    }
}

fn reading(
    opened: &OpenedPlan<'_>,
    unit: &Unit<'_>,
    row: &Row,
    width: f64,
    (validation, logits): (&Array3<f32>, &[Array3<f32>]),
) -> Result<Reading> {
    let scores = opened.score(row, validation, logits, None)?;
    let own = scores.domains.iter().flat_map(|domain| {
        let metrics = if domain.in_distribution { INSIDE.as_slice() } else { &SHIFTED };
        shown_of(domain, metrics, false)
    });
    let inside = scores.tempered.iter().filter(|domain| domain.in_distribution);
    let tempered = inside.flat_map(|domain| shown_of(domain, &TEMPERED, true));
    let predictive = Predictive::from_logits(validation.view(), unit.method.prediction.averaging)?;
    let validation_nll = negative_log_likelihood(predictive.log_probabilities(), &opened.validation_labels())?;
    Ok(Reading {
        row: row.id.to_string(),
        label: row.label.clone(),
        seed: unit.seed,
        width,
        validation_nll,
        scores: own.chain(tempered).collect::<BTreeMap<_, _>>(),
    })
}

fn shown_of<'a>(
    domain: &'a DomainRecord,
    metrics: &'a [&'static str],
    is_tempered: bool,
) -> impl Iterator<Item = (Shown, f64)> + 'a {
    metrics.iter().filter_map(move |&metric| {
        let value = domain.scores.get(metric).copied().flatten()?;
        Some((Shown { domain: domain.domain.clone(), metric, is_tempered }, value))
    })
}

/// Every score that readings have, domain after domain.
fn shown(opened: &OpenedPlan<'_>, readings: &[Reading]) -> Vec<Shown> {
    let all = opened.data.domains.iter().flat_map(|domain| {
        let inside = domain.info.in_distribution;
        let metrics = if inside { INSIDE.as_slice() } else { &SHIFTED };
        let tempered = if inside { TEMPERED.as_slice() } else { &[] };
        let of = |is_tempered: bool| {
            let id = &domain.info.id;
            move |metric: &&'static str| Shown { domain: id.clone(), metric, is_tempered }
        };
        metrics.iter().map(of(false)).chain(tempered.iter().map(of(true))).collect::<Vec<_>>()
    });
    all.filter(|shown| readings.iter().any(|reading| reading.scores.contains_key(shown))).collect()
}
