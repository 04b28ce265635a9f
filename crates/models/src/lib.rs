//! Backbones with adapter slots: weights, tokenising, packing.
//!
//! A [`Bert`] is frozen; [`classify`] runs it from any block upwards with an
//! [`AdapterSet`](bayeslora_adapters::AdapterSet) and a [`Draw`](bayeslora_adapters::Draw). Sentences are packed without
//! padding ([`Packing`]), activations carry a sample axis only from the first random adapter on, and the last block is
//! computed at the `[CLS]` rows only.

mod adapters;
mod base;
mod bert;
mod classifier;
mod config;
mod decoder;
mod error;
mod gguf;
mod labels;
mod layer;
mod linearised;
mod quiet;
mod sampler;
mod slots;
mod tokenize;
mod weights;

pub use adapters::{
    POSTERIOR_FILE, POSTERIOR_TENSORS_FILE, SavedAdapter, initial_adapters, save_adapter, target_slots,
};
pub use bayeslora_kernels::Packing;
pub use bert::{Bert, Pass};
pub use classifier::{Head, Output, classify};
pub use config::BertConfig;
pub use decoder::{BiasRule, Biases, BlockKind, Checkpoint, DecoderConfig, Family, Rope, Stored, WindowRule};
pub use error::{Error, Result};
pub use gguf::Gguf;
pub use layer::{rows_alone, sample_layer};
pub use linearised::Linearised;
pub use sampler::{Hidden, Sampler, Samples};
pub use slots::pooler_slot;
pub use tokenize::{Encoded, TOKENIZER_FILE, Tokenizer};
