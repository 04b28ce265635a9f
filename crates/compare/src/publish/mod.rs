//! Files that are made from records alone.

mod all;
pub(crate) mod generated;
pub(crate) mod report_files;

pub use all::{check_all, write_all};
pub use generated::is_stale;
pub use report_files::{check_report, publish, write_report};
