//! Where a network is computed, and in which type.

use std::fmt;
use std::str::FromStr;

use candle_core::utils::{cuda_is_available, metal_is_available};
use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};

/// The type of frozen weights and of activations. Adapters, sums of norms, softmax and logits are f32 in either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// The upper 16 bits of an f32: its range, with 8 significant bits.
    Bf16,
}

impl Precision {
    /// The type of its tensors.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.dtype().as_str())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::F32, Self::Bf16];
        let known = all.into_iter().find(|precision| precision.to_string() == text);
        known.ok_or_else(|| "no such precision; expected f32 or bf16".to_owned())
    }
}

/// A device by its name, not opened yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceName {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA card by its number, from 0.
    Cuda(usize),
    /// Apple's graphics processor.
    Metal,
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        match (text, number) {
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            ("metal", _) => Ok(Self::Metal),
            (_, Some(number)) => Ok(Self::Cuda(number)),
            _ => Err("no such device; expected cpu, cuda, cuda:NUMBER (the first is 0) or metal".to_owned()),
        }
    }
}

impl DeviceName {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Device`] with what to do: when this program was built without it, when there is no driver, or no card of that number.
    pub fn open(self) -> Result<Device> {
        let refused = |problem: String| Error::Device { device: self.to_string(), problem };
        let absent = |feature: &str, toolkit: &str| {
            refused(format!(
                "this program was built without it; build it with `cargo build --release -p bayeslora --features {feature}` where \
                 {toolkit} is installed, or leave out --device"
            ))
        };
        let failed = |error: candle_core::Error, advice: &str| {
            // Candle may add a backtrace in further lines.
            let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
            refused(format!("cannot be opened ({reason}); {advice}"))
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(_) if !cuda_is_available() => Err(absent("cuda", "the CUDA toolkit")),
            Self::Cuda(number) => Device::new_cuda(number).map_err(|error| {
                failed(error, "`nvidia-smi -L` lists the cards, the first of which is cuda:0, where there is a driver")
            }),
            Self::Metal if !metal_is_available() => Err(absent("metal", "Xcode")),
            Self::Metal => Device::new_metal(0).map_err(|error| failed(error, "it needs a Mac with such a processor")),
        }
    }
}

/// Where a network is computed, and in which type.
#[derive(Debug, Clone)]
pub struct Place {
    /// The device.
    pub device: Device,
    /// The type of frozen weights and activations.
    pub precision: Precision,
}

impl Place {
    /// In f32 on a processor, where buffers are faster than tensors.
    pub fn is_plain(&self) -> bool {
        self.device.is_cpu() && self.precision == Precision::F32
    }

    /// A frozen tensor or activations in the place's type.
    ///
    /// # Errors
    /// When the tensor cannot be converted.
    pub(crate) fn narrowed(&self, tensor: &Tensor) -> Result<Tensor> {
        Ok(tensor.to_dtype(self.precision.dtype())?)
    }

    /// The device as `--device` names it.
    pub fn device_name(&self) -> String {
        match &self.device {
            Device::Cpu => DeviceName::Cpu.to_string(),
            Device::Metal(_) => DeviceName::Metal.to_string(),
            Device::Cuda(_) => match self.device.location() {
                candle_core::DeviceLocation::Cuda { gpu_id } => DeviceName::Cuda(gpu_id).to_string(),
                _ => "cuda".to_owned(),
            },
        }
    }

    /// The card and its driver, where there is one: `NVIDIA H200, driver 550.54.15`.
    pub fn accelerator(&self) -> Option<String> {
        let name = bayeslora_kernels::accelerator(&self.device)?;
        let driver = std::fs::read_to_string("/proc/driver/nvidia/version").ok();
        Some(match driver.as_deref().and_then(driver_version) {
            None => name,
            Some(version) => format!("{name}, driver {version}"),
        })
    }
}

/// The version in the kernel's description of NVIDIA's driver.
fn driver_version(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    line.split_whitespace().find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
}

impl Default for Place {
    fn default() -> Self {
        Self::from(&Device::Cpu)
    }
}

impl From<&Device> for Place {
    /// In f32.
    fn from(device: &Device) -> Self {
        Self { device: device.clone(), precision: Precision::F32 }
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Self {
        place.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (text, device) in [
            ("cpu", DeviceName::Cpu),
            ("cuda:0", DeviceName::Cuda(0)),
            ("cuda:13", DeviceName::Cuda(13)),
            ("metal", DeviceName::Metal),
        ] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceName::Cuda(0)));
        for wrong in ["gpu", "CUDA", "cuda:", "cuda:-1", "cuda:1x", "cpu:0", "", "cuda:99999999999999999999"] {
            assert!(wrong.parse::<DeviceName>().unwrap_err().contains("expected cpu, cuda, cuda:NUMBER"), "{wrong}");
        }
        assert_eq!(["f32", "bf16"].map(|text| text.parse::<Precision>().unwrap().to_string()), ["f32", "bf16"]);
        assert!("f16".parse::<Precision>().unwrap_err().contains("expected f32 or bf16"));
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_build_without_an_accelerator_says_which_build_has_it() {
        let message = DeviceName::Cuda(2).open().unwrap_err().to_string();
        assert!(message.starts_with("--device cuda:2: this program was built without it"), "{message}");
        assert!(message.contains("--features cuda") && !message.contains('\n'), "{message}");
        assert_eq!(Place::default().device_name(), "cpu");
        assert_eq!(Place::default().accelerator(), None);
    }

    #[test]
    fn the_version_of_a_driver_is_found() {
        let text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: gcc 12.2\n";
        assert_eq!(driver_version(text), Some("550.54.15"));
        assert_eq!(driver_version("GCC version: gcc 12.2"), None);
    }
}
