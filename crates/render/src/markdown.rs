//! Tables in Markdown.

use crate::table::{Align, Cell, Format, Table};

/// Markdown with pipes, as GitHub shows it.
#[derive(Debug, Clone, Copy)]
pub struct Markdown;

/// Text as it stands in a cell: a bar would end it, and so would a line break.
fn cell_text(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

impl Format for Markdown {
    fn table(&self, table: &Table) -> String {
        let mut text = String::new();
        if !table.caption.is_empty() {
            text += &format!("{}\n\n", table.caption);
        }
        let line = |cells: &mut dyn Iterator<Item = String>| {
            let space = |cell: &str| if cell.is_empty() { "" } else { " " };
            cells.fold("|".to_owned(), |line, cell| line + space(&cell) + &cell + " |") + "\n"
        };
        text += &line(&mut table.columns.iter().map(|column| cell_text(&column.heading())));
        let rule = |align| if align == Align::Left { "---|" } else { "---:|" };
        text += &table.columns.iter().fold("|".to_owned(), |line, column| line + rule(column.align));
        text.push('\n');
        for (row, shown) in table.rows.iter().zip(table.shown()) {
            text += &line(&mut row.iter().zip(shown).map(|(cell, shown)| {
                let shown = cell_text(&shown);
                match cell {
                    Cell::Link { to, .. } => format!("[{shown}]({to})"),
                    cell if cell.is_strong() => format!("**{shown}**"),
                    _ => shown,
                }
            }));
        }
        text
    }
}
