//! What a layer, a subspace or a grid can object to.

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An input from which nothing follows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A number outside its range.
    #[error("{name} is {got}; expected {expected}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// The number.
        got: f64,
        /// The range.
        expected: &'static str,
    },
    /// Matrices that do not go together.
    #[error("{what} has shape {got:?}; expected {expected:?}")]
    Shape {
        /// Which.
        what: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// The shape that fits.
        expected: Vec<usize>,
    },
    /// NaN or an infinity where a number is needed.
    #[error("{what} has an entry that is not finite")]
    NotFinite {
        /// Which matrix.
        what: &'static str,
    },
    /// Inputs that span no direction, or all of them where a complement is needed.
    #[error("the inputs span {got} of {dimension} directions; {expected}")]
    Subspace {
        /// Directions spanned.
        got: usize,
        /// Dimension of the whole space.
        dimension: usize,
        /// What would do.
        expected: &'static str,
    },
    /// A grid without points.
    #[error("the grid of {claim} has no points; nothing would be decided")]
    EmptyGrid {
        /// Claim.
        claim: &'static str,
    },
    /// A decomposition that did not converge.
    #[error("linear algebra failed: {0}")]
    Algebra(#[from] ndarray_linalg::error::LinalgError),
    /// A figure.
    #[error(transparent)]
    Figure(#[from] bayeslora_render::Error),
    /// A table that cannot be encoded.
    #[error("{0}")]
    Table(String),
}
