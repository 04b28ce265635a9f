//! What the figures of all pages share: colours for colour-blind readers, lines and marks told apart in grey, legends and axes.

mod critical_difference;

use std::rc::Rc;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;

use crate::error::Result;
use crate::svg::Svg;

pub use critical_difference::{CriticalDifference, Ranking};

/// Where a figure is drawn.
pub type Area = DrawingArea<Svg, Shift>;

/// Two real axes.
pub type Chart<'a> = ChartContext<'a, Svg, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Name and bytes of a file.
pub type File = (String, Vec<u8>);

/// A figure.
pub trait Figure {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws on a white area.
    ///
    /// # Errors
    /// What the backend says.
    fn draw(&self, area: &Area) -> Result;
}

/// `name.svg`.
///
/// # Errors
/// When the figure cannot be drawn.
pub fn file(name: &str, figure: &impl Figure) -> Result<File> {
    let svg = Rc::default();
    let area = Svg::new(Rc::clone(&svg), figure.size()).into_drawing_area();
    area.fill(&WHITE)?;
    figure.draw(&area)?;
    area.present()?;
    drop(area);
    Ok((format!("{name}.svg"), svg.take().into_bytes()))
}

/// Okabe and Ito's colours, distinguishable by colour-blind readers.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(204, 121, 167),
    RGBColor(140, 120, 0),
];

/// The colour of the series numbered `place`.
pub fn colour(place: usize) -> RGBColor {
    COLOURS[place % COLOURS.len()]
}

/// Length and gap, in pixels, of the dashes of a line.
fn dashes(place: usize) -> (i32, i32) {
    [(i32::MAX, 0), (8, 4), (2, 3), (16, 6), (5, 8)][place % 5]
}

/// A line in the colour and dashes of its place, with its entry in the legend.
///
/// # Errors
/// What the backend says.
pub fn line(chart: &mut Chart<'_>, points: Vec<(f64, f64)>, place: usize, label: &str) -> Result {
    let (length, gap) = dashes(place);
    let style = colour(place).stroke_width(2);
    chart
        .draw_series(DashedLineSeries::new(points, length, gap, style))?
        .label(label)
        .legend(move |(x, y)| DashedPathElement::new([(x, y), (x + 22, y)], length, gap, style));
    Ok(())
}

/// What a chart says beside its data. Ranges may hold logarithms: labels then name the powers.
#[derive(Debug, Clone, Copy)]
pub struct Axes<'a> {
    /// Caption.
    pub title: &'a str,
    /// Label and range.
    pub x: (&'a str, (f64, f64)),
    /// Label and range.
    pub y: (&'a str, (f64, f64)),
    /// Whether `x` and `y` hold decimal logarithms.
    pub logarithms: (bool, bool),
}

impl Axes<'_> {
    /// Draws them on a panel.
    ///
    /// # Errors
    /// What the backend says.
    pub fn on<'a>(&self, panel: &'a Area) -> Result<Chart<'a>> {
        let (left, right) = self.x.1;
        self.labelled(panel, 8, &number(self.logarithms.0, right - left))
    }

    /// Draws them on a panel whose `x` are places in a list, which bear the names in it.
    ///
    /// # Errors
    /// What the backend says.
    pub fn on_places<'a>(&self, panel: &'a Area, names: &[String]) -> Result<Chart<'a>> {
        let name = |value: &f64| {
            let place = (0..).zip(names).find(|(place, _)| (value - f64::from(*place)).abs() < 1e-9);
            place.map_or_else(String::new, |(_, name)| name.clone())
        };
        // One more: the range goes a little beyond the places.
        self.labelled(panel, names.len().max(7) + 1, &name)
    }

    fn labelled<'a>(&self, panel: &'a Area, labels: usize, name: &dyn Fn(&f64) -> String) -> Result<Chart<'a>> {
        let ((x_label, (left, right)), (y_label, (bottom, top))) = (self.x, self.y);
        let mut chart = ChartBuilder::on(panel)
            .caption(self.title, ("sans-serif", 17))
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(62)
            .build_cartesian_2d(left..right, bottom..top)?;
        chart
            .configure_mesh()
            .x_desc(x_label)
            .y_desc(y_label)
            .x_label_formatter(&name)
            .y_label_formatter(&number(self.logarithms.1, top - bottom))
            .x_labels(labels)
            .y_labels(8)
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 14))
            .light_line_style(TRANSPARENT)
            .draw()?;
        Ok(chart)
    }
}

/// How an axis of this span names a number.
fn number(logarithm: bool, span: f64) -> impl Fn(&f64) -> String {
    move |value: &f64| match logarithm {
        true if (value - value.round()).abs() < 1e-9 => format!("1e{value:.0}"),
        true => String::new(),
        // No minus before a zero.
        false if value.abs() < 1e-9 => "0".to_owned(),
        false if span >= 4.0 && (value - value.round()).abs() > 1e-9 => String::new(),
        false if span >= 4.0 => format!("{value:.0}"),
        false if span < 1.0 => format!("{value:.2}"),
        false => format!("{value:.1}"),
    }
}

/// The area between two lines, in the colour of its place and without an entry in the legend.
///
/// # Errors
/// What the backend says.
pub fn band(chart: &mut Chart<'_>, lower: &[(f64, f64)], upper: &[(f64, f64)], place: usize) -> Result {
    let corners: Vec<(f64, f64)> = lower.iter().chain(upper.iter().rev()).copied().collect();
    chart.draw_series(std::iter::once(Polygon::new(corners, colour(place).mix(0.18).filled())))?;
    Ok(())
}

/// A point with its interval.
#[derive(Debug, Clone, Copy)]
pub struct Estimate {
    /// Where.
    pub x: f64,
    /// Estimate.
    pub y: f64,
    /// Interval.
    pub interval: (f64, f64),
}

/// Points in the colour and shape of their place (0, 1, 3 and others differ in shape), each with its interval, and the entry in the legend.
///
/// # Errors
/// What the backend says.
pub fn estimates(chart: &mut Chart<'_>, points: &[Estimate], place: usize, label: &str) -> Result {
    let colour = colour(place);
    chart.draw_series(points.iter().map(|point| {
        let (lower, upper) = point.interval;
        PathElement::new([(point.x, lower), (point.x, upper)], colour.stroke_width(2))
    }))?;
    let mark = move |(x, y): (i32, i32)| {
        let corners = match place {
            0 => vec![(x - 4, y - 4), (x + 4, y - 4), (x + 4, y + 4), (x - 4, y + 4)],
            1 => vec![(x - 5, y + 4), (x + 5, y + 4), (x, y - 5)],
            3 => vec![(x - 5, y - 4), (x + 5, y - 4), (x, y + 5)],
            _ => vec![(x - 5, y), (x, y - 5), (x + 5, y), (x, y + 5)],
        };
        Polygon::new(corners, colour.filled())
    };
    chart
        .draw_series(points.iter().map(|point| EmptyElement::at((point.x, point.y)) + mark((0, 0))))?
        .label(label)
        .legend(move |(x, y)| mark((x + 11, y)));
    Ok(())
}

/// The legend, half transparent, in a corner.
///
/// # Errors
/// What the backend says.
pub fn legend(chart: &mut Chart<'_>, position: SeriesLabelPosition, size: u32) -> Result {
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", size))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Square;

    impl Figure for Square {
        fn size(&self) -> (u32, u32) {
            (120, 80)
        }

        fn draw(&self, area: &Area) -> Result {
            let mut chart = ChartBuilder::on(area).margin(4).build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
            line(&mut chart, vec![(0.0, 0.0), (1.0, 1.0)], 1, "line")?;
            let point = Estimate { x: 0.5, y: 0.5, interval: (0.25, 0.75) };
            estimates(&mut chart, &[point], 2, "point")?;
            legend(&mut chart, SeriesLabelPosition::UpperLeft, 10)
        }
    }

    #[test]
    fn a_figure_is_the_same_every_time_and_names_what_it_draws() {
        let (name, svg) = file("square", &Square).unwrap();
        assert_eq!((name.clone(), svg.clone()), file("square", &Square).unwrap());
        let svg = String::from_utf8(svg).unwrap();
        assert_eq!(name, "square.svg");
        assert!(svg.contains("width=\"120\" height=\"80\"") && svg.contains("point"), "{svg}");
        assert!(svg.ends_with("</svg>\n"), "{svg}");
    }
}
