//! `answers.toml`: what all results together are asked, each with its answer, the effects behind it, where it holds and what would
//! overturn it. The effects are named there; their numbers come from the records.

use std::path::Path;

use bayeslora_host::read;
use bayeslora_render::{Block, Cell, Column, Section, Table};
use bayeslora_report::{Effect, EffectName, Report};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::publish::results::Reported;

/// Its name in the folder of the results.
const FILE: &str = "answers.toml";

/// The folder of the results, seen from the README above it.
const BELOW: &str = "results/";

/// What a reader of the effects has to know.
pub(super) const HOW_TO_READ: &str = "Below an answer stand effects behind it: the method less what it is compared with, and an interval of \
     95 %, not corrected. The last column is corrected by Holm: over the rows of one test set and metric, or over all scores asked one question. \
     A row beside another than MLE is a test of its own. \"Within\" names a margin that the difference was shown to keep.";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answers {
    answers: Vec<Asked>,
}

/// A question of all results, and what they say to it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Asked {
    question: String,
    /// One sentence or a few.
    answer: String,
    /// A picture within the folder of the results, and its words.
    figure: Option<Picture>,
    /// Where it was seen: model, task, regime.
    holds: String,
    /// What would make it wrong.
    overturned_by: String,
    #[serde(default)]
    effects: Vec<Quoted>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Picture {
    file: String,
    shows: String,
}

/// An effect of a run's page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quoted {
    /// Folder of the run within that of the results.
    run: String,
    /// What tables call it.
    on: String,
    /// Whether the README shows it too.
    #[serde(default)]
    readme: bool,
    effect: EffectName,
}

impl Quoted {
    /// Leads to the page of the run, seen from the folder above `results` with that name before it.
    fn link(&self, before: &str) -> Cell {
        Cell::Link { words: self.on.clone(), to: format!("{before}{}/table.md", self.run) }
    }
}

/// An answer with its effects looked up.
pub(in crate::publish) struct Answered {
    asked: Asked,
    effects: Vec<Effect>,
}

/// The answers of a results folder; none where it has no `answers.toml`.
///
/// # Errors
/// When the file cannot be read, or names a run, an effect or a figure that there is not.
pub(in crate::publish) fn answered(reported: &[Reported<'_>], results: &Path) -> Result<Vec<Answered>> {
    let path = results.join(FILE);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let problem = |problem: String| Error::Store { path: path.clone(), problem };
    let text = String::from_utf8(read(&path)?).map_err(|error| problem(format!("not UTF-8: {error}")))?;
    let Answers { answers } = toml::from_str(&text).map_err(|error| problem(error.to_string()))?;
    let mut all = Vec::new();
    for asked in answers {
        if let Some(Picture { file, .. }) = asked.figure.as_ref().filter(|figure| !results.join(&figure.file).is_file())
        {
            return Err(problem(format!(
                "{:?}: there is no figure {file}; the report of its run draws it",
                asked.question
            )));
        }
        let mut effects = Vec::new();
        for Quoted { run, effect, .. } in &asked.effects {
            let report = of_run(reported, results, run)
                .ok_or_else(|| problem(format!("{:?}: no run lies finished in {run}", asked.question)))?;
            effects.push(
                report.effect(effect).map_err(|error| problem(format!("{:?}, run {run}: {error}", asked.question)))?,
            );
        }
        all.push(Answered { asked, effects });
    }
    Ok(all)
}

fn of_run<'a>(reported: &'a [Reported<'_>], results: &Path, run: &str) -> Option<&'a Report<'a>> {
    let mut runs = reported.iter().flat_map(|one| one.folder.runs.iter().zip(&one.reports));
    let (_, report) = runs.find(|(recorded, _)| recorded.folder.as_path() == results.join(run))?;
    Some(report)
}

fn table<'a>(
    effects: impl IntoIterator<Item = (&'a Quoted, &'a Effect)>,
    link: impl Fn(&Quoted) -> Cell,
) -> Option<Block> {
    let mut table = Table::new(
        ["task and model", "measure", "method", "compared with", "difference", "after correction"].map(Column::text),
    );
    for (quoted, Effect { measure, of, less, difference, verdict }) in effects {
        let told = [measure, of, less, difference, verdict].map(Cell::text);
        table.push([link(quoted)].into_iter().chain(told));
    }
    (!table.rows.is_empty()).then_some(Block::Table(table))
}

impl Answered {
    fn effects(&self) -> impl Iterator<Item = (&Quoted, &Effect)> {
        self.asked.effects.iter().zip(&self.effects)
    }

    /// As the index and `report.html` open with it.
    pub(super) fn section(&self) -> Section {
        let Asked { question, answer, figure, holds, overturned_by, .. } = &self.asked;
        let mut blocks = vec![Block::text(answer)];
        blocks.extend(table(self.effects(), |quoted| quoted.link("")));
        blocks.extend(figure.as_ref().map(|Picture { file, shows }| Block::figure(shows, file)));
        blocks.push(Block::points([
            format!("It holds for: {holds}"),
            format!("What would overturn it: {overturned_by}"),
        ]));
        Section::new(question, blocks)
    }
}

/// Prose whose links are relative to the folder of the results, as the README above it needs them.
fn from_above(text: &str) -> String {
    let mut pieces = text.split("](");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        let is_relative = !(piece.starts_with('#') || piece.split(')').next().is_some_and(|to| to.contains("://")));
        text + "](" + if is_relative { BELOW } else { "" } + piece
    })
}

/// The block of the README above the results, by its name; nothing without answers.
pub(in crate::publish) fn answers_block(answered: &[Answered]) -> Option<(String, String)> {
    if answered.is_empty() {
        return None;
    }
    let mut blocks: Vec<Block> = Vec::new();
    for Answered { asked, .. } in answered {
        blocks.push(Block::text(format!("**{}** {}", asked.question, from_above(asked.answer.trim()))));
    }
    let shown = answered.iter().flat_map(Answered::effects).filter(|(quoted, _)| quoted.readme);
    blocks.extend(table(shown, |quoted| quoted.link(BELOW)));
    let text: Vec<String> = blocks.iter().map(Block::markdown).collect();
    Some(("answers".to_owned(), text.join("\n")))
}
