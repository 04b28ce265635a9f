//! What the numbers say: sentences, and small tables of what is told apart, made from the records.

use bayeslora_metrics::{Better, METRICS, median, metric};
use bayeslora_records::{Question, TEMPERED};
use bayeslora_render::{Align, Block, Cell, Column, Section, Table};

use crate::aggregate::records_of;
use crate::beyond_test::BeyondTest;
use crate::comparison::Comparison;
use crate::definition::{TestSet, one_reading_each};
use crate::passes::control;
use crate::report::{Report, Tests};
use crate::score::{Score, tempered};
use crate::temperature;

/// Metrics that have a line whatever came of them.
const ALWAYS: [&str; 4] = ["accuracy", "nll", "brier", "ece"];
/// The identifier under which a row is read.
type Reading = fn(&str) -> String;

/// Names in one cell; the others are counted.
const NAMES: usize = 5;

/// The section; nothing where there is one row only.
pub(crate) fn section(report: &Report<'_>) -> Vec<Section> {
    let Report { definition, aggregate, comparisons, .. } = report;
    let reference = definition.reference_label();
    if definition.rows.len() < 2 {
        return Vec::new();
    }
    let mut blocks = Vec::new();
    if aggregate.compared().next().is_none() {
        blocks.push(Block::Points(vec![format!(
            "No row is compared with {reference}. That takes three finished seeds, and records of every text."
        )]));
    } else {
        let mut points: Vec<String> = coverage(comparisons, definition.draws_training_set).into_iter().collect();
        points.extend(fits_of_reference(report));
        points.extend(readings(report));
        points.extend(counted(report));
        points.extend(not_compared(report));
        blocks.push(Block::Points(points));
        let heading = format!("### What is told apart from {reference}");
        let said = "Rows named here are told apart after correction. A row that is not named may differ all the same. The last column is the \
                    difference that would have been found with probability 0.8, median over rows. Corrupted copies are in tables of their own.";
        blocks.extend([Block::text(heading), Block::text(said), Block::Table(told_apart(report))]);
        if let Some(lowered) = temperature::lowered(report) {
            blocks.extend([Block::text("### What one temperature changes"), Block::Table(lowered)]);
        }
        if let Some(beyond) = beyond(report) {
            let correlation =
                if report.is_of_families() { "rank correlation within strata of it" } else { "partial correlation" };
            let said = format!(
                "AUROC of each score minus that of the entropy of one deterministic pass. Where the errors are asked for given that entropy, the \
                 gain is a {correlation}."
            );
            let heading = "### Which scores know more than one deterministic pass";
            blocks.extend([Block::text(heading), Block::text(said), Block::Table(beyond)]);
        }
    }
    vec![Section::new("What the numbers say", blocks)]
}

/// What the tests generalise over.
fn coverage(comparisons: &[Comparison], draws_training_set: bool) -> Option<String> {
    let seeds = comparisons.iter().map(|comparison| comparison.seeds).max()?;
    Some(match seeds {
        1 => "One seed: the tests are over examples, and say nothing about how another seed would have come out."
            .to_owned(),
        _ if draws_training_set => format!(
            "The tests are over examples and {seeds} seeds. A seed sets the training texts, drawn from all, the initialisation and the order \
             of the batches."
        ),
        _ => format!(
            "The tests are over examples and {seeds} seeds. A seed sets the initialisation and the order of the batches; the training \
             texts are the same for all."
        ),
    })
}

/// How many fits the reference has, where they are more than those of other rows.
fn fits_of_reference(report: &Report<'_>) -> Option<String> {
    let fits = records_of(&report.units, &report.definition.reference).len();
    let reference = report.definition.reference_label();
    (fits > report.definition.seeds.len())
        .then(|| {
            format!(
                "{reference} has {fits} fits, and every row is held against all of them. Noise that equal seeds share is taken off, so a \
                 difference need not be that of two means of the tables."
            )
        })
}

/// Which readings are tested, where only one of each fit is.
fn readings(report: &Report<'_>) -> Option<String> {
    let shown = report.definition.rows.len();
    let tested = one_reading_each(&report.definition.rows).len();
    let several = report.is_of_families() && tested < shown;
    several.then(|| {
        "Of a fit that is read in several ways one reading is tested: the one that averages samples. The others are shown without a test."
            .to_owned()
    })
}

/// How many tests stand on the page, how many of them have a star, and what a correction over all of them would leave.
fn counted(report: &Report<'_>) -> [String; 3] {
    let Tests { made, starred, left } = report.tests;
    let tempered = report.aggregate.compared().any(|score| score.row.ends_with(TEMPERED));
    let both = if tempered { ", with a temperature and without" } else { "" };
    [
        format!("This page tests {made} differences{both}. The tests behind bold come on top."),
        format!(
            "A star is corrected (Holm, 0.05) over its family: the rows of one test set and metric, all scores asked one question on one test \
             set, or all pairs of rows beside each other. The page has {starred}."
        ),
        format!("Holm's correction over all these tests leaves {left}."),
    ]
}

/// Rows for which no predictions were kept.
fn not_compared(report: &Report<'_>) -> Option<String> {
    let reference = &report.definition.reference;
    let compared = |row: &str| report.aggregate.compared().any(|score| score.row == row);
    let (rows, want) = if report.is_of_families() {
        (one_reading_each(&report.definition.rows), "finished seeds")
    } else {
        (report.definition.rows.clone(), "kept predictions")
    };
    let missing = rows.iter().filter(|row| row.id != *reference && !compared(&row.id));
    let missing: Vec<&str> = missing.map(|row| row.label.as_str()).collect();
    let name = report.definition.reference_label();
    (!missing.is_empty()).then(|| format!("Not compared with {name}, for want of {want}: {}.", missing.join("; ")))
}

/// Names in a cell, the first few of many.
fn listed(names: &[String]) -> Cell {
    match names {
        [] => Cell::text("none"),
        all if all.len() > NAMES => Cell::text(format!("{}; and {} more", all[..NAMES].join("; "), all.len() - NAMES)),
        all => Cell::text(all.join("; ")),
    }
}

/// Rows that are better and rows that are worse than the reference in a metric, among those tested; `None` where none was.
fn better_and_worse(report: &Report<'_>, domain: &str, key: &str, id: Reading) -> Option<[Vec<String>; 2]> {
    let higher = metric(key)?.better == Better::Higher;
    let rows = report.definition.rows.iter();
    let tested: Vec<(&Score, &str)> = rows
        .filter_map(|row| Some((report.aggregate.get(&id(&row.id), domain, key)?, row.label.as_str())))
        .filter(|(score, _)| score.holm_p.is_some())
        .collect();
    let of = |better: bool| -> Vec<String> {
        let wanted =
            |score: &Score| score.differs() && score.difference.is_some_and(|d| (d > 0.0) == (better == higher));
        tested.iter().filter(|(score, _)| wanted(score)).map(|(_, label)| (*label).to_owned()).collect()
    };
    (!tested.is_empty()).then(|| [of(true), of(false)])
}

/// Test sets and metrics: who is better, who is worse, what would have been seen.
fn told_apart(report: &Report<'_>) -> Table {
    let mut table = Table::new([
        Column::text("test set"),
        Column::text("metric"),
        Column::text("better"),
        Column::text("worse"),
        Column { align: Align::Right, ..Column::text("detectable") },
    ]);
    for domain in report.definition.domains.iter().filter(|domain| domain.corruption.is_none()) {
        for info in METRICS.iter().filter(|info| info.better != Better::Neither) {
            for (id, said) in [(str::to_owned as Reading, ""), (tempered, ", with temperature")] {
                let found = better_and_worse(report, &domain.id, info.key, id);
                let Some([better, worse]) = found else { continue };
                let always = said.is_empty() && ALWAYS.contains(&info.key);
                if !always && better.is_empty() && worse.is_empty() {
                    continue;
                }
                table.push([
                    Cell::text(&domain.label),
                    Cell::text(format!("{}{said}", info.label)),
                    listed(&better),
                    listed(&worse),
                    if said.is_empty() { detectable(report, domain, info.key, info.digits) } else { Cell::Missing },
                ]);
            }
        }
    }
    table
}

fn detectable(report: &Report<'_>, domain: &TestSet, key: &str, digits: usize) -> Cell {
    let found = report.power.of(&domain.id, key).filter(|found| !found.by_test.is_empty());
    found.map_or(Cell::Missing, |found| Cell::text(format!("{:.digits$}", median(found.by_test.iter().copied()))))
}

/// Scores that know more than the entropy of one deterministic pass, by question and test set; `None` where nothing was asked.
fn beyond(report: &Report<'_>) -> Option<Table> {
    let mut table = Table::new([
        Column::text("test set"),
        Column::text("question"),
        Column { align: Align::Right, ..Column::text("scores with a gain") },
        Column::text("which (gain)"),
    ]);
    for domain in &report.definition.domains {
        for (question, what) in [
            (Question::Errors, "which answers are wrong?"),
            (Question::ErrorsGivenEntropy, "which are wrong, given that entropy?"),
            (Question::Shift, "which texts are shifted?"),
        ] {
            let asked = report.asked(&domain.id, question);
            if asked.is_empty() {
                continue;
            }
            let mut gains: Vec<&BeyondTest<'_>> =
                asked.iter().filter(|one| one.differs() && one.found.estimate > 0.0).collect();
            gains.sort_by(|a, b| b.found.estimate.total_cmp(&a.found.estimate));
            let names: Vec<String> = gains.iter().map(|one| name(report, one)).collect();
            table.push([
                Cell::text(&domain.label),
                Cell::text(what),
                Cell::text(format!("{} of {}", gains.len(), asked.len())),
                listed(&names),
            ]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

/// `mutual information of SWAG (+0.021 beside MLE's pass)`.
fn name(report: &Report<'_>, one: &BeyondTest<'_>) -> String {
    let (what, beside) = asked_of(report, one);
    format!("{what} ({:+.3}{beside})", one.found.estimate)
}

/// A score of a row, and beside which pass it stands where that is not its own.
pub(crate) fn asked_of(report: &Report<'_>, one: &BeyondTest<'_>) -> (String, String) {
    let score = one.score();
    if let Some(control) = control(one.row, score, report.definition.reference_label()) {
        return (control, String::new());
    }
    let rows = &report.definition.rows;
    let method = rows.iter().find(|row| row.id == one.row).map(|row| &row.method);
    let own_pass = rows.iter().any(|row| Some(&row.method) == method && row.id.ends_with("/mean"));
    let member = report.comparisons.iter().any(|own| own.row == one.row && own.beside_a_member);
    let beside = match (own_pass, member) {
        (true, _) => String::new(),
        (false, true) => " beside a member's pass".to_owned(),
        (false, false) => format!(" beside {}'s pass", report.definition.reference_label()),
    };
    (format!("{score} of {}", report.definition.label(one.row)), beside)
}
