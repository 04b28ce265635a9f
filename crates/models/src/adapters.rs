//! Adapter sets for a BERT encoder: fresh ones, and those of adapter folders.

use std::collections::BTreeMap;
use std::path::Path;

use bayeslora_adapters::files::{read_tensors, write_tensors};
use bayeslora_adapters::peft::{HEAD_FILE, Pair, PeftAdapter, PeftConfig};
use bayeslora_adapters::{
    AdapterSet, DropoutSite, LoraShape, LowRank, MaskScope, Noise, PosteriorSettings, Slot, TargetMap,
};
use bayeslora_host::{read, write_atomically};

use crate::bert::Bert;
use crate::classifier::{Head, head_names};
use crate::error::{Error, Result};
use crate::slots::pooler_slot;

/// Settings of the posterior, written beside PEFT's files; without it an adapter has PEFT's input-site dropout.
pub const POSTERIOR_FILE: &str = "posterior.json";
/// Tensors of the posterior beyond the low-rank pairs.
pub const POSTERIOR_TENSORS_FILE: &str = "posterior.safetensors";

/// The slots of `maps` in `blocks`, in order and without repetition.
///
/// # Errors
/// [`Error::Slot`] for a block the encoder does not have.
pub fn target_slots(bert: &Bert, blocks: &[usize], maps: &[TargetMap]) -> Result<Vec<Slot>> {
    let mut slots = Vec::new();
    for &map in maps {
        if map == TargetMap::Pooler {
            slots.push(pooler_slot(bert.blocks()));
            continue;
        }
        for &block in blocks {
            let Some(block) = u8::try_from(block).ok().filter(|&block| usize::from(block) < bert.blocks()) else {
                let expected = format!("its blocks are 0 to {}", bert.blocks().saturating_sub(1));
                return Err(Error::Slot { what: format!("block {block}"), expected });
            };
            slots.push(Slot::new(block, map));
        }
    }
    slots.sort_unstable();
    slots.dedup();
    Ok(slots)
}

/// Untrained adapters of one posterior in `slots`.
///
/// # Errors
/// When the rank does not fit a map, or a setting is outside its range.
pub fn initial_adapters(
    bert: &Bert,
    slots: &[Slot],
    shape: LoraShape,
    posterior: &PosteriorSettings,
    noise: &Noise,
) -> Result<AdapterSet> {
    let mut set = AdapterSet::new();
    for &slot in slots {
        let lora = LowRank::initial(slot, bert.slot_shape(slot)?, shape, noise, bert.device())?;
        set.insert(slot, posterior.initial(slot, lora, noise, bert.device())?);
    }
    Ok(set)
}

/// An adapter read from its folder, ready to classify.
#[derive(Debug)]
pub struct SavedAdapter {
    /// The adapters.
    pub adapters: AdapterSet,
    /// The classification head.
    pub head: Head,
    /// The posterior they have.
    pub posterior: PosteriorSettings,
}

impl SavedAdapter {
    /// Reads an adapter saved by PEFT or by [`save_adapter`]. `choose` may replace the posterior found in the folder, or
    /// say why it cannot be.
    ///
    /// # Errors
    /// Naming the file, for whatever is missing, damaged, of another shape, or unsupported; `choose`'s reason.
    pub fn load(
        folder: &Path,
        bert: &Bert,
        model_folder: &Path,
        choose: impl FnOnce(PosteriorSettings) -> Result<PosteriorSettings, String>,
    ) -> Result<Self> {
        let peft = PeftAdapter::load(folder, bert.device())?;
        let head = Head::find(&peft, model_folder, bert)?;
        check_extra(&peft, bert)?;
        let posterior = choose(read_posterior(folder, &peft.config)?)
            .map_err(|problem| Error::File { path: folder.join(POSTERIOR_FILE), problem })?;
        let mut tensors: BTreeMap<String, BTreeMap<String, candle_core::Tensor>> = BTreeMap::new();
        let tensor_path = folder.join(POSTERIOR_TENSORS_FILE);
        if tensor_path.is_file() {
            for (key, tensor) in read_tensors(&tensor_path, bert.device())? {
                let (module, name) = key.rsplit_once(':').unwrap_or(("", key.as_str()));
                tensors.entry(module.to_owned()).or_default().insert(name.to_owned(), tensor);
            }
        }
        let none = BTreeMap::new();
        let mut adapters = AdapterSet::new();
        for (slot, lora) in pairs_by_slot(bert, &peft)? {
            let further = tensors.get(&bert.config().family().module_path(slot)).unwrap_or(&none);
            adapters.insert(slot, posterior.restored(slot, lora, further)?);
        }
        Ok(Self { adapters, head, posterior })
    }
}

/// The low-rank pairs of a PEFT adapter by slot.
fn pairs_by_slot(bert: &Bert, adapter: &PeftAdapter) -> Result<Vec<(Slot, LowRank)>> {
    let mut pairs = Vec::new();
    for (module, Pair { a, b, scale }) in &adapter.pairs {
        let slot = bert.config().family().slot_of(module, bert.blocks()).ok_or_else(|| Error::File {
            path: adapter.folder.clone(),
            problem: format!(
                "adapts {module}, which a {} encoder of {} blocks does not have; is this its base model?",
                bert.config().model_type,
                bert.blocks()
            ),
        })?;
        pairs.push((slot, LowRank::from_tensors(slot, bert.slot_shape(slot)?, a, b, *scale)?));
    }
    Ok(pairs)
}

/// Refuses tensors that would be silently left out.
fn check_extra(peft: &PeftAdapter, bert: &Bert) -> Result<()> {
    let head = head_names(bert);
    match peft.extra.keys().find(|key| !head.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(Error::File {
            path: peft.folder.clone(),
            problem: format!("saves {key} whole; only the low-rank pairs and the classification head are supported"),
        }),
    }
}

fn read_posterior(folder: &Path, config: &PeftConfig) -> Result<PosteriorSettings> {
    let path = folder.join(POSTERIOR_FILE);
    if !path.is_file() {
        let dropout = config.lora_dropout;
        return Ok(PosteriorSettings::Dropout { site: DropoutSite::Input, scope: MaskScope::Token, dropout });
    }
    serde_json::from_slice(&read(&path)?).map_err(|error| Error::File {
        path: path.clone(),
        problem: format!("not the settings of a posterior: {error}"),
    })
}

/// Writes an adapter and its head into `folder`: PEFT's two files (the head as PEFT saves `classifier`), and what the
/// posterior needs beyond them.
///
/// # Errors
/// When a file cannot be written.
pub fn save_adapter(
    folder: &Path,
    bert: &Bert,
    adapters: &AdapterSet,
    head: &Head,
    posterior: &PosteriorSettings,
    (rank, alpha): (usize, f64),
    base_model: &str,
) -> Result<()> {
    let family = bert.config().family();
    let mut pairs = BTreeMap::new();
    let mut further = BTreeMap::new();
    for (slot, adapter) in adapters.iter() {
        let mut halves = BTreeMap::new();
        for parameter in adapter.parameters() {
            let tensor = parameter.var.as_detached_tensor();
            if parameter.name.starts_with("lora_") {
                halves.insert(parameter.name, tensor);
            } else {
                further.insert(format!("{}:{}", family.module_path(slot), parameter.name), tensor);
            }
        }
        if let (Some(a), Some(b)) = (halves.remove("lora_A.weight"), halves.remove("lora_B.weight")) {
            pairs.insert(bert.module_path(slot), Pair { a, b, scale: alpha / rank as f64 });
        }
    }
    let config = PeftConfig {
        peft_type: "LORA".to_owned(),
        task_type: Some("SEQ_CLS".to_owned()),
        base_model_name_or_path: Some(base_model.to_owned()),
        r: rank,
        lora_alpha: alpha,
        lora_dropout: posterior.peft_dropout(),
        bias: "none".to_owned(),
        // Whole paths, so that `dense` does not reach modules that were not adapted.
        target_modules: pairs.keys().cloned().collect::<Vec<_>>().into(),
        layers_to_transform: None,
        modules_to_save: Some(vec!["classifier".to_owned(), "score".to_owned()]),
        rank_pattern: BTreeMap::new(),
        alpha_pattern: BTreeMap::new(),
        use_rslora: false,
        use_dora: false,
        fan_in_fan_out: false,
        lora_bias: false,
        layer_replication: None,
        trainable_token_indices: None,
        target_parameters: None,
        inference_mode: true,
    };
    PeftAdapter { config, pairs, extra: head.tensors(), folder: folder.to_owned() }.save(folder)?;
    let path = folder.join(POSTERIOR_FILE);
    let text = serde_json::to_string_pretty(posterior)
        .map_err(|error| Error::File { path: path.clone(), problem: format!("cannot be encoded: {error}") })?;
    write_atomically(&path, format!("{text}\n").as_bytes())?;
    // What an earlier adapter in this folder left would contradict the one just written.
    let mut stale = vec![HEAD_FILE];
    if further.is_empty() {
        stale.push(POSTERIOR_TENSORS_FILE);
    } else {
        write_tensors(&folder.join(POSTERIOR_TENSORS_FILE), &further)?;
    }
    for path in stale.into_iter().map(|name| folder.join(name)).filter(|path| path.is_file()) {
        std::fs::remove_file(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
    }
    Ok(())
}
