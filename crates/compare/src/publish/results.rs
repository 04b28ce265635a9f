//! A results folder as values: its experiments, what was found in them, and their records.

use std::path::{Path, PathBuf};

use bayeslora_host::read;
use bayeslora_report::Report;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::experiment::{Experiment, Plan};
use crate::publish::report_files::{Recorded, command};

/// The profile that is for a reader's own machine and not kept.
const NOT_KEPT: &str = "quick";

/// The page of a search, which is no finding of its own.
const TUNING_PAGE: &str = "tuning/table.md";

/// Pages beside a table of their own kind, with their titles, in order.
const FURTHER: [(&str, &str); 7] = [
    ("curve.md", "Curve over the profiles"),
    ("protocol/table.md", "Beside the paper's own numbers"),
    (TUNING_PAGE, "How the settings were chosen"),
    ("geometry/table.md", "Does variance follow the distance from the fine-tuning subspace?"),
    ("couplings/table.md", "Fewer samples for the same error: coupled masks and adaptive T"),
    ("width/table.md", "Is the fitted width of each posterior the right one?"),
    ("posterior/table.md", "Every method beside the exact posterior"),
];

/// What a folder without an experiment file says of itself, in `about.toml`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct About {
    title: String,
    question: Option<String>,
    answer: Option<String>,
    findings: Option<String>,
    order: Option<u32>,
}

/// One folder of results.
#[derive(Debug)]
pub(crate) struct Folder {
    /// Name within the results folder.
    pub(crate) name: String,
    pub(crate) title: String,
    /// What it asks.
    pub(crate) question: Option<String>,
    /// What came of it, in one sentence.
    pub(crate) answer: Option<String>,
    /// What was found, in a few sentences of Markdown.
    pub(crate) findings: Option<String>,
    /// Place in the index, lowest first; folders of one place by name.
    order: u32,
    /// Seeds of each method, in the profile that has most of those that were run.
    pub(crate) seeds: Option<usize>,
    /// How to run it; none without an experiment.
    pub(crate) command: Option<String>,
    /// The experiment file and what it says.
    pub(crate) experiment: Option<(PathBuf, Experiment)>,
    /// Profiles that are kept, as planned before any tuning.
    pub(crate) untuned: Vec<Plan>,
    /// Profiles that were run to their end, with their records.
    pub(crate) runs: Vec<Recorded>,
    /// Those that were not, and how far they are: no page is made of half a comparison.
    pub(crate) unfinished: Vec<String>,
    /// Further pages that are there: title and path within the results folder.
    pub(crate) further: Vec<(String, String)>,
}

/// Where a folder without an order of its own stands.
const LATER: u32 = 100;

impl Folder {
    /// `None` where the folder holds neither an experiment nor a page of ours.
    fn read(results: &Path, name: &str) -> Result<Option<Self>> {
        let folder = results.join(name);
        let experiment = folder.join("experiment.toml");
        let mut read = if experiment.is_file() {
            Self::of_experiment(name, &experiment)?
        } else if folder.join("about.toml").is_file() {
            Self::of_about(name, &folder.join("about.toml"))?
        } else {
            return Ok(None);
        };
        // In the folder itself, and in those of its profiles.
        let mut places = vec![String::new()];
        places.extend(read.untuned.iter().filter_map(|plan| {
            let inner = plan.folder.strip_prefix(&folder).ok()?.to_string_lossy().replace('\\', "/");
            (!inner.is_empty()).then_some(inner)
        }));
        for place in places {
            for (page, title) in FURTHER {
                let (title, page) = match place.as_str() {
                    "" => (title.to_owned(), page.to_owned()),
                    place => (format!("{title} ({place})"), format!("{place}/{page}")),
                };
                if folder.join(&page).is_file() {
                    read.further.push((title, format!("{name}/{page}")));
                }
            }
        }
        Ok(Some(read))
    }

    fn of_about(name: &str, path: &Path) -> Result<Self> {
        let problem = |problem: String| Error::Store { path: path.to_owned(), problem };
        let text = String::from_utf8(read(path)?).map_err(|error| problem(format!("not UTF-8: {error}")))?;
        let About { title, question, answer, findings, order } =
            toml::from_str(&text).map_err(|error| problem(error.to_string()))?;
        let table = path.with_file_name("table.md").is_file();
        Ok(Self {
            name: name.to_owned(),
            further: table.then(|| (title.clone(), format!("{name}/table.md"))).into_iter().collect(),
            title,
            question,
            answer,
            findings,
            order: order.unwrap_or(LATER),
            seeds: None,
            command: None,
            experiment: None,
            untuned: Vec::new(),
            runs: Vec::new(),
            unfinished: Vec::new(),
        })
    }

    fn of_experiment(name: &str, path: &Path) -> Result<Self> {
        let experiment = Experiment::load(path)?;
        let kept: Vec<&String> = experiment.profiles.keys().filter(|name| *name != NOT_KEPT).collect();
        let (mut untuned, mut runs, mut seeds, mut unfinished) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for profile in &kept {
            let planned = experiment.clone().plan_untuned(path, profile)?;
            // Settings that tuning has not chosen yet cannot be planned with.
            if planned.folder.join("units").is_dir() {
                let plan = experiment.clone().plan(path, profile)?;
                let recorded = Recorded::read(&plan, None)?;
                match (recorded.computed(), plan.unit_count()) {
                    (0, _) => {}
                    (computed, all) if computed < all => {
                        unfinished.push(format!("{profile} ({computed} of {all} units)"));
                    }
                    _ => {
                        seeds.push(recorded.definition.seeds.len());
                        runs.push(recorded);
                    }
                }
            }
            untuned.push(planned);
        }
        let profile = kept.first().map_or(NOT_KEPT, |name| name.as_str());
        Ok(Self {
            name: name.to_owned(),
            title: experiment.title.clone(),
            question: experiment.question.clone(),
            answer: experiment.answer.clone(),
            findings: experiment.findings.clone(),
            order: experiment.order.unwrap_or(LATER),
            seeds: seeds.into_iter().max(),
            command: Some(command(path.display(), profile)),
            further: Vec::new(),
            untuned,
            runs,
            unfinished,
            experiment: Some((path.to_owned(), experiment)),
        })
    }

    /// Whether nothing of it was computed yet.
    pub(crate) fn is_empty(&self) -> bool {
        let is_found = |(_, page): &(String, String)| !page.ends_with(TUNING_PAGE);
        self.runs.is_empty() && !self.further.iter().any(is_found)
    }

    /// Whether it says itself where it stands in the index.
    pub(crate) fn is_ordered(&self) -> bool {
        self.order < LATER
    }

    /// Its pages, the tables of its profiles first: title and path within `results`.
    pub(crate) fn pages(&self, results: &Path) -> Vec<(String, String)> {
        let of_run = |run: &Recorded| {
            let path = run.folder.join("table.md");
            let path = path.strip_prefix(results).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            let inner = path.strip_prefix(&format!("{}/", self.name)).unwrap_or(&path);
            let profile = inner.strip_suffix("/table.md").map_or(String::new(), |profile| format!(" ({profile})"));
            (format!("All tables{profile}"), path)
        };
        self.runs.iter().map(of_run).chain(self.further.iter().cloned()).collect()
    }
}

/// A folder with what the pages of its runs are made from, in the order of the runs.
pub(crate) struct Reported<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) reports: Vec<Report<'a>>,
}

/// Computes the numbers of every page, once.
///
/// # Errors
/// When a statistic cannot be computed from the records.
pub(crate) fn reported(folders: &[Folder]) -> Result<Vec<Reported<'_>>> {
    let mut all = Vec::new();
    for folder in folders {
        all.push(Reported { folder, reports: folder.runs.iter().map(Recorded::report).collect::<Result<_>>()? });
    }
    Ok(all)
}

/// Every folder of a results folder that holds results of ours: in their order, those that were not run last.
///
/// # Errors
/// When the folder cannot be read, holds no results, or a file in it is not what this program wrote.
pub(crate) fn folders(results: &Path) -> Result<Vec<Folder>> {
    let refused = |problem: String| Error::Store { path: results.to_owned(), problem };
    let entries = std::fs::read_dir(results).map_err(|error| refused(format!("cannot be read: {error}")))?;
    let mut names: Vec<String> = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| refused(format!("cannot be read: {error}")))?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into());
        }
    }
    names.sort();
    let mut found = Vec::new();
    for name in names {
        found.extend(Folder::read(results, &name)?);
    }
    found.sort_by_key(|folder| (folder.is_empty(), folder.order));
    if found.is_empty() {
        return Err(refused("holds no experiment.toml and no about.toml; name the folder of the results".to_owned()));
    }
    Ok(found)
}
