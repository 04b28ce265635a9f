//! Rows before and after a temperature fitted on validation: `logits / T` for every sample, then averaged as before.

use std::fmt::Write as _;

use super::aggregate::tempered;
use super::markdown::{cell_text, heading, inside, metrics_of, shifted};
use super::{Aggregate, Definition};
use bayeslora_data::tasks::DomainInfo;

const INSIDE: [&str; 6] = ["nll", "brier", "ece", "classwise_ece", "aurc", "soft_nll"];
const SHIFTED: [&str; 2] = ["nll", "ece"];

/// Two tables; nothing where no temperature was fitted.
pub(super) fn section(definition: &Definition, aggregate: &Aggregate) -> String {
    if !aggregate.cells.iter().any(|cell| cell.metric == "temperature") {
        return String::new();
    }
    let mut text = format!(
        "## With a temperature fitted on validation\n\nBefore → after, means over seeds: every sample's logits divided by the T that \
         minimises the NLL of the validation split, one T for each row and seed. `*`: after it the row differs from {} after its \
         own temperature, tested and corrected as above. Predicted classes stay, except where samples disagree about them.\n\n",
        definition.reference_label()
    );
    let inside: Vec<&DomainInfo> = inside(definition).collect();
    text.push_str(&table(definition, aggregate, &inside, &INSIDE));
    let shifted: Vec<&DomainInfo> = shifted(definition).collect();
    text.push_str(&table(definition, aggregate, &shifted, &SHIFTED));
    text
}

fn table(definition: &Definition, aggregate: &Aggregate, domains: &[&DomainInfo], keys: &[&str]) -> String {
    let columns: Vec<_> = domains
        .iter()
        .flat_map(|domain| metrics_of(domain, keys).into_iter().map(move |metric| (*domain, metric)))
        .collect();
    if columns.is_empty() {
        return String::new();
    }
    let mut text = String::from("| method | T |");
    for (domain, metric) in &columns {
        let _ = write!(text, " {}, {} |", cell_text(&domain.label), heading(metric));
    }
    let _ = write!(text, "\n|---|---:|{}\n", "---:|".repeat(columns.len()));
    for row in &definition.rows {
        let scaled = tempered(&row.id);
        let Some(temperature) = aggregate.get(&scaled, "validation", "temperature") else { continue };
        let _ = write!(text, "| {} | {:.2} |", cell_text(&row.label), temperature.mean);
        for (domain, metric) in &columns {
            let get = |row: &str| aggregate.get(row, &domain.id, metric.key);
            let (Some(before), Some(after)) = (get(&row.id), get(&scaled)) else {
                text.push_str(" – |");
                continue;
            };
            let (digits, star) = (metric.digits, if after.differs() { "*" } else { "" });
            let _ = write!(text, " {:.digits$} → {:.digits$}{star} |", before.mean, after.mean);
        }
        text.push('\n');
    }
    text.push('\n');
    text
}
