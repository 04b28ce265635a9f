//! Names of the tensors in an adapter file: `base_model.model.MODULE.lora_A.weight` and its variants.
//!
//! State dictionaries that PEFT did not save carry more: an adapter's name (`lora_A.default.weight`), the wrappers of other tools
//! (`module.`, `_orig_mod.`), and the modules under PEFT's own wrappers (`base_layer`, `original_module`, `modules_to_save`).

use std::collections::BTreeSet;

/// Path components that tools for compiling and for many devices put anywhere.
const WRAPPERS: [&str; 3] = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// What a tensor is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// `A` of a linear map.
    A,
    /// `B` of a linear map.
    B,
    /// The bias on `B`.
    BiasOfB,
    /// `A` of an embedding.
    EmbeddingA,
    /// `B` of an embedding.
    EmbeddingB,
    /// Trained rows of an embedding.
    TokenRows,
    /// The model's own tensor, under an adapter.
    UnderAdapter,
    /// The model's own tensor, saved whole.
    Whole,
    /// The trained copy of a module beside the model's own one.
    TrainedCopy,
    /// A tensor that is not used while the adapter is.
    Unused,
}

/// A tensor's place: the module's path for the parts of an adapter, the tensor's own path for the model's tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) path: String,
    pub(super) part: Part,
}

/// Names of adapters between `lora_A` or `lora_B` and `weight`.
pub(super) fn adapter_names<'a>(keys: impl Iterator<Item = &'a String>) -> BTreeSet<&'a str> {
    let infix = |key: &'a String| {
        let (_, rest) = key.split_once(".lora_A.").or_else(|| key.split_once(".lora_B."))?;
        Some(rest.split_once('.')?.0)
    };
    keys.filter_map(infix).collect()
}

/// Names of adapters in the paths of trained copies, as in `classifier.modules_to_save.mine.dense.bias`: what stands there is a name where
/// the module's own tensor, or its original, is in the file without it.
pub(super) fn copy_names<'a>(keys: &'a [String]) -> BTreeSet<&'a str> {
    let known: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
    let name = |key: &'a String| {
        let (module, rest) = key.split_once(".modules_to_save.")?;
        let (name, rest) = rest.split_once('.')?;
        let own = [format!("{module}.{rest}"), format!("{module}.original_module.{rest}")];
        own.iter().any(|own| known.contains(own.as_str())).then_some(name)
    };
    keys.iter().filter_map(name).collect()
}

/// The place of the tensor `key`; `adapters` are the names found in the file, by [`adapter_names`] and [`copy_names`].
///
/// The error says what is wrong with the name, without the file's.
pub(super) fn parse(key: &str, adapters: &BTreeSet<&str>) -> Result<Name, String> {
    let components: Vec<&str> = key.split('.').filter(|component| !WRAPPERS.contains(component)).collect();
    let peft = components.windows(2).position(|pair| pair == ["base_model", "model"]);
    let (before, mut path) = match peft {
        Some(place) => (&components[..place], &components[place + 2..]),
        None => (&[][..], &components[..]),
    };
    if before.iter().any(|component| *component != "module") {
        let prefix = before.join(".");
        return Err(format!(
            "{key} begins with `{prefix}.`, which PEFT does not write; rename the tensors to begin with `base_model.model.`"
        ));
    }
    while let ["module", rest @ ..] = path {
        path = rest;
    }
    let is_marker = |component: &&str| {
        component.starts_with("lora_")
            || ["base_layer", "modules_to_save", "original_module", "token_adapter"].contains(component)
    };
    let Some(place) = path.iter().position(is_marker) else {
        return Ok(Name { path: path.join("."), part: Part::Whole });
    };
    let (module, marker, rest) = (path[..place].join("."), path[place], &path[place + 1..]);
    let is_adapter = |name: &str| name == "default" || adapters.contains(name);
    let of_module = |part| Ok(Name { path: module.clone(), part });
    let tensor = |rest: &[&str], part| Ok(Name { path: format!("{module}.{}", rest.join(".")), part });
    match (marker, rest) {
        ("lora_A", ["weight"] | [_, "weight"]) => of_module(Part::A),
        ("lora_B", ["weight"] | [_, "weight"]) => of_module(Part::B),
        ("lora_B", ["bias"] | [_, "bias"]) => of_module(Part::BiasOfB),
        ("lora_embedding_A", [] | [_]) => of_module(Part::EmbeddingA),
        ("lora_embedding_B", [] | [_]) => of_module(Part::EmbeddingB),
        ("token_adapter", ["trainable_tokens_delta", ..]) => of_module(Part::TokenRows),
        ("token_adapter", ["trainable_tokens_original", ..]) | ("original_module", _) => of_module(Part::Unused),
        ("token_adapter", ["base_layer", rest @ ..]) | ("base_layer", rest) if !rest.is_empty() => {
            tensor(rest, Part::UnderAdapter)
        }
        ("modules_to_save", [name, rest @ ..]) if is_adapter(name) && !rest.is_empty() => {
            tensor(rest, Part::TrainedCopy)
        }
        ("modules_to_save", rest) if !rest.is_empty() => tensor(rest, Part::TrainedCopy),
        ("lora_magnitude_vector", _) => {
            Err(format!("{key} is a tensor of DoRA, which is not supported; merge the adapter into the model"))
        }
        _ => Err(format!("{key} is not a tensor of a plain LoRA adapter; re-export it without extras")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_of_a_name_have_one_meaning() {
        let query = "bert.encoder.layer.0.attention.self.query";
        let adapters = BTreeSet::from(["mine"]);
        for (key, path, part) in [
            (format!("base_model.model.{query}.lora_A.weight"), query, Part::A),
            (format!("{query}.lora_B.weight"), query, Part::B),
            (format!("base_model.model.{query}.lora_A.default.weight"), query, Part::A),
            (format!("module.base_model.model.{query}.lora_B.mine.weight"), query, Part::B),
            (format!("module.module.{query}.lora_B.bias"), query, Part::BiasOfB),
            (format!("_orig_mod.base_model.model._orig_mod.{query}.lora_A.weight"), query, Part::A),
            (format!("base_model.model.{query}.base_layer.bias"), &format!("{query}.bias"), Part::UnderAdapter),
            ("base_model.model.classifier.weight".to_owned(), "classifier.weight", Part::Whole),
            ("base_model.model.classifier.modules_to_save.weight".to_owned(), "classifier.weight", Part::TrainedCopy),
            ("classifier.modules_to_save.mine.bias".to_owned(), "classifier.bias", Part::TrainedCopy),
            ("bert.pooler.modules_to_save.mine.dense.bias".to_owned(), "bert.pooler.dense.bias", Part::TrainedCopy),
            ("bert.pooler.modules_to_save.dense.bias".to_owned(), "bert.pooler.dense.bias", Part::TrainedCopy),
            ("classifier.original_module.bias".to_owned(), "classifier", Part::Unused),
            ("a.words.lora_embedding_A".to_owned(), "a.words", Part::EmbeddingA),
            ("a.words.lora_embedding_B.default".to_owned(), "a.words", Part::EmbeddingB),
            ("a.words.token_adapter.trainable_tokens_delta".to_owned(), "a.words", Part::TokenRows),
            ("a.words.token_adapter.base_layer.weight".to_owned(), "a.words.weight", Part::UnderAdapter),
        ] {
            assert_eq!(parse(&key, &adapters).unwrap(), Name { path: path.to_owned(), part }, "{key}");
        }
    }

    #[test]
    fn other_names_are_refused_by_what_is_wrong_with_them() {
        for (key, says) in [
            ("model.base_model.model.a.lora_A.weight", "begins with `model.`"),
            ("base_model.model.a.lora_magnitude_vector", "DoRA"),
            ("base_model.model.a.lora_diag", "not a tensor of a plain LoRA adapter"),
        ] {
            let error = parse(key, &BTreeSet::new()).unwrap_err();
            assert!(error.contains(key) && error.contains(says), "{error}");
        }
    }

    #[test]
    fn adapter_names_stand_between() {
        let keys = ["a.lora_A.x.weight", "a.lora_B.y.weight", "a.lora_A.weight", "b.bias"].map(str::to_owned);
        assert_eq!(adapter_names(keys.iter()), BTreeSet::from(["x", "y"]));
    }

    #[test]
    fn names_of_trained_copies_stand_where_the_module_itself_has_none() {
        let names = |keys: &[&str]| -> Vec<String> {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            copy_names(&keys).into_iter().map(str::to_owned).collect()
        };
        assert_eq!(names(&["head.dense.bias", "head.modules_to_save.mine.dense.bias"]), ["mine"]);
        assert_eq!(names(&["head.original_module.bias", "head.modules_to_save.mine.bias"]), ["mine"]);
        assert!(names(&["head.dense.bias", "head.modules_to_save.dense.bias"]).is_empty());
        assert!(names(&["head.bias", "head.modules_to_save.bias"]).is_empty());
    }
}
