//! A frozen transformer with adapter slots on every linear map: an encoder, or a decoder.

use std::ops::Range;

use bayeslora_adapters::{Slot, TargetMap};
use bayeslora_kernels::{FrozenLinear, Layout, Packing};
use candle_core::{DType, Device, Tensor};

use crate::block::Block;
use crate::description::Description;
use crate::embeddings::Embeddings;
use crate::engine::{At, Engine};
use crate::error::{Error, Result};
use crate::norm::Norm;
use crate::place::Place;
use crate::slots::{Names, Segments, pooler_slot};
use crate::tape::{Pass, Tape};
use crate::tokenize::Encoded;

/// A frozen transformer. Activations are `[samples or 1, rows, width]`: no sample axis (length 1) until something random has
/// happened, rows packed without padding.
#[derive(Debug)]
pub struct Backbone {
    pub(crate) description: Description,
    pub(crate) embeddings: Embeddings,
    pub(crate) blocks: Vec<Block>,
    pub(crate) top: Top,
    pub(crate) place: Place,
}

/// What stands between the last block and the head, at the rows that are read.
#[derive(Debug)]
pub(crate) enum Top {
    /// Nothing: the family's head has a map of its own in its place.
    Nothing,
    /// BERT's `tanh(W x + b)`.
    Pooler(FrozenLinear),
    /// The last normalisation of a decoder.
    Norm(Norm),
}

impl Top {
    /// What the head reads.
    pub(crate) fn run<E: Engine>(&self, engine: &mut E, x: E::X, blocks: usize) -> Result<E::X> {
        match self {
            Self::Nothing => Ok(x),
            Self::Pooler(pooler) => {
                let pooled = engine.linear(pooler_slot(blocks), pooler, &x, At::Read)?;
                engine.tanh(pooled)
            }
            Self::Norm(norm) => engine.norm(&x, norm),
        }
    }
}

impl Backbone {
    /// Names of its parts in checkpoints and PEFT files.
    pub(crate) fn family(&self) -> &'static Names {
        self.description.family()
    }

    /// What its configuration calls it, as in `distilbert` or `qwen2`.
    pub fn kind(&self) -> &str {
        self.description.kind()
    }

    /// Width of the activations.
    pub fn width(&self) -> usize {
        self.description.width()
    }

    /// Width between the maps of the feed-forward network.
    pub fn inner_width(&self) -> usize {
        self.blocks.first().map_or(0, |block| block.intermediate.shape().0)
    }

    /// Entries of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.description.vocabulary()
    }

    /// Most tokens of a text, special ones included.
    pub fn longest_text(&self) -> usize {
        self.description.longest_text()
    }

    /// Whether the last of a text's tokens has seen all others, and the others have not seen it.
    pub fn is_causal(&self) -> bool {
        matches!(self.description, Description::Decoder(_))
    }

    /// Names of the `classes` outputs of the head in use, where the configuration names exactly these.
    pub fn class_names(&self, classes: usize) -> Option<Vec<String>> {
        self.description.class_names(classes)
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes of the weights that are held: maps, tables and norms.
    pub fn weight_bytes(&self) -> usize {
        let blocks = self.blocks.iter().map(Block::weight_bytes).sum::<usize>();
        let top = match &self.top {
            Top::Nothing => 0,
            Top::Pooler(pooler) => pooler.bytes(),
            Top::Norm(norm) => norm.bytes(),
        };
        blocks + self.embeddings.bytes() + top
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.place.device
    }

    /// Where the weights are, and their type.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Path of a slot's module in checkpoints and PEFT files (`bert.encoder.layer.0.attention.self.query`).
    pub fn module_path(&self, slot: Slot) -> String {
        let family = self.family();
        family.prefix.to_owned() + &family.module_path(slot)
    }

    /// The maps that can be adapted, in the order of computation.
    pub fn maps(&self) -> Vec<TargetMap> {
        let last = self.blocks.len().saturating_sub(1);
        let has = |map: &TargetMap| match map {
            TargetMap::Pooler => matches!(self.top, Top::Pooler(_)),
            map => self.blocks.get(last).is_some_and(|block| block.map(*map).is_some()),
        };
        TargetMap::ALL.into_iter().filter(has).collect()
    }

    /// `(d_out, d_in)` of the map in `slot`.
    ///
    /// # Errors
    /// [`Error::Slot`] when there is no such block or map.
    pub fn slot_shape(&self, slot: Slot) -> Result<(usize, usize)> {
        if slot.map == TargetMap::Pooler {
            let expected = format!("a {} has none: leave it out", self.kind());
            return match &self.top {
                Top::Pooler(pooler) if slot == pooler_slot(self.blocks.len()) => Ok(pooler.shape()),
                _ => Err(Error::Slot { what: "pooler".to_owned(), expected }),
            };
        }
        let missing = |expected| Error::Slot { what: slot.to_string(), expected };
        let block = self
            .blocks
            .get(usize::from(slot.block))
            .ok_or_else(|| missing(format!("its blocks are 0 to {}", self.blocks.len().saturating_sub(1))))?;
        let map = block
            .map(slot.map)
            .ok_or_else(|| missing(format!("blocks of a {} have no such map: leave {} out", self.kind(), slot.map)))?;
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
        let counts = self.family().segments == Segments::Own && segments.iter().any(|&segment| segment != 0);
        self.embed_rows(&sentences, counts.then_some(segments))
    }

    /// Activations below the first block of prompts with their continuations, `tokens` row after row as they are packed.
    ///
    /// # Shapes
    /// To `[1, rows, width]`.
    ///
    /// # Errors
    /// [`Error::Slot`] for a model that reads no next token, and as [`Self::embed`]: a prompt with its longest continuation is a text.
    pub fn embed_packed(&self, tokens: &[u32], packing: &Packing) -> Result<Tensor> {
        if !self.is_causal() {
            let expected = format!("a {} reads no next token: expected a decoder", self.kind());
            return Err(Error::Slot { what: "continuations of a prompt".to_owned(), expected });
        }
        if tokens.len() != packing.rows() {
            let expected = format!("expected {}, one a row", packing.rows());
            return Err(Error::Slot { what: format!("{} tokens for the rows", tokens.len()), expected });
        }
        let longest = packing.layouts().iter().map(Layout::longest).max().unwrap_or(0);
        self.check_text(longest, tokens)?;
        self.embeddings.rows(tokens, std::iter::empty(), None)
    }

    /// How many segments tokens may belong to, in models that tell them apart.
    pub fn segments(&self) -> Option<usize> {
        self.description.segments()
    }

    /// The token that fills up texts, where a class head is read at the last token that is another.
    pub fn padding(&self) -> Option<u32> {
        self.description.padding()
    }

    /// Refuses a text with a segment that the model does not have.
    ///
    /// # Errors
    /// [`Error::Slot`] with the segment.
    pub fn check_segments(&self, text: &Encoded) -> Result<()> {
        let Some(known) = self.description.segments() else { return Ok(()) };
        text.segments.iter().find(|&&segment| segment as usize >= known).map_or(Ok(()), |segment| {
            let expected = format!("type_vocab_size in its config.json is {known}: give it texts one by one");
            Err(Error::Slot { what: format!("segment {segment}"), expected })
        })
    }

    /// Activations below the first block; all tokens are of segment 0 unless `segments` says otherwise, row by row.
    fn embed_rows(&self, sentences: &[&[u32]], segments: Option<Vec<u32>>) -> Result<Tensor> {
        for sentence in sentences {
            self.check_text(sentence.len(), sentence)?;
        }
        let words: Vec<u32> = sentences.iter().copied().flatten().copied().collect();
        let positions = sentences.iter().flat_map(|sentence| self.description.positions(sentence));
        self.place.narrowed(&self.embeddings.rows(&words, positions, segments)?)
    }

    /// Refuses tokens of a text of `length` that the model does not have.
    fn check_text(&self, length: usize, tokens: &[u32]) -> Result<()> {
        let (longest, known) = (self.longest_text(), self.vocabulary());
        if length > longest {
            let what = format!("position {}", length - 1);
            return Err(Error::Slot { what, expected: format!("texts are at most {longest} tokens long") });
        }
        tokens.iter().find(|&&token| token as usize >= known).map_or(Ok(()), |token| {
            let expected = format!("its vocabulary has {known} entries: is this its tokenizer?");
            Err(Error::Slot { what: format!("token {token}"), expected })
        })
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
        let mut tape = Tape::new(pass, packing, Vec::new())?;
        let x = self.place.narrowed(x)?;
        self.blocks[range].iter().try_fold(x, |x, block| block.run(&mut tape, x, At::All))
    }

    /// Activations above the last block at the row of each text that is read, given all rows below block `from`: the first token's
    /// in an encoder, the last token's in a decoder. The last block computes keys and values everywhere and the rest at these rows only.
    /// With the number of blocks for `from`, the rows are those above the last one already.
    ///
    /// # Shapes
    /// `x: [samples or 1, rows, width]` to `[samples or 1, sentences, width]`.
    ///
    /// # Errors
    /// When shapes do not go together.
    pub fn states(&self, from: usize, x: &Tensor, packing: &Packing, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.states_at(from, x, packing, self.read_rows(packing), pass)
    }

    /// [`states`](Self::states) at the rows `read`, in ascending order.
    fn states_at(
        &self,
        from: usize,
        x: &Tensor,
        packing: &Packing,
        read: Vec<u32>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let last = self.blocks.len().saturating_sub(1);
        if from > last {
            let read = Tensor::new(read, self.device())?;
            return Ok(self.place.narrowed(x)?.index_select(&read, 1)?);
        }
        let mut tape = Tape::new(pass, packing, read)?;
        let below = &self.blocks[from.min(last)..last];
        let x = self.place.narrowed(x)?;
        let x = below.iter().try_fold(x, |x, block| block.run(&mut tape, x, At::All))?;
        self.blocks[last].run(&mut tape, x, At::Read)
    }

    /// What the head reads, given all rows below block `from`: [states](Self::states) after the pooler or the last normalisation, where
    /// there is one; in f32 whatever the place, for heads are.
    ///
    /// # Shapes
    /// `x: [samples or 1, rows, width]` to `[samples or 1, sentences, width]`.
    ///
    /// # Errors
    /// When shapes do not go together.
    pub fn pooled(&self, from: usize, x: &Tensor, packing: &Packing, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.pooled_at(from, x, packing, self.read_rows(packing), pass)
    }

    /// [`pooled`](Self::pooled) at the rows `read`, in ascending order.
    pub(crate) fn pooled_at(
        &self,
        from: usize,
        x: &Tensor,
        packing: &Packing,
        read: Vec<u32>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let states = self.states_at(from, x, packing, read.clone(), pass)?;
        let read = self.top.run(&mut Tape::new(pass, packing, read)?, states, self.blocks.len())?;
        Ok(read.to_dtype(DType::F32)?)
    }

    /// Weight `[width, width]` and bias `[width]` of BERT's pooler in f32, where there is one.
    ///
    /// # Errors
    /// When they cannot be widened.
    pub fn pooler(&self) -> Result<Option<(Tensor, Tensor)>> {
        let Top::Pooler(pooler) = &self.top else { return Ok(None) };
        let (weight, bias) = pooler.parts();
        let weight = weight.tensor(DType::F32)?;
        let bias = match bias {
            Some(bias) => bias.to_dtype(DType::F32)?,
            None => Tensor::zeros(pooler.shape().0, DType::F32, self.device())?,
        };
        Ok(Some((weight, bias)))
    }

    /// The row of each text that is read.
    pub(crate) fn read_rows(&self, packing: &Packing) -> Vec<u32> {
        if self.is_causal() { packing.last_rows() } else { packing.first_rows() }
    }
}
