//! MC-dropout LoRA (BayesLoRA v1, arXiv 2506.22809; methods.md, section 4): dropout inside the adapters, in training and
//! at prediction. Only the adapters have dropout; the backbone has none.

use bayeslora_adapters::{Blocks, DropoutSite, MaskScope, PosteriorSettings};
use serde::{Deserialize, Serialize};

use super::method::{Dropout, Method};
use super::parameters::{check_dropout, read, recorded};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::recipe::Recipe;
use crate::train::train;
use bayeslora_records::Reading;

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct McDropout {
    /// Where the multipliers act: `input` (PEFT's `lora_dropout`), `rank` or `weight`.
    site: DropoutSite,
    /// Reach of one draw: `token`, `sequence` or `sample`. Default: `token`.
    #[serde(default = "token")]
    scope: MaskScope,
    /// Dropout probability `p`, in [0, 1).
    dropout: f64,
    /// Blocks whose adapters have dropout, in training and at prediction; each must have an adapter. The others stay deterministic, so
    /// that samples share everything below the lowest of these blocks. The pooler counts as a map of the block after the last.
    /// Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<Blocks>,
    /// Whether the linearised predictive, which needs no sampling of the network, is a row of the tables too. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    linearised: bool,
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
        // What the method is judged by stands last.
        if self.linearised {
            vec![Reading::Mean, Reading::Linearised, Reading::Sampled]
        } else {
            vec![Reading::Mean, Reading::Sampled]
        }
    }

    fn settings(&self) -> serde_json::Value {
        recorded("mc-dropout", self)
    }

    fn parameters_of_readings(&self) -> &'static [&'static str] {
        &["linearised"]
    }

    fn dropout(&self) -> Option<Dropout> {
        Some(Dropout { site: self.site, scope: self.scope, probability: self.dropout })
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        let Self { site, scope, dropout, blocks, .. } = *self;
        let posterior = match blocks {
            None => PosteriorSettings::Dropout { site, scope, dropout },
            Some(blocks) => {
                check_adapted(blocks, context)?;
                PosteriorSettings::DropoutInBlocks { blocks, site, scope, dropout }
            }
        };
        train(context, &Recipe::plain(posterior), 0)
    }
}

/// Refuses blocks without adapters: their noise would silently be missing.
fn check_adapted(blocks: Blocks, context: &FitContext<'_>) -> Result<()> {
    let adapted = context.slots.iter().map(|slot| slot.block).collect::<std::collections::BTreeSet<_>>();
    match blocks.numbers().find(|block| !adapted.contains(block)) {
        None => Ok(()),
        Some(block) => {
            let words: Vec<String> = adapted.iter().map(u8::to_string).collect();
            Err(super::parameters::refused(
                format!("block {block} is among the blocks of mc-dropout and has no adapter"),
                format!("the adapted blocks are {}", words.join(", ")),
            ))
        }
    }
}
