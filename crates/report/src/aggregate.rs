//! Means and standard deviations over seeds, with the paired differences beside them.

use std::collections::{BTreeMap, HashMap};

use bayeslora_metrics::{METRICS, MetricInfo, holm, metric, summarise};
use bayeslora_records::{ComparisonRecord, Outcome, RowRecord, TEMPERED, UnitRecord, seven_digits};
use bayeslora_render::Cell;
use serde::Serialize;

use crate::best::mark_alike;
use crate::definition::Definition;
use crate::error::{Error, Result};

/// Family-wise level of every star.
pub(crate) const LEVEL: f64 = 0.05;

/// One metric of one row on one test set; a fitted temperature is `temperature` on `validation`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Row.
    pub row: String,
    /// Test set.
    pub domain: String,
    /// Metric key.
    pub metric: String,
    /// Seeds averaged.
    pub seeds: usize,
    /// Mean over seeds.
    pub mean: f64,
    /// Sample standard deviation over seeds (divisor `n - 1`); none for one seed.
    pub sd: Option<f64>,
    /// Difference from the reference row.
    pub difference: Option<f64>,
    /// Lower end of its interval.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
    /// Two-sided p-value of no difference.
    pub p_value: Option<f64>,
    /// The same after Holm's correction over the rows of this test set and metric (tempered rows are a family of their own).
    pub holm_p: Option<f64>,
    /// Whether the seeds do not tell the row apart from the best row of this test set and metric; none where that was not tested.
    pub alike: Option<bool>,
    /// Seeds and their values.
    #[serde(skip)]
    pub by_seed: Vec<(u64, f64)>,
}

impl Score {
    /// Whether the row differs from the reference after correction.
    pub(crate) fn differs(&self) -> bool {
        self.holm_p.is_some_and(|p| p <= LEVEL)
    }

    /// As files keep it.
    pub(crate) fn rounded(&self) -> Self {
        Self {
            mean: seven_digits(self.mean),
            sd: self.sd.map(seven_digits),
            difference: self.difference.map(seven_digits),
            lower: self.lower.map(seven_digits),
            upper: self.upper.map(seven_digits),
            p_value: self.p_value.map(seven_digits),
            holm_p: self.holm_p.map(seven_digits),
            ..self.clone()
        }
    }

    /// As it stands in a table: a star where the row differs from the reference, strong where it is not told apart from the best.
    pub(crate) fn cell(&self, metric: &MetricInfo) -> Cell {
        // A p-value that rounds to nothing is small, not zero, and its spread says nothing.
        let smallest = 0.1_f64.powi(i32::try_from(metric.digits).unwrap_or(0));
        if metric.key.ends_with("_p") && self.mean < smallest {
            return Cell::text(format!("< {smallest:.digits$}", digits = metric.digits));
        }
        let mark = if self.differs() { "*" } else { "" };
        Cell::Mean { mean: self.mean, sd: self.sd, mark, strong: self.alike == Some(true) }
    }
}

/// The identifier of a row with its own temperature.
pub(crate) fn tempered(row: &str) -> String {
    format!("{row}{TEMPERED}")
}

/// All scores of an experiment.
#[derive(Debug)]
pub struct Aggregate {
    /// In definition order: rows, test sets, metrics.
    pub scores: Vec<Score>,
    /// Places in `scores` by row, test set and metric.
    places: HashMap<(String, String, String), usize>,
}

/// The finished records of a row.
pub(crate) fn records_of<'a>(units: &[&'a UnitRecord], row: &str) -> Vec<(&'a UnitRecord, &'a RowRecord)> {
    let mut found = Vec::new();
    for unit in units {
        if let Outcome::Finished { rows, .. } = &unit.outcome {
            found.extend(rows.iter().filter(|record| record.row == row).map(|record| (*unit, record)));
        }
    }
    found
}

impl Aggregate {
    /// Of an experiment's records.
    ///
    /// # Errors
    /// [`Error::Report`] when there is none.
    pub fn of(definition: &Definition, units: &[UnitRecord], comparisons: &[ComparisonRecord]) -> Result<Self> {
        if units.is_empty() {
            return Err(Error::Report(format!("{} has no records yet; run `{}`", definition.name, definition.command)));
        }
        Self::new(definition, &units.iter().collect::<Vec<_>>(), comparisons)
    }

    pub(crate) fn new(
        definition: &Definition,
        units: &[&UnitRecord],
        comparisons: &[ComparisonRecord],
    ) -> Result<Self> {
        let mut scores = Vec::new();
        let plain = definition.rows.iter().map(|row| row.id.clone());
        for row in plain.chain(definition.rows.iter().map(|row| tempered(&row.id))) {
            let records = records_of(units, &row);
            let comparison = comparisons.iter().find(|comparison| comparison.row == row);
            let temperature = |(unit, record): &(&UnitRecord, &RowRecord)| Some((unit.seed, record.temperature?));
            let temperatures: Vec<(u64, f64)> = records.iter().filter_map(temperature).collect();
            if !temperatures.is_empty() {
                scores.push(score(&row, "validation", "temperature", temperatures)?);
            }
            for domain in &definition.domains {
                for metric in METRICS {
                    let value = |(unit, record): &(&UnitRecord, &RowRecord)| {
                        let here = record.domains.iter().find(|own| own.domain == domain.id)?;
                        Some((unit.seed, here.scores.get(metric.key).copied().flatten()?))
                    };
                    let values: Vec<(u64, f64)> = records.iter().filter_map(value).collect();
                    if values.is_empty() {
                        continue;
                    }
                    let difference = comparison.and_then(|comparison| {
                        let mut all = comparison.differences.iter();
                        all.find(|d| d.domain == domain.id && d.metric == metric.key && d.test.is_some())
                    });
                    scores.push(Score {
                        difference: difference.map(|d| d.estimate),
                        lower: difference.map(|d| d.lower),
                        upper: difference.map(|d| d.upper),
                        p_value: difference.and_then(|d| d.test).map(|test| test.p_value),
                        ..score(&row, &domain.id, metric.key, values)?
                    });
                }
            }
        }
        for members in families(&scores) {
            correct(&mut scores, &members)?;
            if let Some(info) = metric(&scores[members[0]].metric) {
                mark_alike(&mut scores, &members, info.better)?;
            }
        }
        let key = |score: &Score| (score.row.clone(), score.domain.clone(), score.metric.clone());
        let places = scores.iter().enumerate().map(|(place, score)| (key(score), place)).collect();
        Ok(Self { scores, places })
    }

    /// The score of a row on a test set in a metric.
    pub fn get(&self, row: &str, domain: &str, metric: &str) -> Option<&Score> {
        let place = self.places.get(&(row.to_owned(), domain.to_owned(), metric.to_owned()))?;
        self.scores.get(*place)
    }

    /// The scores that were compared with the reference.
    pub(crate) fn compared(&self) -> impl Iterator<Item = &Score> {
        self.scores.iter().filter(|score| score.p_value.is_some())
    }

    /// Whether any record holds one of these metrics.
    pub(crate) fn holds(&self, keys: &[&str]) -> bool {
        self.scores.iter().any(|score| keys.contains(&score.metric.as_str()))
    }
}

/// A score without a comparison.
fn score(row: &str, domain: &str, metric: &str, by_seed: Vec<(u64, f64)>) -> Result<Score> {
    let summary = summarise(&by_seed.iter().map(|(_, value)| *value).collect::<Vec<_>>())?;
    Ok(Score {
        row: row.to_owned(),
        domain: domain.to_owned(),
        metric: metric.to_owned(),
        seeds: summary.n,
        mean: summary.mean,
        sd: summary.sample_sd,
        difference: None,
        lower: None,
        upper: None,
        p_value: None,
        holm_p: None,
        alike: None,
        by_seed,
    })
}

/// Places of the scores of each test set and metric, tempered rows apart.
fn families(scores: &[Score]) -> Vec<Vec<usize>> {
    let mut families = BTreeMap::<_, Vec<usize>>::new();
    for (place, score) in scores.iter().enumerate() {
        let family = (score.domain.as_str(), score.metric.as_str(), score.row.ends_with(TEMPERED));
        families.entry(family).or_default().push(place);
    }
    families.into_values().collect()
}

/// Holm's correction over the rows of one test set and metric.
fn correct(scores: &mut [Score], members: &[usize]) -> Result<()> {
    let tested: Vec<(usize, f64)> = members.iter().filter_map(|&place| Some((place, scores[place].p_value?))).collect();
    let adjusted = holm(&tested.iter().map(|(_, p)| *p).collect::<Vec<_>>())?;
    for ((place, _), p) in tested.into_iter().zip(adjusted) {
        scores[place].holm_p = Some(p);
    }
    Ok(())
}
