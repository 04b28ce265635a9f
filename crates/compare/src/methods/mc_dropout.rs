//! MC-dropout LoRA (BayesLoRA v1, arXiv 2506.22809; methods.md, section 4): dropout inside the adapters, in training and
//! at prediction. Only the adapters have dropout; the backbone has none.

use bayeslora_adapters::{DropoutSite, MaskScope, PosteriorSettings};
use serde::{Deserialize, Serialize};

use super::{Method, Reading, check_dropout, read, recorded};
use crate::Result;
use crate::train::{Bench, Fitted, Recipe, train};

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct McDropout {
    /// Where the multipliers act: `input` (PEFT's `lora_dropout`), `rank` or `weight`.
    site: DropoutSite,
    /// `token`: reach of one draw, `token`, `sequence` or `sample`.
    #[serde(default = "token")]
    scope: MaskScope,
    /// Dropout probability `p`, in [0, 1).
    dropout: f64,
}

fn token() -> MaskScope {
    MaskScope::Token
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: McDropout = read(parameters)?;
    check_dropout(method.dropout)?;
    Ok(Box::new(method))
}

impl Method for McDropout {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Mean, Reading::Sampled]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("mc-dropout", self)
    }

    fn fit(&self, bench: &Bench<'_>) -> Result<Fitted> {
        let Self { site, scope, dropout } = *self;
        train(bench, &Recipe::plain(PosteriorSettings::Dropout { site, scope, dropout }), 0)
    }
}
