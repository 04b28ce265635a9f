//! Experiments: planning, running, scoring, publishing, and studies of their fits.
//!
//! [`Experiment::load`] reads an experiment file, [`Experiment::plan`] resolves one of its profiles, and [`run()`] computes
//! what is missing of it: every (method, task, seed) unit fits adapters on a frozen backbone and stores predictive
//! samples and their scores. A run ends at its records; [`publish()`] makes tables and figures of them.

mod curve;
mod error;
mod experiment;
mod publish;
mod run;
mod scoring;
mod studies;

pub use curve::{check_curve, write_curve};
pub use error::{Error, Result};
pub use experiment::{
    Changes, CurveSettings, Experiment, MethodEntry, Model, ModelEntry, ModelFolder, Plan, PlannedMethod, Profile, Row,
    Space, TuningSettings,
};
pub use publish::{
    check_all, check_overview, check_report, is_stale, publish, write_all, write_overview, write_report,
};
pub use run::{COMMIT, RunSummary, run};
pub use studies::couplings::{CouplingsOptions, measure_couplings};
pub use studies::geometry::{GeometryOptions, measure_geometry};
pub use studies::paper::measure_paper;
pub use studies::reference::{PosteriorOptions, measure_posterior};
pub use studies::tuning::{check_tuning, tune};
pub use studies::width::{WidthOptions, measure_widths};
