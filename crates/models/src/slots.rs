//! Names of a BERT encoder's adapter slots in checkpoints and PEFT files.

use bayeslora_adapters::{Slot, TargetMap};

/// Where a map lies within its block.
fn within_block(map: TargetMap) -> &'static str {
    match map {
        TargetMap::Query => "attention.self.query",
        TargetMap::Key => "attention.self.key",
        TargetMap::Value => "attention.self.value",
        TargetMap::AttentionOutput => "attention.output.dense",
        TargetMap::Intermediate => "intermediate.dense",
        TargetMap::Output => "output.dense",
        TargetMap::Pooler => "pooler.dense",
    }
}

/// Path of a slot's module within the encoder (`encoder.layer.0.attention.self.query`, `pooler.dense`).
pub fn module_path(slot: Slot) -> String {
    match slot.map {
        TargetMap::Pooler => within_block(slot.map).to_owned(),
        map => format!("encoder.layer.{}.{}", slot.block, within_block(map)),
    }
}

/// The slot of a module path, with or without the leading `bert.`, in an encoder of `blocks` blocks.
pub fn slot_of(path: &str, blocks: usize) -> Option<Slot> {
    let path = path.strip_prefix("bert.").unwrap_or(path);
    if path == within_block(TargetMap::Pooler) {
        return Some(pooler_slot(blocks));
    }
    let (block, map) = path.strip_prefix("encoder.layer.")?.split_once('.')?;
    let block: u8 = block.parse().ok().filter(|&block| usize::from(block) < blocks)?;
    let map = TargetMap::ALL.into_iter().find(|&candidate| within_block(candidate) == map)?;
    Some(Slot::new(block, map))
}

/// The pooler's slot: a map of the block after the last.
pub fn pooler_slot(blocks: usize) -> Slot {
    Slot::new(u8::try_from(blocks).unwrap_or(u8::MAX), TargetMap::Pooler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_slots_are_one_to_one() {
        for map in TargetMap::ALL {
            let slot = if map == TargetMap::Pooler { pooler_slot(6) } else { Slot::new(3, map) };
            assert_eq!(slot_of(&module_path(slot), 6), Some(slot));
            assert_eq!(slot_of(&format!("bert.{}", module_path(slot)), 6), Some(slot));
        }
        assert_eq!(slot_of("encoder.layer.6.output.dense", 6), None);
        assert_eq!(slot_of("classifier", 6), None);
    }
}
