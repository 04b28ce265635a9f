//! Ranks of methods over tasks: the experiments that say `ranked-as`, each with the seed means of its own test set.

use std::path::Path;

use bayeslora_report::{Task, one_reading_each, ranks};

use crate::error::Result;
use crate::publish::generated::Files;
use crate::publish::results::Reported;

/// Folder of the page.
const FOLDER: &str = "ranks";

/// Page and figure; none below two tasks that were run, and where they share too few rows.
pub(super) fn files(reported: &[Reported<'_>], results: &Path) -> Result<Files> {
    let mut by_name: Vec<&Reported<'_>> = reported.iter().collect();
    by_name.sort_by(|a, b| a.folder.name.cmp(&b.folder.name));
    let tasks: Vec<Task> = by_name.into_iter().filter_map(task).collect();
    let Some((page, figure)) = ranks(&tasks)? else { return Ok(Files::new()) };
    let files = [("table.md".to_owned(), page.markdown().into_bytes()), figure];
    Ok(files.into_iter().map(|(name, bytes)| (results.join(FOLDER).join(name), bytes)).collect())
}

/// An experiment as a task; `None` where it is none, or was not run: its numbers are those of the profile without a folder of its own.
fn task(Reported { folder, reports }: &Reported<'_>) -> Option<Task> {
    let (path, experiment) = folder.experiment.as_ref()?;
    let own = path.parent().unwrap_or(path);
    let name = experiment.ranked_as.clone()?;
    let (run, report) = folder.runs.iter().zip(reports).find(|(run, _)| run.folder == own)?;
    let inside = run.definition.domains.iter().find(|domain| domain.in_distribution);
    let scores = report.aggregate.scores.iter().filter(|score| inside.is_some_and(|set| set.id == score.domain));
    let means = scores.map(|score| ((score.row.clone(), score.metric.clone()), score.mean)).collect();
    Some(Task { name, rows: one_reading_each(&run.definition.rows), means })
}
