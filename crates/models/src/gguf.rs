//! GGUF files: a decoder's sizes, weights and vocabulary in one file, the weights often in blocks of a few bits a value.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Three things differ from transformers' files: rows of queries and
//! keys of Llamas are interleaved (see [`rows`]), Gemma's norms hold `1 + w`, and slower rotary positions are a tensor of factors.

mod config;
mod metadata;
mod names;
mod rows;
mod vocabulary;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use bayeslora_adapters::files::finite_f32;
use candle_core::quantized::gguf_file::{Content, TensorInfo};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};

use self::metadata::Metadata;
pub(crate) use self::vocabulary::{Kind, Vocabulary};
use crate::decoder::{DecoderConfig, Family, Stored, family_of_gguf};
use crate::error::{Error, Result};
use crate::quiet::without_panics;
use crate::weights::{check_content, check_finite};

/// Entries of a tensor that are looked at together.
const AT_ONCE: usize = 1 << 20;

/// A GGUF file, opened; its tensors are read one at a time.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    content: Content,
    family: &'static Family,
}

/// Types whose values are read; the others of the format are newer, or never written to files.
const TYPES: [GgmlDType; 13] = [
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];
/// How files are made of these types.
const INSTEAD: &str = "make a file of type F16, Q8_0, Q4_0, Q4_1, Q4_K, Q5_K or Q6_K with llama-quantize";

/// Names of the types that this format has and that are not read.
const OTHER_TYPES: [(u32, &str); 17] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

impl Gguf {
    /// Reads the head of a file: what it says of itself, and where its tensors lie.
    ///
    /// # Errors
    /// [`Error::Host`] or [`Error::File`] for a file that is missing, cut off, no GGUF, of a family or with a tensor that is not read.
    pub fn open(path: &Path) -> Result<Self> {
        let problem = |problem: String| Error::File { path: path.to_owned(), problem };
        check_content(path)?;
        let file = open(path)?;
        let length = file.metadata().map_err(|source| Error::Io { path: path.to_owned(), source })?.len();
        let mut reader = BufReader::new(file);
        let content = without_panics(|| Content::read(&mut reader))
            .map_err(|panic| problem(format!("not a GGUF file ({panic}); copy or download it again")))?
            .map_err(|error| problem(unread(&error)))?;
        let metadata = Metadata::new(&content.metadata);
        let family = family(&metadata).map_err(problem)?;
        for (name, info) in &content.tensor_infos {
            check_tensor(name, info, content.tensor_data_offset, length).map_err(problem)?;
        }
        Ok(Self { path: path.to_owned(), content, family })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The decoder that the file describes. Its norms multiply by what the file holds, which has the 1 of Gemma's in it.
    ///
    /// # Errors
    /// [`Error::File`] naming what is missing, malformed or not supported.
    pub fn config(&self) -> Result<DecoderConfig> {
        let factors = self.rope_factors()?;
        let metadata = Metadata::new(&self.content.metadata);
        config::read(self.family, &metadata, &self.content.tensor_infos, factors.as_deref())
            .map_err(|problem| self.problem(problem))
    }

    /// The vocabulary that the file describes.
    ///
    /// # Errors
    /// [`Error::File`] naming what is missing, malformed or not supported.
    pub(crate) fn vocabulary(&self) -> Result<Vocabulary> {
        Vocabulary::read(&Metadata::new(&self.content.metadata)).map_err(|problem| self.problem(problem))
    }

    /// The template of chats that the file brings along, in Jinja's language.
    ///
    /// # Errors
    /// [`Error::File`] where it is no text.
    pub fn chat_template(&self) -> Result<Option<String>> {
        let metadata = Metadata::new(&self.content.metadata);
        let found = metadata.text("tokenizer.chat_template").map_err(|problem| self.problem(problem))?;
        Ok(found.map(str::to_owned))
    }

    /// Whether there is a tensor that transformers calls `name`.
    pub fn has(&self, name: &str) -> bool {
        names::in_file(self.family, name).is_some_and(|name| self.content.tensor_infos.contains_key(&name))
    }

    /// The tensor that transformers calls `name` (`model.layers.0.self_attn.q_proj.weight`) as it is stored, with its rows in
    /// transformers' order.
    ///
    /// # Errors
    /// [`Error::File`] naming the tensor where it is missing, of another shape, cut off or not finite.
    pub fn stored(&self, name: &str, shape: &[usize], device: &Device) -> Result<Stored> {
        let own = names::in_file(self.family, name).filter(|own| self.content.tensor_infos.contains_key(own));
        let Some(own) = own else {
            let own = names::in_file(self.family, name).map(|own| format!(" (here {own})")).unwrap_or_default();
            let kind = self.family.name;
            return Err(self.problem(format!("has no tensor {name}{own}; expected a whole {kind} model")));
        };
        let dims = self.content.tensor_infos[&own].shape.dims();
        if dims != shape {
            return Err(self.problem(format!("{own} has shape {dims:?}; its metadata says {shape:?}")));
        }
        let tensor = self.tensor(&own, device)?;
        let tensor = match rows::heads(self.family, name) {
            None => tensor,
            Some(count) => {
                let heads = Metadata::new(&self.content.metadata).heads(self.family, count);
                let heads = heads.map_err(|problem| self.problem(problem))?;
                let apart = rows::apart(&tensor, heads, device)?;
                apart.ok_or_else(|| {
                    self.problem(format!("{own} has shape {dims:?}; its metadata says {heads} heads of even width"))
                })?
            }
        };
        let dense = match tensor.dtype() {
            GgmlDType::F32 => DType::F32,
            GgmlDType::F16 => DType::F16,
            GgmlDType::BF16 => DType::BF16,
            _ => {
                self.check_quantised(&own, &tensor)?;
                return Ok(Stored::Quantised(tensor));
            }
        };
        let dense = Tensor::from_raw_buffer(&tensor.data()?, dense, dims, device)?;
        check_finite(&self.path, &own, &dense)?;
        Ok(Stored::Dense(dense))
    }

    /// Refuses values that are not finite, some rows at a time.
    fn check_quantised(&self, own: &str, tensor: &QTensor) -> Result<()> {
        let (Ok((rows, width)), true) = (tensor.shape().dims2(), tensor.device().is_cpu()) else {
            return check_finite(&self.path, own, &tensor.dequantize(&Device::Cpu)?);
        };
        let together = (AT_ONCE / width.max(1)).max(1);
        let numbers = |first: usize| (0..).take(rows).skip(first).take(together).collect::<Vec<u32>>();
        for first in (0..rows).step_by(together) {
            let part = tensor.embedding(&Tensor::new(numbers(first), &Device::Cpu)?)?;
            if finite_f32(&self.path, own, &part).is_err() {
                // With the entry's place in the whole.
                return check_finite(&self.path, own, &tensor.dequantize(&Device::Cpu)?);
            }
        }
        Ok(())
    }

    /// The tensor by the file's own name.
    fn tensor(&self, own: &str, device: &Device) -> Result<QTensor> {
        // A file of its own, as readers on other threads would move its place.
        let mut reader = BufReader::new(open(&self.path)?);
        let read = without_panics(|| self.content.tensor(&mut reader, own, device));
        read.map_err(|panic| self.problem(format!("{own} cannot be read ({panic}); copy or download it again")))?
            .map_err(|error| {
                self.problem(format!("{own} cannot be read ({}); copy or download it again", first_line(&error)))
            })
    }

    /// By how much each pair of a head turns slower, in models whose positions were stretched (Llama 3.1).
    fn rope_factors(&self) -> Result<Option<Vec<f64>>> {
        if !self.content.tensor_infos.contains_key(names::ROPE_FACTORS) {
            return Ok(None);
        }
        let tensor = self.tensor(names::ROPE_FACTORS, &Device::Cpu)?.dequantize(&Device::Cpu)?;
        let factors = finite_f32(&self.path, names::ROPE_FACTORS, &tensor)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(Some(factors.into_iter().map(f64::from).collect()))
    }

    fn problem(&self, problem: String) -> Error {
        Error::File { path: self.path.clone(), problem }
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| bayeslora_host::Error::Read { path: path.to_owned(), source }.into())
}

/// candle adds the place in its code below.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Why a head cannot be read.
fn unread(error: &candle_core::Error) -> String {
    let why = first_line(error);
    // Types are numbered, and candle tells the number only.
    let Some(number) = why.strip_prefix("unknown dtype for tensor ") else {
        return format!("not a complete GGUF file ({why}); copy or download it again");
    };
    let known = OTHER_TYPES.iter().find(|(known, _)| number.parse() == Ok(*known));
    let name = known.map(|(_, name)| format!(" ({name})")).unwrap_or_default();
    format!("has tensors of type {number}{name}, which are not read; {INSTEAD}")
}

/// The family of the decoder.
fn family(metadata: &Metadata<'_>) -> Result<&'static Family, String> {
    let key = "general.architecture";
    let architecture = metadata.text(key)?.ok_or_else(|| format!("has no {key}; expected a GGUF file of a model"))?;
    if let Some(kind) = metadata.text("general.type")?.filter(|kind| *kind != "model") {
        return Err(format!("general.type is \"{kind}\"; expected \"model\": a file of a whole decoder"));
    }
    if let Some(parts) = metadata.count("split.count")?.filter(|parts| *parts > 1) {
        return Err(format!("is one of {parts} parts (split.count); join them with llama-gguf-split --merge"));
    }
    family_of_gguf(architecture).ok_or_else(|| {
        format!(
            "{key} is \"{architecture}\"; decoders here are \"llama\" (Mistral too), \"qwen2\", \"qwen3\", \"gemma2\" and \"gemma3\""
        )
    })
}

/// Refuses a tensor that is not read, or does not lie in the file.
fn check_tensor(name: &str, info: &TensorInfo, start: u64, length: u64) -> Result<(), String> {
    let kind = info.ggml_dtype;
    if !TYPES.contains(&kind) {
        return Err(format!("{name} is of type {kind:?}, which is not read; {INSTEAD}"));
    }
    let dims = info.shape.dims();
    let (block, bytes) = (kind.block_size(), kind.type_size());
    let row = dims.last().copied().unwrap_or_default();
    if row == 0 || !row.is_multiple_of(block) {
        return Err(format!(
            "{name} has shape {dims:?}; expected rows of a multiple of {block} values of type {kind:?}"
        ));
    }
    let values = dims.iter().try_fold(1_usize, |values, &size| values.checked_mul(size));
    let bytes =
        values.and_then(|values| (values / block).checked_mul(bytes)).and_then(|bytes| u64::try_from(bytes).ok());
    let end = bytes.and_then(|bytes| start.checked_add(info.offset)?.checked_add(bytes));
    if end.is_none_or(|end| end > length) {
        return Err(format!("ends within {name}; it is cut off: copy or download it again"));
    }
    Ok(())
}
