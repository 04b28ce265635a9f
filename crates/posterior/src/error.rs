//! What sampling and its diagnostics can object to.

/// An input or a chain from which no posterior follows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A shape that does not fit another.
    #[error("{what} is of {got}, expected {expected}")]
    Shape {
        /// What was given.
        what: &'static str,
        /// Its shape.
        got: String,
        /// The shape that fits.
        expected: String,
    },
    /// A number out of its range.
    #[error("{what} is {value}, expected {expected}")]
    Setting {
        /// What was set.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The range.
        expected: &'static str,
    },
    /// A chain that the sampler could not begin or go on with.
    #[error("chain {chain} stopped: {problem}")]
    Chain {
        /// Its number, from 0.
        chain: usize,
        /// Why.
        problem: String,
    },
}

/// Of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
