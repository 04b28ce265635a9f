//! Predictions of any program, in one format: a folder with `predictions.safetensors` and `examples.jsonl`, or one file of JSON lines.
//!
//! The tensors are `logits`, `log_probs` or `probs` (`[samples, examples, classes]`, f32 or f64), `labels` (i64, -1: none), and optionally `correct` (u8),
//! `ratings` (`[examples, classes]`, f64) and `score.NAME` (f64, larger = more uncertain). Where `correct` is there, as for generated text, no
//! probabilities are needed. The metadata say `format = "bayeslora-predictions/1"` and what [`About`] holds. `examples.jsonl` has one line
//! an example, `{"id", "sha256" of the text, "group"?}`, in the order of the tensors.
//!
//! Two sets are paired by id and hash ([`pair`]), so that order never matters. Equal predictions have equal bytes.
//!
//! ```
//! use bayeslora_records::predictions::{read_lines, Predictions};
//! let folder = tempfile::tempdir()?;
//! let file = folder.path().join("mine.jsonl");
//! std::fs::write(&file, "{\"id\": \"a\", \"label\": 1, \"probs\": [0.25, 0.75]}\n{\"id\": \"b\", \"label\": 0, \"probs\": [0.5, 0.5]}\n")?;
//! let predictions = read_lines(&file)?;
//! predictions.write(&folder.path().join("mine"))?;
//! assert_eq!(Predictions::read(&folder.path().join("mine"))?, predictions);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod about;
mod folder;
mod lines;
mod outputs;
mod pairing;
mod set;

use std::path::Path;

use crate::error::Result;

pub use about::{About, FORMAT, Samples};
pub use lines::{MOST_LINES, read_lines};
pub use outputs::{Kind, Outputs, SUM_TOLERANCE, Values};
pub use pairing::pair;
pub use set::{Identity, Predictions};

/// Reads predictions from a folder, or from a file of JSON lines.
///
/// # Errors
/// As [`Predictions::read`] and [`read_lines`].
pub fn open(path: &Path) -> Result<Predictions> {
    if path.is_dir() { Predictions::read(path) } else { read_lines(path) }
}
