//! Tasks: texts or questions in named splits, labelled, with further test sets that differ from the training data in a stated way.
//!
//! A task is one module here: where its data come from, how they are cleaned and split, and what is known to be odd about them.
//! What all tasks share is done once, after it: caps, label noise, corrupted test sets, the digest. Loading is deterministic: the
//! same files and settings give the same examples in the same order everywhere.
//!
//! Adding a task means adding its module, its line in `REGISTRY`, its files in [`crate::assets`], and its tests.

mod ag_news;
mod apart;
mod arc;
mod banking77;
mod banking77_queries;
mod boolq;
mod choice;
mod clinc150;
mod corruption;
mod domain;
mod example;
mod json_lines;
mod json_lists;
mod label_noise;
mod lines;
mod mmlu;
mod openbookqa;
mod prompts;
mod science;
mod settings;
mod split;
mod sst2;
mod sst2_phrases;
mod sst2_sentences;
mod task;
#[cfg(test)]
mod tests;
mod trec;
mod vader;
mod winogrande;

pub use choice::Choice;
pub use corruption::Corruption;
pub use domain::{Domain, DomainInfo, TaskData};
pub use example::{Example, Ratings};
pub use prompts::{Answers, Prompt, Style, Template};
pub use settings::DataSettings;
pub use task::Open;
use task::{Splits, Task};

use sha2::{Digest, Sha256};

use crate::assets::{Assets, Event};
use crate::error::{Error, Result};
use crate::suggest::unknown;
use bayeslora_host::hex;

type Constructor = fn(toml::Table) -> Result<(DataSettings, Box<dyn Task>), String>;

/// Every task by its name in experiment files.
const REGISTRY: &[(&str, Constructor)] = &[
    ("vader-movies", vader::from_settings),
    ("sst2", sst2::from_settings),
    ("sst2-phrases", sst2_phrases::from_settings),
    ("banking77", banking77::from_settings),
    ("clinc150", clinc150::from_settings),
    ("trec", trec::from_settings),
    ("arc-easy", arc::easy_from_settings),
    ("arc-challenge", arc::challenge_from_settings),
    ("openbookqa", openbookqa::from_settings),
    ("winogrande-s", winogrande::small_from_settings),
    ("winogrande-m", winogrande::medium_from_settings),
    ("boolq", boolq::from_settings),
];

/// Names of tasks, in the order they are documented.
pub fn names() -> impl Iterator<Item = &'static str> {
    REGISTRY.iter().map(|(name, _)| *name)
}

/// A task as an experiment asks for it.
#[derive(Debug)]
pub struct PlannedTask {
    name: &'static str,
    settings: DataSettings,
    task: Box<dyn Task>,
}

impl PlannedTask {
    /// The task `name` with the settings of `[data]`.
    ///
    /// # Errors
    /// One line: an unknown task or setting with the nearest known one, or a setting out of range.
    pub fn new(name: &str, data: toml::Table) -> Result<Self, String> {
        let (name, constructor) =
            REGISTRY.iter().find(|(known, _)| *known == name).ok_or_else(|| unknown("task", name, names()))?;
        let (settings, task) = constructor(data)?;
        settings.check().map_err(|error| error.to_string())?;
        Ok(Self { name, settings, task })
    }

    /// What all tasks may be told.
    pub fn settings(&self) -> &DataSettings {
        &self.settings
    }

    /// What the answers to its questions are, where its examples are questions with options ([`Example::prompt`]); none where its texts
    /// have classes.
    pub fn answers(&self) -> Option<Answers> {
        self.task.answers()
    }

    /// Its test sets, that of the training domain first, corrupted ones last.
    pub fn domains(&self) -> Vec<DomainInfo> {
        let mut domains = self.task.domains();
        let Some(clean) = domains.first().cloned() else { return domains };
        for &kind in &self.settings.corruptions {
            for &strength in &self.settings.corruption_strengths {
                domains.push(DomainInfo {
                    id: format!("{kind}-{strength}"),
                    label: format!("{}, {}, strength {strength}", clean.label, kind.label().to_lowercase()),
                    in_distribution: false,
                    // People rated the text as it was.
                    rated: false,
                    corruption: Some((kind, strength)),
                    ..clean.clone()
                });
            }
        }
        domains
    }

    /// Opens its assets and loads it.
    ///
    /// # Errors
    /// As [`Assets::open`] and [`Self::load_from`].
    pub fn load(&self, assets: &Assets, notify: &mut dyn FnMut(Event)) -> Result<TaskData> {
        self.load_from(&mut |asset| Ok(assets.open(asset, notify)?.path().to_owned()))
    }

    /// Loads it from the folders that `open` gives.
    ///
    /// # Errors
    /// [`Error::TaskFile`] and [`Error::TaskLine`] for a file that is not there or not as published, [`Error::TaskEmptySplit`] when
    /// a split would have no example.
    pub fn load_from(&self, open: &mut Open<'_>) -> Result<TaskData> {
        let settings = &self.settings;
        let Splits { classes, mut train, mut validation, mut tests, mut notes } =
            self.task.splits(settings.split_seed, open)?;
        let domain_size = train.len() + validation.len() + tests.first().map_or(0, Vec::len);
        let mut cap = |examples: &mut Vec<Example>, split: &str, total: usize, cap: Option<usize>| {
            if examples.is_empty() {
                return Err(Error::TaskEmptySplit { task: self.name, split: split.to_owned(), examples: total });
            }
            if let Some(cap) = cap.filter(|cap| *cap < examples.len()) {
                notes.push(format!(
                    "{split}: the first {cap} of {} examples in the seeded order are used",
                    examples.len()
                ));
                examples.truncate(cap);
            }
            Ok(())
        };
        cap(&mut train, "train", domain_size, settings.max_train)?;
        if let Some(own) = settings.train_per_seed.filter(|own| *own >= train.len()) {
            let got = format!("{own} of {} training examples", train.len());
            return Err(Error::TaskSetting {
                setting: "train-per-seed",
                got,
                expected: "fewer: seeds would not differ",
            });
        }
        cap(&mut validation, "validation", domain_size, settings.max_validation)?;
        let shifted_cap = settings.max_examples_per_shifted_domain;
        for (info, examples) in self.task.domains().iter().zip(&mut tests) {
            let (total, most) =
                if info.in_distribution { (domain_size, settings.max_test) } else { (examples.len(), shifted_cap) };
            cap(examples, &info.id, total, most)?;
        }
        if settings.label_noise > 0.0 {
            let flipped = label_noise::flip(&mut train, settings.label_noise, settings.split_seed, classes.len());
            notes.push(format!(
                "train: the labels of {flipped} of {} examples are replaced by other classes (label-noise {})",
                train.len(),
                settings.label_noise
            ));
        }
        let clean = tests.first().cloned().unwrap_or_default();
        let mut tests = tests.into_iter();
        let mut domains = Vec::new();
        for info in self.domains() {
            let examples = match info.corruption {
                None => tests.next().unwrap_or_default(),
                Some((kind, strength)) => {
                    let most = shifted_cap.unwrap_or(clean.len()).min(clean.len());
                    let corrupted = |example: &Example| Example {
                        text: kind.apply(&example.text, &example.id, settings.split_seed, strength),
                        ratings: None,
                        ..example.clone()
                    };
                    clean[..most].iter().map(corrupted).collect()
                }
            };
            domains.push(Domain { info, examples });
        }
        let digest = digest(&classes, &train, &validation, &domains);
        Ok(TaskData { classes, train, train_per_seed: settings.train_per_seed, validation, domains, notes, digest })
    }
}

/// SHA-256 over length-prefixed fields, so that no two different tasks hash the same text; what an example lacks is an empty field.
fn digest(classes: &[String], train: &[Example], validation: &[Example], domains: &[Domain]) -> String {
    let mut hasher = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for class in classes {
        field(class.as_bytes());
    }
    let tests = domains.iter().map(|domain| (domain.info.id.as_str(), &domain.examples[..]));
    for (split, examples) in [("train", train), ("validation", validation)].into_iter().chain(tests) {
        field(split.as_bytes());
        field(&(examples.len() as u64).to_le_bytes());
        for example in examples {
            field(example.id.as_bytes());
            field(example.text.as_bytes());
            field(&example.label.map_or_else(Vec::new, |label| label.to_le_bytes().to_vec()));
            let ratings = example.ratings.as_ref();
            // In one field with the question, of which a text of a class has nothing.
            let mut mean = ratings.map_or_else(Vec::new, |ratings| ratings.mean.to_bits().to_le_bytes().to_vec());
            mean.extend(question_digest(example).into_iter().flatten());
            field(&mean);
            let each = ratings.map_or(&[][..], |ratings| &ratings.each);
            field(&each.iter().map(|rating| rating.to_le_bytes()[0]).collect::<Vec<_>>());
        }
    }
    hex(&hasher.finalize())
}

/// SHA-256 of the options and the prompt of a question, length-prefixed.
fn question_digest(example: &Example) -> Option<[u8; 32]> {
    let (choice, prompt) = (example.choice.as_ref()?, example.prompt()?);
    let mut hasher = Sha256::new();
    for list in [&choice.options[..], &prompt.answers, &[prompt.context, prompt.cue]] {
        hasher.update((list.len() as u64).to_le_bytes());
        for text in list {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
    }
    Some(hasher.finalize().into())
}
