//! Standard errors against the number of samples.

use bayeslora_render::{Area, Axes, Figure, File, Result, file, legend, line};
use plotters::prelude::*;

use super::findings::{Finding, SAMPLES, Scheme};
use super::method::MethodCouplings;

/// `errors`: standard error of the predictive mean and of the variance, and the variance's bias, for every method.
pub(crate) fn draw(methods: &[MethodCouplings]) -> Result<File> {
    file("errors", &Errors(methods))
}

struct Errors<'a>(&'a [MethodCouplings]);

type Value = fn(&Finding) -> f64;

/// Caption, whether it is a logarithm, and value of a column of panels.
const COLUMNS: [(&str, bool, Value); 3] = [
    ("standard error of the mean", true, |f| f.mean_error),
    ("error of the variance, relative", true, |f| f.variance.error),
    ("bias of the sample variance, relative", false, |f| f.variance.bias.estimate),
];

impl Figure for Errors<'_> {
    fn size(&self) -> (u32, u32) {
        (1260, u32::try_from(self.0.len()).unwrap_or(1) * 360)
    }

    fn draw(&self, area: &Area) -> Result {
        let panels = area.split_evenly((self.0.len().max(1), COLUMNS.len()));
        for (row, MethodCouplings { label: method, findings, .. }) in self.0.iter().enumerate() {
            for (column, (title, logarithm, value)) in COLUMNS.into_iter().enumerate() {
                let value = |finding: &Finding| if logarithm { value(finding).log10() } else { value(finding) };
                let (low, high) = findings
                    .iter()
                    .map(value)
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
                let room = 0.08 * (high - low).max(1e-3);
                let last = f64::from(SAMPLES[SAMPLES.len() - 1]).log2();
                let axes = Axes {
                    title: &format!("{method}: {title}"),
                    x: ("log2 of the samples T", (0.8, last + 0.2)),
                    y: (if logarithm { "log10" } else { "" }, (low - room, high + room)),
                    logarithms: (false, false),
                };
                let mut chart = axes.on(&panels[row * COLUMNS.len() + column])?;
                for (place, scheme) in Scheme::ALL.into_iter().enumerate() {
                    let points = findings.iter().filter(|finding| finding.scheme == scheme);
                    let points = points.map(|finding| (f64::from(finding.samples).log2(), value(finding))).collect();
                    line(&mut chart, points, place, scheme.label())?;
                }
                let corner = if logarithm { SeriesLabelPosition::LowerLeft } else { SeriesLabelPosition::UpperRight };
                legend(&mut chart, corner, 12)?;
            }
        }
        Ok(())
    }
}
