//! What can fail.

use plotters::drawing::DrawingAreaErrorKind;

/// A result of this crate.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// What cannot be drawn or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A figure that its library refuses: an empty range, or an area that is too small.
    #[error("a figure cannot be drawn: {0}")]
    Figure(String),
    /// A line that cannot be written as CSV.
    #[error("{name}: a line cannot be written as CSV: {problem}")]
    Csv {
        /// File that it belongs to.
        name: String,
        /// What the writer says.
        problem: String,
    },
}

impl Error {
    /// From whatever a drawing library says.
    pub fn new(problem: impl std::fmt::Display) -> Self {
        Self::Figure(problem.to_string())
    }
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for Error {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::new(error)
    }
}
