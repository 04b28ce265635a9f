//! What an accelerator computed beside what the processor did.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use serde::Serialize;

/// One comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    /// Largest difference over the largest value.
    pub(crate) error: f64,
    /// What it may be.
    pub(crate) tolerance: f64,
}

impl Check {
    /// Of two tensors of one shape.
    pub(crate) fn of(name: impl Into<String>, found: &Tensor, expected: &Tensor, tolerance: f64) -> Result<Self> {
        let values = |tensor: &Tensor| -> Result<Vec<f32>> {
            Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
        };
        anyhow::ensure!(found.dims() == expected.dims(), "{:?} and {:?}", found.dims(), expected.dims());
        Ok(Self::of_values(name, &values(found)?, &values(expected)?, tolerance))
    }

    /// Of as many values.
    pub(crate) fn of_values(name: impl Into<String>, found: &[f32], expected: &[f32], tolerance: f64) -> Self {
        let largest =
            |values: &mut dyn Iterator<Item = f32>| values.fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let size = largest(&mut expected.iter().copied());
        let apart = found.iter().zip(expected).map(|(found, expected)| found - expected);
        // A maximum passes over what is no number.
        let is_finite = found.len() == expected.len() && found.iter().all(|value| value.is_finite());
        let apart = if is_finite { largest(&mut apart.into_iter()) } else { f32::INFINITY };
        Self { name: name.into(), error: f64::from(apart / size.max(f32::MIN_POSITIVE)), tolerance }
    }

    pub(crate) fn holds(&self) -> bool {
        self.error <= self.tolerance
    }
}

/// The comparisons in Markdown.
pub(crate) fn table(checks: &[Check]) -> String {
    let rows = checks.iter().map(|check| {
        let holds = if check.holds() { "yes" } else { "**no**" };
        format!("| {} | {:.1e} | {:.0e} | {holds} |\n", check.name, check.error, check.tolerance)
    });
    format!("| compared | largest error | allowed | holds |\n|---|---|---|---|\n{}", rows.collect::<String>())
}
