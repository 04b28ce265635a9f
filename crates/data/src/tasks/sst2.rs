//! Sentiment of film-review sentences: SST-2 (Socher et al. 2013), whole sentences in the published split.
//!
//! | split | sentences | negative | positive |
//! |---|---|---|---|
//! | train | 6,920 | 3,310 | 3,610 |
//! | validation (`dev`) | 872 | 428 | 444 |
//! | test | 1,821 | 912 | 909 |
//!
//! Far test sets, for detection only: AG News (7,600 texts) and the test queries of Banking77 (3,080). Their classes have nothing to do
//! with sentiment, so they have no labels here.
//!
//! # Decisions
//! - The published split is kept as it is, so that numbers are comparable with others'. It has 9 training sentences that repeat an
//!   earlier one (case and white space ignored), and 2 test sentences that stand in the training set.
//! - Texts are left as published: lower case, tokens apart, hyphens and accents gone.

use super::domain::DomainInfo;
use super::settings::{self, DataSettings};
use super::sst2_sentences::{ID, read};
use super::task::{Open, Splits, Task};
use super::{ag_news, banking77_queries};
use crate::assets::AssetId;
use crate::error::Result;

/// SST-2 has no settings of its own.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Sst2 {}

pub(super) fn from_settings(data: toml::Table) -> Result<(DataSettings, Box<dyn Task>), String> {
    let (common, own) = settings::read::<Sst2>(data)?;
    Ok((common, Box::new(own)))
}

impl Task for Sst2 {
    fn domains(&self) -> Vec<DomainInfo> {
        let own = DomainInfo { in_distribution: true, ..DomainInfo::new(ID, "SST-2") };
        vec![own, ag_news::info(), banking77_queries::info_as_shifted()]
    }

    fn splits(&self, seed: u64, open: &mut Open<'_>) -> Result<Splits> {
        let folder = open(AssetId::Sst2)?;
        let tests = vec![
            read(&folder, "test", seed)?,
            ag_news::texts(&open(AssetId::AgNews)?, seed)?,
            banking77_queries::texts(&open(AssetId::Banking77)?, seed)?,
        ];
        Ok(Splits {
            classes: ["negative", "positive"].map(str::to_owned).to_vec(),
            train: read(&folder, "train", seed)?,
            validation: read(&folder, "dev", seed)?,
            tests,
            notes: Vec::new(),
        })
    }
}
