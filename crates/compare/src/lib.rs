//! Tasks, methods, experiments, runs, records and reports.

pub mod record;
