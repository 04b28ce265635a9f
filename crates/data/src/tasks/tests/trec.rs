//! TREC on a toy copy: sizes, labels, no text in two splits, seeds, refusals.

use super::*;

fn ids(examples: &[Example]) -> BTreeSet<&str> {
    examples.iter().map(|example| example.id.as_str()).collect()
}

#[test]
fn trec_has_six_classes_and_a_validation_set_out_of_training() {
    let root = data();
    let data = loaded(&root, "trec", "").unwrap();
    assert_eq!(data.classes, ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"]);
    assert_eq!((data.train.len(), data.validation.len()), (54, 6));
    assert_eq!(sizes(&data), [("trec", 12), ("ag-news", 9), ("banking77", 154)]);
    let mut each = [0; 6];
    for example in data.train.iter().chain(&data.validation).chain(&data.domains[0].examples) {
        let label = example.label.unwrap() as usize;
        assert!(example.text.contains(&format!("with a {}", data.classes[label])), "{example:?}");
        each[label] += 1;
    }
    assert_eq!(each, [12; 6]);
    let first = data.train.iter().chain(&data.validation).find(|example| example.id == "train-2").unwrap();
    assert_eq!((first.text.as_str(), first.label), ("What train is 1 with a DESC ?", Some(1)));
    let half = loaded(&root, "trec", "validation-fraction = 0.5").unwrap();
    assert_eq!((half.train.len(), half.validation.len()), (30, 30));
    assert_eq!(half.domains, data.domains);
    assert!(data.notes.is_empty(), "{:?}", data.notes);
}

#[test]
fn trec_drops_what_is_tested_and_what_repeats() {
    let root = data();
    let path = root.path().join("trec/train_5500.label");
    let mut text = fs::read_to_string(&path).unwrap();
    // Lines 61 to 64: one that is tested, though with another class, two that repeat earlier ones, and a new one.
    text += "NUM:date What  test is 3 with a hum ?\nDESC:def What train is 1 with a DESC ? \nNUM:date WHAT train is 5 with a NUM ?\n";
    text += "ABBR:exp What is new ?\n";
    fs::write(&path, text).unwrap();
    for seed in 0..5 {
        let data = loaded(&root, "trec", &format!("split-seed = {seed}\nvalidation-fraction = 0.5")).unwrap();
        assert_eq!((data.train.len() + data.validation.len(), data.domains[0].examples.len()), (61, 12));
        let fitted: BTreeSet<&str> = ids(&data.train).union(&ids(&data.validation)).copied().collect();
        assert!(!["train-61", "train-62", "train-63"].iter().any(|id| fitted.contains(id)));
        assert!(fitted.contains("train-2") && fitted.contains("train-64"));
        let all = data.train.iter().chain(&data.validation).chain(&data.domains[0].examples);
        let texts: BTreeSet<String> = all.map(|example| example.text.to_lowercase()).collect();
        assert_eq!(texts.len(), 61 + 12);
        assert!(data.notes[0].starts_with("train: 3 of 64 published examples are dropped"), "{:?}", data.notes);
    }
}

#[test]
fn the_seed_splits_trec_and_caps_keep_a_part_of_its_order() {
    let root = data();
    let all = loaded(&root, "trec", "").unwrap();
    assert_eq!(loaded(&root, "trec", "").unwrap(), all);
    let caps = "max-train = 10\nmax-validation = 3\nmax-test = 4\nmax-examples-per-shifted-domain = 5";
    let capped = loaded(&root, "trec", caps).unwrap();
    assert_eq!((&capped.train[..], &capped.validation[..]), (&all.train[..10], &all.validation[..3]));
    assert_eq!(sizes(&capped), [("trec", 4), ("ag-news", 5), ("banking77", 5)]);
    let other = loaded(&root, "trec", "split-seed = 1").unwrap();
    assert_ne!(ids(&other.validation), ids(&all.validation));
    assert_eq!(ids(&other.domains[0].examples), ids(&all.domains[0].examples));
}

#[test]
fn a_file_that_is_not_trec_is_refused_with_line_and_value() {
    let train = |content: &[u8]| complaint("trec", "trec/train_5500.label", content);
    let form = "expected COARSE:fine question";
    for (content, expected) in [
        (&b"HUM:ind Who ?\nwho\n"[..], format!("line 2: {form}, found \"who\"")),
        (b"HUM:ind Who ?\nHUM Who ?\n", format!("line 2: {form}, found \"HUM Who ?\"")),
        (b"\nHUM:ind Who ?\n", format!("line 1: {form}, found \"\"")),
        (
            b"HUM:ind Who ?\nhum:ind Who ?\n",
            "line 2: expected a class, one of ABBR, DESC, ENTY, HUM, LOC, NUM, found \"hum\"".to_owned(),
        ),
        (b"HUM: Who ?\n", "line 1: expected a fine class after the colon, found \"HUM: Who ?\"".to_owned()),
        (b"HUM:ind  \n", "line 1: expected a question, found \"HUM:ind  \"".to_owned()),
        (b"HUM:ind Who ?\nHUM:ind caf\xe9 ?\n", "line 2: expected UTF-8, found the byte 0xe9".to_owned()),
    ] {
        assert_eq!(train(content), format!("trec/train_5500.label, {expected}"));
    }
    assert_eq!(
        complaint("trec", "trec/TREC_10.label", "WHO:ind Who ?\n"),
        "trec/TREC_10.label, line 1: expected a class, one of ABBR, DESC, ENTY, HUM, LOC, NUM, found \"WHO\""
    );
    assert!(complaint("trec", "trec/TREC_10.label", "").starts_with("trec: the trec split is empty"));
    let setting =
        |value: &str| PlannedTask::new("trec", format!("validation-fraction = {value}").parse().unwrap()).unwrap_err();
    for (value, told) in [("1.0", "1"), ("0.0", "0"), ("nan", "NaN"), ("-0.1", "-0.1")] {
        let expected = format!("validation-fraction is {told}, expected a number between 0 and 1, both excluded");
        assert_eq!(setting(value), expected);
    }
}

#[test]
fn the_byte_that_stands_for_a_space_is_one() {
    let root = data();
    fs::write(root.path().join("trec/TREC_10.label"), b"LOC:city Which sister\xf0city is it ?  \n").unwrap();
    let data = loaded(&root, "trec", "").unwrap();
    assert_eq!(data.domains[0].examples[0].text, "Which sister city is it ?");
}
