//! Records of units and distances, and older comparisons: everything a report needs, and the folders they are stored in. Predictions of other
//! programs are read and written by [`predictions`].

mod distances;
mod error;
mod per_text;
pub mod predictions;
mod record;
mod row;
mod store;

pub use distances::{DistancesRecord, TextDistances};
pub use error::{Error, Result};
pub use per_text::{PerText, four_digits, probability_digits};
pub use record::*;
pub use row::{Reading, RowId, Texts};
pub use store::{Store, check_schema, key_of, read_all, read_json, seven_digits, write_json};
