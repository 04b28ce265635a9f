//! Tables in HTML, and the escaping of text.

pub use crate::escape::escape;
use crate::prose;
use crate::table::{Align, Cell, Format, Table};

/// HTML whose wide tables scroll in a box of their own.
#[derive(Debug, Clone, Copy)]
pub struct Html;

/// Prose as HTML: paragraphs, lists, block quotes, `code`, **bold**, *emphasis* and links. Tags in it are shown and not obeyed.
///
/// # Examples
/// ```
/// let html = bayeslora_render::html::prose("One **bold** `<b>`.\n\n- a\n- b\n");
/// assert_eq!(html, "<p>One <strong>bold</strong> <code>&lt;b&gt;</code>.</p>\n<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n");
/// ```
pub fn prose(text: &str) -> String {
    prose::blocks(text)
}

/// One line of prose as HTML, without a paragraph around it.
pub fn inline(text: &str) -> String {
    prose::inline(text)
}

impl Format for Html {
    fn table(&self, table: &Table) -> String {
        let class = |align| if align == Align::Left { "" } else { " class=\"n\"" };
        let mut text = "<div class=\"table\" tabindex=\"0\"><table>\n".to_owned();
        if !table.caption.is_empty() {
            text += &format!("<caption>{}</caption>\n", inline(&table.caption));
        }
        text += "<thead><tr>";
        for column in &table.columns {
            text += &format!("<th{}>{}</th>", class(column.align), escape(&column.heading()));
        }
        text += "</tr></thead>\n<tbody>\n";
        for (row, shown) in table.rows.iter().zip(table.shown()) {
            text += "<tr>";
            for ((column, cell), shown) in table.columns.iter().zip(row).zip(shown) {
                let shown = escape(&shown);
                let shown = match cell {
                    Cell::Link { to, .. } => format!("<a href=\"{}\">{shown}</a>", escape(to)),
                    cell if cell.is_strong() => format!("<strong>{shown}</strong>"),
                    _ => shown,
                };
                text += &format!("<td{}>{shown}</td>", class(column.align));
            }
            text += "</tr>\n";
        }
        text + "</tbody></table></div>\n"
    }
}
