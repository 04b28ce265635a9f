//! Ways to test the same differences: the one in use, the one before it, and wrong ones that show what each part is good for.

use bayeslora_metrics::{Effect, PairedDifference, Prior, Result, over_examples_and_seeds, paired_t};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A way to test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// What the program uses: families on all fits of the reference.
    Used,
    /// What it used before: `V_E + V_S` of the row alone.
    Before,
    /// The variance over texts alone.
    TextsAlone,
    /// The variance over seeds alone: the paired t-test.
    SeedsAlone,
    /// Moderated variances, with all of the variance over texts.
    TextsTwice,
    /// Moderated variances that may fall below a row's own, and one Student's t for the sum.
    Lowered,
}

/// A row beside the reference.
#[derive(Debug, Clone)]
pub(crate) struct Compared {
    /// By the test in use.
    pub(crate) effect: Effect,
    /// By the test before it.
    pub(crate) before: PairedDifference,
    /// Degrees of freedom over texts.
    pub(crate) texts: f64,
    /// At every seed.
    pub(crate) differences: Vec<f64>,
}

impl Compared {
    /// Variance over seeds of the mean difference.
    pub(crate) fn over_seeds(&self) -> f64 {
        self.before.error_over_seeds.unwrap_or(0.0).powi(2)
    }
}

impl Variant {
    /// In the order of tables.
    pub const ALL: [Self; 6] =
        [Self::Used, Self::Before, Self::TextsAlone, Self::SeedsAlone, Self::TextsTwice, Self::Lowered];

    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Used => "in use",
            Self::Before => "before",
            Self::TextsAlone => "texts alone",
            Self::SeedsAlone => "seeds alone",
            Self::TextsTwice => "texts twice",
            Self::Lowered => "lowered",
        }
    }

    /// p-values of a family whose true differences are larger by `shifts`.
    pub(crate) fn p_values(self, rows: &[Compared], shifts: &[f64]) -> Result<Vec<f64>> {
        let seeds = rows[0].differences.len() as f64;
        let variances: Vec<f64> = rows.iter().map(|row| row.over_seeds() * seeds).collect();
        let prior = Prior::fit(&variances, seeds - 1.0)?;
        let each = rows.iter().zip(shifts).zip(&variances);
        each.map(|((row, &shift), &variance)| {
            let differences: Vec<f64> = row.differences.iter().map(|own| own + shift).collect();
            let estimate = row.before.estimate + shift;
            let (error, texts) = (row.before.error_over_examples, row.texts);
            Ok(match self {
                Self::Used if shift == 0.0 => row.effect.p_value,
                Self::Used => row.effect.p_value_of(-shift),
                Self::Before => over_examples_and_seeds(&differences, error, texts, 0.95)?.p_value,
                Self::TextsAlone => over_examples_and_seeds(&[estimate], error, texts, 0.95)?.p_value,
                Self::SeedsAlone => paired_t(&differences, &vec![0.0; differences.len()])?,
                Self::TextsTwice => {
                    let own = prior.moderate(variance);
                    student(estimate, [(own.variance / seeds, own.degrees_of_freedom), (error * error, texts)])
                }
                Self::Lowered => {
                    let (own, texts_alone) = (prior.posterior(variance), row.effect.error_over_texts.powi(2));
                    student(estimate, [(own.variance / seeds, own.degrees_of_freedom), (texts_alone, texts)])
                }
            })
        })
        .collect()
    }
}

/// Two-sided p-value by one Student's t at Satterthwaite's degrees of freedom.
fn student(estimate: f64, parts: [(f64, f64); 2]) -> f64 {
    let variance: f64 = parts.iter().map(|(variance, _)| variance).sum();
    let inverse: f64 = parts.iter().map(|(part, degrees)| (part / variance).powi(2) / degrees).sum();
    let law = StudentsT::new(0.0, 1.0, 1.0 / inverse);
    law.map_or(f64::NAN, |law| 2.0 * law.sf(estimate.abs() / variance.sqrt()))
}
