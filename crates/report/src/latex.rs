//! The main tables in LaTeX (booktabs).

use std::fmt::Write as _;

use bayeslora_render::{Format, Latex};

use crate::report::Report;
use crate::tables::{MAIN, metrics_of, table};

/// `table.tex`: one table per labelled test set; corrupted ones are in `table.csv`.
pub(crate) fn tables(report: &Report<'_>) -> String {
    let mut text = String::new();
    for line in report.provenance() {
        let _ = writeln!(text, "% {line}");
    }
    for domain in report.definition.labelled().filter(|domain| !metrics_of(domain, &MAIN).is_empty()) {
        let Some(mut table) = table(report.definition, &report.aggregate, domain, &MAIN) else { continue };
        table.caption = format!("{}: {}. {}", report.definition.title, domain.label, report.legend());
        let _ = writeln!(text, "{}", Latex.table(&table));
    }
    text
}
