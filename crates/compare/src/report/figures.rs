//! The figures, each as SVG and PNG from one drawing.

use std::sync::Once;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::aggregate::records_of;
use super::{Definition, File};
use crate::record::{DomainRecord, Histogram, UnitRecord};
use crate::{Error, Result};

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

fn colour(place: usize) -> RGBColor {
    COLOURS[place % COLOURS.len()]
}

/// Length and gap, in pixels, of the dashes of a line: lines are told apart in grey too.
fn dashes(place: usize) -> (i32, i32) {
    [(i32::MAX, 0), (8, 4), (2, 3)][place % 3]
}

type Area<'a, B> = DrawingArea<B, Shift>;

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Report(format!("a figure cannot be drawn: {error}"))
}

/// Every figure of the report.
pub(super) fn all(definition: &Definition, units: &[&UnitRecord]) -> Result<Vec<File>> {
    static FONT: Once = Once::new();
    // The font comes with the program: a picture does not depend on the fonts of the machine.
    FONT.call_once(|| {
        let _ = register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    });
    let rows: Vec<Curves<'_>> = definition
        .rows
        .iter()
        .map(|row| Curves {
            label: &row.label,
            records: records_of(units, &row.id).into_iter().map(|(_, record)| record.domains.as_slice()).collect(),
        })
        .filter(|row| !row.records.is_empty())
        .collect();
    let panels = |rows: &[Curves<'_>]| (1080, u32::try_from(panel_rows(rows)).unwrap_or(1) * 260 + 20);
    let mut files = Vec::new();
    macro_rules! figure {
        ($name:literal, $size:expr, $draw:expr) => {
            let size: (u32, u32) = $size;
            let mut svg = String::new();
            ($draw)(&SVGBackend::with_string(&mut svg, size).into_drawing_area())?;
            files.push((concat!($name, ".svg").to_owned(), svg.into_bytes()));
            let mut pixels = vec![0; size.0 as usize * size.1 as usize * 3];
            ($draw)(&BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area())?;
            files.push((concat!($name, ".png").to_owned(), png(&pixels, size)?));
        };
    }
    figure!("risk_coverage", (900, 520), |area: &_| risk_coverage(area, &rows));
    figure!("reliability", panels(&rows), |area: &_| reliability(area, &rows));
    figure!("entropy_histograms", panels(&rows), |area: &_| {
        histograms(area, definition, &rows, "predictive_entropy", "predictive entropy, nats")
    });
    let sampled: Vec<Curves<'_>> = rows
        .iter()
        .filter(|row| row.records[0].iter().any(|d| d.histograms.contains_key("log10_mutual_information")))
        .map(|row| Curves { label: row.label, records: row.records.clone() })
        .collect();
    if !sampled.is_empty() {
        figure!("mutual_information_histograms", panels(&sampled), |area: &_| {
            histograms(area, definition, &sampled, "log10_mutual_information", "log10 of mutual information, nats")
        });
    }
    Ok(files)
}

type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A line in the colour and dashes of its place, with its entry in the legend.
fn draw_line<'a, B: DrawingBackend + 'a>(
    chart: &mut Chart<'a, B>,
    points: Vec<(f64, f64)>,
    place: usize,
    label: &str,
) -> Result<()>
where
    B::ErrorType: 'static,
{
    let (length, gap) = dashes(place);
    let style = colour(place).stroke_width(2);
    chart
        .draw_series(DashedLineSeries::new(points, length, gap, style))
        .map_err(failed)?
        .label(label)
        .legend(move |(x, y)| DashedPathElement::new([(x, y), (x + 22, y)], length, gap, style));
    Ok(())
}

/// One row's domains, seed by seed.
struct Curves<'a> {
    label: &'a str,
    records: Vec<&'a [DomainRecord]>,
}

impl<'a> Curves<'a> {
    fn domain(&self, wanted: impl Fn(&DomainRecord) -> bool) -> Vec<&'a DomainRecord> {
        self.records.iter().filter_map(|domains| domains.iter().find(|domain| wanted(domain))).collect()
    }
}

/// Rows of four panels that hold one panel for each of `rows`.
fn panel_rows(rows: &[Curves<'_>]) -> usize {
    rows.len().div_ceil(4).max(1)
}

fn png(pixels: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

fn risk_coverage<B: DrawingBackend>(area: &Area<'_, B>, rows: &[Curves<'_>]) -> Result<()>
where
    B::ErrorType: 'static,
{
    let mut lines = Vec::new();
    let mut highest: f64 = 0.01;
    for row in rows {
        let domains = row.domain(|domain| domain.in_distribution);
        let points = domains.first().map_or(0, |domain| domain.risk_coverage.len());
        let line: Vec<(f64, f64)> = (0..points)
            .map(|point| {
                let at = domains.iter().map(|domain| &domain.risk_coverage[point]);
                let risk = at.clone().map(|at| at.risk).sum::<f64>() / domains.len() as f64;
                (domains[0].risk_coverage[point].coverage, risk)
            })
            .collect();
        // The first percents of coverage are a handful of examples; they do not set the scale.
        highest = line.iter().filter(|(coverage, _)| *coverage > 0.05).map(|(_, risk)| *risk).fold(highest, f64::max);
        lines.push(line);
    }
    area.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(area)
        .caption("Risk against coverage, in distribution", ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..1.0, 0.0..highest * 1.15)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc("coverage (share of examples answered, most confident first)")
        .y_desc("risk (error rate among them)")
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(failed)?;
    for (place, (row, line)) in rows.iter().zip(lines).enumerate() {
        draw_line(&mut chart, line, place, row.label)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()
        .map_err(failed)?;
    area.present().map_err(failed)
}

fn reliability<B: DrawingBackend>(area: &Area<'_, B>, rows: &[Curves<'_>]) -> Result<()>
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE).map_err(failed)?;
    for (panel, row) in area.split_evenly((panel_rows(rows), 4)).iter().zip(rows) {
        let domains = row.domain(|domain| domain.in_distribution);
        let bins = domains.first().map_or(0, |domain| domain.reliability.len());
        let ece = domains.iter().filter_map(|d| d.scores.get("ece").copied().flatten()).sum::<f64>()
            / domains.len().max(1) as f64;
        // Confidences begin at 1 / classes: nothing is drawn left of the first bin with examples.
        let start = domains
            .iter()
            .filter_map(|domain| domain.reliability.iter().find(|bin| bin.count > 0).map(|bin| bin.lower))
            .fold(1.0 - 1e-9, f64::min);
        let mut chart = ChartBuilder::on(panel)
            .caption(format!("{} (ECE {ece:.3})", row.label), ("sans-serif", 14))
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(40)
            .build_cartesian_2d(start..1.0, 0.0..1.0)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc("confidence")
            .y_desc("accuracy")
            .label_style(("sans-serif", 11))
            .axis_desc_style(("sans-serif", 12))
            .x_labels(4)
            .y_labels(6)
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(failed)?;
        for bin in 0..bins {
            // Seeds pooled: accuracies weighted by their counts.
            let here = domains.iter().map(|domain| &domain.reliability[bin]);
            let count: u64 = here.clone().map(|bin| bin.count).sum();
            if count == 0 {
                continue;
            }
            let total: f64 = here.clone().map(|bin| bin.accuracy.unwrap_or(0.0) * bin.count as f64).sum();
            let edges = &domains[0].reliability[bin];
            let bar = [(edges.lower, 0.0), (edges.upper, total / count as f64)];
            chart
                .draw_series([
                    Rectangle::new(bar, colour(2).mix(0.7).filled()),
                    Rectangle::new(bar, colour(5).stroke_width(1)),
                ])
                .map_err(failed)?;
        }
        chart.draw_series(LineSeries::new([(start, start), (1.0, 1.0)], BLACK.stroke_width(1))).map_err(failed)?;
    }
    area.present().map_err(failed)
}

fn histograms<B: DrawingBackend>(
    area: &Area<'_, B>,
    definition: &Definition,
    rows: &[Curves<'_>],
    score: &str,
    axis: &str,
) -> Result<()>
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE).map_err(failed)?;
    for (number, (panel, row)) in area.split_evenly((panel_rows(rows), 4)).iter().zip(rows).enumerate() {
        let mut lines = Vec::new();
        let mut range = (0.0, 1.0);
        let mut highest: f64 = 0.0;
        for domain in &definition.domains {
            let found: Vec<&Histogram> =
                row.domain(|d| d.domain == domain.id).iter().filter_map(|d| d.histograms.get(score)).collect();
            let Some(first) = found.first() else { continue };
            range = (first.lower, first.upper);
            let total: u64 = found.iter().flat_map(|h| &h.counts).sum();
            let width = (first.upper - first.lower) / first.counts.len() as f64;
            let line: Vec<(f64, f64)> = (0..first.counts.len())
                .map(|bin| {
                    let count: u64 = found.iter().map(|h| h.counts[bin]).sum();
                    (first.lower + (bin as f64 + 0.5) * width, count as f64 / total as f64 / width)
                })
                .collect();
            highest = line.iter().map(|(_, density)| *density).fold(highest, f64::max);
            lines.push((domain.label.clone(), line));
        }
        let mut chart = ChartBuilder::on(panel)
            .caption(row.label, ("sans-serif", 14))
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(40)
            .build_cartesian_2d(range.0..range.1, 0.0..highest.max(1e-9) * 1.3)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc(axis)
            .y_desc("density")
            .label_style(("sans-serif", 11))
            .axis_desc_style(("sans-serif", 12))
            .x_labels(5)
            .y_labels(5)
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(failed)?;
        // The in-distribution test set stands behind the others as an area.
        if let Some((_, line)) = lines.first() {
            chart.draw_series(AreaSeries::new(line.clone(), 0.0, BLACK.mix(0.12))).map_err(failed)?;
        }
        for (place, (label, line)) in lines.into_iter().enumerate() {
            draw_line(&mut chart, line, place, &label)?;
        }
        if number > 0 {
            continue;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.7))
            .label_font(("sans-serif", 10))
            .draw()
            .map_err(failed)?;
    }
    area.present().map_err(failed)
}
