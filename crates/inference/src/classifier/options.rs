//! How to predict, and the posterior that a prediction has with it.

use bayeslora_adapters::{Coupling, DropoutSite, MaskScope, PosteriorSettings};
use bayeslora_models::Normalisation;

use crate::questions::Readout;
use crate::resources::Resources;

/// How to predict.
#[derive(Debug, Clone)]
pub struct InferenceOptions {
    /// Monte-Carlo samples; 0 for one deterministic pass at the mean. By default 20; draws of Gaussian logits, which cost next to nothing,
    /// are 1000, or as many as a Laplace posterior says.
    pub samples: Option<u32>,
    /// How the samples are coupled.
    pub coupling: Coupling,
    /// Stops sampling a text once its class is known at this error level; `samples` is then the cap.
    pub adaptive: Option<f64>,
    /// Takes the samples from the linearised predictive instead of the network.
    pub linearised: bool,
    /// Seed of the samples.
    pub seed: u64,
    /// Texts are cut to this many tokens; the model's positions by default.
    pub max_tokens: Option<usize>,
    /// Answers that a language model chooses from; none for an adapter with classes of its own, or where each text has its own.
    pub choices: Vec<String>,
    /// How answers are read: by default as tokens where each is one and no normalisation is asked for, else as texts.
    pub readout: Option<Readout>,
    /// What becomes of the log-likelihoods of answers that are texts; their mean over tokens by default.
    pub normalisation: Option<Normalisation>,
    /// Whether completions are scored, which needs the whole language head.
    pub completions: bool,
    /// Replaces the adapter's dropout site.
    pub site: Option<DropoutSite>,
    /// Replaces the adapter's mask scope.
    pub scope: Option<MaskScope>,
    /// Replaces the adapter's dropout probability.
    pub dropout: Option<f64>,
    /// Device, precision and memory.
    pub resources: Resources,
}

/// The posterior found with an adapter, with the options' dropout settings put in.
pub(super) fn replaced(found: PosteriorSettings, options: &InferenceOptions) -> Result<PosteriorSettings, String> {
    if options.site.is_none() && options.scope.is_none() && options.dropout.is_none() {
        return Ok(found);
    }
    let (site, scope, dropout, blocks) = match found {
        PosteriorSettings::Dropout { site, scope, dropout } => (site, scope, dropout, None),
        PosteriorSettings::DropoutInBlocks { blocks, site, scope, dropout } => (site, scope, dropout, Some(blocks)),
        PosteriorSettings::Deterministic => (DropoutSite::Input, MaskScope::Token, 0.0, None),
        PosteriorSettings::Contextual(_)
        | PosteriorSettings::Gaussian(_)
        | PosteriorSettings::RankGaussian(_)
        | PosteriorSettings::RankSwitch(_)
        | PosteriorSettings::WeightGaussian(_)
        | PosteriorSettings::Inducing(_)
        | PosteriorSettings::Lrvd(_)
        | PosteriorSettings::Laplace(_) => {
            return Err(
                "the adapter has noise of its own (C-LoRA, BLoB, TFB, ScalaBL, DALorRA, IVON, inducing, LRVD, Laplace), without dropout to change; leave out \
                 --site, --scope and --dropout"
                    .to_owned(),
            );
        }
    };
    let site = options.site.unwrap_or(site);
    let scope = options.scope.unwrap_or(scope);
    let dropout = options.dropout.unwrap_or(dropout);
    Ok(match blocks {
        Some(blocks) => PosteriorSettings::DropoutInBlocks { blocks, site, scope, dropout },
        None => PosteriorSettings::Dropout { site, scope, dropout },
    })
}
