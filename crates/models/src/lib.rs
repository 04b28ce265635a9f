//! Backbones with adapter slots: weights, tokenising, packing.
//!
//! A [`Backbone`] is frozen; [`classify`] runs it from any block upwards with an
//! [`AdapterSet`](bayeslora_adapters::AdapterSet) and a [`Draw`](bayeslora_adapters::Draw). Sentences are packed without
//! padding ([`Packing`]), activations carry a sample axis only from the first random adapter on, and the last block is
//! computed at the rows only that are read: the first of each text in an encoder, the last in a decoder.
//!
//! A decoder also scores texts: [`answer`] and [`Sampler::answers`] give the log-likelihoods of a [`Question`]'s answers.

mod adapters;
mod answers;
mod backbone;
mod base;
mod block;
mod buffers;
mod classifier;
mod completions;
mod config;
mod decoder;
mod description;
mod embeddings;
mod engine;
mod error;
mod gguf;
mod head_of;
mod labels;
mod layer;
mod linearised;
mod networks;
mod norm;
mod place;
mod question;
mod quiet;
mod rows;
mod sampler;
mod slots;
mod tape;
mod tokenize;
mod weights;

pub use adapters::{
    POSTERIOR_FILE, POSTERIOR_TENSORS_FILE, SavedAdapter, initial_adapters, save_adapter, target_slots,
};
pub use answers::answer;
pub use backbone::Backbone;
pub use bayeslora_kernels::{Layout, Packing, TokenScore};
pub use classifier::{Head, Output, classify};
pub use config::BertConfig;
pub use decoder::{BiasRule, Biases, BlockKind, Checkpoint, DecoderConfig, Family, Rope, Stored, WindowRule, gguf_of};
pub use error::{Error, Result};
pub use gguf::Gguf;
pub use head_of::HeadOf;
pub use layer::{rows_alone, sample_layer};
pub use linearised::Linearised;
pub use place::{DeviceName, Place, Precision};
pub use question::{Answer, Normalisation, Question};
pub use rows::{RowFile, Values};
pub use sampler::{Hidden, Sampler, Samples};
pub use slots::pooler_slot;
pub use tape::Pass;
pub use tokenize::{Encoded, TOKENIZER_FILE, Tokenizer};
