//! Null simulations: how often each test of this program rejects where nothing is to be found, and how often it finds what is there.
//!
//! Data are simulated down to single texts and go through the functions that the program's own tables go through. Every test is beside the
//! one that it replaced and beside wrong variants, so that a reader sees what each part is good for. Nothing here is tuned: where a level
//! is above nominal, the table says so.

mod association;
mod counts;
mod differences;
mod equivalence;
mod error;
mod plan;
mod random;
mod statistic;
mod table;
mod variant;
mod world;

pub use association::{Associations, RAISED, SCORES, Way, associations};
pub use counts::Share;
pub use differences::{Cell, EFFECT, LEVEL, Level, Outcome, ROWS, Scales};
pub use equivalence::{Calls, Equivalences, MARGIN, equivalences};
pub use error::{Error, Result};
pub use plan::{Grid, Report, run};
pub use statistic::Statistic;
pub use table::{MOST, csv, page};
pub use variant::Variant;
