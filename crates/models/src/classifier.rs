//! Encoder, adapters and classification head: what turns sentences into logits.

use std::collections::BTreeMap;
use std::path::Path;

use bayeslora_adapters::files::read_tensors;
use bayeslora_adapters::peft::{HEAD_FILE, PeftAdapter};
use bayeslora_adapters::{AdapterSet, Address, Draw, Noise, Slot, TargetMap};
use candle_core::{DType, Device, Tensor, Var};

use crate::bert::{Bert, Pass};
use crate::packing::Packing;
use crate::weights::Weights;
use crate::{Error, Result};

/// The trainable map from the pooled representation to the logits.
#[derive(Debug, Clone)]
pub struct Head {
    /// `[classes, width]`.
    pub weight: Var,
    /// `[classes]`.
    pub bias: Var,
}

const WEIGHT: &str = "classifier.weight";
const BIAS: &str = "classifier.bias";

impl Head {
    /// BERT's initial values: weights normal with standard deviation 0.02, bias 0.
    ///
    /// # Errors
    /// When the tensors cannot be made on the device.
    pub fn initial(classes: usize, width: usize, noise: &Noise, device: &Device) -> Result<Self> {
        let at = Address {
            slot: Slot::new(u8::MAX - 1, TargetMap::Pooler),
            sample: 0,
            example: Address::SHARED,
            position: Address::ANY,
        };
        let mut values = vec![0.0; classes * width];
        noise.fill_normal(at, &mut Vec::new(), &mut values);
        let weight = (Tensor::from_vec(values, (classes, width), device)? * 0.02)?;
        let bias = Tensor::zeros(classes, DType::F32, device)?;
        Ok(Self { weight: Var::from_tensor(&weight)?, bias: Var::from_tensor(&bias)? })
    }

    /// From `classifier.weight` and `classifier.bias`, if both are there.
    fn from_tensors(tensors: &BTreeMap<String, Tensor>, width: usize, source: &Path) -> Result<Option<Self>> {
        let (Some(weight), Some(bias)) = (tensors.get(WEIGHT), tensors.get(BIAS)) else { return Ok(None) };
        if weight.rank() != 2 || weight.dims()[1] != width || bias.dims() != &weight.dims()[..1] {
            return Err(Error::File {
                path: source.to_owned(),
                problem: format!(
                    "{WEIGHT} has shape {:?} and {BIAS} {:?}; expected [classes, {width}] and [classes]",
                    weight.dims(),
                    bias.dims()
                ),
            });
        }
        Ok(Some(Self { weight: Var::from_tensor(weight)?, bias: Var::from_tensor(bias)? }))
    }

    /// The head saved with an adapter: in its file, beside it in `head.safetensors`, or in the checkpoint itself.
    ///
    /// # Errors
    /// [`Error::File`] when none of the three has one, or it does not fit the encoder.
    pub fn find(adapter: &PeftAdapter, model_folder: &Path, width: usize, device: &Device) -> Result<Self> {
        if let Some(head) = Self::from_tensors(&adapter.extra, width, &adapter.folder)? {
            return Ok(head);
        }
        let beside = adapter.folder.join(HEAD_FILE);
        if beside.is_file() {
            let tensors = read_tensors(&beside, device)?;
            return Self::from_tensors(&tensors, width, &beside)?
                .ok_or_else(|| Error::File { path: beside.clone(), problem: format!("has no {WEIGHT} and {BIAS}") });
        }
        let weights = Weights::open(model_folder, device)?;
        let mut tensors = BTreeMap::new();
        for name in [WEIGHT, BIAS] {
            tensors.extend(weights.outside(name)?.map(|tensor| (name.to_owned(), tensor)));
        }
        Self::from_tensors(&tensors, width, model_folder)?.ok_or_else(|| Error::File {
            path: adapter.folder.clone(),
            problem: format!(
                "no classification head; expected {WEIGHT} and {BIAS} in the adapter file, in {HEAD_FILE} beside it, or in \
                 the model's checkpoint (save the adapter with modules_to_save=[\"classifier\"])"
            ),
        })
    }

    /// The tensors by name.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let entry = |name: &str, var: &Var| (name.to_owned(), var.as_detached_tensor());
        BTreeMap::from([entry(WEIGHT, &self.weight), entry(BIAS, &self.bias)])
    }

    /// Logits of pooled representations.
    ///
    /// # Shapes
    /// `[samples, sentences, width]` to `[samples, sentences, classes]`.
    ///
    /// # Errors
    /// When shapes do not go together.
    pub fn logits(&self, pooled: &Tensor) -> Result<Tensor> {
        let (samples, sentences, width) = pooled.dims3()?;
        let classes = self.weight.dims()[0];
        let flat = pooled.reshape((samples * sentences, width))?;
        let logits = flat.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)?;
        Ok(logits.reshape((samples, sentences, classes))?)
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.weight.dims()[0]
    }
}

/// Logits, and the divergence of the posteriors where the draw asked for it.
#[derive(Debug)]
pub struct Output {
    /// `[samples or 1, sentences, classes]`.
    pub logits: Tensor,
    /// Scalar, nats.
    pub divergence: Option<Tensor>,
}

/// Logits from activations `x [1, rows, width]` below block `from`.
///
/// # Errors
/// When shapes do not go together.
pub fn classify(
    bert: &Bert,
    head: &Head,
    adapters: &AdapterSet,
    draw: Draw<'_>,
    from: usize,
    x: &Tensor,
    packing: &Packing,
) -> Result<Output> {
    let mut pass = Pass::new(adapters, draw);
    let first = bert.first_tokens(from, x, packing, &mut pass)?;
    let pooled = bert.pool(&first, &mut pass)?;
    Ok(Output { logits: head.logits(&pooled)?, divergence: pass.divergence()? })
}
