//! Which rows the seeds do not tell apart from the best row.

use std::collections::BTreeMap;

use bayeslora_metrics::{Better, holm, paired_t};

use crate::error::Result;
use crate::score::{LEVEL, Score};

/// Fewer seeds in common say too little about their spread.
const SEEDS: usize = 5;

/// Marks the scores of one test set and metric: the best mean, and those that a paired t-test over seeds does not tell apart from it after
/// Holm's correction over the rows. Rows with fewer than five seeds in common with the best row are not marked either way.
///
/// The test of the stars is over texts as well and may see what this one does not: a row that it finds worse than `reference` is told apart,
/// and so is `reference` where it finds a row better.
pub(crate) fn mark_alike(scores: &mut [Score], members: &[usize], better: Better, reference: &str) -> Result<()> {
    let sign = match better {
        Better::Higher => -1.0,
        Better::Lower => 1.0,
        Better::Neither => return Ok(()),
    };
    let enough = members.iter().copied().filter(|&place| scores[place].seeds >= SEEDS);
    let Some(best) = enough.min_by(|&a, &b| (sign * scores[a].mean).total_cmp(&(sign * scores[b].mean))) else {
        return Ok(());
    };
    let values: BTreeMap<u64, f64> = scores[best].by_seed.iter().copied().collect();
    let mut tested = Vec::new();
    for &place in members.iter().filter(|&&place| place != best) {
        let pairs = scores[place].by_seed.iter().filter_map(|(seed, value)| Some((*value, *values.get(seed)?)));
        let (own, of_best): (Vec<f64>, Vec<f64>) = pairs.unzip();
        if own.len() >= SEEDS {
            tested.push((place, paired_t(&own, &of_best)?));
        }
    }
    let adjusted = holm(&tested.iter().map(|(_, p)| *p).collect::<Vec<_>>())?;
    for ((place, _), p) in tested.into_iter().zip(adjusted) {
        scores[place].alike = Some(p > LEVEL);
    }
    scores[best].alike = Some(true);
    let gains = |score: &Score| score.differs().then(|| score.difference.is_some_and(|d| sign * d < 0.0));
    let is_beaten = members.iter().any(|&place| gains(&scores[place]) == Some(true));
    for &place in members {
        let worse = gains(&scores[place]) == Some(false) || (is_beaten && scores[place].row == reference);
        if worse && scores[place].alike == Some(true) {
            scores[place].alike = Some(false);
        }
    }
    Ok(())
}
