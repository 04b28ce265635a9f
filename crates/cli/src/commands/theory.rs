//! `bayeslora theory`: checks the claims and writes the table of verdicts.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use bayeslora_adapters::files::write_atomically;
use bayeslora_compare::Progress as _;
use bayeslora_theory::{CLAIMS, Heading, Verdict};

use crate::progress::Terminal;

/// Further seeds on which power and false alarms are counted.
const SEEDS: u64 = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How much is computed: `quick` in seconds, `full` in minutes.
    #[arg(long, value_enum, default_value_t = Grid::Quick)]
    grid: Grid,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder of the tables.
    #[arg(long, value_name = "DIR", default_value = "results/theory")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Grid {
    Quick,
    Full,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (grid, word) = match arguments.grid {
        Grid::Quick => (bayeslora_theory::Grid::Quick, "quick"),
        Grid::Full => (bayeslora_theory::Grid::Full, "full"),
    };
    // Before minutes are spent on what would go there.
    bayeslora_compare::Store::new(&arguments.out).check_writable()?;
    let terminal = Terminal::new();
    terminal.expect(CLAIMS.len() as u64);
    let decided = bayeslora_theory::run(grid, arguments.seed, SEEDS, &|claim| {
        terminal.stage(&format!("{claim} checked"));
        terminal.advance(1);
    });
    terminal.finish();
    let report = decided?;
    let heading = Heading {
        grid,
        seed: arguments.seed,
        command: format!("bayeslora theory --grid {word} --seed {}", arguments.seed),
    };
    let files = [
        ("table.md", bayeslora_theory::markdown(&heading, &report).into_bytes()),
        ("table.csv", bayeslora_theory::csv(&report)?),
        ("table.tex", bayeslora_theory::latex(&heading, &report).into_bytes()),
    ];
    for (name, bytes) in files {
        let path = arguments.out.join(name);
        write_atomically(&path, &bytes).context("the tables are not written")?;
        println!("{}", path.display());
    }
    for decision in &report.decisions {
        terminal.note(&format!("{:>3} {} ({:.1} s)", decision.claim.id, decision.verdict.word(), decision.seconds));
    }
    let decided = report.decisions.iter().all(|decision| decision.verdict != Verdict::Undecided);
    Ok(if decided { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
