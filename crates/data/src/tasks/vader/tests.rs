use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::tasks::{PlannedTask, TaskData};

/// Writes the two files of a domain as published: CRLF, no line end after the last line.
fn write(folder: &Path, stem: &str, texts: &[&str], ratings: &[&str]) {
    fs::write(folder.join(format!("{stem}_GroundTruth.txt")), texts.join("\r\n")).unwrap();
    fs::write(folder.join(format!("{stem}_anonDataRatings.txt")), ratings.join("\r\n")).unwrap();
}

/// Ten movie snippets and two of every other domain.
fn corpus() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let signs = [2, -1, 3, -4, 1, -2, 2, -1, 4, -3];
    let texts: Vec<_> = signs.iter().enumerate().map(|(i, r)| format!("{}\t{r}\tFilm number {i}.", i + 1)).collect();
    let ratings: Vec<_> = signs.iter().enumerate().map(|(i, r)| format!("{}\t{r}\t0\t[{r}, {r}]", i + 1)).collect();
    let strings = |lines: &'static [&'static str]| lines.to_vec();
    write(
        folder.path(),
        MOVIES.stem,
        &texts.iter().map(String::as_str).collect::<Vec<_>>(),
        &ratings.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    write(
        folder.path(),
        "amazonReviewSnippets",
        // In another order than the ratings, and with a text that a film has.
        &strings(&["2_1\t-1.5\tBroke at once. ", "1_10\t0.5\tfilm  NUMBER 3.", "1_9\t0.5\tFine."]),
        &strings(&["\u{feff}1_9\t0.5\t0.5\t[1, 0]", "1_10\t0.5\t0.5\t[0, 1]", "2_1\t-1.5\t0.5\t[-1, -2]"]),
    );
    write(
        folder.path(),
        "nytEditorialSnippets",
        &strings(&["1_1\t0\tIt is Tuesday.", "1_2\t-1\tCaf\u{e9}s close.", "1_3\t1\tCAF\u{c9}S  close."]),
        &strings(&["1_1\t0\t1\t[1, -1]", "1_2\t-1\t0\t[-1]", "1_3\t1\t0\t[1]"]),
    );
    write(folder.path(), "tweets", &strings(&["1\t2.5\tYay &amp; :)"]), &strings(&["1\t1.5\t0.5\t[1, 2]"]));
    folder
}

fn loaded(folder: &TempDir, settings: &str) -> Result<TaskData> {
    let task = PlannedTask::new("vader-movies", settings.parse().unwrap()).unwrap();
    task.load_from(&mut |asset| {
        assert_eq!(asset, AssetId::VaderIcwsm2014);
        Ok(folder.path().to_owned())
    })
}

fn ids(examples: &[Example]) -> Vec<&str> {
    examples.iter().map(|example| example.id.as_str()).collect()
}

#[test]
fn every_domain_arrives_cleaned_and_the_notes_count_what_did_not() {
    let task = loaded(&corpus(), "").unwrap();
    assert_eq!(task.classes, ["negative", "positive"]);
    assert_eq!((task.train.len(), task.validation.len()), (7, 1));
    let sizes: Vec<_> =
        task.domains.iter().map(|d| (d.info.id.as_str(), d.info.in_distribution, d.examples.len())).collect();
    assert_eq!(sizes, [("movies", true, 2), ("amazon", false, 2), ("nyt", false, 1), ("tweets", false, 1)]);
    let broke = task.domains[1].examples.iter().find(|example| example.id == "2_1").unwrap();
    assert_eq!((broke.text.as_str(), broke.label), ("Broke at once. ", Some(0)));
    assert_eq!(broke.ratings, Some(Ratings { each: vec![-1, -2], mean: -1.5 }));
    assert_eq!(task.domains[2].examples[0].text, "Caf\u{e9}s close.");
    assert_eq!(task.domains[3].examples[0].text, "Yay &amp; :)");
    assert_eq!(
        task.notes,
        [
            "movies: 10 snippets published; dropped 0 with a mean rating of exactly 0 (no sign), 0 that repeat a text, 0 \
             whose text an earlier domain has; kept 10",
            "amazon: 3 snippets published; dropped 0 with a mean rating of exactly 0 (no sign), 0 that repeat a text, 1 \
             whose text an earlier domain has; kept 2",
            "nyt: 3 snippets published; dropped 1 with a mean rating of exactly 0 (no sign), 1 that repeat a text, 0 \
             whose text an earlier domain has; kept 1",
            "tweets: the published mean of 1 snippets is not the mean of their published ratings (0 with another sign); \
             the label follows the published mean",
            "tweets: 1 snippets published; dropped 0 with a mean rating of exactly 0 (no sign), 0 that repeat a text, 0 \
             whose text an earlier domain has; kept 1",
        ]
    );
}

#[test]
fn the_order_of_the_files_does_not_matter() {
    let (plain, turned) = (corpus(), corpus());
    for name in ["movieReviewSnippets_GroundTruth.txt", "movieReviewSnippets_anonDataRatings.txt"] {
        let path = turned.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.lines().rev().collect::<Vec<_>>().join("\n")).unwrap();
    }
    assert_eq!(loaded(&plain, "").unwrap(), loaded(&turned, "").unwrap());
    assert_ne!(loaded(&plain, "").unwrap().digest, loaded(&plain, "split-seed = 5").unwrap().digest);
}

#[test]
fn a_larger_cap_extends_a_smaller_one() {
    let folder = corpus();
    let all = loaded(&folder, "").unwrap();
    let capped = |cap: usize| {
        let names = ["max-train", "max-validation", "max-test", "max-examples-per-shifted-domain"];
        names.map(|name| format!("{name} = {cap}")).join("\n")
    };
    for cap in 2..8 {
        let task = loaded(&folder, &capped(cap)).unwrap();
        assert_eq!(ids(&task.train), ids(&all.train)[..cap.min(7)]);
        assert_eq!(ids(&task.domains[0].examples), ids(&all.domains[0].examples)[..cap.min(2)]);
        assert_eq!(ids(&task.domains[1].examples), ids(&all.domains[1].examples)[..cap.min(2)]);
        assert_eq!(task.digest == all.digest, cap >= 7);
    }
    let notes = loaded(&folder, &capped(2)).unwrap().notes;
    assert!(notes.contains(&"train: the first 2 of 7 examples in the seeded order are used".to_owned()), "{notes:?}");
}

#[test]
fn a_split_without_examples_is_an_error() {
    assert_eq!(
        loaded(&corpus(), "validation-fraction = 0.01").unwrap_err().to_string(),
        "vader-movies: the validation split is empty: 10 examples are too few for its share"
    );
    let folder = corpus();
    write(folder.path(), "tweets", &[], &[]);
    assert_eq!(
        loaded(&folder, "").unwrap_err().to_string(),
        "vader-movies: the tweets split is empty: 0 examples are too few for its share"
    );
}

/// The message for a corpus whose tweets are these.
fn refusal(texts: impl AsRef<[u8]>, ratings: impl AsRef<[u8]>) -> String {
    let folder = corpus();
    fs::write(folder.path().join("tweets_GroundTruth.txt"), texts).unwrap();
    fs::write(folder.path().join("tweets_anonDataRatings.txt"), ratings).unwrap();
    let message = loaded(&folder, "").unwrap_err().to_string();
    message.replace(&format!("{}/", folder.path().display()), "")
}

const TEXTS: &str = "1\t1\tgood\r\n2\t-1\tbad";
const RATINGS: &str = "1\t1\t0\t[1, 1]\r\n2\t-1\t0\t[-1]";

#[test]
fn a_malformed_line_names_file_line_expected_and_found() {
    let texts = |text| refusal(text, RATINGS);
    let ratings = |text| refusal(TEXTS, text);
    assert_eq!(
        texts("1\t1\tgood\r\n2\t-1 bad"),
        "tweets_GroundTruth.txt, line 2: expected 3 fields separated by tabs (id, mean rating, text), found 2 in \
         \"2\\t-1 bad\""
    );
    assert_eq!(
        texts("1\tone\tgood\r\n2\t-1\tbad"),
        "tweets_GroundTruth.txt, line 1: expected a mean rating, a number from -4 to 4, found \"one\""
    );
    assert_eq!(
        texts("1\t1\tgood\r\n2\tNaN\tbad"),
        "tweets_GroundTruth.txt, line 2: expected a mean rating, a number from -4 to 4, found \"NaN\""
    );
    assert_eq!(texts("1\t1\tgood\r\n2\t-1\t "), "tweets_GroundTruth.txt, line 2: expected a text, found \" \"");
    assert_eq!(
        texts("1\t1\tgood\r\n1\t-1\tbad"),
        "tweets_GroundTruth.txt, line 2: expected an identifier that was not used before, found \"1\""
    );
    assert_eq!(
        ratings("1\t1\t0\t[1, x]\r\n2\t-1\t0\t[-1]"),
        "tweets_anonDataRatings.txt, line 1: expected a rating, a whole number from -4 to 4, found \"x\""
    );
    assert_eq!(
        ratings("1\t1\t0\t[1, 1]\r\n2\t-1\t0\t[-5]"),
        "tweets_anonDataRatings.txt, line 2: expected a rating, a whole number from -4 to 4, found \"-5\""
    );
    assert_eq!(
        ratings("1\t1\t0\t[1]\r\n2\t-1\t0\t[]"),
        "tweets_anonDataRatings.txt, line 2: expected a rating, a whole number from -4 to 4, found \"\""
    );
    let long = format!("1\t1\t0\t[{}", "1, ".repeat(40));
    assert_eq!(
        ratings(&long),
        format!(
            "tweets_anonDataRatings.txt, line 1: expected ratings in brackets, such as [1, -2], found \"[{}1,\"...",
            "1, ".repeat(19)
        )
    );
}

#[test]
fn identifiers_that_do_not_match_are_found_from_either_side() {
    assert_eq!(
        refusal("1\t1\tgood\r\n3\t-1\tbad", RATINGS),
        "tweets_GroundTruth.txt, line 2: expected an identifier that tweets_anonDataRatings.txt has, found \"3\""
    );
    assert_eq!(
        refusal("1\t1\tgood", RATINGS),
        "tweets_anonDataRatings.txt, line 2: expected an identifier that tweets_GroundTruth.txt has, found \"2\""
    );
}

#[test]
fn bytes_that_are_not_utf_8_and_files_that_stop_are_found() {
    assert_eq!(
        refusal(b"1\t1\tgood\r\n2\t-1\tcaf\xe9", RATINGS),
        "tweets_GroundTruth.txt, line 2: expected UTF-8, found the byte 0xe9"
    );
    // A file cut in the middle of a line.
    assert_eq!(
        refusal(TEXTS, &RATINGS[..RATINGS.len() - 2]),
        "tweets_anonDataRatings.txt, line 2: expected ratings in brackets, such as [1, -2], found \"[-\""
    );
    let folder = corpus();
    fs::remove_file(folder.path().join("tweets_GroundTruth.txt")).unwrap();
    let message = loaded(&folder, "").unwrap_err().to_string();
    assert!(message.contains("tweets_GroundTruth.txt: cannot read: "), "{message}");
}
