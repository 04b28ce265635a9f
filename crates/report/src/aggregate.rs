//! Means and standard deviations over seeds, with the paired differences beside them.

use std::collections::{BTreeMap, HashMap};

use bayeslora_metrics::{METRICS, holm, metric, summarise};
use bayeslora_records::{Outcome, RowRecord, TEMPERED, UnitRecord};

use crate::best::mark_alike;
use crate::comparison::Comparison;
use crate::definition::Definition;
use crate::error::{Error, Result};
use crate::score::{Score, tempered};

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
    pub fn of(definition: &Definition, units: &[UnitRecord], comparisons: &[Comparison]) -> Result<Self> {
        Self::new(definition, &units.iter().collect::<Vec<_>>(), comparisons)
    }

    pub(crate) fn new(definition: &Definition, units: &[&UnitRecord], comparisons: &[Comparison]) -> Result<Self> {
        if units.is_empty() {
            return Err(Error::Report(format!("{} has no records yet; run `{}`", definition.name, definition.command)));
        }
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
                        all.find(|d| d.domain == domain.id && d.metric == metric.key)
                    });
                    scores.push(Score {
                        difference: difference.map(|d| d.estimate),
                        lower: difference.map(|d| d.lower),
                        upper: difference.map(|d| d.upper),
                        p_value: difference.map(|d| d.p_value),
                        ..score(&row, &domain.id, metric.key, values)?
                    });
                }
            }
        }
        for members in families(&scores) {
            correct(&mut scores, &members)?;
            let is_tempered = scores[members[0]].row.ends_with(TEMPERED);
            let reference = if is_tempered { tempered(&definition.reference) } else { definition.reference.clone() };
            if let Some(info) = metric(&scores[members[0]].metric) {
                mark_alike(&mut scores, &members, info.better, &reference)?;
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
