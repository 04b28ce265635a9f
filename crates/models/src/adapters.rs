//! Adapter sets for a backbone: fresh ones, and those of adapter folders.

use std::collections::BTreeMap;
use std::path::Path;

use bayeslora_adapters::files::{read_tensors, write_tensors};
use bayeslora_adapters::peft::{
    CONFIG_FILE, HEAD_FILE, Initialisation, Pair, PeftAdapter, PeftConfig, PlainSettings, ends_with_module, save_plain,
};
use bayeslora_adapters::{
    AdapterSet, DropoutSite, LoraShape, LowRank, MaskScope, Noise, PosteriorSettings, Slot, TargetMap,
};
use bayeslora_host::{read, write_atomically};
use candle_core::{Tensor, Var};

use crate::backbone::Backbone;
use crate::base::{changes_base, load_under};
use crate::classifier::Head;
use crate::decoder;
use crate::error::{Error, Result, wrong};
use crate::head_of::HeadOf;
use crate::place::Place;
use crate::slots::{is_of_head, pooler_slot};

/// Settings of the posterior, written beside PEFT's files; without it an adapter has PEFT's input-site dropout.
pub const POSTERIOR_FILE: &str = "posterior.json";
/// Tensors of the posterior beyond the low-rank pairs.
pub const POSTERIOR_TENSORS_FILE: &str = "posterior.safetensors";

/// Refuses an adapter that brings more to a decoder than pairs on linear maps and a class head.
fn check_on_decoder(adapter: &PeftAdapter) -> Result<()> {
    let merge = "merge it into the model, or train it without";
    if adapter.config.initialisation != Initialisation::Untouched {
        let problem = format!(
            "init_lora_weights changed the decoder's weights in training, which is repeated for encoders only; {merge}, or save it with \
             save_pretrained(.., path_initial_model_for_weight_conversion=..)"
        );
        return Err(Error::File { path: adapter.folder.join(CONFIG_FILE), problem });
    }
    if changes_base(adapter) {
        return Err(wrong(
            adapter,
            format!(
                "changes the decoder's own weights (embeddings, norms, biases or modules saved whole), which is read on encoders only; {merge}"
            ),
        ));
    }
    let is_there =
        |module: &String| adapter.whole.keys().any(|path| path.split('.').any(|part| part == module.as_str()));
    // PEFT names both heads' modules, whichever the model has.
    let heads = ["classifier", "score"];
    let mut trained = adapter.config.modules_to_save.iter().filter(|module| !heads.contains(&module.as_str()));
    if let Some(module) = trained.find(|module| !is_there(module)) {
        let problem = format!(
            "has no tensor of {module}, which modules_to_save names; save the adapter again with its trained modules"
        );
        return Err(wrong(adapter, problem));
    }
    Ok(())
}

/// The slots of `maps` in `blocks`, in order and without repetition.
///
/// # Errors
/// [`Error::Slot`] for a block the encoder does not have.
pub fn target_slots(backbone: &Backbone, blocks: &[usize], maps: &[TargetMap]) -> Result<Vec<Slot>> {
    let mut slots = Vec::new();
    for &map in maps {
        if map == TargetMap::Pooler {
            slots.push(pooler_slot(backbone.blocks()));
            continue;
        }
        for &block in blocks {
            let Some(block) = u8::try_from(block).ok().filter(|&block| usize::from(block) < backbone.blocks()) else {
                let expected = format!("its blocks are 0 to {}", backbone.blocks().saturating_sub(1));
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
    backbone: &Backbone,
    slots: &[Slot],
    shape: LoraShape,
    posterior: &PosteriorSettings,
    noise: &Noise,
) -> Result<AdapterSet> {
    let mut set = AdapterSet::new();
    for &slot in slots {
        let lora = LowRank::initial(slot, backbone.slot_shape(slot)?, shape, noise, backbone.device())?;
        set.insert(slot, posterior.initial(slot, lora, noise, backbone.device())?);
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
    /// Reads an adapter saved by PEFT or by [`save_adapter`] for an encoder that is loaded. `choose` may replace the posterior found in
    /// the folder, or say why it cannot be.
    ///
    /// # Errors
    /// Naming the file, for whatever is missing, damaged, of another shape, or unsupported; `choose`'s reason; an adapter that changes
    /// the encoder's own tensors, which [`Self::load_with_model`] reads.
    pub fn load(
        folder: &Path,
        backbone: &Backbone,
        model_folder: &Path,
        choose: impl FnOnce(PosteriorSettings) -> Result<PosteriorSettings, String>,
    ) -> Result<Self> {
        let peft = PeftAdapter::load(folder, backbone.device())?;
        if changes_base(&peft) {
            return Err(changed(&peft));
        }
        Self::on(&peft, backbone, model_folder, HeadOf::Classes, choose)
    }

    /// The same with the head that is asked for.
    ///
    /// # Errors
    /// As [`Self::load`], and where the adapter was trained for another head.
    pub fn load_for(folder: &Path, backbone: &Backbone, model_folder: &Path, head: HeadOf<'_>) -> Result<Self> {
        let peft = PeftAdapter::load(folder, backbone.device())?;
        if changes_base(&peft) {
            return Err(changed(&peft));
        }
        Self::on(&peft, backbone, model_folder, head, Ok)
    }

    /// Reads an adapter together with the model that it was trained on; an encoder's biases, normalisations or embeddings it may change.
    /// Without a head of its own it chooses among `answers`, each a token.
    ///
    /// # Errors
    /// As [`Self::load`], and those of [`Backbone::load`].
    pub fn load_with_model(
        folder: &Path,
        model_folder: &Path,
        place: impl Into<Place>,
        answers: Option<&[u32]>,
        choose: impl FnOnce(PosteriorSettings) -> Result<PosteriorSettings, String>,
    ) -> Result<(Backbone, Self)> {
        let head = answers.map_or(HeadOf::Classes, HeadOf::Tokens);
        Self::load_with_head(folder, model_folder, place, head, choose)
    }

    /// The same with the head that is asked for.
    ///
    /// # Errors
    /// As [`Self::load_with_model`], and where the adapter was trained for another head.
    pub fn load_with_head(
        folder: &Path,
        model_folder: &Path,
        place: impl Into<Place>,
        head: HeadOf<'_>,
        choose: impl FnOnce(PosteriorSettings) -> Result<PosteriorSettings, String>,
    ) -> Result<(Backbone, Self)> {
        let place = place.into();
        let peft = PeftAdapter::load(folder, &place.device)?;
        let is_decoder = decoder::is_decoder(model_folder)?;
        if is_decoder {
            check_on_decoder(&peft)?;
        }
        let backbone = if !is_decoder && (changes_base(&peft) || !peft.config.modules_to_save.is_empty()) {
            load_under(&peft, model_folder, place)?
        } else {
            Backbone::load(model_folder, &place)?
        };
        let saved = Self::on(&peft, &backbone, model_folder, head, choose)?;
        Ok((backbone, saved))
    }

    fn on(
        peft: &PeftAdapter,
        backbone: &Backbone,
        model_folder: &Path,
        head: HeadOf<'_>,
        choose: impl FnOnce(PosteriorSettings) -> Result<PosteriorSettings, String>,
    ) -> Result<Self> {
        let folder = &peft.folder;
        check_targets(peft, backbone)?;
        let head = head.of(peft, backbone, model_folder)?;
        let posterior = choose(read_posterior(folder, &peft.config)?)
            .map_err(|problem| Error::File { path: folder.join(POSTERIOR_FILE), problem })?;
        let mut tensors: BTreeMap<String, BTreeMap<String, Tensor>> = BTreeMap::new();
        let tensor_path = folder.join(POSTERIOR_TENSORS_FILE);
        if tensor_path.is_file() {
            for (key, tensor) in read_tensors(&tensor_path, backbone.device())? {
                let (module, name) = key.rsplit_once(':').unwrap_or(("", key.as_str()));
                tensors.entry(module.to_owned()).or_default().insert(name.to_owned(), tensor);
            }
        }
        let none = BTreeMap::new();
        let mut adapters = AdapterSet::new();
        for (slot, lora) in pairs_by_slot(backbone, peft)? {
            let further = tensors.get(&backbone.family().module_path(slot)).unwrap_or(&none);
            adapters.insert(slot, posterior.restored(slot, lora, further)?);
        }
        Ok(Self { adapters, head, posterior })
    }
}

/// Why an adapter is not read for a model that is loaded.
fn changed(adapter: &PeftAdapter) -> Error {
    wrong(
        adapter,
        "changes the model's own weights; expected low-rank pairs on linear maps and a head alone here: it is read by \
         `bayeslora predict`"
            .to_owned(),
    )
}

/// The low-rank pairs of a PEFT adapter by slot.
fn pairs_by_slot(backbone: &Backbone, adapter: &PeftAdapter) -> Result<Vec<(Slot, LowRank)>> {
    let mut pairs = Vec::new();
    for (module, Pair { a, b, scale, .. }) in &adapter.pairs {
        let slot = slot_of(backbone, adapter, module)?;
        let fits = LowRank::from_tensors(slot, backbone.slot_shape(slot)?, a, b, *scale);
        let lora = fits.map_err(|error| wrong(adapter, format!("{module}: {error}; is this its base model?")))?;
        pairs.push((slot, lora));
    }
    Ok(pairs)
}

fn slot_of(backbone: &Backbone, adapter: &PeftAdapter, module: &str) -> Result<Slot> {
    let family = backbone.family();
    if let Some(slot) = family.slot_of(module, backbone.blocks()) {
        return Ok(slot);
    }
    if is_of_head(module) {
        let whole = module.split('.').next().unwrap_or_default();
        return Err(wrong(
            adapter,
            format!(
                "has LoRA on the classification head ({module}), which is not supported; train the head whole, with \
             modules_to_save=[\"{whole}\"]"
            ),
        ));
    }
    if let Some(head) =
        ["lm_head", "embed_tokens"].into_iter().find(|head| backbone.is_causal() && module.ends_with(head))
    {
        return Err(wrong(
            adapter,
            format!("has LoRA on {head} ({module}), which is not read on decoders; train the adapter on other modules"),
        ));
    }
    let paths = linear_modules(backbone).into_iter().find(|path| ends_with_module(module, path));
    Err(wrong(
        adapter,
        match paths {
            Some(path) => {
                let prefix = module.strip_suffix(path.as_str()).unwrap_or_default();
                format!(
                    "{module} begins with `{prefix}`, which must go; rename the tensors to begin with `base_model.model.`"
                )
            }
            None => format!(
                "adapts {module}, which a {} of {} blocks does not have; is this its base model?",
                backbone.kind(),
                backbone.blocks()
            ),
        },
    ))
}

/// Paths of the linear maps that can be adapted, within the encoder.
fn linear_modules(backbone: &Backbone) -> Vec<String> {
    let family = backbone.family();
    family.slots(backbone.blocks()).map(|slot| family.module_path(slot)).collect()
}

/// Refuses tensors that the settings do not target, which PEFT leaves out, and targets without tensors, which PEFT leaves untrained.
fn check_targets(adapter: &PeftAdapter, backbone: &Backbone) -> Result<()> {
    let family = backbone.family();
    let targets = &adapter.config.targets;
    for (module, linear) in adapter.pairs.keys().map(|m| (m, true)).chain(adapter.tables.keys().map(|m| (m, false))) {
        if linear {
            slot_of(backbone, adapter, module)?;
        }
        if !targets.contain(module, linear)? {
            return Err(wrong(
                adapter,
                format!(
                    "has lora_A and lora_B of {module}, which the settings do not target; put the module into target_modules in \
                 adapter_config.json (see also exclude_modules and layers_to_transform), or remove the tensors"
                ),
            ));
        }
    }
    // The names of the model that was wrapped: with the encoder's prefix, or those of a bare encoder.
    let mut adapted = adapter.pairs.keys().chain(adapter.tables.keys());
    let prefix = if adapted.any(|module| module.starts_with(family.prefix)) { family.prefix } else { "" };
    let maps = linear_modules(backbone).into_iter().map(|module| (module, true));
    for (module, linear) in maps.chain(family.tables.iter().map(|table| ((*table).to_owned(), false))) {
        let module = format!("{prefix}{module}");
        let there = adapter.pairs.contains_key(&module) || adapter.tables.contains_key(&module);
        if !there && targets.contain(&module, linear)? {
            return Err(wrong(
                adapter,
                format!(
                    "has no lora_A and lora_B of {module}, which target_modules in adapter_config.json names; re-export the adapter"
                ),
            ));
        }
    }
    Ok(())
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

/// Writes an adapter and its head into `folder`: PEFT's two files (the head as PEFT saves `classifier`, unless it is the model's language
/// head), and what the posterior needs beyond them.
///
/// # Errors
/// When a file cannot be written.
pub fn save_adapter(
    folder: &Path,
    backbone: &Backbone,
    adapters: &AdapterSet,
    head: &Head,
    posterior: &PosteriorSettings,
    (rank, alpha): (usize, f64),
    base_model: &str,
) -> Result<()> {
    let family = backbone.family();
    let mut pairs = BTreeMap::new();
    let mut further = BTreeMap::new();
    for (slot, adapter) in adapters.iter() {
        for parameter in adapter.parameters() {
            if !parameter.name.starts_with("lora_") {
                let tensor = parameter.var.as_detached_tensor();
                further.insert(format!("{}:{}", family.module_path(slot), parameter.name), tensor);
            }
        }
        let [a, b] = [adapter.low_rank().a(), adapter.low_rank().b()].map(Var::as_detached_tensor);
        pairs.insert(backbone.module_path(slot), Pair { a, b, bias: None, scale: alpha / rank as f64 });
    }
    let (base_model, dropout) = (base_model.to_owned(), posterior.peft_dropout());
    let settings = PlainSettings { base_model, rank, alpha, dropout, is_language: head.is_language() };
    // The language head is the model's own.
    let head = if head.is_language() { BTreeMap::new() } else { head.tensors() };
    save_plain(folder, &settings, &pairs, &head)?;
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
