//! Rows beside another than the reference: the tests of each metric on each test set, corrected over the contrasts of the page.

use bayeslora_metrics::{holm, metric};
use bayeslora_records::{TEMPERED, UnitRecord, seven_digits};
use bayeslora_render::{Align, Block, Cell, Column, Section, Table};
use serde::Serialize;

use crate::comparison::Difference;
use crate::definition::Definition;
use crate::error::Result;
use crate::families::{Contrasted, contrasted};
use crate::report::Report;
use crate::score::LEVEL;

/// One tested difference of two rows.
pub(crate) struct Contrast {
    row: String,
    beside: String,
    pub(crate) found: Difference,
    pub(crate) holm_p: f64,
}

impl Contrast {
    fn is_tempered(&self) -> bool {
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
pub(crate) fn all(definition: &Definition, units: &[&UnitRecord]) -> Result<Vec<Contrast>> {
    let each = |Contrasted { row, beside, differences }: Contrasted| {
        differences.into_iter().map(move |found| {
            let holm_p = found.p_value;
            Contrast { row: row.clone(), beside: beside.clone(), found, holm_p }
        })
    };
    let mut all: Vec<Contrast> = contrasted(definition, units)?.into_iter().flat_map(each).collect();
    let family = |one: &Contrast| (one.is_tempered(), one.found.domain.clone(), one.found.metric.clone());
    for place in 0..all.len() {
        let members: Vec<usize> = (0..all.len()).filter(|&other| family(&all[other]) == family(&all[place])).collect();
        // Each family once, at its first member.
        if members[0] == place {
            let adjusted = holm(&members.iter().map(|&member| all[member].found.p_value).collect::<Vec<_>>())?;
            members.iter().zip(adjusted).for_each(|(&member, p)| all[member].holm_p = p);
        }
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

impl<'a> From<&'a Contrast> for Line<'a> {
    fn from(Contrast { row, beside, found, holm_p }: &'a Contrast) -> Self {
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

/// The table; nothing where the experiment names no contrast.
pub(crate) fn section(report: &Report<'_>) -> Vec<Section> {
    let right = |name: &str| Column { align: Align::Right, ..Column::text(name) };
    let mut table = Table::new([
        Column::text("method"),
        Column::text("beside"),
        Column::text("test set"),
        Column::text("metric"),
        Column::text("difference"),
        right("p"),
    ]);
    for one in &report.contrasts {
        let label = |id: &str| Cell::text(report.definition.label(id.trim_end_matches(TEMPERED)));
        let domain = report.definition.domains.iter().find(|domain| domain.id == one.found.domain);
        let (name, digits) = metric(&one.found.metric).map_or(("", 4), |metric| (metric.label, metric.digits));
        let Difference { estimate, lower, upper, .. } = one.found;
        let mark = if one.differs() { "*" } else { "" };
        table.push([
            label(&one.row),
            label(&one.beside),
            Cell::text(domain.map_or("", |domain| domain.label.as_str())),
            Cell::text(format!("{name}{}", if one.is_tempered() { ", with temperature" } else { "" })),
            Cell::text(Cell::Interval { estimate, lower, upper, mark }.shown(digits)),
            Cell::text(if one.holm_p < 1e-4 { "< 0.0001".to_owned() } else { format!("{:.4}", one.holm_p) }),
        ]);
    }
    if table.rows.is_empty() {
        return Vec::new();
    }
    let said = "Differences of two rows at equal seeds. The spread over seeds is that of the pairs alone, so intervals are wide. p is after \
                Holm's correction over the contrasts of one test set and metric.";
    vec![Section::new("Rows beside each other", [Block::text(said), Block::Table(table)])]
}
