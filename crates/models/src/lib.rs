//! Backbones with adapter slots: weights, tokenising, packing.
