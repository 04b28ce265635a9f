//! Names of an encoder's parts in checkpoints and PEFT files, by family.

use bayeslora_adapters::{Slot, TargetMap};

/// Which naming an encoder follows. DistilBERT (arXiv 1910.01108) computes what BERT does, without segments and pooler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Bert,
    DistilBert,
}

impl Family {
    /// Path of the encoder within a model for classification.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert.",
            Self::DistilBert => "distilbert.",
        }
    }

    /// Path of block `block`, followed by a dot.
    pub(crate) fn block(self, block: u8) -> String {
        match self {
            Self::Bert => format!("encoder.layer.{block}."),
            Self::DistilBert => format!("transformer.layer.{block}."),
        }
    }

    /// The layer normalisations of a block: after the attention, after the feed-forward network.
    pub(crate) fn norms(self) -> [&'static str; 2] {
        match self {
            Self::Bert => ["attention.output.LayerNorm", "output.LayerNorm"],
            Self::DistilBert => ["sa_layer_norm", "output_layer_norm"],
        }
    }

    /// Where a map lies within its block; the pooler, which DistilBERT lacks, in the encoder.
    fn within_block(self, map: TargetMap) -> &'static str {
        match (self, map) {
            (Self::Bert, TargetMap::Query) => "attention.self.query",
            (Self::Bert, TargetMap::Key) => "attention.self.key",
            (Self::Bert, TargetMap::Value) => "attention.self.value",
            (Self::Bert, TargetMap::AttentionOutput) => "attention.output.dense",
            (Self::Bert, TargetMap::Intermediate) => "intermediate.dense",
            (Self::Bert, TargetMap::Output) => "output.dense",
            (Self::DistilBert, TargetMap::Query) => "attention.q_lin",
            (Self::DistilBert, TargetMap::Key) => "attention.k_lin",
            (Self::DistilBert, TargetMap::Value) => "attention.v_lin",
            (Self::DistilBert, TargetMap::AttentionOutput) => "attention.out_lin",
            (Self::DistilBert, TargetMap::Intermediate) => "ffn.lin1",
            (Self::DistilBert, TargetMap::Output) => "ffn.lin2",
            (_, TargetMap::Pooler) => "pooler.dense",
        }
    }

    /// Path of a slot's module within the encoder (`encoder.layer.0.attention.self.query`, `pooler.dense`).
    pub(crate) fn module_path(self, slot: Slot) -> String {
        let within = self.within_block(slot.map);
        if slot.map == TargetMap::Pooler { within.to_owned() } else { self.block(slot.block) + within }
    }

    /// The slot of a module path, with or without the encoder's own, in an encoder of `blocks` blocks.
    pub(crate) fn slot_of(self, path: &str, blocks: usize) -> Option<Slot> {
        let path = path.strip_prefix(self.prefix()).unwrap_or(path);
        let within = (0..blocks).filter_map(|block| u8::try_from(block).ok());
        let mut slots = within
            .flat_map(|block| TargetMap::ALL.map(|map| Slot::new(block, map)))
            .filter(|slot| slot.map != TargetMap::Pooler)
            .chain([pooler_slot(blocks)]);
        slots.find(|&slot| self.module_path(slot) == path)
    }
}

/// Most blocks of an encoder: those after are the pooler's and the head's in noise addresses, and the last is [`Slot::NONE`]'s.
pub(crate) const MOST_BLOCKS: u8 = u8::MAX - 2;

/// The pooler's slot: a map of the block after the last.
pub fn pooler_slot(blocks: usize) -> Slot {
    // A configuration of more blocks is refused.
    Slot::new(u8::try_from(blocks).unwrap_or(MOST_BLOCKS), TargetMap::Pooler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_slots_are_one_to_one() {
        for family in [Family::Bert, Family::DistilBert] {
            for map in TargetMap::ALL {
                let slot = if map == TargetMap::Pooler { pooler_slot(6) } else { Slot::new(3, map) };
                let path = family.module_path(slot);
                assert_eq!(family.slot_of(&path, 6), Some(slot));
                assert_eq!(family.slot_of(&format!("{}{path}", family.prefix()), 6), Some(slot));
            }
            assert_eq!(family.slot_of("encoder.layer.6.output.dense", 6), None);
            assert_eq!(family.slot_of("transformer.layer.6.ffn.lin2", 6), None);
            assert_eq!(family.slot_of("classifier", 6), None);
        }
        assert_eq!(Family::Bert.slot_of("distilbert.transformer.layer.0.ffn.lin1", 6), None);
    }
}
