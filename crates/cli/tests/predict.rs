//! `bayeslora predict` on the real binary: forms of input, streams, and limits.
#![cfg(test)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Map, Value, json};

fn golden(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden").join(model)
}

/// The command on the tiny model with its adapter.
fn command(arguments: &[&str]) -> Command {
    command_on("tiny", arguments)
}

fn command_on(model: &str, arguments: &[&str]) -> Command {
    let model = golden(model);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
    command.arg("predict").arg("--model").arg(&model).arg("--adapter").arg(model.join("query-value")).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(arguments: &[&str], input: &[u8]) -> Output {
    output_of(command(arguments), input)
}

fn output_of(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that refuses its arguments reads nothing.
    let _unread = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// The answers of a run that succeeds.
fn answers(arguments: &[&str], input: &[u8]) -> Vec<Value> {
    let output = output(arguments, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lines(&output)
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The number of answers and the message of a run that fails.
fn refused(arguments: &[&str], input: &[u8], code: i32) -> (usize, String) {
    let output = output(arguments, input);
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{message}");
    (lines(&output).len(), message)
}

/// Line number and tokens of each answer.
fn shape(answers: &[Value]) -> Vec<(u64, u64)> {
    let number = |answer: &Value, key: &str| answer[key].as_u64().unwrap();
    answers.iter().map(|answer| (number(answer, "line"), number(answer, "tokens"))).collect()
}

const TWO: &str = "{\"text\": \"a movie\", \"id\": 7}\n{\"text\": \"no journey\", \"id\": 8}\n";

#[test]
fn json_lines_are_known_after_a_byte_order_mark() {
    assert_eq!(shape(&answers(&[], format!("\u{feff}{TWO}").as_bytes())), [(1, 4), (2, 4)]);
}

#[test]
fn json_lines_are_known_after_blank_lines() {
    assert_eq!(shape(&answers(&[], format!("\n{TWO}").as_bytes())), [(2, 4), (3, 4)]);
}

#[test]
fn blank_lines_between_and_after_json_lines_are_skipped() {
    assert_eq!(shape(&answers(&[], format!("{TWO}\n{TWO}\n").as_bytes())), [(1, 4), (2, 4), (4, 4), (5, 4)]);
}

#[test]
fn lines_before_a_bad_one_are_answered() {
    let input = format!("{}oops\n", "{\"text\": \"a movie\"}\n".repeat(19));
    let (answered, message) = refused(&[], input.as_bytes(), 1);
    assert_eq!(answered, 19);
    assert!(message.contains("standard input, line 20: not JSON at column 1"), "{message}");
}

#[test]
fn a_json_array_is_refused() {
    let (answered, message) = refused(&[], b"[{\"text\": \"a movie\"}]\n", 1);
    assert!(answered == 0 && message.contains("line 1: begins with [, as a JSON array does"), "{message}");
    assert_eq!(answers(&["--format", "text"], b"[1] a movie\n").len(), 1);
}

#[test]
fn an_object_without_text_is_refused_with_its_fields() {
    let (_, message) = refused(&[], b"{\"sentence\": \"a movie\", \"label\": 1}\n", 1);
    assert!(message.contains("no `text` field among `label`, `sentence`"), "{message}");
    assert!(message.contains("--format text"), "{message}");
}

#[test]
fn a_text_that_begins_with_a_brace_is_taken_where_asked() {
    let (_, message) = refused(&[], b"{spoiler} a movie\n", 1);
    assert!(message.contains("--format text"), "{message}");
    assert_eq!(answers(&["--format", "text"], b"{spoiler} a movie\n\n").len(), 1);
}

#[test]
fn the_second_text_of_a_pair_counts() {
    let pairs = answers(
        &["--deterministic"],
        b"{\"text\": \"a movie\", \"text_pair\": \"no journey\"}\n{\"text\": \"a movie\", \"text_pair\": \"a charming idea\"}\n",
    );
    // The file's own template sets two texts side by side; BERT's class puts [CLS] a [SEP] b [SEP], whatever the file says: two tokens of
    // the first, two or three of the second.
    assert_eq!(pairs.iter().map(|pair| pair["tokens"].as_u64().unwrap()).collect::<Vec<_>>(), [7, 8]);
    assert_ne!(pairs[0]["logits"], pairs[1]["logits"]);
}

/// As `tokenizer([text], [""])` of transformers, not as its `tokenizer(text, "")`, which drops what is empty. RoBERTa's golden pairs have
/// one such as well.
#[test]
fn an_empty_second_text_makes_a_pair() {
    let input =
        b"{\"text\": \"a movie\"}\n{\"text\": \"a movie\", \"text_pair\": null}\n{\"text\": \"a movie\", \"text_pair\": \"\"}\n";
    let found = answers(&["--deterministic"], input);
    assert_eq!(shape(&found), [(1, 4), (2, 4), (3, 5)]);
    assert_eq!(found[0]["logits"], found[1]["logits"]);
    assert_ne!(found[0]["logits"], found[2]["logits"]);
}

#[test]
fn a_text_that_was_cut_says_so() {
    let found = answers(&[], format!("a movie\n{}\n", "a movie ".repeat(1 << 19)).as_bytes());
    assert_eq!(shape(&found), [(1, 4), (2, 160)]);
    assert_eq!((&found[0]["truncated"], &found[1]["truncated"]), (&Value::Null, &Value::Bool(true)));
}

/// Pairs, padding tokens within a text and a text that is cut, against transformers and PEFT.
#[test]
fn robertas_are_answered_as_pytorch_answers_them() {
    for model in ["roberta", "xlm-roberta"] {
        let items: Vec<Value> =
            serde_json::from_slice(&std::fs::read(golden(model).join("more.json")).unwrap()).unwrap();
        let line =
            |item: &Value| serde_json::json!({"text": item["text"], "text_pair": item["second"]}).to_string() + "\n";
        let input: String = items.iter().map(line).collect();
        let output = output_of(command_on(model, &["--deterministic"]), input.as_bytes());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answers = lines(&output);
        assert_eq!(answers.len(), items.len());
        for (answer, item) in answers.iter().zip(&items) {
            assert_eq!(answer["tokens"], item["ids"].as_array().unwrap().len(), "{model}: {answer}");
            assert_eq!(answer["truncated"].as_bool().unwrap_or(false), item["truncated"], "{model}: {answer}");
            for (got, expected) in answer["logits"].as_array().unwrap().iter().zip(item["logits"].as_array().unwrap()) {
                assert!((got.as_f64().unwrap() - expected.as_f64().unwrap()).abs() < 1e-4, "{model}: {answer}");
            }
        }
        // 26 rows of positions, of which the padding token's and those before it are no text's.
        let refused = output_of(command_on(model, &["--max-tokens", "25"]), b"a\n");
        let message = String::from_utf8(refused.stderr).unwrap();
        assert!(message.contains("window of 25 tokens") && message.contains("2 to 24 tokens long"), "{message}");
    }
}

#[test]
fn a_line_is_answered_while_the_next_is_awaited() {
    let mut child = command(&[]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, answered) = channel();
    std::thread::spawn(move || stdout.lines().for_each(|line| sender.send(line.unwrap()).unwrap_or_default()));
    for _ in 0..2 {
        writeln!(stdin, "a movie").unwrap();
        // Far more than it takes, far less than for ever.
        answered.recv_timeout(Duration::from_mins(1)).expect("an answer before the end of input");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn numbers_that_no_machine_has_use_for_are_refused_as_usage() {
    for (arguments, says) in [
        (["--threads", "100000"], "expected 1 to 1024"),
        (["--threads", "0"], "expected 1 to 1024"),
        (["--samples", "4294967295"], "expected 1 to 1000000"),
        (["--samples", "0"], "--deterministic"),
    ] {
        let (_, message) = refused(&arguments, b"a movie\n", 2);
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn adaptive_sampling_keeps_its_samples_and_takes_fewer() {
    let (_, message) = refused(&["--adaptive", "0.05", "--samples", "200000"], b"a movie\n", 1);
    assert!(message.contains("200000 samples") && message.contains("at most 100000"), "{message}");
}

#[test]
fn draws_in_many_pieces_say_what_fewer_say() {
    let probability = |samples: &str| {
        let answer = answers(&["--linearised", "--samples", samples], b"a movie\n").remove(0);
        assert_eq!(answer["samples"].to_string(), samples);
        answer["probabilities"][0].as_f64().unwrap()
    };
    // Five standard errors of a mean of 4,000 numbers whose deviation is at most 1/2.
    assert!((probability("4000") - probability("100000")).abs() < 5.0 * 0.5 / 4000_f64.sqrt());
}

#[test]
fn a_name_for_a_folder_is_refused_with_what_to_do() {
    let refused = |model: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
        let output = command.args(["predict", "--model", model, "--adapter", "."]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let message = refused("all-minilm-l6-v2");
    assert!(message.contains("no such folder; `bayeslora fetch all-minilm-l6-v2` prints the folder"), "{message}");
    assert!(
        refused("bert-base-uncased")
            .contains("--model bert-base-uncased: no such folder; expected one with config.json")
    );
    assert!(refused(env!("CARGO_BIN_EXE_bayeslora")).contains("a file; expected the folder"));
}

/// The tiny model with one segment: the second row of its table is another tensor, that nobody asks for.
fn with_one_segment(folder: &Path) {
    let tiny = golden("tiny");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(tiny.join(file), folder.join(file)).unwrap();
    }
    let mut config: Value = serde_json::from_slice(&std::fs::read(tiny.join("config.json")).unwrap()).unwrap();
    config["type_vocab_size"] = json!(1);
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let bytes = std::fs::read(tiny.join("model.safetensors")).unwrap();
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, tensors) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
    let mut header: Map<String, Value> = serde_json::from_slice(header).unwrap();
    let name = header.keys().find(|name| name.ends_with("token_type_embeddings.weight")).unwrap().clone();
    let (mut first, mut second) = (header[&name].clone(), header[&name].clone());
    let [from, to] = [0, 1].map(|end| first["data_offsets"][end].as_u64().unwrap());
    (first["data_offsets"][1], second["data_offsets"][0]) = (json!(from.midpoint(to)), json!(from.midpoint(to)));
    (first["shape"][0], second["shape"][0]) = (json!(1), json!(1));
    header.insert(name, first);
    header.insert("unused".to_owned(), second);
    let header = Value::from(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), tensors].concat();
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
}

#[test]
fn texts_before_a_pair_that_the_model_has_no_segment_for_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    with_one_segment(folder.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
    command.arg("predict").arg("--model").arg(folder.path()).arg("--adapter").arg(golden("tiny/query-value"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = output_of(command, b"{\"text\": \"a\"}\n{\"text\": \"a\", \"text_pair\": \"b\"}\n{\"text\": \"a\"}\n");
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("standard input, line 2: the model has no segment 1; type_vocab_size"), "{message}");
    assert_eq!(lines(&output).len(), 1);
}
