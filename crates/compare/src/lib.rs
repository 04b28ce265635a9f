//! Tasks, methods, experiments, runs, records and reports.

pub mod assets;
pub mod record;
pub mod tasks;

mod error;

pub use error::{Error, Result};
