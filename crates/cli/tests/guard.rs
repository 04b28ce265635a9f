//! A guard from predictions of any program: fitted, checked and watched by the program itself, and what it refuses.
#![cfg(test)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use assert_cmd::Command;

/// Predictions of two classes: of the confident four fifths one in fifty is wrong, of the others every other one. Ids begin with `name`.
fn lines(name: &str, examples: u32) -> String {
    let mut text = String::new();
    for n in 0..examples {
        let place = (n * 37) % 100;
        let top = 0.999 - 0.0049 * f64::from(place);
        let wrong = if place < 80 { (n / 100 + place) % 50 == 0 } else { (n / 100 + place) % 2 == 0 };
        let _ =
            writeln!(text, r#"{{"id": "{name}{n}", "label": {}, "probs": [{top}, {}]}}"#, u8::from(wrong), 1.0 - top);
    }
    text
}

struct Told {
    code: i32,
    said: String,
    error: String,
}

fn guard(folder: &Path, arguments: &[&str], input: &str) -> Told {
    let mut command = Command::cargo_bin("bayeslora").unwrap();
    let output = command.arg("guard").args(arguments).current_dir(folder).write_stdin(input).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Told { code: output.status.code().unwrap(), said: text(output.stdout), error: text(output.stderr) }
}

#[test]
fn a_guard_is_fitted_checked_and_watched() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("cal.jsonl"), lines("c", 4000)).unwrap();
    fs::write(folder.join("test.jsonl"), lines("t", 2000)).unwrap();
    let fit = ["fit", "--predictions", "cal.jsonl", "--answer", "0.05", "--sets", "0.9", "--pac", "-o", "guard.json"];
    let told = guard(folder, &fit, "");
    assert_eq!(told.code, 0, "{}", told.error);
    let sentence = "At most 5 % of the answers are wrong, unless the calibration was one of the unluckiest 5 %.";
    assert!(told.said.starts_with(sentence) && told.said.ends_with("guard.json\n"), "{}", told.said);
    // The same again is the same file.
    let first = fs::read(folder.join("guard.json")).unwrap();
    guard(folder, &fit, "");
    assert_eq!(fs::read(folder.join("guard.json")).unwrap(), first);
    let told = guard(folder, &["check", "guard.json", "--predictions", "test.jsonl"], "");
    assert_eq!(told.code, 0, "{}{}", told.said, told.error);
    assert!(told.said.contains("answered: ") && told.said.contains("not refuted"), "{}", told.said);
    // One example that it was fitted to, among fresh ones.
    let overlapping = lines("t", 500) + lines("c", 4000).lines().nth(7).unwrap();
    fs::write(folder.join("part.jsonl"), overlapping).unwrap();
    let told = guard(folder, &["check", "guard.json", "--predictions", "part.jsonl"], "");
    assert!(
        told.code == 1 && told.error.contains("id `c7` is an example that the guard was fitted to"),
        "{}",
        told.error
    );
    // Where every answer is wrong the promise is refuted.
    let turned = lines("t", 2000).replace("\"label\": 0", "\"label\": 2").replace("\"label\": 1", "\"label\": 0");
    fs::write(folder.join("wrong.jsonl"), turned.replace("\"label\": 2", "\"label\": 1")).unwrap();
    let told = guard(folder, &["check", "guard.json", "--predictions", "wrong.jsonl"], "");
    assert!(
        told.code == 1 && told.said.contains("answer: at most 5.0 % promised") && told.said.contains(", refuted"),
        "{}",
        told.said
    );
    // Three answers in ten wrong is an alarm; it stays in the state, and a line counts once.
    let feedback = |range: std::ops::Range<u32>| {
        range.fold(String::new(), |text, n| text + &format!("{{\"id\": \"w{n}\", \"correct\": {}}}\n", n % 10 >= 3))
    };
    let watch = ["watch", "guard.json", "--state", "watch.json"];
    let told = guard(folder, &watch, &feedback(0..2));
    assert_eq!((told.code, told.said.lines().next().unwrap()), (0, "labels: 2, wrong: 2"), "{}", told.error);
    let told = guard(folder, &watch, &feedback(2..100));
    assert!(told.code == 3 && told.said.starts_with("{\"kind\":\"risk\""), "{}{}", told.said, told.error);
    let told = guard(folder, &watch, "");
    assert!(told.code == 3 && told.said.starts_with("labels: 100, wrong: 30"), "{}", told.said);
    let told = guard(folder, &watch, &feedback(5..6));
    assert!(
        told.code == 1 && told.error.contains("line 1 of standard input") && told.error.contains("w5"),
        "{}",
        told.error
    );
}

/// Which score is read as a distance is in the guard's file: nobody has to name it again, and predictions without it are refused.
#[test]
fn a_distance_is_read_again_and_missed_where_it_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let with_scores = |text: String| -> String {
        let lines = text.lines().zip(0..);
        lines.fold(String::new(), |all, (line, n)| {
            all + line.trim_end_matches('}') + &format!(", \"score\": {}}}\n", (n * 61) % 1000)
        })
    };
    fs::write(folder.join("cal.jsonl"), with_scores(lines("c", 4000))).unwrap();
    fs::write(folder.join("test.jsonl"), with_scores(lines("t", 2000))).unwrap();
    fs::write(folder.join("plain.jsonl"), lines("t", 2000)).unwrap();
    let fit = [
        "fit",
        "--predictions",
        "cal.jsonl",
        "--answer",
        "0.05",
        "--ood",
        "0.1",
        "--distance",
        "score",
        "-o",
        "g.json",
    ];
    let told = guard(folder, &fit, "");
    assert_eq!(told.code, 0, "{}", told.error);
    let told = guard(folder, &["check", "g.json", "--predictions", "test.jsonl"], "");
    assert!(told.code == 0 && told.said.contains("ood: at most 10.0 % promised"), "{}{}", told.said, told.error);
    let told = guard(folder, &["check", "g.json", "--predictions", "plain.jsonl"], "");
    assert!(
        told.code == 1 && told.error.contains("plain.jsonl: predictions: there is no score `score`"),
        "{}",
        told.error
    );
}

#[test]
fn what_a_guard_cannot_promise_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("cal.jsonl"), lines("c", 4000)).unwrap();
    fs::write(folder.join("few.jsonl"), lines("c", 30)).unwrap();
    fs::write(folder.join("twice.jsonl"), lines("c", 3) + &lines("c", 3)).unwrap();
    fs::write(folder.join("sum.jsonl"), r#"{"id": "a", "label": 0, "probs": [0.7, 0.7]}"#).unwrap();
    fs::write(folder.join("guard.json"), "{}").unwrap();
    let fit = |predictions: &str, more: &[&str]| {
        let fixed = ["fit", "--predictions", predictions, "-o", "new.json"];
        guard(folder, &[&fixed, more].concat(), "")
    };
    for (told, said) in [
        (fit("none.jsonl", &["--answer", "0.05"]), "none.jsonl"),
        (fit("cal.jsonl", &[]), "what is promised is nothing, expected answer, total or sets"),
        (fit("cal.jsonl", &["--answer", "1.5"]), "risk of answers is 1.5, expected a number in [1e-9, 1)"),
        (fit("cal.jsonl", &["--answer", "0.05", "--score", "confidence"]), "expected predictive-entropy"),
        (fit("cal.jsonl", &["--answer", "0.05", "--score", "mutual-information"]), "needs several samples"),
        (fit("cal.jsonl", &["--answer", "0.0001"]), "cal.jsonl"),
        (fit("cal.jsonl", &["--answer", "0.05", "--used", "cal.jsonl"]), "the calibration data are those of cal.jsonl"),
        (fit("few.jsonl", &["--answer", "0.05"]), "few.jsonl"),
        (fit("twice.jsonl", &["--answer", "0.05"]), "c0"),
        (fit("sum.jsonl", &["--answer", "0.05"]), "sum.jsonl"),
        (guard(folder, &["check", "guard.json", "--predictions", "cal.jsonl"], ""), "guard.json"),
        (guard(folder, &["watch", "nowhere.json", "--state", "w.json"], ""), "nowhere.json"),
    ] {
        let is_sentence = told.error.contains(said) && !told.error.contains("panicked");
        assert!(told.code != 0 && is_sentence && told.said.is_empty(), "{said}: {} {}", told.said, told.error);
    }
    assert!(!folder.join("new.json").exists() && !folder.join("w.json").exists(), "nothing is half-written");
    // Predictions of another program are not what the guard is for.
    assert_eq!(fit("cal.jsonl", &["--answer", "0.05"]).code, 0);
    fs::write(folder.join("three.jsonl"), r#"{"id": "a", "label": 0, "probs": [0.7, 0.2, 0.1]}"#).unwrap();
    let told = guard(folder, &["check", "new.json", "--predictions", "three.jsonl"], "");
    assert!(told.code == 1 && told.error.contains("classes"), "{}", told.error);
}
