//! The figures: time against every size, error against time, the roofline. Logarithmic axes throughout.

use bayeslora_render::{Area, Chart, Estimate, Figure, Result, colour, estimates, file, legend, line};
use plotters::prelude::*;

use super::scaling::series;
use super::table::SWEEPS;
use super::{File, Records};
use crate::contestants::label;
use crate::record::{Errors, Measurement};

/// Every figure that the records suffice for.
pub(super) fn all(records: &Records) -> Result<Vec<File>> {
    let mut all = Vec::new();
    if SWEEPS.iter().any(|(set, _)| records.set(set).is_some()) {
        all.push(file("time", &Time(records))?);
    }
    if records.set("samples").is_some() {
        all.push(file("error", &Error(records))?);
    }
    if records.set("limits").is_some() {
        all.push(file("roofline", &Roofline(records))?);
    }
    Ok(all)
}

/// A range of logarithms with some air.
fn around(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, largest) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), value| (a.min(value), b.max(value)));
    if least > largest {
        return (0.0, 1.0);
    }
    let air = 0.08 * (largest - least) + 0.05;
    (least - air, largest + air)
}

/// Two significant digits of `10^logarithm`.
fn tick(logarithm: f64) -> String {
    let value = 10_f64.powf(logarithm);
    let places = (1.0 - logarithm.floor()).max(0.0);
    let places = (0..=8).find(|&count| f64::from(count) >= places).unwrap_or(8);
    let text = format!("{value:.places$}", places = usize::try_from(places).unwrap_or(0));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `2^logarithm` where that is a whole number: sizes double.
fn doubling(logarithm: f64) -> String {
    let is_whole = (logarithm - logarithm.round()).abs() < 1e-9 && logarithm >= 0.0;
    if is_whole { format!("{:.0}", logarithm.exp2()) } else { String::new() }
}

/// A chart whose coordinates are logarithms: decimal ones, on the horizontal axis those that `x_tick` undoes.
fn logarithmic<'a>(
    panel: &'a Area,
    title: &str,
    x_tick: fn(f64) -> String,
    (x, (left, right)): (&str, (f64, f64)),
    (y, (bottom, top)): (&str, (f64, f64)),
) -> Result<Chart<'a>> {
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 17))
        .margin(10)
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(left..right, bottom..top)?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|&log| x_tick(log))
        .y_label_formatter(&|&log| tick(log))
        .x_labels(7)
        .y_labels(7)
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 14))
        .light_line_style(TRANSPARENT)
        .draw()?;
    Ok(chart)
}

/// Marks with their intervals in the colour of their place, without an entry in the legend.
fn marks(chart: &mut Chart<'_>, points: &[Estimate], place: usize) -> Result {
    let colour = colour(place);
    chart.draw_series(points.iter().map(|&Estimate { x, interval: (least, largest), .. }| {
        PathElement::new([(x, least), (x, largest)], colour.stroke_width(2))
    }))?;
    chart.draw_series(points.iter().map(|point| Circle::new((point.x, point.y), 4, colour.filled())))?;
    Ok(())
}

/// Seconds against each size.
struct Time<'a>(&'a Records);

impl Figure for Time<'_> {
    fn size(&self) -> (u32, u32) {
        (1200, 760)
    }

    fn draw(&self, area: &Area) -> Result {
        // Where there is room beside lines that rise.
        let (keyed, corner) = if series(self.0, "texts").is_empty() {
            ("samples", SeriesLabelPosition::UpperLeft)
        } else {
            ("texts", SeriesLabelPosition::LowerRight)
        };
        for ((set, axis), panel) in SWEEPS.iter().zip(area.split_evenly((2, 3))) {
            let lines = series(self.0, set);
            if lines.is_empty() {
                continue;
            }
            let points = || lines.iter().flat_map(|(_, points)| points);
            let x = (*axis, around(points().map(|point| point.0.log2())));
            let y = ("seconds", around(points().map(|point| point.1.log10())));
            let mut chart = logarithmic(&panel, &format!("Time against {axis}"), doubling, x, y)?;
            for (place, (contestant, points)) in lines.iter().enumerate() {
                let logs: Vec<(f64, f64)> = points.iter().map(|point| (point.0.log2(), point.1.log10())).collect();
                let spread = |&(at, _): &(f64, f64)| {
                    let found = self.0.set(set)?.find(contestant, at)?;
                    let (least, largest) = found.range()?;
                    let y = found.median()?.log10();
                    Some(Estimate { x: at.log2(), y, interval: (least.log10(), largest.log10()) })
                };
                line(&mut chart, logs, place, label(contestant))?;
                marks(&mut chart, &points.iter().filter_map(spread).collect::<Vec<_>>(), place)?;
            }
            if *set == keyed {
                legend(&mut chart, corner.clone(), 12)?;
            }
        }
        Ok(())
    }
}

/// Error of mean and variance against seconds, every method.
struct Error<'a>(&'a Records);

/// A panel's title and the error it shows.
type Panel = (&'static str, fn(&Errors) -> Option<f64>);

impl Figure for Error<'_> {
    fn size(&self) -> (u32, u32) {
        (1120, 480)
    }

    fn draw(&self, area: &Area) -> Result {
        let panels: [Panel; 2] = [
            ("Error of the mean probability", |errors| Some(errors.mean)),
            ("Error of the logit variance, share", |errors| errors.logit_variance),
        ];
        let measurements = self.0.set("samples").map_or(&[][..], |record| &record.measurements);
        for ((title, of), panel) in panels.into_iter().zip(area.split_evenly((1, 2))) {
            let at = |one: &Measurement| Some((one.median()?.log10(), of(&one.errors?)?.log10()));
            let points = || measurements.iter().filter_map(at);
            let (x, y) = (around(points().map(|point| point.0)), around(points().map(|point| point.1)));
            let mut chart = logarithmic(&panel, title, tick, ("seconds", x), (title, y))?;
            for (place, (contestant, _)) in series(self.0, "samples").iter().enumerate() {
                let own = measurements.iter().filter(|one| one.contestant == *contestant);
                let points: Vec<(f64, f64)> = own.filter_map(at).collect();
                let exact: Vec<Estimate> = points.iter().map(|&(x, y)| Estimate { x, y, interval: (y, y) }).collect();
                line(&mut chart, points, place, label(contestant))?;
                marks(&mut chart, &exact, place)?;
            }
            legend(&mut chart, SeriesLabelPosition::UpperRight, 12)?;
        }
        Ok(())
    }
}

/// Useful GFLOP/s against operations per byte, under the limits of the machine.
struct Roofline<'a>(&'a Records);

impl Roofline<'_> {
    /// Name, intensity and GFLOP/s of everything that has a count.
    fn points(&self) -> Vec<(String, f64, f64)> {
        let mut points = Vec::new();
        let threads = self.0.set("limits").map_or(1, |record| record.machine.threads);
        let parts = self.0.set("limits").and_then(|record| record.find("limits", threads as f64));
        for part in parts.map_or(&[][..], |found| &found.parts) {
            if part.flops > 0.0 && !part.name.starts_with("memory") && !part.name.starts_with("product") {
                points.push((part.name.clone(), part.flops / part.bytes, part.flops / part.seconds / 1e9));
            }
        }
        let whole = [
            ("main", "exact"),
            ("forward", "forward"),
            ("layer-768", "layer-input"),
            ("layer-4096", "layer-input"),
            ("training-64", "training"),
            ("main", "v1-loop"),
        ];
        for (set, contestant) in whole {
            let found =
                self.0.set(set).and_then(|r| r.measurements.iter().rev().find(|one| one.contestant == contestant));
            let Some((one, median)) = found.and_then(|one| Some((one, one.median()?))) else { continue };
            let name = match set {
                "layer-768" | "layer-4096" => format!("one map, {}, input site", one.at),
                _ => label(contestant).to_owned(),
            };
            points.push((name, one.flops / one.bytes, one.flops / median / 1e9));
        }
        points
    }
}

impl Figure for Roofline<'_> {
    fn size(&self) -> (u32, u32) {
        (900, 560)
    }

    fn draw(&self, area: &Area) -> Result {
        let points = self.points();
        let machine = self.0.set("limits").map(|record| &record.machine);
        let counts = machine.into_iter().flat_map(|machine| [machine.threads, 1].map(|count| (machine, count)));
        let mut roofs: Vec<_> = counts.filter_map(|(of, count)| Some((count, self.0.limits(of, count)?))).collect();
        roofs.dedup_by_key(|roof| roof.0);
        let heights = points.iter().map(|point| point.2).chain(roofs.iter().map(|roof| roof.1.flops / 1e9));
        let x = around(points.iter().map(|point| point.1.log10()).chain([-0.5, 2.6]));
        let y = around(heights.map(f64::log10).chain([0.0]));
        let mut chart =
            logarithmic(area, "Useful arithmetic under the limits", tick, ("FLOP per byte", x), ("GFLOP/s", y))?;
        for (place, (count, limits)) in roofs.iter().enumerate() {
            let height = |log: f64| (10_f64.powf(log) * limits.bytes).min(limits.flops) / 1e9;
            let steps = (0..=200).map(|step| x.0 + (x.1 - x.0) * f64::from(step) / 200.0);
            let roof = steps.map(|log| (log, height(log).log10())).filter(|point| point.1 > y.0).collect();
            let name = if *count == 1 { "limit, 1 thread".to_owned() } else { format!("limit, {count} threads") };
            line(&mut chart, roof, place, &name)?;
        }
        for (place, (name, intensity, rate)) in points.iter().enumerate() {
            let (x, y) = (intensity.log10(), rate.log10());
            // Numbered: colours come back after eight.
            let number = place + 1;
            let style = ("sans-serif", 14).into_font();
            chart.draw_series([EmptyElement::at((x, y)) + Text::new(number.to_string(), (7, -7), style)])?;
            estimates(&mut chart, &[Estimate { x, y, interval: (y, y) }], place, &format!("{number}  {name}"))?;
        }
        legend(&mut chart, SeriesLabelPosition::LowerRight, 12)
    }
}

#[cfg(test)]
mod tests {
    use super::{doubling, tick};

    #[test]
    fn ticks_show_the_value() {
        let shown = [-2.0, 0.0, 0.5, 1.0, 2.0, 2.5].map(tick);
        assert_eq!(shown, ["0.01", "1", "3.2", "10", "100", "316"]);
        assert_eq!([0.0, 1.5, 6.0].map(doubling), ["1", "", "64"]);
    }
}
