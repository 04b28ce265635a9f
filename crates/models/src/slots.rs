//! Names of the parts of models in checkpoints and PEFT files: one row a family of encoders, one for all decoders.

use bayeslora_adapters::{Slot, TargetMap};
use bayeslora_kernels::Activation;

/// The names that a model follows, and which of BERT's parts it has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// Its names as `model_type` in `config.json`.
    pub(crate) types: &'static [&'static str],
    /// Its own names of BERT's keys in `config.json`.
    pub(crate) keys: &'static [(&'static str, &'static str)],
    /// Path of the encoder within a model for classification.
    pub(crate) prefix: &'static str,
    /// Path of the blocks within the encoder.
    blocks: &'static str,
    /// The layer normalisations of a block: after the attention, after the feed-forward network.
    pub(crate) norms: [&'static str; 2],
    /// Where a map lies within its block.
    maps: &'static [(TargetMap, &'static str)],
    /// Paths of the embeddings within the model, that of words first.
    pub(crate) tables: &'static [&'static str],
    /// Which row of the table of segments is added to a token.
    pub(crate) segments: Segments,
    /// Whether positions are counted from the padding token's number on, over the tokens that are not padding.
    pub(crate) counts_from_padding: bool,
    /// Whether a pooler stands between the encoder and its head.
    pub(crate) has_pooler: bool,
    /// The classification head.
    pub(crate) head: HeadParts,
}

/// What a token's segment adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segments {
    /// Nothing: there is no table.
    None,
    /// The first row, in the second text of a pair as well.
    First,
    /// The row of the token's own segment.
    Own,
}

/// Names of a head's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadParts {
    /// Weight of the map to the logits, and its bias, where it has one.
    pub(crate) last: (&'static str, Option<&'static str>),
    /// Weight and bias of the map before it, and what bends its values.
    pub(crate) dense: Option<([&'static str; 2], Activation)>,
    /// Modules that hold all of these.
    pub(crate) modules: &'static [&'static str],
}

impl HeadParts {
    /// All names.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let (weight, bias) = self.last;
        std::iter::once(weight).chain(bias).chain(self.dense.into_iter().flat_map(|(names, _)| names)).collect()
    }
}

const BERT_MAPS: &[(TargetMap, &str)] = &[
    (TargetMap::Query, "attention.self.query"),
    (TargetMap::Key, "attention.self.key"),
    (TargetMap::Value, "attention.self.value"),
    (TargetMap::AttentionOutput, "attention.output.dense"),
    (TargetMap::Intermediate, "intermediate.dense"),
    (TargetMap::Output, "output.dense"),
];
const WORDS: &str = "embeddings.word_embeddings";
const POSITIONS: &str = "embeddings.position_embeddings";
const BERT_TABLES: &[&str] = &[WORDS, POSITIONS, "embeddings.token_type_embeddings"];
const BERT_NORMS: [&str; 2] = ["attention.output.LayerNorm", "output.LayerNorm"];
const CLASSIFIER: (&str, Option<&str>) = ("classifier.weight", Some("classifier.bias"));

/// The families that are read.
pub(crate) static FAMILIES: [Names; 3] = [
    // BERT (arXiv 1810.04805).
    Names {
        types: &["bert"],
        keys: &[],
        prefix: "bert.",
        blocks: "encoder.layer.",
        norms: BERT_NORMS,
        maps: BERT_MAPS,
        tables: BERT_TABLES,
        segments: Segments::Own,
        counts_from_padding: false,
        has_pooler: true,
        head: HeadParts { last: CLASSIFIER, dense: None, modules: &["classifier"] },
    },
    // DistilBERT (arXiv 1910.01108) computes what BERT does, without segments and pooler.
    Names {
        types: &["distilbert"],
        keys: &[
            ("dim", "hidden_size"),
            ("n_layers", "num_hidden_layers"),
            ("n_heads", "num_attention_heads"),
            ("hidden_dim", "intermediate_size"),
            ("activation", "hidden_act"),
        ],
        prefix: "distilbert.",
        blocks: "transformer.layer.",
        norms: ["sa_layer_norm", "output_layer_norm"],
        maps: &[
            (TargetMap::Query, "attention.q_lin"),
            (TargetMap::Key, "attention.k_lin"),
            (TargetMap::Value, "attention.v_lin"),
            (TargetMap::AttentionOutput, "attention.out_lin"),
            (TargetMap::Intermediate, "ffn.lin1"),
            (TargetMap::Output, "ffn.lin2"),
        ],
        tables: &[WORDS, POSITIONS],
        segments: Segments::None,
        counts_from_padding: false,
        has_pooler: false,
        head: HeadParts {
            last: CLASSIFIER,
            dense: Some((["pre_classifier.weight", "pre_classifier.bias"], Activation::Relu)),
            modules: &["classifier", "pre_classifier"],
        },
    },
    // RoBERTa (arXiv 1907.11692) and XLM-RoBERTa (arXiv 1911.02116). The pooler of a bare checkpoint is not read, as in transformers.
    Names {
        types: &["roberta", "xlm-roberta"],
        keys: &[],
        prefix: "roberta.",
        blocks: "encoder.layer.",
        norms: BERT_NORMS,
        maps: BERT_MAPS,
        tables: BERT_TABLES,
        segments: Segments::First,
        counts_from_padding: true,
        has_pooler: false,
        head: HeadParts {
            last: ("classifier.out_proj.weight", Some("classifier.out_proj.bias")),
            dense: Some((["classifier.dense.weight", "classifier.dense.bias"], Activation::Tanh)),
            modules: &["classifier"],
        },
    },
];

/// Decoders, whose families all have these names, below `model.`; what else sets them apart is in [`crate::decoder`].
pub(crate) static DECODER: Names = Names {
    types: &[],
    keys: &[],
    prefix: "model.",
    blocks: "layers.",
    norms: ["input_layernorm", "post_attention_layernorm"],
    maps: &[
        (TargetMap::Query, "self_attn.q_proj"),
        (TargetMap::Key, "self_attn.k_proj"),
        (TargetMap::Value, "self_attn.v_proj"),
        (TargetMap::AttentionOutput, "self_attn.o_proj"),
        (TargetMap::Gate, "mlp.gate_proj"),
        (TargetMap::Intermediate, "mlp.up_proj"),
        (TargetMap::Output, "mlp.down_proj"),
    ],
    tables: &["embed_tokens"],
    segments: Segments::None,
    counts_from_padding: false,
    has_pooler: false,
    head: HeadParts { last: ("score.weight", None), dense: None, modules: &["score"] },
};

impl Names {
    /// The family of a `model_type`, written as transformers writes it.
    pub(crate) fn of(model_type: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| family.types.contains(&model_type))
    }

    /// Path of block `block`, followed by a dot.
    pub(crate) fn block(&self, block: u8) -> String {
        format!("{}{block}.", self.blocks)
    }

    /// Path of a slot's module within the encoder (`encoder.layer.0.attention.self.query`, `pooler.dense`).
    pub(crate) fn module_path(&self, slot: Slot) -> String {
        let within = self.maps.iter().find(|(map, _)| *map == slot.map);
        within.map_or_else(|| "pooler.dense".to_owned(), |(_, within)| self.block(slot.block) + within)
    }

    /// The slot of a module path, with or without the encoder's own, in an encoder of `blocks` blocks.
    pub(crate) fn slot_of(&self, path: &str, blocks: usize) -> Option<Slot> {
        let path = path.strip_prefix(self.prefix).unwrap_or(path);
        self.slots(blocks).find(|&slot| self.module_path(slot) == path)
    }

    /// The slots of an encoder of `blocks` blocks.
    pub(crate) fn slots(&self, blocks: usize) -> impl Iterator<Item = Slot> {
        let within = (0..blocks).filter_map(|block| u8::try_from(block).ok());
        let slots = within.flat_map(|block| self.maps.iter().map(move |&(map, _)| Slot::new(block, map)));
        slots.chain(self.has_pooler.then(|| pooler_slot(blocks)))
    }
}

/// The name of a tensor or module without the path of an encoder of any family.
pub(crate) fn without_prefix(name: &str) -> &str {
    FAMILIES.iter().find_map(|family| name.strip_prefix(family.prefix)).unwrap_or(name)
}

/// Whether the tensor at `path` belongs to a head, of any family.
pub(crate) fn is_of_head(path: &str) -> bool {
    let first = path.split('.').next().unwrap_or_default();
    FAMILIES.iter().chain([&DECODER]).any(|family| family.head.modules.contains(&first))
}

/// Most blocks of an encoder: those after are the pooler's and the head's in noise addresses, and the last is [`Slot::NONE`]'s.
pub(crate) const MOST_BLOCKS: u8 = u8::MAX - 2;

/// The pooler's slot: a map of the block after the last.
pub fn pooler_slot(blocks: usize) -> Slot {
    // A configuration of more blocks is refused.
    Slot::new(u8::try_from(blocks).unwrap_or(MOST_BLOCKS), TargetMap::Pooler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_slots_are_one_to_one() {
        for family in FAMILIES.iter().chain([&DECODER]) {
            let slots: Vec<Slot> = family.slots(6).collect();
            assert_eq!(slots.len(), 6 * family.maps.len() + usize::from(family.has_pooler));
            for slot in slots {
                let path = family.module_path(slot);
                assert_eq!(family.slot_of(&path, 6), Some(slot));
                assert_eq!(family.slot_of(&format!("{}{path}", family.prefix), 6), Some(slot));
            }
            assert_eq!(family.slot_of("encoder.layer.6.output.dense", 6), None);
            assert_eq!(family.slot_of("transformer.layer.6.ffn.lin2", 6), None);
            assert_eq!(family.slot_of("classifier", 6), None);
            assert!(family.types.iter().all(|kind| Names::of(kind) == Some(family)));
            assert!(family.head.names().iter().all(|name| is_of_head(name)));
        }
        let backbone = Names::of("bert").unwrap();
        assert_eq!(backbone.slot_of("distilbert.transformer.layer.0.ffn.lin1", 6), None);
        assert_eq!(backbone.slot_of("pooler.dense", 6), Some(pooler_slot(6)));
        assert_eq!(Names::of("roberta").unwrap().slot_of("roberta.pooler.dense", 6), None);
    }
}
