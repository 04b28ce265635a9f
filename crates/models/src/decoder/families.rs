//! What sets the families of decoders apart: one constant a family, and one line in [`FAMILIES`].
//!
//! All have the same modules under the same names (`model.layers.0.self_attn.q_proj`), except for the norms around their two halves.
//! Defaults are those of transformers 5.24, which leaves keys out of a file where they have them.

use bayeslora_kernels::Activation;

/// A family of decoders: names, flags and defaults.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// Its name in messages.
    pub name: &'static str,
    /// Its names as `model_type` in `config.json`.
    pub types: &'static [&'static str],
    /// Its name as `general.architecture` of a GGUF file; none where it goes by another family's.
    pub gguf: Option<&'static str>,
    /// Whether a norm multiplies by `1 + w` instead of `w`. GGUF files hold the sum.
    pub norm_plus_one: bool,
    /// Norms before and after the attention, before and after the feed-forward network, by their names within a block; none where
    /// there is none.
    pub norms: [Option<&'static str>; 4],
    /// Norms of queries and keys, by their names within a block; none where they are not normalised.
    pub qk_norms: Option<[&'static str; 2]>,
    /// Which maps have a bias.
    pub biases: BiasRule,
    /// Which blocks see a window only.
    pub windows: WindowRule,
    /// Whether embeddings are multiplied by the square root of the width.
    pub scaled_embedding: bool,
    /// Default of `query_pre_attn_scalar`, in families whose attention is scaled by it.
    pub query_scalar: Option<f64>,
    /// Whether scores and logits may be capped; defaults of the two caps.
    pub softcaps: Option<[Option<f64>; 2]>,
    /// Key of the activation, and its default.
    pub activation: (&'static str, Activation),
    /// Default of `tie_word_embeddings`.
    pub tied: bool,
    /// Default of the base of rotary positions; of the one in blocks with a window as well, where it is another.
    pub theta: (f64, Option<f64>),
    /// Defaults of sizes that a file may leave out, by key.
    pub sizes: &'static [(&'static str, usize)],
    /// Defaults of the tokens for padding, beginning and end.
    pub tokens: [Option<u32>; 3],
}

/// Which maps of a block have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BiasRule {
    /// None.
    Never,
    /// Query, key and value.
    QueryKeyValue,
    /// Those of the attention where `attention_bias` says so.
    Attention,
    /// The same, and those of the feed-forward network where `mlp_bias` says so.
    AttentionAndMlp,
}

/// Which blocks see a window only, where no `layer_types` says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowRule {
    /// None; `sliding_window` is not read.
    Never,
    /// All; `sliding_window` is null where there is none.
    Every {
        /// Default of `sliding_window`.
        window: usize,
    },
    /// Those from `max_window_layers` on, where `use_sliding_window` says so.
    From {
        /// Default of `sliding_window`.
        window: usize,
        /// Default of `max_window_layers`.
        block: usize,
    },
    /// All but the last of each so many.
    AllButLastOf {
        /// Default of `sliding_window`.
        window: usize,
        /// So many blocks have one without a window among them.
        pattern: usize,
        /// The key that says otherwise, in families that have one.
        key: Option<&'static str>,
    },
}

/// Path of the decoder within a language model.
pub(crate) const PREFIX: &str = "model.";
/// The embeddings within the decoder.
pub(crate) const EMBEDDING: &str = "embed_tokens";

/// Two norms a block.
const BEFORE: [Option<&str>; 4] = [Some("input_layernorm"), None, Some("post_attention_layernorm"), None];
/// Four norms a block.
const AROUND: [Option<&str>; 4] = [
    Some("input_layernorm"),
    Some("post_attention_layernorm"),
    Some("pre_feedforward_layernorm"),
    Some("post_feedforward_layernorm"),
];

const QK_NORMS: Option<[&str; 2]> = Some(["self_attn.q_norm", "self_attn.k_norm"]);

/// Llama (arXiv 2302.13971, 2407.21783), and what is made like it: `SmolLM2`, `TinyLlama`.
const LLAMA: Family = Family {
    name: "Llama",
    types: &["llama"],
    gguf: Some("llama"),
    norm_plus_one: false,
    norms: BEFORE,
    qk_norms: None,
    biases: BiasRule::AttentionAndMlp,
    windows: WindowRule::Never,
    scaled_embedding: false,
    query_scalar: None,
    softcaps: None,
    activation: ("hidden_act", Activation::Silu),
    tied: false,
    theta: (10_000.0, None),
    sizes: &[("max_position_embeddings", 2_048)],
    tokens: [None, Some(1), Some(2)],
};

/// Mistral (arXiv 2310.06825). As GGUF it is a Llama.
const MISTRAL: Family = Family {
    name: "Mistral",
    types: &["mistral"],
    gguf: None,
    biases: BiasRule::Never,
    windows: WindowRule::Every { window: 4_096 },
    sizes: &[("num_key_value_heads", 8), ("max_position_embeddings", 131_072)],
    ..LLAMA
};

/// Qwen2 and Qwen2.5 (arXiv 2407.10671, 2412.15115).
const QWEN2: Family = Family {
    name: "Qwen2",
    types: &["qwen2"],
    gguf: Some("qwen2"),
    biases: BiasRule::QueryKeyValue,
    windows: WindowRule::From { window: 4_096, block: 28 },
    sizes: &[("num_key_value_heads", 32), ("max_position_embeddings", 32_768)],
    tokens: [None; 3],
    ..LLAMA
};

/// Qwen3 (arXiv 2505.09388).
const QWEN3: Family = Family {
    name: "Qwen3",
    types: &["qwen3"],
    gguf: Some("qwen3"),
    qk_norms: QK_NORMS,
    biases: BiasRule::Attention,
    sizes: &[("num_key_value_heads", 32), ("head_dim", 128), ("max_position_embeddings", 32_768)],
    ..QWEN2
};

/// Gemma 2 (arXiv 2408.00118).
const GEMMA2: Family = Family {
    name: "Gemma 2",
    types: &["gemma2"],
    gguf: Some("gemma2"),
    norm_plus_one: true,
    norms: AROUND,
    qk_norms: None,
    biases: BiasRule::Attention,
    windows: WindowRule::AllButLastOf { window: 4_096, pattern: 2, key: None },
    scaled_embedding: true,
    query_scalar: Some(256.0),
    softcaps: Some([Some(50.0), Some(30.0)]),
    activation: ("hidden_activation", Activation::GeluTanh),
    tied: true,
    theta: (10_000.0, None),
    sizes: &[("num_key_value_heads", 4), ("head_dim", 256), ("max_position_embeddings", 8_192)],
    tokens: [Some(0), Some(2), Some(1)],
};

/// Gemma 3 (arXiv 2503.19786), alone or as the text half of a model that reads images, whose file leaves out most sizes.
const GEMMA3: Family = Family {
    name: "Gemma 3",
    types: &["gemma3_text", "gemma3"],
    gguf: Some("gemma3"),
    qk_norms: QK_NORMS,
    windows: WindowRule::AllButLastOf { window: 4_096, pattern: 6, key: Some("sliding_window_pattern") },
    softcaps: Some([None, None]),
    theta: (1_000_000.0, Some(10_000.0)),
    sizes: &[
        ("vocab_size", 262_208),
        ("hidden_size", 2_304),
        ("intermediate_size", 9_216),
        ("num_hidden_layers", 26),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 4),
        ("head_dim", 256),
        ("max_position_embeddings", 131_072),
    ],
    ..GEMMA2
};

/// The families that are read.
pub(crate) static FAMILIES: [Family; 6] = [LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA2, GEMMA3];

impl Family {
    /// The family of a `model_type`, written as transformers writes it.
    pub fn of(model_type: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| family.types.contains(&model_type))
    }

    /// Path of block `block`, followed by a dot (`model.layers.0.`).
    pub fn block(block: usize) -> String {
        format!("{PREFIX}layers.{block}.")
    }

    /// Path of the embeddings.
    pub fn embedding() -> String {
        format!("{PREFIX}{EMBEDDING}")
    }

    /// Path of the norm above the last block.
    pub fn last_norm() -> String {
        format!("{PREFIX}norm")
    }

    /// The map to the logits of the next token.
    pub const LANGUAGE_HEAD: &'static str = "lm_head";
    /// The map to the logits of classes.
    pub const CLASS_HEAD: &'static str = "score";
    /// Query, key, value and output of the attention within a block.
    pub const ATTENTION: [&'static str; 4] =
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
    /// Gate, its factor and the map back of the feed-forward network within a block.
    pub const MLP: [&'static str; 3] = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];
}

/// The family of a GGUF file's `general.architecture`.
pub(crate) fn family_of_gguf(architecture: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.gguf == Some(architecture))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_about_unknown_models_name_all_that_are_read() {
        let quoted: Vec<String> =
            FAMILIES.iter().flat_map(|family| family.types).map(|kind| format!("\"{kind}\"")).collect();
        assert_eq!(quoted.join(", "), crate::config::DECODERS);
    }
}
