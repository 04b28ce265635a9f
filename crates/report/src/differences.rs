//! Paired differences from the reference, in a table and in a picture.

use bayeslora_metrics::{MetricInfo, median, metric};
use bayeslora_records::TEMPERED;
use bayeslora_render::{Align, Area, Block, Cell, Column, Figure, File, Result, Section, Table, colour, file};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::aggregate::Aggregate;
use crate::definition::{Definition, RowDefinition, one_reading_each};
use crate::report::Report;
use crate::score::{Score, p_cell, tempered};
use crate::tables::metrics_of;

/// Metrics of the picture; of all of them less is better.
const PICTURED: [&str; 3] = ["nll", "ece", "aurc"];

/// The differences of the rows as predicted that differ; all of them, and those of tempered rows, are in `table.csv`.
pub(crate) fn section(report: &Report<'_>) -> Vec<Section> {
    let Report { definition, aggregate, .. } = report;
    let compared = || aggregate.compared().filter(|score| !score.row.ends_with(TEMPERED));
    if compared().next().is_none() {
        return Vec::new();
    }
    let differing: Vec<&Score> = compared().filter(|score| score.differs()).collect();
    let said = format!(
        "The {} of {} that are told apart from zero; all are in `table.csv`. Intervals are over examples and seeds, not corrected. p is \
         after Holm's correction over the rows of one test set and metric.",
        differing.len(),
        compared().count()
    );
    let right = |name: &str| Column { align: Align::Right, ..Column::text(name) };
    let mut table = Table::new([
        Column::text("method"),
        Column::text("test set"),
        Column::text("metric"),
        Column::text("difference"),
        right("p"),
    ]);
    for score in differing {
        let (Some(estimate), Some(lower), Some(upper)) = (score.difference, score.lower, score.upper) else { continue };
        let (name, digits) = metric(&score.metric).map_or(("", 4), |metric| (metric.label, metric.digits));
        let domain = definition.domains.iter().find(|domain| domain.id == score.domain);
        let interval = Cell::Interval { estimate, lower, upper, mark: "" }.shown(digits);
        let p = score.holm_p.map_or(Cell::Missing, p_cell);
        table.push([
            Cell::text(definition.label(&score.row)),
            Cell::text(domain.map_or("", |domain| domain.label.as_str())),
            Cell::text(name),
            Cell::text(interval),
            p,
        ]);
    }
    let table = (!table.rows.is_empty()).then_some(Block::Table(table));
    let heading = format!("Paired differences from {}", definition.reference_label());
    vec![Section::new(heading, std::iter::once(Block::text(said)).chain(table))]
}

/// The picture, which lies in `folder`; nothing where nothing is drawn.
pub(crate) fn picture(definition: &Definition, aggregate: &Aggregate, folder: &str) -> Option<Block> {
    let Differences { reference, .. } = Differences::of(definition, aggregate)?;
    let alt = format!("Differences from {reference}, with their intervals");
    Some(Block::figure(alt, format!("{folder}differences.svg")))
}

/// `differences.svg`; nothing where nothing was compared.
pub(crate) fn figure(definition: &Definition, aggregate: &Aggregate) -> Result<Vec<File>> {
    match Differences::of(definition, aggregate) {
        Some(drawn) => Ok(vec![file("differences", &drawn)?]),
        None => Ok(Vec::new()),
    }
}

/// One reading of each method beside the reference, on the test set in distribution.
struct Differences<'a> {
    reference: &'a str,
    rows: Vec<RowDefinition>,
    panels: Vec<Panel<'a>>,
}

/// A metric, and the cells of the rows that were compared in it, as predicted or with a temperature.
struct Panel<'a> {
    metric: &'static MetricInfo,
    compared: Vec<&'a Score>,
}

impl<'a> Differences<'a> {
    fn of(definition: &'a Definition, aggregate: &'a Aggregate) -> Option<Self> {
        let domain = definition.inside().next()?;
        let mut rows = one_reading_each(&definition.rows);
        let was_compared =
            |row: &RowDefinition| aggregate.scores.iter().any(|cell| cell.row == row.id && cell.difference.is_some());
        rows.retain(|row| row.id != definition.reference && was_compared(row));
        let panel = |metric: &'static MetricInfo| {
            let compared = |row: &String| {
                let cell = aggregate.get(row, &domain.id, metric.key);
                cell.filter(|cell| cell.difference.is_some())
            };
            let readings = rows.iter().flat_map(|row| Temper::BOTH.map(|temper| temper.row(&row.id)));
            Panel { metric, compared: readings.filter_map(|row| compared(&row)).collect() }
        };
        let panels = metrics_of(domain, &PICTURED).into_iter().map(panel);
        let panels: Vec<Panel<'a>> = panels.filter(|panel| !panel.compared.is_empty()).collect();
        (!panels.is_empty()).then(|| Self { reference: definition.reference_label(), rows, panels })
    }
}

impl Panel<'_> {
    /// What either side of zero shows: every difference, and of the intervals those that are not much longer than the others.
    fn reach(&self) -> f64 {
        let ends = || self.compared.iter().filter_map(|cell| Some(cell.lower?.abs().max(cell.upper?.abs())));
        let farthest = self.compared.iter().filter_map(|cell| cell.difference).map(f64::abs).fold(0.0, f64::max);
        let longest = ends().fold(0.0, f64::max);
        (1.1 * farthest).max(1.05 * longest.min(2.5 * median(ends()))).max(1e-6)
    }

    fn of(&self, row: &str) -> Option<&Score> {
        self.compared.iter().find(|cell| cell.row == row).copied()
    }
}

const WIDTH: u32 = 1080;
/// Right end of the names.
const NAMES: i32 = 312;
/// Height of the legend, of a row, and of what stands below the rows.
const ABOVE: i32 = 34;
const ROW: i32 = 22;
const BELOW: i32 = 46;

impl Differences<'_> {
    fn rows_height(&self) -> i32 {
        i32::try_from(self.rows.len()).unwrap_or(i32::MAX / 1000) * ROW
    }
}

impl Figure for Differences<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH, (ABOVE + self.rows_height() + BELOW).unsigned_abs())
    }

    fn draw(&self, area: &Area) -> Result {
        let text = |text: String, at: (i32, i32), side: HPos| {
            let style = ("sans-serif", 13).into_font().color(&BLACK).pos(Pos::new(side, VPos::Center));
            area.draw(&Text::new(text, at, style))
        };
        for (temper, x) in [(Temper::AsPredicted, NAMES), (Temper::Tempered, NAMES + 130)] {
            area.draw(&Polygon::new(temper.mark((x, ABOVE / 2)), temper.colour().filled()))?;
            text(temper.name().to_owned(), (x + 12, ABOVE / 2), HPos::Left)?;
        }
        let rule = "filled: stands out by the rule of the tables; left is better";
        text(rule.to_owned(), (NAMES + 370, ABOVE / 2), HPos::Left)?;
        for (place, row) in (0..).zip(&self.rows) {
            text(row.label.clone(), (NAMES - 8, ABOVE + place * ROW + ROW / 2), HPos::Right)?;
        }
        let (_, below) = area.split_vertically(ABOVE);
        let (_, right) = below.split_horizontally(NAMES);
        for (panel, drawn) in self.panels.iter().zip(right.split_evenly((1, self.panels.len()))) {
            panel.draw(&drawn, self)?;
        }
        Ok(())
    }
}

impl Panel<'_> {
    fn draw(&self, area: &Area, figure: &Differences<'_>) -> Result {
        let reach = self.reach();
        let height = f64::from(figure.rows_height());
        // Ticks are a fifth of the axis apart, or a little more.
        let digits = [0.05, 0.005, 0.0005].iter().position(|least| reach >= *least).map_or(5, |place| place + 2);
        // In pixels from the bottom, so that rows and names stand at one height.
        let mut chart = ChartBuilder::on(area)
            .margin_right(18)
            .x_label_area_size(BELOW)
            .build_cartesian_2d(-reach..reach, 0.0..height)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_desc(format!("{} − that of {}", self.metric.label, figure.reference))
            .x_labels(5)
            .x_label_formatter(&|value| if value.abs() < 1e-9 { "0".to_owned() } else { format!("{value:+.digits$}") })
            .label_style(("sans-serif", 12))
            .axis_desc_style(("sans-serif", 13))
            .light_line_style(TRANSPARENT)
            .draw()?;
        chart.draw_series([PathElement::new([(0.0, 0.0), (0.0, height)], BLACK.stroke_width(1))])?;
        for (place, row) in (0..).zip(&figure.rows) {
            for temper in Temper::BOTH {
                let Some(cell) = self.of(&temper.row(&row.id)) else { continue };
                let (Some(difference), Some(lower), Some(upper)) = (cell.difference, cell.lower, cell.upper) else {
                    continue;
                };
                let y = height - f64::from(place * ROW + ROW / 2) + temper.above();
                let within = |x: f64| x.clamp(-reach, reach);
                let line = [(within(lower), y), (within(upper), y)];
                chart.draw_series([PathElement::new(line, temper.colour().stroke_width(2))])?;
                let inner = if cell.differs() { temper.colour() } else { WHITE };
                let mark = Polygon::new(temper.mark((0, 0)), inner.filled());
                let outline = PathElement::new(temper.mark((0, 0)), temper.colour().stroke_width(2));
                chart.draw_series([EmptyElement::at((difference, y)) + mark + outline])?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Temper {
    AsPredicted,
    Tempered,
}

impl Temper {
    const BOTH: [Self; 2] = [Self::AsPredicted, Self::Tempered];

    fn name(self) -> &'static str {
        match self {
            Self::AsPredicted => "as predicted",
            Self::Tempered => "each with its own temperature",
        }
    }

    fn row(self, id: &str) -> String {
        match self {
            Self::AsPredicted => id.to_owned(),
            Self::Tempered => tempered(id),
        }
    }

    fn colour(self) -> RGBColor {
        match self {
            Self::AsPredicted => colour(5),
            Self::Tempered => colour(4),
        }
    }

    /// Pixels above the middle of a row.
    fn above(self) -> f64 {
        match self {
            Self::AsPredicted => 4.0,
            Self::Tempered => -4.0,
        }
    }

    /// Outline of a square as predicted, of a diamond with a temperature.
    fn mark(self, (x, y): (i32, i32)) -> Vec<(i32, i32)> {
        match self {
            Self::AsPredicted => vec![(x - 4, y - 4), (x + 4, y - 4), (x + 4, y + 4), (x - 4, y + 4), (x - 4, y - 4)],
            Self::Tempered => vec![(x - 5, y), (x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)],
        }
    }
}
