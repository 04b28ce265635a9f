//! What can go wrong with a simulation.

/// A simulation that gives no table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A test refused simulated data.
    #[error("null simulation of {what}: {source}")]
    Refused {
        /// Which simulation.
        what: String,
        /// What the test objected to.
        source: bayeslora_metrics::Error,
    },
    /// The table cannot be encoded.
    #[error("table of null simulations: {0}")]
    Table(#[from] bayeslora_render::Error),
}

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
