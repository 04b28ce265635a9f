//! `bayeslora predict` with decoders, on the real binary: classes, answers to choose from, and one sentence for what cannot be read.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden")
}

/// A copy of a tiny decoder with its tokenizer and adapters, to be damaged.
fn copy_of(family: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = golden().join("decoders/tiny").join(family);
    for adapter in ["", "adapter", "adapter_seqcls"] {
        fs::create_dir_all(folder.path().join(adapter)).unwrap();
        for entry in fs::read_dir(model.join(adapter)).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
            fs::copy(entry.path(), folder.path().join(adapter).join(entry.file_name())).unwrap();
        }
    }
    fs::copy(golden().join("decoders/tokenizer_bos.json"), folder.path().join("tokenizer.json")).unwrap();
    folder
}

fn predict(model: &Path, adapter: &Path, arguments: &[&str], input: &str) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
    command.arg("predict").arg("--model").arg(model).arg("--adapter").arg(adapter).args(arguments);
    command.write_stdin(input).output().unwrap()
}

fn answers(folder: &TempDir, adapter: &str, arguments: &[&str], input: &str) -> Vec<Value> {
    let output = predict(folder.path(), &folder.path().join(adapter), arguments, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a run says that is refused, without panicking and without an answer.
fn refusal_of(model: &Path, adapter: &Path, arguments: &[&str], input: &str) -> String {
    let output = predict(model, adapter, arguments, input);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(output.stdout.is_empty() && !message.contains("panicked"), "{message}");
    message
}

fn refusal(folder: &TempDir, adapter: &str, arguments: &[&str]) -> String {
    refusal_of(folder.path(), &folder.path().join(adapter), arguments, "the cat\n")
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

const CHOICES: [&str; 4] = ["--choice", "a", "--choice", "b"];

#[test]
fn classes_of_texts_are_sampled_and_repeat_themselves() {
    let folder = copy_of("llama3");
    let texts: Value = serde_json::from_slice(&fs::read(golden().join("decoders/texts.json")).unwrap()).unwrap();
    let lines: Vec<String> =
        texts["texts"].as_array().unwrap().iter().map(|text| json!({ "text": text }).to_string()).collect();
    let sampled = ["--samples", "8", "--dropout", "0.3", "--site", "rank", "--format", "jsonl"];
    let found = answers(&folder, "adapter_seqcls", &sampled, &lines.join("\n"));
    for (answer, ids) in found.iter().zip(texts["ids_bos"].as_array().unwrap()) {
        assert_eq!(answer["tokens"], ids.as_array().unwrap().len());
        assert_eq!(answer["probabilities"].as_array().unwrap().len(), 3);
        assert!(answer["mutual_information"].as_f64().unwrap() > 0.0, "{answer}");
    }
    assert_eq!(found, answers(&folder, "adapter_seqcls", &sampled, &lines.join("\n")));
    // One by one as all together.
    let second = format!("\n{}", lines[1]);
    assert_eq!(found[1..2], answers(&folder, "adapter_seqcls", &sampled, &second));
}

#[test]
fn a_language_model_chooses_among_answers() {
    let folder = copy_of("gemma2");
    let arguments = [&CHOICES[..], &["--deterministic"]].concat();
    let found = answers(&folder, "adapter", &arguments, "is 2 an even number\n");
    let (label, logits) = (&found[0]["label"], found[0]["logits"].as_array().unwrap());
    let first = logits[0].as_f64() > logits[1].as_f64();
    assert_eq!((label.as_str(), logits.len()), (Some(if first { "a" } else { "b" }), 2));
    // The other order names the same answer.
    let swapped = ["--choice", "b", "--choice", "a", "--deterministic"];
    assert_eq!(&answers(&folder, "adapter", &swapped, "is 2 an even number\n")[0]["label"], label);
}

#[test]
fn the_beginning_of_a_long_text_is_cut_not_its_end() {
    let folder = copy_of("llama3");
    let shown = |text: &str| {
        let arguments = [&CHOICES[..], &["--deterministic", "--max-tokens", "6"]].concat();
        answers(&folder, "adapter", &arguments, text).remove(0)
    };
    let (long, other) = (shown("no no no the cat\n"), shown("the other the cat\n"));
    assert_eq!((&long["truncated"], &long["tokens"]), (&json!(true), &json!(6)));
    assert_eq!(long["logits"], other["logits"], "the last tokens are the same");
}

#[test]
fn answers_that_cannot_be_chosen_are_refused() {
    let folder = copy_of("llama3");
    assert_says(&refusal(&folder, "adapter", &[]), &["adapter_config.json", "each with --choice"]);
    assert_says(&refusal(&folder, "adapter_seqcls", &CHOICES), &["adapter_config.json", "leave out the answers"]);
    assert_says(&refusal(&folder, "adapter", &["--choice", "a"]), &["1 answer", "two or more"]);
    let several = ["--choice", "a", "--choice", "no that"];
    assert_says(&refusal(&folder, "adapter", &several), &["\"no that\"", "one token"]);
    assert_says(&refusal(&folder, "adapter", &["--choice", "a", "--choice", "a"]), &["the same token"]);
    assert_says(&refusal(&folder, "adapter", &["--choice", "", "--choice", "a"]), &["of 0 tokens"]);
}

#[test]
fn a_pair_of_texts_is_refused() {
    let folder = copy_of("qwen3");
    let pair = "{\"text\": \"the cat\", \"text_pair\": \"sat\"}\n";
    let message = refusal_of(folder.path(), &folder.path().join("adapter_seqcls"), &["--format", "jsonl"], pair);
    assert_says(&message, &["line 1", "a pair of texts for a decoder", "join the two"]);
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let (llama, gemma) = (copy_of("llama3"), copy_of("gemma3"));
    let message = refusal_of(llama.path(), &gemma.path().join("adapter"), &CHOICES, "the cat\n");
    assert_says(&message, &["adapter_model.safetensors", "is this its base model?"]);
    let message = refusal_of(&golden().join("tiny"), &llama.path().join("adapter"), &[], "the cat\n");
    assert_says(&message, &["is this its base model?"]);
}

#[test]
fn a_window_longer_than_the_context_is_refused() {
    let folder = copy_of("llama3");
    let message = refusal(&folder, "adapter_seqcls", &["--max-tokens", "100000"]);
    assert_says(&message, &["window of 100000 tokens", "choose --max-tokens"]);
}

#[test]
fn a_tokenizer_of_another_vocabulary_is_refused() {
    let folder = copy_of("llama3");
    fs::copy(golden().join("tiny/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    assert_says(
        &refusal(&folder, "adapter_seqcls", &[]),
        &["tokenizer.json", "the model embeds 48", "saved with the model"],
    );
}

/// `config.json` with one value changed.
fn edit(folder: &TempDir, change: impl FnOnce(&mut Value)) {
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
}

#[test]
fn a_configuration_that_would_be_computed_wrongly_is_refused() {
    let folder = copy_of("llama3");
    edit(&folder, |config| config["rope_parameters"]["rope_type"] = json!("spiral"));
    assert_says(&refusal(&folder, "adapter_seqcls", &[]), &["config.json", "spiral", "expected"]);
    let folder = copy_of("llama3");
    edit(&folder, |config| config["model_type"] = json!("mixtral"));
    assert_says(&refusal(&folder, "adapter_seqcls", &[]), &["config.json", "mixtral", "\"llama\""]);
}

#[test]
fn damaged_weights_are_refused_by_file() {
    let folder = copy_of("qwen2");
    let shard = folder.path().join("model-00002-of-00002.safetensors");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() - 9]).unwrap();
    assert_says(&refusal(&folder, "adapter_seqcls", &[]), &["model-00002-of-00002.safetensors", "download it again"]);
    fs::remove_file(&shard).unwrap();
    assert_says(&refusal(&folder, "adapter_seqcls", &[]), &["index.json", "model-00002-of-00002.safetensors"]);
    // The last value of a file of bf16: not a number.
    let mut bytes = bytes;
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&[0xc0, 0x7f]);
    fs::write(&shard, bytes).unwrap();
    assert_says(&refusal(&folder, "adapter_seqcls", &[]), &["model-00002-of-00002.safetensors", "finite"]);
}

#[test]
fn a_gguf_file_that_is_none_is_refused() {
    let folder = copy_of("llama3");
    let file = folder.path().join("model.gguf");
    let whole = fs::read(golden().join("decoders/types.gguf")).unwrap();
    for (bytes, says) in [(&b"GGUF"[..], "model.gguf"), (&whole[..200], "model.gguf"), (&b"nothing"[..], "model.gguf")]
    {
        fs::write(&file, bytes).unwrap();
        let message = refusal_of(&file, &folder.path().join("adapter"), &CHOICES, "the cat\n");
        assert_says(&message, &[says, "again"]);
    }
    let missing = folder.path().join("other.gguf");
    let message = refusal_of(&missing, &folder.path().join("adapter"), &CHOICES, "the cat\n");
    assert_says(&message, &["other.gguf", "no such"]);
}
