//! Sentiment of rated snippets: fitted on film reviews, tested also on products, editorials and tweets.
//!
//! Data: Hutto and Gilbert, "VADER: a parsimonious rule-based model for sentiment analysis of social media text",
//! ICWSM 2014 ([`AssetId::VaderIcwsm2014`](crate::assets::AssetId)). Each snippet was rated by 15 people or more, from
//! -4 to 4. The label is the sign of the published mean rating; the ratings stay with the example, because how far
//! people disagree is what aleatoric uncertainty should follow.
//!
//! | domain | published | mean exactly 0 | repeated | in an earlier domain | kept | negative | positive |
//! |---|---|---|---|---|---|---|---|
//! | movies | 10,605 | 37 | 2 | 0 | 10,566 | 5,325 | 5,241 |
//! | amazon | 3,708 | 98 | 10 | 1 | 3,599 | 1,479 | 2,120 |
//! | nyt | 5,190 | 244 | 62 | 3 | 4,881 | 2,703 | 2,178 |
//! | tweets | 4,200 | 4 | 60 | 0 | 4,136 | 1,269 | 2,867 |
//!
//! # Decisions
//! - A mean of exactly 0 has no sign: dropped.
//! - A text that occurs again (case and white space ignored) is kept once, under its lowest identifier and in the
//!   first domain that has it: no text is in two splits.
//! - Texts are left as published, with HTML entities such as `&amp;` in tweets and stray spaces.
//!
//! # Limits
//! - The movie snippets are sentences of 2,000 reviews, published without saying which: sentences of one review may be
//!   on both sides of the split. Amazon and nyt snippets name their review or editorial
//!   ([`Example::group`]).
//! - Six repeated nyt snippets were rated with the other sign the second time: labels near 0 are noisy.
//! - For 199 tweets the published mean differs from the mean of the published ratings (by up to 1.13); the signs agree.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Domain, Example, TaskData, digest, split};
use crate::{Error, Result};

mod rows;
mod settings;
#[cfg(test)]
mod tests;

pub use settings::{CheckedVaderSettings, VaderSettings};

use rows::Row;

const TASK: &str = "vader";

/// A domain's identifier, name and file names.
struct Files {
    id: &'static str,
    label: &'static str,
    stem: &'static str,
}

/// The domain that is split into training, validation and test.
const MOVIES: Files = Files { id: "movies", label: "Movie reviews", stem: "movieReviewSnippets" };

const SHIFTED: [Files; 3] = [
    Files { id: "amazon", label: "Product reviews", stem: "amazonReviewSnippets" },
    Files { id: "nyt", label: "Editorials", stem: "nytEditorialSnippets" },
    Files { id: "tweets", label: "Tweets", stem: "tweets" },
];

/// Identifier and name of every test domain, and whether the training data come from it; that one first.
pub fn domains() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    let shifted = SHIFTED.iter().map(|files| (files.id, files.label, false));
    std::iter::once((MOVIES.id, MOVIES.label, true)).chain(shifted)
}

/// Loads the task from the folder of its asset.
///
/// # Errors
/// [`Error::TaskFile`] and [`Error::TaskLine`] for a file that is not there or not as published,
/// [`Error::TaskEmptySplit`] when a split would have no example.
pub fn load(folder: &Path, settings: &CheckedVaderSettings) -> Result<TaskData> {
    let settings = settings.get();
    let mut notes = Vec::new();
    let mut texts = BTreeSet::new();

    let movies = domain_examples(folder, &MOVIES, settings.split_seed, &mut texts, &mut notes)?;
    let total = movies.len();
    let [train, validation, test] = split::cut(movies, settings.train_fraction, settings.validation_fraction);
    let keep = |examples, split: &str, cap, notes: &mut Vec<String>| capped(examples, split, total, cap, notes);
    let train = keep(train, "train", settings.max_train, &mut notes)?;
    let validation = keep(validation, "validation", settings.max_validation, &mut notes)?;
    let test = keep(test, "movies", settings.max_test, &mut notes)?;

    let mut domains = vec![Domain { id: MOVIES.id, label: MOVIES.label, in_distribution: true, examples: test }];
    for files in &SHIFTED {
        let examples = domain_examples(folder, files, settings.split_seed, &mut texts, &mut notes)?;
        let total = examples.len();
        let examples = capped(examples, files.id, total, settings.max_examples_per_shifted_domain, &mut notes)?;
        domains.push(Domain { id: files.id, label: files.label, in_distribution: false, examples });
    }
    let classes = ["negative", "positive"].map(str::to_owned).to_vec();
    let digest = digest(&classes, &train, &validation, &domains);
    Ok(TaskData { classes, train, validation, domains, notes, digest })
}

/// Reads and cleans a domain, and puts it into the seeded order. `texts` are those of earlier domains.
fn domain_examples(
    folder: &Path,
    files: &Files,
    seed: u64,
    texts: &mut BTreeSet<String>,
    notes: &mut Vec<String>,
) -> Result<Vec<Example>> {
    let rows = rows::read(folder, files.stem)?;
    let id = files.id;
    let published = rows.len();
    let rated_apart: Vec<&Row> =
        rows.iter().filter(|row| (rating_mean(row) - row.mean_rating).abs() > ROUNDING).collect();
    if !rated_apart.is_empty() {
        let opposed = rated_apart.iter().filter(|row| rating_mean(row) * row.mean_rating <= 0.0).count();
        notes.push(format!(
            "{id}: the published mean of {} snippets is not the mean of their published ratings ({opposed} with another \
             sign); the label follows the published mean",
            rated_apart.len()
        ));
    }
    let (mut unsigned, mut repeated, mut elsewhere) = (0, 0, 0);
    let mut own = BTreeSet::new();
    let mut examples = Vec::new();
    for row in rows {
        let text = normalised(&row.text);
        if row.mean_rating == 0.0 {
            unsigned += 1;
        } else if texts.contains(&text) {
            elsewhere += 1;
        } else if !own.insert(text) {
            repeated += 1;
        } else {
            examples.push(labelled(row));
        }
    }
    texts.append(&mut own);
    notes.push(format!(
        "{id}: {published} snippets published; dropped {unsigned} with a mean rating of exactly 0 (no sign), {repeated} \
         that repeat a text, {elsewhere} whose text an earlier domain has; kept {}",
        examples.len()
    ));
    split::shuffle(&mut examples, seed, id);
    Ok(examples)
}

/// Published means have nine decimals or more.
const ROUNDING: f64 = 1e-8;

fn rating_mean(row: &Row) -> f64 {
    row.ratings.iter().copied().map(f64::from).sum::<f64>() / row.ratings.len() as f64
}

/// Two texts with the same normal form are the same text.
fn normalised(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn labelled(row: Row) -> Example {
    let Row { id, mean_rating, text, ratings } = row;
    Example { id, text, label: u32::from(mean_rating > 0.0), ratings, mean_rating }
}

/// Keeps a prefix; a split must not be empty.
fn capped(
    mut examples: Vec<Example>,
    split: &str,
    total: usize,
    cap: Option<usize>,
    notes: &mut Vec<String>,
) -> Result<Vec<Example>> {
    if examples.is_empty() {
        return Err(Error::TaskEmptySplit { task: TASK, split: split.to_owned(), examples: total });
    }
    if let Some(cap) = cap.filter(|cap| *cap < examples.len()) {
        notes.push(format!("{split}: the first {cap} of {} examples in the seeded order are used", examples.len()));
        examples.truncate(cap);
    }
    Ok(examples)
}
