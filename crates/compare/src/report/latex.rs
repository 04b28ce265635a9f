//! The main tables in LaTeX (booktabs).

use std::fmt::Write as _;

use super::aggregate::{display, star};
use super::markdown::{MAIN, metrics_of, provenance};
use super::{Aggregate, Definition};
use crate::error::Result;
use bayeslora_records::UnitRecord;

/// Text with LaTeX's special characters escaped.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '±' => escaped.push_str("$\\pm$"),
            '−' => escaped.push_str("$-$"),
            'ρ' => escaped.push_str("$\\rho$"),
            '<' => escaped.push_str("$<$"),
            '–' => escaped.push_str("--"),
            '*' => escaped.push_str("$^{*}$"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `table.tex`: one table per domain with labels; corrupted ones are in `table.csv`.
pub(super) fn tables(definition: &Definition, aggregate: &Aggregate, units: &[&UnitRecord]) -> Result<String> {
    let mut text = String::new();
    for line in provenance(definition, units)? {
        let _ = writeln!(text, "% {line}");
    }
    for domain in definition.domains.iter().filter(|domain| domain.corruption.is_none()) {
        let metrics = metrics_of(domain, &MAIN);
        if metrics.is_empty() {
            continue;
        }
        let _ = write!(
            text,
            "\\begin{{table}}\n\\centering\n\\caption{{{}: {}. Mean $\\pm$ sample standard deviation over seeds; $^{{*}}$: {}}}\n\\begin{{tabular}}{{l{}}}\n\\toprule\nmethod",
            escape(&definition.title),
            escape(&domain.label),
            escape(&star(aggregate, definition.reference_label())),
            "r".repeat(metrics.len())
        );
        for metric in &metrics {
            let _ = write!(text, " & {}", escape(metric.label));
        }
        text.push_str(" \\\\\n\\midrule\n");
        for row in &definition.rows {
            text.push_str(&escape(&row.label));
            for metric in &metrics {
                let _ = write!(text, " & {}", escape(&display(aggregate.get(&row.id, &domain.id, metric.key), metric)));
            }
            text.push_str(" \\\\\n");
        }
        text.push_str("\\bottomrule\n\\end{tabular}\n\\end{table}\n\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(super::escape("a_b & 5 % ± 1*"), "a\\_b \\& 5 \\% $\\pm$ 1$^{*}$");
    }
}
