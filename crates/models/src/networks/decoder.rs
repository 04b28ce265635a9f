//! A decoder's network from its checkpoint.

use std::path::Path;

use bayeslora_adapters::{Slot, TargetMap};
use bayeslora_kernels::{Frozen, FrozenLinear, Heads, Mask, Rotary};
use candle_core::{DType, Tensor};

use crate::backbone::{Backbone, Top};
use crate::block::{Block, Norms, Positions};
use crate::decoder::{Checkpoint, DecoderConfig, Family};
use crate::description::{Description, MOST_POSITIONS};
use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::norm::Norm;
use crate::place::Place;
use crate::slots::{DECODER, MOST_BLOCKS};

/// The decoder of a folder or a GGUF file.
pub(crate) fn load(model: &Path, place: Place) -> Result<Backbone> {
    let (config, checkpoint) = Checkpoint::open(model, &place.device)?;
    if config.blocks.len() > usize::from(MOST_BLOCKS) {
        let problem = format!("has {} blocks; expected at most {MOST_BLOCKS}", config.blocks.len());
        return Err(Error::File { path: model.to_owned(), problem });
    }
    let loader = Loader { rotaries: rotaries(&config)?, config: &config, checkpoint: &checkpoint, place: &place };
    let words = loader.frozen(&Family::embedding(), &[config.vocab_size, config.hidden_size])?;
    let embeddings = Embeddings::Decoder { words, scale: config.embedding_scale };
    let blocks = (0..MOST_BLOCKS).take(config.blocks.len());
    let blocks = blocks.map(|number| loader.block(number)).collect::<Result<_>>()?;
    let top = Top::Norm(loader.norm(&Family::last_norm(), config.hidden_size)?);
    Ok(Backbone { embeddings, blocks, top, description: Description::Decoder(Box::new(config)), place })
}

/// The language head's rows of some tokens, or of all, in f32, with the cap of its logits; where the head is the table of embeddings, those
/// of the backbone.
///
/// # Shapes
/// `[tokens, width]`.
pub(crate) fn language_rows(
    backbone: &Backbone,
    model: &Path,
    tokens: Option<&[u32]>,
) -> Result<(Tensor, Option<f64>)> {
    let of = |head: &Frozen| match tokens {
        Some(tokens) => head.rows(tokens),
        None => head.tensor(DType::F32),
    };
    if let (Description::Decoder(config), Embeddings::Decoder { words, .. }) =
        (&backbone.description, &backbone.embeddings)
        && config.tied
        && backbone.place.is_plain()
    {
        return Ok((of(words)?, config.final_softcap));
    }
    let (config, checkpoint) = Checkpoint::open(model, backbone.device())?;
    let name = if config.tied { Family::embedding() } else { Family::LANGUAGE_HEAD.to_owned() };
    let head = checkpoint.stored(&format!("{name}.weight"), &[config.vocab_size, config.hidden_size])?;
    Ok((of(&head.frozen()?)?, config.final_softcap))
}

/// The turns of every kind of block.
fn rotaries(config: &DecoderConfig) -> Result<Vec<Rotary>> {
    let positions = config.max_positions.min(MOST_POSITIONS);
    config.ropes.iter().map(|rope| Ok(Rotary::new(&rope.inverse_frequencies, positions)?)).collect()
}

struct Loader<'a> {
    config: &'a DecoderConfig,
    checkpoint: &'a Checkpoint,
    place: &'a Place,
    rotaries: Vec<Rotary>,
}

impl Loader<'_> {
    fn tensor(&self, path: &str, shape: &[usize]) -> Result<Tensor> {
        self.checkpoint.dense(&format!("{path}.weight"), shape)
    }

    /// As it is stored, where that is what a processor multiplies by in f32; else in the place's type.
    fn frozen(&self, path: &str, shape: &[usize]) -> Result<Frozen> {
        let stored = self.checkpoint.stored(&format!("{path}.weight"), shape)?;
        if self.place.is_plain() {
            return stored.frozen();
        }
        Ok(Frozen::dense(self.place.narrowed(&stored.dense(&self.place.device)?)?)?)
    }

    fn norm(&self, path: &str, width: usize) -> Result<Norm> {
        let weight = self.tensor(path, &[width])?;
        let weight = if self.config.norm_plus_one { (weight + 1.0)? } else { weight };
        Ok(Norm::Rms { weight, epsilon: self.config.epsilon })
    }

    fn linear(&self, path: &str, shape: [usize; 2], has_bias: bool) -> Result<FrozenLinear> {
        let bias = || self.place.narrowed(&self.checkpoint.dense(&format!("{path}.bias"), &shape[..1])?);
        Ok(FrozenLinear::new(self.frozen(path, &shape)?.in_order()?, has_bias.then(bias).transpose()?))
    }

    fn norms(&self, block: &str) -> Result<Norms> {
        let width = self.config.hidden_size;
        let norm = |name: &str| self.norm(&format!("{block}{name}"), width);
        let before = |a: &str, b: &str| Ok::<_, Error>([norm(a)?, norm(b)?]);
        match self.config.family.norms {
            [Some(attention), None, Some(mlp), None] => Ok(Norms::Before(before(attention, mlp)?)),
            [Some(attention), Some(after_attention), Some(mlp), Some(after_mlp)] => {
                Ok(Norms::Around { before: before(attention, mlp)?, after: before(after_attention, after_mlp)? })
            }
            other => Err(Error::Slot {
                what: format!("block with norms {other:?}"),
                expected: "expected two before its halves, or four around them".to_owned(),
            }),
        }
    }

    fn block(&self, number: u8) -> Result<Block> {
        let config = self.config;
        let (width, inner, size) = (config.hidden_size, config.intermediate_size, config.head_dim);
        let (own, shared) = (config.heads * size, config.kv_heads * size);
        let kind = &config.blocks[usize::from(number)];
        let path = Family::block(usize::from(number));
        let biases = config.biases;
        let map = |map, shape, bias| {
            let within = DECODER.module_path(Slot::new(number, map));
            self.linear(&format!("{}{within}", DECODER.prefix), shape, bias)
        };
        let norms = match config.family.qk_norms {
            None => None,
            Some(names) => {
                let [query, key] = names.map(|name| self.norm(&format!("{path}{name}"), size));
                Some([query?, key?])
            }
        };
        let rotary = self.rotaries.get(kind.rope).cloned();
        // Queries and keys both have the factor of their cosines and sines.
        let turned = config.ropes.get(kind.rope).map_or(1.0, |rope| rope.attention_factor.powi(2));
        let mask = kind.window.map_or(Mask::Causal, Mask::Window);
        #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
        let (scale, cap) = ((config.attention_scale * turned) as f32, config.attention_softcap.map(|cap| cap as f32));
        Ok(Block {
            number,
            query: map(TargetMap::Query, [own, width], biases.query_key_value)?,
            key: map(TargetMap::Key, [shared, width], biases.query_key_value)?,
            value: map(TargetMap::Value, [shared, width], biases.query_key_value)?,
            attention_output: map(TargetMap::AttentionOutput, [width, own], biases.attention_output)?,
            gate: Some(map(TargetMap::Gate, [inner, width], biases.mlp)?),
            intermediate: map(TargetMap::Intermediate, [inner, width], biases.mlp)?,
            output: map(TargetMap::Output, [width, inner], biases.mlp)?,
            norms: self.norms(&path)?,
            positions: Positions { norms, rotary },
            heads: Heads { queries: config.heads, keys: config.kv_heads, size, scale, cap, mask },
            activation: config.activation,
        })
    }
}
