//! Means over seeds in the tables of studies.

use bayeslora_metrics::summarise;
use bayeslora_render::Cell;

/// Mean and standard error over seeds; a dash where there is nothing, or something that is not finite.
pub(super) fn with_error(values: Option<&[f64]>) -> Cell {
    let Some(Ok(found)) = values.map(summarise) else { return Cell::Missing };
    let error = found.sample_sd.map(|sd| sd / (found.n as f64).sqrt());
    Cell::Mean { mean: found.mean, sd: error, mark: "", strong: false }
}
