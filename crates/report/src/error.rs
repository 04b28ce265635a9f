//! The crate's error.

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to report, or a table asks for what there is not.
    #[error("{0}")]
    Report(String),
    /// A statistic that the records do not allow.
    #[error(transparent)]
    Metrics(#[from] bayeslora_metrics::Error),
    /// A figure or a file of lines.
    #[error(transparent)]
    Render(#[from] bayeslora_render::Error),
}
