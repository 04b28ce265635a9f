//! Toy copies of the published files: what becomes of them, and what is said of malformed ones.

mod clinc150;
mod prompts;
mod questions;
mod trec;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// Every data set with a few lines: `<root>/<asset>/<file>`.
fn data() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let sentences = |count: u32| {
        let sentence = |n: u32| format!("a film of some length and number {n}\t{}\n", n % 2);
        (0..count).map(sentence).collect::<String>()
    };
    write("sst2/train.tsv", &sentences(40));
    write("sst2/dev.tsv", &sentences(6));
    write("sst2/test.tsv", &sentences(12));
    write("sst2_glue/train.tsv", &format!("sentence\tlabel\n{}", sentences(10) + "length and number 1 \t1\nfilm\t0\n"));
    write("sst2_glue/dev.tsv", &format!("sentence\tlabel\n{}", sentences(5)));
    let news = |n: u32| format!("\"{}\",\"Title, {n}\",\"Some \"\"news\"\"\nof the day.\"\n", n % 4 + 1);
    write("ag_news/test.csv", &(0..9).map(news).collect::<String>());
    let queries = |each: u32| -> String {
        let query = |n: u32| format!("\"Where is it, {n}?\",intent_{:02}\r\n", n % 77);
        std::iter::once("text,category\r\n".to_owned()).chain((0..77 * each).map(query)).collect()
    };
    write("banking77/train.csv", &queries(5));
    write("banking77/test.csv", &queries(2));
    let list = |name: &str, count: u32| {
        let pair = |n: u32| match name.strip_prefix("oos_") {
            Some(_) => format!("[\"{name} query {n}\", \"oos\"]"),
            None => format!("[\"{name} query {n} of intent_{:03}\", \"intent_{:03}\"]", n % 150, n % 150),
        };
        format!("\"{name}\": [\n{}]", (0..count).map(pair).collect::<Vec<_>>().join(",\n"))
    };
    let lists = [("train", 450), ("oos_val", 3), ("test", 150), ("oos_train", 2), ("val", 300), ("oos_test", 7)];
    let lists = lists.map(|(name, count)| list(name, count)).join(",\n");
    write("clinc150/data_full.json", &format!("{{\n{lists}\n}}\n"));
    let questions = |split: &str, count: usize| -> String {
        let kinds = ["ABBR:exp", "DESC:def", "ENTY:food", "HUM:ind", "LOC:city", "NUM:date"];
        let question = |n: usize| {
            let kind = kinds[n % 6];
            let class = kind.split(':').next().unwrap();
            format!("{kind} What {split} is {n} with a {class} ?\n")
        };
        (0..count).map(question).collect()
    };
    write("trec/train_5500.label", &questions("train", 60));
    write("trec/TREC_10.label", &questions("test", 12));
    root
}

fn loaded(root: &TempDir, task: &str, settings: &str) -> Result<TaskData> {
    let task = PlannedTask::new(task, settings.parse().unwrap()).unwrap();
    let data = task.load_from(&mut |asset| Ok(root.path().join(asset.name())))?;
    // What is said of the test sets beforehand is what they are.
    assert_eq!(task.domains(), data.domains.iter().map(|domain| domain.info.clone()).collect::<Vec<_>>());
    for Domain { info, examples } in &data.domains {
        assert!(examples.iter().all(|example| example.label.is_some() == info.labelled), "{}", info.id);
        assert!(examples.iter().all(|example| example.ratings.is_some() == info.rated), "{}", info.id);
        let ids: BTreeSet<&str> = examples.iter().map(|example| example.id.as_str()).collect();
        assert_eq!(ids.len(), examples.len(), "{}: identifiers repeat", info.id);
    }
    assert!(data.train.iter().chain(&data.validation).all(|example| example.label.is_some()));
    Ok(data)
}

fn sizes(data: &TaskData) -> Vec<(&str, usize)> {
    data.domains.iter().map(|domain| (domain.info.id.as_str(), domain.examples.len())).collect()
}

#[test]
fn sst2_has_its_split_and_foreign_texts_without_labels() {
    let data = loaded(&data(), "sst2", "").unwrap();
    assert_eq!(data.classes, ["negative", "positive"]);
    assert_eq!((data.train.len(), data.validation.len()), (40, 6));
    assert_eq!(sizes(&data), [("sst2", 12), ("ag-news", 9), ("banking77", 154)]);
    let first = data.train.iter().find(|example| example.id == "train-2").unwrap();
    assert_eq!((first.text.as_str(), first.label), ("a film of some length and number 1", Some(1)));
    let news = data.domains[1].examples.iter().find(|example| example.id == "1").unwrap();
    assert_eq!(news.text, "Title, 0 Some \"news\"\nof the day.");
}

#[test]
fn phrases_of_sst2_are_the_first_of_the_file_and_sentences_are_a_shifted_set() {
    let root = data();
    let all = loaded(&root, "sst2-phrases", "").unwrap();
    assert_eq!((all.train.len(), all.validation.len()), (10, 5));
    assert_eq!(sizes(&all), [("sst2-phrases", 2), ("sst2", 12), ("ag-news", 9), ("banking77", 154)]);
    let first = loaded(&root, "sst2-phrases", "phrases = 10\ntrain-fraction = 0.5").unwrap();
    let numbers: BTreeSet<&str> =
        first.train.iter().chain(&first.domains[0].examples).map(|example| example.id.as_str()).collect();
    assert_eq!(
        numbers,
        (2..12).map(|line| format!("train-{line}")).collect::<BTreeSet<_>>().iter().map(|s| &s[..]).collect()
    );
    // No toy sentence stands within another one.
    assert!(first.notes[0].starts_with("sst2-phrases: 0 of 5 test phrases stand"), "{:?}", first.notes);
    let mut counts = BTreeSet::new();
    for seed in 0..10 {
        let data = loaded(&root, "sst2-phrases", &format!("split-seed = {seed}\ntrain-fraction = 0.5")).unwrap();
        let is_tested = |id: &str| data.domains[0].examples.iter().any(|example| example.id == id);
        // "film" is in every sentence; "length and number 1" only within the second, which may be trained on.
        let expected = usize::from(is_tested("train-13")) + usize::from(is_tested("train-12") && !is_tested("train-3"));
        assert!(data.notes[0].starts_with(&format!("sst2-phrases: {expected} of 6 test")), "{seed}: {:?}", data.notes);
        counts.insert(expected);
    }
    assert!(counts.len() > 1, "{counts:?}");
}

#[test]
fn banking77_holds_intents_out_and_trains_on_the_others() {
    let root = data();
    let data = loaded(&root, "banking77", "").unwrap();
    assert_eq!(data.classes.len(), 60);
    assert!(data.classes.is_sorted());
    assert_eq!((data.train.len(), data.validation.len()), (270, 30));
    assert_eq!(sizes(&data), [("banking77", 120), ("held-out-intents", 34), ("sst2", 12), ("ag-news", 9)]);
    let intent = |example: &Example| {
        let number: u32 = example.text.trim_start_matches("Where is it, ").trim_end_matches('?').parse().unwrap();
        format!("intent_{:02}", number % 77)
    };
    for example in data.train.iter().chain(&data.validation).chain(&data.domains[0].examples) {
        assert_eq!(data.classes[example.label.unwrap() as usize], intent(example));
    }
    assert!(data.domains[1].examples.iter().all(|example| !data.classes.contains(&intent(example))));
    // More held-out intents are the same and others; none leaves all classes and no such test set.
    let fewer: BTreeSet<String> =
        loaded(&root, "banking77", "held-out-intents = 5").unwrap().domains[1].examples.iter().map(intent).collect();
    assert!(fewer.is_subset(&data.domains[1].examples.iter().map(intent).collect()) && fewer.len() == 5);
    let all = loaded(&root, "banking77", "held-out-intents = 0").unwrap();
    assert_eq!((all.classes.len(), sizes(&all)), (77, vec![("banking77", 154), ("sst2", 12), ("ag-news", 9)]));
    let other = loaded(&root, "banking77", "split-seed = 1").unwrap();
    assert_ne!(other.classes, data.classes, "the seed chooses the intents");
    assert!(data.notes[0].starts_with("held out, 17 of 77 intents: intent_"), "{:?}", data.notes);
}

#[test]
fn corruptions_are_further_domains_of_the_test_set_and_change_nothing_else() {
    let root = data();
    let clean = loaded(&root, "sst2", "").unwrap();
    let settings = "corruptions = ['word-drop', 'typos']\ncorruption-strengths = [2, 5]";
    let data = loaded(&root, "sst2", settings).unwrap();
    assert_eq!(data.domains[..3], clean.domains[..]);
    assert_eq!((&data.train, &data.validation), (&clean.train, &clean.validation));
    let names: Vec<&str> = data.domains[3..].iter().map(|domain| domain.info.id.as_str()).collect();
    assert_eq!(names, ["word-drop-2", "word-drop-5", "typos-2", "typos-5"]);
    assert_eq!(data.domains[6].info.label, "SST-2, typos, strength 5");
    for domain in &data.domains[3..] {
        let pairs = || domain.examples.iter().zip(&clean.domains[0].examples);
        assert!(pairs().all(|(corrupted, clean)| (&corrupted.id, corrupted.label) == (&clean.id, clean.label)));
        assert!(pairs().any(|(corrupted, clean)| corrupted.text != clean.text), "{}", domain.info.id);
    }
    assert_ne!(data.digest, clean.digest);
    // A cap on the test set and one on shifted sets both hold, and leave prefixes.
    let capped =
        loaded(&root, "sst2", &format!("{settings}\nmax-test = 8\nmax-examples-per-shifted-domain = 5")).unwrap();
    assert_eq!((capped.domains[0].examples.len(), capped.domains[3].examples.len()), (8, 5));
    assert_eq!(capped.domains[3].examples[..], data.domains[3].examples[..5]);
}

#[test]
fn label_noise_touches_training_labels_only() {
    let root = data();
    let clean = loaded(&root, "sst2", "").unwrap();
    let noisy = loaded(&root, "sst2", "label-noise = 0.4").unwrap();
    let flipped = clean.train.iter().zip(&noisy.train).filter(|(before, after)| before.label != after.label).count();
    assert!((6..=26).contains(&flipped), "{flipped} of 40");
    assert_eq!((&noisy.validation, &noisy.domains), (&clean.validation, &clean.domains));
    let note = format!("train: the labels of {flipped} of 40 examples are replaced by other classes (label-noise 0.4)");
    assert!(noisy.notes.contains(&note), "{:?}", noisy.notes);
    let small = loaded(&root, "sst2", "label-noise = 0.4\nmax-train = 10").unwrap();
    assert_eq!(small.train, noisy.train[..10], "a cap changes which labels are wrong");
}

#[test]
fn a_seed_draws_its_own_training_examples_by_their_identifiers() {
    let root = data();
    let all = loaded(&root, "sst2", "").unwrap();
    assert_eq!((all.drawn(1), all.trained_on()), (None, 40));
    let few = loaded(&root, "sst2", "train-per-seed = 12").unwrap();
    assert_eq!((&few.train, few.trained_on()), (&all.train, 12));
    let ids = |data: &TaskData, seed| -> BTreeSet<String> {
        data.drawn(seed).unwrap().into_iter().map(|place| data.train[place].id.clone()).collect()
    };
    assert_eq!((ids(&few, 1).len(), ids(&few, 1) == ids(&few, 2)), (12, false));
    assert!(few.drawn(1).unwrap().is_sorted());
    // More of them, or another order of all, keep what was drawn.
    let more = loaded(&root, "sst2", "train-per-seed = 20").unwrap();
    assert!(ids(&few, 1).is_subset(&ids(&more, 1)));
    let other = loaded(&root, "sst2", "train-per-seed = 12\nsplit-seed = 5").unwrap();
    assert!(other.train != few.train && ids(&other, 1) == ids(&few, 1));
    let refusal = loaded(&root, "sst2", "train-per-seed = 40").unwrap_err().to_string();
    assert_eq!(refusal, "train-per-seed is 40 of 40 training examples, expected fewer: seeds would not differ");
}

#[test]
fn the_draw_of_a_seed_is_this_one_on_every_platform() {
    let example =
        |id: u32| Example { id: id.to_string(), text: String::new(), label: Some(0), ratings: None, choice: None };
    let data = TaskData {
        classes: Vec::new(),
        train: (0..10).map(example).collect(),
        train_per_seed: Some(4),
        validation: Vec::new(),
        domains: Vec::new(),
        notes: Vec::new(),
        digest: String::new(),
    };
    // Computed apart: sorted(range(10), key=lambda i: sha256(struct.pack("<Q", seed) + b"training set\0" + str(i).encode()).digest())[:4]
    assert_eq!((data.drawn(1), data.drawn(2)), (Some(vec![2, 4, 5, 7]), Some(vec![0, 2, 3, 9])));
}

#[test]
fn the_digest_of_texts_is_that_of_committed_records_and_questions_have_their_own() {
    let plain = |id: &str, text: &str, label| Example {
        id: id.to_owned(),
        text: text.to_owned(),
        label,
        ratings: None,
        choice: None,
    };
    let rated = Example { ratings: Some(Ratings { each: vec![2, -1], mean: 0.5 }), ..plain("2", "fine", Some(1)) };
    let far = Domain { info: DomainInfo::new("far", "Far"), examples: vec![plain("3", "news", None)] };
    let classes = ["no", "yes"].map(str::to_owned);
    let of = |train: &Example| {
        digest(&classes, std::slice::from_ref(train), std::slice::from_ref(&rated), std::slice::from_ref(&far))
    };
    let text = plain("1", "poor", Some(0));
    // Computed apart, by a Python transcription of what it was before there were questions.
    assert_eq!(of(&text), "d238e6f5161a1ee813b941aa5a8346ef14c5c4e449badd99bb5d857b39d96bdb");
    let choice = |template| Choice::new(classes.to_vec(), template);
    let template =
        |style| crate::tasks::prompts::Template::new(style, None, crate::tasks::prompts::Kind::Question).unwrap();
    let asked = |style| Example { choice: Some(choice(template(style))), ..text.clone() };
    let all = [of(&text), of(&asked(Style::Plain)), of(&asked(Style::Bag)), of(&asked(Style::Blob))];
    assert_eq!(BTreeSet::from(all.clone()).len(), all.len(), "{all:?}");
}

#[test]
fn an_unknown_task_and_settings_out_of_range_are_one_line() {
    let refusal = |task: &str, settings: &str| PlannedTask::new(task, settings.parse().unwrap()).unwrap_err();
    assert_eq!(
        refusal("sst-2", ""),
        "unknown task \"sst-2\"; did you mean \"sst2\"? (known: vader-movies, sst2, sst2-phrases, banking77, clinc150, trec, arc-easy, arc-challenge, openbookqa, \
         winogrande-s, winogrande-m, boolq)"
    );
    assert_eq!(
        refusal("banking77", "held-out-intents = 76"),
        "held-out-intents is 76, expected 0 to 75: two classes at least are trained on"
    );
    assert!(refusal("sst2-phrases", "phrases = 1").starts_with("phrases is 1, expected 2 or more"));
    assert!(refusal("sst2-phrases", "train-fraction = 1.0").starts_with("train-fraction is 1, expected"));
    assert!(refusal("banking77", "validation-fraction = 0.0").starts_with("validation-fraction is 0, expected"));
    // A share of another task is unknown here.
    assert!(refusal("sst2", "train-fraction = 0.7").starts_with("unknown data setting \"train-fraction\""));
    assert_eq!(refusal("sst2", "max-train = 0"), "max-train is 0, expected 2 or more, or no cap");
}

/// The message for a data set of which one file is this.
fn complaint(task: &str, file: &str, content: impl AsRef<[u8]>) -> String {
    complaint_in(&data(), task, file, content)
}

fn complaint_in(root: &TempDir, task: &str, file: &str, content: impl AsRef<[u8]>) -> String {
    fs::write(root.path().join(file), content).unwrap();
    let message = loaded(root, task, "").unwrap_err().to_string();
    message.replace(&format!("{}{}", root.path().display(), std::path::MAIN_SEPARATOR), "")
}

#[test]
fn malformed_lines_name_file_line_expected_and_found() {
    assert_eq!(
        complaint("sst2", "sst2/dev.tsv", "fine\t1\nno label\n"),
        "sst2/dev.tsv, line 2: expected 2 fields separated by tabs (sentence, label), found 1 in \"no label\""
    );
    assert_eq!(
        complaint("sst2", "sst2/train.tsv", "fine\t1\nneutral\t2\n"),
        "sst2/train.tsv, line 2: expected a label, 0 or 1, found \"2\""
    );
    assert_eq!(complaint("sst2", "sst2/test.tsv", " \t1\n"), "sst2/test.tsv, line 1: expected a sentence, found \" \"");
    assert_eq!(
        complaint("sst2", "sst2/test.tsv", b"fine\t1\nna\xefve\t0\n"),
        "sst2/test.tsv, line 2: expected UTF-8, found the byte 0xef"
    );
    assert_eq!(
        complaint("sst2", "ag_news/test.csv", "\"1\",\"a\",\"two\nlines\"\n\"5\",\"b\",\"c\"\n"),
        "ag_news/test.csv, line 3: expected a class from 1 to 4, found \"5\""
    );
    assert_eq!(
        complaint("sst2-phrases", "sst2_glue/dev.tsv", "fine\t1\n"),
        "sst2_glue/dev.tsv, line 1: expected the header sentence, label, found \"fine\\t1\""
    );
    assert_eq!(
        complaint("sst2", "banking77/test.csv", "query,intent\n"),
        "banking77/test.csv, line 1: expected the header text,category, found \"query,intent\""
    );
    assert_eq!(
        complaint("banking77", "banking77/train.csv", "text,category\nwhere?,card\nwhen?\n"),
        "banking77/train.csv, line 3: expected 2 fields separated by commas (text, category), found 1"
    );
    assert_eq!(
        complaint("banking77", "banking77/test.csv", "text,category\nwhere?,nowhere\n"),
        "banking77/test.csv, line 2: expected an intent of train.csv, found \"nowhere\""
    );
    assert_eq!(
        complaint("banking77", "banking77/train.csv", "text,category\nwhere?,card\n"),
        "banking77/train.csv, line 2: expected 77 intents in all, found \"1 of them\""
    );
    assert_eq!(
        complaint("sst2", "sst2/dev.tsv", ""),
        "sst2: the validation split is empty: 52 examples are too few for its share"
    );
    let root = data();
    fs::remove_file(root.path().join("ag_news/test.csv")).unwrap();
    let message = loaded(&root, "sst2", "").unwrap_err().to_string();
    assert!(message.contains(&Path::new("ag_news").join("test.csv").display().to_string()), "{message}");
    assert!(message.contains("cannot read: "), "{message}");
}
