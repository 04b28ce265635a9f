//! What a loaded task is: examples to fit on, and test sets.

use super::corruption::Corruption;
use super::example::Example;
use super::split;

/// A task, ready to be tokenised.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskData {
    /// Names of the classes; an example's label is an index into them.
    pub classes: Vec<String>,
    /// Examples to fit on, in the seeded order, each with a label.
    pub train: Vec<Example>,
    /// Training examples of a seed's own draw; none where all seeds train on all ([`Self::drawn`]).
    pub train_per_seed: Option<usize>,
    /// Examples to stop early on and to choose by, each with a label.
    pub validation: Vec<Example>,
    /// Test sets: the domain of the training data first, then shifted ones.
    pub domains: Vec<Domain>,
    /// What was dropped or changed, and what is odd, with counts: one sentence each.
    pub notes: Vec<String>,
    /// SHA-256 of the classes and of every example in every split: names the exact data in a run's key.
    pub digest: String,
}

impl TaskData {
    /// Places of the training examples that fits of a seed see, in their order; none where every seed sees all.
    ///
    /// A draw without replacement, by the seed and the identifiers alone: neither the order of a file nor another number of examples
    /// changes which of two examples is drawn first.
    pub fn drawn(&self, seed: u64) -> Option<Vec<usize>> {
        let count = self.train_per_seed?;
        let mut named: Vec<(&str, usize)> = self.train.iter().map(|example| example.id.as_str()).zip(0..).collect();
        split::shuffle_by(&mut named, seed, "training set", |(id, _)| id);
        let mut places: Vec<usize> = named.into_iter().take(count).map(|(_, place)| place).collect();
        places.sort_unstable();
        Some(places)
    }

    /// Examples that a fit trains on.
    pub fn trained_on(&self) -> usize {
        self.train_per_seed.unwrap_or(self.train.len())
    }
}

/// What is known of a test set without loading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainInfo {
    /// Short name for records and files.
    pub id: String,
    /// Name for tables.
    pub label: String,
    /// Whether the training data come from this domain.
    pub in_distribution: bool,
    /// Whether its examples have labels among the task's classes; without them it serves detection only.
    pub labelled: bool,
    /// Whether people rated its examples.
    pub rated: bool,
    /// Kind and strength, where it is a corrupted copy of the first domain.
    pub corruption: Option<(Corruption, u8)>,
}

impl DomainInfo {
    /// A test set of its own: neither rated nor a corrupted copy.
    pub(super) fn new(id: &str, label: &str) -> Self {
        let (id, label) = (id.to_owned(), label.to_owned());
        Self { id, label, in_distribution: false, labelled: true, rated: false, corruption: None }
    }
}

/// A test set.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    /// What it is.
    pub info: DomainInfo,
    /// Examples to score, in the seeded order.
    pub examples: Vec<Example>,
}
