//! This program on an accelerator beside itself on the processor: operations, logits of the golden models, and speed.
//!
//! `run.sh` builds it with CUDA and adds the rest of the battery. With `--device cpu` it tries itself where there is no accelerator.

mod checks;
mod networks;
mod operations;
mod speed;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bayeslora_models::{DeviceName, Place, Precision};
use clap::Parser;
use serde_json::json;

/// Fresh pages for every tensor cost more than the arithmetic on small ones; this allocator keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure an accelerator against the processor; exit code 1 where results differ by more than rounding.
#[derive(Debug, Parser)]
struct Arguments {
    /// The device: cpu, cuda, cuda:NUMBER or metal.
    #[arg(long, default_value_t = DeviceName::Cuda(0))]
    device: DeviceName,
    /// Folder for report.json and report.md.
    #[arg(long)]
    out: PathBuf,
    /// Few repetitions, to try the program itself.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let place = Place { device: arguments.device.open()?, precision: Precision::F32 };
    let mut checks = operations::check(&place.device)?;
    checks.extend(networks::check(&place.device)?);
    let speeds = speed::measure(&place.device, if arguments.quick { 1 } else { 5 })?;
    let passed = checks.iter().all(checks::Check::holds);
    let report = json!({
        "device": place.device_name(),
        "accelerator": place.accelerator(),
        "processor": bayeslora_host::cpu_model(),
        "threads": rayon::current_num_threads(),
        "commit": bayeslora_compare::COMMIT,
        "checks": checks,
        "speeds": speeds,
    });
    std::fs::create_dir_all(&arguments.out).with_context(|| arguments.out.display().to_string())?;
    let write = |name: &str, text: String| {
        let path = arguments.out.join(name);
        bayeslora_host::write_atomically(&path, text.as_bytes()).with_context(|| path.display().to_string())
    };
    write("report.json", serde_json::to_string_pretty(&report)? + "\n")?;
    let card = place.accelerator().map(|name| format!(" ({name})")).unwrap_or_default();
    let heading = format!(
        "# {}{card} beside {}\n\nCommit {}, {} threads on the processor.\n\n",
        place.device_name(),
        bayeslora_host::cpu_model(),
        bayeslora_compare::COMMIT,
        rayon::current_num_threads()
    );
    write("report.md", heading + &checks::table(&checks) + "\n" + &speed::table(&speeds))?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
