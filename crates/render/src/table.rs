//! The table that every page is made of.
//!
//! A [`Table`] holds what a reader is to see, cell by cell; [`Format`] turns it into text, and each format is one file.

use bayeslora_metrics::{Better, MetricInfo};

/// Rows under named columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// What stands above the table. Default: nothing.
    pub caption: String,
    /// Columns from left to right.
    pub columns: Vec<Column>,
    /// Cells of each row, one for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// Unit of its numbers. Default: none.
    pub unit: Option<String>,
    /// Which numbers are better.
    pub better: Better,
    /// Digits after the point of numbers that say none themselves. Default: 4.
    pub digits: usize,
    /// Side on which its cells stand.
    pub align: Align,
}

/// Side on which the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// What stands in a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Undefined or not measured: a dash, and an empty field in CSV.
    Missing,
    /// Words.
    Text(String),
    /// Words that stand out.
    Strong(String),
    /// Words that lead to another page; the words alone where a format has no links.
    Link {
        /// What stands there.
        words: String,
        /// Address, relative to the page.
        to: String,
    },
    /// A number with the digits of its column.
    Number(f64),
    /// A count.
    Count(u64),
    /// A mean with its standard deviation, or the standard error where its page says so; the digits are those that it justifies.
    Mean {
        /// Mean.
        mean: f64,
        /// Sample standard deviation; none where one value was averaged.
        sd: Option<f64>,
        /// Sign behind the number. Default: none.
        mark: &'static str,
        /// Whether it stands out.
        strong: bool,
    },
    /// An estimate with its interval, all with a sign.
    Interval {
        /// Estimate.
        estimate: f64,
        /// Lower end.
        lower: f64,
        /// Upper end.
        upper: f64,
        /// Sign behind the estimate. Default: none.
        mark: &'static str,
    },
}

/// A way to write a table.
pub trait Format {
    /// The table as text, with a line break at its end.
    fn table(&self, table: &Table) -> String;
}

impl Column {
    /// A column of words.
    pub fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), unit: None, better: Better::Neither, digits: 4, align: Align::Left }
    }

    /// A column of numbers with so many digits after the point.
    pub fn number(name: impl Into<String>, digits: usize) -> Self {
        Self { digits, align: Align::Right, ..Self::text(name) }
    }

    /// A column of numbers of a metric.
    pub fn metric(metric: &MetricInfo) -> Self {
        Self { better: metric.better, ..Self::number(metric.label, metric.digits) }
    }

    /// The same column with a unit behind its name.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = Some(unit.into());
        self
    }

    /// The same column, left-aligned.
    #[must_use]
    pub fn left(mut self) -> Self {
        self.align = Align::Left;
        self
    }

    /// Name, unit, and an arrow that points to the better direction.
    pub fn heading(&self) -> String {
        let unit = self.unit.as_ref().map_or_else(String::new, |unit| format!(", {unit}"));
        let arrow = match self.better {
            Better::Higher => " ↑",
            Better::Lower => " ↓",
            Better::Neither => "",
        };
        format!("{}{unit}{arrow}", self.name)
    }
}

impl Table {
    /// A table of these columns and no row.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), ..Self::default() }
    }

    /// A table whose first column has names.
    pub fn named(first: impl Into<String>, columns: impl IntoIterator<Item = Column>) -> Self {
        Self::new(std::iter::once(Column::text(first)).chain(columns))
    }

    /// Adds a row that begins with a name.
    pub fn push_named(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = Cell>) {
        self.push(std::iter::once(Cell::text(name)).chain(cells));
    }

    /// Adds a row; cells that are not there are missing ones.
    pub fn push(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let mut row: Vec<Cell> = cells.into_iter().collect();
        row.resize(self.columns.len(), Cell::Missing);
        self.rows.push(row);
    }

    /// Rows of cells as a reader sees them, before a format escapes what it must.
    pub(crate) fn shown(&self) -> impl Iterator<Item = Vec<String>> {
        self.rows
            .iter()
            .map(|row| self.columns.iter().zip(row).map(|(column, cell)| cell.shown(column.digits)).collect())
    }
}

impl Cell {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A number, or nothing.
    pub fn maybe(value: Option<f64>) -> Self {
        value.map_or(Self::Missing, Self::Number)
    }

    /// Whether it stands out.
    pub(crate) fn is_strong(&self) -> bool {
        matches!(self, Self::Strong(_) | Self::Mean { strong: true, .. })
    }

    /// As a reader sees it.
    pub fn shown(&self, digits: usize) -> String {
        match self {
            Self::Missing => "–".to_owned(),
            Self::Text(text) | Self::Strong(text) | Self::Link { words: text, .. } => text.clone(),
            Self::Number(value) => number(*value, digits),
            Self::Count(count) => count.to_string(),
            Self::Mean { mean, sd: None, mark, .. } => format!("{}{mark}", number(*mean, digits)),
            Self::Mean { mean, sd: Some(sd), mark, .. } => {
                let digits = justified(*sd, digits);
                format!("{} ± {}{mark}", number(*mean, digits), number(*sd, digits))
            }
            Self::Interval { estimate, lower, upper, mark } => {
                format!("{}{mark} [{}, {}]", signed(*estimate, digits), signed(*lower, digits), signed(*upper, digits))
            }
        }
    }
}

/// Digits after the point that a standard deviation justifies: those of its first two significant ones, and never more than `most`.
pub(crate) fn justified(sd: f64, most: usize) -> usize {
    if !sd.is_finite() || sd <= 0.0 {
        return most;
    }
    let first = (0..most).find(|&digits| 10f64.powi(i32::try_from(digits).unwrap_or(0)) * sd >= 1.0);
    first.map_or(most, |first| (first + usize::from(sd < 10.0)).min(most))
}

/// A number, and no minus before a zero.
fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| matches!(c, '0' | '.')) => rest.to_owned(),
        _ => text,
    }
}

/// A number with its sign; a zero has none.
fn signed(value: f64, digits: usize) -> String {
    let text = number(value, digits);
    if text.starts_with('-') || text.chars().all(|c| matches!(c, '0' | '.')) { text } else { format!("+{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Html, Latex, Markdown};

    pub(crate) fn example() -> Table {
        let mut table = Table::new([
            Column::text("method"),
            Column { better: Better::Lower, ..Column::number("NLL", 4) },
            Column::number("fit", 1).unit("s"),
            Column::number("difference", 3).left(),
        ]);
        table.caption = "Means over seeds.".to_owned();
        let mean = |mean, sd, mark| Cell::Mean { mean, sd, mark, strong: false };
        table.push([Cell::text("A | B"), mean(0.7953, Some(0.0120), "*"), Cell::Number(27.44)]);
        let difference = Cell::Interval { estimate: -0.0359, lower: -0.0562, upper: 0.0001, mark: "" };
        table.push([Cell::Strong("C_1 < 5 %".to_owned()), mean(0.45, None, ""), Cell::Count(3), difference]);
        let strong = Cell::Mean { mean: 12.4, sd: Some(2.5), mark: "", strong: true };
        table.push([Cell::text("D"), Cell::Missing, strong]);
        table
    }

    #[test]
    fn markdown_is_as_it_was_written_down() {
        assert_eq!(
            Markdown.table(&example()),
            "Means over seeds.\n\n\
             | method | NLL ↓ | fit, s | difference |\n|---|---:|---:|---|\n\
             | A \\| B | 0.795 ± 0.012* | 27.4 | – |\n\
             | **C_1 < 5 %** | 0.4500 | 3 | -0.036 [-0.056, 0.000] |\n\
             | D | – | **12.4 ± 2.5** | – |\n"
        );
        let mut spare = Table::new(["what", ""].map(Column::text));
        spare.push([Cell::text("A"), Cell::text("")]);
        assert_eq!(Markdown.table(&spare), "| what | |\n|---|---|\n| A | |\n");
    }

    #[test]
    fn latex_is_as_it_was_written_down() {
        assert_eq!(
            Latex.table(&example()),
            "\\begin{table}\n\\centering\n\\caption{Means over seeds.}\n\\begin{tabular}{lrrl}\n\\toprule\n\
             method & NLL $\\downarrow$ & fit, s & difference \\\\\n\\midrule\n\
             A | B & 0.795 $\\pm$ 0.012$^{*}$ & 27.4 & -- \\\\\n\
             \\textbf{C\\_1 $<$ 5 \\%} & 0.4500 & 3 & -0.036 [-0.056, 0.000] \\\\\n\
             D & -- & \\textbf{12.4 $\\pm$ 2.5} & -- \\\\\n\
             \\bottomrule\n\\end{tabular}\n\\end{table}\n"
        );
    }

    #[test]
    fn html_is_as_it_was_written_down_and_obeys_nothing() {
        assert_eq!(
            Html.table(&example()),
            "<div class=\"table\" tabindex=\"0\"><table>\n<caption>Means over seeds.</caption>\n\
             <thead><tr><th>method</th><th class=\"n\">NLL ↓</th><th class=\"n\">fit, s</th><th>difference</th></tr></thead>\n<tbody>\n\
             <tr><td>A | B</td><td class=\"n\">0.795 ± 0.012*</td><td class=\"n\">27.4</td><td>–</td></tr>\n\
             <tr><td><strong>C_1 &lt; 5 %</strong></td><td class=\"n\">0.4500</td><td class=\"n\">3</td><td>-0.036 [-0.056, 0.000]</td></tr>\n\
             <tr><td>D</td><td class=\"n\">–</td><td class=\"n\"><strong>12.4 ± 2.5</strong></td><td>–</td></tr>\n\
             </tbody></table></div>\n"
        );
    }

    #[test]
    fn csv_is_as_it_was_written_down() {
        #[derive(serde::Serialize)]
        struct Row(&'static str, f64, Option<f64>);
        let rows = [Row("a, b", 0.5, None), Row("c", 1.0, Some(0.25))];
        let bytes = crate::csv("t.csv", &["name", "mean", "sd"], rows).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "name,mean,sd\n\"a, b\",0.5,\nc,1.0,0.25\n");
    }

    #[test]
    fn a_deviation_justifies_its_first_two_digits() {
        for (sd, digits) in
            [(0.0120, 3), (0.0957, 3), (0.12, 2), (0.001, 4), (0.0154, 3), (0.00012, 4), (0.0, 4), (0.0996, 3)]
        {
            assert_eq!(justified(sd, 4), digits, "{sd}");
        }
        assert_eq!(justified(25.0, 1), 0);
    }

    #[test]
    fn zero_has_no_sign() {
        assert_eq!([number(-0.0001, 3), signed(0.0001, 3), signed(0.002, 3)], ["0.000", "0.000", "+0.002"]);
    }
}
