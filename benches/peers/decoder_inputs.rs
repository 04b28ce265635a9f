//! What decoders are measured on: SmolLM2-135M as a folder that both sides read, adapters of its queries and values, and sentences of
//! SST-2.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bayeslora_adapters::files::write_tensors;
use bayeslora_adapters::{DropoutSite, LoraShape, MaskScope, PosteriorSettings, Slot, TargetMap, derive_seed};
use bayeslora_data::Silent;
use bayeslora_data::assets::{AssetId, AssetOptions, Assets};
use bayeslora_data::tasks::{Example, PlannedTask};
use bayeslora_host::write_atomically;
use bayeslora_inference::train as train_loop;
use bayeslora_inference::{FitContext, QuestionReader, Recipe, Selection, TrainingSettings, tokenizer_of};
use bayeslora_models::{Backbone, Checkpoint, DecoderConfig, Head, Tokenizer, gguf_of, save_adapter, target_slots};
use candle_core::{Device, Tensor};
use serde_json::json;

use crate::cost::Sizes;
use crate::inputs::{DROPOUT, Questions, Start, Texts};

/// Name of the asset, and of the adapters' base model.
const MODEL: &str = "smollm2-135m";
/// Rank and alpha of the adapters.
pub(crate) const SHAPE: (usize, f64) = (8, 16.0);
/// Texts are cut to this many tokens.
const MAX_TOKENS: usize = 128;
/// The same for questions.
const MOST_OF_A_QUESTION: usize = 512;
/// Adapters that nobody has trained, of ordinary size.
const RANDOM: Start = Start { shape: SHAPE, dropout: DROPOUT, seed: 5, spread_of_b: 0.02 };
/// A token of no text, which pads the peer's batches: its number is what `predict.py` fills them with.
const PADDING: u32 = 0;
/// Test sentences and training sentences that are kept.
const TEXTS: (usize, usize) = (64, 512);

/// A decoder with its texts.
pub(crate) struct DecoderInputs {
    folder: PathBuf,
    /// Weights in f32 under transformers' names.
    pub(crate) model: PathBuf,
    /// The same weights as they were published, in blocks of four bits.
    pub(crate) gguf: PathBuf,
    backbone: Backbone,
    sizes: Sizes,
    /// The first test sentences, in their seeded order.
    pub(crate) texts: Texts,
    pub(crate) train: Texts,
}

impl DecoderInputs {
    /// Opens the assets and writes the folder, if that is not done yet.
    pub(crate) fn prepare(folder: &Path) -> Result<Self> {
        let assets = Assets::new(&AssetOptions::from_env())?;
        let opened = assets.open(AssetId::SmolLm2135M, &mut |_| ())?.path().to_owned();
        let gguf = gguf_of(&opened).with_context(|| format!("{MODEL} has no GGUF file"))?;
        let model = folder.join(MODEL);
        let (config, checkpoint) = Checkpoint::open(&gguf, &Device::Cpu)?;
        if !model.join("config.json").is_file() {
            export(&config, &checkpoint, &model)?;
        }
        let backbone = Backbone::load(&model, &Device::Cpu)?;
        let tokenizer = tokenizer_of(&backbone, &gguf, MAX_TOKENS)?;
        let data =
            PlannedTask::new("sst2", toml::Table::new()).map_err(anyhow::Error::msg)?.load(&assets, &mut |_| ())?;
        let texts = encode(&tokenizer, data.domains[0].examples.iter().take(TEXTS.0))?;
        let train = encode(&tokenizer, data.train.iter().take(TEXTS.1))?;
        let sizes = Sizes {
            blocks: config.blocks.len(),
            width: config.hidden_size as f64,
            heads: (config.heads * config.head_dim) as f64,
            keys: (config.kv_heads * config.head_dim) as f64,
            inner: config.intermediate_size as f64,
            maps_to_inner: 2.0,
            is_causal: true,
            rank: SHAPE.0 as f64,
            adapts_all: false,
            from: 0,
        };
        Ok(Self { folder: folder.join("inputs"), model, gguf, backbone, sizes, texts, train })
    }

    /// Blocks of the decoder.
    pub(crate) fn blocks(&self) -> usize {
        self.backbone.blocks()
    }

    /// Sizes with adapters on the last `blocks` blocks.
    pub(crate) fn sizes(&self, blocks: usize) -> Sizes {
        Sizes { from: self.blocks() - blocks, ..self.sizes }
    }

    fn slots(&self, blocks: usize) -> Result<Vec<Slot>> {
        let last: Vec<usize> = (self.blocks() - blocks..self.blocks()).collect();
        Ok(target_slots(&self.backbone, &last, &[TargetMap::Query, TargetMap::Value])?)
    }

    /// An adapter with random `B` on queries and values of the last `blocks` blocks: times do not depend on values.
    pub(crate) fn random_adapter(&self, blocks: usize) -> Result<PathBuf> {
        self.write(RANDOM, blocks, &format!("decoder-random-blocks{blocks}"))
    }

    /// The same for the model's language head.
    pub(crate) fn language_adapter(&self) -> Result<PathBuf> {
        let path = self.folder.join("decoder-random-language");
        let head = Head::language(&self.backbone, &self.model)?;
        RANDOM.write_with(&head, &path, &self.backbone, &self.slots(self.blocks())?, MODEL)?;
        Ok(path)
    }

    /// The first `count` test questions of ARC-Easy, with letters or texts as answers.
    pub(crate) fn questions(&self, answers: &str, count: usize) -> Result<Questions> {
        let mut settings = toml::Table::new();
        settings.insert("answers".to_owned(), answers.into());
        let assets = Assets::new(&AssetOptions::from_env())?;
        let data = PlannedTask::new("arc-easy", settings).map_err(anyhow::Error::msg)?.load(&assets, &mut |_| ())?;
        let reader = QuestionReader::of_model(&self.backbone, &self.gguf, MOST_OF_A_QUESTION)?;
        let asked = data.domains[0].examples.iter().filter_map(Example::prompt).take(count);
        let questions = asked.map(|prompt| Ok(reader.cued(&prompt.context, &prompt.cue, &prompt.answers)?));
        Ok(Questions::new(questions.collect::<Result<Vec<_>>>()?))
    }

    /// The adapter from which the training of `seed` starts.
    pub(crate) fn initial_adapter(&self, blocks: usize, dropout: f64, seed: u64) -> Result<PathBuf> {
        let start = Start { shape: SHAPE, dropout, seed: derive_seed(seed, 0), spread_of_b: 0.0 };
        self.write(start, blocks, &format!("decoder-initial-blocks{blocks}-dropout{dropout}"))
    }

    /// An adapter of the last `blocks` blocks after `epochs` epochs over the training sentences, batch 8, and its steps.
    pub(crate) fn trained_adapter(&self, blocks: usize, epochs: u32, seed: u64) -> Result<(PathBuf, u32)> {
        let path = self.folder.join(format!("decoder-trained-blocks{blocks}-epochs{epochs}"));
        let settings =
            TrainingSettings { epochs, batch_size: 8, select: Selection::Last, ..TrainingSettings::default() };
        let steps = settings.steps(self.train.labels.len());
        if path.join("adapter_config.json").is_file() {
            return Ok((path, steps));
        }
        let (slots, from) = (self.slots(blocks)?, self.blocks() - blocks);
        let train = self.train.sentences(&self.backbone, from)?;
        let (validation, folder) = (self.train.first(1).sentences(&self.backbone, from)?, tempfile::tempdir()?);
        let context = FitContext {
            backbone: &self.backbone,
            from,
            slots: &slots,
            lora: LoraShape::new(SHAPE.0, SHAPE.1)?,
            train_head: true,
            language: None,
            training: &settings,
            train: &train,
            validation: &validation,
            classes: 2,
            seed,
            folder: folder.path(),
            progress: &Silent,
        };
        let posterior =
            PosteriorSettings::Dropout { site: DropoutSite::Input, scope: MaskScope::Token, dropout: DROPOUT };
        let fitted = train_loop(&context, &Recipe::plain(posterior), 0)?;
        let member = fitted.members.first().context("a fit of one member")?;
        save_adapter(&path, &self.backbone, &member.adapters, &member.head, &posterior, SHAPE, MODEL)?;
        Ok((path, steps))
    }

    fn write(&self, start: Start, blocks: usize, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        start.write(&path, &self.backbone, &self.slots(blocks)?, MODEL)?;
        Ok(path)
    }
}

fn encode<'a>(tokenizer: &Tokenizer, examples: impl Iterator<Item = &'a Example>) -> Result<Texts> {
    let mut texts = Texts { tokens: Vec::new(), labels: Vec::new() };
    for example in examples {
        texts.tokens.push(tokenizer.encode(&example.text)?);
        texts.labels.extend(example.label);
    }
    Ok(texts)
}

/// The folder of a Llama model in f32. Its configuration is written last: a folder that has one is whole.
fn export(config: &DecoderConfig, checkpoint: &Checkpoint, folder: &Path) -> Result<()> {
    let mut tensors: std::collections::BTreeMap<String, Tensor> = std::collections::BTreeMap::new();
    for (name, shape) in config.parameters() {
        tensors.insert(name.clone(), checkpoint.dense(&name, &shape)?);
    }
    write_tensors(&folder.join("model.safetensors"), &tensors)?;
    let rope = config.ropes.first().context("a model with rotary positions")?;
    // The second frequency is theta to the power of -2 / d.
    let theta =
        rope.inverse_frequencies.get(1).context("heads of more than one pair")?.powf(-(config.head_dim as f64) / 2.0);
    let text = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.blocks.len(),
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.epsilon,
        "rope_theta": theta.round(),
        "tie_word_embeddings": config.tied,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_ids.first(),
        "pad_token_id": PADDING,
        "torch_dtype": "float32",
    });
    Ok(write_atomically(&folder.join("config.json"), serde_json::to_string_pretty(&text)?.as_bytes())?)
}
