//! `bayeslora predict`: texts on standard input, one JSON line out for each.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bayeslora_adapters::{Coupling, DropoutSite, MaskScope};
use bayeslora_inference::{Classifier, InferenceOptions, SAMPLES};

/// Texts predicted at a time: enough to fill the matrix products, few enough to answer soon.
const TEXTS_PER_PASS: usize = 16;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Model folder: config.json, model.safetensors, tokenizer.json.
    #[arg(long)]
    model: PathBuf,
    /// Adapter folder as saved by PEFT (or by `bayeslora run`): `adapter_config.json`, `adapter_model.safetensors`.
    #[arg(long)]
    adapter: PathBuf,
    /// Monte-Carlo samples per text; with --adaptive, at most [default: 20; Gaussian logits: 1000, or what a Laplace posterior says].
    #[arg(long, conflicts_with = "deterministic")]
    samples: Option<u32>,
    /// Stop sampling a text once its class is known at this error level, such as 0.05 (6 samples at least).
    #[arg(long, value_name = "ALPHA", conflicts_with = "deterministic")]
    adaptive: Option<f64>,
    /// How samples share out the dropout masks: independent, antithetic, or balanced-G in groups of G.
    #[arg(long, default_value_t = Coupling::Independent, conflicts_with = "deterministic")]
    coupling: Coupling,
    /// One pass at the mean of the posterior, without sampling.
    #[arg(long)]
    deterministic: bool,
    /// No sampling of the network: logits are Gaussian to first order in the noise, at the price of one pass forward and one
    /// back for each class; --samples are then drawn from that Gaussian (1000 unless given).
    #[arg(long, conflicts_with_all = ["deterministic", "adaptive", "coupling"])]
    linearised: bool,
    /// Seed of the samples; a text's samples depend on it and the line's number only.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Cut texts to this many tokens [default: the model's positions].
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Input: one text a line, or JSON lines with a `text` field; `auto` decides by the first line.
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    /// Dropout site, instead of the adapter's: input, rank or weight.
    #[arg(long)]
    site: Option<DropoutSite>,
    /// Mask scope, instead of the adapter's: token, sequence or sample.
    #[arg(long)]
    scope: Option<MaskScope>,
    /// Dropout probability, instead of the adapter's.
    #[arg(long)]
    dropout: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Auto,
    Text,
    Json,
}

/// A line of JSON input; other fields are the user's own.
#[derive(serde::Deserialize)]
struct Input {
    text: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.samples == Some(0) {
        bail!("--samples is 0; expected at least 1, or --deterministic");
    }
    if let Some(alpha) = arguments.adaptive {
        let group = arguments.coupling.group();
        if !(alpha > 0.0 && alpha < 1.0) {
            bail!("--adaptive is {alpha}; expected an error level in (0, 1), such as 0.05");
        }
        let samples = arguments.samples.unwrap_or(SAMPLES);
        if !samples.is_multiple_of(group) {
            bail!(
                "--samples is {samples}; expected a multiple of {group}: --adaptive decides after whole coupled groups"
            );
        }
    }
    let options = InferenceOptions {
        samples: if arguments.deterministic { Some(0) } else { arguments.samples },
        coupling: arguments.coupling,
        adaptive: arguments.adaptive,
        linearised: arguments.linearised,
        seed: arguments.seed,
        max_tokens: arguments.max_tokens,
        site: arguments.site,
        scope: arguments.scope,
        dropout: arguments.dropout,
    };
    let classifier = Classifier::load(&arguments.model, &arguments.adapter, options)?;
    if !arguments.deterministic && !classifier.is_stochastic() {
        eprintln!(
            "note: the adapter has no dropout, so all samples agree and its epistemic uncertainty is 0; \
             --dropout 0.1 would sample with dropout it was not trained with"
        );
    }
    let mut format = arguments.format;
    let mut texts = Vec::new();
    let mut lines = std::io::stdin().lock();
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).context("standard input cannot be read")? == 0 {
            break;
        }
        number += 1;
        let text = parse(&line, number, &mut format)?;
        texts.push((number, text));
        if texts.len() == TEXTS_PER_PASS {
            answer(&classifier, &mut texts)?;
        }
    }
    answer(&classifier, &mut texts)?;
    Ok(ExitCode::SUCCESS)
}

fn parse(line: &[u8], number: u64, format: &mut Format) -> anyhow::Result<String> {
    let line = std::str::from_utf8(line)
        .with_context(|| format!("standard input, line {number}: not UTF-8"))?
        .trim_end_matches(['\n', '\r']);
    if *format == Format::Auto {
        *format = if line.trim_start().starts_with('{') { Format::Json } else { Format::Text };
    }
    if *format == Format::Text {
        return Ok(line.to_owned());
    }
    let input: Input = serde_json::from_str(line)
        .with_context(|| format!("standard input, line {number}: expected a JSON object with a `text` field"))?;
    Ok(input.text)
}

/// Predicts and prints the texts gathered so far. A reader that has gone away (`head`) ends the output quietly.
fn answer(classifier: &Classifier, texts: &mut Vec<(u64, String)>) -> anyhow::Result<()> {
    if texts.is_empty() {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    for prediction in classifier.predict(texts)? {
        let line = serde_json::to_string(&prediction).context("prediction cannot be encoded")?;
        if let Err(error) = writeln!(out, "{line}") {
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                std::process::exit(0);
            }
            return Err(error).context("standard output cannot be written");
        }
    }
    out.flush().context("standard output cannot be written")?;
    texts.clear();
    Ok(())
}
