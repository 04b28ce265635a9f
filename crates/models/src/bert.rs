//! An encoder of BERT's kind with adapter slots on every linear map; [`crate::slots`] lists the families.

use std::ops::Range;
use std::path::Path;

use bayeslora_adapters::{Draw, Slot, TargetMap};
use bayeslora_kernels::{FrozenLinear, Packing, add_layer_norm};
use candle_core::{Device, Tensor};

use crate::block::{Block, Norm};
use crate::config::BertConfig;
use crate::engine::{At, Engine as _};
use crate::error::{Error, Result};
use crate::slots::{MOST_BLOCKS, Segments, pooler_slot};
use crate::tape::{Pass, ReadRows, Tape};
use crate::tokenize::Encoded;
use crate::weights::Weights;

/// A frozen encoder. Activations are `[samples or 1, rows, width]`: no sample axis (length 1) until something random has
/// happened, rows packed without padding.
#[derive(Debug)]
pub struct Bert {
    config: BertConfig,
    embeddings: Embeddings,
    pub(crate) blocks: Vec<Block>,
    /// None in families whose head has a map of its own in its place.
    pub(crate) pooler: Option<FrozenLinear>,
    device: Device,
}

#[derive(Debug)]
struct Embeddings {
    words: Tensor,
    positions: Tensor,
    /// `[segments, width]`; none in families without segments.
    segments: Option<Tensor>,
    norm: Norm,
}

impl Norm {
    fn load(weights: &Weights, name: &str, width: usize, epsilon: f64) -> Result<Self> {
        let weight = weights.get(&format!("{name}.weight"), &[width])?;
        let bias = weights.get(&format!("{name}.bias"), &[width])?;
        Ok(Self { weight, bias, epsilon })
    }

    fn of_sum(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Ok(add_layer_norm(a, b, &self.weight, &self.bias, self.epsilon)?)
    }
}

impl Block {
    fn load(weights: &Weights, block: u8, config: &BertConfig) -> Result<Self> {
        let (width, inner, epsilon) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let family = config.family();
        let [attention_norm, output_norm] = family.norms;
        let linear = |map, d_out, d_in| load_linear(weights, &family.module_path(Slot::new(block, map)), d_out, d_in);
        let norm = |name: &str| Norm::load(weights, &(family.block(block) + name), width, epsilon);
        Ok(Self {
            number: block,
            query: linear(TargetMap::Query, width, width)?,
            key: linear(TargetMap::Key, width, width)?,
            value: linear(TargetMap::Value, width, width)?,
            attention_output: linear(TargetMap::AttentionOutput, width, width)?,
            attention_norm: norm(attention_norm)?,
            intermediate: linear(TargetMap::Intermediate, inner, width)?,
            output: linear(TargetMap::Output, width, inner)?,
            output_norm: norm(output_norm)?,
            heads: config.num_attention_heads,
            activation: config.activation()?,
        })
    }
}

fn load_linear(weights: &Weights, path: &str, d_out: usize, d_in: usize) -> Result<FrozenLinear> {
    let weight = weights.get(&format!("{path}.weight"), &[d_out, d_in])?;
    let bias = weights.get(&format!("{path}.bias"), &[d_out])?;
    Ok(FrozenLinear::new(weight, bias))
}

impl Bert {
    /// Reads `config.json` and the weights of a folder (`model.safetensors`, its shards, or `pytorch_model.bin`).
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] naming the file, for a file that is missing, truncated, of other sizes than the
    /// configuration says, or not finite.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        Self::from_parts(BertConfig::load(folder)?, &Weights::open(folder, device)?, device)
    }

    pub(crate) fn from_parts(config: BertConfig, weights: &Weights, device: &Device) -> Result<Self> {
        let width = config.hidden_size;
        let table = |name: &str, rows: usize| weights.get(&format!("embeddings.{name}.weight"), &[rows, width]);
        let family = config.family();
        let has_segments = family.segments != Segments::None;
        let embeddings = Embeddings {
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_position_embeddings)?,
            segments: has_segments.then(|| table("token_type_embeddings", config.type_vocab_size)).transpose()?,
            norm: Norm::load(weights, "embeddings.LayerNorm", width, config.layer_norm_eps)?,
        };
        let blocks = (0..MOST_BLOCKS).take(config.num_hidden_layers);
        let blocks = blocks.map(|block| Block::load(weights, block, &config)).collect::<Result<_>>()?;
        let pooler = pooler_slot(config.num_hidden_layers);
        let pooler = family.has_pooler.then(|| load_linear(weights, &family.module_path(pooler), width, width));
        let pooler = pooler.transpose()?;
        Ok(Self { config, embeddings, blocks, pooler, device: device.clone() })
    }

    /// Sizes.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Path of a slot's module in checkpoints and PEFT files (`bert.encoder.layer.0.attention.self.query`).
    pub fn module_path(&self, slot: Slot) -> String {
        let family = self.config.family();
        family.prefix.to_owned() + &family.module_path(slot)
    }

    /// `(d_out, d_in)` of the map in `slot`.
    ///
    /// # Errors
    /// [`Error::Slot`] when there is no such block.
    pub fn slot_shape(&self, slot: Slot) -> Result<(usize, usize)> {
        if slot == pooler_slot(self.blocks.len()) {
            let expected = format!("a {} has none: leave it out", self.config.model_type);
            let pooler = self.pooler.as_ref().ok_or(Error::Slot { what: "pooler".to_owned(), expected })?;
            return Ok(pooler.shape());
        }
        let missing = || Error::Slot {
            what: slot.to_string(),
            expected: format!("its blocks are 0 to {}", self.blocks.len().saturating_sub(1)),
        };
        let block = self.blocks.get(usize::from(slot.block)).ok_or_else(missing)?;
        let map = match slot.map {
            TargetMap::Query => &block.query,
            TargetMap::Key => &block.key,
            TargetMap::Value => &block.value,
            TargetMap::AttentionOutput => &block.attention_output,
            TargetMap::Intermediate => &block.intermediate,
            TargetMap::Output => &block.output,
            TargetMap::Pooler => return Err(missing()),
        };
        Ok(map.shape())
    }

    /// Activations below the first block of texts that stand alone: every token belongs to segment 0.
    ///
    /// # Shapes
    /// Sentences of token numbers to `[1, rows, width]`.
    ///
    /// # Errors
    /// [`Error::Slot`] for a token outside the vocabulary or a sentence longer than the positions.
    pub fn embed(&self, sentences: &[&[u32]]) -> Result<Tensor> {
        self.embed_rows(sentences, None)
    }

    /// Activations below the first block of texts or pairs of texts, whose tokens belong to segments. DistilBERT has no segments, and RoBERTa
    /// takes every token for one of segment 0, as transformers does.
    ///
    /// # Shapes
    /// Texts to `[1, rows, width]`.
    ///
    /// # Errors
    /// As [`Self::embed`]; [`Error::Slot`] for a segment that the model does not have.
    pub fn embed_encoded(&self, texts: &[Encoded]) -> Result<Tensor> {
        texts.iter().try_for_each(|text| self.check_segments(text))?;
        let sentences: Vec<&[u32]> = texts.iter().map(|text| text.ids.as_slice()).collect();
        let segments: Vec<u32> = texts.iter().flat_map(|text| &text.segments).copied().collect();
        let counts = self.config.family().segments == Segments::Own && segments.iter().any(|&segment| segment != 0);
        self.embed_rows(&sentences, counts.then_some(segments))
    }

    /// Whether the model reads segments and has but one, so that a pair of texts may have one too many.
    pub fn has_one_segment(&self) -> bool {
        self.config.family().segments == Segments::Own && self.config.type_vocab_size < 2
    }

    /// Refuses a text with a segment that the model does not have.
    ///
    /// # Errors
    /// [`Error::Slot`] with the segment.
    pub fn check_segments(&self, text: &Encoded) -> Result<()> {
        if self.config.family().segments != Segments::Own {
            return Ok(());
        }
        let known = self.config.type_vocab_size;
        text.segments.iter().find(|&&segment| segment as usize >= known).map_or(Ok(()), |segment| {
            let expected = format!("type_vocab_size in its config.json is {known}: give it texts one by one");
            Err(Error::Slot { what: format!("segment {segment}"), expected })
        })
    }

    /// Activations below the first block; all tokens are of segment 0 unless `segments` says otherwise, row by row.
    fn embed_rows(&self, sentences: &[&[u32]], segments: Option<Vec<u32>>) -> Result<Tensor> {
        let mut words = Vec::new();
        let mut positions = Vec::new();
        for sentence in sentences {
            let longest = self.config.longest_text();
            if sentence.len() > longest {
                let what = format!("position {}", sentence.len() - 1);
                return Err(Error::Slot { what, expected: format!("texts are at most {longest} tokens long") });
            }
            if let Some(token) = sentence.iter().find(|&&token| token as usize >= self.config.vocab_size) {
                let expected = format!("its vocabulary has {} entries: is this its tokenizer?", self.config.vocab_size);
                return Err(Error::Slot { what: format!("token {token}"), expected });
            }
            words.extend_from_slice(sentence);
            positions.extend(self.config.positions(sentence));
        }
        let rows = words.len();
        let words = self.embeddings.words.index_select(&Tensor::from_vec(words, rows, &self.device)?, 0)?;
        let positions = Tensor::from_vec(positions, rows, &self.device)?;
        let positions = self.embeddings.positions.index_select(&positions, 0)?;
        let words = match (&self.embeddings.segments, segments) {
            (None, _) => words,
            (Some(table), None) => words.broadcast_add(&table.narrow(0, 0, 1)?)?,
            (Some(table), Some(segments)) => {
                (words + table.index_select(&Tensor::from_vec(segments, rows, &self.device)?, 0)?)?
            }
        };
        self.embeddings.norm.of_sum(&words.unsqueeze(0)?, &positions.unsqueeze(0)?)
    }

    /// Activations above the blocks of `range`, given those below.
    ///
    /// # Shapes
    /// `x: [samples or 1, rows, width]` to the same, with the sample axis of the draw once an adapter was random.
    ///
    /// # Errors
    /// When shapes do not go together.
    pub fn run_blocks(
        &self,
        range: Range<usize>,
        x: &Tensor,
        packing: &Packing,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let read = ReadRows::new(Vec::new(), &Draw::Mean);
        let mut tape = Tape { pass, packing, read: &read };
        self.blocks[range].iter().try_fold(x.clone(), |x, block| block.run(&mut tape, x, At::All))
    }

    /// Activations of the `[CLS]` rows above the last block, given all rows below block `from`: the last block computes
    /// keys and values everywhere and the rest at these rows only.
    ///
    /// # Shapes
    /// `x: [samples or 1, rows, width]` to `[samples or 1, sentences, width]`.
    ///
    /// # Errors
    /// When shapes do not go together.
    pub fn first_tokens(&self, from: usize, x: &Tensor, packing: &Packing, pass: &mut Pass<'_>) -> Result<Tensor> {
        let last = self.blocks.len().saturating_sub(1);
        let x = self.run_blocks(from..last, x, packing, pass)?;
        let read = ReadRows::new(packing.first_rows(), &pass.draw);
        self.blocks[last].run(&mut Tape { pass, packing, read: &read }, x, At::Read)
    }

    /// The pooled representation `tanh(W x + b)` of the `[CLS]` rows, or these rows themselves in an encoder without pooler.
    ///
    /// # Shapes
    /// `[samples or 1, sentences, width]` to the same.
    ///
    /// # Errors
    /// When shapes do not go together.
    pub fn pool(&self, first_tokens: &Tensor, packing: &Packing, pass: &mut Pass<'_>) -> Result<Tensor> {
        let Some(pooler) = &self.pooler else { return Ok(first_tokens.clone()) };
        let read = ReadRows::new(packing.first_rows(), &pass.draw);
        let mut tape = Tape { pass, packing, read: &read };
        Ok(tape.linear(pooler_slot(self.blocks.len()), pooler, first_tokens, At::Read)?.tanh()?)
    }
}
