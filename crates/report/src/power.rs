//! What the design would have seen.

use bayeslora_metrics::median;
use bayeslora_render::{Align, Block, Cell, Column, Section, Table};

use crate::detectable::Detectable;
use crate::report::Report;

/// The table; nothing where no comparison has a test.
pub(crate) fn section(report: &Report<'_>) -> Vec<Section> {
    let right = |name: &str| Column { align: Align::Right, ..Column::text(name) };
    let heads = ["over both", "over examples alone", "over seeds alone"].map(right);
    let mut table = Table::new([Column::text("test set"), Column::text("metric")].into_iter().chain(heads));
    for (domain, metric, Detectable { by_test, over_examples, over_seeds }) in &report.power.found {
        let digits = metric.digits;
        let spread = |values: &Vec<f64>| {
            let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
            let highest = values.iter().copied().fold(0.0, f64::max);
            if values.is_empty() {
                return Cell::Missing;
            }
            let median = median(values.iter().copied());
            Cell::text(format!("{median:.digits$} ({lowest:.digits$} to {highest:.digits$})"))
        };
        let spreads = [by_test, over_examples, over_seeds].map(spread);
        table.push([Cell::text(&domain.label), Cell::text(metric.label)].into_iter().chain(spreads));
    }
    if table.rows.is_empty() {
        return Vec::new();
    }
    let test = if report.is_of_families() {
        "by both errors of the test that sets the stars, at Satterthwaite's degrees of freedom"
    } else {
        "by the test that sets the stars"
    };
    let said = format!(
        "The smallest difference from {} that is detected with probability 0.8: median over rows (smallest to largest). The level is the one \
         that the correction asks of the strongest row, 0.05 over the number of rows. Over both: {test}. Over examples \
         alone: these fits on other examples. Over seeds alone: other fits on these examples, from three seeds on. A smaller difference may well \
         exist where no star stands.",
        report.definition.reference_label()
    );
    vec![Section::new("What would have been seen", [Block::text(said), Block::Table(table)])]
}
