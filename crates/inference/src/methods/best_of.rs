//! The best of several plain fits on the validation set: what the work of an ensemble buys without averaging.
//!
//! Fits differ in initial values, head and order of the data. They are the members of the ensemble of the same seed, so that a table shows
//! what averaging them adds.

use bayeslora_adapters::PosteriorSettings;
use serde::{Deserialize, Serialize};

use super::ensemble::independent;
use super::method::Method;
use super::parameters::{check_count, read, recorded};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::recipe::Recipe;
use bayeslora_records::{FitRecord, Reading};

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct BestOf {
    /// Fits to choose from, at least 2. Default: 5.
    fits: u32,
}

impl Default for BestOf {
    fn default() -> Self {
        Self { fits: 5 }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: BestOf = read(parameters)?;
    check_count("fits", method.fits, 2)?;
    Ok(Box::new(method))
}

impl Method for BestOf {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Mean]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("best-of", self)
    }

    fn trainings(&self) -> u32 {
        self.fits
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        let recipe = Recipe::plain(PosteriorSettings::Deterministic);
        let Fitted { members, mut record, laplace } = independent(context, &recipe, self.fits)?;
        let least = kept_nll(&record).enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b));
        let chosen = least.map_or(0, |(place, _)| place);
        record.chosen.insert("fit".to_owned(), (chosen + 1) as f64);
        record.validation_nll = vec![record.validation_nll.swap_remove(chosen)];
        record.best_epoch = vec![record.best_epoch.swap_remove(chosen)];
        Ok(Fitted { members: members.into_iter().skip(chosen).take(1).collect(), record, laplace })
    }
}

/// Validation NLL of each fit at the epoch whose parameters were kept.
fn kept_nll(record: &FitRecord) -> impl Iterator<Item = f64> {
    let kept = |(nll, epoch): (&Vec<f64>, &u32)| nll.get((*epoch as usize).saturating_sub(1)).copied();
    record.validation_nll.iter().zip(&record.best_epoch).map(move |fit| kept(fit).unwrap_or(f64::INFINITY))
}
