//! Which blocks see the whole text and which a window of it.

use super::families::{Family, WindowRule};
use super::keys::{Keys, Problem};

/// What a block's attention sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockKind {
    /// Keys that a query sees, its own among them: key `j` is seen by query `i` when `i - window < j <= i`. None: all up to its own.
    pub window: Option<usize>,
    /// Which of the configuration's ropes its positions are.
    pub rope: usize,
}

/// `layer_types` of a block without a window, and of one with it.
const TYPES: [&str; 2] = ["full_attention", "sliding_attention"];

impl Family {
    /// The kinds of the blocks, given which have a window.
    pub(crate) fn kinds(&self, windows: impl IntoIterator<Item = Option<usize>>) -> Vec<BlockKind> {
        let is_apart = self.theta.1.is_some();
        let kind = |window: Option<usize>| BlockKind { window, rope: usize::from(is_apart && window.is_some()) };
        windows.into_iter().map(kind).collect()
    }
}

/// The kind of every block of a configuration.
pub(crate) fn read(keys: &Keys<'_>, family: &Family, blocks: usize) -> Result<Vec<BlockKind>, Problem> {
    let (windowed, window) = by_rule(keys, family, blocks)?;
    let windowed = match layer_types(keys, blocks)? {
        None => windowed,
        Some(types) => {
            // These families read them; in others they must say what is so anyway.
            let is_read = matches!(family.windows, WindowRule::From { .. } | WindowRule::AllButLastOf { .. });
            if !is_read && types != windowed {
                return Err(format!("layer_types does not fit a {}; remove it", family.name));
            }
            if window.is_none() && types.contains(&true) {
                return Err(format!(
                    "layer_types has {}, but there is no window; expected {} only, or a sliding_window in use",
                    TYPES[1], TYPES[0]
                ));
            }
            types
        }
    };
    Ok(family.kinds(windowed.into_iter().map(|has| window.filter(|_| has))))
}

/// Which blocks have a window where no `layer_types` says so, and how long it is.
fn by_rule(keys: &Keys<'_>, family: &Family, blocks: usize) -> Result<(Vec<bool>, Option<usize>), Problem> {
    let key = "sliding_window";
    // A null is no window.
    let given = |default: usize| {
        let given = keys.size(key)?;
        Ok::<_, Problem>(if keys.is_given(key) { given } else { Some(default) })
    };
    Ok(match family.windows {
        WindowRule::Never => (vec![false; blocks], None),
        WindowRule::Every { window } => {
            let window = given(window)?;
            (vec![window.is_some(); blocks], window)
        }
        WindowRule::From { window, block } => {
            let is_used = keys.truth("use_sliding_window")?.unwrap_or(false);
            let window = if is_used { given(window)? } else { None };
            let from = keys.count("max_window_layers")?.unwrap_or(block);
            ((0..blocks).map(|block| window.is_some() && block >= from).collect(), window)
        }
        WindowRule::AllButLastOf { window, pattern, key: period } => {
            // Blocks with a window have other positions as well: there is no such family without one.
            let window = given(window)?.ok_or_else(|| keys.refused(key, "a whole number of at least 1"))?;
            let period = period.map(|period| keys.size(period)).transpose()?.flatten().unwrap_or(pattern);
            ((1..=blocks).map(|block| !block.is_multiple_of(period)).collect(), Some(window))
        }
    })
}

/// Whether `layer_types` gives each block a window, where it is given.
fn layer_types(keys: &Keys<'_>, blocks: usize) -> Result<Option<Vec<bool>>, Problem> {
    let Some(types) = keys.find("layer_types") else { return Ok(None) };
    let expected = || format!("{blocks} of {} and {}, one for each block", TYPES[0], TYPES[1]);
    let wrong = || keys.refused("layer_types", &expected());
    let types = types.as_array().filter(|types| types.len() == blocks).ok_or_else(wrong)?;
    let windowed = types.iter().map(|kind| TYPES.iter().position(|known| kind == known).map(|place| place == 1));
    windowed.collect::<Option<_>>().map(Some).ok_or_else(wrong)
}
