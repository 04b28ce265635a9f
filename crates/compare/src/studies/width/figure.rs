//! Scores against the width.

use bayeslora_metrics::summarise;
use bayeslora_render::{Area, Axes, Figure, File, Result, file, legend, line};
use plotters::prelude::*;

use super::findings::{Measured, OfRow, Shown};
use crate::experiment::Plan;

/// Metrics of the panels: of the test set in distribution, then of the first shifted one.
const PANELS: [&str; 4] = ["nll", "ece", "auroc_predictive_entropy", "auroc_mutual_information"];

/// `width.svg`: means over seeds of every row.
pub(super) fn draw(plan: &Plan, measured: &Measured<'_>) -> Result<File> {
    let Measured { widths, readings, shown, .. } = *measured;
    let first = |metric: &&str| shown.iter().find(|one| one.metric == *metric && !one.is_tempered);
    let panels = PANELS.iter().filter_map(first).map(|one| (one, one.title(plan))).collect();
    file("width", &ByWidth { widths, rows: OfRow::all(readings), panels })
}

struct ByWidth<'a> {
    widths: &'a [f64],
    rows: Vec<OfRow<'a>>,
    /// Scores with their titles.
    panels: Vec<(&'a Shown, String)>,
}

/// Width of the panels, and of the legend right of them.
const SIZE: (u32, u32) = (1060, 270);

impl Figure for ByWidth<'_> {
    fn size(&self) -> (u32, u32) {
        let rows = u32::try_from(self.panels.len().div_ceil(2)).unwrap_or(1);
        (SIZE.0 + SIZE.1, 400 * rows.max(1))
    }

    fn draw(&self, area: &Area) -> Result {
        let places: Vec<String> = self.widths.iter().map(ToString::to_string).collect();
        let last = self.widths.len() as f64 - 1.0;
        let (charts, beside) = area.split_horizontally(SIZE.0);
        for (panel, (shown, title)) in
            charts.split_evenly((self.panels.len().div_ceil(2).max(1), 2)).iter().zip(&self.panels)
        {
            let mean = |row: &OfRow<'_>, width: f64| summarise(&row.scores(shown, width)?).ok().map(|one| one.mean);
            let of_row = |row: &OfRow<'_>| -> Vec<(f64, f64)> {
                let points = (0..).zip(self.widths);
                points.filter_map(|(place, &width)| Some((f64::from(place), mean(row, width)?))).collect()
            };
            let lines: Vec<_> = self.rows.iter().map(of_row).collect();
            let values = || lines.iter().flatten().map(|(_, y)| *y);
            let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), y| (l.min(y), h.max(y)));
            if !low.is_finite() {
                continue;
            }
            let room = 0.06 * (high - low).max(1e-3);
            let axes = Axes {
                title,
                x: ("width (0: the mean; 1: as fitted)", (-0.2, last + 0.2)),
                y: ("", (low - room, high + room)),
                logarithms: (false, false),
            };
            let mut chart = axes.on_places(panel, &places)?;
            for (place, points) in lines.into_iter().enumerate() {
                line(&mut chart, points, place, "")?;
            }
        }
        let mut names = ChartBuilder::on(&beside).margin_top(30).build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        for (place, row) in self.rows.iter().enumerate() {
            line(&mut names, Vec::new(), place, row.label)?;
        }
        legend(&mut names, SeriesLabelPosition::UpperLeft, 12)
    }
}
