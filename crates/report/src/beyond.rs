//! What scores know beyond one deterministic pass, by test set and question.

use std::collections::BTreeSet;

use bayeslora_records::{Beyond, Question};
use bayeslora_render::{Block, Cell, Column, Section, Table};

use crate::aggregate::records_of;
use crate::beyond_test::{BeyondTest, score_label};
use crate::definition::{Definition, RowDefinition};
use crate::passes::{CONTROLS, control};
use crate::report::Report;

/// What is asked, and how a page says it.
fn questions(report: &Report<'_>) -> [(Question, &'static str); 3] {
    let given = if report.is_of_families() {
        "Correlation with the row's errors given the deterministic entropy: of ranks, within strata of about 20 texts."
    } else {
        "Correlation with the row's errors given the deterministic entropy: partial Spearman ρ."
    };
    [
        (
            Question::Errors,
            "Detecting the row's errors: AUROC of the score minus that of the deterministic entropy, which is in the first column.",
        ),
        (Question::ErrorsGivenEntropy, given),
        (
            Question::Shift,
            "Detecting this test set against the in-distribution one: AUROC of the score minus that of the deterministic entropy.",
        ),
    ]
}

/// The tables; nothing where no comparison has any.
pub(crate) fn sections(report: &Report<'_>) -> Vec<Section> {
    let mut sections = Vec::new();
    for domain in &report.definition.domains {
        let mut blocks = Vec::new();
        for (question, caption) in questions(report) {
            let asked = report.asked(&domain.id, question);
            if !asked.is_empty() {
                blocks.push(Block::text(caption));
                blocks.extend(tables(report.definition, asked).map(Block::Table));
            }
        }
        if !blocks.is_empty() {
            sections.push(Section::new(format!("{}: beyond one deterministic pass", domain.label), blocks));
        }
    }
    if let Some(first) = sections.first_mut() {
        first.blocks.splice(0..0, opening(report).into_iter().map(Block::Text));
    }
    sections
}

/// What the tables hold, and what they leave out.
fn opening(report: &Report<'_>) -> Vec<String> {
    let reference = report.definition.reference_label();
    let is_of_families = report.is_of_families();
    let (pass, errors) = if is_of_families {
        ("that of one of its members".to_owned(), "DeLong's placements, or permutations within strata")
    } else {
        (format!("{reference} at the same seed where it has none"), "DeLong's placements averaged over seeds")
    };
    let mut said = vec![format!(
        "These tables hold the scores of each row against the predictive entropy of one deterministic pass. The pass is the fit's own reading at \
         its mean, or {pass}. Intervals are over examples ({errors}) and seeds, not corrected. `*`: differs from 0 at 0.05 after Holm's correction \
         over all scores of one table and what stands below it."
    )];
    if is_of_families {
        said.push(format!(
            "Placebos are plain fits of {reference}: what they seem to add is no merit of a posterior. An ensemble's errors are its own, and its \
             pass is that of one member. So its gains are to be read beside those of a plain fit and another fit's pass."
        ));
    }
    let held: Vec<&str> = report.all_asked().map(|one| one.row).collect();
    let rows = report.definition.rows.iter().filter(|row| is_of_families && !held.contains(&row.id.as_str()));
    let has_samples = |row: &&RowDefinition| records_of(&report.units, &row.id).iter().any(|(_, own)| own.samples > 1);
    let compared = |row: &&RowDefinition| report.comparisons.iter().any(|own| own.row == row.id);
    let without: Vec<&str> = rows.filter(compared).filter(has_samples).map(|row| row.label.as_str()).collect();
    if !without.is_empty() {
        said.push(format!("Held against no pass, as their records have none: {}.", without.join(", ")));
    }
    said
}

fn cell(one: &BeyondTest<'_>) -> Cell {
    let &Beyond { estimate, lower, upper, .. } = one.found;
    Cell::Interval { estimate, lower, upper, mark: if one.differs() { "*" } else { "" } }
}

/// Rows against scores, then the controls, which belong to no row.
fn tables(definition: &Definition, asked: &[BeyondTest<'_>]) -> impl Iterator<Item = Table> {
    let baseline = |one: Option<&&BeyondTest<'_>>| Cell::maybe(one.and_then(|one| one.found.baseline));
    let (controls, scores): (Vec<&BeyondTest<'_>>, Vec<_>) = asked.iter().partition(|one| CONTROLS.contains(&one.row));
    let mut seen = BTreeSet::new();
    let columns: Vec<&str> =
        scores.iter().map(|one| one.found.score.as_str()).filter(|score| seen.insert(*score)).collect();
    let pass = || Column::number("entropy of one pass", 3);
    let heads = columns.iter().map(|score| Column::number(score_label(score), 3).left());
    let mut of_rows = Table::new([Column::text("method"), pass()].into_iter().chain(heads));
    for row in &definition.rows {
        let own: Vec<&&BeyondTest<'_>> = scores.iter().filter(|one| one.row == row.id).collect();
        if own.is_empty() {
            continue;
        }
        let cells = columns
            .iter()
            .map(|score| own.iter().find(|one| one.found.score == *score).map_or(Cell::Missing, |one| cell(one)));
        of_rows.push([Cell::text(&row.label), baseline(own.first().copied())].into_iter().chain(cells));
    }
    let difference = Column::number("difference", 3).left();
    let mut of_controls = Table::new([Column::text("without a posterior"), pass(), difference]);
    for one in &controls {
        let name = control(one.row, one.score(), definition.reference_label());
        of_controls.push([Cell::text(name.unwrap_or_default()), baseline(Some(one)), cell(one)]);
    }
    [of_rows, of_controls].into_iter().filter(|table| !table.rows.is_empty())
}
