//! What scores know beyond one deterministic pass: the p-values of one question on one test set, corrected together.

use bayeslora_metrics::{holm, metric};
use bayeslora_records::{Beyond, Question, seven_digits};
use serde::Serialize;

use crate::comparison::Comparison;
use crate::definition::{Definition, TestSet};
use crate::error::Result;
use crate::passes::CONTROLS;
use crate::score::LEVEL;

/// One score of one row (or a distance), with its p-value corrected over everything asked the same question on the same domain.
pub(crate) struct BeyondTest<'a> {
    pub(crate) row: &'a str,
    pub(crate) found: &'a Beyond,
    pub(crate) holm_p: f64,
}

impl BeyondTest<'_> {
    pub(crate) fn differs(&self) -> bool {
        self.holm_p <= LEVEL
    }

    /// The score as tables name it.
    pub(crate) fn score(&self) -> &str {
        score_label(&self.found.score)
    }
}

pub(crate) fn score_label(score: &str) -> &str {
    metric(&format!("auroc_{score}")).map_or("score", |metric| metric.label.trim_start_matches("AUROC, "))
}

/// A line of `beyond.csv`.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    row: &'a str,
    domain: &'a str,
    question: Question,
    score: &'a str,
    baseline: Option<f64>,
    estimate: f64,
    lower: f64,
    upper: f64,
    p_value: f64,
    holm_p: f64,
}

impl<'a> From<&BeyondTest<'a>> for Line<'a> {
    fn from(BeyondTest { row, found, holm_p }: &BeyondTest<'a>) -> Self {
        Self {
            row,
            domain: &found.domain,
            question: found.question,
            score: &found.score,
            baseline: found.baseline.map(seven_digits),
            estimate: seven_digits(found.estimate),
            lower: seven_digits(found.lower),
            upper: seven_digits(found.upper),
            p_value: seven_digits(found.p_value),
            holm_p: seven_digits(*holm_p),
        }
    }
}

/// Everything asked one question on one test set.
pub(crate) struct Family<'a> {
    pub(crate) domain: &'a str,
    pub(crate) question: Question,
    pub(crate) asked: Vec<BeyondTest<'a>>,
}

/// Every question that the comparisons answer, test set by test set.
pub(crate) fn families<'a>(definition: &'a Definition, comparisons: &'a [Comparison]) -> Result<Vec<Family<'a>>> {
    let mut families = Vec::new();
    for domain in &definition.domains {
        for question in [Question::Errors, Question::ErrorsGivenEntropy, Question::Shift] {
            let asked = asked(definition, comparisons, domain, question)?;
            families.push(Family { domain: &domain.id, question, asked });
        }
    }
    Ok(families)
}

/// Everything asked `question` on a test set, in the order of rows and scores.
fn asked<'a>(
    definition: &Definition,
    comparisons: &'a [Comparison],
    domain: &TestSet,
    question: Question,
) -> Result<Vec<BeyondTest<'a>>> {
    let rows = definition.rows.iter().map(|row| row.id.as_str()).chain(CONTROLS);
    let of_row = |row: &str| comparisons.iter().filter(move |comparison| comparison.row == row).collect::<Vec<_>>();
    let mut found = Vec::new();
    for comparison in rows.flat_map(of_row) {
        let here = comparison.beyond.iter().filter(|b| b.domain == domain.id && b.question == question);
        found.extend(here.map(|one| BeyondTest { row: comparison.row.as_str(), found: one, holm_p: one.p_value }));
    }
    let adjusted = holm(&found.iter().map(|one| one.holm_p).collect::<Vec<_>>())?;
    for (one, p) in found.iter_mut().zip(adjusted) {
        one.holm_p = p;
    }
    Ok(found)
}
