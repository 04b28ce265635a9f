//! Does what happens inside the adapters reach the prediction: the uncertainty of a text beside its distance from `S_X` and its `V`.

use std::collections::BTreeMap;

use bayeslora_adapters::Slot;
use bayeslora_metrics::{Bootstrap, Interval, auroc, partial_spearman, spearman};
use bayeslora_render::{Block, Cell, Column, Section, Table};
use bayeslora_theory::Site;

use super::cells::{cell, interval_cells, interval_columns, over, side};
use super::findings::{SHOWN_PLACE, Text, both, gather, interval};
use crate::error::Result;

/// Values of texts of the training domain, then of shifted ones.
pub(crate) type Sides = [Vec<f64>; 2];

/// A score of the predictions, or a quantity beside it, of one fit.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    /// Method, by its label.
    method: String,
    /// Seed of the fit.
    seed: u64,
    /// Samples of the predictions.
    samples: u32,
    /// What is ranked.
    score: &'static str,
    /// Spearman's correlation with the texts' distance from `S_X`; none where one of them does not vary.
    distance: Option<Interval>,
    /// The same given the entropy of one deterministic pass.
    distance_given_entropy: Option<Interval>,
    /// Spearman's correlation with the texts' `V`.
    variance: Option<Interval>,
    /// The same given the entropy of one deterministic pass.
    variance_given_entropy: Option<Interval>,
    /// AUROC for shifted texts.
    auroc: Option<Interval>,
}

/// Names of scores: v1's, and the one that others are given.
pub(crate) const VARIANCE: &str = "variance of the probability";
const ENTROPY: &str = "entropy of one pass";

/// What a fit's kept predictions say of the texts.
#[derive(Debug)]
pub(crate) struct Scores {
    /// Samples behind `sampled`.
    pub samples: u32,
    /// Scores of the sampled predictions, by name.
    pub sampled: Vec<(&'static str, Sides)>,
    /// Entropy of one deterministic pass.
    pub entropy: Sides,
}

/// Every score beside distance and `V`, text by text as in `texts`.
///
/// The maps' values differ in scale by orders of magnitude, so each map's are divided by their mean over the texts before a text's
/// distance and `V` (at the site the adapter was trained with) are summed over maps.
pub(crate) fn reached(
    (method, seed, own_site): (&str, u64, Site),
    texts: &BTreeMap<Slot, [Vec<Text>; 2]>,
    Scores { samples, sampled, entropy }: Scores,
    bootstrap: &Bootstrap,
) -> Vec<Reached> {
    let site = Site::ALL.iter().position(|&site| site == own_site).unwrap_or(0);
    let distance = over_maps(texts, |text| text.outside[SHOWN_PLACE].sqrt());
    let variance = over_maps(texts, |text| text.variances[site]);
    let sizes = entropy.each_ref().map(Vec::len);
    let correlation = |one: &Sides, other: &Sides| {
        interval(bootstrap, sizes, |i, j| {
            let [one, other] = [one, other].map(|values| both(values, i, j));
            spearman(&one, &other).map_or(f64::NAN, |found| found.coefficient)
        })
    };
    let given_entropy = |one: &Sides, other: &Sides| {
        interval(bootstrap, sizes, |i, j| {
            let [one, other, entropy] = [one, other, &entropy].map(|values| both(values, i, j));
            partial_spearman(&one, &other, &entropy).map_or(f64::NAN, |found| found.coefficient)
        })
    };
    let others = [(ENTROPY, entropy.clone()), ("V", variance.clone()), ("distance", distance.clone())];
    let of = |(score, values): (&'static str, Sides)| {
        // A quantity says nothing beside itself, nor the entropy given itself.
        let unlike = |name: &str| score != name;
        let beside = |name, other: &Sides| unlike(name).then(|| correlation(&values, other)).flatten();
        let beside_given =
            |name, other: &Sides| (unlike(name) && unlike(ENTROPY)).then(|| given_entropy(&values, other)).flatten();
        Reached {
            method: method.to_owned(),
            seed,
            samples,
            score,
            distance: beside("distance", &distance),
            distance_given_entropy: beside_given("distance", &distance),
            variance: beside("V", &variance),
            variance_given_entropy: beside_given("V", &variance),
            auroc: interval(bootstrap, sizes, |i, j| {
                auroc(&gather(&values[0], i), &gather(&values[1], j)).unwrap_or(f64::NAN)
            }),
        }
    };
    sampled.into_iter().chain(others).map(of).collect()
}

/// A text's sum over the maps of `value`, in units of each map's mean over the texts; a map where all are zero adds nothing.
fn over_maps(texts: &BTreeMap<Slot, [Vec<Text>; 2]>, value: impl Fn(&Text) -> f64) -> Sides {
    let first = texts.values().next();
    let mut sums: Sides = first.map_or_else(Sides::default, |sides| sides.each_ref().map(|side| vec![0.0; side.len()]));
    for sides in texts.values() {
        let values: Sides = sides.each_ref().map(|side| side.iter().map(&value).collect());
        let all = values.concat();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        if mean > 0.0 {
            for (sum, value) in sums.iter_mut().flatten().zip(values.iter().flatten()) {
                *sum += value / mean;
            }
        }
    }
    sums
}

/// Groups with the same `key`, in the order found.
fn grouped<'a, K: PartialEq>(
    found: impl IntoIterator<Item = &'a Reached>,
    key: impl Fn(&'a Reached) -> K,
) -> Vec<Vec<&'a Reached>> {
    let mut groups: Vec<Vec<&Reached>> = Vec::new();
    for one in found {
        match groups.iter_mut().find(|group| key(group[0]) == key(one)) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

/// The section of `table.md`, with what it says in words.
pub(super) fn section(found: &[Reached]) -> Section {
    let text = "These are the same texts, at the level of predictions. A text's distance from S_X and its V (at the site of the fit) are sums over \
                the maps. Each map counts in units of its mean over the texts. Sampled predictions have two scores: the variance of the \
                class probability (v1's score) and the mutual information. Beside them stand the entropy of one deterministic pass at the \
                mean, V, and the distance. \"Given entropy\" is a partial rank correlation, given the entropy of that one pass. AUROC is \
                that of shifted texts against the training domain. Means and intervals are as above.";
    let methods: Vec<Vec<Vec<&Reached>>> =
        grouped(found, |one| one.method.as_str()).into_iter().map(|fits| grouped(fits, |one| one.score)).collect();
    let heads = ["method", "score", "and distance", "given entropy", "and V", "given entropy", "AUROC"];
    let mut table = Table::new(heads.map(Column::text));
    for group in methods.iter().flatten() {
        let of = |value: fn(&Reached) -> Option<Interval>| Cell::Text(cell(over(group, value)));
        let Reached { method, samples, score, .. } = group[0];
        table.push([
            Cell::text(format!("{method}, T = {samples}")),
            Cell::text(*score),
            of(|one| one.distance),
            of(|one| one.distance_given_entropy),
            of(|one| one.variance),
            of(|one| one.variance_given_entropy),
            of(|one| one.auroc),
        ]);
    }
    let said = Block::points(methods.iter().filter_map(|groups| words(groups)));
    Section::new("Does it reach the prediction?", [Block::text(text), said, Block::Table(table)])
}

/// The verdict on one method, given score by score, from the numbers alone.
fn words(groups: &[Vec<&Reached>]) -> Option<String> {
    let trend = |group: &[&Reached], value: fn(&Reached) -> Option<Interval>| -> String {
        let found = over(group, value);
        let word = match side(found, 0.0) {
            std::cmp::Ordering::Greater => "rises with it",
            std::cmp::Ordering::Less => "falls with it",
            std::cmp::Ordering::Equal => "is undecided",
        };
        format!("{word}, {}", cell(found))
    };
    let group = groups.iter().find(|group| group[0].score == VARIANCE)?;
    let auroc = |score: &str| {
        let found = groups.iter().find(|group| group[0].score == score);
        cell(found.and_then(|group| over(group, |one| one.auroc)))
    };
    Some(format!(
        "**{}**. The {VARIANCE} beside the distance from S_X: {}. Given the entropy of one pass: {}. Beside V: {}. Given that entropy: \
         {}. AUROC for shifted texts: {} by the variance, {} by the entropy of one pass, {} by the distance.",
        group[0].method,
        trend(group, |one| one.distance),
        trend(group, |one| one.distance_given_entropy),
        trend(group, |one| one.variance),
        trend(group, |one| one.variance_given_entropy),
        auroc(VARIANCE),
        auroc(ENTROPY),
        auroc("distance"),
    ))
}

/// `predictions.csv`: every method, seed and score.
///
/// # Errors
/// When a row cannot be encoded.
pub(crate) fn csv(found: &[Reached]) -> Result<Vec<u8>> {
    let mut rows = Vec::new();
    let mut head: Vec<String> = ["method", "seed", "score"].map(ToOwned::to_owned).to_vec();
    head.extend(interval_columns(&["distance", "distance_given_entropy", "v", "v_given_entropy", "auroc"]));
    for one in found {
        let mut row = vec![one.method.clone(), one.seed.to_string(), one.score.to_owned()];
        let values = [one.distance, one.distance_given_entropy, one.variance, one.variance_given_entropy, one.auroc];
        row.extend(interval_cells(&values));
        rows.push(row);
    }
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    Ok(bayeslora_render::csv("geometry/predictions.csv", &head, rows)?)
}

#[cfg(test)]
mod tests {
    use bayeslora_adapters::TargetMap;
    use bayeslora_render::Page;

    use super::*;

    /// Texts whose distance and `V` are `values` in two maps of very different scale.
    fn texts(distances: [&[f64]; 2], variances: [&[f64]; 2]) -> BTreeMap<Slot, [Vec<Text>; 2]> {
        let map = |scale: f64| {
            [0, 1].map(|side| {
                let text = |(&distance, &v): (&f64, &f64)| Text {
                    energy: 1.0,
                    outside: vec![(scale * distance).powi(2); crate::studies::geometry::findings::SHARES.len()],
                    variances: vec![0.0, scale * v, 0.0],
                };
                distances[side].iter().zip(variances[side]).map(text).collect()
            })
        };
        [(TargetMap::Query, 1.0), (TargetMap::Output, 1e6)]
            .map(|(target, scale)| (Slot::new(0, target), map(scale)))
            .into()
    }

    #[test]
    fn maps_count_alike_whatever_their_scale() {
        let mut texts = texts([&[1.0, 3.0], &[2.0]], [&[1.0, 1.0], &[1.0]]);
        // The other order in the small map: the sums are equal.
        let small = texts.get_mut(&Slot::new(0, TargetMap::Query)).unwrap();
        small[0].swap(0, 1);
        let sums = over_maps(&texts, |text| text.outside[0].sqrt());
        assert!(sums.concat().iter().all(|sum| (sum - 2.0).abs() < 1e-12), "{sums:?}");
        assert_eq!(over_maps(&texts, |text| text.variances[0]).concat(), [0.0; 3]);
    }

    #[test]
    fn a_score_that_is_the_distance_and_one_that_is_the_entropy() {
        let count = |n: usize, step: usize| (0..n).map(|i| ((i * step) % n) as f64 + 1.0).collect::<Vec<_>>();
        let (near, far) = (count(41, 7), count(41, 11).iter().map(|value| value + 60.0).collect::<Vec<_>>());
        let variance = [count(41, 13), count(41, 17)];
        let entropy = [count(41, 19), count(41, 23)];
        let texts = texts([&near, &far], [&variance[0], &variance[1]]);
        let sampled = vec![(VARIANCE, [near.clone(), far.clone()]), ("mutual information", entropy.clone())];
        let site = Site::ALL[1];
        let bootstrap = Bootstrap { resamples: 40, ..Bootstrap::default() };
        let scores = Scores { samples: 10, sampled, entropy };
        let found = reached(("m", 1, site), &texts, scores, &bootstrap);
        let of = |score: &str| found.iter().find(|one| one.score == score).unwrap();
        let estimate = |interval: Option<Interval>| interval.map(|one| one.estimate);
        assert!((estimate(of(VARIANCE).distance).unwrap() - 1.0).abs() < 1e-12);
        assert!((estimate(of(VARIANCE).auroc).unwrap() - 1.0).abs() < 1e-12);
        assert!(of(VARIANCE).distance_given_entropy.unwrap().lower > 0.9);
        assert!(estimate(of(VARIANCE).variance).unwrap().abs() < 0.5);
        // Nothing is left of the entropy given itself, nor is anything held against itself.
        assert!(
            of("mutual information").distance.is_some() && of("mutual information").distance_given_entropy.is_none()
        );
        assert!(of("V").variance.is_none() && of("distance").distance.is_none() && of(ENTROPY).variance.is_some());
        assert!(of(ENTROPY).variance_given_entropy.is_none());

        let section = Page { sections: vec![section(&found)], ..Page::default() }.markdown();
        assert!(section.contains("beside the distance from S_X: rises with it, 1.00 [1.00, 1.00]"), "{section}");
        assert!(section.contains("| m, T = 10 | distance | – | – |"), "{section}");
        let csv = String::from_utf8(csv(&found).unwrap()).unwrap();
        assert_eq!(csv.lines().count(), 1 + found.len());
        assert!(csv.lines().all(|line| line.split(',').count() == 18), "{csv}");
    }
}
