//! How wide each method is beside the exact posterior, and how far its predictions are from the posterior's.

use bayeslora_render::{Area, Figure, File, Result, colour, file};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::findings::{Beside, Which};

/// Narrowest width that is drawn where it is; below it a mark stands at the left end.
const NARROWEST: f64 = 1e-4;
const WIDTH: u32 = 1080;
/// Right end of the names.
const NAMES: i32 = 300;
const ROW: i32 = 22;
const BELOW: i32 = 52;
const ABOVE: i32 = 34;

/// `width.svg`: every row on the first test domain at temperature 1, for each prior; nothing where no row was held against it.
pub(super) fn draw(found: &[Beside], prior_sds: &[f64]) -> Result<Option<File>> {
    let Some(domain) = found.first().map(|one| one.domain.as_str()) else { return Ok(None) };
    let mut rows: Vec<Drawn<'_>> = Vec::new();
    for one in found.iter().filter(|one| one.domain == domain && (one.which.temperature - 1.0).abs() < 1e-12) {
        let (Some(row), Some(distance)) = (&one.row, &one.distance) else { continue };
        let of_posterior =
            found.iter().find(|other| other.row.is_none() && other.domain == domain && other.which == one.which);
        let Some(of_posterior) = of_posterior.filter(|posterior| posterior.information > 0.0) else { continue };
        let mark = Mark {
            which: one.which,
            width: one.information / of_posterior.information,
            apart: distance.total_variation,
        };
        match rows.iter_mut().find(|drawn| drawn.label == row) {
            Some(drawn) => drawn.marks.push(mark),
            None => rows.push(Drawn { label: row, marks: vec![mark] }),
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(file("width", &Widths { rows, prior_sds })?))
}

/// A row at one seed and prior.
struct Mark {
    which: Which,
    /// Mutual information, times the posterior's.
    width: f64,
    /// Total variation from the posterior's predictions.
    apart: f64,
}

struct Drawn<'a> {
    label: &'a str,
    marks: Vec<Mark>,
}

struct Widths<'a> {
    rows: Vec<Drawn<'a>>,
    prior_sds: &'a [f64],
}

impl Widths<'_> {
    fn height(&self) -> i32 {
        i32::try_from(self.rows.len()).unwrap_or(i32::MAX / 1000) * ROW
    }

    /// Marks of one panel, the same for every seed; priors are told apart by colour, and a little in height.
    fn panel(
        &self,
        area: &Area,
        title: &str,
        (low, high): (f64, f64),
        of: fn(&Mark) -> f64,
        one: Option<f64>,
    ) -> Result {
        let height = f64::from(self.height());
        let mut chart = ChartBuilder::on(area)
            .margin_right(18)
            .x_label_area_size(BELOW)
            .build_cartesian_2d(low..high, 0.0..height)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_desc(title)
            .x_labels(6)
            .label_style(("sans-serif", 12))
            .axis_desc_style(("sans-serif", 13))
            .light_line_style(TRANSPARENT)
            .draw()?;
        if let Some(one) = one {
            chart.draw_series([PathElement::new([(one, 0.0), (one, height)], BLACK.stroke_width(1))])?;
        }
        for (place, row) in (0..).zip(&self.rows) {
            for mark in &row.marks {
                let number = self.prior_sds.iter().position(|sd| (sd - mark.which.prior_sd).abs() < 1e-12).unwrap_or(0);
                let above = 3.0 * (self.prior_sds.len() as f64 - 1.0) - 6.0 * number as f64;
                let y = height - f64::from(place * ROW + ROW / 2) + above;
                let x = of(mark).clamp(low, high);
                chart.draw_series([Circle::new((x, y), 4, hue(number).filled())])?;
            }
        }
        Ok(())
    }
}

fn hue(number: usize) -> RGBColor {
    colour(if number == 0 { 5 } else { 4 })
}

impl Figure for Widths<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH, (ABOVE + self.height() + BELOW).unsigned_abs())
    }

    fn draw(&self, area: &Area) -> Result {
        let text = |text: String, at: (i32, i32), side: HPos| {
            let style = ("sans-serif", 13).into_font().color(&BLACK).pos(Pos::new(side, VPos::Center));
            area.draw(&Text::new(text, at, style))
        };
        for ((number, sd), x) in self.prior_sds.iter().enumerate().zip((NAMES..).step_by(160)) {
            area.draw(&Circle::new((x + 4, ABOVE / 2), 4, hue(number).filled()))?;
            text(format!("prior sd {sd}, each seed"), (x + 14, ABOVE / 2), HPos::Left)?;
        }
        for (place, row) in (0..).zip(&self.rows) {
            text(row.label.to_owned(), (NAMES - 8, ABOVE + place * ROW + ROW / 2), HPos::Right)?;
        }
        let (_, below) = area.split_vertically(ABOVE);
        let (_, right) = below.split_horizontally(NAMES);
        let panels = right.split_evenly((1, 2));
        let marks = || self.rows.iter().flat_map(|row| &row.marks);
        let widest = marks().map(|mark| mark.width.log10()).fold(0.5, f64::max);
        let farthest = marks().map(|mark| mark.apart).fold(0.01, f64::max);
        let width = |mark: &Mark| mark.width.max(NARROWEST).log10();
        self.panel(
            &panels[0],
            "log10 of mutual information over the posterior's",
            (NARROWEST.log10(), widest + 0.2),
            width,
            Some(0.0),
        )?;
        self.panel(&panels[1], "total variation from the posterior", (0.0, 1.05 * farthest), |mark| mark.apart, None)
    }
}
