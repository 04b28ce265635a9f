//! Elementary science questions: `OpenBookQA` (Mihaylov et al. 2018), without the book of facts.
//!
//! 4,957 training, 500 development and 500 test questions with four options.
//!
//! Test sets, graded by their distance: its own; ARC-Easy and ARC-Challenge; five subjects of MMLU, of which the published tables show
//! college chemistry and college physics. All have labels, since all are questions with four options.
//!
//! # Decisions
//! - The published test set is tested on and the development set validated on. `test-split = "dev"` is as in ARC ([`super::arc`]), for the
//!   shifted sets of ARC as well; MMLU is always its test set.
//! - Training item 12-1145 has five options, the last two labelled D. It is dropped, or kept with five classes (`odd-items = "keep"`).
//! - Of the training questions, 14 stand in the test set, 7 in the development set and 42 repeat an earlier one, most with their
//!   options in another order. They are dropped ([`super::science`]). Questions that share only their words with another stay.
//! - Three questions have one option twice and stay as published.

use std::path::Path;

use super::arc::Level;
use super::domain::DomainInfo;
use super::lines::Table;
use super::mmlu;
use super::prompts::{Answers, letters};
use super::science::{Item, Science};
use super::settings::{self, DataSettings};
use super::task::{Open, Splits, Task};
use crate::assets::AssetId;
use crate::error::Result;

const ID: &str = "openbookqa";

/// Labels that every question has.
const LABELS: &str = "ABCD";

/// The questions with these settings.
#[derive(Debug)]
struct OpenBookQa(Science);

pub(super) fn from_settings(data: toml::Table) -> Result<(DataSettings, Box<dyn Task>), String> {
    let (common, own) = settings::read::<Science>(data)?;
    Ok((common, Box::new(OpenBookQa(own.checked().map_err(|error| error.to_string())?))))
}

impl Task for OpenBookQa {
    fn domains(&self) -> Vec<DomainInfo> {
        let own = DomainInfo { in_distribution: true, ..DomainInfo::new(ID, "OpenBookQA") };
        [own, Level::Easy.info(), Level::Challenge.info()].into_iter().chain(mmlu::infos()).collect()
    }

    fn answers(&self) -> Option<Answers> {
        self.0.answers()
    }

    fn splits(&self, seed: u64, open: &mut Open<'_>) -> Result<Splits> {
        let folder = open(AssetId::OpenBookQa)?;
        let arc = open(AssetId::Arc)?;
        let mut notes = Vec::new();
        let mut shifted = Vec::new();
        for level in [Level::Easy, Level::Challenge] {
            shifted.push(level.shifted(&arc, &self.0, seed, &mut notes)?);
        }
        shifted.extend(mmlu::examples(&open(AssetId::Mmlu)?, &self.0, seed, &mut notes)?);
        let read = |published: &str| read(&folder.join(format!("{published}.tsv")));
        self.0.splits((ID, seed), read, shifted, notes)
    }
}

/// Lines of ID, question, options, both of these, and key, after a header.
fn read(path: &Path) -> Result<Vec<Item>> {
    const NAMES: &str = "ID, Question Stem, Choices, Complete Question, Answer Key";
    let table = Table::read(path.to_owned())?;
    let mut lines = table.lines();
    let header = NAMES.replace(", ", "\t");
    match lines.next() {
        Some(line) if line.text() == header => {}
        Some(line) => return Err(line.error(&format!("the header {NAMES}"), line.text())),
        None => return Err(super::lines::malformed(path, 1, &format!("the header {NAMES}"), "")),
    }
    let mut items = Vec::new();
    for line in lines {
        let [id, stem, choices, _, key] = line.fields(NAMES)?;
        let options = options(choices).ok_or_else(|| line.error("(A) .. (B) .. (C) .. (D) ..", choices))?;
        let right = letters().take(LABELS.len()).position(|letter| key.chars().eq([letter]));
        let right = right.ok_or_else(|| line.error("a key from A to D", key))?;
        let item = Item { id: id.to_owned(), text: stem.to_owned(), options, numbered: false, right };
        items.push(item.checked(path, line.number)?);
    }
    Ok(items)
}

/// The options of `(A) one (B) two (C) three (D) four`, the first four labelled in this order; `None` for another form.
fn options(choices: &str) -> Option<Vec<String>> {
    let is_label = |at: usize| {
        let bytes = choices.as_bytes();
        matches!(bytes.get(at..at + 4), Some([b'(', b'A'..=b'E', b')', b' '])) && (at == 0 || bytes[at - 1] == b' ')
    };
    let starts: Vec<usize> = (0..choices.len()).filter(|at| is_label(*at)).collect();
    let labels: String = starts.iter().map(|at| &choices[at + 1..at + 2]).collect();
    if !labels.starts_with(LABELS) || starts.first() != Some(&0) {
        return None;
    }
    let ends = starts.iter().skip(1).copied().chain([choices.len()]);
    Some(starts.iter().zip(ends).map(|(start, end)| choices[start + 4..end].trim().to_owned()).collect())
}
