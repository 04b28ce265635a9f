//! Sizes of a decoder, and what they must be to go together.

use super::families::Family;
use super::keys::{Keys, Problem};
use crate::slots::MOST_BLOCKS;

/// Sizes as a configuration has them.
pub(crate) struct Sizes {
    pub(crate) vocab: usize,
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) blocks: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) max_positions: usize,
}

/// Widest head: far beyond any, and frequencies of it can be held.
const WIDEST_HEAD: usize = 1 << 16;

impl Sizes {
    /// The sizes in the keys of a configuration.
    pub(crate) fn read(keys: &Keys<'_>, family: &Family) -> Result<Self, Problem> {
        let default = |key: &str| family.sizes.iter().find(|(known, _)| *known == key).map(|(_, size)| *size);
        let size = |key: &str| {
            let missing =
                || format!("has no {}; expected the configuration of a {} model", keys.spelt(key), family.name);
            keys.size(key)?.or(default(key)).ok_or_else(missing)
        };
        // A null is no size of its own, and an absent key the family's default.
        let own = |key: &str| Ok::<_, Problem>(if keys.is_given(key) { keys.size(key)? } else { default(key) });
        let (hidden, heads) = (size("hidden_size")?, size("num_attention_heads")?);
        let head_dim = match own("head_dim")? {
            Some(width) => width,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                let (width_key, heads_key) = (keys.spelt("hidden_size"), keys.spelt("num_attention_heads"));
                return Err(format!("{width_key} {hidden} is not a multiple of {heads_key} {heads}"));
            }
        };
        let sizes = Self {
            vocab: size("vocab_size")?,
            hidden,
            intermediate: size("intermediate_size")?,
            blocks: size("num_hidden_layers")?,
            heads,
            kv_heads: own("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            max_positions: size("max_position_embeddings")?,
        };
        sizes.check(|key| keys.spelt(key))?;
        Ok(sizes)
    }

    /// Refuses sizes that do not go together; `spelt` gives a key of transformers as the file has it.
    pub(crate) fn check(&self, spelt: impl Fn(&'static str) -> String) -> Result<(), Problem> {
        let Self { heads, kv_heads, head_dim, blocks, .. } = *self;
        if !heads.is_multiple_of(kv_heads) {
            let (heads_key, kv_key) = (spelt("num_attention_heads"), spelt("num_key_value_heads"));
            return Err(format!("{heads_key} {heads} is not a multiple of {kv_key} {kv_heads}"));
        }
        if !head_dim.is_multiple_of(2) {
            return Err(format!(
                "{} is {head_dim}; expected an even number: positions turn pairs of values",
                spelt("head_dim")
            ));
        }
        // Products of sizes that no memory could hold would overflow.
        for (key, size, most) in [
            ("vocab_size", self.vocab, u32::MAX as usize),
            ("hidden_size", self.hidden, u32::MAX as usize),
            ("intermediate_size", self.intermediate, u32::MAX as usize),
            ("max_position_embeddings", self.max_positions, u32::MAX as usize),
            ("num_attention_heads", heads, WIDEST_HEAD),
            ("head_dim", head_dim, WIDEST_HEAD),
            ("num_hidden_layers", blocks, usize::from(MOST_BLOCKS)),
        ] {
            if size > most {
                return Err(format!("{} is {size}; expected 1 to {most}", spelt(key)));
            }
        }
        Ok(())
    }
}
