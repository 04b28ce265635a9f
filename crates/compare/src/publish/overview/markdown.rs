//! `results/README.md`: an index, one row for each experiment, and below it what was found.

use std::collections::BTreeSet;
use std::path::Path;

use bayeslora_render::{Block, Cell, Column, Page, Section, Table};

use bayeslora_report::Report;

use super::answers::{Answered, HOW_TO_READ};
use crate::publish::results::{Folder, Reported};

pub(super) fn index(reported: &[Reported<'_>], answered: &[Answered], results: &Path) -> String {
    let heads = ["experiment", "question", "answer"].map(Column::text);
    let last = [Column::number("seeds", 0), Column::text("computed")];
    let mut table = Table::new(heads.into_iter().chain(last));
    let mut sections = Vec::new();
    for Reported { folder, reports } in reported {
        let said = |text: &Option<String>| text.as_deref().map_or(Cell::Missing, Cell::text);
        let answer = if folder.is_empty() { Cell::text("not run yet") } else { said(&folder.answer) };
        let seeds = folder.seeds.map_or(Cell::Missing, |seeds| Cell::Count(u64::try_from(seeds).unwrap_or(u64::MAX)));
        let dates: BTreeSet<&str> = reports.iter().flat_map(Report::dates).collect();
        let dates: Vec<&str> = dates.into_iter().collect();
        let computed = if dates.is_empty() { Cell::Missing } else { Cell::text(dates.join(", ")) };
        let pages = folder.pages(results);
        // A curve shows all profiles at once.
        let page =
            pages.iter().find(|(_, path)| path.ends_with("/curve.md")).or(pages.first()).map(|(_, path)| path.clone());
        let link = page.filter(|_| !folder.is_empty()).unwrap_or_else(|| format!("{}/experiment.toml", folder.name));
        let title = Cell::Link { words: folder.title.clone(), to: link };
        table.push([title, said(&folder.question), answer, seeds, computed]);
        sections.push(section(folder, results));
    }
    let index = "Every folder here has its experiment file, or a command of its own, beside what was made from it. `bayeslora report --all` \
                   also writes `report.html`: one file with a leaderboard to sort, the main tables and figures.";
    let mut page = Page {
        provenance: vec![Page::made_by("bayeslora report --all")],
        title: "Results".to_owned(),
        opening: vec![],
        sections: Vec::new(),
    };
    let every = Section::new("Every experiment", [Block::text(index), Block::Table(table)]);
    page.sections.extend(answered.iter().map(Answered::section).chain([every]).chain(sections));
    if !answered.is_empty() {
        page.opening.push(Block::text(HOW_TO_READ));
    }
    page.markdown()
}

/// What was found, and where it stands.
fn section(folder: &Folder, results: &Path) -> Section {
    let mut blocks = vec![Block::text(format!("<a id=\"{}\"></a>", folder.name))];
    if !folder.unfinished.is_empty() {
        blocks.push(Block::text(format!("Unfinished, and not shown: {}.", folder.unfinished.join(", "))));
    }
    if let (Some(command), true) = (&folder.command, folder.is_empty()) {
        blocks.push(Block::text(format!("Not run yet: `{command}`.")));
        return Section::new(&folder.title, blocks);
    }
    blocks.extend(folder.findings.as_deref().map(Block::text));
    let mut links = Vec::new();
    if folder.experiment.is_some() {
        links.push(format!("[What was compared, and how]({}/experiment.toml)", folder.name));
    }
    links.extend(folder.pages(results).iter().map(|(title, path)| format!("[{title}]({path})")));
    blocks.push(Block::Points(links));
    Section::new(&folder.title, blocks)
}
