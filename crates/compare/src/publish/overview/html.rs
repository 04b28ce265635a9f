//! `report.html`: one file, no network.
//!
//! The answers and a leaderboard come first; each experiment is folded below them, with its main tables and the picture of its differences.

use std::fmt::Write as _;
use std::path::Path;

use bayeslora_host::read;
use bayeslora_render::html::{escape, prose};
use bayeslora_render::{Block, Format, Html, Page, Section};
use bayeslora_report::{Report, leaderboard};

use super::answers::{Answered, HOW_TO_READ};
use crate::error::Result;
use crate::publish::results::{Folder, Reported};

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// Ends of the headings of what is shown of an experiment; the other tables are a link away.
const SHOWN: [&str; 4] =
    ["What the numbers say", ": predictive quality", ": under shift", "With a temperature fitted on validation"];

/// Figures beside a page that show what it is about, where they are there.
const FIGURES: [&str; 4] = ["curve.svg", "critical_difference.svg", "rho.svg", "time.svg"];

pub(super) fn report(reported: &[Reported<'_>], answered: &[Answered], results: &Path) -> Result<String> {
    let opening = opening(answered, results)?;
    let (mut answers, mut further) = (String::new(), String::new());
    let mut details = String::new();
    for Reported { folder, reports } in reported {
        let title = escape(&folder.title);
        let name = escape(&folder.name);
        if let (Some(question), Some(answer), false) = (&folder.question, &folder.answer, folder.is_empty()) {
            let _ = writeln!(
                if folder.is_ordered() { &mut answers } else { &mut further },
                "<li><a href=\"#{name}\">{}</a> {}</li>",
                escape(question),
                bayeslora_render::html::inline(answer)
            );
        }
        let state = if folder.is_empty() { " <small>not run yet</small>" } else { "" };
        let _ = writeln!(details, "<details class=\"experiment\" id=\"{name}\">\n<summary>{title}{state}</summary>");
        details += &experiment(folder, reports, results)?;
        details += "</details>\n";
    }
    if !further.is_empty() {
        further = format!(
            "<details>\n<summary>Further answers</summary>\n<ul class=\"answers\">\n{further}</ul>\n</details>\n"
        );
    }
    let named = reported.iter().flat_map(|Reported { folder, reports }| {
        let several = reports.len() > 1;
        let names = folder.runs.iter().map(move |run| match run.folder.file_name().filter(|_| several) {
            Some(profile) => format!("{}, {}", folder.name, profile.to_string_lossy()),
            None => folder.name.clone(),
        });
        names.zip(reports).collect::<Vec<_>>()
    });
    let named: Vec<(String, &Report<'_>)> = named.collect();
    let table = leaderboard(named.iter().map(|(name, report)| (name.as_str(), *report)));
    let legend = "One reading of each fit, on the test set of its training domain. Choose an experiment, or sort by a heading. Bold: not told \
                  apart from the best of its experiment by five seeds on the same texts. `*`: differs from the reference of its experiment after correction. AUROC of shift: \
                  mean over the shifted test sets of the predictive entropy's; 0.5 knows nothing. Numbers of two experiments do not compare.";
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>bayeslora: results</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Can the uncertainty of a fine-tuned LoRA adapter be trusted?</h1>\n\
         {opening}<nav aria-label=\"Answers\">\n<ul class=\"answers\">\n{answers}</ul>\n{further}</nav>\n\
         <section id=\"leaderboard\" aria-label=\"Leaderboard\">\n<h2>Leaderboard</h2>\n{}<label>Experiment <select></select></label>\n{}\
         </section>\n<h2>Experiments</h2>\n{details}</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        prose(legend),
        Html.table(&table)
    ))
}

/// The questions of all results, each with its answer and the effects behind it.
fn opening(answered: &[Answered], results: &Path) -> Result<String> {
    let mut text = if answered.is_empty() { String::new() } else { prose(HOW_TO_READ) };
    for Section { heading, blocks } in answered.iter().map(Answered::section) {
        let _ = writeln!(text, "<section>\n<h2>{}</h2>", escape(&heading));
        for block in &blocks {
            let figure = match block {
                Block::Figure { file, .. } => Some(data_uri(&read(&results.join(file))?)),
                _ => None,
            };
            text += &block.html(&|_| figure.clone());
        }
        text += "</section>\n";
    }
    Ok(text)
}

/// What was found, then the main tables of each run, folded where there are several.
fn experiment(folder: &Folder, reports: &[Report<'_>], results: &Path) -> Result<String> {
    let mut text = String::new();
    if let Some(command) = folder.command.as_ref().filter(|_| folder.is_empty()) {
        let _ = writeln!(text, "<p><code>{}</code></p>", escape(command));
    }
    text += &folder.findings.as_deref().map(prose).unwrap_or_default();
    let links = folder.pages(results);
    if !links.is_empty() {
        let link = |(title, path): &(String, String)| format!("<a href=\"{}\">{}</a>", escape(path), escape(title));
        let links: Vec<String> = links.iter().map(link).collect();
        let _ = writeln!(text, "<p>{}</p>", links.join(" · "));
    }
    for figure in FIGURES {
        let path = results.join(&folder.name).join(figure);
        if path.is_file() {
            let alt = figure.trim_end_matches(".svg").replace('_', " ");
            let _ = writeln!(text, "<img src=\"{}\" alt=\"{alt}\">", data_uri(&read(&path)?));
        }
    }
    for (run, report) in folder.runs.iter().zip(reports) {
        let picture = run.folder.join("differences.svg");
        let picture = if picture.is_file() { Some(data_uri(&read(&picture)?)) } else { None };
        let body = tables(&report.page(), &|file| picture.clone().filter(|_| file == "differences.svg"));
        if reports.len() > 1 {
            let name = run.folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            let _ = writeln!(text, "<details>\n<summary>{}</summary>\n{body}</details>", escape(&name));
        } else {
            text += &body;
        }
    }
    Ok(text)
}

/// The picture and the shown sections of a page.
fn tables(page: &Page, figure: &dyn Fn(&str) -> Option<String>) -> String {
    let mut text = format!(
        "<p class=\"provenance\">{}</p>\n",
        page.provenance.iter().map(|line| escape(line)).collect::<Vec<_>>().join("<br>")
    );
    // What failed or is missing, and the picture.
    let is_shown = |block: &&Block| match block {
        Block::Figure { .. } => true,
        Block::Text(text) => text.starts_with("> "),
        _ => false,
    };
    text += &page.opening.iter().filter(is_shown).map(|block| block.html(figure)).collect::<String>();
    let shown = |section: &&Section| SHOWN.iter().any(|end| section.heading.ends_with(end));
    for section in page.sections.iter().filter(shown) {
        let _ = writeln!(text, "<h3>{}</h3>", escape(&section.heading));
        text += &section.blocks.iter().map(|block| block.html(figure)).collect::<String>();
    }
    text
}

/// A picture as an address: what may not stand in one is encoded.
fn data_uri(svg: &[u8]) -> String {
    let mut uri = String::from("data:image/svg+xml,");
    for &byte in svg {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => uri.push(char::from(byte)),
            b' ' | b'-' | b'_' | b'.' | b'/' | b'=' | b':' | b',' | b'(' | b')' | b'\'' | b';' => {
                uri.push(char::from(byte));
            }
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}
