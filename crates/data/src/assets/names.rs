//! Assets by their names.

use std::str::FromStr;

use super::catalogue::AssetId;
use crate::error::Error;

impl FromStr for AssetId {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|id| id.name() == name)
            .ok_or_else(|| Error::AssetName { name: name.to_owned(), valid: Self::ALL.map(Self::name).join(", ") })
    }
}
