//! Encoders of BERT's kind from their checkpoints; [`crate::slots`] lists the families.

use std::path::Path;

use bayeslora_adapters::{Slot, TargetMap};
use bayeslora_kernels::{Frozen, FrozenLinear, Heads, Mask};

use crate::backbone::{Backbone, Top};
use crate::block::{Block, Norms, Positions};
use crate::config::BertConfig;
use crate::description::Description;
use crate::embeddings::{Embeddings, EncoderEmbeddings};
use crate::error::Result;
use crate::norm::Norm;
use crate::place::Place;
use crate::slots::{MOST_BLOCKS, Segments, pooler_slot};
use crate::weights::Weights;

/// The encoder of a folder.
pub(crate) fn load(folder: &Path, place: Place) -> Result<Backbone> {
    from_parts(BertConfig::load(folder)?, &Weights::open(folder, &place.device)?, place)
}

/// The encoder of a configuration and weights.
pub(crate) fn from_parts(config: BertConfig, weights: &Weights, place: Place) -> Result<Backbone> {
    let width = config.hidden_size;
    let table = |name: &str, rows: usize| weights.get(&format!("embeddings.{name}.weight"), &[rows, width]);
    let family = config.family();
    let has_segments = family.segments != Segments::None;
    let embeddings = EncoderEmbeddings {
        words: table("word_embeddings", config.vocab_size)?,
        positions: table("position_embeddings", config.max_position_embeddings)?,
        segments: has_segments.then(|| table("token_type_embeddings", config.type_vocab_size)).transpose()?,
        norm: norm(weights, "embeddings.LayerNorm", &config)?,
    };
    let blocks = (0..MOST_BLOCKS).take(config.num_hidden_layers);
    let blocks = blocks.map(|number| block(weights, number, (&config, &place))).collect::<Result<_>>()?;
    let pooler = family.module_path(pooler_slot(config.num_hidden_layers));
    let top =
        if family.has_pooler { Top::Pooler(linear(weights, &pooler, [width, width], &place)?) } else { Top::Nothing };
    let (description, embeddings) = (Description::Encoder(Box::new(config)), Embeddings::Encoder(embeddings));
    Ok(Backbone { description, embeddings, blocks, top, place })
}

fn block(weights: &Weights, number: u8, (config, place): (&BertConfig, &Place)) -> Result<Block> {
    let (width, inner, heads) = (config.hidden_size, config.intermediate_size, config.num_attention_heads);
    let family = config.family();
    let map = |map, d_out, d_in| linear(weights, &family.module_path(Slot::new(number, map)), [d_out, d_in], place);
    let [after_attention, after_output] =
        family.norms.map(|name| norm(weights, &(family.block(number) + name), config));
    Ok(Block {
        number,
        query: map(TargetMap::Query, width, width)?,
        key: map(TargetMap::Key, width, width)?,
        value: map(TargetMap::Value, width, width)?,
        attention_output: map(TargetMap::AttentionOutput, width, width)?,
        gate: None,
        intermediate: map(TargetMap::Intermediate, inner, width)?,
        output: map(TargetMap::Output, width, inner)?,
        norms: Norms::OfSum([after_attention?, after_output?]),
        positions: Positions::default(),
        heads: Heads::new(heads, heads, width / heads, Mask::Full),
        activation: config.activation()?,
    })
}

fn norm(weights: &Weights, name: &str, config: &BertConfig) -> Result<Norm> {
    let part = |part: &str| weights.get(&format!("{name}.{part}"), &[config.hidden_size]);
    Ok(Norm::Layer { weight: part("weight")?, bias: part("bias")?, epsilon: config.layer_norm_eps })
}

fn linear(weights: &Weights, path: &str, shape: [usize; 2], place: &Place) -> Result<FrozenLinear> {
    let weight = place.narrowed(&weights.get(&format!("{path}.weight"), &shape)?)?;
    let bias = place.narrowed(&weights.get(&format!("{path}.bias"), &shape[..1])?)?;
    Ok(FrozenLinear::new(Frozen::dense(weight)?, Some(bias)))
}
