//! Tasks of questions on toy copies: sizes, labels, prompts, no question in two splits.

mod refusals;

use super::*;

/// A line of ARC with the labels `labels` and the key `key`.
fn arc_line(id: &str, stem: &str, options: &[&str], labels: &str, key: &str) -> String {
    let choice = |(text, label): (&&str, char)| format!("{{\"text\": \"{text}\", \"label\": \"{label}\"}}");
    let choices: Vec<String> = options.iter().zip(labels.chars()).map(choice).collect();
    format!(
        "{{\"id\": \"{id}\", \"question\": {{\"stem\": \"{stem}\", \"choices\": [{}]}}, \"answerKey\": \"{key}\"}}\n",
        choices.join(", ")
    )
}

/// `count` questions of ARC whose right options are A, B, C, D in turn.
fn arc_lines(set: &str, count: usize) -> String {
    let line = |n: usize| {
        let options = [0, 1, 2, 3].map(|k| if k == n % 4 { format!("right {n}") } else { format!("wrong {n} {k}") });
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        arc_line(
            &format!("{set}_{n}"),
            &format!("Which of {set} is it, {n}?"),
            &options,
            "ABCD",
            &"ABCD"[n % 4..=n % 4],
        )
    };
    (0..count).map(line).collect()
}

const OBQA_HEADER: &str = "ID\tQuestion Stem\tChoices\tComplete Question\tAnswer Key\n";

fn obqa_lines(set: &str, count: usize) -> String {
    let line = |n: usize| {
        let choices = format!("(A) one {n} (B) two f(A) of it (C) three (D) four {n}");
        format!(
            "{set}-{n}\tThe {set} thing {n} is\t{choices}\tThe {set} thing {n} is {choices}\t{}\n",
            &"ABCD"[n % 4..=n % 4]
        )
    };
    std::iter::once(OBQA_HEADER.to_owned()).chain((0..count).map(line)).collect()
}

fn winogrande_lines(set: &str, pairs: usize) -> String {
    let line = |n: usize| {
        let (pair, twin) = (n / 2, n % 2 + 1);
        let named = set.replace('_', " ");
        let word = ["first", "second"][n % 2];
        format!(
            "{{\"qID\": \"{set}{pair}-{twin}\", \"sentence\": \"{named} {pair}: the {word} one was _ .\", \"option1\": \"bag\", \
             \"option2\": \"box\", \"answer\": \"{twin}\"}}\n"
        )
    };
    (0..2 * pairs).map(line).collect()
}

fn boolq_lines(count: usize) -> String {
    let line = |n: usize| {
        let answer = n.is_multiple_of(3);
        format!(
            "{{\"question\": \"is it number {n}\", \"passage\": \"Article {} -- It is {n}.\", \"idx\": {n}, \"label\": \
             \"{answer}\"}}\n",
            n / 2
        )
    };
    (0..count).map(line).collect()
}

fn boolq_train(count: usize) -> String {
    let item = |n: usize| {
        format!(
            "    {{\n        \"instruction\": \"Please answer the following question with true or false, question: is it trained \
             {n}?\\n\\nAnswer format: true/false\",\n        \"input\": \"\",\n        \"output\": \"\",\n        \"answer\": \
             \"{}\"\n    }}",
            n.is_multiple_of(3)
        )
    };
    format!("[\n{}\n]", (0..count).map(item).collect::<Vec<_>>().join(",\n"))
}

fn mmlu_lines(subject: &str, count: usize) -> String {
    let header = "question,choice0,choice1,choice2,choice3,answer\n".to_owned();
    let line = |n: usize| format!("\"What, in {subject},\nis {n}?\", a {n} ,b,c,d,{}\n", n % 4);
    std::iter::once(header).chain((0..count).map(line)).collect()
}

fn questions() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (level, sizes) in [("easy", [20, 6, 8]), ("challenge", [10, 4, 5])] {
        for (set, count) in ["train", "dev", "test"].into_iter().zip(sizes) {
            let odd = arc_line(&format!("{level}_{set}_odd"), "Which of three?", &["a", "b", set], "ABC", "C");
            let text = arc_lines(&format!("{level}_{set}"), count) + &odd;
            write(&format!("arc_original/{level}_{set}.jsonl"), &text);
        }
    }
    // Trained on and tested, in another order and case; the same words with other options; published with numbers.
    let train = root.path().join("arc_original/easy_train.jsonl");
    let text = fs::read_to_string(&train).unwrap()
        + &arc_line(
            "again",
            "which of EASY_test is  it, 1?",
            &["wrong 1 3", "Right 1", "wrong 1 0", "wrong 1 2"],
            "ABCD",
            "B",
        )
        + &arc_line("other", "Which of easy_test is it, 1?", &["i", "ii", "iii", "iv"], "1234", "3");
    fs::write(train, text).unwrap();
    for (set, count) in [("train", 20), ("dev", 5), ("test", 6)] {
        write(&format!("openbookqa_original/{set}.tsv"), &obqa_lines(set, count));
    }
    let train = root.path().join("openbookqa_original/train.tsv");
    let five = "12-1145\tA habit is\t(A) one (B) two (C) three (D) four (D) five\t-\tB\n";
    fs::write(&train, fs::read_to_string(&train).unwrap() + five).unwrap();
    for (set, pairs) in [("train_s", 10), ("train_m", 20), ("dev", 6)] {
        write(&format!("winogrande_original/{set}.jsonl"), &winogrande_lines(set, pairs));
    }
    write("boolq_passages/val.jsonl", &boolq_lines(40));
    write("boolq/train.json", &boolq_train(30));
    for subject in
        ["college_chemistry", "college_physics", "high_school_chemistry", "high_school_physics", "conceptual_physics"]
    {
        write(&format!("mmlu/{subject}_test.csv"), &mmlu_lines(subject, 7));
    }
    root
}

fn all_of(data: &TaskData) -> impl Iterator<Item = &Example> {
    data.train.iter().chain(&data.validation).chain(data.domains.iter().flat_map(|domain| &domain.examples))
}

fn ids<'a>(examples: impl IntoIterator<Item = &'a Example>) -> BTreeSet<&'a str> {
    examples.into_iter().map(|example| example.id.as_str()).collect()
}

fn answers_of(data: &TaskData) -> BTreeSet<Vec<String>> {
    all_of(data).map(|example| example.prompt().unwrap().answers).collect()
}

#[test]
fn arc_has_its_sets_its_labels_and_no_question_twice() {
    let root = questions();
    let data = loaded(&root, "arc-easy", "").unwrap();
    assert_eq!(data.classes, ["A", "B", "C", "D"]);
    // The question of three options is dropped everywhere, the one that is tested from training.
    assert_eq!((data.train.len(), data.validation.len()), (21, 6));
    assert_eq!(sizes(&data), [("arc-easy", 8), ("arc-challenge", 5)]);
    assert!(!ids(&data.train).contains("again") && ids(&data.train).contains("other"));
    assert_eq!(
        data.notes,
        [
            "arc-challenge: 1 of 6 published questions are dropped, since they have not four options",
            "arc-easy: 1 of 9 published questions are dropped, since they have not four options",
            "validation: 1 of 7 published questions are dropped, since they have not four options",
            "train: 1 of 23 published questions are dropped, since they have not four options",
            "train: 1 of 22 published examples are dropped, since a set that is tested or validated on has their text, or an \
             earlier line (case and white space ignored)",
        ]
    );
    for example in all_of(&data).filter(|example| example.id != "other") {
        // The toy option tells that it is right.
        let right = &example.choice.as_ref().unwrap().options[example.label.unwrap() as usize];
        assert!(right.starts_with("right"), "{example:?}");
    }
    // A key of 3 is the third option.
    let other = data.train.iter().find(|example| example.id == "other").unwrap();
    assert_eq!((other.label, other.choice.as_ref().unwrap().numbered), (Some(2), true));
    let challenge = loaded(&root, "arc-challenge", "").unwrap();
    assert_eq!((challenge.train.len(), sizes(&challenge)), (10, vec![("arc-challenge", 5), ("arc-easy", 8)]));
    assert_eq!(challenge.domains[1].examples, data.domains[0].examples);
}

#[test]
fn development_sets_can_be_tested_on_and_odd_questions_kept() {
    let root = questions();
    let dev = loaded(&root, "arc-easy", "test-split = 'dev'\nvalidation-fraction = 0.2").unwrap();
    assert_eq!(sizes(&dev), [("arc-easy", 6), ("arc-challenge", 4)]);
    // No test set is read, so nothing is dropped for standing in it.
    assert_eq!((dev.train.len(), dev.validation.len()), (18, 4));
    assert!(ids(&dev.train).union(&ids(&dev.validation)).any(|id| *id == "again"));
    let kept = loaded(&root, "arc-easy", "prompt = 'blob'\nodd-items = 'keep'").unwrap();
    assert_eq!(kept.classes, ["A", "B", "C", "D", "E"]);
    assert_eq!((kept.train.len(), kept.validation.len(), sizes(&kept)[0].1), (22, 7, 9));
    assert_eq!(answers_of(&kept), BTreeSet::from([[" A", " B", " C", " D", " E"].map(str::to_owned).to_vec()]));
    let dropped = loaded(&root, "arc-easy", "prompt = 'blob'").unwrap();
    assert_eq!(answers_of(&dropped), BTreeSet::from([[" A", " B", " C", " D"].map(str::to_owned).to_vec()]));
}

#[test]
fn openbookqa_is_tested_on_graded_sets() {
    let root = questions();
    let data = loaded(&root, "openbookqa", "").unwrap();
    assert_eq!((data.train.len(), data.validation.len()), (20, 5));
    let subjects =
        ["college-chemistry", "college-physics", "high-school-chemistry", "high-school-physics", "conceptual-physics"];
    let subjects: Vec<String> = subjects.iter().map(|subject| format!("mmlu-{subject}")).collect();
    let expected = [("openbookqa", 6), ("arc-easy", 8), ("arc-challenge", 5)];
    let expected: Vec<(&str, usize)> = expected.into_iter().chain(subjects.iter().map(|id| (id.as_str(), 7))).collect();
    assert_eq!(sizes(&data), expected);
    let first = data.domains[0].examples.iter().find(|example| example.id == "test-2").unwrap();
    assert_eq!((first.text.as_str(), first.label), ("The test thing 2 is", Some(2)));
    // A label within an option is a part of it.
    assert_eq!(first.choice.as_ref().unwrap().options, ["one 2", "two f(A) of it", "three", "four 2"]);
    let chemistry = data.domains[3].examples.iter().find(|example| example.id == "test-4").unwrap();
    assert_eq!((chemistry.text.as_str(), chemistry.label), ("What, in college_chemistry,\nis 1?", Some(1)));
    assert_eq!(chemistry.choice.as_ref().unwrap().options, ["a 1", "b", "c", "d"]);
    assert!(
        data.notes
            .contains(&"train: 1 of 21 published questions are dropped, since they have not four options".to_owned())
    );
    let kept = loaded(&root, "openbookqa", "answers = 'letters'\nodd-items = 'keep'").unwrap();
    assert_eq!(kept.train.len(), 21);
    let five = kept.train.iter().find(|example| example.id == "12-1145").unwrap();
    assert_eq!((five.choice.as_ref().unwrap().options.len(), five.label), (5, Some(1)));
}

#[test]
fn the_published_loaders_print_mmlu_right_and_other_options_wrong() {
    let data = loaded(&questions(), "openbookqa", "prompt = 'compat-blob'").unwrap();
    let listed = |domain: usize, id: &str| {
        let example = data.domains[domain].examples.iter().find(|example| example.id == id).unwrap();
        example.prompt().unwrap().cue
    };
    assert_eq!(listed(0, "test-0"), "\nChoices:\none 0) A\ntwo f(A) of it) B\nthree) C\nfour 0) D\nAnswer:");
    assert_eq!(listed(3, "test-2"), "\nChoices:\nA) a 0\nB) b\nC) c\nD) d\nAnswer:");
}

#[test]
fn winogrande_keeps_its_pairs_together() {
    let root = questions();
    for (task, pairs) in [("winogrande-s", 10), ("winogrande-m", 20)] {
        for seed in 0..4 {
            let data = loaded(&root, task, &format!("split-seed = {seed}\nvalidation-fraction = 0.25")).unwrap();
            assert_eq!(data.train.len() + data.validation.len(), 2 * pairs);
            assert_eq!((data.validation.len() % 2, sizes(&data)), (0, vec![(task, 12)]));
            for two in data.train.chunks(2).chain(data.validation.chunks(2)) {
                let pair = |example: &Example| example.id.rsplit_once('-').unwrap().0.to_owned();
                assert_eq!(pair(&two[0]), pair(&two[1]), "seed {seed}");
            }
        }
    }
    let data = loaded(&root, "winogrande-s", "").unwrap();
    let first = data.domains[0].examples.iter().find(|example| example.id == "dev3-2").unwrap();
    assert_eq!((first.text.as_str(), first.label), ("dev 3: the second one was _ .", Some(1)));
    assert_eq!(first.prompt().unwrap().answers, [" bag", " box"]);
}

#[test]
fn boolq_is_cut_by_article_or_asked_without_passages() {
    let root = questions();
    for seed in 0..4 {
        let data = loaded(&root, "boolq", &format!("split-seed = {seed}\ntrain-fraction = 0.53")).unwrap();
        let test = &data.domains[0].examples;
        assert_eq!(data.train.len() + data.validation.len() + test.len(), 40);
        // 21 and 25 would part an article.
        assert_eq!((data.train.len(), data.validation.len()), (22, 4));
        let articles = |examples: &[Example]| -> BTreeSet<String> {
            let passage = |example: &Example| example.choice.as_ref().unwrap().passage.clone().unwrap();
            examples.iter().map(|example| passage(example).split(" -- ").next().unwrap().to_owned()).collect()
        };
        let parts = [articles(&data.train), articles(&data.validation), articles(test)];
        assert_eq!(parts.iter().map(BTreeSet::len).sum::<usize>(), 20, "an article is in two splits");
    }
    let data = loaded(&root, "boolq", "").unwrap();
    let example = all_of(&data).find(|example| example.id == "val-3").unwrap();
    let prompt = example.prompt().unwrap();
    assert_eq!(prompt.text(), "Passage: Article 1 -- It is 3.\nQuestion: is it number 3?\nAnswer:");
    assert_eq!((&data.classes[example.label.unwrap() as usize][..], &prompt.answers[1][..]), ("true", " true"));
    let alone = loaded(&root, "boolq", "passages = false").unwrap();
    assert_eq!((alone.train.len(), alone.validation.len(), sizes(&alone)), (27, 3, vec![("boolq", 40)]));
    let trained = all_of(&alone).find(|example| example.id == "train-4").unwrap();
    assert_eq!((trained.text.as_str(), trained.label), ("is it trained 3", Some(1)));
    assert!(all_of(&alone).all(|example| example.prompt().unwrap().text().starts_with("Question: is it")));
}

#[test]
fn the_prompt_is_part_of_the_digest_and_follows_a_corrupted_question() {
    let root = questions();
    let digest = |settings: &str| loaded(&root, "arc-easy", settings).unwrap().digest;
    let styles = [
        "",
        "answers = 'letters'",
        "prompt = 'blob'",
        "prompt = 'laplace-lora'",
        "prompt = 'bag'",
        "prompt = 'compat-blob'",
    ];
    assert_eq!(styles.map(digest).into_iter().collect::<BTreeSet<_>>().len(), styles.len());
    assert_eq!(digest(""), digest("prompt = 'plain'\nanswers = 'texts'"));
    let data = loaded(&root, "arc-easy", "corruptions = ['word-drop']\ncorruption-strengths = [5]").unwrap();
    for (clean, corrupted) in data.domains[0].examples.iter().zip(&data.domains[2].examples) {
        assert_eq!(clean.choice, corrupted.choice);
        let prompt = corrupted.prompt().unwrap();
        assert_eq!(prompt.context, format!("Question: {}", corrupted.text));
    }
    let texts = |domain: usize| data.domains[domain].examples.iter().map(|example| &example.text).collect::<Vec<_>>();
    assert_ne!(texts(0), texts(2));
}
