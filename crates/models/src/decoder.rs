//! Decoders: language models that read from left to right, of every family that is described in [`Family`].

mod checkpoint;
mod config;
mod families;
mod keys;
mod parameters;
mod refusals;
mod ropes;
mod sizes;
mod stored;
mod windows;

pub use checkpoint::Checkpoint;
pub use config::{Biases, DecoderConfig};
pub use families::{BiasRule, Family, WindowRule};
pub use ropes::Rope;
pub use stored::Stored;
pub use windows::BlockKind;

pub(crate) use config::by_head_width;
pub(crate) use families::family_of_gguf;
pub(crate) use sizes::Sizes;
