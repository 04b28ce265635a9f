//! `peers`: PyTorch + PEFT and this program side by side, `make bench-peers`. See README.md beside this file.

mod agreement;
mod contestants;
mod cost;
mod decoder_inputs;
mod decoder_sets;
mod inputs;
mod machine;
mod measure;
mod plan;
mod protocol;
mod record;
mod report;
mod sets;
mod worker;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use bayeslora_data::Progress as _;
use bayeslora_host::MOST_THREADS;
use bayeslora_terminal::{Terminal, print, say};
use clap::{Parser, Subcommand};

use crate::inputs::Inputs;
use crate::measure::{Workers, measure};
use crate::plan::Plan;
use crate::sets::SETS;

/// The allocator of the command line.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures PyTorch + PEFT and this program in turn, then writes the report.
#[derive(Debug, Parser)]
#[command(name = "peers", max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Step>,
    #[command(flatten)]
    measuring: Measuring,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Write table and figures from the records alone.
    Report {
        /// Folder of the report; its records are in `records/` there.
        #[arg(long, default_value = "results/performance")]
        out: PathBuf,
        /// Write nothing; fail if the files on disk differ from what the records give.
        #[arg(long)]
        check: bool,
    },
    /// Serve one job: our side of the protocol.
    #[command(hide = true)]
    Worker { job: PathBuf },
}

#[derive(Debug, clap::Args)]
struct Measuring {
    /// Interpreter that has benches/peers/requirements.txt.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Few settings: shows that everything works, in minutes. Its report goes to target/peers/quick.
    #[arg(long)]
    quick: bool,
    /// Measure again what has a record.
    #[arg(long)]
    again: bool,
    /// These sets only (by identifier, as in the names of the records).
    #[arg(long, value_name = "SET")]
    only: Vec<String>,
    /// Folder of the report.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Threads of both sides.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Where inputs and the trained adapter are kept.
const WORK: &str = "target/peers";
const EXPERIMENT: &str = "results/performance/adapter.toml";

fn main() -> ExitCode {
    let Cli { command, measuring } = Cli::parse();
    let result = match command {
        Some(Step::Worker { job }) => worker::serve(&job),
        Some(Step::Report { out, check }) => write_report(&out, check),
        None => orchestrate(&measuring),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn orchestrate(options: &Measuring) -> Result<()> {
    let threads = options.threads;
    ensure!((1..=MOST_THREADS).contains(&threads), "--threads is {threads}; expected 1 to {MOST_THREADS}");
    if let Some(unknown) = options.only.iter().find(|id| !SETS.iter().any(|set| set.id == id.as_str())) {
        let known: Vec<&str> = SETS.iter().map(|set| set.id).collect();
        bail!("unknown set {unknown}; expected one of {}", known.join(", "));
    }
    check_python(&options.python)?;
    let default = if options.quick { "target/peers/quick" } else { "results/performance" };
    let out = options.out.clone().unwrap_or_else(|| default.into());
    let records = out.join("records");
    let terminal = Terminal::new();
    terminal.stage("model, texts and adapter (trained once, a few minutes)");
    let inputs = Inputs::prepare(Path::new(EXPERIMENT), Path::new(WORK), &terminal.stages())?;
    let workers = Workers { python: options.python.clone(), script: "benches/peers/worker.py".into() };
    let plan = Plan {
        inputs: &inputs,
        is_quick: options.quick,
        records: &records,
        threads: options.threads,
        decoder: OnceCell::new(),
    };
    let chosen = || SETS.iter().filter(|set| options.only.is_empty() || options.only.iter().any(|id| id == set.id));
    let expected = |set: &sets::Set| if options.quick { set.expected.1 } else { set.expected.0 };
    terminal.expect(chosen().map(expected).sum());
    for set in chosen() {
        let ran = measure(set, &plan, &workers, options.again, &|what| terminal.stage(what))?;
        if ran {
            terminal.advance(expected(set));
        } else {
            terminal.found(expected(set));
        }
    }
    terminal.finish();
    write_report(&out, false)
}

/// Says what is wrong before anything is computed.
fn check_python(python: &Path) -> Result<()> {
    let name = python.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let hint = "make bench-peers installs what is missing, or takes PYTHON=";
    let output = Command::new(python)
        .args(["-c", "import torch, transformers, peft, safetensors, numpy"])
        .output()
        .with_context(|| format!("{name} cannot be started; {hint}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or("no message");
    ensure!(output.status.success(), "{name} lacks what benches/peers/requirements.txt names ({last}); {hint}");
    Ok(())
}

fn write_report(out: &Path, check: bool) -> Result<()> {
    let files = report::files(&out.join("records"))?;
    let mut stale = Vec::new();
    for (name, bytes) in files {
        let path = out.join(name);
        if !check {
            bayeslora_host::write_atomically(&path, &bytes)?;
            print(path.display()).context("standard output cannot be written")?;
        } else if bayeslora_compare::is_stale(&path, &bytes) {
            stale.push(path.display().to_string());
        }
    }
    ensure!(
        stale.is_empty(),
        "{} differ from what the records give; run `cargo run --release -p bayeslora-benches --bin peers -- report`",
        stale.join(", ")
    );
    Ok(())
}
