//! The No-U-Turn sampler on several chains.

use std::collections::HashMap;

use nuts_rs::rand::rngs::ChaCha8Rng;
use nuts_rs::rand::{Rng, RngExt, SeedableRng};
use nuts_rs::{Chain as _, CpuLogpFunc, CpuMath, CpuMathError, DiagNutsSettings, HasDims, LogpError, Settings as _};
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::error::{Error, Result};
use crate::target::Target;

/// How chains are run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Chains, at least 1; one a thread at a time.
    pub chains: usize,
    /// Draws before the kept ones, which fit the step size and a diagonal mass matrix.
    pub tune: u64,
    /// Draws kept of each chain, at least 1.
    pub draws: u64,
    /// Depth of the tree of a draw, at most: `2^depth - 1` steps.
    pub max_depth: u64,
    /// Mean acceptance that the step size is fitted to, in (0, 1). Higher ones take shorter steps and diverge less.
    pub acceptance: f64,
    /// Seed; every chain has a stream of its own.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { chains: 4, tune: 500, draws: 500, max_depth: 8, acceptance: 0.8, seed: 0 }
    }
}

/// What a chain gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain<T> {
    /// What was read off each kept draw.
    pub read: Vec<T>,
    /// Kept draws whose trajectory diverged: there the sampler may have missed a region of high curvature.
    pub divergences: usize,
    /// Kept draws whose tree was as deep as is allowed: they explore slowly, but are not wrong.
    pub deepest: usize,
    /// Gradients of the kept draws together.
    pub gradients: u64,
    /// Step size after tuning.
    pub step_size: f64,
}

/// A density as the sampler asks for it.
struct Density<'a>(&'a dyn Target);

/// A density that is not finite: the trajectory ends there, as at a divergence.
#[derive(Debug, thiserror::Error)]
#[error("the log density is not finite")]
struct NotFinite;

impl LogpError for NotFinite {
    fn is_recoverable(&self) -> bool {
        true
    }
}

impl HasDims for Density<'_> {
    fn dim_sizes(&self) -> HashMap<String, u64> {
        HashMap::from([("unconstrained_parameter".to_owned(), self.0.dimension() as u64)])
    }
}

impl CpuLogpFunc for Density<'_> {
    type LogpError = NotFinite;
    type FlowParameters = ();
    type ExpandedVector = Vec<f64>;

    fn dim(&self) -> usize {
        self.0.dimension()
    }

    fn logp(&mut self, position: &[f64], gradient: &mut [f64]) -> Result<f64, NotFinite> {
        let value = self.0.log_density(position, gradient);
        if value.is_finite() { Ok(value) } else { Err(NotFinite) }
    }

    fn expand_vector<R: Rng + ?Sized>(&mut self, _: &mut R, position: &[f64]) -> Result<Vec<f64>, CpuMathError> {
        Ok(position.to_vec())
    }
}

/// Chains of draws of `target`: chain `n` begins at `start(n)`, and `read` keeps what is wanted of each draw. `advance` hears of every
/// draw, tuning included. Chains do not depend on the number of threads.
///
/// # Errors
/// [`Error::Setting`] for settings out of range, [`Error::Shape`] for a start of another dimension, [`Error::Chain`] when a chain cannot
/// begin at its start or go on.
pub fn sample<T: Send>(
    target: &dyn Target,
    settings: &Settings,
    start: &(dyn Fn(usize) -> Vec<f64> + Sync),
    read: &(dyn Fn(&[f64]) -> T + Sync),
    advance: &(dyn Fn() + Sync),
) -> Result<Vec<Chain<T>>> {
    let Settings { chains, draws, max_depth, acceptance, .. } = *settings;
    for (what, value, ok, expected) in [
        ("number of chains", chains as f64, chains > 0, "at least 1"),
        ("number of draws", draws as f64, draws > 0, "at least 1"),
        ("depth of a tree", max_depth as f64, (1..=20).contains(&max_depth), "1 to 20"),
        ("acceptance", acceptance, acceptance > 0.0 && acceptance < 1.0, "a number between 0 and 1"),
    ] {
        if !ok {
            return Err(Error::Setting { what, value, expected });
        }
    }
    (0..chains).into_par_iter().map(|number| run(target, settings, number, &start(number), read, advance)).collect()
}

fn run<T>(
    target: &dyn Target,
    settings: &Settings,
    number: usize,
    start: &[f64],
    read: &(dyn Fn(&[f64]) -> T + Sync),
    advance: &(dyn Fn() + Sync),
) -> Result<Chain<T>> {
    if start.len() != target.dimension() {
        let (got, expected) = (start.len().to_string(), target.dimension().to_string());
        return Err(Error::Shape { what: "start", got, expected });
    }
    let stopped = |problem: String| Error::Chain { chain: number, problem };
    let mut own =
        DiagNutsSettings { num_tune: settings.tune, num_draws: settings.draws, ..DiagNutsSettings::default() };
    own.maxdepth = settings.max_depth;
    own.adapt_options.step_size_settings.target_accept = settings.acceptance;
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    random.set_stream(number as u64);
    let chain = own.new_chain(number as u64, CpuMath::new(Density(target)), &mut random);
    let mut chain = chain.map_err(|error| stopped(format!("{error:#}")))?;
    chain.set_position(start).map_err(|error| stopped(format!("{error:#}")))?;
    let mut kept = Chain { read: Vec::new(), divergences: 0, deepest: 0, gradients: 0, step_size: 0.0 };
    for draw in 0..settings.tune + settings.draws {
        let (position, progress) = chain.draw().map_err(|error| stopped(format!("{error:#}")))?;
        advance();
        if draw >= settings.tune {
            kept.read.push(read(&position));
            kept.divergences += usize::from(progress.diverging);
            kept.deepest += usize::from(progress.num_steps + 1 >= 1 << settings.max_depth);
            kept.gradients += progress.num_gradients;
            kept.step_size = progress.step_size;
        }
    }
    Ok(kept)
}

/// A draw from the prior to begin chain `chain` at, `N(0, sd^2)` in every entry; each chain's is its own.
pub fn prior_draw(dimension: usize, sd: f64, seed: u64, chain: usize) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Apart from the streams of the chains themselves.
    random.set_stream(u64::MAX - chain as u64);
    let normal = Normal::standard();
    (0..dimension).map(|_| sd * normal.inverse_cdf(random.random_range(f64::EPSILON..1.0))).collect()
}
