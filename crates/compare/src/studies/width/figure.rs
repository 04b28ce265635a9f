//! Scores against the width.

use bayeslora_metrics::{metric, summarise};
use bayeslora_render::{Area, Axes, Figure, File, Result, file, legend, line};
use plotters::prelude::SeriesLabelPosition;

use super::findings::{OfRow, Reading, Shown};

/// Metrics of the panels: of the test set in distribution, then of the first shifted one.
const PANELS: [&str; 4] = ["nll", "ece", "auroc_predictive_entropy", "auroc_mutual_information"];

/// `width.svg`: means over seeds of every row.
pub(super) fn draw(widths: &[f64], readings: &[Reading], shown: &[Shown]) -> Result<File> {
    let first = |metric: &&str| shown.iter().find(|one| one.metric == *metric && !one.is_tempered);
    let panels = PANELS.iter().filter_map(first).collect();
    file("width", &Widths { widths, rows: OfRow::all(readings), panels })
}

struct Widths<'a> {
    widths: &'a [f64],
    rows: Vec<OfRow<'a>>,
    panels: Vec<&'a Shown>,
}

impl Figure for Widths<'_> {
    fn size(&self) -> (u32, u32) {
        (1060, 400 * u32::try_from(self.panels.len().div_ceil(2)).unwrap_or(1) + 24 * self.legend_rows())
    }

    fn draw(&self, area: &Area) -> Result {
        let places: Vec<String> = self.widths.iter().map(ToString::to_string).collect();
        let last = self.widths.len() as f64 - 1.0;
        let panels = area.split_evenly((self.panels.len().div_ceil(2).max(1), 2));
        for (number, (panel, shown)) in panels.iter().zip(&self.panels).enumerate() {
            let mean = |row: &OfRow<'_>, width: f64| summarise(&row.scores(shown, width)?).ok().map(|one| one.mean);
            let lines: Vec<(&str, Vec<(f64, f64)>)> = self
                .rows
                .iter()
                .map(|row| {
                    let points = (0..).zip(self.widths);
                    let points = points.filter_map(|(place, &width)| Some((f64::from(place), mean(row, width)?)));
                    (row.label, points.collect())
                })
                .collect();
            let values = || lines.iter().flat_map(|(_, points)| points).map(|(_, y)| *y);
            let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), y| (l.min(y), h.max(y)));
            if !low.is_finite() {
                continue;
            }
            let room = 0.06 * (high - low).max(1e-3);
            let name = metric(shown.metric).map_or(shown.metric, |metric| metric.label);
            // The first panel has the legend, right of its data.
            let beside = if number == 0 { 0.9 * last.max(1.0) } else { 0.2 };
            let axes = Axes {
                title: &format!("{name}, {}", shown.domain),
                x: ("width (0: the mean; 1: as fitted)", (-0.2, last + beside)),
                y: ("", (low - room, high + room)),
                logarithms: (false, false),
            };
            let mut chart = axes.on_places(panel, &places)?;
            for (place, (label, points)) in lines.into_iter().enumerate() {
                line(&mut chart, points, place, label)?;
            }
            if number == 0 {
                legend(&mut chart, SeriesLabelPosition::UpperRight, 12)?;
            }
        }
        Ok(())
    }
}

impl Widths<'_> {
    /// Lines of the legend that the height of a panel does not hold.
    fn legend_rows(&self) -> u32 {
        u32::try_from(self.rows.len().saturating_sub(14)).unwrap_or(0)
    }
}
