//! The published data, opened as a user would (downloaded when it is not there): counts, labels, splits.
//!
//! It needs the asset `vader-icwsm-2014` or a network, and fails with the instructions when it has neither.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};

use bayeslora_data::assets::{AssetOptions, Assets};
use bayeslora_data::tasks::{Example, PlannedTask, TaskData};

fn published(settings: &str) -> TaskData {
    let assets = Assets::new(&AssetOptions::from_env()).unwrap_or_else(|error| panic!("{error}"));
    let task = PlannedTask::new("vader-movies", settings.parse().unwrap()).unwrap();
    task.load(&assets, &mut |event| eprintln!("{event}"))
        .unwrap_or_else(|error| panic!("this test needs the published data\n{error}"))
}

/// Examples per label.
fn balance<'a>(examples: impl IntoIterator<Item = &'a Example>) -> (usize, usize) {
    examples.into_iter().fold((0, 0), |(negative, positive), example| match example.label {
        Some(0) => (negative + 1, positive),
        _ => (negative, positive + 1),
    })
}

#[test]
fn the_counts_are_the_documented_ones() {
    let task = published("");
    assert_eq!(
        task.notes,
        [
            "movies: 10605 snippets published; dropped 37 with a mean rating of exactly 0 (no sign), 2 that repeat a \
             text, 0 whose text an earlier domain has; kept 10566",
            "amazon: 3708 snippets published; dropped 98 with a mean rating of exactly 0 (no sign), 10 that repeat a \
             text, 1 whose text an earlier domain has; kept 3599",
            "nyt: 5190 snippets published; dropped 244 with a mean rating of exactly 0 (no sign), 62 that repeat a text, \
             3 whose text an earlier domain has; kept 4881",
            "tweets: the published mean of 199 snippets is not the mean of their published ratings (0 with another \
             sign); the label follows the published mean",
            "tweets: 4200 snippets published; dropped 4 with a mean rating of exactly 0 (no sign), 60 that repeat a \
             text, 0 whose text an earlier domain has; kept 4136",
        ]
    );
    let sizes: BTreeMap<_, _> =
        task.domains.iter().map(|domain| (domain.info.id.as_str(), domain.examples.len())).collect();
    assert_eq!(sizes, BTreeMap::from([("movies", 2_113), ("amazon", 3_599), ("nyt", 4_881), ("tweets", 4_136)]));
    assert_eq!((task.train.len(), task.validation.len()), (7_396, 1_057));

    let movies = task.train.iter().chain(&task.validation).chain(&task.domains[0].examples);
    assert_eq!(balance(movies), (5_325, 5_241));
    assert_eq!(balance(&task.domains[1].examples), (1_479, 2_120));
    assert_eq!(balance(&task.domains[2].examples), (2_703, 2_178));
    assert_eq!(balance(&task.domains[3].examples), (1_269, 2_867));
}

#[test]
fn no_text_is_in_two_splits_and_every_snippet_has_its_raters() {
    let task = published("");
    let all: Vec<_> = task
        .train
        .iter()
        .chain(&task.validation)
        .chain(task.domains.iter().flat_map(|domain| &domain.examples))
        .collect();
    let texts: BTreeSet<_> = all.iter().map(|example| example.text.trim().to_lowercase()).collect();
    assert_eq!(texts.len(), all.len());
    for example in all {
        let ratings = example.ratings.as_ref().unwrap();
        assert!(ratings.each.len() >= 15, "{example:?}");
        assert_eq!(example.label, Some(u32::from(ratings.mean > 0.0)), "{example:?}");
        assert!((0.0..=std::f64::consts::LN_2 + 1e-15).contains(&ratings.entropy()), "{example:?}");
    }
}

#[test]
fn the_splits_are_these_on_every_platform() {
    let task = published("");
    // Computed apart, by a Python transcription of the cleaning, the order, the split and the digest.
    assert_eq!(task.digest, "e70ac0548ccaa4b3750c3644f9f2092d173e243c152cd73838e09763156c6faa");
    assert_eq!(published("max-train = 100").train, task.train[..100]);
}
