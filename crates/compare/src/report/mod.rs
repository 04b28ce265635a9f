//! Tables and figures: a pure function of an experiment's definition and its records.

mod aggregate;
mod beyond;
mod columns;
mod cost;
mod differences;
mod figures;
mod latex;
mod markdown;
mod power;
pub(crate) mod ranks;
mod splice;
mod summary;
mod temperature;

use bayeslora_render::CriticalDifference;
use serde::Deserialize;

pub use aggregate::{Aggregate, Cell};
pub(crate) use markdown::cell_text;
pub use splice::splice;

use crate::error::{Error, Result};
use bayeslora_data::tasks::DomainInfo;
use bayeslora_records::{ComparisonRecord, UnitRecord};

/// What the report needs to know of the experiment.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Name, the folder's.
    pub name: String,
    /// One line.
    pub title: String,
    /// Prose above the tables, Markdown.
    pub analysis: String,
    /// Seeds planned.
    pub seeds: Vec<u64>,
    /// Rows in order.
    pub rows: Vec<RowDefinition>,
    /// Test domains, the in-distribution one first.
    pub domains: Vec<DomainInfo>,
    /// Row the others are compared with.
    pub reference: String,
    /// Command that regenerates the results.
    pub command: String,
    /// The table that the README shows; the main table where there is none.
    pub readme: Option<ReadmeTable>,
}

/// A small table of some rows and some metrics, for a README.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReadmeTable {
    /// Identifiers of the rows, in order.
    pub rows: Vec<String>,
    /// Columns after the method, in order.
    pub columns: Vec<ReadmeColumn>,
}

/// A metric on one test set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReadmeColumn {
    /// Heading, without the arrow to the better direction.
    pub label: String,
    /// Key of the metric.
    pub metric: String,
    /// Identifier of the test set.
    pub domain: String,
}

impl Definition {
    /// Name of a row in tables.
    fn label(&self, row: &str) -> &str {
        self.rows.iter().find(|own| own.id == row).map_or("", |own| own.label.as_str())
    }

    /// What the reference row is called.
    fn reference_label(&self) -> &str {
        self.label(&self.reference)
    }
}

/// A row of the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDefinition {
    /// Identifier in records.
    pub id: String,
    /// Name in tables.
    pub label: String,
    /// Method it reads.
    pub method: String,
}

/// One row for each method, the last: that which averages samples where a fit is read in several ways.
pub(crate) fn one_reading_each(rows: &[RowDefinition]) -> Vec<RowDefinition> {
    let last = |place: usize| rows[place + 1..].iter().all(|row| row.method != rows[place].method);
    (0..rows.len()).filter(|&place| last(place)).map(|place| rows[place].clone()).collect()
}

/// A file of the report.
pub type File = (String, Vec<u8>);

/// All files of the report, by name.
///
/// # Errors
/// [`Error::Report`] when there is no record, or a figure cannot be drawn.
pub fn render(definition: &Definition, units: &[UnitRecord], comparisons: &[ComparisonRecord]) -> Result<Vec<File>> {
    if units.is_empty() {
        return Err(Error::Report(format!("{} has no records yet; run `{}`", definition.name, definition.command)));
    }
    let mut units: Vec<&UnitRecord> = units.iter().collect();
    units.sort_by(|a, b| (&a.method, a.seed, &a.key).cmp(&(&b.method, b.seed, &b.key)));
    let aggregate = Aggregate::new(definition, &units, comparisons)?;
    let readings = one_reading_each(&definition.rows);
    let ranked = ranks::over_test_sets(definition, &readings, &aggregate)?;
    let power = power::Power::new(definition, comparisons)?;
    let sections =
        markdown::Sections { aggregate: &aggregate, units: &units, comparisons, ranked: &ranked, power: &power };
    let mut files = vec![
        ("table.md".to_owned(), markdown::tables(definition, &sections)?.into_bytes()),
        ("table.csv".to_owned(), csv(&aggregate)?),
        ("table.tex".to_owned(), latex::tables(definition, &aggregate, &units)?.into_bytes()),
        ("summary.json".to_owned(), json(&aggregate)?),
    ];
    files.extend(figures::all(definition, &readings, &units)?);
    files.extend(differences::figure(definition, &aggregate)?);
    if !ranked.is_empty() {
        let rankings: Vec<_> = ranked.iter().map(ranks::Ranked::ranking).collect();
        files.push(bayeslora_render::file("critical_difference", &CriticalDifference(&rankings))?);
    }
    Ok(files)
}

/// What the README shows: the table that the experiment names, or the main table with one row for each method, and the differences from
/// the reference in a picture.
///
/// # Errors
/// [`Error::Report`] when there is no record, or the table names a row, a metric or a test set that there is not.
pub fn readme_block(definition: &Definition, units: &[UnitRecord], comparisons: &[ComparisonRecord]) -> Result<String> {
    let units: Vec<&UnitRecord> = units.iter().collect();
    let aggregate = Aggregate::new(definition, &units, comparisons)?;
    let picture = differences::picture(definition, &aggregate, &format!("results/{}/", definition.name));
    if let Some(table) = &definition.readme {
        return Ok(format!("{}\n{picture}", markdown::chosen(definition, &aggregate, table)?));
    }
    let short = Definition { rows: one_reading_each(&definition.rows), ..definition.clone() };
    Ok(format!(
        "{}\n{}\n\n{}",
        markdown::main_table(&short, &aggregate),
        markdown::legend(definition, &aggregate),
        picture
    ))
}

fn csv(aggregate: &Aggregate) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| Error::Report(format!("table.csv: {error}"));
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    for cell in &aggregate.cells {
        writer.serialize(cell.rounded()).map_err(|error| failed(&error))?;
    }
    writer.into_inner().map_err(|error| failed(&error))
}

/// Machine-readable aggregate: row, domain, metric, then what a cell has.
fn json(aggregate: &Aggregate) -> Result<Vec<u8>> {
    let failed = |error: serde_json::Error| Error::Report(format!("summary.json: {error}"));
    let mut summary = serde_json::Map::new();
    for cell in &aggregate.cells {
        let mut values = serde_json::to_value(cell.rounded()).map_err(failed)?;
        if let Some(values) = values.as_object_mut() {
            values.retain(|key, value| !value.is_null() && !["row", "domain", "metric"].contains(&key.as_str()));
        }
        let row = summary.entry(&cell.row).or_insert_with(|| serde_json::json!({}));
        row[&cell.domain][&cell.metric] = values;
    }
    let text = serde_json::to_string(&summary).map_err(failed)?;
    Ok(format!("{text}\n").into_bytes())
}
