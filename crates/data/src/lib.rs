//! Assets (model weights and data sets, found or downloaded, always verified) and the tasks made from them.
//!
//! This is the only crate that may use the network.

pub mod assets;
mod error;
mod progress;
mod suggest;
pub mod tasks;

pub use error::{Error, Result};
pub use progress::{Progress, Silent};
pub use suggest::{unknown, with_suggestion};
