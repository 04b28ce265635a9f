//! What the programs write to their terminal: lines on standard output and standard error, and progress.
//!
//! Nothing else in the workspace prints. `println!` and `eprintln!` panic when the reader of a pipe has gone away or the device is full;
//! the functions here do not.

mod lines;
mod progress;

pub use lines::{print, say};
pub use progress::{Stages, Terminal};
