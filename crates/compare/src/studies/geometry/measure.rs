//! The adapters of finished units, with the inputs that each of their maps sees.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bayeslora_adapters::{
    AdapterSet, Dependence, Draw, DropoutSite, Increment, LowRank, Moments, Parameter, Slot, StochasticAdapter,
    TargetMap,
};
use bayeslora_metrics::Bootstrap;
use bayeslora_models::{SavedAdapter, classify};
use bayeslora_theory::{Dropout, Layer, Site};
use candle_core::{DType, Tensor};
use ndarray::{Array2, s};
use rayon::prelude::*;

use super::figure::draw;
use super::findings::{Finding, GeometryOptions, Map, Text};
use super::predictions::{self, Reached, Scores, Sides, VARIANCE};
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
use bayeslora_data::tasks::DomainInfo;
use bayeslora_inference::{Resources, Sentences};
use bayeslora_records::{Reading, Store};

/// Rows of one forward pass.
const ROWS_PER_PASS: usize = 4096;

/// Measures claim R1 on the dropout adapters of a finished run and writes table and figure into `geometry` within the results.
///
/// # Errors
/// When an adapter is missing (the run was not finished here), data or weights are damaged, or results cannot be written.
pub fn measure_geometry(
    plan: &Plan,
    options: GeometryOptions,
    resources: &Resources,
    assets: &Assets,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>> {
    let store = Store::new(plan.folder.join("geometry"));
    store.check_writable()?;
    let opened = OpenedPlan::open(plan, Store::new(&plan.folder), resources, assets, progress)?;
    let units = opened.units();
    let saved = dropout_adapters(&opened, &units)?;
    let compute = opened.prefixes(opened.lowest())?;
    let train = compute(&opened.data.train, 0)?;
    let mut tests = Vec::new();
    for (split, domain) in (2..).zip(&opened.data.domains) {
        // Damaged copies of the test set are not texts from elsewhere.
        if domain.info.corruption.is_none() {
            let texts = &domain.examples[..domain.examples.len().min(options.texts)];
            tests.push((&domain.info, compute(texts, split)?));
        }
    }
    let tokens = train.tokens() + tests.iter().map(|(_, sentences)| sentences.tokens()).sum::<usize>();
    progress.expect((tokens * saved.len()) as u64);
    let bootstrap = Bootstrap { resamples: options.resamples, ..plan.experiment.bootstrap };
    let (mut findings, mut reached) = (Vec::new(), Vec::new());
    for (unit, adapter, site, dropout) in saved {
        progress.stage(&unit.name());
        let probe = Probe::new(&opened, adapter)?;
        let own = opened.drawn(unit.seed, &train)?;
        let scores = scores_of(&opened, unit, &tests)?;
        let (inside_maps, at_predictions) =
            probe.examine(unit, (site, dropout), scores, (own.as_ref().unwrap_or(&train), &tests), &bootstrap)?;
        findings.extend(inside_maps);
        reached.extend(at_predictions);
    }
    let texts: Vec<usize> = tests.iter().map(|(_, sentences)| sentences.len()).collect();
    let mut files = vec![
        ("table.md".to_owned(), page(plan, &options, &texts, &findings, &reached).markdown().into_bytes()),
        ("table.csv".to_owned(), csv(&findings)?),
        ("predictions.csv".to_owned(), predictions::csv(&reached)?),
    ];
    files.push(draw(&findings)?);
    generated::write(files.into_iter().map(|(name, bytes)| (store.folder().join(name), bytes)).collect())
}

/// Inputs `[rows, d_in]` by slot.
type Seen = Arc<Mutex<BTreeMap<Slot, Tensor>>>;

/// An adapter that remembers what its map was given.
#[derive(Debug)]
struct Recorder {
    adapter: Arc<dyn StochasticAdapter>,
    seen: Seen,
}

impl StochasticAdapter for Recorder {
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> bayeslora_adapters::Result<Increment> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, x.squeeze(0)?);
        self.adapter.increment(slot, x, draw)
    }

    fn low_rank(&self) -> &LowRank {
        self.adapter.low_rank()
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        self.adapter.parameters()
    }

    fn first_order_covariance(&self, dependence: Dependence<'_>) -> bayeslora_adapters::Result<Vec<f64>> {
        self.adapter.first_order_covariance(dependence)
    }

    fn moments(&self, x: &Tensor) -> bayeslora_adapters::Result<Moments> {
        self.adapter.moments(x)
    }
}

/// A trained adapter with the network around it.
struct Probe<'a> {
    opened: &'a OpenedPlan<'a>,
    adapters: AdapterSet,
    head: bayeslora_models::Head,
}

impl<'a> Probe<'a> {
    fn new(opened: &'a OpenedPlan<'a>, adapter: SavedAdapter) -> Result<Self> {
        if adapter.adapters.iter().any(|(slot, _)| slot.map == TargetMap::Pooler) {
            return Err(Error::Report("geometry: adapters of the pooler are not measured".to_owned()));
        }
        Ok(Self { opened, adapters: adapter.adapters, head: adapter.head })
    }

    /// Runs the mean network over all sentences; `visit` maps a batch's places, lengths and inputs to something, in order.
    fn visit<T: Send>(
        &self,
        sentences: &Sentences,
        visit: impl Fn(&[usize], &[usize], &BTreeMap<Slot, Array2<f64>>) -> T + Sync,
        mut take: impl FnMut(T),
    ) -> Result<()> {
        let (backbone, from) = (&self.opened.backbone, self.opened.lowest());
        let batches = sentences.batches_of_rows(ROWS_PER_PASS);
        let pass = |places: &Vec<usize>| -> Result<T> {
            let batch = sentences.batch(places, backbone.device())?;
            let seen = Seen::default();
            let mut recorders = AdapterSet::new();
            for (slot, adapter) in self.adapters.shared() {
                recorders.insert(slot, Box::new(Recorder { adapter, seen: Arc::clone(&seen) }));
            }
            classify(backbone, &self.head, &recorders, Draw::Mean, from, &batch.hidden, &batch.packing)?;
            let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
            let inputs = seen.iter().map(|(&slot, x)| Ok((slot, to_array(x)?))).collect::<Result<BTreeMap<_, _>>>()?;
            self.opened.progress.advance(batch.packing.rows() as u64);
            Ok(visit(places, &batch.lengths, &inputs))
        };
        for window in batches.chunks(rayon::current_num_threads()) {
            window.par_iter().map(pass).collect::<Result<Vec<_>>>()?.into_iter().for_each(&mut take);
        }
        Ok(())
    }

    /// The same adapter at every site.
    fn layers(&self, slot: Slot, dropout: f64) -> Result<Vec<Layer>> {
        let tensor = |wanted: &str| -> Result<Array2<f64>> {
            let parameters = self.adapters.get(slot).map(StochasticAdapter::parameters).unwrap_or_default();
            let found = parameters.into_iter().find(|parameter| parameter.name == wanted);
            let found = found.ok_or_else(|| Error::Report(format!("{slot} has no {wanted}")))?;
            to_array(found.var.as_tensor())
        };
        let (a, b) = (tensor("lora_A.weight")?, tensor("lora_B.weight")?);
        let refused = |error: bayeslora_theory::Error| Error::Report(format!("{slot}: {error}"));
        let dropout = Dropout::new(dropout).map_err(refused)?;
        let scale = self.adapters.get(slot).map_or(0.0, |adapter| adapter.low_rank().scale());
        Site::ALL.iter().map(|&site| Layer::new(a.clone(), b.clone(), scale, site, dropout).map_err(refused)).collect()
    }

    fn examine(
        &self,
        unit: &Unit<'_>,
        (site, dropout): (DropoutSite, f64),
        scores: Scores,
        (train, tests): (&Sentences, &[(&DomainInfo, Sentences)]),
        bootstrap: &Bootstrap,
    ) -> Result<(Vec<Finding>, Vec<Reached>)> {
        let mut moments: BTreeMap<Slot, Array2<f64>> = BTreeMap::new();
        let second = |_: &[usize], _: &[usize], inputs: &BTreeMap<Slot, Array2<f64>>| {
            inputs.iter().map(|(&slot, x)| (slot, x.t().dot(x))).collect::<Vec<_>>()
        };
        self.visit(train, second, |parts| {
            for (slot, part) in parts {
                moments.entry(slot).and_modify(|sum| *sum += &part).or_insert(part);
            }
        })?;
        let maps = moments
            .into_par_iter()
            .map(|(slot, moment)| Ok((slot, Map::new(slot, self.layers(slot, dropout)?, &moment)?)))
            .collect::<Result<BTreeMap<Slot, Map>>>()?;
        // Texts of the training domain, then shifted ones.
        let mut texts: BTreeMap<Slot, [Vec<Text>; 2]> = BTreeMap::new();
        for (info, sentences) in tests {
            let read = |places: &[usize], lengths: &[usize], inputs: &BTreeMap<Slot, Array2<f64>>| {
                let mut read = Vec::new();
                for (slot, x) in inputs {
                    // Above the last attention only the token of each sentence that is read is computed.
                    let whole = x.nrows() == lengths.iter().sum::<usize>();
                    let mut start = 0;
                    for (&place, &length) in places.iter().zip(lengths) {
                        let rows = if whole { length } else { 1 };
                        read.push((*slot, place, maps[slot].read(&x.slice(s![start..start + rows, ..]))));
                        start += rows;
                    }
                }
                read
            };
            let mut found = Vec::new();
            self.visit(sentences, read, |part| found.extend(part))?;
            // The order of the examples, whatever the batches were.
            found.sort_by_key(|(slot, place, _)| (*slot, *place));
            for (slot, _, text) in found {
                texts.entry(slot).or_default()[usize::from(!info.in_distribution)].push(text);
            }
        }
        let own = match site {
            DropoutSite::Input => Site::Input,
            DropoutSite::Rank => Site::Rank,
            DropoutSite::Weight => Site::Weight,
        };
        let of = (unit.method.label.as_str(), unit.seed, own);
        let mut findings = Vec::new();
        for (slot, [inside, shifted]) in &texts {
            findings.extend(maps[slot].findings(of, inside, shifted, bootstrap));
        }
        let reached = predictions::reached(of, &texts, scores, bootstrap);
        Ok((findings, reached))
    }
}

/// What a fit's kept predictions say of the first texts of the test domains, as many as `tests` has.
fn scores_of(opened: &OpenedPlan<'_>, unit: &Unit<'_>, tests: &[(&DomainInfo, Sentences)]) -> Result<Scores> {
    let kept = KeptPredictions::open(opened, unit)?;
    let [mut variance, mut information, mut entropy] = [Sides::default(), Sides::default(), Sides::default()];
    for (info, sentences) in tests {
        let side = usize::from(!info.in_distribution);
        let sampled = kept.of_domain(Reading::Sampled, &info.id, sentences.len())?;
        variance[side].extend(sampled.probability_variance());
        information[side].extend(sampled.mutual_information());
        entropy[side].extend(kept.of_domain(Reading::Mean, &info.id, sentences.len())?.predictive_entropy());
    }
    let samples = unit.method.prediction.samples;
    Ok(Scores { samples, sampled: vec![(VARIANCE, variance), ("mutual information", information)], entropy })
}

fn to_array(tensor: &Tensor) -> Result<Array2<f64>> {
    let shape = tensor.dims2()?;
    let values = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Array2::from_shape_vec(shape, values)
        .map_err(|error| Error::Report(format!("geometry: a tensor of shape {shape:?}: {error}")))
}
