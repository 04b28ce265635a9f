//! Tokens that stand around a text: what `tokenizer_config.json` says of them, against what `tokenizer.json` does.

use tokenizers::Tokenizer;

use super::settings::Mark;

/// Refuses settings that say otherwise than the tokenizer does: transformers 5 follows the settings, and older versions the tokenizer, but
/// for some classes.
///
/// # Errors
/// One line.
pub(super) fn check(tokenizer: &Tokenizer, [before, after]: [&Mark; 2]) -> Result<(), String> {
    if before.stands.is_none() && after.stands.is_none() {
        return Ok(());
    }
    let alone = tokenizer.encode_fast("a", false).map_err(|error| format!("cannot read a text: {error}"))?;
    let around = tokenizer.encode_fast("a", true).map_err(|error| format!("cannot read a text: {error}"))?;
    let (alone, around) = (alone.get_ids(), around.get_ids());
    let at = around.windows(alone.len().max(1)).position(|window| window == alone).unwrap_or_default();
    let ends = [(before, around.get(..at), "before"), (after, around.get(at + alone.len()..), "after")];
    for (mark, found, place) in ends {
        let (Some(stands), Some(text)) = (mark.stands, &mark.text) else { continue };
        let does = found.is_some_and(|ids| ids.iter().any(|&id| Some(id) == tokenizer.token_to_id(text)));
        if does != stands {
            let does = if does { "a" } else { "no" };
            return Err(format!(
                "puts {does} {text} {place} a text, but {} is {stands} in tokenizer_config.json; versions of transformers differ in which \
                 they follow: make the two agree",
                mark.key
            ));
        }
    }
    Ok(())
}
