//! `bayeslora predict`: texts on standard input, one JSON line out for each.

mod input;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bayeslora_adapters::{Coupling, DropoutSite, MaskScope};
use bayeslora_inference::{Classifier, InferenceOptions, SAMPLES, Text};

use self::input::{Format, Parser};

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
    /// Cut texts to this many tokens [default: the tokenizer's own length, at most the model's positions].
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Input: one text a line, or JSON lines with a `text` field and, for pairs, `text_pair`; `auto` decides by the first line that is not
    /// blank. Blank lines are skipped.
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
    let mut parser = Parser::new(arguments.format);
    let lines = input::lines(std::io::stdin());
    let mut texts = Vec::new();
    // What has arrived is answered together; nobody waits for lines that are still to come.
    while let Ok(first) = lines.recv() {
        let waiting = std::iter::once(first).chain(lines.try_iter());
        for line in waiting {
            match parser.parse(&line.context("standard input cannot be read")?) {
                Ok(text) => texts.extend(text),
                Err(problem) => {
                    answer(&classifier, &mut texts)?;
                    return Err(problem);
                }
            }
            if texts.len() == TEXTS_PER_PASS {
                answer(&classifier, &mut texts)?;
            }
        }
        answer(&classifier, &mut texts)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Predicts and prints the texts gathered so far. A reader that has gone away (`head`) ends the output quietly.
fn answer(classifier: &Classifier, texts: &mut Vec<Text>) -> anyhow::Result<()> {
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
