//! CLINC150 on a toy copy: sizes, labels, no text in two splits, seeds, refusals.

use std::collections::BTreeMap;

use super::*;

fn label_counts(examples: &[Example]) -> BTreeMap<Option<u32>, usize> {
    let mut counts = BTreeMap::new();
    for example in examples {
        *counts.entry(example.label).or_default() += 1;
    }
    counts
}

fn ids(examples: &[Example]) -> Vec<&str> {
    examples.iter().map(|example| example.id.as_str()).collect()
}

#[test]
fn clinc150_has_all_intents_in_equal_parts_and_queries_without_one() {
    let data = loaded(&data(), "clinc150", "").unwrap();
    assert!(data.classes.len() == 150 && data.classes.is_sorted());
    assert_eq!((data.train.len(), data.validation.len()), (450, 300));
    assert_eq!(sizes(&data), [("clinc150", 150), ("clinc150-oos", 7), ("sst2", 12), ("ag-news", 9)]);
    for (examples, each) in [(&data.train, 3), (&data.validation, 2), (&data.domains[0].examples, 1)] {
        assert_eq!(label_counts(examples), (0..150).map(|label| (Some(label), each)).collect());
        for example in examples {
            // The toy query tells its intent.
            let intent = example.text.split(' ').find(|word| word.starts_with("intent_")).unwrap();
            assert_eq!(data.classes[example.label.unwrap() as usize], intent);
        }
    }
    // Queries out of scope that are published for training or validation are nowhere.
    let foreign = &data.domains[1].examples;
    assert!(foreign.iter().all(|example| example.id.starts_with("oos_test-") && example.text.starts_with("oos_test")));
    let texts: BTreeSet<String> = data
        .train
        .iter()
        .chain(&data.validation)
        .chain(&data.domains[0].examples)
        .chain(foreign)
        .map(|example| example.text.to_lowercase())
        .collect();
    assert_eq!(texts.len(), 450 + 300 + 150 + 7);
    assert!(data.notes.is_empty(), "{:?}", data.notes);
}

#[test]
fn clinc150_drops_what_stands_in_two_splits_and_leaves_the_test_queries() {
    let root = data();
    let path = root.path().join("clinc150/data_full.json");
    let text = fs::read_to_string(&path).unwrap();
    // Query 0 of training is tested, query 1 is validated on, query 3 repeats query 2, with another case and other spaces.
    let mut text = text.replace("\"train query 0 of intent_000\"", "\"TEST  query 0 of intent_000\"");
    text = text.replace("\"train query 1 of intent_001\"", "\"val query 1 of intent_001 \"");
    text = text.replace("\"train query 3 of intent_003\"", "\"train query 2 of Intent_002\"");
    // And one that is validated on is out of scope.
    text = text.replace("\"val query 5 of intent_005\"", "\"oos_test query 4\"");
    fs::write(&path, text).unwrap();
    let data = loaded(&root, "clinc150", "").unwrap();
    assert_eq!((data.train.len(), data.validation.len()), (447, 299));
    assert_eq!(&sizes(&data)[..2], [("clinc150", 150), ("clinc150-oos", 7)]);
    let (train, validation) = (ids(&data.train), ids(&data.validation));
    assert!(!["train-1", "train-2", "train-4"].iter().any(|id| train.contains(id)) && train.contains(&"train-3"));
    assert!(!validation.contains(&"val-6"));
    assert_eq!(data.notes.len(), 2);
    assert!(data.notes[0].starts_with("validation: 1 of 300 published examples are dropped"), "{:?}", data.notes);
    assert!(data.notes[1].starts_with("train: 3 of 450 published examples are dropped"), "{:?}", data.notes);
}

#[test]
fn the_seed_orders_clinc150_and_caps_keep_a_part_of_that_order() {
    let root = data();
    let all = loaded(&root, "clinc150", "").unwrap();
    assert_eq!(loaded(&root, "clinc150", "").unwrap(), all);
    let caps = "max-train = 40\nmax-validation = 30\nmax-test = 20\nmax-examples-per-shifted-domain = 5";
    let capped = loaded(&root, "clinc150", caps).unwrap();
    assert_eq!((&capped.train[..], &capped.validation[..]), (&all.train[..40], &all.validation[..30]));
    assert_eq!(sizes(&capped), [("clinc150", 20), ("clinc150-oos", 5), ("sst2", 5), ("ag-news", 5)]);
    assert_eq!(capped.domains[1].examples[..], all.domains[1].examples[..5]);
    let other = loaded(&root, "clinc150", "split-seed = 1").unwrap();
    let sorted = |data: &TaskData| ids(&data.train).into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(sorted(&other), sorted(&all));
    assert_ne!(ids(&other.train), ids(&all.train));
    assert_ne!(ids(&other.domains[1].examples), ids(&all.domains[1].examples));
}

#[test]
fn a_file_that_is_not_clinc150_is_refused_with_line_and_value() {
    let root = data();
    let good = fs::read_to_string(root.path().join("clinc150/data_full.json")).unwrap();
    // The toy file has a line for each name and each query: the name `train` is on line 2.
    let line_of = |text: &str| good[..good.find(text).unwrap()].matches('\n').count() + 1;
    let refusal = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        complaint("clinc150", "clinc150/data_full.json", good.replacen(from, to, 1))
    };
    for (from, to, expected) in [
        ("\"val query 7 of intent_007\", \"intent_007\"", "\" \", \"intent_007\"", "a query, found \" \""),
        ("\"val query 7 of intent_007\", \"intent_007\"", "\"why\", \"\"", "an intent, found \"\""),
        ("\"val query 7 of intent_007\", \"intent_007\"", "\"why\", \"oos\"", "an intent, found \"oos\""),
        ("\"val query 7 of intent_007\", \"intent_007\"", "\"why\", \"x\"", "an intent of the list train, found \"x\""),
        (
            "\"oos_val query 1\", \"oos\"",
            "\"why\", \"intent_007\"",
            "the intent oos, in a list of queries out of scope, found \"intent_007\"",
        ),
        (
            "\"val query 7 of intent_007\", \"intent_007\"",
            "\"why\", 7",
            "a list of two strings (text, intent), found \"[\\\"why\\\",7]\"",
        ),
        (
            "\"oos_val\": [",
            "\"oos_dev\": [",
            "a list of train, val, test, oos_train, oos_val, oos_test, found \"oos_dev\"",
        ),
        ("\"oos_train\": [", "\"oos_val\": [", "each list once, found \"oos_val\""),
    ] {
        let line = line_of(from);
        assert_eq!(refusal(from, to), format!("clinc150/data_full.json, line {line}: expected {expected}"));
    }
    let fewer = good.replace("\"intent_149\"", "\"intent_148\"");
    assert_eq!(
        complaint("clinc150", "clinc150/data_full.json", fewer),
        "clinc150/data_full.json, line 2: expected 150 intents in the list train, found \"149 of them\""
    );
    assert_eq!(
        complaint("clinc150", "clinc150/data_full.json", "{\"train\": [],\n\"val\": []}"),
        "clinc150/data_full.json, line 2: expected a list test up to here, found \"train, val\""
    );
    assert_eq!(
        complaint("clinc150", "clinc150/data_full.json", b"{\"train\": [\n[\"na\xefve\", \"x\"]]}"),
        "clinc150/data_full.json, line 2: expected UTF-8, found the byte 0xef"
    );
    let cut = &good[..good.len() / 2];
    let message = complaint("clinc150", "clinc150/data_full.json", cut);
    let line = cut.matches('\n').count() + 1;
    assert!(message.starts_with(&format!("clinc150/data_full.json, line {line}: expected ")), "{message}");
    fs::remove_file(root.path().join("clinc150/data_full.json")).unwrap();
    let message = loaded(&root, "clinc150", "").unwrap_err().to_string();
    assert!(message.contains("data_full.json: cannot read: "), "{message}");
    let unknown = PlannedTask::new("clinc150", "held-out-intents = 3".parse().unwrap()).unwrap_err();
    assert!(unknown.starts_with("unknown data setting \"held-out-intents\""), "{unknown}");
}
