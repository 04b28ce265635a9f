//! Files that are made from records alone.

pub(crate) mod generated;
pub(crate) mod report_files;

pub use generated::is_stale;
pub use report_files::{check_report, publish, write_report};
