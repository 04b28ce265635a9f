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
    let several = ["--choice", "a", "--choice", "no that", "--readout", "tokens"];
    assert_says(&refusal(&folder, "adapter", &several), &["\"no that\"", "one token"]);
    assert_says(&refusal(&folder, "adapter", &["--choice", "a", "--choice", "a"]), &["the same token"]);
    assert_says(&refusal(&folder, "adapter", &["--choice", "", "--choice", "a"]), &["of 0 tokens"]);
}

/// Texts with answers, and the log-likelihoods of their tokens that transformers and PEFT give.
fn texts_with_answers() -> Vec<Value> {
    let found: Value = serde_json::from_slice(&fs::read(golden().join("decoders/answers.json")).unwrap()).unwrap();
    found["texts"].as_array().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4, "{found} against {expected}");
    }
}

#[test]
fn answers_that_are_texts_have_the_log_likelihoods_of_transformers() {
    for item in texts_with_answers() {
        let folder = copy_of(item["family"].as_str().unwrap());
        let line = json!({"text": item["text"], "choices": item["choices"]}).to_string();
        let own: Vec<Vec<f64>> = item["log_likelihoods"].as_array().unwrap().iter().map(numbers).collect();
        let choices: Vec<&str> = item["choices"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
        for normalise in ["sum", "mean", "characters"] {
            let expected: Vec<f64> = own
                .iter()
                .zip(&choices)
                .map(|(logs, text)| {
                    let count = match normalise {
                        "sum" => 1,
                        "mean" => logs.len(),
                        _ => text.trim().len(),
                    };
                    logs.iter().sum::<f64>() / count as f64
                })
                .collect();
            let found = answers(&folder, "adapter", &["--deterministic", "--normalise", normalise], &line).remove(0);
            assert_close(&numbers(&found["logits"]), &expected);
            let best = (0..choices.len()).max_by(|&a, &b| expected[a].total_cmp(&expected[b])).unwrap();
            assert_eq!(found["label"], choices[best]);
            // The mean is the default; answers on the command line are those of the line.
            let text = json!({"text": item["text"]}).to_string();
            let mut arguments = vec!["--deterministic", "--format", "jsonl"];
            arguments.extend(choices.iter().flat_map(|choice| ["--choice", choice]));
            if normalise != "mean" {
                arguments.extend(["--normalise", normalise]);
            }
            assert_eq!(answers(&folder, "adapter", &arguments, &text)[0], found);
        }
    }
}

#[test]
fn choices_may_differ_from_line_to_line() {
    let folder = copy_of("gemma3");
    let lines = [
        json!({"text": "the cat", "choices": [" sat on it", " is"]}),
        json!({"text": "is 2 an even number", "choices": ["a", "b"]}),
        json!({"text": "ok", "choices": [" no", " that is", " the other one"]}),
    ];
    let sampled = ["--samples", "6", "--dropout", "0.3", "--site", "rank"];
    let input = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let found = answers(&folder, "adapter", &sampled, &input);
    for (number, (answer, line)) in found.iter().zip(&lines).enumerate() {
        let choices = line["choices"].as_array().unwrap();
        assert_eq!(answer["line"], number + 1);
        assert_eq!(answer["probabilities"].as_array().unwrap().len(), choices.len());
        assert!(choices.contains(&answer["label"]) && answer["mutual_information"].as_f64().unwrap() > 0.0, "{answer}");
        // One by one as all together.
        let alone = format!("{}{line}", "\n".repeat(number));
        assert_eq!(answer, &answers(&folder, "adapter", &sampled, &alone)[0]);
    }
    // Letters in a line are read as letters on the command line are.
    let letters = ["--choice", "a", "--choice", "b", "--samples", "6", "--dropout", "0.3", "--site", "rank"];
    assert_eq!(found[1], answers(&folder, "adapter", &letters, "\nis 2 an even number\n")[0]);
    // As texts they have other logits and the same probabilities.
    let as_texts = [&letters[..], &["--readout", "texts"]].concat();
    let texts = &answers(&folder, "adapter", &as_texts, "\nis 2 an even number\n")[0];
    assert_close(&numbers(&texts["probabilities"]), &numbers(&found[1]["probabilities"]));
    assert!((texts["logits"][0].as_f64().unwrap() - found[1]["logits"][0].as_f64().unwrap()).abs() > 1e-3);
}

#[test]
fn adaptive_sampling_stops_for_answers_that_are_texts() {
    let folder = copy_of("llama3");
    let arguments =
        ["--adaptive", "0.05", "--samples", "40", "--dropout", "0.1", "--choice", " no", "--choice", " yes it is"];
    let found = answers(&folder, "adapter", &arguments, "the cat\nok\n");
    assert!(found.iter().all(|answer| answer["samples"].as_u64().unwrap() <= 40 && answer["decided"].is_boolean()));
}

#[test]
fn the_beginning_of_a_prompt_is_cut_and_no_answer_is() {
    let folder = copy_of("llama3");
    let shown = |text: &str, length: &str| {
        let choices = ["--choice", " sat on", "--choice", " is it", "--deterministic", "--max-tokens", length];
        answers(&folder, "adapter", &choices, text).remove(0)
    };
    // " sat on" is of six tokens: the mark and the last five of the text are left.
    let long = shown("no no no the cat\n", "12");
    assert_eq!(long["truncated"], json!(true));
    assert_eq!(long["logits"], shown("the other the cat\n", "12")["logits"]);
    assert_ne!(long["logits"], shown("no no no the cat\n", "13")["logits"]);
}

#[test]
fn answers_in_lines_that_cannot_be_read_are_refused() {
    let folder = copy_of("llama3");
    let refusal = |adapter: &str, arguments: &[&str], input: &Value| {
        refusal_of(folder.path(), &folder.path().join(adapter), arguments, &format!("{input}\n"))
    };
    let line = json!({"text": "the cat", "choices": [" sat", " is it"]});
    assert_says(&refusal("adapter", &CHOICES, &line), &["line 1", "`choices` beside --choice", "not both"]);
    assert_says(&refusal("adapter_seqcls", &[], &line), &["line 1", "classes of its own", "leave `choices` out"]);
    let one = json!({"text": "the cat", "choices": [" sat"]});
    assert_says(&refusal("adapter", &[], &one), &["line 1", "`choices` has 1 of the answers", "two or more"]);
    let nothing = json!({"text": "the cat", "choices": [" sat", ""]});
    assert_says(&refusal("adapter", &[], &nothing), &["line 1", "answer \"\" of 0 tokens"]);
    let same = json!({"text": "the cat", "choices": [" sat", " is", " sat"]});
    assert_says(&refusal("adapter", &[], &same), &["line 1", "the same tokens", "give different ones"]);
    let tokens = ["--readout", "tokens"];
    assert_says(&refusal("adapter", &tokens, &line), &["line 1", "answer \" sat\" of 4 tokens", "--readout texts"]);
    assert_says(&refusal("adapter", &[], &json!({"text": "the cat"})), &["line 1", "adapter_config.json", "`choices`"]);
    let short = ["--max-tokens", "5"];
    let room = json!({"text": "the cat", "choices": [" sat", " no"]});
    assert_says(&refusal("adapter", &short, &room), &["line 1", "of 4 tokens", "leaves nothing of the text"]);
    let long = json!({"text": "the cat", "choices": [" sat", " no that is the other one"]});
    assert_says(
        &refusal("adapter", &short, &long),
        &["line 1", "\" no that is the other one\"", "in a window of 5", "never cut"],
    );
    assert_says(&refusal("adapter", &["--linearised"], &line), &["line 1", "linearised", "one token"]);
    let both = ["--readout", "tokens", "--normalise", "sum"];
    assert_says(&refusal("adapter", &both, &line), &["leave out --normalise"]);
    let normalise = ["--normalise", "sum"];
    assert_says(
        &refusal("adapter_seqcls", &normalise, &json!({"text": "ok"})),
        &["leave out --readout and --normalise"],
    );
}

#[test]
fn completions_have_the_scores_of_transformers() {
    for item in texts_with_answers() {
        let folder = copy_of(item["family"].as_str().unwrap());
        let completions = item["choices"].as_array().unwrap();
        let line = |completion: &Value| json!({"prompt": item["text"], "completion": completion}).to_string();
        let input: Vec<String> = completions.iter().map(line).collect();
        let mean = answers(&folder, "adapter", &["--completions", "--deterministic"], &input.join("\n"));
        let sampled = ["--completions", "--samples", "7", "--dropout", "0.3", "--site", "rank"];
        let drawn = answers(&folder, "adapter", &sampled, &input.join("\n"));
        for (place, completion) in completions.iter().enumerate() {
            let tokens = mean[place]["tokens"].as_array().unwrap();
            let scores = |name: &str| tokens.iter().map(|token| token[name].as_f64().unwrap()).collect::<Vec<_>>();
            assert_close(&scores("log_probability"), &numbers(&item["log_likelihoods"][place]));
            assert_close(&scores("predictive_entropy"), &numbers(&item["entropies"][place]));
            assert!(scores("mutual_information").iter().all(|information| information.abs() < 1e-12));
            let text: String = tokens.iter().map(|token| token["text"].as_str().unwrap()).collect();
            assert_eq!(&json!(text), completion);
            let total: f64 = numbers(&item["log_likelihoods"][place]).iter().sum();
            assert_close(&[mean[place]["log_probability"].as_f64().unwrap()], &[total]);
            let average = mean[place]["mean"]["log_probability"].as_f64().unwrap();
            assert_close(&[average], &[total / tokens.len() as f64]);
            let [total, expected, information] = ["predictive_entropy", "expected_entropy", "mutual_information"]
                .map(|name| drawn[place][name].as_f64().unwrap());
            assert_close(&[total - expected], &[information]);
            assert!(information > 0.0 && drawn[place]["samples"] == 7);
            let alone = format!("{}{}", "\n".repeat(place), input[place]);
            assert_eq!(answers(&folder, "adapter", &sampled, &alone)[0], drawn[place]);
        }
    }
}

#[test]
fn completions_that_cannot_be_scored_are_refused() {
    let folder = copy_of("llama3");
    let line = |completion: &str| json!({"prompt": "the cat", "completion": completion}).to_string();
    let refusal = |adapter: &str, more: &[&str], input: &str| {
        refusal_of(folder.path(), &folder.path().join(adapter), &[&["--completions"], more].concat(), input)
    };
    assert_says(&refusal("adapter", &[], &line("")), &["line 1", "of 0 tokens"]);
    let short = ["--max-tokens", "5"];
    assert_says(&refusal("adapter", &short, &line(" no that is the other one")), &["line 1", "in a window of 5"]);
    assert_says(&refusal("adapter", &[], "{\"text\": \"a\"}"), &["line 1", "no `prompt` field", "--completions"]);
    assert_says(&refusal("adapter_seqcls", &[], &line(" no")), &["adapter_config.json", "classes of its own"]);
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
