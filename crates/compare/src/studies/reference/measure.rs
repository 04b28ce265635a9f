//! Chains for every seed, prior and temperature of a finished run, and its rows beside them.

use std::path::PathBuf;
use std::time::Instant;

use bayeslora_data::Progress;
use bayeslora_data::assets::Assets;
use bayeslora_data::tasks::Domain as TestDomain;
use bayeslora_inference::{Resources, Sentences};
use bayeslora_metrics::{Averaging, Predictive};
use bayeslora_models::SavedAdapter;
use bayeslora_posterior::{Activation, Chain, LastMap, Prior, Settings, Target as _, sample};
use bayeslora_records::{Reading, Store};
use ndarray::Array2;

use super::figure;
use super::findings::{Beside, Distance, Mixing, PosteriorOptions, Quality, Which, samples};
use super::network::{Inputs, head, parameters};
use super::table::{csv, page};
use crate::error::{Error, Result};
use crate::experiment::Plan;
use crate::publish::generated;
use crate::run::opened::OpenedPlan;
use crate::run::unit::Unit;
use crate::studies::kept::KeptPredictions;

/// Depth of a trajectory's tree at most, and the acceptance that steps are fitted to.
const MAX_DEPTH: u64 = 8;
const ACCEPTANCE: f64 = 0.9;
/// Part of a chain's seed.
const STREAM: u64 = 0x7057;
/// Largest difference of a log probability between the posterior's network and the program's, which is in f32.
const ROUNDING: f64 = 1e-3;
/// Texts whose predicted probabilities are judged for mixing.
const JUDGED: usize = 200;

/// Texts of a test domain.
struct Domain<'a> {
    id: &'a str,
    /// None of a domain without labels.
    labels: Vec<usize>,
    texts: usize,
}

impl Domain<'_> {
    fn beside(
        &self,
        which: Which,
        row: Option<&str>,
        predictive: &Predictive,
        posterior: Option<&Predictive>,
    ) -> Result<Beside> {
        let quality = (!self.labels.is_empty()).then(|| Quality::of(predictive, &self.labels)).transpose()?;
        Ok(Beside {
            which,
            domain: self.id.to_owned(),
            row: row.map(str::to_owned),
            quality,
            information: predictive.mutual_information().mean().unwrap_or(0.0),
            distance: posterior.map(|posterior| Distance::of(predictive, posterior)),
        })
    }
}

/// What all posteriors of a seed share.
struct Ground<'a> {
    train: Inputs,
    labels: Vec<usize>,
    /// All test domains, one after another.
    tests: &'a Inputs,
    head: bayeslora_posterior::Head,
    shape: (usize, f64),
    /// `A` and `B` of the reference row's fit, on which the two networks are compared.
    trained: Vec<f64>,
}

/// Samples the posterior of every seed of a finished run and writes tables into `posterior` within its results.
///
/// # Errors
/// When adapters or predictions are missing (the run was not finished here), the experiment adapts other maps than the pooler or trains the
/// head, the two networks differ, or results cannot be written.
pub fn measure_posterior(
    plan: &Plan,
    options: &PosteriorOptions,
    resources: &Resources,
    assets: &Assets,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>> {
    let store = Store::new(plan.folder.join("posterior"));
    store.check_writable()?;
    let opened = OpenedPlan::open(plan, Store::new(&plan.folder), resources, assets, progress)?;
    if let Some(method) = plan.methods.iter().find(|method| method.adapter.train_head) {
        let problem = format!("posterior: method \"{}\" trains the head; expected train-head = false", method.id);
        return Err(Error::Report(problem));
    }
    let units = opened.units();
    // All are there before anything is computed.
    for &seed in &plan.seeds {
        reference_fit(&opened, &units, seed)?;
    }
    for unit in &units {
        KeptPredictions::open(&opened, unit)?;
    }
    let compute = opened.prefixes(opened.lowest())?;
    let train = compute(&opened.data.train, 0)?;
    let mut domains = Vec::new();
    for (split, domain) in (2..).zip(&opened.data.domains).filter(|(_, domain)| domain.info.corruption.is_none()) {
        let texts = &domain.examples[..domain.examples.len().min(options.texts)];
        domains.push((domain, compute(texts, split)?));
    }
    let inputs = domains.iter().map(|(_, sentences)| Inputs::of(&opened, sentences));
    let tests = Inputs::joined(&inputs.collect::<Result<Vec<_>>>()?)?;
    let mut temperatures = options.temperatures.clone();
    if !temperatures.iter().any(|temperature| is_bayes(*temperature)) {
        temperatures.push(1.0);
    }
    let each = options.chains as u64 * (options.tune + options.draws);
    progress.expect(each * (plan.seeds.len() * options.prior_sds.len() * temperatures.len()) as u64);
    let (mut mixed, mut found) = (Vec::new(), Vec::new());
    for &seed in &plan.seeds {
        let ground = ground(&opened, &units, seed, &train, (&domains, &tests))?;
        for &prior_sd in &options.prior_sds {
            for &temperature in &temperatures {
                let which = Which { prior_sd, temperature, seed };
                progress.stage(&format!("prior {prior_sd}, temperature {temperature}, seed {seed}"));
                let started = Instant::now();
                let (parameters, chains) = run(&ground, which, options, progress)?;
                let seconds = started.elapsed().as_secs_f64();
                mixed.push(Mixing { seconds, ..Mixing::of(which, parameters, &chains, JUDGED)? });
                let mut first = 0;
                for (domain, sentences) in &domains {
                    let logits = samples(&chains, first..first + sentences.len());
                    first += sentences.len();
                    let posterior = Predictive::from_logits(logits.view(), Averaging::Probabilities)?;
                    let of = Domain { id: &domain.info.id, labels: labels_of(sentences), texts: sentences.len() };
                    found.push(of.beside(which, None, &posterior, None)?);
                    if is_bayes(temperature) {
                        found.extend(rows(&opened, &units, which, &of, &posterior)?);
                    }
                }
            }
        }
    }
    let figure = figure::draw(&found, &options.prior_sds)?;
    let mut files = vec![
        ("table.md".to_owned(), page(plan, options, (&mixed, &found), figure.is_some()).markdown().into_bytes()),
        ("table.csv".to_owned(), csv(&mixed, &found)?),
    ];
    files.extend(figure);
    generated::write(files.into_iter().map(|(name, bytes)| (store.folder().join(name), bytes)).collect())
}

fn is_bayes(temperature: f64) -> bool {
    (temperature - 1.0).abs() < 1e-12
}

fn labels_of(sentences: &Sentences) -> Vec<usize> {
    sentences.labels().iter().map(|&label| label as usize).collect()
}

/// The unit of the reference row at a seed, and the folder of its adapter.
fn reference_fit<'u, 'p>(opened: &OpenedPlan<'p>, units: &'u [Unit<'p>], seed: u64) -> Result<(&'u Unit<'p>, PathBuf)> {
    let reference = &opened.plan.method_of(&opened.plan.reference).id;
    let unit = units.iter().find(|unit| unit.seed == seed && unit.method.id == *reference);
    let unit = unit.ok_or_else(|| Error::Report(format!("posterior: {reference} has no fit at seed {seed}")))?;
    let folder = opened.store.fit_folder(&unit.fit).join("adapter");
    if folder.is_dir() {
        return Ok((unit, folder));
    }
    let problem = format!("{} is not there: run this profile here first, with `bayeslora run`", unit.name());
    Err(Error::Store { path: folder, problem })
}

/// What the posteriors of a seed are made of, after the two networks were compared.
fn ground<'a>(
    opened: &OpenedPlan<'_>,
    units: &[Unit<'_>],
    seed: u64,
    train: &Sentences,
    (domains, tests): (&[(&TestDomain, Sentences)], &'a Inputs),
) -> Result<Ground<'a>> {
    let (unit, folder) = reference_fit(opened, units, seed)?;
    let saved = SavedAdapter::load(&folder, &opened.backbone, opened.model.path(), Ok)?;
    let (trained, shape) = parameters(opened, &saved)?;
    let own = opened.drawn(seed, train)?;
    let own = own.as_ref().unwrap_or(train);
    let ground = Ground {
        train: Inputs::of(opened, own)?,
        labels: labels_of(own),
        tests,
        head: head(&saved.head)?,
        shape,
        trained,
    };
    ground.check(opened, unit, domains)?;
    Ok(ground)
}

impl Ground<'_> {
    fn posterior(&self, prior: Prior) -> Result<LastMap> {
        let data = (self.train.inputs.clone(), self.train.frozen.clone());
        let head = (self.head.clone(), Activation::Tanh);
        Ok(LastMap::new(data, self.labels.clone(), head, self.shape, prior)?)
    }

    /// Log probabilities of all test texts.
    fn predict(&self, posterior: &LastMap, at: &[f64]) -> Result<Array2<f64>> {
        Ok(posterior.log_probabilities(at, (self.tests.inputs.view(), self.tests.frozen.view()))?)
    }

    /// Refuses to sample where the trained adapter has other predictions here than in the program.
    fn check(&self, opened: &OpenedPlan<'_>, unit: &Unit<'_>, domains: &[(&TestDomain, Sentences)]) -> Result<()> {
        let ours = self.predict(&self.posterior(Prior { sd: 1.0, temperature: 1.0 })?, &self.trained)?;
        let kept = KeptPredictions::open(opened, unit)?;
        let mut first = 0;
        for (domain, sentences) in domains {
            let count = sentences.len();
            let theirs = kept.of_domain(Reading::Mean, &domain.info.id, count)?;
            let pairs = theirs.log_probabilities().into_iter().zip(ours.slice(ndarray::s![first..first + count, ..]));
            let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            if apart.is_nan() || apart > ROUNDING {
                return Err(Error::Report(format!(
                    "posterior: log probabilities of {} on {} differ by {apart:.1e} between the two networks; expected at most {ROUNDING:.0e}",
                    unit.name(),
                    domain.info.id
                )));
            }
            first += count;
        }
        Ok(())
    }
}

/// The number of parameters, and chains that keep each draw's log probabilities of all test texts.
fn run(
    ground: &Ground<'_>,
    which: Which,
    options: &PosteriorOptions,
    progress: &dyn Progress,
) -> Result<(usize, Vec<Chain<Array2<f32>>>)> {
    let prior = Prior { sd: which.prior_sd, temperature: which.temperature };
    let posterior = ground.posterior(prior)?;
    let settings = Settings {
        chains: options.chains,
        tune: options.tune,
        draws: options.draws,
        max_depth: MAX_DEPTH,
        acceptance: ACCEPTANCE,
        seed: bayeslora_adapters::derive_seed(which.seed, STREAM),
    };
    // Every chain begins elsewhere: from the prior itself, by a stream of its own.
    let start =
        |chain: usize| bayeslora_posterior::prior_draw(posterior.dimension(), which.prior_sd, which.seed, chain);
    let read = |at: &[f64]| ground.predict(&posterior, at).map(|log_p| log_p.mapv(narrow));
    let chains = sample(&posterior, &settings, &start, &read, &|| progress.advance(1))?;
    let whole = |chain: Chain<Result<Array2<f32>>>| -> Result<Chain<Array2<f32>>> {
        let Chain { read, divergences, deepest, gradients, step_size } = chain;
        Ok(Chain { read: read.into_iter().collect::<Result<_>>()?, divergences, deepest, gradients, step_size })
    };
    Ok((posterior.dimension(), chains.into_iter().map(whole).collect::<Result<_>>()?))
}

/// Every row at a seed beside the posterior on a domain.
fn rows(
    opened: &OpenedPlan<'_>,
    units: &[Unit<'_>],
    which: Which,
    domain: &Domain<'_>,
    posterior: &Predictive,
) -> Result<Vec<Beside>> {
    let mut found = Vec::new();
    for unit in units.iter().filter(|unit| unit.seed == which.seed) {
        let kept = KeptPredictions::open(opened, unit)?;
        for row in opened.rows_of(unit) {
            let predictive = kept.of_domain(row.reading, domain.id, domain.texts)?;
            found.push(domain.beside(which, Some(&row.label), &predictive, Some(posterior))?);
        }
    }
    Ok(found)
}

#[expect(clippy::cast_possible_truncation, reason = "kept as logits are")]
fn narrow(value: f64) -> f32 {
    value as f32
}
