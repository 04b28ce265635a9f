//! Tasks: labelled texts in named splits, with the spread of the human ratings behind each label.
//!
//! A task is one file here: where its data comes from, how it is cleaned and split, and what is known to be odd about
//! it. Loading is deterministic: the same files and settings give the same examples in the same order everywhere.

pub mod vader;

mod example;
mod split;

pub use example::Example;

use sha2::{Digest, Sha256};

use crate::assets::hex;

/// A task, ready to be tokenised.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskData {
    /// Names of the classes; an example's label is an index into them.
    pub classes: Vec<String>,
    /// Examples to fit on, in the seeded order.
    pub train: Vec<Example>,
    /// Examples to stop early on and to choose by.
    pub validation: Vec<Example>,
    /// Test sets: the domain of the training data first, then shifted ones.
    pub domains: Vec<Domain>,
    /// What was dropped, and what is odd, with counts: one sentence each.
    pub notes: Vec<String>,
    /// SHA-256 of the classes and of every example in every split: names the exact data in a run's key.
    pub digest: String,
}

/// A test set.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    /// Short name for records and files.
    pub id: &'static str,
    /// Name for tables.
    pub label: &'static str,
    /// Whether the training data come from this domain.
    pub in_distribution: bool,
    /// Examples to score, in the seeded order.
    pub examples: Vec<Example>,
}

/// SHA-256 over length-prefixed fields, so that no two different tasks hash the same text.
fn digest(classes: &[String], train: &[Example], validation: &[Example], domains: &[Domain]) -> String {
    let mut hasher = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for class in classes {
        field(class.as_bytes());
    }
    let tests = domains.iter().map(|domain| (domain.id, &domain.examples[..]));
    for (split, examples) in [("train", train), ("validation", validation)].into_iter().chain(tests) {
        field(split.as_bytes());
        field(&(examples.len() as u64).to_le_bytes());
        for example in examples {
            field(example.id.as_bytes());
            field(example.text.as_bytes());
            field(&example.label.to_le_bytes());
            field(&example.mean_rating.to_bits().to_le_bytes());
            field(&example.ratings.iter().map(|rating| rating.to_le_bytes()[0]).collect::<Vec<_>>());
        }
    }
    hex(&hasher.finalize())
}
