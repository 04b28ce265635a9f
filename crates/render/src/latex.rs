//! Tables in LaTeX, for `booktabs`.

use crate::table::{Align, Format, Table};

/// LaTeX with the `booktabs` package.
#[derive(Debug, Clone, Copy)]
pub struct Latex;

/// Text with LaTeX's special characters escaped.
pub(crate) fn escape(text: &str) -> String {
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
            '→' => escaped.push_str("$\\to$"),
            '↑' => escaped.push_str("$\\uparrow$"),
            '↓' => escaped.push_str("$\\downarrow$"),
            'ρ' => escaped.push_str("$\\rho$"),
            '<' => escaped.push_str("$<$"),
            '–' => escaped.push_str("--"),
            '*' => escaped.push_str("$^{*}$"),
            '†' => escaped.push_str("$^{\\dagger}$"),
            other => escaped.push(other),
        }
    }
    escaped
}

impl Format for Latex {
    fn table(&self, table: &Table) -> String {
        let mut text = "\\begin{table}\n\\centering\n".to_owned();
        if !table.caption.is_empty() {
            text += &format!("\\caption{{{}}}\n", escape(&table.caption));
        }
        let letters: String =
            table.columns.iter().map(|column| if column.align == Align::Left { 'l' } else { 'r' }).collect();
        let heads: Vec<String> = table.columns.iter().map(|column| escape(&column.heading())).collect();
        text += &format!("\\begin{{tabular}}{{{letters}}}\n\\toprule\n{} \\\\\n\\midrule\n", heads.join(" & "));
        for (row, shown) in table.rows.iter().zip(table.shown()) {
            let cells: Vec<String> = row
                .iter()
                .zip(shown)
                .map(
                    |(cell, shown)| {
                        if cell.is_strong() { format!("\\textbf{{{}}}", escape(&shown)) } else { escape(&shown) }
                    },
                )
                .collect();
            text += &format!("{} \\\\\n", cells.join(" & "));
        }
        text + "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(super::escape("a_b & 5 % ± 1*"), "a\\_b \\& 5 \\% $\\pm$ 1$^{*}$");
    }
}
