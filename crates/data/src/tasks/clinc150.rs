//! Intents of people who talk to an assistant, and queries that it has no intent for: CLINC150 (Larson et al. 2019), all 150 intents.
//!
//! | split | queries | of each intent |
//! |---|---|---|
//! | train | 14,995 | 100, but for the dropped ones |
//! | validation (`val`) | 3,000 | 20 |
//! | test | 4,500 | 30 |
//!
//! The classes are the intents in alphabetical order of their names as bytes.
//!
//! Test sets: the test queries; the 1,000 test queries that are out of scope, in the same style; and, far, the test
//! sentences of SST-2 and the texts of AG News. Only the first has labels: no class is right for the others.
//!
//! # Decisions
//! - The published split is kept but for 5 training queries: 3 stand in the validation set, 2 in the test set (case and white space
//!   ignored; 4 of the 5 texts have another intent there). They are dropped, so no text is in two splits.
//! - Out-of-scope queries are never trained on: the 100 for training and the 100 for validation are read, checked and left out.
//! - Texts are left as published: lower case, little punctuation.

use std::collections::BTreeSet;
use std::path::Path;

use super::domain::DomainInfo;
use super::example::Example;
use super::json_lists::{self, List};
use super::lines::malformed;
use super::settings::{self, DataSettings};
use super::task::{Open, Splits, Task};
use super::{ag_news, apart, split, sst2_sentences};
use crate::assets::AssetId;
use crate::error::Result;

const ID: &str = "clinc150";

/// The out-of-scope test queries.
const OUT_OF_SCOPE: &str = "clinc150-oos";

/// Intents there are.
const INTENTS: usize = 150;

/// What stands for an intent where there is none.
const NO_INTENT: &str = "oos";

/// Names of the lists: those of known intents, those out of scope.
const LISTS: [&str; 6] = ["train", "val", "test", "oos_train", "oos_val", "oos_test"];

/// CLINC150 has no settings of its own.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Clinc150 {}

pub(super) fn from_settings(data: toml::Table) -> Result<(DataSettings, Box<dyn Task>), String> {
    let (common, own) = settings::read::<Clinc150>(data)?;
    Ok((common, Box::new(own)))
}

impl Task for Clinc150 {
    fn domains(&self) -> Vec<DomainInfo> {
        vec![
            DomainInfo { in_distribution: true, ..DomainInfo::new(ID, "CLINC150") },
            DomainInfo { labelled: false, ..DomainInfo::new(OUT_OF_SCOPE, "CLINC150, out of scope") },
            sst2_sentences::info_as_shifted(),
            ag_news::info(),
        ]
    }

    fn splits(&self, seed: u64, open: &mut Open<'_>) -> Result<Splits> {
        let path = open(AssetId::Clinc150)?.join("data_full.json");
        let lists = json_lists::read(&path, "text, intent")?;
        let [train, validation, test, _, _, foreign] = six(&path, &lists)?;
        let classes = intents(&path, train)?;
        let labelled = |list: &List| examples(&path, list, Some(&classes));
        let (mut train, mut validation, mut test) = (labelled(train)?, labelled(validation)?, labelled(test)?);
        let mut foreign = examples(&path, foreign, None)?;
        let mut seen = apart::texts(&test);
        let mut notes = Vec::new();
        for (set, examples) in [(OUT_OF_SCOPE, &mut foreign), ("validation", &mut validation), ("train", &mut train)] {
            notes.extend(apart::keep_apart(examples, &mut seen, set));
        }
        for examples in [&mut train, &mut validation, &mut test, &mut foreign] {
            split::shuffle(examples, seed, ID);
        }
        let tests = vec![
            test,
            foreign,
            sst2_sentences::texts(&open(AssetId::Sst2)?, seed)?,
            ag_news::texts(&open(AssetId::AgNews)?, seed)?,
        ];
        Ok(Splits { classes, train, validation, tests, notes })
    }
}

/// The lists in the order of [`LISTS`], each there once, with checked fields.
fn six<'a>(path: &Path, lists: &'a [List]) -> Result<[&'a List; 6]> {
    let mut found = [None; 6];
    for list in lists {
        let name = list.name.as_str();
        let Some(place) = LISTS.iter().position(|known| *known == name) else {
            return Err(malformed(path, list.line, &format!("a list of {}", LISTS.join(", ")), name));
        };
        if found[place].replace(list).is_some() {
            return Err(malformed(path, list.line, "each list once", name));
        }
        check(path, list)?;
    }
    let last = lists.last().map_or(1, |list| list.line);
    let mut all = Vec::new();
    for (list, name) in found.into_iter().zip(LISTS) {
        let names = || lists.iter().map(|list| list.name.as_str()).collect::<Vec<_>>().join(", ");
        all.push(list.ok_or_else(|| malformed(path, last, &format!("a list {name} up to here"), &names()))?);
    }
    all.try_into().map_err(|_| malformed(path, last, "six lists", ""))
}

fn check(path: &Path, list: &List) -> Result<()> {
    let foreign = list.name.starts_with(NO_INTENT);
    for pair in &list.pairs {
        let [text, intent] = &pair.fields;
        if text.trim().is_empty() {
            return Err(malformed(path, pair.line, "a query", text));
        }
        if foreign && intent != NO_INTENT {
            return Err(malformed(path, pair.line, "the intent oos, in a list of queries out of scope", intent));
        }
        if !foreign && (intent.trim().is_empty() || intent == NO_INTENT) {
            return Err(malformed(path, pair.line, "an intent", intent));
        }
    }
    Ok(())
}

/// The intents of the training queries in order.
fn intents(path: &Path, train: &List) -> Result<Vec<String>> {
    let names: BTreeSet<&str> = train.pairs.iter().map(|pair| pair.fields[1].as_str()).collect();
    if names.len() != INTENTS {
        let found = format!("{} of them", names.len());
        return Err(malformed(path, train.line, "150 intents in the list train", &found));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Identifiers are list and number, from 1; labels are places among `classes`, and none where there are no classes.
fn examples(path: &Path, list: &List, classes: Option<&[String]>) -> Result<Vec<Example>> {
    let example = |(index, pair): (usize, &json_lists::Pair)| {
        let [text, intent] = &pair.fields;
        let label = match classes {
            None => None,
            Some(classes) => {
                let class = classes.binary_search(intent).ok().and_then(|class| u32::try_from(class).ok());
                Some(class.ok_or_else(|| malformed(path, pair.line, "an intent of the list train", intent))?)
            }
        };
        Ok(Example {
            id: format!("{}-{}", list.name, index + 1),
            text: text.clone(),
            label,
            ratings: None,
            choice: None,
        })
    };
    list.pairs.iter().enumerate().map(example).collect()
}
