//! Coupled masks and adaptive T on the dropout adapters of a finished run.

use std::path::{Path, PathBuf};

use bayeslora_adapters::{Coupling, GroupSize, PosteriorSettings};
use bayeslora_metrics::{Bootstrap, softmax};
use ndarray::Axis;

use super::figure::draw;
use super::findings::{Pool, SAMPLES, findings};
use super::method::{CouplingsOptions, MethodCouplings};
use super::stopping::{REFERENCE_ALPHA, compare_stopping, reference};
use super::table::{csv, page};
use crate::error::{Error, Result};
use crate::experiment::Plan;
use crate::publish::generated;
use crate::run::opened::OpenedPlan;
use crate::studies::saved::dropout_adapters;
use bayeslora_data::Progress;
use bayeslora_data::assets::Assets;
use bayeslora_inference::{Member, Resources};
use bayeslora_records::Store;

/// Error levels of adaptive sampling, the smallest first.
const LEVELS: [f64; 2] = [0.01, 0.05];

/// Measures what coupled masks and adaptive T buy on the dropout adapters of a finished run's first seed, and writes tables and
/// figure into the folder `out`.
///
/// # Errors
/// When an adapter is missing (the run was not finished here), data or weights are damaged, or results cannot be written.
pub fn measure_couplings(
    plan: &Plan,
    options: CouplingsOptions,
    out: &Path,
    resources: &Resources,
    assets: &Assets,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>> {
    let store = Store::new(out);
    store.check_writable()?;
    let opened = OpenedPlan::open(plan, Store::new(&plan.folder), resources, assets, progress)?;
    let units: Vec<_> = opened.units().into_iter().filter(|unit| plan.seeds.first() == Some(&unit.seed)).collect();
    let saved = dropout_adapters(&opened, &units)?;
    let domain = (2..).zip(&opened.data.domains).find(|(_, domain)| domain.info.in_distribution);
    let (split, domain) =
        domain.ok_or_else(|| Error::Report("couplings: no test set of the training domain".to_owned()))?;
    let texts = &domain.examples[..domain.examples.len().min(options.texts)];
    let sentences = opened.prefixes(opened.lowest())?(texts, split)?;
    let couplings = pool_couplings(options.replicates)?;
    let drawn: u64 = couplings.iter().map(|(_, samples)| u64::from(*samples)).sum();
    progress.expect(drawn * sentences.tokens() as u64 * saved.len() as u64);
    let bootstrap = Bootstrap { resamples: options.resamples, ..plan.experiment.bootstrap };
    let mut methods = Vec::new();
    for (unit, adapter, _, _) in saved {
        progress.stage(&unit.name());
        let posterior: PosteriorSettings = adapter.posterior;
        let member = Member { adapters: adapter.adapters, head: adapter.head, posterior };
        let predictor = |part: u64| opened.predictor(unit, opened.lowest(), options.most, part);
        let places: Vec<usize> = (0..sentences.len()).collect();
        let pools = couplings
            .iter()
            .map(|&(coupling, samples)| {
                let logits = predictor(0).draws(&member, coupling, 0..samples, &sentences, &places)?;
                let mut probabilities = logits.mapv(f64::from);
                for (mut row, logits) in probabilities.lanes_mut(Axis(2)).into_iter().zip(logits.lanes(Axis(2))) {
                    row.assign(&ndarray::Array1::from(softmax(&logits.to_vec())));
                }
                Ok(Pool { coupling, probabilities })
            })
            .collect::<Result<Vec<_>>>()?;
        let independent = Coupling::Independent;
        let alpha = REFERENCE_ALPHA;
        let (classes, reference_capped) =
            reference(&predictor(1).decisions(&member, independent, alpha, &sentences)?);
        let mut stopped = Vec::new();
        for coupling in [independent, Coupling::Antithetic] {
            let decisions = predictor(2).decisions(&member, coupling, LEVELS[0], &sentences)?;
            for alpha in LEVELS {
                stopped.push(compare_stopping(coupling, alpha, &decisions, &classes, &pools)?);
            }
        }
        methods.push(MethodCouplings {
            label: unit.method.label.clone(),
            findings: findings(&pools, &bootstrap)?,
            stopped,
            most: options.most,
            reference_capped,
            texts: texts.len(),
        });
    }
    let options = CouplingsOptions { texts: texts.len(), ..options };
    let mut files = vec![
        ("table.md".to_owned(), page(plan, &options, &methods).markdown().into_bytes()),
        ("table.csv".to_owned(), csv(&methods)?),
    ];
    files.push(draw(&methods)?);
    generated::write(files.into_iter().map(|(name, bytes)| (store.folder().join(name), bytes)).collect())
}

/// The couplings, the independent one first, and how many samples each needs: replicates of the largest number, or of its group.
fn pool_couplings(replicates: u32) -> Result<Vec<(Coupling, u32)>> {
    let most = replicates.saturating_mul(SAMPLES[SAMPLES.len() - 1]);
    let mut couplings = vec![(Coupling::Independent, most), (Coupling::Antithetic, most)];
    for samples in SAMPLES {
        couplings.push((Coupling::Balanced(GroupSize::new(samples)?), replicates.saturating_mul(samples)));
    }
    Ok(couplings)
}
