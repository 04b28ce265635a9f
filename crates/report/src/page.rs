//! The page of an experiment and the files of its report.

use bayeslora_render::{Block, File, Page, Section, csv};

use crate::beyond_test::Line;
use crate::contrast_test;
use crate::definition::{Definition, one_reading_each};
use crate::error::{Error, Result};
use crate::provenance::gaps;
use crate::report::Report;
use crate::score::Score;
use crate::{
    beyond, columns, contrasts, cost, differences, equivalence, figures, latex, power, summary, tables, temperature,
};

/// What a page says, in order.
const SECTIONS: [fn(&Report<'_>) -> Vec<Section>; 11] = [
    summary::section,
    tables::sections,
    tables::corrupted,
    contrasts::section,
    temperature::section,
    beyond::sections,
    power::section,
    equivalence::section,
    cost::section,
    differences::section,
    columns::section,
];

impl Report<'_> {
    /// The page of the experiment.
    pub fn page(&self) -> Page {
        let Definition { title, analysis, .. } = self.definition;
        let mut opening = vec![Block::text(analysis.trim())];
        opening.extend(gaps(self.definition, &self.units).into_iter().map(Block::Text));
        opening.extend(differences::picture(self.definition, &self.aggregate, ""));
        let sets = self.definition.domains.iter().filter(|domain| domain.corruption.is_none());
        let sizes = sets.map(|set| format!("{} {}", set.label, tables::examples(&self.units, self.definition, set)));
        opening.push(Block::text(format!(
            "{} `–`: undefined for this predictive. Arrows point to the better direction. Examples: {}.",
            self.legend(),
            sizes.collect::<Vec<_>>().join(", ")
        )));
        let sections: Vec<Section> = SECTIONS.iter().flat_map(|section| section(self)).collect();
        let mut page = Page { provenance: self.provenance().to_vec(), title: title.clone(), opening, sections };
        page.opening.push(page.contents());
        page
    }

    /// All files of the report, by name.
    ///
    /// # Errors
    /// When a figure cannot be drawn.
    pub fn files(&self) -> Result<Vec<File>> {
        let readings = one_reading_each(&self.definition.rows);
        let rows = self.aggregate.scores.iter().map(Score::rounded);
        let mut files = vec![
            ("table.md".to_owned(), self.page().markdown().into_bytes()),
            ("table.csv".to_owned(), csv("table.csv", &[], rows)?),
            ("table.tex".to_owned(), latex::tables(self).into_bytes()),
            ("summary.json".to_owned(), self.json()?),
        ];
        if self.all_asked().next().is_some() {
            files.push(("beyond.csv".to_owned(), csv("beyond.csv", &[], self.all_asked().map(Line::from))?));
        }
        if !self.contrasts.is_empty() {
            let lines = self.contrasts.iter().map(contrast_test::Line::from);
            files.push(("contrasts.csv".to_owned(), csv("contrasts.csv", &[], lines)?));
        }
        files.extend(figures::all(self.definition, &readings, &self.units)?);
        files.extend(differences::figure(self.definition, &self.aggregate)?);
        Ok(files)
    }

    /// What the README shows: the table that the experiment names, or the main table with one row for each method, and the differences
    /// from the reference in a picture.
    ///
    /// # Errors
    /// [`Error::Report`] when the table names a row, a metric or a test set that there is not.
    pub fn readme_block(&self) -> Result<String> {
        let folder = format!("results/{}/", self.definition.name);
        let mut blocks = Vec::new();
        if let Some(wanted) = &self.definition.readme {
            blocks.push(Block::Table(tables::chosen(self.definition, &self.aggregate, wanted)?));
        } else {
            let readings = one_reading_each(&self.definition.rows);
            let short = Definition { rows: readings, ..self.definition.clone() };
            for domain in short.inside() {
                blocks.extend(tables::table(&short, &self.aggregate, domain, &tables::MAIN).map(Block::Table));
            }
            blocks.push(Block::text(self.legend()));
        }
        blocks.extend(differences::picture(self.definition, &self.aggregate, &folder));
        let text: Vec<String> = blocks.iter().map(Block::markdown).collect();
        Ok(text.join("\n"))
    }

    /// When the records were computed.
    pub fn dates(&self) -> impl Iterator<Item = &str> {
        self.units.iter().map(|unit| unit.provenance.date.as_str())
    }

    /// Machine-readable scores: row, test set, metric, then what a score has.
    fn json(&self) -> Result<Vec<u8>> {
        let failed = |error: serde_json::Error| Error::Report(format!("summary.json: {error}"));
        let mut summary = serde_json::Map::new();
        for score in &self.aggregate.scores {
            let mut values = serde_json::to_value(score.rounded()).map_err(failed)?;
            if let Some(values) = values.as_object_mut() {
                values.retain(|key, value| !value.is_null() && !["row", "domain", "metric"].contains(&key.as_str()));
            }
            let row = summary.entry(&score.row).or_insert_with(|| serde_json::json!({}));
            row[&score.domain][&score.metric] = values;
        }
        let text = serde_json::to_string(&summary).map_err(failed)?;
        Ok(format!("{text}\n").into_bytes())
    }
}
