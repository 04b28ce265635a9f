//! Operations with hand-written gradients that the adapters need, each beside a plain twin.
//!
//! On a processor they avoid work that automatic differentiation would do for constants; on any other device the plain
//! twin runs instead, with the same values.

mod dropout;
mod multiply;
mod weight_dropout;

pub(crate) use dropout::dropout;
pub(crate) use multiply::multiply;
pub(crate) use weight_dropout::weight_dropout;

use candle_core::{CpuStorage, Layout, Storage, StorageRef};

/// The contiguous f32 values of a tensor on the processor.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout, name: &'static str) -> candle_core::Result<&'a [f32]> {
    let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
        candle_core::bail!("{name} needs contiguous f32 tensors");
    };
    Ok(&values[start..end])
}

/// The contiguous f32 values of a tensor on the processor, borrowed while its storage is.
pub(crate) fn borrowed<'a>(
    (storage, layout): &'a (StorageRef<'_>, &Layout),
    name: &'static str,
) -> candle_core::Result<&'a [f32]> {
    match &**storage {
        Storage::Cpu(storage) => values(storage, layout, name),
        _ => candle_core::bail!("{name}: expected a tensor on the processor"),
    }
}
