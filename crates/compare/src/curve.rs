//! A metric against what the profiles of an experiment vary: training sentences, label noise, adapter rank.

use std::path::{Path, PathBuf};

use bayeslora_metrics::{MetricInfo, metric};
use bayeslora_render::{Area, Axes, Block, Cell, Column, Figure, Page, Section, Table, csv, file, legend, line};
use bayeslora_report::{Aggregate, RowDefinition, Score, one_reading_each};
use plotters::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::experiment::{CurveSettings, Experiment};
use crate::publish::generated::{self, Files};
use crate::publish::report_files::{aggregated, definition};
use bayeslora_data::unknown;

/// The curves of an experiment.
struct Curves {
    settings: CurveSettings,
    /// Rows in the order of the tables.
    rows: Vec<RowDefinition>,
    /// Where each profile stands, and its numbers, from the lowest place on.
    points: Vec<(f64, Aggregate)>,
    /// The in-distribution test set.
    domain: (String, String),
}

impl Curves {
    fn read(experiment: &Experiment, path: &Path) -> Result<Self> {
        let refused = |problem: String| Error::Experiment { path: path.to_owned(), problem };
        let settings = experiment.curve.clone().ok_or_else(|| {
            refused("has no [curve]; expected `axis = \"...\"` there and `at = NUMBER` in its profiles".to_owned())
        })?;
        for key in &settings.metrics {
            if metric(key).is_none() {
                let known = bayeslora_metrics::METRICS.iter().map(|metric| metric.key);
                return Err(refused(unknown("metric of the curve", key, known)));
            }
        }
        let mut placed: Vec<(f64, &String)> =
            experiment.profiles.iter().filter_map(|(name, profile)| Some((profile.at?, name))).collect();
        let is_place = |at: f64| at.is_finite() && (at > 0.0 || !settings.logarithmic);
        if let Some((at, name)) = placed.iter().find(|(at, _)| !is_place(*at)) {
            let expected =
                if settings.logarithmic { "a positive number on a logarithmic axis" } else { "a finite number" };
            return Err(refused(format!("profiles.{name}.at is {at}; expected {expected}")));
        }
        placed.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut rows, mut points, mut domain) = (Vec::<RowDefinition>::new(), Vec::new(), None);
        for (at, name) in placed {
            let plan = experiment.clone().plan(path, name)?;
            for row in definition(&plan).rows {
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
            let inside = plan.task.domains().into_iter().find(|domain| domain.in_distribution);
            domain = domain.or(inside.map(|inside| (inside.id, inside.label)));
            points.push((at, aggregated(&plan)?));
        }
        match (points.len(), domain) {
            (2.., Some(domain)) => Ok(Self { settings, rows, points, domain }),
            (found, _) => {
                Err(refused(format!("[curve] needs profiles with `at = NUMBER`: found {found}, expected at least 2")))
            }
        }
    }

    fn cell(&self, point: usize, row: &str, metric: &str) -> Option<&Score> {
        self.points[point].1.get(row, &self.domain.0, metric)
    }

    fn metrics(&self) -> impl Iterator<Item = &'static MetricInfo> {
        self.settings.metrics.iter().filter_map(|key| metric(key))
    }

    fn page(&self, experiment: &Experiment) -> Page {
        let CurveSettings { axis, .. } = &self.settings;
        let means = format!(
            "Mean ± sample standard deviation over seeds, {}, by {axis}. The figure has one reading of each fit, the sampled one where there \
             are several.",
            self.domain.1
        );
        let section = |metric: &MetricInfo| {
            let places = self.points.iter().map(|(at, _)| Column::number(at.to_string(), metric.digits));
            let mut table = Table::named("method", places);
            for RowDefinition { id, label, .. } in &self.rows {
                let cells = (0..self.points.len()).map(|point| {
                    let mean = |score: &Score| Cell::Mean { mean: score.mean, sd: score.sd, mark: "", strong: false };
                    self.cell(point, id, metric.key).map_or(Cell::Missing, mean)
                });
                table.push_named(label, cells);
            }
            Section::new(format!("{} by {axis}", metric.label), [Block::Table(table)])
        };
        Page {
            provenance: vec![Page::made_by(format_args!(
                "bayeslora curve results/{}/experiment.toml",
                experiment.name
            ))],
            title: experiment.title.clone(),
            opening: vec![Block::text(&experiment.analysis), Block::Text(means), Block::figure("Curves", "curve.svg")],
            sections: self.metrics().map(section).collect(),
        }
    }

    fn csv(&self) -> Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Row<'a> {
            at: f64,
            method: &'a str,
            metric: &'a str,
            seeds: usize,
            mean: f64,
            sd: Option<f64>,
        }
        let mut rows = Vec::new();
        for (point, (at, _)) in self.points.iter().enumerate() {
            for RowDefinition { id: method, .. } in &self.rows {
                for metric in self.metrics() {
                    let Some(cell) = self.cell(point, method, metric.key) else { continue };
                    let Score { seeds, mean, sd, .. } = *cell;
                    rows.push(Row { at: *at, method, metric: metric.key, seeds, mean, sd });
                }
            }
        }
        Ok(csv("curve.csv", &[], rows)?)
    }
}

impl Figure for Curves {
    fn size(&self) -> (u32, u32) {
        (900, 440 * u32::try_from(self.settings.metrics.len()).unwrap_or(1))
    }

    fn draw(&self, area: &Area) -> bayeslora_render::Result {
        let CurveSettings { axis, logarithmic, .. } = &self.settings;
        let place = |at: f64| if *logarithmic { at.log10() } else { at };
        let label = if *logarithmic { format!("{axis} (logarithmic)") } else { axis.clone() };
        let (first, last) = (place(self.points[0].0), place(self.points[self.points.len() - 1].0));
        let margin = 0.05 * (last - first).max(1e-9);
        for (panel, metric) in area.split_evenly((self.settings.metrics.len().max(1), 1)).iter().zip(self.metrics()) {
            let mut lines = Vec::new();
            for RowDefinition { id, label: name, .. } in one_reading_each(&self.rows) {
                let at = |point: usize| Some((place(self.points[point].0), self.cell(point, &id, metric.key)?.mean));
                let points: Vec<(f64, f64)> = (0..self.points.len()).filter_map(at).collect();
                lines.push((name, points));
            }
            let values = || lines.iter().flat_map(|(_, points)| points).map(|(_, y)| *y);
            let low = values().fold(f64::INFINITY, f64::min);
            let high = values().fold(f64::NEG_INFINITY, f64::max);
            if !low.is_finite() {
                continue;
            }
            let room = (high - low).max(1e-6);
            let mut chart = Axes {
                title: &format!("{}, {}", metric.label, self.domain.1),
                // The legend stands right of the data.
                x: (&label, (first - margin, last + 0.7 * (last - first).max(1e-9))),
                y: (metric.label, (low - 0.05 * room, high + 0.05 * room)),
                logarithms: (*logarithmic, false),
            }
            .on(panel)?;
            for (number, (name, points)) in lines.into_iter().enumerate() {
                line(&mut chart, points, number, &name)?;
            }
            legend(&mut chart, SeriesLabelPosition::UpperRight, 12)?;
        }
        Ok(())
    }
}

pub(crate) fn files_of(path: &Path) -> Result<Files> {
    let experiment = Experiment::load(path)?;
    let curves = Curves::read(&experiment, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut all = vec![
        ("curve.md".to_owned(), curves.page(&experiment).markdown().into_bytes()),
        ("curve.csv".to_owned(), curves.csv()?),
    ];
    all.push(file("curve", &curves)?);
    Ok(all.into_iter().map(|(name, bytes)| (folder.join(name), bytes)).collect())
}

/// Writes `curve.md`, `curve.csv` and the figure beside an experiment file, from the records of its profiles.
///
/// # Errors
/// [`Error::Experiment`] when the file has no curve, [`Error::Report`] when a profile has no records, and what reading and writing say.
pub fn write_curve(path: &Path) -> Result<Vec<PathBuf>> {
    generated::write(files_of(path)?)
}

/// The files of the curve on disk that differ from what the records give.
///
/// # Errors
/// As [`write_curve`].
pub fn check_curve(path: &Path) -> Result<Vec<PathBuf>> {
    Ok(generated::stale(files_of(path)?))
}
