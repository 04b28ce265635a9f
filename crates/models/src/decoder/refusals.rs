//! What would be computed wrongly in silence, refused by name.

use serde_json::{Map, Value};

use super::families::{FAMILIES, Family};
use super::keys::{Keys, Problem};

/// Keys that only mixtures of experts have.
const EXPERTS: [&str; 5] =
    ["num_local_experts", "num_experts", "n_routed_experts", "num_experts_per_tok", "moe_intermediate_size"];

/// The family of a configuration, or what is wrong with its `model_type`.
pub(crate) fn family(keys: &Keys<'_>) -> Result<&'static Family, Problem> {
    let known: Vec<String> =
        FAMILIES.iter().flat_map(|family| family.types).map(|kind| format!("\"{kind}\"")).collect();
    let Some(found) = keys.find("model_type") else {
        return Err(format!(
            "has no model_type; add \"model_type\": {} to it, if it is one of these",
            known.join(" or ")
        ));
    };
    experts(keys)?;
    found.as_str().and_then(Family::of).ok_or_else(|| {
        let is_mixture =
            found.as_str().is_some_and(|kind| kind.contains("moe") || kind.contains("mixtral") || kind == "llama4");
        let kind = if is_mixture { ", a mixture of experts, which is not supported" } else { "" };
        format!("model_type is {found}{kind}; decoders here are {}, written so", known.join(", "))
    })
}

fn experts(keys: &Keys<'_>) -> Result<(), Problem> {
    match EXPERTS.into_iter().find(|key| keys.find(key).is_some_and(|count| count.as_u64() != Some(0))) {
        None => Ok(()),
        Some(key) => Err(keys.refused(key, "none: mixtures of experts are not supported")),
    }
}

/// Refuses what these decoders do not do, in keys of any family.
pub(crate) fn check(keys: &Keys<'_>) -> Result<(), Problem> {
    experts(keys)?;
    if let Some(Value::Object(settings)) = keys.find("quantization_config") {
        return Err(quantised(settings));
    }
    if keys.find("pruned_heads").and_then(Value::as_object).is_some_and(|heads| !heads.is_empty()) {
        return Err(keys.refused("pruned_heads", "none: heads are whole here"));
    }
    for key in ["use_bidirectional_attention", "add_cross_attention", "is_encoder_decoder"] {
        // A text stands for true as well ("vision", "all").
        if keys.find(key).is_some_and(|value| *value != Value::Bool(false)) {
            return Err(keys.refused(key, "false: a token sees itself and those before it, and nothing else"));
        }
    }
    Ok(())
}

fn quantised(settings: &Map<String, Value>) -> Problem {
    let method = settings.get("quant_method").and_then(Value::as_str).unwrap_or("bitsandbytes");
    format!(
        "quantization_config says that the weights are stored by {method}, which is not read; take the checkpoint that was quantised, \
         or a GGUF file of it"
    )
}
