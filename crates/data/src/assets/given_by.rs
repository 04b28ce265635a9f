//! Which of the user's folders a file was looked for in.

/// Which of the user's own folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenBy {
    /// [`AssetOptions::local`](super::AssetOptions::local).
    Assets,
    /// [`AssetOptions::data`](super::AssetOptions::data).
    Data,
}

impl GivenBy {
    /// The option of the command line.
    pub fn option(self) -> &'static str {
        match self {
            Self::Assets => "--assets",
            Self::Data => "--data",
        }
    }

    /// The environment's variable.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Assets => "BAYESLORA_ASSETS",
            Self::Data => "BAYESLORA_DATA",
        }
    }
}
