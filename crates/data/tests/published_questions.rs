//! The published questions with options: counts, splits, digests, first and last items, prompts.
//!
//! Ignored without them, because nothing fetches them; `bayeslora fetch arc_original` says from where to get them. Run with
//! `BAYESLORA_DATA=DIR cargo test -p bayeslora-data --test published_questions -- --ignored`.

#![cfg(test)]

use std::collections::BTreeSet;

use bayeslora_data::assets::{AssetOptions, Assets};
use bayeslora_data::tasks::{Example, PlannedTask, TaskData};

fn published(task: &str, settings: &str) -> TaskData {
    let assets = Assets::new(&AssetOptions::from_env()).unwrap_or_else(|error| panic!("{error}"));
    let task = PlannedTask::new(task, settings.parse().unwrap()).unwrap();
    task.load(&assets, &mut |_| {}).unwrap_or_else(|error| panic!("this test needs the published data\n{error}"))
}

fn sizes(data: &TaskData) -> Vec<(&str, usize)> {
    data.domains.iter().map(|domain| (domain.info.id.as_str(), domain.examples.len())).collect()
}

/// How often each option is right, the first one first.
fn counts(examples: &[Example]) -> Vec<usize> {
    let mut counts = Vec::new();
    for example in examples {
        let label = example.label.unwrap() as usize;
        counts.resize(counts.len().max(label + 1), 0);
        counts[label] += 1;
    }
    counts
}

fn find<'a>(data: &'a TaskData, domain: usize, id: &str) -> &'a Example {
    data.domains[domain].examples.iter().find(|example| example.id == id).unwrap_or_else(|| panic!("no {id}"))
}

fn options(example: &Example) -> Vec<&str> {
    example.choice.iter().flat_map(|choice| &choice.options).map(String::as_str).collect()
}

/// Panics where a question, case, white space and order of options ignored, stands twice in what is fitted on, chosen by and tested on.
fn assert_apart(data: &TaskData) {
    let normalised = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let key = |example: &Example| {
        let choice = example.choice.as_ref().unwrap();
        let options: BTreeSet<String> = choice.options.iter().map(|option| normalised(option)).collect();
        (normalised(&example.text), options)
    };
    let tested: BTreeSet<_> = data.domains.iter().flat_map(|domain| &domain.examples).map(key).collect();
    let mut seen = BTreeSet::new();
    for example in data.train.iter().chain(&data.validation) {
        let key = key(example);
        assert!(!tested.contains(&key) && seen.insert(key), "{example:?} stands twice");
    }
}

#[test]
#[ignore = "needs the data sets: set BAYESLORA_DATA"]
fn arc_has_the_documented_counts() {
    let easy = published("arc-easy", "");
    assert_eq!((easy.train.len(), easy.validation.len()), (2_238, 567));
    assert_eq!(sizes(&easy), [("arc-easy", 2_365), ("arc-challenge", 1_163)]);
    assert_eq!(counts(&easy.train), [543, 586, 576, 533]);
    assert_eq!(counts(&easy.domains[0].examples), [591, 581, 633, 560]);
    assert!(easy.notes.iter().any(|note| note.starts_with("train: 3 of 2241 published")), "{:?}", easy.notes);
    assert_apart(&easy);
    // Computed apart, by a Python transcription of the readers, the order, the prompts and the digest.
    assert_eq!(easy.digest, "d9ee6c979f17038e020b9931ac70a5410a3c58e1e09c30ac328ceeebdf54bc53");
    // The first and the last line of the test set.
    let first = find(&easy, 0, "Mercury_417466");
    assert_eq!(first.text, "Which statement best explains why photosynthesis is the foundation of most food webs?");
    assert_eq!(
        (options(first)[0], first.label),
        ("Sunlight is the source of energy for nearly all ecosystems.", Some(0))
    );
    let last = find(&easy, 0, "VASoL_2009_5_34");
    assert_eq!(
        last.prompt().unwrap().text(),
        "Question: Which part of a sunflower plant absorbs water and nutrients?\nAnswer:"
    );
    assert_eq!((options(last), last.label), (vec!["Roots", "Stems", "Leaves", "Flowers"], Some(0)));
    let challenge = published("arc-challenge", "");
    assert_eq!((challenge.train.len(), challenge.validation.len()), (1_116, 295));
    assert_eq!(sizes(&challenge), [("arc-challenge", 1_163), ("arc-easy", 2_365)]);
    assert!(challenge.notes.iter().any(|note| note.starts_with("train: 1 of 1117 published")), "{:?}", challenge.notes);
    assert_apart(&challenge);
    // Computed apart, as above.
    assert_eq!(challenge.digest, "ff2ec15f614da07e1a90aa7103ec7c70fa4617b6baac5235972bad3733a080c7");
    let last = find(&challenge, 0, "MEA_2013_8_15");
    assert_eq!((options(last)[0], last.label), ("the floor", Some(0)));
}

#[test]
#[ignore = "needs the data sets: set BAYESLORA_DATA"]
fn arc_as_in_published_tables_has_their_sizes() {
    let settings = "prompt = 'blob'\ntest-split = 'dev'\nodd-items = 'keep'";
    let challenge = published("arc-challenge", settings);
    // The repeated question alone is missing of 1,119.
    assert_eq!(challenge.train.len() + challenge.validation.len(), 1_118);
    assert_eq!(sizes(&challenge), [("arc-challenge", 299), ("arc-easy", 570)]);
    assert_eq!(challenge.classes, ["A", "B", "C", "D", "E"]);
    let easy = published("arc-easy", settings);
    assert_eq!(easy.train.len() + easy.validation.len(), 2_251);
    assert_eq!(find(&easy, 0, "MCAS_2000_4_6").prompt().unwrap().text(), ARC_BLOB);
}

const ARC_BLOB: &str = "Return the label of the correct answer for the question below.

Question: Which technology was developed most recently?
Choices:
A) cellular telephone
B) television
C) refrigerator
D) airplane
Answer:";

#[test]
#[ignore = "needs the data sets: set BAYESLORA_DATA"]
fn openbookqa_has_the_documented_counts() {
    let data = published("openbookqa", "");
    assert_eq!((data.train.len(), data.validation.len()), (4_893, 500));
    let mmlu = [
        ("mmlu-college-chemistry", 100),
        ("mmlu-college-physics", 102),
        ("mmlu-high-school-chemistry", 203),
        ("mmlu-high-school-physics", 151),
        ("mmlu-conceptual-physics", 235),
    ];
    let own = [("openbookqa", 500), ("arc-easy", 2_365), ("arc-challenge", 1_163)];
    assert_eq!(sizes(&data), [&own[..], &mmlu].concat());
    assert_eq!(counts(&data.train), [1_360, 1_193, 1_130, 1_210]);
    assert_eq!(counts(&data.domains[0].examples), [138, 126, 132, 104]);
    assert!(data.notes.iter().any(|note| note.starts_with("train: 63 of 4956 published")), "{:?}", data.notes);
    assert_apart(&data);
    // Computed apart, as above.
    assert_eq!(data.digest, "1b0ae834b3c4fbeb037ea3f4d06da17bdf85f7797bbd3e6fccea308514f34ba9");
    let last = find(&data, 0, "7-7");
    assert_eq!(last.text, "Some animals use a liquid coming from their skin to adjust to");
    assert_eq!((options(last), last.label), (vec!["cold", "water", "heat", "humidity"], Some(2)));
    assert_eq!(find(&data, 0, "8-343").label, Some(1));
    let physics = find(&data, 7, "test-2");
    assert_eq!((options(physics), physics.label), (vec!["7 N", "5 N", "10 N", "12 N"], Some(0)));
    // As the published loaders feed it: five classes, all questions, the development sets, defects of their prompts.
    let compat = published("openbookqa", "prompt = 'compat-blob'\ntest-split = 'dev'\nodd-items = 'keep'");
    assert_eq!((compat.train.len(), compat.validation.len()), (4_417, 491));
    let published = [("openbookqa", 500), ("arc-easy", 570), ("arc-challenge", 299)];
    assert_eq!(sizes(&compat), [&published[..], &mmlu].concat());
    // Computed apart, as above.
    assert_eq!(compat.digest, "5399dccc07a7c21411df5c75d3a71b87eecaf9bb6666f202d393ad33d46491c5");
}

#[test]
#[ignore = "needs the data sets: set BAYESLORA_DATA"]
fn winogrande_has_the_documented_counts() {
    let small = published("winogrande-s", "");
    assert_eq!((small.train.len(), small.validation.len(), sizes(&small)), (574, 64, vec![("winogrande-s", 1_267)]));
    assert_eq!((counts(&small.train), counts(&small.domains[0].examples)), (vec![287, 287], vec![628, 639]));
    assert!(small.notes[0].starts_with("train: 2 of 640 published"), "{:?}", small.notes);
    // Computed apart, as above.
    assert_eq!(small.digest, "57565044ca7c64b45185549bc7691aa5a3b6c863eda883f17d649f98c1203c19");
    let medium = published("winogrande-m", "");
    assert_eq!((medium.train.len(), medium.validation.len()), (2_300, 256));
    // Computed apart, as above.
    assert_eq!(medium.digest, "b11c8589d3b491f60c6931198c882862a2213ce4437e7439f60f996d39139d8d");
    for data in [&small, &medium] {
        assert_apart(data);
    }
    let first = find(&small, 0, "3FCO4VKOZ4BJQ6IFC0VAIBK4KTWE7U-2");
    assert_eq!(first.text, "Sarah was a much better surgeon than Maria so _ always got the easier cases.");
    assert_eq!((options(first), first.label), (vec!["Sarah", "Maria"], Some(1)));
    let last = find(&small, 0, "33KGGVH24WVTF9T12NGTXO27RSF1XA-2");
    assert_eq!((options(last), last.label), (vec!["black car", "green car"], Some(1)));
}

#[test]
#[ignore = "needs the data sets: set BAYESLORA_DATA"]
fn boolq_has_the_documented_counts() {
    let data = published("boolq", "");
    assert_eq!((data.train.len(), data.validation.len(), sizes(&data)), (2_289, 327, vec![("boolq", 654)]));
    assert_eq!((counts(&data.train), counts(&data.domains[0].examples)), (vec![846, 1_443], vec![261, 393]));
    // Computed apart, as above.
    assert_eq!(data.digest, "0a3ee8a37404780d150ed3cd3dfd3d1c9a507bd1b64855c7162c2d178632cf6b");
    assert_apart(&data);
    let alone = published("boolq", "passages = false");
    assert_eq!((alone.train.len(), alone.validation.len(), sizes(&alone)), (8_484, 943, vec![("boolq", 3_270)]));
    assert_eq!(counts(&alone.domains[0].examples), [1_237, 2_033]);
    // Computed apart, as above.
    assert_eq!(alone.digest, "5b19cd6a632b5d01168ded467949c6f05350fd57da1d2d1296e4f728a4052bfe");
    assert_apart(&alone);
    let (first, last) = (find(&alone, 0, "val-0"), find(&alone, 0, "val-3269"));
    assert_eq!((first.text.as_str(), first.label), ("does ethanol take more energy make that produces", Some(0)));
    assert_eq!((last.text.as_str(), last.label), ("will there be a season 5 of shadowhunters", Some(0)));
}
