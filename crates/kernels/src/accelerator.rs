//! What an accelerator calls itself.

use candle_core::Device;

/// The name of the card behind a device, as its driver gives it; none of a processor, and none where the driver gives none.
pub fn accelerator(device: &Device) -> Option<String> {
    match device {
        Device::Cpu => None,
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => device.cuda_stream().context().name().ok(),
        #[cfg(not(feature = "cuda"))]
        Device::Cuda(_) => None,
        Device::Metal(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_none() {
        assert_eq!(accelerator(&Device::Cpu), None);
    }
}
