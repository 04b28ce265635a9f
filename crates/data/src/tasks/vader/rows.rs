//! Reads one domain's two files: texts with mean ratings, and every rater's rating.
//!
//! Lines end in CRLF, the last one in nothing; the amazon ratings begin with a byte order mark; the movie texts have
//! bytes beyond ASCII (UTF-8). Both files list the same identifiers, in the amazon case in another order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use crate::error::Result;
use crate::tasks::lines::{Line, Table};

/// Ratings run from "extremely negative" to "extremely positive".
const SCALE: RangeInclusive<i8> = -4..=4;

/// One snippet as published.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) mean_rating: f64,
    pub(super) text: String,
    pub(super) ratings: Vec<i8>,
}

/// Reads `<stem>_GroundTruth.txt` and `<stem>_anonDataRatings.txt`, joined by identifier, in the order of identifiers.
pub(super) fn read(folder: &Path, stem: &str) -> Result<Vec<Row>> {
    let texts = Table::read(folder.join(format!("{stem}_GroundTruth.txt")))?;
    let ratings = Table::read(folder.join(format!("{stem}_anonDataRatings.txt")))?;
    let mut raters = BTreeMap::new();
    for line in ratings.lines() {
        let [id, _mean, _deviation, list] = line.fields("id, mean rating, standard deviation, ratings")?;
        if raters.insert(id, (line, parse_ratings(line, list)?)).is_some() {
            return Err(line.error("an identifier that was not used before", id));
        }
    }
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for line in texts.lines() {
        let [id, mean, text] = line.fields("id, mean rating, text")?;
        if !seen.insert(id) {
            return Err(line.error("an identifier that was not used before", id));
        }
        let mean_rating = parse_mean(line, mean)?;
        if text.trim().is_empty() {
            return Err(line.error("a text", text));
        }
        let Some((_, ratings)) = raters.remove(id) else {
            return Err(line.error(&format!("an identifier that {} has", ratings.name()), id));
        };
        rows.push(Row { id: id.to_owned(), mean_rating, text: text.to_owned(), ratings });
    }
    if let Some((id, (line, _))) = raters.into_iter().min_by_key(|(_, (line, _))| line.number) {
        return Err(line.error(&format!("an identifier that {} has", texts.name()), id));
    }
    rows.sort_by_cached_key(|row| natural(&row.id));
    Ok(rows)
}

/// Orders `2_10` after `2_9`.
fn natural(id: &str) -> (Vec<u64>, String) {
    (id.split('_').map(|part| part.parse().unwrap_or(u64::MAX)).collect(), id.to_owned())
}

fn parse_mean(line: Line<'_>, field: &str) -> Result<f64> {
    let scale = f64::from(*SCALE.start())..=f64::from(*SCALE.end());
    field
        .parse()
        .ok()
        .filter(|mean| scale.contains(mean))
        .ok_or_else(|| line.error("a mean rating, a number from -4 to 4", field))
}

fn parse_ratings(line: Line<'_>, field: &str) -> Result<Vec<i8>> {
    let inside = field.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inside = inside.ok_or_else(|| line.error("ratings in brackets, such as [1, -2]", field))?;
    inside
        .split(',')
        .map(|rating| {
            let rating = rating.trim();
            let parsed = rating.parse().ok().filter(|value| SCALE.contains(value));
            parsed.ok_or_else(|| line.error("a rating, a whole number from -4 to 4", rating))
        })
        .collect()
}
