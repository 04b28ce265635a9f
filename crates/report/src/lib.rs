//! Records and a definition in; pages, tables and figures out.
//!
//! Everything here is a pure function: no file, no clock, no network is touched. A page is a [`bayeslora_render::Page`] value until a format
//! writes it, once.

mod aggregate;
mod best;
mod beyond;
mod beyond_test;
mod columns;
mod comparison;
mod contrast_test;
mod contrasts;
mod cost;
mod curves;
mod definition;
mod detectable;
mod differences;
mod effect;
mod equivalence;
mod equivalence_test;
mod error;
mod families;
mod figures;
mod latex;
mod leaderboard;
mod page;
mod passes;
mod power;
mod provenance;
mod ranks;
mod report;
mod row;
mod score;
mod splice;
mod summary;
mod tables;
mod temperature;

pub use aggregate::Aggregate;
pub use comparison::{Comparison, Difference, StandardError};
pub use definition::{Contrast, Definition, ReadmeColumn, ReadmeTable, RowDefinition, TestSet, one_reading_each};
pub use effect::{Effect, EffectName};
pub use error::{Error, Result};
pub use families::{compared, tested_metrics};
pub use leaderboard::leaderboard;
pub use ranks::{Task, ranks};
pub use report::Report;
pub use score::Score;
pub use splice::splice;
