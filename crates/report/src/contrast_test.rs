//! Rows beside another than the reference: the tests of each metric on each test set, corrected over the contrasts of the page.

use std::collections::BTreeMap;

use bayeslora_metrics::holm;
use bayeslora_records::{TEMPERED, UnitRecord, seven_digits};
use serde::Serialize;

use crate::comparison::Difference;
use crate::definition::Definition;
use crate::error::Result;
use crate::families::{Contrasted, contrasted};
use crate::score::LEVEL;

/// One tested difference of two rows.
pub(crate) struct ContrastTest {
    pub(crate) row: String,
    pub(crate) beside: String,
    pub(crate) found: Difference,
    pub(crate) holm_p: f64,
}

impl ContrastTest {
    pub(crate) fn is_tempered(&self) -> bool {
        self.row.ends_with(TEMPERED)
    }

    /// Whether it is of these two rows, as predicted or tempered, in a metric on a test set.
    pub(crate) fn is_of(&self, row: &str, beside: &str, domain: &str, metric: &str) -> bool {
        (self.row.as_str(), self.beside.as_str()) == (row, beside)
            && (self.found.domain.as_str(), self.found.metric.as_str()) == (domain, metric)
    }

    pub(crate) fn differs(&self) -> bool {
        self.holm_p <= LEVEL
    }
}

/// All of a page, each corrected over the contrasts of its test set and metric, those with a temperature apart.
pub(crate) fn all(definition: &Definition, units: &[&UnitRecord]) -> Result<Vec<ContrastTest>> {
    let each = |Contrasted { row, beside, differences }: Contrasted| {
        differences.into_iter().map(move |found| {
            let holm_p = found.p_value;
            ContrastTest { row: row.clone(), beside: beside.clone(), found, holm_p }
        })
    };
    let mut all: Vec<ContrastTest> = contrasted(definition, units)?.into_iter().flat_map(each).collect();
    let mut families: BTreeMap<(bool, String, String), Vec<usize>> = BTreeMap::new();
    for (place, one) in all.iter().enumerate() {
        let family = (one.is_tempered(), one.found.domain.clone(), one.found.metric.clone());
        families.entry(family).or_default().push(place);
    }
    for places in families.into_values() {
        let adjusted = holm(&places.iter().map(|&place| all[place].found.p_value).collect::<Vec<_>>())?;
        places.into_iter().zip(adjusted).for_each(|(place, p)| all[place].holm_p = p);
    }
    Ok(all)
}

/// A line of `contrasts.csv`.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    row: &'a str,
    beside: &'a str,
    domain: &'a str,
    metric: &'a str,
    difference: f64,
    lower: f64,
    upper: f64,
    p_value: f64,
    holm_p: f64,
}

impl<'a> From<&'a ContrastTest> for Line<'a> {
    fn from(ContrastTest { row, beside, found, holm_p }: &'a ContrastTest) -> Self {
        Self {
            row,
            beside,
            domain: &found.domain,
            metric: &found.metric,
            difference: seven_digits(found.estimate),
            lower: seven_digits(found.lower),
            upper: seven_digits(found.upper),
            p_value: seven_digits(found.p_value),
            holm_p: seven_digits(*holm_p),
        }
    }
}
