//! An adapter's posterior with the dropout that a prediction asks for in place of its own.

use bayeslora_adapters::{DropoutSite, MaskScope, PosteriorSettings};

/// The posterior found with an adapter, with other dropout settings put in where they are given.
///
/// # Errors
/// What to leave out, for an adapter without dropout to change.
pub(crate) fn with_dropout(
    found: PosteriorSettings,
    replaced: (Option<DropoutSite>, Option<MaskScope>, Option<f64>),
) -> Result<PosteriorSettings, String> {
    if replaced == (None, None, None) {
        return Ok(found);
    }
    let (site, scope, dropout, blocks) = match found {
        PosteriorSettings::Dropout { site, scope, dropout } => (site, scope, dropout, None),
        PosteriorSettings::DropoutInBlocks { blocks, site, scope, dropout } => (site, scope, dropout, Some(blocks)),
        PosteriorSettings::Deterministic => (DropoutSite::Input, MaskScope::Token, 0.0, None),
        PosteriorSettings::Contextual(_)
        | PosteriorSettings::Gaussian(_)
        | PosteriorSettings::RankGaussian(_)
        | PosteriorSettings::Lrvd(_)
        | PosteriorSettings::Laplace(_) => {
            return Err(
                "the adapter has Gaussian noise (C-LoRA, BLoB, TFB, ScalaBL, LRVD, Laplace), without dropout to change; leave out \
                 --site, --scope and --dropout"
                    .to_owned(),
            );
        }
    };
    let (site, scope) = (replaced.0.unwrap_or(site), replaced.1.unwrap_or(scope));
    let dropout = replaced.2.unwrap_or(dropout);
    Ok(match blocks {
        Some(blocks) => PosteriorSettings::DropoutInBlocks { blocks, site, scope, dropout },
        None => PosteriorSettings::Dropout { site, scope, dropout },
    })
}
