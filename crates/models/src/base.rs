//! The encoder under an adapter that brings more than low-rank pairs on linear maps.
//!
//! Trained biases, modules and embeddings saved whole, trained tokens, pairs on embeddings and biases on `B` are sums or copies that no
//! dropout reaches. They are put into the encoder's tensors once, and an initialisation that changed the weights is repeated.

use std::collections::BTreeMap;
use std::path::Path;

use bayeslora_adapters::peft::{Initialisation, PeftAdapter, ends_with_module};
use candle_core::Tensor;

use crate::backbone::Backbone;
use crate::config::BertConfig;
use crate::error::{Error, Result, wrong};
use crate::networks::encoder;
use crate::place::Place;
use crate::slots::{Names, is_of_head};
use crate::weights::{Replacements, Weights};

/// The table whose rows are the vocabulary.
const WORDS: &str = "embeddings.word_embeddings";

/// Whether the adapter needs an encoder of its own.
pub(crate) fn changes_base(adapter: &PeftAdapter) -> bool {
    adapter.config.initialisation != Initialisation::Untouched
        || !(adapter.tables.is_empty() && adapter.token_rows.is_empty() && adapter.under_adapters.is_empty())
        || adapter.pairs.values().any(|pair| pair.bias.is_some())
        || adapter.whole.keys().any(|path| !is_of_head(path))
}

/// The encoder of `folder` as it is under the adapter.
///
/// # Errors
/// Naming the file and the tensor that does not fit the encoder.
pub(crate) fn load_under(adapter: &PeftAdapter, folder: &Path, place: Place) -> Result<Backbone> {
    let mut config = BertConfig::load(folder)?;
    let weights = Weights::open(folder, &place.device)?;
    let mut changes = Changes { adapter, family: config.family(), weights: &weights, tensors: BTreeMap::new() };
    changes.copy_whole(&known_tensors(&config))?;
    changes.copy_under_adapters()?;
    changes.add_to_tables()?;
    changes.add_to_maps()?;
    // A vocabulary that grew before training.
    if let Some(words) = changes.tensors.get(&format!("{WORDS}.weight")) {
        config.vocab_size = words.dims().first().copied().unwrap_or_default();
    }
    let file = adapter.weights_path();
    let replaced: Replacements =
        changes.tensors.into_iter().map(|(name, tensor)| (name, (file.clone(), tensor))).collect();
    encoder::from_parts(config, &weights.replaced(&replaced), place)
}

/// Names of the encoder's tensors, without its prefix.
fn known_tensors(config: &BertConfig) -> Vec<String> {
    let family = config.family();
    let blocks = (0..config.num_hidden_layers).filter_map(|block| u8::try_from(block).ok());
    let norms = blocks.flat_map(|block| family.norms.map(|norm| family.block(block) + norm));
    let maps = family.slots(config.num_hidden_layers).map(|slot| family.module_path(slot));
    let modules: Vec<String> = maps.chain(norms).chain(["embeddings.LayerNorm".to_owned()]).collect();
    let parts = modules.iter().flat_map(|module| [format!("{module}.weight"), format!("{module}.bias")]);
    parts.chain(family.tables.iter().map(|table| format!("{table}.weight"))).collect()
}

/// The tensors that stand in place of the checkpoint's, as they gather.
struct Changes<'a> {
    adapter: &'a PeftAdapter,
    family: &'static Names,
    weights: &'a Weights,
    tensors: BTreeMap<String, Tensor>,
}

impl Changes<'_> {
    fn bare<'p>(&self, path: &'p str) -> &'p str {
        path.strip_prefix(self.family.prefix).unwrap_or(path)
    }

    /// The encoder's tensor as it is so far.
    fn current(&self, name: &str) -> Result<Tensor> {
        if let Some(tensor) = self.tensors.get(name) {
            return Ok(tensor.clone());
        }
        self.weights.own(name)
    }

    fn copy_whole(&mut self, known: &[String]) -> Result<()> {
        for (path, tensor) in &self.adapter.whole {
            let name = self.bare(path).to_owned();
            if is_of_head(path) {
                continue;
            }
            if !known.contains(&name) {
                let problem = match known.iter().find(|known| ends_with_module(path, known)) {
                    Some(known) => {
                        let prefix = path.strip_suffix(known.as_str()).unwrap_or_default();
                        format!("{path} begins with `{prefix}`, which must go; rename the tensors")
                    }
                    None => format!("saves {path} whole, which the model does not have; is this its base model?"),
                };
                return Err(wrong(self.adapter, problem));
            }
            self.tensors.insert(name, tensor.clone());
        }
        // A module that should be there whole and is not would be the untrained one.
        for module in
            self.adapter.config.modules_to_save.iter().filter(|module| !is_of_head(&format!("{module}.weight")))
        {
            let within = |name: &&String| {
                let path = format!("{}{name}", self.family.prefix);
                path.match_indices(module.as_str()).any(|(at, _)| {
                    let end = at + module.len();
                    (at == 0 || path[..at].ends_with('.')) && path[end..].starts_with('.')
                })
            };
            if let Some(missing) = known.iter().find(|name| within(name) && !self.tensors.contains_key(*name)) {
                return Err(wrong(
                    self.adapter,
                    format!(
                        "has no {missing}, but modules_to_save names {module}; save the adapter again with its trained modules"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The model's own tensors from under an adapter; PEFT leaves out those of modules without one.
    fn copy_under_adapters(&mut self) -> Result<()> {
        for (path, tensor) in &self.adapter.under_adapters {
            let name = self.bare(path).to_owned();
            let module = path.rsplit_once('.').map_or(path.as_str(), |(module, _)| module);
            let adapter = self.adapter;
            let adapted = adapter.pairs.contains_key(module)
                || adapter.tables.contains_key(module)
                || adapter.token_rows.contains_key(module);
            if adapted {
                self.tensors.insert(name, tensor.clone());
                continue;
            }
            let own = self.current(&name)?;
            if own.dims() != tensor.dims() || (own - tensor)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()? > 0.0 {
                return Err(wrong(
                    adapter,
                    format!(
                        "saves {path} from under an adapter, but {module} has none and the model's values are others; re-export the adapter"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Trained rows, and increments `s B A` of embeddings, on whose rows PEFT has no dropout.
    fn add_to_tables(&mut self) -> Result<()> {
        let adapter = self.adapter;
        for (module, rows) in &adapter.token_rows {
            let name = self.table(module)?;
            let tokens =
                adapter.config.trained_tokens.iter().find(|(end, _)| {
                    if end.is_empty() { name.starts_with(WORDS) } else { ends_with_module(module, end) }
                });
            let Some((_, tokens)) = tokens else {
                return Err(wrong(
                    adapter,
                    format!("has trained rows of {module}, which trainable_token_indices does not name"),
                ));
            };
            let table = self.current(&name)?;
            let (entries, width) = table.dims2()?;
            if rows.dims() != [tokens.len(), width] {
                let (got, count) = (rows.dims(), tokens.len());
                return Err(wrong(
                    adapter,
                    format!("the trained rows of {module} have shape {got:?}; expected [{count}, {width}]"),
                ));
            }
            if let Some(token) = tokens.iter().find(|&&token| token as usize >= entries) {
                return Err(wrong(
                    adapter,
                    format!("trains token {token} of {module}, which has {entries} rows; is this its base model?"),
                ));
            }
            let mut values = table.to_vec2::<f32>()?;
            for (token, row) in tokens.iter().zip(rows.to_vec2::<f32>()?) {
                values[*token as usize] = row;
            }
            let table = Tensor::from_vec(values.concat(), (entries, width), table.device())?;
            self.tensors.insert(name, table);
        }
        for (end, _) in &adapter.config.trained_tokens {
            let there = |module: &String| ends_with_module(module, end) || (end.is_empty() && module.ends_with(WORDS));
            if !adapter.token_rows.keys().any(there) {
                let table = if end.is_empty() { WORDS } else { end };
                return Err(wrong(
                    adapter,
                    format!("has no trained rows of {table}, but trainable_token_indices names it"),
                ));
            }
        }
        for (module, pair) in &adapter.tables {
            let name = self.table(module)?;
            let table = self.current(&name)?;
            let (entries, width) = table.dims2()?;
            let (got, expected) = ([pair.b.dims()[0], pair.a.dims()[1]], [width, entries]);
            if got != expected {
                return Err(wrong(
                    adapter,
                    format!(
                        "lora_embedding_B and lora_embedding_A of {module} make {got:?}; the model has {expected:?}: is this its base model?"
                    ),
                ));
            }
            let increment = pair.b.matmul(&pair.a)?.t()?;
            self.tensors.insert(name, (table + (increment * pair.scale)?)?.contiguous()?);
        }
        Ok(())
    }

    /// The tensor of the embedding at `module`.
    fn table(&self, module: &str) -> Result<String> {
        let bare = self.bare(module);
        if self.family.tables.contains(&bare) {
            return Ok(format!("{bare}.weight"));
        }
        Err(wrong(
            self.adapter,
            format!("adapts {module}, which the model does not have as an embedding; is this its base model?"),
        ))
    }

    /// Biases on `B`, which no dropout reaches, and the part of the weights that an initialisation moved into the pair.
    fn add_to_maps(&mut self) -> Result<()> {
        let adapter = self.adapter;
        let initialisation = adapter.config.initialisation;
        for (module, pair) in &adapter.pairs {
            let bare = self.bare(module).to_owned();
            if let Some(bias) = &pair.bias {
                let name = format!("{bare}.bias");
                let own = self.current(&name)?;
                if own.dims() != bias.dims() {
                    let (got, expected) = (bias.dims(), own.dims());
                    return Err(wrong(
                        adapter,
                        format!("the bias of lora_B of {module} has shape {got:?}; expected {expected:?}"),
                    ));
                }
                self.tensors.insert(name, (own + (bias * pair.scale)?)?);
            }
            let name = format!("{bare}.weight");
            // Weights in the file are those that were left.
            if initialisation == Initialisation::Untouched || self.tensors.contains_key(&name) {
                continue;
            }
            let rank = pair.a.dims()[0];
            let left =
                initialisation.residual(&self.current(&name)?, rank, pair.scale)?.map_err(|reason| Error::File {
                    path: adapter.folder.join(bayeslora_adapters::peft::CONFIG_FILE),
                    problem: format!(
                        "init_lora_weights cannot be repeated for {module}: {reason}; save the adapter again with \
                     save_pretrained(.., path_initial_model_for_weight_conversion=..)"
                    ),
                })?;
            self.tensors.insert(name, left);
        }
        Ok(())
    }
}
