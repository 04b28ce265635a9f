//! Where an adapter sits: a map of a transformer block.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A linear map of a transformer block that an adapter may be added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum TargetMap {
    /// Query projection.
    Query = 0,
    /// Key projection.
    Key = 1,
    /// Value projection.
    Value = 2,
    /// Output projection of the attention.
    AttentionOutput = 3,
    /// First map of the feed-forward network.
    Intermediate = 4,
    /// Second map of the feed-forward network.
    Output = 5,
    /// The pooler's map (above the last block).
    Pooler = 6,
    /// The gate of the feed-forward network, in blocks that have one.
    Gate = 7,
}

impl TargetMap {
    /// Every map, in the order of computation.
    pub const ALL: [Self; 8] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::AttentionOutput,
        Self::Gate,
        Self::Intermediate,
        Self::Output,
        Self::Pooler,
    ];

    /// The word used in experiment files and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Key => "key",
            Self::Value => "value",
            Self::AttentionOutput => "attention-output",
            Self::Intermediate => "intermediate",
            Self::Output => "output",
            Self::Pooler => "pooler",
            Self::Gate => "gate",
        }
    }
}

impl fmt::Display for TargetMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An adapter slot: one map of one block (the pooler counts as a map of the block after the last).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Block, from 0 at the bottom.
    pub block: u8,
    /// Map within the block.
    pub map: TargetMap,
}

impl Slot {
    /// Stands where noise belongs to no slot.
    pub const NONE: Self = Self { block: u8::MAX, map: TargetMap::Pooler };

    /// The slot of `map` in `block`.
    pub const fn new(block: u8, map: TargetMap) -> Self {
        Self { block, map }
    }

    /// A number unique to the slot, used in noise addresses.
    pub fn code(self) -> u16 {
        u16::from(self.block) << 8 | self.map as u16
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} {}", self.block, self.map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_codes_are_unique() {
        let mut codes: Vec<u16> =
            (0..40).flat_map(|block| TargetMap::ALL.map(|map| Slot::new(block, map).code())).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), 40 * TargetMap::ALL.len());
        assert!(!codes.contains(&Slot::NONE.code()));
    }
}
