//! What all parts of a report are made from.

use bayeslora_records::{ComparisonRecord, UnitRecord};

use crate::aggregate::Aggregate;
use crate::definition::Definition;
use crate::error::{Error, Result};
use crate::power::Power;
use crate::provenance::provenance;

/// An experiment's definition, its records and the numbers made of them.
pub struct Report<'a> {
    /// The experiment.
    pub definition: &'a Definition,
    /// Means over seeds and differences from the reference.
    pub aggregate: Aggregate,
    pub(crate) units: Vec<&'a UnitRecord>,
    pub(crate) comparisons: &'a [ComparisonRecord],
    pub(crate) power: Power<'a>,
    provenance: Vec<String>,
}

impl<'a> Report<'a> {
    /// From records in any order.
    ///
    /// # Errors
    /// [`Error::Report`] when there is none.
    pub fn new(
        definition: &'a Definition,
        units: &'a [UnitRecord],
        comparisons: &'a [ComparisonRecord],
    ) -> Result<Self> {
        if units.is_empty() {
            return Err(Error::Report(format!("{} has no records yet; run `{}`", definition.name, definition.command)));
        }
        let mut units: Vec<&UnitRecord> = units.iter().collect();
        units.sort_by(|a, b| (&a.method, a.seed, &a.key).cmp(&(&b.method, b.seed, &b.key)));
        let aggregate = Aggregate::new(definition, &units, comparisons)?;
        let power = Power::new(definition, comparisons)?;
        let provenance = provenance(definition, &units)?;
        Ok(Self { definition, aggregate, units, comparisons, power, provenance })
    }

    pub(crate) fn provenance(&self) -> &[String] {
        &self.provenance
    }

    /// What `±`, `*` and bold stand for.
    pub(crate) fn legend(&self) -> String {
        let mut text = "Mean ± sample standard deviation over finished seeds (divisor n − 1); digits are those that the deviation justifies."
            .to_owned();
        if self.aggregate.scores.iter().any(|score| score.alike.is_some()) {
            text.push_str(
                " Bold: the best mean of its column, and rows that the seeds do not tell apart from it (paired t-test, Holm, 0.05).",
            );
        }
        if self.aggregate.compared().next().is_some() {
            let reference = self.definition.reference_label();
            text += &format!(
                " `*`: differs from {reference} at 0.05 (t-test over examples and seeds, over examples alone for one seed). Holm's correction \
                 is over the rows of one test set and metric, not over metrics and test sets."
            );
        }
        text
    }
}
