//! The page of levels and powers, and its CSV file.

use bayeslora_metrics::Seeds;
use bayeslora_render::{Block, Cell as Shown, Column, Page, Section, Table};

use crate::association::{RAISED, SCORES, Way};
use crate::counts::Share;
use crate::differences::{EFFECT, Level, Outcome, ROWS};
use crate::equivalence::MARGIN;
use crate::error::Result;
use crate::plan::Report;
use crate::statistic::Statistic;
use crate::variant::Variant;

/// Upper bound of a family-wise error up to which a test is taken to hold its level.
pub const MOST: f64 = 0.06;

const OPENING: &str = "\
How often does each test of this program find something where there is nothing? Data are simulated down to single texts. They go \
through the functions that the program's tables go through. A family has 20 rows that share the texts and the reference.

Family-wise error is the share of families with a false rejection, after Holm's correction. Its upper bound is the exact 95 % bound of \
Clopper and Pearson. Power is the share of true differences found after Holm's correction.";

const VARIANTS: [&str; 6] = [
    "**in use**: variances over seeds moderated and never lowered, the persistent variance over texts, all fits of the reference",
    "**before**: a row's own variance over seeds plus all of its variance over texts",
    "**texts alone**: the fits at hand are taken for all there are",
    "**seeds alone**: the paired t-test over seeds",
    "**texts twice**: moderated variances, with all of the variance over texts",
    "**lowered**: moderated variances that may fall below a row's own, and one Student's t for the sum",
];

/// The page.
pub fn page(command: &str, seed: u64, report: &Report) -> Page {
    let mut sections = vec![Section::new("The answer", answer(report))];
    for statistic in Statistic::ALL {
        let outcomes: Vec<&Outcome> = report.main.iter().filter(|o| o.cell.statistic == statistic).collect();
        let runs = outcomes.first().map_or(0, |outcome| outcome.levels[0].family.of);
        let text = format!("{runs} families in each row of the table.");
        sections.push(Section::new(statistic.name(), [Block::text(text), Block::Table(levels(&outcomes, false))]));
    }
    sections.push(designs(report));
    sections.push(association(report));
    sections.push(equivalence(report));
    let variants = "A true difference, where power is counted, is";
    Page {
        provenance: vec![Page::made_by(command)],
        title: "Null simulations of the tests".to_owned(),
        opening: vec![
            Block::text(OPENING),
            Block::text(format!(
                "{variants} {EFFECT} standard errors of a paired difference. Five rows of {ROWS} have it. Seed {seed}."
            )),
            Block::text(
                "V_S / V_E is the variance over seeds over the persistent variance over texts, of a paired difference. The ways to test:",
            ),
            Block::points(VARIANTS),
        ],
        sections,
    }
}

/// Every family-wise error of a test in use at five seeds or more, with what it is of.
fn in_use(report: &Report) -> Vec<(String, Share)> {
    let mut found = Vec::new();
    for outcome in report.main.iter().filter(|outcome| outcome.cell.seeds >= 5) {
        found.push((outcome.cell.name(), outcome.levels[0].family));
    }
    for outcome in report.designs.iter().filter(|outcome| outcome.cell.seeds >= 5) {
        found.push((outcome.cell.design(), outcome.levels[0].family));
    }
    for own in report.associations.iter().filter(|own| own.fits >= 5) {
        found.push((format!("association, {} fits on {} texts", own.fits, own.texts), own.levels[0].family));
    }
    for own in report.equivalences.iter().filter(|own| own.cell.seeds >= 5) {
        found.push((format!("equivalence, S = {}, ratio {}", own.cell.seeds, own.cell.ratio), own.tested.family));
    }
    found
}

fn answer(report: &Report) -> Vec<Block> {
    let all = in_use(report);
    let largest = |of: &dyn Fn(Share) -> f64| all.iter().map(|(_, share)| of(*share)).fold(0.0, f64::max);
    let above: Vec<String> = all
        .iter()
        .filter(|(_, share)| share.upper() > MOST)
        .map(|(name, share)| format!("{name}: {:.3}, upper bound {:.3}", share.value(), share.upper()))
        .collect();
    let verdict = if above.is_empty() {
        format!("**Every test in use holds its level** at five and ten seeds: no upper bound is above {MOST}.")
    } else {
        format!("**{} of {} cells have an upper bound above {MOST}** at five or ten seeds:", above.len(), all.len())
    };
    let mut blocks = vec![Block::text(verdict)];
    if !above.is_empty() {
        blocks.push(Block::points(above));
    }
    let text = format!(
        "The largest family-wise error of a test in use is {:.3}. The largest upper bound is {:.3}.",
        largest(&Share::value),
        largest(&Share::upper)
    );
    blocks.push(Block::text(text));
    blocks
}

/// A share with its bound; none where nothing was counted.
fn bounded(share: Share) -> Shown {
    if share.of == 0 {
        return Shown::Missing;
    }
    Shown::text(format!("{:.3} (≤ {:.3})", share.value(), share.upper()))
}

fn plain(share: Share) -> Shown {
    if share.of == 0 { Shown::Missing } else { Shown::Number(share.value()) }
}

fn right(name: impl Into<String>) -> Column {
    Column::number(name, 3)
}

/// Levels of differences; the design is named where it varies.
fn levels(outcomes: &[&Outcome], named: bool) -> Table {
    let mut columns = Vec::new();
    if named {
        columns.extend([
            Column::text("spread of rows"),
            right("shared"),
            right("reference fits"),
            Column::text("seeds"),
        ]);
    }
    columns.extend([
        right("S"),
        Column::number("V_S / V_E", 1),
        right("in use"),
        right("single tests"),
        right("power"),
    ]);
    for variant in &Variant::ALL[1..] {
        columns.extend([right(variant.name()), right("power")]);
    }
    let mut table = Table::new(columns);
    for outcome in outcomes {
        let cell = &outcome.cell;
        let mut row = Vec::new();
        if named {
            let told = if cell.told == Seeds::Shared { "shared" } else { "apart" };
            row.extend([Shown::text(cell.scales.name()), Shown::text(format!("{:.1}", cell.common))]);
            row.extend([Shown::Count(cell.reference as u64), Shown::text(told)]);
        }
        row.extend([Shown::Count(cell.seeds as u64), Shown::Number(outcome.ratio)]);
        let Some((used, others)) = outcome.levels.split_first() else { continue };
        row.extend([bounded(used.family), plain(used.single), plain(used.power)]);
        row.extend(others.iter().flat_map(|level| [plain(level.family), plain(level.power)]));
        table.push(row);
    }
    table
}

fn designs(report: &Report) -> Section {
    let text = "Means of plain values. Rows differ in how much they vary over seeds, by the factors named. \"Shared\" is the part of a seed's \
                variance that row and reference have in common. With as many reference fits as seeds, differences are paired. \
                Powers of unequal rows are not comparable between designs, as five rows of small or large spread have the effect.";
    let outcomes: Vec<&Outcome> = report.designs.iter().collect();
    Section::new("Other designs", [Block::text(text), Block::Table(levels(&outcomes, true))])
}

fn association(report: &Report) -> Section {
    let text = format!(
        "Scores are curved functions of the entropy with noise. Errors depend on the entropy alone, and are correlated between fits. A family is \
         {SCORES} scores. Where power is counted, an error raises the logarithm of each score by {RAISED}.\n\nIn use are strata of 20 texts: \
         permutations give the error over texts, and fits add theirs. \"These fits\" leaves that out, and its error is too small \
         with several fits. \"Partial t\" is the t law of the partial rank correlation, which was used before. \"Texts pooled\" takes every fit for a sample \
         of texts of its own."
    );
    let mut columns = vec![right("fits"), right("texts")];
    for way in Way::ALL {
        columns.extend([right(way.name()), right("power")]);
    }
    let mut table = Table::new(columns);
    for own in &report.associations {
        let mut row = vec![Shown::Count(own.fits as u64), Shown::Count(own.texts as u64)];
        row.extend(own.levels.iter().flat_map(|level| [bounded(level.family), plain(level.power)]));
        table.push(row);
    }
    Section::new("Association with errors given the entropy", [Block::text(text), Block::Table(table)])
}

fn equivalence(report: &Report) -> Section {
    let text = format!(
        "The true difference of every row is the margin, {MARGIN} standard errors of a paired difference. An error is a row that is called \
         equivalent. Power is the share of single rows without any difference that are called so.\n\n\"No star\" concludes equivalence where a \
         difference is not significant, which no page may do."
    );
    let mut table = Table::new([
        right("S"),
        Column::number("V_S / V_E", 1),
        right("two one-sided tests"),
        right("single tests"),
        right("power"),
        right("no star"),
        right("single tests"),
        right("power"),
    ]);
    for own in &report.equivalences {
        let mut row = vec![Shown::Count(own.cell.seeds as u64), Shown::Number(own.ratio), bounded(own.tested.family)];
        row.extend([plain(own.tested.single), plain(own.tested.power), plain(own.no_star.family)]);
        row.extend([plain(own.no_star.single), plain(own.no_star.power)]);
        table.push(row);
    }
    Section::new("Equivalence within a margin", [Block::text(text), Block::Table(table)])
}

/// A line of the CSV file.
#[derive(serde::Serialize)]
struct Line {
    test: &'static str,
    way: String,
    seeds: usize,
    reference: Option<usize>,
    texts: Option<usize>,
    wanted_ratio: Option<f64>,
    ratio: Option<f64>,
    common: Option<f64>,
    scales: Option<&'static str>,
    families: u64,
    family_wise_error: f64,
    upper_bound: f64,
    single: f64,
    power: f64,
}

impl Line {
    fn new(test: &'static str, way: impl Into<String>, seeds: usize, level: &Level) -> Self {
        let (none, nothing) = (None, None);
        Self {
            test,
            way: way.into(),
            seeds,
            reference: none,
            texts: none,
            wanted_ratio: nothing,
            ratio: nothing,
            common: nothing,
            scales: None,
            families: level.family.of,
            family_wise_error: level.family.value(),
            upper_bound: level.family.upper(),
            single: level.single.value(),
            power: level.power.value(),
        }
    }
}

/// `table.csv`.
///
/// # Errors
/// [`Error::Table`](crate::Error::Table) when a line cannot be encoded.
pub fn csv(report: &Report) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for outcome in report.main.iter().chain(&report.designs) {
        let cell = &outcome.cell;
        for (variant, level) in Variant::ALL.iter().zip(&outcome.levels) {
            lines.push(Line {
                reference: Some(cell.reference),
                wanted_ratio: Some(cell.ratio),
                ratio: Some(outcome.ratio),
                common: Some(cell.common),
                scales: Some(cell.scales.name()),
                ..Line::new(cell.statistic.name(), variant.name(), cell.seeds, level)
            });
        }
    }
    for own in &report.associations {
        for (way, level) in Way::ALL.iter().zip(&own.levels) {
            lines.push(Line { texts: Some(own.texts), ..Line::new("association", way.name(), own.fits, level) });
        }
    }
    for own in &report.equivalences {
        for (way, calls) in [("two one-sided tests", own.tested), ("no star", own.no_star)] {
            let level = Level { family: calls.family, single: calls.single, power: calls.power };
            let (wanted_ratio, ratio) = (Some(own.cell.ratio), Some(own.ratio));
            lines.push(Line { wanted_ratio, ratio, ..Line::new("equivalence", way, own.cell.seeds, &level) });
        }
    }
    Ok(bayeslora_render::csv("table.csv", &[], lines)?)
}
