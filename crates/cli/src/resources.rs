//! What a computation may use: `--device`, `--precision` and `--memory`, the same for every command that runs a model.

use anyhow::bail;
use bayeslora_inference::{DeviceName, Place, Precision, Resources};

/// Device, precision and memory of a command that runs a model.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ResourceArguments {
    /// Where networks are computed: cpu, cuda, cuda:NUMBER or metal. The last three want a build of their own (`--features cuda`).
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceName::Cpu)]
    device: DeviceName,
    /// Type of frozen weights and activations: f32, or bf16 for what is not sampled.
    #[arg(long, value_name = "TYPE", default_value_t = Precision::F32)]
    precision: Precision,
    /// Memory for activations, such as 4G; what is beyond it waits in a temporary file [default: half of the machine's].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
}

impl ResourceArguments {
    /// Opens the device.
    pub(crate) fn open(&self) -> anyhow::Result<Resources> {
        let mut resources = Resources::default();
        if let Some(memory) = self.memory {
            let total = bayeslora_host::memory::total().unwrap_or(u64::MAX);
            if memory > total {
                bail!(
                    "--memory is {} MiB, and there are {} MiB; expected less, or leave it out for half of them",
                    memory >> 20,
                    total >> 20
                );
            }
            resources.memory = memory;
        }
        resources.place = Place { device: self.device.open()?, precision: self.precision };
        Ok(resources)
    }
}

/// Bytes, from a number and K, M, G or T, in powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let expected = || "expected a number and a unit, as in 512M or 4G".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(expected()),
    };
    let number: u64 = digits.parse().map_err(|_| expected())?;
    number.checked_mul(1 << shift).filter(|&bytes| bytes > 0).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("1K", 1 << 10),
            ("512M", 512 << 20),
            ("4g", 4 << 30),
            ("4GB", 4 << 30),
            ("2GiB", 2 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "4", "G", "-1G", "1.5G", "0M", "4X", "4 G", "99999999999T", "4BG"] {
            assert!(size(wrong).unwrap_err().contains("512M or 4G"), "{wrong}");
        }
    }
}
