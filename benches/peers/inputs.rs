//! What is measured on: the model, the adapter that our own program trains, and texts as token numbers, the same for both sides.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bayeslora_adapters::files::write_tensors;
use bayeslora_adapters::{
    Address, DropoutSite, LoraShape, MaskScope, Noise, PosteriorSettings, Slot, Stream, TargetMap, derive_seed,
};
use bayeslora_compare::{Experiment, Plan};
use bayeslora_data::assets::{AssetOptions, Assets};
use bayeslora_data::{Progress, Silent};
use bayeslora_host::write_atomically;
use bayeslora_inference::{Resources, Sentences};
use bayeslora_models::{Answer, Backbone, Head, Question, Tokenizer, initial_adapters, save_adapter, target_slots};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::cost::Sizes;

/// Dropout probability, everywhere.
pub(crate) const DROPOUT: f64 = 0.15;
/// `alpha`, everywhere; the scale is `alpha / rank`.
pub(crate) const ALPHA: f64 = 8.0;
/// Rank where it is not varied.
pub(crate) const RANK: usize = 64;

/// The encoder.
const MODEL: &str = "all-minilm-l6-v2";

/// Texts as token numbers, with their labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Texts {
    pub(crate) tokens: Vec<Vec<u32>>,
    pub(crate) labels: Vec<u32>,
}

impl Texts {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} does not hold texts", path.display()))
    }

    /// Tokens altogether.
    pub(crate) fn count(&self) -> u64 {
        self.lengths().iter().sum::<usize>() as u64
    }

    pub(crate) fn lengths(&self) -> Vec<usize> {
        self.tokens.iter().map(Vec::len).collect()
    }

    /// The first `count` texts.
    pub(crate) fn first(&self, count: usize) -> Self {
        let count = count.min(self.labels.len());
        Self { tokens: self.tokens[..count].to_vec(), labels: self.labels[..count].to_vec() }
    }

    /// The texts at these places.
    pub(crate) fn at(&self, places: &[usize]) -> Self {
        Self {
            tokens: places.iter().map(|&place| self.tokens[place].clone()).collect(),
            labels: places.iter().map(|&place| self.labels[place]).collect(),
        }
    }

    pub(crate) fn sentences(&self, backbone: &Backbone, from: usize) -> Result<Sentences> {
        Ok(Sentences::of_tokens(backbone, &self.tokens, self.labels.clone(), 0, from, &Silent)?)
    }
}

/// Questions as token numbers, with the same number of options each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Questions(Vec<Asked>);

/// A prompt and the tokens of its options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) prompt: Vec<u32>,
    pub(crate) answers: Vec<Vec<u32>>,
}

impl Questions {
    pub(crate) fn new(questions: impl IntoIterator<Item = Question>) -> Self {
        let tokens = |answers: Vec<Answer>| answers.into_iter().map(|answer| answer.tokens).collect();
        let asked = |Question { prompt, answers }: Question| Asked { prompt, answers: tokens(answers) };
        Self(questions.into_iter().map(asked).collect())
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} does not hold questions", path.display()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Options of the first, and so of each.
    pub(crate) fn options(&self) -> usize {
        self.0.first().map_or(0, |asked| asked.answers.len())
    }

    /// The first `count`.
    pub(crate) fn first(&self, count: usize) -> Self {
        Self(self.0.iter().take(count).cloned().collect())
    }

    /// Every option as a question of its own.
    pub(crate) fn repeated(&self) -> Self {
        let alone =
            |asked: &Asked, answer: &Vec<u32>| Asked { prompt: asked.prompt.clone(), answers: vec![answer.clone()] };
        Self(self.0.iter().flat_map(|asked| asked.answers.iter().map(move |answer| alone(asked, answer))).collect())
    }

    /// As the program reads them; nothing here is divided by a number of characters.
    pub(crate) fn to_questions(&self) -> Vec<Question> {
        let answer = |tokens: &Vec<u32>| Answer { tokens: tokens.clone(), characters: 1 };
        let question = |Asked { prompt, answers }: &Asked| Question {
            prompt: prompt.clone(),
            answers: answers.iter().map(answer).collect(),
        };
        self.0.iter().map(question).collect()
    }

    /// Tokens that are read: with the prompt once, or with every option.
    pub(crate) fn tokens(&self, is_repeated: bool) -> u64 {
        let questions = if is_repeated { self.repeated() } else { self.clone() };
        questions.to_questions().iter().map(|question| question.tokens().len() as u64).sum()
    }
}

/// The six maps of a block.
pub(crate) fn six_maps(backbone: &Backbone) -> Vec<TargetMap> {
    backbone.maps().into_iter().filter(|&map| map != TargetMap::Pooler).collect()
}

/// All six maps of all blocks.
pub(crate) fn every_slot(backbone: &Backbone) -> Result<Vec<Slot>> {
    Ok(target_slots(backbone, &(0..backbone.blocks()).collect::<Vec<_>>(), &six_maps(backbone))?)
}

/// Sizes of an encoder with adapters on all six maps of its blocks from `from` on.
pub(crate) fn encoder_sizes(backbone: &Backbone, rank: usize, from: usize) -> Sizes {
    let width = backbone.width() as f64;
    Sizes {
        blocks: backbone.blocks(),
        width,
        heads: width,
        keys: width,
        inner: backbone.inner_width() as f64,
        maps_to_inner: 1.0,
        is_causal: false,
        rank: rank as f64,
        adapts_all: true,
        from,
    }
}

/// What encoders are measured on, made once in the working folder.
pub(crate) struct Inputs {
    folder: PathBuf,
    pub(crate) model: PathBuf,
    pub(crate) backbone: Backbone,
    /// The trained adapter.
    pub(crate) adapter: PathBuf,
    /// The first 256 test texts, in their order.
    pub(crate) texts: Texts,
    train: Texts,
}

impl Inputs {
    /// Opens the assets and trains the adapter of `experiment` if that is not done yet.
    pub(crate) fn prepare(experiment: &Path, folder: &Path, progress: &dyn Progress) -> Result<Self> {
        let mut plan = Experiment::load(experiment)?.plan(experiment, "peers")?;
        plan.folder = folder.join("adapter");
        let assets = Assets::new(&AssetOptions::from_env())?;
        bayeslora_compare::run(&plan, (&Resources::default(), NonZeroUsize::MIN), &assets, progress)?;
        let mut tell = |event: bayeslora_data::assets::Event| progress.note(&event.to_string());
        let model = plan.model.open(&assets, &mut tell)?.path().to_owned();
        let data = plan.task.load(&assets, &mut tell)?;
        let backbone = Backbone::load(&model, &Device::Cpu)?;
        let tokenizer = Tokenizer::load(&model, plan.experiment.max_tokens)?;
        let encode = |examples: &[bayeslora_data::tasks::Example]| -> Result<Texts> {
            let tokens = examples.iter().map(|e| tokenizer.encode(&e.text)).collect::<Result<_, _>>()?;
            Ok(Texts { tokens, labels: examples.iter().filter_map(|example| example.label).collect() })
        };
        let (texts, train) = (encode(&data.domains[0].examples)?, encode(&data.train)?);
        Ok(Self { folder: folder.to_owned(), adapter: find_adapter(&plan)?, model, backbone, texts, train })
    }

    /// Where inputs are kept.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sizes of the encoder with adapters on all six maps of its blocks from `from` on.
    pub(crate) fn sizes(&self, rank: usize, from: usize) -> Sizes {
        encoder_sizes(&self.backbone, rank, from)
    }

    /// Writes texts for the workers.
    pub(crate) fn write(&self, name: &str, texts: &impl Serialize) -> Result<PathBuf> {
        let path = self.folder.join("inputs").join(format!("{name}.json"));
        write_atomically(&path, serde_json::to_string(texts)?.as_bytes())?;
        Ok(path)
    }

    /// The first `count` test texts.
    pub(crate) fn test(&self, count: usize) -> Result<(PathBuf, Texts)> {
        let texts = self.texts.first(count);
        Ok((self.write(&format!("test-{count}"), &texts)?, texts))
    }

    /// The first `count` training texts.
    pub(crate) fn train(&self, count: usize) -> Texts {
        self.train.first(count)
    }

    /// `count` texts of exactly `length` tokens: test texts one after another, cut, between the special tokens.
    pub(crate) fn of_length(&self, count: usize, length: usize) -> Result<(PathBuf, Texts)> {
        let (start, end) = (self.texts.tokens[0][0], self.texts.tokens[0][self.texts.tokens[0].len() - 1]);
        let mut words = self.texts.tokens.iter().flat_map(|text| text[1..text.len() - 1].iter().copied()).cycle();
        let mut text = || {
            let inside = words.by_ref().take(length - 2);
            std::iter::once(start).chain(inside).chain([end]).collect::<Vec<u32>>()
        };
        let texts = Texts { tokens: (0..count).map(|_| text()).collect(), labels: vec![0; count] };
        Ok((self.write(&format!("length-{length}-{count}"), &texts)?, texts))
    }

    /// An adapter with random `B` on all six maps of the last `blocks` blocks: times do not depend on values.
    pub(crate) fn random_adapter(&self, rank: usize, blocks: usize) -> Result<PathBuf> {
        let path = self.folder.join("inputs").join(format!("random-rank{rank}-blocks{blocks}"));
        let range: Vec<usize> = (self.backbone.blocks() - blocks..self.backbone.blocks()).collect();
        let slots = target_slots(&self.backbone, &range, &six_maps(&self.backbone))?;
        let start = Start { shape: (rank, ALPHA), dropout: DROPOUT, seed: 5, spread_of_b: 0.02 };
        start.write(&path, &self.backbone, &slots, MODEL)?;
        Ok(path)
    }

    /// The adapter from which the training of `seed` starts.
    pub(crate) fn initial_adapter(&self, rank: usize, dropout: f64, seed: u64) -> Result<PathBuf> {
        let path = self.folder.join("inputs").join(format!("initial-rank{rank}-dropout{dropout}"));
        let start = Start { shape: (rank, ALPHA), dropout, seed: derive_seed(seed, 0), spread_of_b: 0.0 };
        start.write(&path, &self.backbone, &every_slot(&self.backbone)?, MODEL)?;
        Ok(path)
    }

    /// A map `d -> d` with its adapter and `rows` inputs, random, of the sizes that training leaves.
    pub(crate) fn layer(&self, d: usize, rank: usize, rows: usize) -> Result<PathBuf> {
        let path = self.folder.join("inputs").join(format!("layer-{d}-rank{rank}.safetensors"));
        let slot = Slot::NONE;
        let spread = 1.0 / (d as f64).sqrt();
        let tensors = [
            ("x", normal(slot, 2, &[rows, d])?),
            ("w", (normal(slot, 3, &[d, d])? * spread)?),
            ("bias", (normal(slot, 4, &[d])? * 0.1)?),
            ("a", (normal(slot, 5, &[rank, d])? * spread)?),
            ("b", (normal(slot, 6, &[d, rank])? * 0.1)?),
        ];
        write_tensors(&path, &tensors.map(|(name, tensor)| (name.to_owned(), tensor)).into())?;
        Ok(path)
    }
}

/// Adapters that nobody has trained.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// Rank and alpha.
    pub(crate) shape: (usize, f64),
    pub(crate) dropout: f64,
    pub(crate) seed: u64,
    /// Standard deviation of `B`; 0 where training starts.
    pub(crate) spread_of_b: f64,
}

impl Start {
    /// Writes the adapter with a head of two classes.
    pub(crate) fn write(self, path: &Path, backbone: &Backbone, slots: &[Slot], model: &str) -> Result<()> {
        let head = Head::initial(backbone, 2, &Noise::new(self.seed, Stream::Initial))?;
        self.write_with(&head, path, backbone, slots, model)
    }

    /// Writes the adapter with a head.
    pub(crate) fn write_with(
        self,
        head: &Head,
        path: &Path,
        backbone: &Backbone,
        slots: &[Slot],
        model: &str,
    ) -> Result<()> {
        let Self { shape: (rank, alpha), dropout, seed, spread_of_b } = self;
        let noise = Noise::new(seed, Stream::Initial);
        let posterior = PosteriorSettings::Dropout { site: DropoutSite::Input, scope: MaskScope::Token, dropout };
        let adapters = initial_adapters(backbone, slots, LoraShape::new(rank, alpha)?, &posterior, &noise)?;
        for (slot, parameter) in adapters.parameters().filter(|(_, p)| spread_of_b > 0.0 && p.name == "lora_B.weight") {
            parameter.var.set(&(normal(slot, 1, parameter.var.dims())? * spread_of_b)?)?;
        }
        Ok(save_adapter(path, backbone, &adapters, head, &posterior, (rank, alpha), model)?)
    }
}

/// Standard normal values; another `number` gives others.
fn normal(slot: Slot, number: u32, shape: &[usize]) -> Result<Tensor> {
    let mut values = vec![0.0; shape.iter().product()];
    let at = Address { slot, sample: number, example: 0, position: 0 };
    Noise::new(4, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// The adapter that the plan trained.
fn find_adapter(plan: &Plan) -> Result<PathBuf> {
    let fits = plan.folder.join("fits");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(&fits).into_iter().flatten().flatten().map(|entry| entry.path().join("adapter")).collect();
    found.retain(|path| path.join("adapter_config.json").is_file());
    // An adapter of earlier settings may lie beside it.
    found.sort_by_key(|path| std::fs::metadata(path).and_then(|data| data.modified()).ok());
    found
        .pop()
        .with_context(|| format!("no adapter in {}; delete {} and run again", fits.display(), plan.folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_read_once_or_with_every_option() {
        let answer = |tokens: &[u32]| Answer { tokens: tokens.to_vec(), characters: 1 };
        let question =
            |prompt: &[u32]| Question { prompt: prompt.to_vec(), answers: vec![answer(&[4, 5]), answer(&[6])] };
        let questions = Questions::new([question(&[1, 2, 3]), question(&[1])]);
        assert_eq!((questions.len(), questions.options(), questions.repeated().len()), (2, 2, 4));
        // No row for the last token of an option.
        assert_eq!((questions.tokens(false), questions.tokens(true)), (4 + 2, 4 + 3 + 2 + 1));
        assert_eq!(
            questions.repeated().to_questions()[1],
            Question { prompt: vec![1, 2, 3], answers: vec![answer(&[6])] }
        );
        assert_eq!(serde_json::from_str::<Questions>(&serde_json::to_string(&questions).unwrap()).unwrap(), questions);
    }
}
