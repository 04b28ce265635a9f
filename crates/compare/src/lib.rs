//! Tasks, methods, experiments, runs, records and reports.
//!
//! [`Experiment::load`] reads an experiment file, [`Experiment::plan`] resolves one of its profiles, and [`run`] computes
//! what is missing of it: every (method, task, seed) unit fits adapters on a frozen backbone and stores predictive
//! samples; scores, tables and figures are pure functions of what was stored.

mod adaptive;
mod beyond;
mod couplings;
mod curve;
mod differences;
mod distances;
mod error;
mod experiment;
mod generated;
mod geometry;
mod inference;
mod laplace;
mod member;
mod optimise;
mod overview;
mod paper;
mod predict;
mod prefix;
mod provenance;
mod report_files;
mod run;
mod score;
mod train;
mod tuning;

pub mod methods;
pub mod report;

pub use adaptive::Decision;
pub use curve::{check_curve, write_curve};
pub use error::{Error, Result};
pub use experiment::{
    AdapterSettings, Changes, CurveSettings, Experiment, MethodEntry, Model, ModelEntry, ModelFolder, Plan,
    PlannedMethod, PredictionSettings, Profile, Schedule, Selection, Space, TrainingSettings, TuningSettings,
};
pub use generated::is_stale;
pub use inference::{Classifier, InferenceOptions, SAMPLES, TextPrediction};
pub use laplace::Laplace;
pub use member::Member;
pub use optimise::{Optimiser, Rule, linear_schedule};
pub use overview::{check_overview, write_overview};
pub use predict::Predictor;
pub use prefix::{Batch, Sentences};
pub use provenance::COMMIT;
pub use report_files::{check_report, write_report};
pub use run::{
    CouplingsOptions, GeometryOptions, RunSummary, measure_couplings, measure_geometry, measure_paper, run, tune,
};
pub use train::{Bench, DivergenceUpdate, Fitted, Objective, Position, Recipe, TrainingSet, train};
pub use tuning::check_tuning;
