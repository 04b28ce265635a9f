//! `report.html`: one file, no network.

use std::fmt::Write as _;
use std::path::Path;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};

use super::section::{Page, Section};
use crate::error::Result;
use bayeslora_host::read;

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

pub(super) fn report(sections: &[Section], results: &Path) -> Result<String> {
    let (mut contents, mut body) = (String::new(), String::new());
    for section in sections {
        let (folder, title) = (escape(&section.folder), escape(&section.title));
        let state = if section.pages.is_empty() { " <small>not run yet</small>" } else { "" };
        let _ = writeln!(contents, "<li><a href=\"#{folder}\">{title}</a>{state}</li>");
        let _ = writeln!(body, "<section id=\"{folder}\">\n<h1>{title}</h1>");
        if let Some(command) = section.command.as_ref().filter(|_| section.pages.is_empty()) {
            let _ = writeln!(body, "<p><code>{}</code></p>", escape(command));
        }
        if let Some(findings) = &section.findings {
            body += &rendered(findings, &|_| None);
        }
        for page in &section.pages {
            body += &article(page, results)?;
        }
        body += "</section>\n";
    }
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>bayeslora: results</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<nav aria-label=\"Contents\">\n<ul>\n{contents}</ul>\n</nav>\n<main>\n{body}</main>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    ))
}

/// A page with its figures in it, folded away but for the first.
fn article(page: &Page, results: &Path) -> Result<String> {
    let mut figures = Vec::new();
    for (_, path) in page.figures() {
        if Path::new(&path).extension().is_some_and(|extension| extension == "svg") && results.join(&path).is_file() {
            figures.push((path.clone(), data_uri(&read(&results.join(&path))?)));
        }
    }
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let inlined = |target: &str| {
        let path = format!("{folder}/{target}");
        figures.iter().find(|(known, _)| *known == path).map(|(_, uri)| uri.clone())
    };
    // The title of the page stands in its summary; links to its headings lead nowhere here.
    let (_, text) = page.parts();
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("# ") && !line.starts_with("Contents: "))
        .collect::<Vec<_>>()
        .join("\n");
    let provenance: Vec<String> = page.provenance().into_iter().map(escape).collect();
    Ok(format!(
        "<details open>\n<summary>{} <code>{}</code></summary>\n<p class=\"provenance\">{}</p>\n{}</details>\n",
        escape(page.title()),
        escape(&page.path),
        provenance.join("<br>"),
        rendered(&text, &inlined)
    ))
}

/// Markdown as HTML: tables in a box of their own that scrolls, images as `inlined` gives them, HTML in the text shown and not obeyed.
fn rendered(text: &str, inlined: &dyn Fn(&str) -> Option<String>) -> String {
    let options = Options::ENABLE_TABLES;
    let events = Parser::new_ext(text, options).map(|event| match event {
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            let dest_url = inlined(&dest_url).map_or(dest_url, CowStr::from);
            Event::Start(Tag::Image { link_type, dest_url, title, id })
        }
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        other => other,
    });
    let mut page = String::new();
    html::push_html(&mut page, events);
    page.replace("<table>", "<div class=\"table\" tabindex=\"0\"><table>").replace("</table>", "</table></div>")
}

/// A picture as an address: what may not stand in one is encoded.
fn data_uri(svg: &[u8]) -> String {
    let mut uri = String::from("data:image/svg+xml,");
    for &byte in svg {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b' '
            | b'-'
            | b'_'
            | b'.'
            | b'/'
            | b'='
            | b':'
            | b','
            | b'('
            | b')' => {
                uri.push(char::from(byte));
            }
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
