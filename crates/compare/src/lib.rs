//! Tasks, methods, experiments, runs, records and reports.

pub mod assets;
pub mod record;

mod error;

pub use error::{Error, Result};
