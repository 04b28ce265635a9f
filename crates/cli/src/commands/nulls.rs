//! `bayeslora nulls`: simulates every test where there is nothing to find and writes the table of levels.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use bayeslora_data::Progress as _;
use bayeslora_host::write_atomically;
use bayeslora_terminal::Terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How much is simulated: `quick` in half a minute, to see that it works; `full`, the table, in several minutes.
    #[arg(long, value_enum, default_value_t = Grid::Quick)]
    grid: Grid,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder of the tables.
    #[arg(long, value_name = "DIR", default_value = "results/statistics")]
    out: PathBuf,
    /// Write nothing: fail unless the table there has these verdicts and words. Numbers may differ by the machine's mathematics.
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
        Grid::Quick => (bayeslora_nulls::Grid::Quick, "quick"),
        Grid::Full => (bayeslora_nulls::Grid::Full, "full"),
    };
    let table = arguments.out.join("table.md");
    // Before minutes are spent on what would go there.
    let committed = if arguments.check {
        let read = std::fs::read_to_string(&table);
        Some(read.with_context(|| format!("{}: cannot read the table to check", table.display()))?)
    } else {
        bayeslora_records::Store::new(&arguments.out).check_writable()?;
        None
    };
    let terminal = Terminal::new();
    terminal.expect(grid.work());
    let simulated =
        bayeslora_nulls::run(grid, arguments.seed, &|work| terminal.advance(work), &|cell| terminal.stage(cell));
    terminal.finish();
    let report = simulated?;
    let command = format!("bayeslora nulls --grid {word} --seed {}", arguments.seed);
    let page = bayeslora_nulls::page(&command, arguments.seed, &report).markdown();
    if let Some(committed) = committed {
        super::checked::same_words(&table, &committed, &page)?;
        super::print_line(format_args!("{}: as `{command}` makes it", table.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, bytes) in [("table.md", page.into_bytes()), ("table.csv", bayeslora_nulls::csv(&report)?)] {
        let path = arguments.out.join(name);
        write_atomically(&path, &bytes).context("the tables are not written")?;
        super::print_paths(&[path])?;
    }
    Ok(ExitCode::SUCCESS)
}
