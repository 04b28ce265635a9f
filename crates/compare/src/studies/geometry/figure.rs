//! Correlations map by map, with their intervals.

use bayeslora_metrics::Interval;
use bayeslora_render::{Area, Estimate, Figure, File, Result, estimates, file, legend};
use plotters::prelude::*;

use super::cells::over;
use super::findings::{Finding, behind_layer_norm};
use super::table::{by_map, panels};

/// `correlations`: V against delta, against delta / |x|, and given |x|, for every method at the site it was trained with.
pub(crate) fn draw(findings: &[Finding]) -> Result<File> {
    let own = panels(findings).into_iter().filter(|panel| panel.2).map(|(method, site, _)| (method, site)).collect();
    file("correlations", &Correlations { findings, own })
}

struct Correlations<'a> {
    findings: &'a [Finding],
    /// Methods with their sites.
    own: Vec<(&'a str, &'static str)>,
}

/// A value of a finding.
type Value = fn(&Finding) -> Option<Interval>;

const SERIES: [(&str, Value); 3] = [
    ("V and delta", |f| f.distance),
    ("V and delta / |x|", |f| f.relative),
    ("V and delta, given |x|", |f| f.given_norm),
];

impl Figure for Correlations<'_> {
    fn size(&self) -> (u32, u32) {
        (1000, u32::try_from(self.own.len()).unwrap_or(1) * 480)
    }

    fn draw(&self, area: &Area) -> Result {
        for (panel, &(method, site)) in area.split_evenly((self.own.len().max(1), 1)).iter().zip(&self.own) {
            let maps = by_map(self.findings, method, site);
            let mut chart = ChartBuilder::on(panel)
                .caption(format!("{method}: rank correlation of V with the distance from S_X"), ("sans-serif", 18))
                .margin(12)
                .x_label_area_size(170)
                .y_label_area_size(60)
                // Room for the legend above what a correlation can be.
                .build_cartesian_2d(-0.5..maps.len() as f64 - 0.5, -1.05..1.65)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .x_labels(0)
                // No minus before a zero.
                .y_label_formatter(&|y| if *y > 1.01 { String::new() } else { format!("{:.1}", y + 1e-9) })
                .y_labels(12)
                .y_desc("Spearman, 95 % interval")
                .label_style(("sans-serif", 13))
                .axis_desc_style(("sans-serif", 14))
                .light_line_style(TRANSPARENT)
                .draw()?;
            // Labels of our own: plotters places numeric ticks where it likes.
            let (left, top) = panel.get_base_pixel();
            for (place, map) in maps.iter().enumerate() {
                let mark = if behind_layer_norm(map[0].slot.map) { " (LN)" } else { "" };
                let (x, y) = chart.backend_coord(&(place as f64, -1.05));
                let style = TextStyle::from(("sans-serif", 13)).transform(FontTransform::Rotate90);
                panel.draw_text(&format!("{}{mark}", map[0].slot), &style, (x - left + 6, y - top + 6))?;
            }
            let last = maps.len() as f64 - 0.5;
            chart.draw_series(LineSeries::new([(-0.5, 0.0), (last, 0.0)], BLACK.stroke_width(1)))?;
            for (number, (label, value)) in SERIES.iter().enumerate() {
                let shift = (number as f64 - 1.0) * 0.2;
                let points: Vec<Estimate> = maps
                    .iter()
                    .enumerate()
                    .filter_map(|(place, map)| {
                        let Interval { estimate, lower, upper } = over(map, value)?;
                        Some(Estimate { x: place as f64 + shift, y: estimate, interval: (lower, upper) })
                    })
                    .collect();
                estimates(&mut chart, &points, [0, 1, 5][number], label)?;
            }
            legend(&mut chart, SeriesLabelPosition::UpperLeft, 13)?;
        }
        Ok(())
    }
}
