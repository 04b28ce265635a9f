//! News texts, as a far test set for tasks of other classes: the test set of AG News (Zhang, Zhao and `LeCun` 2015).
//!
//! 7,600 records `class,title,description`, 1,900 of each of four classes. The text is title and description with a space between,
//! left as published (`#36;` for a dollar sign, `\` for a line break). Its classes are not those of any task here: it has no labels.

use std::path::Path;

use super::domain::DomainInfo;
use super::example::Example;
use super::{lines, split};
use crate::error::Result;

const ID: &str = "ag-news";

/// What it is.
pub(super) fn info() -> DomainInfo {
    DomainInfo { labelled: false, ..DomainInfo::new(ID, "AG News") }
}

/// Every text in the seeded order, without labels.
pub(super) fn texts(folder: &Path, seed: u64) -> Result<Vec<Example>> {
    let path = folder.join("test.csv");
    let mut examples = Vec::new();
    for (line, [class, title, description]) in lines::csv_records(&path, "class, title, description")? {
        if !matches!(class.as_str(), "1" | "2" | "3" | "4") {
            return Err(lines::malformed(&path, line, "a class from 1 to 4", &class));
        }
        let text = format!("{title} {description}");
        if text.trim().is_empty() {
            return Err(lines::malformed(&path, line, "a title or a description", &text));
        }
        examples.push(Example { id: line.to_string(), text, label: None, ratings: None, choice: None });
    }
    split::shuffle(&mut examples, seed, ID);
    Ok(examples)
}
