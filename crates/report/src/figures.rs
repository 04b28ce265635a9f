//! The figures of the report.

use bayeslora_records::{DomainRecord, Histogram, UnitRecord};
use bayeslora_render::{Area, Chart, Figure, File, Result, colour, file, legend, line};
use plotters::prelude::*;

use crate::aggregate::records_of;
use crate::curves::with_curves;
use crate::definition::{Definition, RowDefinition};
use crate::error;

/// The curves of the test set in distribution, of one reading of each fit; none where the records keep scores alone.
pub(crate) fn all(
    definition: &Definition,
    readings: &[RowDefinition],
    units: &[&UnitRecord],
) -> error::Result<Vec<File>> {
    let filled = |row: &RowDefinition| -> error::Result<Vec<Vec<DomainRecord>>> {
        let records = records_of(units, &row.id).into_iter();
        records.map(|(_, record)| record.domains.iter().map(with_curves).collect()).collect()
    };
    let filled = readings.iter().map(filled).collect::<error::Result<Vec<_>>>()?;
    let rows: Vec<Curves<'_>> = readings
        .iter()
        .zip(&filled)
        .map(|(row, records)| Curves {
            id: &row.id,
            label: &row.label,
            records: records.iter().map(Vec::as_slice).collect(),
        })
        .filter(|row| row.domain(|domain| !domain.risk_coverage.is_empty()).len() == row.records.len())
        .filter(|row| !row.records.is_empty())
        .collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let entropy = Histograms { definition, rows: &rows, score: "predictive_entropy", axis: "predictive entropy, nats" };
    let mut all = Vec::new();
    all.push(file("risk_coverage", &RiskCoverage { rows: &rows, reference: &definition.reference })?);
    all.push(file("reliability", &Reliability(&rows))?);
    all.push(file("entropy_histograms", &entropy)?);
    let sampled: Vec<Curves<'_>> = rows
        .iter()
        .filter(|row| row.records[0].iter().any(|d| d.histograms.contains_key("log10_mutual_information")))
        .cloned()
        .collect();
    if !sampled.is_empty() {
        let rows = sampled.as_slice();
        let (score, axis) = ("log10_mutual_information", "log10 of mutual information, nats");
        all.push(file("mutual_information_histograms", &Histograms { definition, rows, score, axis })?);
    }
    Ok(all)
}

/// One row's domains, seed by seed.
#[derive(Clone)]
struct Curves<'a> {
    id: &'a str,
    label: &'a str,
    records: Vec<&'a [DomainRecord]>,
}

impl<'a> Curves<'a> {
    fn domain(&self, wanted: impl Fn(&DomainRecord) -> bool) -> Vec<&'a DomainRecord> {
        self.records.iter().filter_map(|domains| domains.iter().find(|domain| wanted(domain))).collect()
    }
}

/// Panels side by side: few enough for the longest names above them.
const ACROSS: usize = 3;

/// Rows of panels that hold one panel for each of `rows`.
fn panel_rows(rows: &[Curves<'_>]) -> usize {
    rows.len().div_ceil(ACROSS).max(1)
}

fn panel_size(rows: &[Curves<'_>]) -> (u32, u32) {
    (1080, u32::try_from(panel_rows(rows)).unwrap_or(1) * 240 + 20)
}

/// One axis of a panel.
#[derive(Clone, Copy)]
struct Axis<'a> {
    name: &'a str,
    range: (f64, f64),
    /// About so many numbers stand beside it.
    labels: usize,
}

/// The axes of one panel; `room` pixels are for the numbers left of it.
fn panel_chart<'a>(panel: &'a Area, caption: &str, x: Axis<'_>, y: Axis<'_>, room: u32) -> Result<Chart<'a>> {
    let mut chart = ChartBuilder::on(panel)
        .caption(caption, ("sans-serif", 13))
        .margin(8)
        .x_label_area_size(34)
        .y_label_area_size(room)
        .build_cartesian_2d(x.range.0..x.range.1, y.range.0..y.range.1)?;
    chart
        .configure_mesh()
        .x_desc(x.name)
        .y_desc(y.name)
        .label_style(("sans-serif", 11))
        .axis_desc_style(("sans-serif", 12))
        .x_labels(x.labels)
        .y_labels(y.labels)
        .light_line_style(TRANSPARENT)
        .draw()?;
    Ok(chart)
}

struct RiskCoverage<'a> {
    rows: &'a [Curves<'a>],
    /// Drawn in every panel.
    reference: &'a str,
}

impl Figure for RiskCoverage<'_> {
    fn size(&self) -> (u32, u32) {
        panel_size(self.rows)
    }

    fn draw(&self, area: &Area) -> Result {
        let Self { rows, reference } = *self;
        let curves: Vec<Vec<(f64, f64)>> = rows.iter().map(risk_coverage).collect();
        // The first percents of coverage are a handful of examples; they do not set the scale.
        let beyond_a_handful = curves.iter().flatten().filter(|(coverage, _)| *coverage > 0.05);
        let highest = beyond_a_handful.map(|(_, risk)| *risk).fold(0.01, f64::max);
        let beside = rows.iter().position(|row| row.id == reference);
        for (number, panel) in area.split_evenly((panel_rows(rows), ACROSS)).iter().enumerate().take(rows.len()) {
            let x = Axis { name: "coverage", range: (0.0, 1.0), labels: 6 };
            let y = Axis { name: "risk", range: (0.0, highest * 1.1), labels: 5 };
            let mut chart = panel_chart(panel, rows[number].label, x, y, 46)?;
            if let Some(beside) = beside.filter(|&beside| beside != number) {
                let style = BLACK.mix(0.35).stroke_width(2);
                chart
                    .draw_series(LineSeries::new(curves[beside].clone(), style))?
                    .label(rows[beside].label)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
            }
            line(&mut chart, curves[number].clone(), 0, rows[number].label)?;
            // One legend tells what the grey line is.
            if beside.is_some_and(|beside| number == usize::from(beside == 0)) {
                legend(&mut chart, SeriesLabelPosition::UpperLeft, 10)?;
            }
        }
        Ok(())
    }
}

/// Coverage and risk on the test set in distribution, means over seeds.
fn risk_coverage(row: &Curves<'_>) -> Vec<(f64, f64)> {
    let domains = row.domain(|domain| domain.in_distribution);
    let points = domains.first().map_or(0, |domain| domain.risk_coverage.len());
    let at = |point: usize| {
        let risks = domains.iter().map(|domain| domain.risk_coverage[point].risk);
        (domains[0].risk_coverage[point].coverage, risks.sum::<f64>() / domains.len() as f64)
    };
    (0..points).map(at).collect()
}

struct Reliability<'a>(&'a [Curves<'a>]);

impl Figure for Reliability<'_> {
    fn size(&self) -> (u32, u32) {
        panel_size(self.0)
    }

    fn draw(&self, area: &Area) -> Result {
        let Self(rows) = *self;
        for (panel, row) in area.split_evenly((panel_rows(rows), ACROSS)).iter().zip(rows) {
            let domains = row.domain(|domain| domain.in_distribution);
            let bins = domains.first().map_or(0, |domain| domain.reliability.len());
            let ece = domains.iter().filter_map(|d| d.scores.get("ece").copied().flatten()).sum::<f64>()
                / domains.len().max(1) as f64;
            // Confidences begin at 1 / classes: nothing is drawn left of the first bin with examples.
            let start = domains
                .iter()
                .filter_map(|domain| domain.reliability.iter().find(|bin| bin.count > 0).map(|bin| bin.lower))
                .fold(1.0 - 1e-9, f64::min);
            let x = Axis { name: &format!("confidence (ECE {ece:.3})"), range: (start, 1.0), labels: 4 };
            let y = Axis { name: "accuracy", range: (0.0, 1.0), labels: 6 };
            let mut chart = panel_chart(panel, row.label, x, y, 40)?;
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
                chart.draw_series([
                    Rectangle::new(bar, colour(2).mix(0.7).filled()),
                    Rectangle::new(bar, colour(5).stroke_width(1)),
                ])?;
            }
            chart.draw_series(LineSeries::new([(start, start), (1.0, 1.0)], BLACK.stroke_width(1)))?;
        }
        Ok(())
    }
}

struct Histograms<'a> {
    definition: &'a Definition,
    rows: &'a [Curves<'a>],
    score: &'static str,
    axis: &'static str,
}

impl Figure for Histograms<'_> {
    fn size(&self) -> (u32, u32) {
        panel_size(self.rows)
    }

    fn draw(&self, area: &Area) -> Result {
        let Self { definition, rows, score, axis } = *self;
        for (number, (panel, row)) in area.split_evenly((panel_rows(rows), ACROSS)).iter().zip(rows).enumerate() {
            let mut lines = Vec::new();
            let mut range = (0.0, 1.0);
            let mut highest: f64 = 0.0;
            // Corrupted copies would hide the others.
            for domain in definition.domains.iter().filter(|domain| domain.corruption.is_none()) {
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
            let x = Axis { name: axis, range, labels: 5 };
            let y = Axis { name: "density", range: (0.0, highest.max(1e-9) * 1.3), labels: 5 };
            let mut chart = panel_chart(panel, row.label, x, y, 40)?;
            // The in-distribution test set stands behind the others as an area.
            if let Some((_, line)) = lines.first() {
                chart.draw_series(AreaSeries::new(line.clone(), 0.0, BLACK.mix(0.12)))?;
            }
            for (place, (label, points)) in lines.into_iter().enumerate() {
                line(&mut chart, points, place, &label)?;
            }
            if number > 0 {
                continue;
            }
            legend(&mut chart, SeriesLabelPosition::UpperLeft, 10)?;
        }
        Ok(())
    }
}
