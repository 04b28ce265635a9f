//! What scores know beyond one deterministic pass, by test set and question.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bayeslora_metrics::{holm, metric};

use super::Definition;
use super::aggregate::LEVEL;
use super::markdown::cell_text;
use crate::error::Result;
use bayeslora_data::tasks::DomainInfo;
use bayeslora_records::{Beyond, ComparisonRecord, DISTANCES, Question};

const QUESTIONS: [(Question, &str); 3] = [
    (
        Question::Errors,
        "Detecting the row's errors: AUROC of the score minus that of the deterministic entropy, which is in the first column.",
    ),
    (
        Question::ErrorsGivenEntropy,
        "Correlation with the row's errors given the deterministic entropy: partial Spearman ρ.",
    ),
    (
        Question::Shift,
        "Detecting this test set against the in-distribution one: AUROC of the score minus that of the deterministic entropy.",
    ),
];

/// One score of one row (or a distance), with its p-value corrected over everything asked the same question on the same domain.
pub(super) struct Known<'a> {
    pub(super) row: &'a str,
    pub(super) found: &'a Beyond,
    pub(super) holm_p: f64,
}

impl Known<'_> {
    pub(super) fn differs(&self) -> bool {
        self.holm_p <= LEVEL
    }

    /// The score as tables name it.
    pub(super) fn score(&self) -> &str {
        score_label(&self.found.score)
    }
}

fn score_label(score: &str) -> &str {
    metric(&format!("auroc_{score}")).map_or("score", |metric| metric.label.trim_start_matches("AUROC, "))
}

/// Everything asked `question` on a domain, in the order of rows and scores.
pub(super) fn asked<'a>(
    definition: &Definition,
    comparisons: &'a [ComparisonRecord],
    domain: &DomainInfo,
    question: Question,
) -> Result<Vec<Known<'a>>> {
    let rows = definition.rows.iter().map(|row| row.id.as_str()).chain([DISTANCES]);
    let of_row = |row: &str| comparisons.iter().filter(move |comparison| comparison.row == row).collect::<Vec<_>>();
    let mut found = Vec::new();
    for comparison in rows.flat_map(of_row) {
        let here = comparison.beyond.iter().filter(|b| b.domain == domain.id && b.question == question);
        found.extend(here.map(|known| Known { row: comparison.row.as_str(), found: known, holm_p: known.p_value }));
    }
    let adjusted = holm(&found.iter().map(|known| known.holm_p).collect::<Vec<_>>())?;
    for (known, p) in found.iter_mut().zip(adjusted) {
        known.holm_p = p;
    }
    Ok(found)
}

/// The tables; nothing where no comparison has any.
pub(super) fn section(definition: &Definition, comparisons: &[ComparisonRecord]) -> Result<String> {
    let mut text = String::new();
    for domain in &definition.domains {
        let mut tables = String::new();
        for (question, caption) in QUESTIONS {
            let asked = asked(definition, comparisons, domain, question)?;
            if !asked.is_empty() {
                let _ = write!(tables, "{caption}\n\n{}", table(definition, &asked));
            }
        }
        if !tables.is_empty() {
            let _ = write!(text, "## {}: beyond one deterministic pass\n\n{tables}", domain.label);
        }
    }
    if text.is_empty() {
        return Ok(text);
    }
    let opening = format!(
        "What the scores of sampled rows know that the predictive entropy of one deterministic pass does not is in the next tables. The \
         pass is the fit's own reading at its mean, or {} at the same seed where it has none. Intervals over examples (DeLong's placements \
         averaged over seeds) and seeds, not corrected; `*`: differs from 0 at 0.05 after Holm's correction over all scores of one \
         table and the distances below it.\n\n",
        definition.reference_label()
    );
    Ok(opening + &text)
}

/// Rows against scores, then the distances, which belong to no row.
fn table(definition: &Definition, asked: &[Known<'_>]) -> String {
    let cell = |known: &Known<'_>| {
        let (Beyond { estimate, lower, upper, .. }, star) = (known.found, if known.differs() { "*" } else { "" });
        format!("{estimate:+.3}{star} [{lower:+.3}, {upper:+.3}]")
    };
    let baseline = |known: Option<&&Known<'_>>| {
        known.and_then(|known| known.found.baseline).map_or_else(|| "–".to_owned(), |area| format!("{area:.3}"))
    };
    let (distances, scores): (Vec<&Known<'_>>, Vec<_>) = asked.iter().partition(|known| known.row == DISTANCES);
    let mut seen = BTreeSet::new();
    let columns: Vec<&str> =
        scores.iter().map(|known| known.found.score.as_str()).filter(|score| seen.insert(*score)).collect();
    let mut text = String::new();
    if !scores.is_empty() {
        let names: Vec<&str> = columns.iter().map(|score| score_label(score)).collect();
        let _ = write!(text, "| method | entropy of one pass | {} |\n|---|---:|", names.join(" | "));
        let _ = writeln!(text, "{}", "---|".repeat(columns.len()));
    }
    for row in &definition.rows {
        let own: Vec<&&Known<'_>> = scores.iter().filter(|known| known.row == row.id).collect();
        if own.is_empty() {
            continue;
        }
        let _ = write!(text, "| {} | {} |", cell_text(&row.label), baseline(own.first().copied()));
        for score in &columns {
            let found = own.iter().find(|known| known.found.score == *score);
            let _ = write!(text, " {} |", found.map_or_else(|| "–".to_owned(), |known| cell(known)));
        }
        text.push('\n');
    }
    if !distances.is_empty() {
        text.push_str("\n| distance of the adapters' input | entropy of one pass | difference |\n|---|---:|---|\n");
        for known in &distances {
            let _ = writeln!(text, "| {} | {} | {} |", known.score(), baseline(Some(known)), cell(known));
        }
    }
    text.push('\n');
    text
}
