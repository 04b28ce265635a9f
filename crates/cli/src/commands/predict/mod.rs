//! `bayeslora predict`: texts on standard input, one JSON line out for each.

mod input;
mod line;

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bayeslora_adapters::{Coupling, DropoutSite, MaskScope};
use bayeslora_data::assets::AssetId;
use bayeslora_inference::{Classifier, InferenceOptions, MOST_SAMPLES, Normalisation, Readout, SAMPLES, Text};
use bayeslora_terminal::say;

use self::input::Input;
use self::line::Format;
use crate::resources::ResourceArguments;

/// Shown below the options.
pub(crate) const EXAMPLES: &str = "\
Examples:
  echo 'a gorgeous, witty film' | bayeslora predict --model DIR --adapter DIR
  bayeslora predict --model DIR --adapter DIR --samples 32 < texts.txt > answers.jsonl
  echo 'Q: is water wet? A, yes. B, no. Answer:' | bayeslora predict --model m.gguf --adapter DIR --choice ' A' --choice ' B'
  echo 'Is water wet?' | bayeslora predict --model DIR --adapter DIR --choice ' Yes, it is.' --choice ' No.' --normalise mean
  echo '{\"text\": \"Q: 2 + 2? A:\", \"choices\": [\" four\", \" twenty-two\"]}' | bayeslora predict --model DIR --adapter DIR
  echo '{\"prompt\": \"Q: 2 + 2? A:\", \"completion\": \" four, of course\"}' | bayeslora predict --model DIR --adapter DIR --completions
  echo '{\"text\": \"a gorgeous, witty film\"}' | bayeslora predict --model DIR --adapter DIR --format jsonl";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Model folder: config.json, model.safetensors, tokenizer.json. Of a decoder also a GGUF file.
    #[arg(long)]
    model: PathBuf,
    /// Adapter folder as saved by PEFT (or by `bayeslora run`): `adapter_config.json`, `adapter_model.safetensors`.
    #[arg(long)]
    adapter: PathBuf,
    /// Monte-Carlo samples per text, or at most so many with --adaptive [default: 20; Gaussian logits: 1000, or what a Laplace posterior says].
    #[arg(long, conflicts_with = "deterministic", value_parser = samples)]
    samples: Option<u32>,
    /// Stop sampling a text once its class is known at this error level, such as 0.05 (6 samples at least).
    #[arg(long, value_name = "ALPHA", conflicts_with = "deterministic")]
    adaptive: Option<f64>,
    /// How samples share out the dropout masks: independent, antithetic, or balanced-G in groups of G.
    #[arg(long, default_value_t = Coupling::Independent, conflicts_with = "deterministic")]
    coupling: Coupling,
    /// Make one pass at the mean of the posterior, without sampling.
    #[arg(long)]
    deterministic: bool,
    /// Do not sample the network. Logits are then Gaussian to first order in the noise, at the price of one pass forward and one
    /// back for each class. Samples are drawn from that Gaussian (1000 unless --samples is given).
    #[arg(long, conflicts_with_all = ["deterministic", "adaptive", "coupling"])]
    linearised: bool,
    /// Seed of the samples. A text's samples depend on it and the line's number only.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Cut texts to this many tokens [default: the tokenizer's own length, at most the model's positions].
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Answer to choose from, for an adapter of a language model (`CAUSAL_LM`). Give two or more, each as it stands after the text, its space
    /// included. Answers that differ from text to text go into the JSON line's `choices`.
    #[arg(long = "choice", value_name = "ANSWER")]
    choices: Vec<String>,
    /// How answers are read: tokens (each is one token, whose logit counts) or texts (each by its log-likelihood after the text)
    /// [default: tokens where each answer is one and --normalise is not given].
    #[arg(long)]
    readout: Option<Readout>,
    /// What becomes of the log-likelihood of an answer that is a text: its sum, its mean over tokens, or the sum over characters
    /// [default: mean].
    #[arg(long, value_name = "sum|mean|characters")]
    normalise: Option<Normalisation>,
    /// Score completions instead of choosing: each line is a JSON object with `prompt` and `completion`, for an adapter of a language model.
    /// Of every token of the completion the log-probability, entropies and mutual information are told, and their sums and means.
    #[arg(long, conflicts_with_all = ["choices", "readout", "normalise", "adaptive", "linearised", "format"])]
    completions: bool,
    /// Form of the input. Blank lines are skipped; each other line is answered as soon as no more input waits.
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
    #[command(flatten)]
    resources: ResourceArguments,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let is_gguf = arguments.model.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    if !(is_gguf && arguments.model.is_file()) {
        check_folder("--model", &arguments.model, "config.json, model.safetensors and tokenizer.json")?;
    }
    check_folder("--adapter", &arguments.adapter, "adapter_config.json and adapter_model.safetensors")?;
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
        choices: arguments.choices.clone(),
        readout: arguments.readout,
        normalisation: arguments.normalise,
        completions: arguments.completions,
        site: arguments.site,
        scope: arguments.scope,
        dropout: arguments.dropout,
        resources: arguments.resources.open()?,
    };
    let classifier = Classifier::load(&arguments.model, &arguments.adapter, options)?;
    if !arguments.deterministic && !classifier.is_stochastic() {
        say("note: the adapter has no dropout, so all samples agree and its epistemic uncertainty is 0; \
             --dropout 0.1 would sample with dropout it was not trained with");
    }
    let format = if arguments.completions { Format::Completions } else { arguments.format };
    let mut input = Input::read(BufReader::new(std::io::stdin()), stdin_is_file(), format);
    loop {
        let texts = input.next()?;
        if texts.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let check = |text: &Text| {
            if arguments.completions { classifier.check_completion(text) } else { classifier.check(text) }
        };
        // Texts before a line that cannot be predicted are answered.
        let checked = texts.iter().take_while(|text| check(text).is_ok()).count();
        if !answer(&classifier, &texts[..checked], arguments.completions)? {
            // Nobody reads what this command is for.
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(text) = texts.get(checked) {
            check(text).with_context(|| format!("standard input, line {}", text.line))?;
        }
    }
}

/// Prints a line for each text, and returns whether anybody still reads them.
fn answer(classifier: &Classifier, texts: &[Text], completions: bool) -> anyhow::Result<bool> {
    const ENCODED: &str = "prediction cannot be encoded";
    if completions {
        // One by one: each is work enough.
        for text in texts {
            let scores = classifier.complete(text)?.rounded();
            if !super::print_line(serde_json::to_string(&scores).context(ENCODED)?)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    for prediction in classifier.predict(texts)? {
        if !super::print_line(serde_json::to_string(&prediction.rounded()).context(ENCODED)?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether standard input is a file, whose lines are all there.
#[cfg(unix)]
fn stdin_is_file() -> bool {
    use std::os::fd::AsFd as _;
    let file = std::io::stdin().as_fd().try_clone_to_owned().map(std::fs::File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.is_file())
}

/// Whether standard input is a file, which this system does not say.
#[cfg(not(unix))]
fn stdin_is_file() -> bool {
    false
}

/// Refuses what is no folder, with what is likely meant.
fn check_folder(option: &str, path: &Path, holds: &str) -> anyhow::Result<()> {
    let shown = path.display();
    if path.is_dir() {
        return Ok(());
    }
    if path.exists() {
        bail!("{option} {shown}: a file; expected the folder with {holds}");
    }
    let known = AssetId::ALL.into_iter().find(|id| id.asset().is_model() && path.as_os_str() == id.name());
    if let Some(known) = known {
        bail!("{option} {shown}: no such folder; `bayeslora fetch {}` prints the folder of that model", known.name());
    }
    bail!(
        "{option} {shown}: no such folder; expected one with {holds}. A name on a hub is none: download it first \
         (`hf download NAME --local-dir FOLDER`)"
    )
}

/// Number of samples, within what is worth waiting for.
fn samples(text: &str) -> Result<u32, String> {
    let expected =
        format!("expected 1 to {MOST_SAMPLES}, or --deterministic; the last digit shown settles long before");
    text.parse().ok().filter(|samples| (1..=MOST_SAMPLES).contains(samples)).ok_or(expected)
}
