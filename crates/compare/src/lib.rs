//! Tasks, methods, experiments, runs, records and reports.
//!
//! [`Experiment::load`] reads an experiment file, [`Experiment::plan`] resolves one of its profiles, and [`run`] computes
//! what is missing of it: every (method, task, seed) unit fits adapters on a frozen backbone and stores predictive
//! samples; scores, tables and figures are pure functions of what was stored.

mod beyond;
mod couplings;
mod curve;
mod differences;
mod distances;
mod error;
mod experiment;
mod generated;
mod geometry;
mod overview;
mod paper;
mod provenance;
mod report_files;
mod run;
mod score;
mod tuning;

pub mod report;

pub use curve::{check_curve, write_curve};
pub use error::{Error, Result};
pub use experiment::{
    Changes, CurveSettings, Experiment, MethodEntry, Model, ModelEntry, ModelFolder, Plan, PlannedMethod, Profile,
    Space, TuningSettings,
};
pub use generated::is_stale;
pub use overview::{check_overview, write_overview};
pub use provenance::COMMIT;
pub use report_files::{check_report, write_report};
pub use run::{
    CouplingsOptions, GeometryOptions, RunSummary, measure_couplings, measure_geometry, measure_paper, run, tune,
};
pub use tuning::check_tuning;
