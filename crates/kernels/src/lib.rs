//! Operations of adapted networks, one a file: a plain twin and a fast path each.
//!
//! Candle's own softmax, layer normalisation and erf either cut gradients or run on one thread without vector registers;
//! these do neither, and their gradients are written by hand. Each operation picks its path itself: the fast one for f32 on
//! a processor, else the plain twin composed of candle operations. The tests hold the two against each other, values and
//! gradients.
//!
//! An operation that draws noise is told where ([`Draws`]): words are pure functions of their [`Counter`]. All `unsafe` code
//! of adapters and networks is here.

mod accelerator;
mod activation;
mod affine;
mod attention;
mod averages;
mod draws;
mod dropout;
mod frozen;
mod frozen_linear;
mod gated;
mod half;
mod keep;
mod layer_norm;
mod likelihood;
mod math;
mod multiply;
mod packed;
mod packing;
mod product;
mod rms_norm;
mod rope;
mod storage;
mod transpose;
mod turn;
mod vectorised;
mod weight_dropout;
#[cfg(target_arch = "x86_64")]
mod wide;
mod words;

#[cfg(test)]
mod testing;

pub use accelerator::accelerator;
pub use activation::Activation;
pub use affine::affine;
pub use attention::{AttentionScratch, Context, Heads, Mask, attend, attend_within, attention, attention_within};
pub use averages::{Averages, TokenScore};
pub use draws::Draws;
pub use dropout::dropout;
pub use frozen::{Frozen, FrozenScratch};
pub use frozen_linear::{FrozenLinear, LowRankTerm, LowRankValues};
pub use gated::{gate_into, gated};
pub use keep::Keep;
pub use layer_norm::{add_and_normalise, add_layer_norm};
pub use likelihood::{LanguageMap, Target, log_likelihoods};
pub use multiply::multiply;
pub use packed::Packed;
pub use packing::{Layout, Packing};
pub use product::{Onto, Threads, product, product_with_rows};
pub use rms_norm::{rms_norm, rms_normalise};
pub use rope::Rotary;
pub use storage::borrow;
pub use turn::Turn;
pub use vectorised::vectorised;
pub use weight_dropout::weight_dropout;
pub use words::{Counter, philox};
