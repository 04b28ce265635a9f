//! Questions of chemistry and physics, as shifted test sets of science questions: five subjects of MMLU (Hendrycks et al. 2021).
//!
//! | subject | questions | repeats |
//! |---|---|---|
//! | college chemistry | 100 | 0 |
//! | college physics | 102 | 11 |
//! | high school chemistry | 203 | 0 |
//! | high school physics | 151 | 0 |
//! | conceptual physics | 235 | 0 |
//!
//! # Decisions
//! - The published test sets, as published: repeats stay, so that the counts are those of published tables. The five questions of each
//!   development set are not used.
//! - White space at the ends of questions and options is dropped.

use std::path::Path;

use super::domain::DomainInfo;
use super::example::Example;
use super::lines::{csv_records, malformed};
use super::science::{Item, Science};
use super::split;
use crate::error::Result;

/// Identifier, name for tables, and name in files.
const SUBJECTS: [(&str, &str, &str); 5] = [
    ("mmlu-college-chemistry", "MMLU college chemistry", "college_chemistry"),
    ("mmlu-college-physics", "MMLU college physics", "college_physics"),
    ("mmlu-high-school-chemistry", "MMLU high school chemistry", "high_school_chemistry"),
    ("mmlu-high-school-physics", "MMLU high school physics", "high_school_physics"),
    ("mmlu-conceptual-physics", "MMLU conceptual physics", "conceptual_physics"),
];

/// What the subjects are as test sets.
pub(super) fn infos() -> impl Iterator<Item = DomainInfo> {
    SUBJECTS.iter().map(|(id, label, _)| DomainInfo::new(id, label))
}

/// The questions of every subject in the seeded order.
pub(super) fn examples(
    folder: &Path,
    settings: &Science,
    seed: u64,
    notes: &mut Vec<String>,
) -> Result<Vec<Vec<Example>>> {
    let mut sets = Vec::new();
    for (id, _, file) in SUBJECTS {
        let items = read(&folder.join(format!("{file}_test.csv")))?;
        let mut examples = settings.examples_in_right_order(items, id, notes)?;
        split::shuffle(&mut examples, seed, id);
        sets.push(examples);
    }
    Ok(sets)
}

/// Records of question, four options and the place of the right one, from 0; identifiers are lines.
fn read(path: &Path) -> Result<Vec<Item>> {
    const NAMES: &str = "question, choice0, choice1, choice2, choice3, answer";
    let mut records = csv_records::<6>(path, NAMES)?.into_iter();
    match records.next() {
        Some((_, fields)) if fields.join(", ") == NAMES => {}
        Some((line, fields)) => return Err(malformed(path, line, &format!("the header {NAMES}"), &fields.join(", "))),
        None => return Err(malformed(path, 1, &format!("the header {NAMES}"), "")),
    }
    let item = |(line, [question, a, b, c, d, answer]): (usize, [String; 6])| {
        let right = ["0", "1", "2", "3"].iter().position(|place| *place == answer);
        let right = right.ok_or_else(|| malformed(path, line, "the place of an option, from 0 to 3", &answer))?;
        let options = [a, b, c, d].map(|option| option.trim().to_owned()).into();
        Item { id: format!("test-{line}"), text: question.trim().to_owned(), options, numbered: false, right }
            .checked(path, line)
    };
    records.map(item).collect()
}
