//! Sentiment of rated snippets: fitted on film reviews, tested also on products, editorials and tweets.
//!
//! Data: Hutto and Gilbert, "VADER: a parsimonious rule-based model for sentiment analysis of social media text",
//! ICWSM 2014 ([`AssetId::VaderIcwsm2014`]). Each snippet was rated by 15 people or more, from
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

use super::apart::normalised;
use super::domain::DomainInfo;
use super::example::{Example, Ratings};
use super::settings::DataSettings;
use super::split;
use super::task::{Open, Splits, Task};
use crate::assets::AssetId;
use crate::error::Result;

mod rows;
mod settings;
#[cfg(test)]
mod tests;

use rows::Row;
use settings::VaderSettings;

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

/// The task with checked settings.
#[derive(Debug)]
struct VaderMovies(VaderSettings);

pub(super) fn from_settings(data: toml::Table) -> Result<(DataSettings, Box<dyn Task>), String> {
    let (common, own) = super::settings::read::<VaderSettings>(data)?;
    own.check().map_err(|error| error.to_string())?;
    Ok((common, Box::new(VaderMovies(own))))
}

impl Task for VaderMovies {
    fn domains(&self) -> Vec<DomainInfo> {
        let info = |files: &Files| DomainInfo { rated: true, ..DomainInfo::new(files.id, files.label) };
        let movies = DomainInfo { in_distribution: true, ..info(&MOVIES) };
        std::iter::once(movies).chain(SHIFTED.iter().map(info)).collect()
    }

    fn splits(&self, seed: u64, open: &mut Open<'_>) -> Result<Splits> {
        let folder = open(AssetId::VaderIcwsm2014)?;
        let mut notes = Vec::new();
        let mut texts = BTreeSet::new();
        let movies = domain_examples(&folder, &MOVIES, seed, &mut texts, &mut notes)?;
        let [train, validation, test] = split::cut(movies, self.0.train_fraction, self.0.validation_fraction);
        let mut tests = vec![test];
        for files in &SHIFTED {
            tests.push(domain_examples(&folder, files, seed, &mut texts, &mut notes)?);
        }
        Ok(Splits { classes: ["negative", "positive"].map(str::to_owned).to_vec(), train, validation, tests, notes })
    }
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

fn labelled(row: Row) -> Example {
    let Row { id, mean_rating, text, ratings } = row;
    let label = Some(u32::from(mean_rating > 0.0));
    Example { id, text, label, ratings: Some(Ratings { each: ratings, mean: mean_rating }), choice: None }
}
