//! Values of tensors on the processor, as slices.

use candle_core::{CpuStorage, DType, Layout, Storage, StorageRef, Tensor};

/// Whether the fast paths apply: f32 on the processor.
pub(crate) fn is_fast(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// The contiguous f32 values of an operation's argument.
pub(crate) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => candle_core::bail!("expected contiguous f32 values, got {:?}", layout.dims()),
    }
}

/// The contiguous f32 values of a tensor on the processor, borrowed while its storage is.
///
/// # Errors
/// When the tensor is elsewhere, of another type or not contiguous.
pub fn borrow<'a>((storage, layout): &'a (StorageRef<'_>, &Layout)) -> candle_core::Result<&'a [f32]> {
    match &**storage {
        Storage::Cpu(storage) => values(storage, layout),
        _ => candle_core::bail!("expected a tensor on the processor"),
    }
}
