//! The data of BayesLoRA v1's notebook: the first tenth of GLUE's SST-2, phrases of film reviews, split at random into 80 % for training and
//! 20 % that v1 both stopped on and reported.
//!
//! | split | texts |
//! |---|---|
//! | train | 5,388 phrases |
//! | validation (GLUE's `dev`) | 872 sentences |
//! | test, as v1's | 1,347 phrases |
//!
//! Further test sets: the 1,821 test sentences of SST-2, with their labels; AG News and Banking77, far ones for detection only.
//!
//! # Decisions
//! - Fits stop on GLUE's development sentences, so what is tested here was never selected on; v1 selected on it.
//! - v1's split is unseeded; ours is by `split-seed`.
//! - GLUE's training set holds the phrases of a sentence beside the sentence and each other. A random split therefore tests on text that
//!   stands word for word in training texts: the notes of a run say how much. The test sentences share no sentence with training.

use super::domain::DomainInfo;
use super::example::Example;
use super::lines::{self, Line, Table};
use super::settings::{self, DataSettings};
use super::task::{Open, Splits, Task};
use super::{ag_news, banking77_queries, split, sst2_sentences};
use crate::assets::AssetId;
use crate::error::{Error, Result};

const ID: &str = "sst2-phrases";

/// How much of the file is used, and for what.
///
/// | name | default | range |
/// |---|---|---|
/// | `phrases` | 6,735 | 2 or more: the first of the file's 67,349 |
/// | `train-fraction` | 0.8 | (0, 1): the rest is tested |
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Sst2Phrases {
    phrases: usize,
    train_fraction: f64,
}

impl Default for Sst2Phrases {
    fn default() -> Self {
        Self { phrases: 6_735, train_fraction: 0.8 }
    }
}

pub(super) fn from_settings(data: toml::Table) -> Result<(DataSettings, Box<dyn Task>), String> {
    let (common, own) = settings::read::<Sst2Phrases>(data)?;
    own.check().map_err(|error| error.to_string())?;
    Ok((common, Box::new(own)))
}

impl Sst2Phrases {
    fn check(&self) -> Result<()> {
        let refuse = |setting, got: String, expected| Err(Error::TaskSetting { setting, got, expected });
        if self.phrases < 2 {
            return refuse("phrases", self.phrases.to_string(), "2 or more: one at least to train on and one to test");
        }
        if !(self.train_fraction > 0.0 && self.train_fraction < 1.0) {
            let expected = "a number between 0 and 1, both excluded";
            return refuse("train-fraction", self.train_fraction.to_string(), expected);
        }
        Ok(())
    }
}

impl Task for Sst2Phrases {
    fn domains(&self) -> Vec<DomainInfo> {
        let own = DomainInfo { in_distribution: true, ..DomainInfo::new(ID, "SST-2 phrases") };
        let sentences = DomainInfo { labelled: true, ..sst2_sentences::info_as_shifted() };
        vec![own, sentences, ag_news::info(), banking77_queries::info_as_shifted()]
    }

    fn splits(&self, seed: u64, open: &mut Open<'_>) -> Result<Splits> {
        let glue = open(AssetId::Sst2Glue)?;
        let read = |split: &str, most: usize| {
            let path = glue.join(format!("{split}.tsv"));
            let table = Table::read(path.clone())?;
            let mut rows = table.lines();
            let header = rows.next().map_or("", Line::text);
            if header != "sentence\tlabel" {
                return Err(lines::malformed(&path, 1, "the header sentence, label", header));
            }
            let mut examples = sst2_sentences::sentences(rows.take(most), split)?;
            split::shuffle(&mut examples, seed, ID);
            Result::Ok(examples)
        };
        let [train, _, test] = split::cut(read("train", self.phrases)?, self.train_fraction, 0.0);
        let within = within(&test, &train);
        let notes = vec![format!(
            "{ID}: {within} of {} test phrases stand word for word in a training phrase, as GLUE's training set holds the phrases of one \
             sentence; its test sentences are apart",
            test.len()
        )];
        let sentences = sst2_sentences::read(&open(AssetId::Sst2)?, "test", seed)?;
        let tests = vec![
            test,
            sentences,
            ag_news::texts(&open(AssetId::AgNews)?, seed)?,
            banking77_queries::texts(&open(AssetId::Banking77)?, seed)?,
        ];
        let classes = ["negative", "positive"].map(str::to_owned).to_vec();
        Ok(Splits { classes, train, validation: read("dev", usize::MAX)?, tests, notes })
    }
}

/// How many of `texts` are a run of words within one of `others`.
fn within(texts: &[Example], others: &[Example]) -> usize {
    let words = |text: &str| format!(" {} ", text.split_whitespace().collect::<Vec<_>>().join(" "));
    let all: String = others.iter().map(|example| words(&example.text) + "\n").collect();
    texts.iter().filter(|example| all.contains(&words(&example.text))).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_within_another_is_a_run_of_its_whole_words() {
        let examples = |texts: &[&str]| -> Vec<Example> {
            let example = |text: &&str| Example {
                id: String::new(),
                text: (*text).to_owned(),
                label: None,
                ratings: None,
                choice: None,
            };
            texts.iter().map(example).collect()
        };
        let others = examples(&["a gorgeous , witty movie ", "so much"]);
        let count = |text| within(&examples(&[text]), &others);
        assert_eq!(
            ["witty movie", "a", "movie so", "gorgeous witty", "itty movie", "so much "].map(count),
            [1, 1, 0, 0, 0, 1]
        );
    }
}
