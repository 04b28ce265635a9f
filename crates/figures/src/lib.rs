//! What the figures of all tables share: a font that comes with the program, colours for colour-blind readers, lines and marks told
//! apart in grey, and SVG and PNG from one drawing ([`files`]).

mod critical_difference;

use std::sync::Once;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

pub use critical_difference::{CriticalDifference, Ranking};

/// A figure that cannot be drawn or encoded.
#[derive(Debug, thiserror::Error)]
#[error("a figure cannot be drawn: {0}")]
pub struct Error(String);

impl Error {
    /// From whatever a backend or an encoder says.
    pub fn new(problem: impl std::fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for Error {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::new(error)
    }
}

impl From<png::EncodingError> for Error {
    fn from(error: png::EncodingError) -> Self {
        Self::new(error)
    }
}

/// A result of this crate.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Where a figure is drawn.
pub type Area<'a, B> = DrawingArea<B, Shift>;

/// Two real axes.
pub type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Name and bytes of a file.
pub type File = (String, Vec<u8>);

/// A figure that any backend can draw.
pub trait Figure {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws on a white area.
    ///
    /// # Errors
    /// What the backend says.
    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Result
    where
        B::ErrorType: 'static;
}

/// `name.svg` and `name.png`.
///
/// # Errors
/// When the figure cannot be drawn or encoded.
pub fn files(name: &str, figure: &impl Figure) -> Result<[File; 2]> {
    load_font();
    let size = figure.size();
    let mut svg = String::new();
    draw(figure, &SVGBackend::with_string(&mut svg, size).into_drawing_area())?;
    let mut pixels = vec![0; size.0 as usize * size.1 as usize * 3];
    draw(figure, &BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area())?;
    Ok([(format!("{name}.svg"), svg.into_bytes()), (format!("{name}.png"), png(&pixels, size)?)])
}

fn draw<B: DrawingBackend>(figure: &impl Figure, area: &Area<'_, B>) -> Result
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE)?;
    figure.draw(area)?;
    Ok(area.present()?)
}

/// A picture does not depend on the fonts of the machine.
fn load_font() {
    static FONT: Once = Once::new();
    FONT.call_once(|| {
        let _ = register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    });
}

fn png(pixels: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // Flat colours repeat byte by byte: unfiltered they take a third of the space.
    encoder.set_filter(png::FilterType::NoFilter);
    encoder.set_compression(png::Compression::Best);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
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
pub fn line<'a, B: DrawingBackend + 'a>(
    chart: &mut Chart<'a, B>,
    points: Vec<(f64, f64)>,
    place: usize,
    label: &str,
) -> Result
where
    B::ErrorType: 'static,
{
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
    pub fn on<'b, B: DrawingBackend>(&self, panel: &Area<'b, B>) -> Result<Chart<'b, B>>
    where
        B::ErrorType: 'static,
    {
        let ((x_label, (left, right)), (y_label, (bottom, top))) = (self.x, self.y);
        let mut chart = ChartBuilder::on(panel)
            .caption(self.title, ("sans-serif", 17))
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(62)
            .build_cartesian_2d(left..right, bottom..top)?;
        let label = |logarithm: bool, span: f64| {
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
        };
        chart
            .configure_mesh()
            .x_desc(x_label)
            .y_desc(y_label)
            .x_label_formatter(&label(self.logarithms.0, right - left))
            .y_label_formatter(&label(self.logarithms.1, top - bottom))
            .x_labels(8)
            .y_labels(8)
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 14))
            .light_line_style(TRANSPARENT)
            .draw()?;
        Ok(chart)
    }
}

/// The area between two lines, in the colour of its place and without an entry in the legend.
///
/// # Errors
/// What the backend says.
pub fn band<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    lower: &[(f64, f64)],
    upper: &[(f64, f64)],
    place: usize,
) -> Result
where
    B::ErrorType: 'static,
{
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
pub fn estimates<'a, B: DrawingBackend + 'a>(
    chart: &mut Chart<'a, B>,
    points: &[Estimate],
    place: usize,
    label: &str,
) -> Result
where
    B::ErrorType: 'static,
{
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
pub fn legend<'a, B: DrawingBackend + 'a>(chart: &mut Chart<'a, B>, position: SeriesLabelPosition, size: u32) -> Result
where
    B::ErrorType: 'static,
{
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

        fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Result
        where
            B::ErrorType: 'static,
        {
            let mut chart = ChartBuilder::on(area).margin(4).build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
            line(&mut chart, vec![(0.0, 0.0), (1.0, 1.0)], 1, "line")?;
            let point = Estimate { x: 0.5, y: 0.5, interval: (0.25, 0.75) };
            estimates(&mut chart, &[point], 2, "point")?;
            legend(&mut chart, SeriesLabelPosition::UpperLeft, 10)
        }
    }

    #[test]
    fn both_files_hold_the_same_drawing_every_time() {
        let (once, again) = (files("square", &Square).unwrap(), files("square", &Square).unwrap());
        assert_eq!(once, again);
        let [(svg_name, svg), (png_name, png)] = once;
        assert_eq!((svg_name.as_str(), png_name.as_str()), ("square.svg", "square.png"));
        let svg = String::from_utf8(svg).unwrap();
        assert!(svg.contains("width=\"120\" height=\"80\"") && svg.contains("point"), "{svg}");
        assert_eq!(&png[1..4], b"PNG");
    }
}
