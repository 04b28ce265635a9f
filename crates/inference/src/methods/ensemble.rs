//! Deep ensemble of LoRA adapters (methods.md, section 5): independent initial values, head and order of the data;
//! probabilities averaged over members. With `bootstrap` each member also has its own resample of the training set.

use bayeslora_adapters::PosteriorSettings;
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::parameters::{check_count, read, recorded};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::recipe::{Recipe, TrainingSet};
use crate::train::train;
use bayeslora_records::Reading;

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Ensemble {
    /// Members, at least 2. Default: 5.
    members: u32,
    /// Whether each member is trained on as many examples drawn with replacement. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    bootstrap: bool,
}

impl Default for Ensemble {
    fn default() -> Self {
        Self { members: 5, bootstrap: false }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: Ensemble = read(parameters)?;
    check_count("members", method.members, 2)?;
    Ok(Box::new(method))
}

impl Method for Ensemble {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Members]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("ensemble", self)
    }

    fn members(&self) -> u32 {
        self.members
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        // Keys of records are made of the settings: `bootstrap` is left out of them where it is off, as before it existed.
        let training_set = if self.bootstrap { TrainingSet::Bootstrap } else { TrainingSet::Whole };
        let recipe = Recipe { training_set, ..Recipe::plain(PosteriorSettings::Deterministic) };
        independent(context, &recipe, self.members)
    }
}

/// So many fits that share nothing but the data: initial values, head and order of the data are their own.
pub(super) fn independent(context: &FitContext<'_>, recipe: &Recipe<'_>, members: u32) -> Result<Fitted> {
    let mut fits = Vec::new();
    // Member 0 of a unit is the MLE fit of the same seed; members 1 to M share nothing with it.
    for member in 1..=members {
        context.progress.stage(&format!("member {member} of {members}"));
        fits.push(train(context, recipe, member.into())?);
    }
    Ok(Fitted::ensemble(fits))
}
