//! Weights of a checkpoint, read through memory maps: one file, shards, or PyTorch's own format.
//!
//! The maps are the one `unsafe` call of this crate: mapping a file is sound only while nobody changes the file. Every
//! tensor is copied out of its map at once, so a change must hit the seconds of loading. A file is mapped anew for each tensor: pages
//! that were read from a map count as this program's memory until it is gone, and would be a second copy of the weights.
#![expect(unsafe_code, reason = "memory mapping a file that may change under us; see the module's documentation")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bayeslora_adapters::files::finite_f32;
use bayeslora_host::read;
use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor, pickle};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::slots::{FAMILIES, without_prefix};

const SAFETENSORS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PICKLE: &str = "pytorch_model.bin";
/// Weights that transformers can load and this crate cannot.
const OTHERS: [&str; 3] = ["pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"];

/// Tensors that stand in place of a checkpoint's, by their names there, with the file that they come from.
pub(crate) type Replacements = BTreeMap<String, (PathBuf, Tensor)>;

/// The tensors of a model's folder.
pub(crate) struct Weights {
    files: Vec<(PathBuf, Tensors)>,
    prefix: &'static str,
    replaced: Replacements,
    device: Device,
}

enum Tensors {
    /// The names in a safetensors file.
    Mapped(BTreeSet<String>),
    Read(BTreeMap<String, Tensor>),
}

impl Tensors {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Mapped(names) => names.contains(name),
            Self::Read(tensors) => tensors.contains_key(name),
        }
    }
}

/// `model.safetensors.index.json`: the shard of every tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Opens `model.safetensors`, the shards of `model.safetensors.index.json`, or `pytorch_model.bin` of a folder: the first that is there.
    ///
    /// # Errors
    /// [`Error::File`] naming the file and, where it is no checkpoint, what it is instead.
    pub(crate) fn open(folder: &Path, device: &Device) -> Result<Self> {
        let (files, _) = open_files(folder)?;
        let is_there = |name: &str| files.iter().any(|(_, tensors)| tensors.has(name));
        let is_own = |prefix: &&str| is_there(&format!("{prefix}embeddings.word_embeddings.weight"));
        // A checkpoint of the encoder alone has no path before its tensors.
        let prefix = FAMILIES.iter().map(|family| family.prefix).find(is_own).unwrap_or("");
        Ok(Self { files, prefix, replaced: Replacements::new(), device: device.clone() })
    }

    /// Opens the files of a decoder's folder, whose tensors go by their whole names. Every tensor of an index must be in the shard that
    /// it names, and in no other.
    ///
    /// # Errors
    /// As [`Self::open`], and naming the tensor that is missing or there twice.
    pub(crate) fn of_decoder(folder: &Path, device: &Device) -> Result<Self> {
        let (files, index) = open_files(folder)?;
        if let Some((path, index)) = index {
            check_index(&path, &index, &files)?;
        }
        Ok(Self { files, prefix: "", replaced: Replacements::new(), device: device.clone() })
    }

    /// The same with some tensors of the encoder in place of its own, named with or without the encoder's prefix.
    #[must_use]
    pub(crate) fn replaced(self, replaced: &Replacements) -> Self {
        let replaced =
            replaced.iter().map(|(name, tensor)| (without_prefix(name).to_owned(), tensor.clone())).collect();
        Self { replaced, ..self }
    }

    /// The encoder's tensor `name`, in f32, of the shape expected and finite. A layer normalisation may call its weight gamma and its bias
    /// beta, as checkpoints from TensorFlow do.
    pub(crate) fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let (path, found, tensor) = match self.replaced.get(name) {
            Some((path, tensor)) => (path, name.to_owned(), tensor.clone()),
            None => self.find(name)?,
        };
        if tensor.dims() != shape {
            return Err(Error::File {
                path: path.clone(),
                problem: format!("{found} has shape {:?}; config.json says {shape:?}", tensor.dims()),
            });
        }
        Ok(finite_f32(path, &found, &tensor)?)
    }

    /// The checkpoint's own tensor, with its file and its name there.
    fn find(&self, name: &str) -> Result<(&PathBuf, String, Tensor)> {
        let spelt = format!("{}{name}", self.prefix);
        let older = [(".weight", ".gamma"), (".bias", ".beta")].into_iter().find_map(|(ours, theirs)| {
            let module = spelt.strip_suffix(ours).filter(|module| module.ends_with("LayerNorm"))?;
            Some(format!("{module}{theirs}"))
        });
        for candidate in std::iter::once(spelt.clone()).chain(older) {
            if let Some((path, tensor)) = self.load(&candidate)? {
                return Ok((path, candidate, tensor));
            }
        }
        Err(Error::File {
            path: self.path(),
            problem: format!(
                "has no tensor {spelt}; expected the checkpoint of such a model with the sizes of config.json"
            ),
        })
    }

    fn load(&self, name: &str) -> Result<Option<(&PathBuf, Tensor)>> {
        let Some((path, tensors)) = self.files.iter().find(|(_, tensors)| tensors.has(name)) else { return Ok(None) };
        let tensor = match tensors {
            Tensors::Mapped(_) => map(path)?.load(name, &self.device).map_err(|error| Error::File {
                path: path.clone(),
                problem: format!("{name} cannot be read ({error}); expected numbers of type f32, f16, bf16 or f64"),
            })?,
            Tensors::Read(tensors) => tensors[name].clone(),
        };
        Ok(Some((path, tensor)))
    }

    /// The encoder's tensor `name` as the checkpoint has it, in f32 and finite, of whatever shape.
    pub(crate) fn own(&self, name: &str) -> Result<Tensor> {
        let (path, found, tensor) = self.find(name)?;
        Ok(finite_f32(path, &found, &tensor)?)
    }

    /// Whether the checkpoint has a tensor of that whole name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.iter().any(|(_, tensors)| tensors.has(name))
    }

    /// The file that messages name where a tensor is missing: the first stands for all shards.
    pub(crate) fn path(&self) -> PathBuf {
        self.files.first().map(|(path, _)| path.clone()).unwrap_or_default()
    }

    /// The tensor of that whole name in its own type, f32 in place of f64, of the shape expected and finite; none where there is none.
    ///
    /// # Errors
    /// [`Error::File`] naming the file, the tensor and what is wrong with it.
    pub(crate) fn stored(&self, name: &str, shape: &[usize]) -> Result<Option<Tensor>> {
        let Some((path, tensor)) = self.load(name)? else { return Ok(None) };
        if tensor.dims() != shape {
            return Err(Error::File {
                path: path.clone(),
                problem: format!("{name} has shape {:?}; config.json says {shape:?}", tensor.dims()),
            });
        }
        if tensor.dtype() == DType::F64 {
            return Ok(Some(finite_f32(path, name, &tensor)?));
        }
        check_finite(path, name, &tensor)?;
        Ok(Some(tensor))
    }

    /// The tensor `name` outside the encoder, if the checkpoint has it.
    pub(crate) fn outside(&self, name: &str) -> Result<Option<Tensor>> {
        match self.load(name)? {
            Some((path, tensor)) => Ok(Some(finite_f32(path, name, &tensor)?)),
            None => Ok(None),
        }
    }
}

/// The files of a folder's weights, and their index with its path where they are shards.
type Files = (Vec<(PathBuf, Tensors)>, Option<(PathBuf, Index)>);

fn open_files(folder: &Path) -> Result<Files> {
    let (whole, index, pickled) = (folder.join(SAFETENSORS), folder.join(INDEX), folder.join(PICKLE));
    if whole.is_file() {
        return Ok((vec![(whole.clone(), names_in(&whole)?)], None));
    }
    if index.is_file() {
        let shards: Index = serde_json::from_slice(&read(&index)?).map_err(|error| Error::File {
            path: index.clone(),
            problem: format!("not an index of shards ({error}); copy or download it again"),
        })?;
        if shards.weight_map.is_empty() {
            let problem = "its weight_map is empty; copy or download it again".to_owned();
            return Err(Error::File { path: index, problem });
        }
        let names: BTreeSet<&String> = shards.weight_map.values().collect();
        let shard = |name: &String| {
            let path = folder.join(name);
            // A name may not lead out of the folder.
            if Path::new(name).components().count() != 1 || !path.is_file() {
                let problem = format!("says that tensors lie in {name}, which is not beside it; download every shard");
                return Err(Error::File { path: index.clone(), problem });
            }
            Ok((path.clone(), names_in(&path)?))
        };
        let files = names.into_iter().map(shard).collect::<Result<_>>()?;
        return Ok((files, Some((index, shards))));
    }
    if pickled.is_file() {
        return Ok((vec![(pickled.clone(), unpickle(&pickled)?)], None));
    }
    let other = OTHERS.into_iter().find(|name| folder.join(name).is_file());
    let problem = other.map_or_else(
        || format!("not found; expected the weights of the model, or {INDEX} with its shards, or {PICKLE}"),
        |other| {
            format!(
                "not found, only {other}, which is not read; load the model with transformers and write it anew with \
                 model.save_pretrained(folder, safe_serialization=True)"
            )
        },
    );
    Err(Error::File { path: whole, problem })
}

/// Refuses an index with a tensor that its shard does not have, or that another shard has too: which of the two were meant?
fn check_index(path: &Path, index: &Index, files: &[(PathBuf, Tensors)]) -> Result<()> {
    let problem = |problem: String| Err(Error::File { path: path.to_owned(), problem });
    for (tensor, shard) in &index.weight_map {
        let mut having = files.iter().filter(|(_, tensors)| tensors.has(tensor)).map(|(path, _)| path);
        match (having.next(), having.next()) {
            (Some(one), Some(other)) => {
                let [one, other] = [one, other].map(|path| path.file_name().unwrap_or_default().display());
                return problem(format!("{tensor} is in {one} and in {other}; download every shard again"));
            }
            (Some(found), None) if found.ends_with(shard) => {}
            _ => {
                return problem(format!(
                    "says that {tensor} lies in {shard}, which does not have it; download every shard again"
                ));
            }
        }
    }
    Ok(())
}

/// Entries of a tensor that are looked at together.
const AT_ONCE: usize = 1 << 22;

/// Refuses values that are not finite, with copies in f32 of a part of the tensor at a time.
pub(crate) fn check_finite(path: &Path, name: &str, tensor: &Tensor) -> Result<()> {
    let rows = tensor.dims().first().copied().unwrap_or(1);
    let rows_at_once = (AT_ONCE / (tensor.elem_count() / rows.max(1)).max(1)).max(1);
    if rows <= rows_at_once || !tensor.dtype().is_float() {
        return Ok(finite_f32(path, name, tensor).map(drop)?);
    }
    for first in (0..rows).step_by(rows_at_once) {
        let part = tensor.narrow(0, first, rows_at_once.min(rows - first))?;
        if finite_f32(path, name, &part).is_err() {
            // With the entry's place in the whole.
            return Ok(finite_f32(path, name, tensor).map(drop)?);
        }
    }
    Ok(())
}

/// The bytes of `config.json`.
pub(crate) fn read_config(path: &Path) -> Result<Vec<u8>> {
    if !path.exists() {
        let problem = "not found; expected the folder of a model, with config.json, weights and tokenizer: is it one folder further in, \
                       or half downloaded?";
        return Err(Error::File { path: path.to_owned(), problem: problem.to_owned() });
    }
    check_content(path)?;
    Ok(read(path)?)
}

/// Maps a safetensors file.
fn map(path: &Path) -> Result<MmapedSafetensors> {
    // SAFETY: the file is a checkpoint that nothing writes to while it is loaded.
    unsafe { MmapedSafetensors::new(path) }.map_err(|error| Error::File {
        path: path.to_owned(),
        problem: format!("not a complete safetensors file ({error}); copy or download it again"),
    })
}

/// The tensors of a safetensors file.
fn names_in(path: &Path) -> Result<Tensors> {
    check_content(path)?;
    Ok(Tensors::Mapped(map(path)?.tensors().into_iter().map(|(name, _)| name).collect()))
}

/// Reads PyTorch's own format. Nothing in the file is run: what is no tensor is skipped.
fn unpickle(path: &Path) -> Result<Tensors> {
    check_content(path)?;
    let tensors = pickle::read_all(path).map_err(|error| Error::File {
        path: path.to_owned(),
        problem: format!(
            "cannot be read ({error}); load the model with transformers and write it anew with \
             model.save_pretrained(folder, safe_serialization=True)"
        ),
    })?;
    Ok(Tensors::Read(tensors.into_iter().collect()))
}

/// Refuses a file that cannot be opened, and the text that Git LFS leaves in place of a large file.
pub(crate) fn check_content(path: &Path) -> Result<()> {
    let mut start = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
    opened.map_err(|source| bayeslora_host::Error::Read { path: path.to_owned(), source })?;
    if start.starts_with(b"version https://git-lfs") {
        let problem = "a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`".to_owned();
        return Err(Error::File { path: path.to_owned(), problem });
    }
    Ok(())
}
