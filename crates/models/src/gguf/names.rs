//! Names of tensors: what transformers calls `model.layers.0.self_attn.q_proj.weight` is `blk.0.attn_q.weight` in a GGUF file.

use crate::decoder::Family;

/// Factors that slow the turns of rotary positions.
pub(crate) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The file's name of the tensor that transformers calls `name`; none where the format has none.
pub(crate) fn in_file(family: &Family, name: &str) -> Option<String> {
    let (path, end) = name.rsplit_once('.')?;
    if path == Family::LANGUAGE_HEAD {
        return Some(format!("output.{end}"));
    }
    if path == Family::embedding() {
        return Some(format!("token_embd.{end}"));
    }
    if path == Family::last_norm() {
        return Some(format!("output_norm.{end}"));
    }
    let (block, within) = path.strip_prefix("model.layers.")?.split_once('.')?;
    let known = within_block(family).into_iter().find(|(theirs, _)| *theirs == within);
    known.map(|(_, own)| format!("blk.{block}.{own}.{end}"))
}

/// The modules of a block, by transformers' name and by the file's.
fn within_block(family: &Family) -> Vec<(&'static str, &'static str)> {
    let maps = Family::ATTENTION.into_iter().chain(Family::MLP);
    let own = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    let norms = family.norms.into_iter().zip(["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"]);
    // Two norms a block are those before its halves.
    let norms: Vec<_> = match family.norms {
        [first, None, second, None] => vec![(first, "attn_norm"), (second, "ffn_norm")],
        _ => norms.collect(),
    };
    let norms = norms.into_iter().filter_map(|(theirs, own)| Some((theirs?, own)));
    let of_heads = family.qk_norms.into_iter().flat_map(|norms| norms.into_iter().zip(["attn_q_norm", "attn_k_norm"]));
    maps.zip(own).chain(norms).chain(of_heads).collect()
}
