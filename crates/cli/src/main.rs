//! The bayeslora command line: arguments, printing and exit codes; no logic of its own.

mod commands;
mod failure;
mod resources;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use bayeslora_data::assets::AssetOptions;
use bayeslora_host::MOST_THREADS;
use bayeslora_terminal::say;
use clap::{Args, Parser, Subcommand};

/// Fresh pages for every tensor cost more than the arithmetic on small ones; this allocator keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "\
Examples:
  bayeslora run results/main-encoder/experiment.toml
  bayeslora run results/main-encoder/experiment.toml --profile practised
  bayeslora run results/main-encoder/experiment.toml --device cuda:0
  bayeslora tune results/main-encoder/experiment.toml --profile rate
  bayeslora report results/main-encoder/experiment.toml --profile practised --check
  echo 'a gorgeous, witty film' | bayeslora predict --model DIR --adapter DIR --samples 32
  bayeslora theory --grid full
  bayeslora nulls --grid full
  bayeslora geometry results/main-encoder/experiment.toml
  bayeslora couplings results/main-encoder/experiment.toml
  bayeslora width results/main-encoder/experiment.toml
  bayeslora guard fit --predictions cal.jsonl --answer 0.05 -o guard.json
  bayeslora fetch --offline";

/// Can the uncertainty of a fine-tuned LoRA adapter be trusted? Numbers you can regenerate.
#[derive(Debug, Parser)]
#[command(name = "bayeslora", version, about, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Threads of the computation (results do not depend on it, but for last digits) [default: all cores].
    #[arg(long, global = true, value_parser = threads)]
    threads: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compute what is missing of an experiment, then write its report.
    #[command(after_help = "Example:\n  bayeslora run results/main-encoder/experiment.toml --profile practised")]
    Run(commands::run::Arguments),
    /// Search every method's settings on the validation set, by at most the same number of trials.
    #[command(after_help = "Example:\n  bayeslora tune results/main-encoder/experiment.toml --profile rate")]
    Tune(commands::tune::Arguments),
    /// Write an experiment's tables and figures from its records alone.
    #[command(
        after_help = "Example:\n  bayeslora report results/main-encoder/experiment.toml --profile practised --check"
    )]
    Report(commands::report::Arguments),
    /// Draw metrics against what the profiles of an experiment vary, from its records alone.
    #[command(after_help = "Example:\n  bayeslora curve results/small-data/experiment.toml")]
    Curve(commands::curve::Arguments),
    /// Put everything in the results folder on two pages, README.md and report.html, from its tables alone.
    #[command(after_help = "Example:\n  bayeslora overview results --check")]
    Overview(commands::overview::Arguments),
    /// Predict texts from standard input with an adapter, one JSON line each.
    #[command(after_help = commands::predict::EXAMPLES)]
    Predict(commands::predict::Arguments),
    /// Check the claims about adapter variance numerically and write the table of verdicts.
    #[command(after_help = "Example:\n  bayeslora theory --grid full")]
    Theory(commands::theory::Arguments),
    /// Simulate every test where there is nothing to find and write the table of levels.
    #[command(after_help = "Example:\n  bayeslora nulls --grid full")]
    Nulls(commands::nulls::Arguments),
    /// Measure inside a run's trained adapters whether V follows the distance from the fine-tuning subspace.
    #[command(after_help = "Example:\n  bayeslora geometry results/main-encoder/experiment.toml")]
    Geometry(commands::geometry::Arguments),
    /// Measure how many samples coupled masks and adaptive T save on a run's trained adapters.
    #[command(after_help = "Example:\n  bayeslora couplings results/main-encoder/experiment.toml")]
    Couplings(commands::couplings::Arguments),
    /// Read a run's posteriors at other widths: their deviations times a factor, at the same mean.
    #[command(after_help = "Example:\n  bayeslora width results/main-encoder/experiment.toml --widths 0,1,4")]
    Width(commands::width::Arguments),
    /// Sample the exact posterior of a run's adapters, where only the pooler has one, and set every method beside it.
    #[command(after_help = "Example:\n  bayeslora posterior results/posterior/experiment.toml --profile n400-r2")]
    Posterior(commands::posterior::Arguments),
    /// Set what BayesLoRA v1 reports beside the same quantities of a finished run of its protocol.
    #[command(after_help = "Example:\n  bayeslora paper results/paper/experiment.toml --profile full")]
    Paper(commands::paper::Arguments),
    /// Turn predictions into act, ask or escalate under a guarantee.
    #[command(subcommand, after_help = commands::guard::EXAMPLES)]
    Guard(commands::guard::Command),
    /// Download and verify the models and data sets.
    #[command(after_help = "Example:\n  bayeslora fetch all-minilm-l6-v2")]
    Fetch(commands::fetch::Arguments),
}

/// Where assets are found.
#[derive(Debug, Args)]
struct AssetArguments {
    /// Folder with your own copies: `<DIR>/<asset>/<file>`, or the downloaded archives [env: `BAYESLORA_ASSETS`].
    #[arg(long, value_name = "DIR")]
    assets: Option<PathBuf>,
    /// Folder with your own copies of data sets: `<DIR>/<set>/<file>` [env: `BAYESLORA_DATA`].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Download nothing; say what is missing instead [env: `BAYESLORA_OFFLINE`].
    #[arg(long)]
    offline: bool,
}

impl AssetArguments {
    /// The environment's options, overridden by the arguments.
    fn options(self) -> AssetOptions {
        let mut options = AssetOptions::from_env();
        options.local = self.assets.or(options.local);
        options.data = self.data.or(options.data);
        options.offline |= self.offline;
        options
    }
}

fn main() -> ExitCode {
    keep_one_pool();
    let result = match Cli::try_parse() {
        Ok(cli) => dispatch(cli),
        Err(usage) => answer(&usage),
    };
    result.unwrap_or_else(|error| {
        say(format_args!("error: {}", failure::sentence(&error)));
        ExitCode::FAILURE
    })
}

/// What clap says instead of a command: help and version, or what is wrong with the arguments (exit code 2).
fn answer(usage: &clap::Error) -> anyhow::Result<ExitCode> {
    let code = u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
    match usage.print() {
        // Nobody can be told on standard error that it cannot be written.
        Err(error) if !usage.use_stderr() && error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("standard output cannot be written")
        }
        _ => Ok(code),
    }
}

/// Number of threads, within what a machine has use for.
fn threads(text: &str) -> Result<usize, String> {
    let expected = format!("expected 1 to {MOST_THREADS}; more threads than processors make nothing faster");
    text.parse().ok().filter(|threads| (1..=MOST_THREADS).contains(threads)).ok_or(expected)
}

/// Candle and `OpenBLAS` keep pools of threads beside rayon's, which spin while they wait and slow everything else down. The size
/// of Candle's can be set by the environment only, `OpenBLAS` has read the environment when `main` begins. What the user's
/// environment says goes first.
#[allow(unsafe_code, reason = "the environment is changed before any other thread exists; OpenBLAS has a C interface")]
fn keep_one_pool() {
    unsafe extern "C" {
        fn openblas_set_num_threads(threads: std::ffi::c_int);
    }
    // Candle counts the processors in /proc/cpuinfo before every product, unless it is told how many threads rayon has.
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get).to_string();
    for (name, value) in [("CANDLE_NUM_THREADS", "1"), ("RAYON_NUM_THREADS", &threads)] {
        if std::env::var_os(name).is_none() {
            // SAFETY: the first statement of `main`; no other thread reads or writes the environment.
            unsafe { std::env::set_var(name, value) };
        }
    }
    if std::env::var_os("OPENBLAS_NUM_THREADS").is_none() {
        // SAFETY: takes any number, and nothing computes yet.
        unsafe { openblas_set_num_threads(1) };
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Some(threads) = cli.threads {
        commands::set_threads(threads)?;
    }
    match cli.command {
        Command::Run(arguments) => commands::run::run(arguments),
        Command::Tune(arguments) => commands::tune::run(arguments),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::Curve(arguments) => commands::curve::run(&arguments),
        Command::Overview(arguments) => commands::overview::run(&arguments),
        Command::Predict(arguments) => commands::predict::run(&arguments),
        Command::Theory(arguments) => commands::theory::run(&arguments),
        Command::Nulls(arguments) => commands::nulls::run(&arguments),
        Command::Geometry(arguments) => commands::geometry::run(arguments),
        Command::Couplings(arguments) => commands::couplings::run(arguments),
        Command::Width(arguments) => commands::width::run(arguments),
        Command::Posterior(arguments) => commands::posterior::run(arguments),
        Command::Paper(arguments) => commands::paper::run(arguments),
        Command::Guard(command) => commands::guard::run(&command),
        Command::Fetch(arguments) => commands::fetch::run(arguments),
    }
}
