//! What a model's configuration says, whatever its kind.

use std::path::Path;

use crate::config::{BertConfig, CONFIG_FILE};
use crate::decoder::DecoderConfig;
use crate::error::Result;
use crate::slots::{DECODER, Names, Segments};

/// The configuration of a model.
#[derive(Debug, Clone)]
pub(crate) enum Description {
    /// An encoder of BERT's kind.
    Encoder(Box<BertConfig>),
    /// A decoder.
    Decoder(Box<DecoderConfig>),
}

/// Positions that rotary tables are made for: longer texts are refused.
pub(crate) const MOST_POSITIONS: usize = 8_192;

impl Description {
    pub(crate) fn family(&self) -> &'static Names {
        match self {
            Self::Encoder(config) => config.family(),
            Self::Decoder(_) => &DECODER,
        }
    }

    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Encoder(config) => &config.model_type,
            Self::Decoder(config) => config.family.types[0],
        }
    }

    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Encoder(config) => config.hidden_size,
            Self::Decoder(config) => config.hidden_size,
        }
    }

    pub(crate) fn vocabulary(&self) -> usize {
        match self {
            Self::Encoder(config) => config.vocab_size,
            Self::Decoder(config) => config.vocab_size,
        }
    }

    pub(crate) fn longest_text(&self) -> usize {
        match self {
            Self::Encoder(config) => config.longest_text(),
            Self::Decoder(config) => config.max_positions.min(MOST_POSITIONS),
        }
    }

    /// How many segments tokens may belong to, where they belong to segments.
    pub(crate) fn segments(&self) -> Option<usize> {
        match self {
            Self::Encoder(config) if config.family().segments == Segments::Own => Some(config.type_vocab_size),
            Self::Encoder(_) | Self::Decoder(_) => None,
        }
    }

    /// The token that a class head is not read at.
    pub(crate) fn padding(&self) -> Option<u32> {
        match self {
            Self::Encoder(_) => None,
            Self::Decoder(config) => config.pad_token_id,
        }
    }

    /// The rows of a text's tokens in the table of positions.
    pub(crate) fn positions(&self, text: &[u32]) -> Vec<u32> {
        match self {
            Self::Encoder(config) => config.positions(text).collect(),
            Self::Decoder(_) => Vec::new(),
        }
    }

    pub(crate) fn class_names(&self, classes: usize) -> Option<Vec<String>> {
        match self {
            Self::Encoder(config) => config.class_names(classes),
            Self::Decoder(config) => config.class_names(classes),
        }
    }

    /// Refuses a head that the configuration of `model` says is read otherwise than by a softmax over its outputs.
    pub(crate) fn check_problem_type(&self, model: &Path) -> Result<()> {
        match self {
            Self::Encoder(config) => config.check_problem_type(model),
            Self::Decoder(config) => config.check_problem_type(&model.join(CONFIG_FILE)),
        }
    }
}
