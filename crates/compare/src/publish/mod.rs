//! Files that are made from records alone.

mod all;
pub(crate) mod generated;
mod overview;
pub(crate) mod report_files;
mod results;

pub use all::{check_all, write_all};
pub use generated::is_stale;
pub use overview::{check_overview, write_overview};
pub use report_files::{check_report, publish, write_report};
