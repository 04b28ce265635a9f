//! What a folder of results holds: its experiment's words and its pages.

use std::fmt::Write as _;
use std::path::Path;

use bayeslora_host::read;

use crate::error::{Error, Result};
use crate::experiment::Experiment;

/// A page of results.
#[derive(Debug, PartialEq)]
pub(super) struct Page {
    /// Path within the results folder, `/` between levels.
    pub(super) path: String,
    pub(super) text: String,
}

impl Page {
    /// Its first heading.
    pub(super) fn title(&self) -> &str {
        let heading = self.text.lines().find_map(|line| line.strip_prefix("# "));
        heading.unwrap_or(&self.path)
    }

    /// The comment at its beginning, and what follows it.
    pub(super) fn parts(&self) -> (&str, &str) {
        self.text.strip_prefix("<!--").and_then(|rest| rest.split_once("-->")).unwrap_or(("", &self.text))
    }

    /// The lines of the comment at its beginning: how and where it was made.
    pub(super) fn provenance(&self) -> Vec<&str> {
        self.parts().0.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
    }

    /// Shows at its end what is drawn beside it and it does not show itself.
    pub(super) fn show_all(&mut self, results: &Path) {
        let path = results.join(&self.path);
        let beside = path.parent().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let mut names: Vec<String> = beside.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        for name in names {
            if let Some(title) = name.strip_suffix(".svg").filter(|_| !self.text.contains(&format!("({name})"))) {
                let _ = writeln!(self.text, "\n![{}]({name})", title.replace('_', " "));
            }
        }
    }

    /// Figures it shows: alternative text and path within the results folder.
    pub(super) fn figures(&self) -> Vec<(&str, String)> {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let figure = |part: &'_ str| -> Option<(usize, usize)> {
            let close = part.find("](")?;
            Some((close, close + 2 + part[close + 2..].find(')')?))
        };
        let found = self.text.split("![").skip(1).filter_map(|part| {
            let (close, end) = figure(part)?;
            Some((&part[..close], format!("{folder}/{}", &part[close + 2..end])))
        });
        found.collect()
    }
}

/// One folder of results.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) folder: String,
    pub(super) title: String,
    /// What it asks, from the experiment file.
    pub(super) question: Option<String>,
    /// What came of it, from the experiment file.
    pub(super) answer: Option<String>,
    /// Seeds of each method, in the profile that has most.
    pub(super) seeds: Option<usize>,
    /// What was found, by hand; from the experiment file.
    pub(super) findings: Option<String>,
    /// How to run it, where it has not been run.
    pub(super) command: Option<String>,
    pub(super) pages: Vec<Page>,
}

/// Pages below a folder that are not its own table: in order.
const FURTHER: [&str; 5] =
    ["curve.md", "protocol/table.md", "tuning/table.md", "geometry/table.md", "couplings/table.md"];

/// The profile that is for a reader's own machine and not kept.
const NOT_KEPT: &str = "quick";

impl Section {
    /// The section of a folder; `None` where it holds no results of ours.
    fn read(results: &Path, folder: &str) -> Result<Option<Self>> {
        let (mut paths, mut title, mut findings, mut command) = (vec!["table.md".to_owned()], None, None, None);
        let (mut question, mut answer, mut seeds) = (None, None, None);
        let experiment = results.join(folder).join("experiment.toml");
        if experiment.is_file() {
            let read = Experiment::load(&experiment)?;
            let kept: Vec<_> = read.profiles.iter().filter(|(name, _)| name.as_str() != NOT_KEPT).collect();
            for (_, profile) in &kept {
                if !profile.folder.as_os_str().is_empty() {
                    paths.push(format!("{}/table.md", profile.folder.display()));
                }
            }
            let profile = kept.first().map_or(NOT_KEPT, |(name, _)| name.as_str());
            command = Some(format!("make results EXPERIMENT=results/{folder}/experiment.toml PROFILE={profile}"));
            seeds = kept.iter().map(|(_, profile)| profile.seeds.len()).max();
            (title, findings) = (Some(read.title), read.findings);
            (question, answer) = (read.question, read.answer);
        }
        paths.extend(FURTHER.map(str::to_owned));
        let mut pages: Vec<Page> = Vec::new();
        for path in paths {
            let path = format!("{folder}/{path}");
            if results.join(&path).is_file() && !pages.iter().any(|page| page.path == path) {
                let mut page = Page { text: text_of(&results.join(&path))?, path };
                page.show_all(results);
                pages.push(page);
            }
        }
        let Some(title) = title.or_else(|| pages.first().map(|page| page.title().to_owned())) else { return Ok(None) };
        let folder = folder.to_owned();
        Ok(Some(Self { folder, title, question, answer, seeds, findings, command, pages }))
    }
}

fn text_of(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|error| Error::Report(format!("{}: not UTF-8: {error}", path.display())))
}

/// Names of the folders in a results folder, in order.
pub(crate) fn folders(results: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(results)
        .map_err(|error| Error::Store { path: results.to_owned(), problem: format!("cannot be read: {error}") })?;
    let mut folders: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|e| e.file_name().to_string_lossy().into())
        .collect();
    folders.sort();
    Ok(folders)
}

/// The sections of a results folder in the order of their names, those that were not run last.
pub(super) fn sections(results: &Path) -> Result<Vec<Section>> {
    let mut found = Vec::new();
    for folder in folders(results)? {
        found.extend(Section::read(results, &folder)?);
    }
    found.sort_by_key(|section| section.pages.is_empty());
    if found.is_empty() {
        let problem = "holds no experiment and no table; name the folder of the results".to_owned();
        return Err(Error::Store { path: results.to_owned(), problem });
    }
    Ok(found)
}
