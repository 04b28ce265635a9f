//! `bayeslora theory`: checks the claims and writes the table of verdicts.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use bayeslora_data::Progress as _;
use bayeslora_host::write_atomically;
use bayeslora_terminal::Terminal;
use bayeslora_theory::{CLAIMS, Heading, Verdict};

/// Further seeds on which false alarms are counted, and power on some of them.
const SEEDS: u64 = 200;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How much is computed: `quick` in a minute or two, `full` in several.
    #[arg(long, value_enum, default_value_t = Grid::Quick)]
    grid: Grid,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder of the tables.
    #[arg(long, value_name = "DIR", default_value = "results/theory")]
    out: PathBuf,
    /// Write nothing: fail unless the table there has these verdicts and words. Numbers may differ by the machine's linear algebra.
    #[arg(long)]
    check: bool,
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
    let committed = if arguments.check {
        let path = arguments.out.join("table.md");
        Some(
            std::fs::read_to_string(&path)
                .with_context(|| format!("{}: cannot read the table to check", path.display()))?,
        )
    } else {
        bayeslora_records::Store::new(&arguments.out).check_writable()?;
        None
    };
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
    if let Some(committed) = committed {
        let table = arguments.out.join("table.md");
        super::checked::same_words(&table, &committed, &bayeslora_theory::markdown(&heading, &report))?;
        super::print_line(format_args!("{}: as `{}` makes it", table.display(), heading.command))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut files = vec![
        ("table.md".to_owned(), bayeslora_theory::markdown(&heading, &report).into_bytes()),
        ("table.csv".to_owned(), bayeslora_theory::csv(&report)?),
        ("table.tex".to_owned(), bayeslora_theory::latex(&heading, &report).into_bytes()),
    ];
    let seconds = bayeslora_theory::seconds(&heading, &report, &bayeslora_theory::exponents()?);
    files.push(("seconds.md".to_owned(), seconds.into_bytes()));
    files.extend(bayeslora_theory::draw(&report, arguments.seed)?);
    for (name, bytes) in files {
        let path = arguments.out.join(name);
        write_atomically(&path, &bytes).context("the tables are not written")?;
        super::print_paths(&[path])?;
    }
    for decision in &report.decisions {
        terminal.note(&format!("{:>3} {} ({:.1} s)", decision.claim.id, decision.verdict.word(), decision.seconds));
    }
    let decided = report.decisions.iter().all(|decision| decision.verdict != Verdict::Undecided);
    Ok(if decided { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
