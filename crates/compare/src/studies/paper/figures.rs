//! The pictures: representations sized by variance, and error by decile.

use bayeslora_render::{Area, Axes, Figure, File, Result, colour, file, legend, line};
use plotters::prelude::*;

use super::findings::{Finding, Kind, Point};
use super::table::{by_method, mean_deciles};

/// `cls_states` and `deciles`; `shifted` names the other test sets.
pub(crate) fn draw(findings: &[Finding], points: &[Point], shifted: &[String]) -> Result<Vec<File>> {
    Ok(vec![file("cls_states", &States { points, shifted })?, file("deciles", &Deciles(findings))?])
}

struct States<'a> {
    points: &'a [Point],
    shifted: &'a [String],
}

/// Radius in pixels of the largest variance drawn to scale; rarer, larger ones are cut there.
const LARGEST: f64 = 9.0;

impl Figure for States<'_> {
    fn size(&self) -> (u32, u32) {
        (900, 700)
    }

    fn draw(&self, area: &Area) -> Result {
        let range = |of: fn(&Point) -> f64| {
            let low = self.points.iter().map(of).fold(f64::INFINITY, f64::min);
            let high = self.points.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
            let margin = 0.04 * (high - low).max(1e-9);
            (low - margin, high + margin)
        };
        let mut variances: Vec<f64> = self.points.iter().map(|point| point.variance).collect();
        variances.sort_by(f64::total_cmp);
        let scale = variances.get(variances.len() * 99 / 100).copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
        let mut chart = Axes {
            title: "CLS states, area by the variance of sampled probabilities",
            x: ("first principal component", range(|p| p.at.0)),
            y: ("second principal component", range(|p| p.at.1)),
            logarithms: (false, false),
        }
        .on(area)?;
        let kinds = (0..self.shifted.len()).map(|place| (Kind::Shifted(place), self.shifted[place].as_str()));
        let own = [(Kind::Right, "test, predicted right"), (Kind::Wrong, "test, predicted wrong")];
        // Errors last: on top of what they lie among.
        for (kind, label) in kinds.chain(own) {
            let colour = match kind {
                Kind::Right => colour(2),
                Kind::Wrong => colour(4),
                Kind::Shifted(place) => [colour(3), colour(1), colour(6)][place % 3],
            };
            #[expect(clippy::cast_possible_truncation, reason = "pixels")]
            let radius = |point: &Point| (1.5 + LARGEST * (point.variance / scale).sqrt().min(1.2)) as i32;
            chart
                .draw_series(
                    self.points
                        .iter()
                        .filter(|point| point.kind == kind)
                        .map(|point| Circle::new(point.at, radius(point), colour.mix(0.45).filled())),
                )?
                .label(label)
                .legend(move |(x, y)| Circle::new((x + 11, y), 5, colour.mix(0.7).filled()));
        }
        legend(&mut chart, SeriesLabelPosition::UpperRight, 14)
    }
}

struct Deciles<'a>(&'a [Finding]);

impl Figure for Deciles<'_> {
    fn size(&self) -> (u32, u32) {
        (800, 460)
    }

    fn draw(&self, area: &Area) -> Result {
        let mut lines = Vec::new();
        for (label, own) in by_method(self.0) {
            lines.push((format!("{label}: by variance"), mean_deciles(&own, |f| &f.variance_deciles)));
            lines.push((format!("{label}: by entropy of one pass"), mean_deciles(&own, |f| &f.entropy_deciles)));
        }
        let highest = lines.iter().flat_map(|(_, bins)| bins).copied().fold(0.05, f64::max);
        let mut chart = Axes {
            title: "Error rate by decile of uncertainty, test set, mean over seeds",
            x: ("decile, most certain first", (0.5, 10.5)),
            y: ("error rate", (0.0, highest * 1.3)),
            logarithms: (false, false),
        }
        .on(area)?;
        for (place, (label, bins)) in lines.into_iter().enumerate() {
            let points = (1..).map(f64::from).zip(bins).collect();
            line(&mut chart, points, place, &label)?;
        }
        legend(&mut chart, SeriesLabelPosition::UpperLeft, 14)
    }
}
