//! Intents of customers of a bank: Banking77 (Casanueva et al. 2020), 77 classes, with some intents held out as a near test set.
//!
//! 10,003 training and 3,080 test queries (40 for each intent); the classes are the intents in alphabetical order of their names as
//! bytes.
//!
//! Test sets: the queries of the known intents; those of the held-out intents, near but foreign; and, far, the test sentences of SST-2
//! and the texts of AG News. Only the first has labels: no class is right for the others.
//!
//! # Decisions
//! - `held-out-intents` of the 77 are held out: those first in the order of SHA-256(seed, `banking77-intents`, name). A larger number holds
//!   out the same and more. Their training queries are dropped, their test queries become the near test set; the classes are the
//!   others.
//! - There is no published validation set: `validation-fraction` of the training queries of the known intents, the last ones in the seeded
//!   order.
//! - The published split is kept otherwise: 4 training queries repeat an earlier one, 7 test queries stand in the training set
//!   (case and white space ignored). Texts are left as published; 13 hold line breaks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::banking77_queries::{ID, Query, read};
use super::domain::DomainInfo;
use super::example::Example;
use super::settings::{self, DataSettings};
use super::task::{Open, Splits, Task};
use super::{ag_news, lines, split, sst2_sentences};
use crate::assets::AssetId;
use crate::error::{Error, Result};

const HELD_OUT: &str = "held-out-intents";

/// Intents there are.
const INTENTS: usize = 77;

/// What Banking77 may be told beside the common settings.
///
/// | name | default | range |
/// |---|---|---|
/// | `held-out-intents` | 17 | 0 to 75 |
/// | `validation-fraction` | 0.1 | (0, 1) |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Banking77 {
    /// Intents that are not trained on.
    held_out_intents: usize,
    /// Share of the training queries to validate on.
    validation_fraction: f64,
}

impl Default for Banking77 {
    fn default() -> Self {
        Self { held_out_intents: 17, validation_fraction: 0.1 }
    }
}

pub(super) fn from_settings(data: toml::Table) -> Result<(DataSettings, Box<dyn Task>), String> {
    let (common, own) = settings::read::<Banking77>(data)?;
    own.check().map_err(|error| error.to_string())?;
    Ok((common, Box::new(own)))
}

impl Banking77 {
    fn check(&self) -> Result<()> {
        let refuse = |setting, got: String, expected| Err(Error::TaskSetting { setting, got, expected });
        if self.held_out_intents > INTENTS - 2 {
            return refuse(HELD_OUT, self.held_out_intents.to_string(), "0 to 75: two classes at least are trained on");
        }
        if !(self.validation_fraction > 0.0 && self.validation_fraction < 1.0) {
            let expected = "a number between 0 and 1, both excluded";
            return refuse("validation-fraction", self.validation_fraction.to_string(), expected);
        }
        Ok(())
    }
}

impl Task for Banking77 {
    fn domains(&self) -> Vec<DomainInfo> {
        let mut domains = vec![DomainInfo { in_distribution: true, ..DomainInfo::new(ID, "Banking77") }];
        if self.held_out_intents > 0 {
            domains.push(DomainInfo { labelled: false, ..DomainInfo::new(HELD_OUT, "Held-out intents") });
        }
        domains.extend([sst2_sentences::info_as_shifted(), ag_news::info()]);
        domains
    }

    fn splits(&self, seed: u64, open: &mut Open<'_>) -> Result<Splits> {
        let folder = open(AssetId::Banking77)?;
        let (train, test) = (read(&folder, "train")?, read(&folder, "test")?);
        let names: BTreeSet<&str> = train.iter().map(|query| query.intent.as_str()).collect();
        if names.len() != INTENTS {
            let found = format!("{} of them", names.len());
            return Err(lines::malformed(&folder.join("train.csv"), train.len() + 1, "77 intents in all", &found));
        }
        if let Some(query) = test.iter().find(|query| !names.contains(query.intent.as_str())) {
            let expected = "an intent of train.csv";
            return Err(lines::malformed(&folder.join("test.csv"), query.line, expected, &query.intent));
        }
        let mut order: Vec<&str> = names.into_iter().collect();
        split::shuffle_by(&mut order, seed, "banking77-intents", |name| name);
        let held_out: BTreeSet<&str> = order.drain(..self.held_out_intents).collect();
        let mut classes: Vec<String> = order.into_iter().map(str::to_owned).collect();
        classes.sort_unstable();
        let known = |queries: &[Query]| -> Vec<Example> {
            let mut examples: Vec<Example> = queries.iter().filter_map(|query| query.labelled(&classes)).collect();
            split::shuffle(&mut examples, seed, ID);
            examples
        };
        let mut foreign: Vec<Example> = test
            .iter()
            .filter(|query| held_out.contains(query.intent.as_str()))
            .map(|query| query.example(None))
            .collect();
        split::shuffle(&mut foreign, seed, ID);
        let [train, validation, _] =
            split::cut(known(&train), 1.0 - self.validation_fraction, self.validation_fraction);
        let mut tests = vec![known(&test)];
        let mut notes = Vec::new();
        if self.held_out_intents > 0 {
            tests.push(foreign);
            let names: Vec<&str> = held_out.into_iter().collect();
            notes.push(format!("held out, {} of {INTENTS} intents: {}", names.len(), names.join(", ")));
        }
        tests.push(sst2_sentences::texts(&open(AssetId::Sst2)?, seed)?);
        tests.push(ag_news::texts(&open(AssetId::AgNews)?, seed)?);
        Ok(Splits { classes, train, validation, tests, notes })
    }
}
