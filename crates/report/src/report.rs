//! What all parts of a report are made from.

use bayeslora_metrics::holm;
use bayeslora_records::{Question, UnitRecord};

use crate::aggregate::Aggregate;
use crate::beyond_test::{BeyondTest, Family, families};
use crate::comparison::Comparison;
use crate::contrast_test::{self, ContrastTest};
use crate::definition::Definition;
use crate::detectable::DetectableDifferences;
use crate::equivalence_test::{self, Equivalence};
use crate::error::Result;
use crate::provenance::provenance;
use crate::score::LEVEL;

/// An experiment's definition, its records and the numbers made of them.
pub struct Report<'a> {
    /// The experiment.
    pub definition: &'a Definition,
    /// Means over seeds and differences from the reference.
    pub aggregate: Aggregate,
    pub(crate) units: Vec<&'a UnitRecord>,
    pub(crate) comparisons: &'a [Comparison],
    pub(crate) power: DetectableDifferences<'a>,
    pub(crate) tests: Tests,
    families: Vec<Family<'a>>,
    pub(crate) equivalences: Vec<Equivalence<'a>>,
    pub(crate) contrasts: Vec<ContrastTest>,
    provenance: Vec<String>,
}

/// The tests behind a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tests {
    pub(crate) made: usize,
    /// Those that stand out after the correction over their own family.
    pub(crate) starred: usize,
    /// Those that a correction over all of them would leave.
    pub(crate) left: usize,
}

impl Tests {
    fn of(aggregate: &Aggregate, families: &[Family<'_>], contrasts: &[ContrastTest]) -> Result<Self> {
        let of_scores = aggregate.compared().filter_map(|score| Some((score.p_value?, score.differs())));
        let asked = families.iter().flat_map(|family| &family.asked);
        let tests: Vec<(f64, bool)> = of_scores
            .chain(asked.map(|one| (one.found.p_value, one.differs())))
            .chain(contrasts.iter().map(|one| (one.found.p_value, one.differs())))
            .collect();
        let adjusted = holm(&tests.iter().map(|(p, _)| *p).collect::<Vec<_>>())?;
        Ok(Self {
            made: tests.len(),
            starred: tests.iter().filter(|(_, starred)| *starred).count(),
            left: adjusted.into_iter().filter(|p| *p <= LEVEL).count(),
        })
    }
}

impl<'a> Report<'a> {
    /// From records in any order.
    ///
    /// # Errors
    /// [`Error::Report`](crate::Error::Report) when there is none.
    pub fn new(definition: &'a Definition, units: &'a [UnitRecord], comparisons: &'a [Comparison]) -> Result<Self> {
        let mut units: Vec<&UnitRecord> = units.iter().collect();
        units.sort_by(|a, b| (&a.method, a.seed, &a.key).cmp(&(&b.method, b.seed, &b.key)));
        let aggregate = Aggregate::new(definition, &units, comparisons)?;
        let power = DetectableDifferences::new(definition, comparisons)?;
        let families = families(definition, comparisons)?;
        let contrasts = contrast_test::all(definition, &units)?;
        let tests = Tests::of(&aggregate, &families, &contrasts)?;
        let equivalences = equivalence_test::all(definition, comparisons)?;
        let provenance = provenance(definition, &units)?;
        Ok(Self {
            definition,
            aggregate,
            units,
            comparisons,
            power,
            tests,
            families,
            equivalences,
            contrasts,
            provenance,
        })
    }

    /// Everything asked a question on a test set, in the order of rows and scores.
    pub(crate) fn asked(&self, domain: &str, question: Question) -> &[BeyondTest<'a>] {
        let found = self.families.iter().find(|family| family.domain == domain && family.question == question);
        found.map_or(&[], |family| &family.asked)
    }

    /// Everything asked of scores, family by family.
    pub(crate) fn all_asked(&self) -> impl Iterator<Item = &BeyondTest<'a>> {
        self.families.iter().flat_map(|family| &family.asked)
    }

    /// Whether the tests are those of families, from what every text was given.
    pub(crate) fn is_of_families(&self) -> bool {
        self.comparisons.iter().any(|comparison| comparison.of_family)
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
                " Bold: the best mean of its column, and rows that other seeds on the same texts do not tell apart from it. The test is a paired \
                 t-test over seeds (Holm, 0.05). Stars are tested over texts too, so the two can differ.",
            );
        }
        if self.aggregate.compared().next().is_some() {
            let reference = self.definition.reference_label();
            let test = if self.is_of_families() {
                "t-test over seeds and what is persistent of examples; variances over seeds are moderated over the rows"
            } else {
                "t-test over examples and seeds, over examples alone for one seed"
            };
            let starred = format!(
                " `*`: differs from {reference} at 0.05 ({test}). Holm's correction is over the rows of one test set and metric, not over metrics \
                 and test sets."
            );
            text.push_str(&starred);
        }
        text
    }
}
