//! Settings that do not go together, and malformed questions: one line each.

use super::*;

#[test]
fn settings_of_questions_that_do_not_go_together_are_refused() {
    let refusal = |task: &str, settings: &str| PlannedTask::new(task, settings.parse().unwrap()).unwrap_err();
    assert!(refusal("arc-easy", "prompt = 'blub'").contains("unknown variant `blub`"));
    assert!(refusal("winogrande-s", "prompt = 'bag'\nanswers = 'texts'").starts_with("answers is \"texts\", expected"));
    assert!(refusal("boolq", "prompt = 'blob'\nanswers = 'letters'").starts_with("answers is \"letters\", expected"));
    assert_eq!(
        refusal("openbookqa", "odd-items = 'keep'"),
        "odd-items is \"keep\", expected \"drop\", or answers = \"letters\": only letters are classes of questions of any \
         number of options"
    );
    assert_eq!(
        refusal("arc-challenge", "validation-fraction = 0.1"),
        "validation-fraction is 0.1, expected no value: the published development set is validated on unless test-split is \
         \"dev\""
    );
    assert!(
        refusal("arc-easy", "test-split = 'dev'\nvalidation-fraction = 1.0")
            .starts_with("validation-fraction is 1, expected")
    );
    assert!(refusal("winogrande-m", "validation-fraction = 0.0").starts_with("validation-fraction is 0, expected"));
    assert_eq!(
        refusal("winogrande-s", "corruptions = ['typos', 'word-shuffle']"),
        "corruptions is \"word-shuffle\", expected typos alone: the blank is a word"
    );
    assert!(PlannedTask::new("winogrande-s", "corruptions = ['typos']".parse().unwrap()).is_ok());
    assert_eq!(
        refusal("boolq", "passages = false\ntrain-fraction = 0.5"),
        "train-fraction is 0.5, expected no value: without passages the published training set is trained on"
    );
    assert!(
        refusal("boolq", "train-fraction = 0.9\nvalidation-fraction = 0.1").starts_with("train-fraction + validation")
    );
    assert!(refusal("boolq", "validation-fraction = nan").starts_with("validation-fraction is NaN, expected"));
    // What the answers are is known without data; texts of classes have none.
    let answers = |task: &str, settings: &str| PlannedTask::new(task, settings.parse().unwrap()).unwrap().answers();
    assert_eq!(answers("trec", ""), None);
    for task in ["arc-easy", "arc-challenge", "openbookqa", "winogrande-s", "winogrande-m", "boolq"] {
        assert_eq!(answers(task, ""), Some(Answers::Texts), "{task}");
        assert_eq!(answers(task, "prompt = 'bag'"), Some(Answers::Letters), "{task}");
        assert_eq!(answers(task, "answers = 'letters'"), Some(Answers::Letters), "{task}");
    }
}

/// The message for a toy copy of which one file is this, without the file's name.
fn said(root: &TempDir, task: &str, file: &str, content: &str) -> String {
    let path = root.path().join(file);
    let good = fs::read(&path).unwrap();
    let message = complaint_in(root, task, file, content);
    fs::write(path, good).unwrap();
    message.strip_prefix(file).unwrap_or(&message).to_owned()
}

#[test]
fn malformed_science_questions_name_file_line_expected_and_found() {
    let root = questions();
    let good = arc_lines("x", 1);
    let arc = |line: &str| said(&root, "arc-easy", "arc_original/easy_train.jsonl", &format!("{good}{line}"));
    let four = ["a", "b", "c", "d"];
    let form = "id, question (stem, choices of text and label) and answerKey, as JSON";
    assert_eq!(
        arc("{\"id\": 3}\n"),
        format!(
            ", line 2: expected {form} (invalid type: integer `3`, expected a string), found \"{{\\\"id\\\": 3}}\""
        )
    );
    assert!(arc("\n").starts_with(&format!(", line 2: expected {form} (")));
    assert_eq!(arc(&arc_line("", "s", &four, "ABCD", "A")), ", line 2: expected an identifier, found \"\"");
    assert_eq!(arc(&arc_line("x", " ", &four, "ABCD", "A")), ", line 2: expected a question, found \" \"");
    assert_eq!(arc(&arc_line("x", "s", &["a", "", "c", "d"], "ABCD", "A")), ", line 2: expected an option, found \"\"");
    assert_eq!(arc(&arc_line("x", "s", &["a"], "A", "A")), ", line 2: expected 2 to 5 options, found \"1 of them\"");
    let key = ", line 2: expected the label of an option as answerKey, found";
    assert_eq!(arc(&arc_line("x", "s", &four, "ABCD", "1")), format!("{key} \"1\""));
    assert_eq!(arc(&arc_line("x", "s", &four, "1234", "5")), format!("{key} \"5\""));
    let labels = ", line 2: expected options labelled A, B, C .. or 1, 2, 3 .., five at most, found";
    assert_eq!(arc(&arc_line("x", "s", &four, "ABDC", "A")), format!("{labels} \"A, B, D, C\""));
    assert_eq!(
        arc(&arc_line("x", "s", &["a", "b", "c", "d", "e", "f"], "ABCDEF", "A")),
        format!("{labels} \"A, B, C, D, E, F\"")
    );

    let obqa = |text: &str| said(&root, "openbookqa", "openbookqa_original/dev.tsv", text);
    assert!(
        obqa("id\n").starts_with(
            ", line 1: expected the header ID, Question Stem, Choices, Complete Question, Answer Key, found"
        )
    );
    assert!(obqa("").ends_with("Answer Key, found \"\""));
    let line = |line: &str| obqa(&format!("{OBQA_HEADER}{line}\n"));
    assert!(line("1\ts\t(A) a (B) b").starts_with(", line 2: expected 5 fields separated by tabs"));
    for choices in
        ["(A) a (B) b (C) c", "(A) a (C) b (B) c (D) d", "so (A) a (B) b (C) c (D) d", "a, b, c, d", "(A) \u{e9}"]
    {
        let expected = format!(", line 2: expected (A) .. (B) .. (C) .. (D) .., found {choices:?}");
        assert_eq!(line(&format!("1\ts\t{choices}\t-\tA")), expected);
    }
    let choices = "(A) a (B) b (C) c (D) d";
    assert_eq!(line(&format!("1\ts\t{choices}\t-\tE")), ", line 2: expected a key from A to D, found \"E\"");
    assert_eq!(line(&format!("1\ts\t{choices}\t-\t")), ", line 2: expected a key from A to D, found \"\"");
    assert_eq!(line("1\ts\t(A) a (B)  (C) c (D) d\t-\tA"), ", line 2: expected an option, found \"\"");

    let header = "question,choice0,choice1,choice2,choice3,answer\n";
    let mmlu = |text: &str| said(&root, "openbookqa", "mmlu/conceptual_physics_test.csv", text);
    assert!(mmlu("a,b,c,d,e,f\n").starts_with(", line 1: expected the header question, choice0"));
    assert!(mmlu("").starts_with(", line 1: expected the header question, choice0"));
    assert_eq!(
        mmlu(&format!("{header}\"q\nq\",a,b,c,d,0\nq,a,b,c,d,4\n")),
        ", line 4: expected the place of an option, from 0 to 3, found \"4\""
    );
    assert_eq!(mmlu(&format!("{header}q,a, ,c,d,0\n")), ", line 2: expected an option, found \"\"");
}

#[test]
fn malformed_sentences_and_yes_or_no_questions_name_file_line_expected_and_found() {
    let root = questions();
    let winogrande = |sentence: &str, option: &str, answer: &str| {
        let line = format!(
            "{{\"qID\": \"q-1\", \"sentence\": \"{sentence}\", \"option1\": \"{option}\", \"option2\": \"b\", \"answer\": \"{answer}\"}}\n"
        );
        said(&root, "winogrande-s", "winogrande_original/dev.jsonl", &line)
    };
    assert_eq!(winogrande("none", "a", "1"), ", line 1: expected a sentence with one blank, _, found \"none\"");
    assert_eq!(winogrande("_ and _", "a", "1"), ", line 1: expected a sentence with one blank, _, found \"_ and _\"");
    assert_eq!(winogrande("a _", " ", "1"), ", line 1: expected an option, found \" \"");
    assert_eq!(winogrande("a _", "a", ""), ", line 1: expected the answer 1 or 2, found \"\"");

    let boolq = |text: &str| said(&root, "boolq", "boolq_passages/val.jsonl", text);
    let line = |question: &str, passage: &str, label: &str| {
        boolq(&format!(
            "{{\"question\": \"{question}\", \"passage\": \"{passage}\", \"idx\": 0, \"label\": {label}}}\n"
        ))
    };
    assert_eq!(line(" ", "p", "\"true\""), ", line 1: expected a question, found \" \"");
    assert_eq!(line("q", "", "\"true\""), ", line 1: expected a passage, found \"\"");
    assert_eq!(line("q", "p", "\"True\""), ", line 1: expected the answer true or false, found \"True\"");
    assert!(
        line("q", "p", "true")
            .starts_with(", line 1: expected question, passage, idx and label, as JSON (invalid type: boolean")
    );

    let train = |from: &str, to: &str| {
        let good = boolq_train(3);
        assert!(good.contains(from));
        fs::write(root.path().join("boolq/train.json"), good.replacen(from, to, 1)).unwrap();
        let message = loaded(&root, "boolq", "passages = false").unwrap_err().to_string();
        message.rsplit_once("train.json").unwrap().1.to_owned()
    };
    assert!(
        train("trained 1?\\n", "trained 1?").starts_with(", line 8: expected a question between its instruction and")
    );
    assert!(train("question: is it trained 1?", "question: ").starts_with(", line 8: expected a question between"));
    assert_eq!(
        train("\"answer\": \"false\"", "\"answer\": \"no\""),
        ", line 8: expected the answer true or false, found \"no\""
    );
    assert!(
        train("\"input\": \"\"", "\"inputs\": \"\"")
            .starts_with(", line 2: expected instruction, input, output and answer, as JSON (unknown field `inputs`")
    );
    fs::remove_file(root.path().join("boolq_passages/val.jsonl")).unwrap();
    let message = loaded(&root, "boolq", "").unwrap_err().to_string();
    assert!(message.contains("val.jsonl: cannot read: "), "{message}");
}
