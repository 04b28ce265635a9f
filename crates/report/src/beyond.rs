//! What scores know beyond one deterministic pass, by test set and question.

use std::collections::BTreeSet;

use bayeslora_records::{Beyond, DISTANCES, OTHER_FIT, Question};
use bayeslora_render::{Block, Cell, Column, Section, Table};

use crate::beyond_test::{BeyondTest, score_label};
use crate::definition::Definition;
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
        let reference = report.definition.reference_label();
        let (pass, errors) = if report.is_of_families() {
            ("that of its first member", "DeLong's placements, or permutations within strata")
        } else {
            ("REFERENCE at the same seed where it has none", "DeLong's placements averaged over seeds")
        };
        let opening = format!(
            "These tables hold the scores of each row against the predictive entropy of one deterministic pass. The pass is the fit's own reading at \
             its mean, or {}. Intervals are over examples ({errors}) and seeds, not corrected. `*`: differs from 0 at 0.05 after Holm's correction \
             over all scores of one table and the distances below it.",
            pass.replace("REFERENCE", reference)
        );
        first.blocks.insert(0, Block::text(opening));
    }
    sections
}

fn cell(one: &BeyondTest<'_>) -> Cell {
    let &Beyond { estimate, lower, upper, .. } = one.found;
    Cell::Interval { estimate, lower, upper, mark: if one.differs() { "*" } else { "" } }
}

/// Rows against scores, then the distances, which belong to no row.
fn tables(definition: &Definition, asked: &[BeyondTest<'_>]) -> impl Iterator<Item = Table> {
    let baseline = |one: Option<&&BeyondTest<'_>>| Cell::maybe(one.and_then(|one| one.found.baseline));
    let (distances, scores): (Vec<&BeyondTest<'_>>, Vec<_>) =
        asked.iter().partition(|one| [DISTANCES, OTHER_FIT].contains(&one.row));
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
    let has_placebo = distances.iter().any(|one| one.row == OTHER_FIT);
    let head = if has_placebo { "without a posterior" } else { "distance of the adapters' input" };
    let mut of_distances = Table::new([Column::text(head), pass(), difference]);
    for one in &distances {
        let name = if one.row == OTHER_FIT {
            format!("placebo: entropy of another fit of {}", definition.reference_label())
        } else {
            one.score().to_owned()
        };
        of_distances.push([Cell::text(name), baseline(Some(one)), cell(one)]);
    }
    [of_rows, of_distances].into_iter().filter(|table| !table.rows.is_empty())
}
