//! Backbone, adapters and head: what turns sentences into logits.

use std::collections::BTreeMap;
use std::path::Path;

use bayeslora_adapters::files::read_tensors;
use bayeslora_adapters::peft::{HEAD_FILE, PeftAdapter};
use bayeslora_adapters::{AdapterSet, Address, Draw, Noise, Slot, TargetMap};
use bayeslora_kernels::{Activation, Packing};
use candle_core::{DType, Tensor, Var};

use crate::backbone::Backbone;
use crate::decoder::gguf_of;
use crate::error::{Error, Result, wrong};
use crate::networks::decoder::language_rows;
use crate::slots::{HeadParts, MOST_BLOCKS, is_of_head};
use crate::tape::Pass;
use crate::weights::Weights;

/// The map from what is read above the last block to the logits: `W x + b`, in DistilBERT `W relu(D x + c) + b`, in RoBERTa
/// `W tanh(D x + c) + b`, in decoders `W x`.
#[derive(Debug, Clone)]
pub struct Head {
    /// `[classes, width]`.
    pub weight: Var,
    /// `[classes]`; none in a decoder's head.
    pub bias: Option<Var>,
    /// Logits `l` become `c tanh(l / c)` with this `c`, in language heads that have one.
    pub(crate) softcap: Option<f64>,
    /// The map before it, in a family that has one.
    pub(crate) dense: Option<Dense>,
    parts: HeadParts,
    trained: bool,
    /// Whether its classes are the whole vocabulary, as next tokens.
    language: bool,
}

/// The first map of a head that has two.
#[derive(Debug, Clone)]
pub(crate) struct Dense {
    /// `D [width, width]`.
    pub(crate) weight: Var,
    /// `c [width]`.
    pub(crate) bias: Var,
    /// What bends `D x + c`.
    pub(crate) activation: Activation,
}

impl Head {
    /// transformers' initial values: weights normal with standard deviation 0.02, biases 0.
    ///
    /// In DistilBERT both maps are fresh, `pre_classifier` and `classifier`, and both are trained, or both stay as they are in a
    /// [frozen](Self::frozen) head. So does transformers where it puts `DistilBertForSequenceClassification` on an encoder's checkpoint,
    /// and PEFT, whose `modules_to_save = ["classifier"]` reaches both by the end of their names; RoBERTa's two are likewise one module.
    /// It is not what BERT has: BERT's map before the classifier, the pooler, is the checkpoint's and frozen; the others train
    /// `width * (width + 1)` parameters more. An
    /// identity in place of `D` would train fewer, but its adapters would not be those that transformers and PEFT fit and read. A head
    /// that the checkpoint brings is never taken over: its classes are those of another task, and all seeds would begin at it.
    ///
    /// # Errors
    /// When the tensors cannot be made on the device.
    pub fn initial(backbone: &Backbone, classes: usize, noise: &Noise) -> Result<Self> {
        let width = backbone.width();
        let map = |rows: usize, position| -> Result<(Var, Var)> {
            // Above the pooler of the deepest encoder.
            let slot = Slot::new(MOST_BLOCKS + 1, TargetMap::Pooler);
            let at = Address { slot, sample: 0, example: Address::SHARED, position };
            let mut values = vec![0.0; rows * width];
            noise.fill_normal(at, &mut Vec::new(), &mut values);
            let weight = (Tensor::from_vec(values, (rows, width), backbone.device())? * 0.02)?;
            let bias = Tensor::zeros(rows, DType::F32, backbone.device())?;
            Ok((Var::from_tensor(&weight)?, Var::from_tensor(&bias)?))
        };
        let (weight, bias) = map(classes, Address::ANY)?;
        let parts = backbone.family().head;
        let dense = |(_, activation)| map(width, 0).map(|(weight, bias)| Dense { weight, bias, activation });
        let bias = parts.last.1.map(|_| bias);
        Ok(Self {
            weight,
            bias,
            softcap: None,
            dense: parts.dense.map(dense).transpose()?,
            parts,
            trained: true,
            language: false,
        })
    }

    /// The language head of the decoder in `model`, at the tokens of some answers: its logits are those of the answers as next tokens.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    pub fn of_answers(backbone: &Backbone, model: &Path, tokens: &[u32]) -> Result<Self> {
        Self::of_language(backbone, model, Some(tokens))
    }

    /// The whole language head of the decoder in `model`, never trained: what [`answer`](crate::answer) and
    /// [`Sampler::answers`](crate::Sampler::answers) score texts with. Clones share its memory.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    pub fn language(backbone: &Backbone, model: &Path) -> Result<Self> {
        Self::of_language(backbone, model, None)
    }

    fn of_language(backbone: &Backbone, model: &Path, tokens: Option<&[u32]>) -> Result<Self> {
        let (weight, softcap) = language_rows(backbone, model, tokens)?;
        let (weight, parts) = (Var::from_tensor(&weight)?, backbone.family().head);
        Ok(Self { weight, bias: None, softcap, dense: None, parts, trained: false, language: tokens.is_none() })
    }

    /// Its rows of some tokens, as [`of_answers`](Self::of_answers) reads them.
    ///
    /// # Errors
    /// [`Error::Slot`] where this is no language head or a token is beyond it.
    pub fn of_tokens(&self, tokens: &[u32]) -> Result<Self> {
        self.check_language()?;
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= self.classes()) {
            let expected = format!("its vocabulary has {} entries: is this its tokenizer?", self.classes());
            return Err(Error::Slot { what: format!("token {token}"), expected });
        }
        let rows = self.weight.index_select(&Tensor::new(tokens, self.weight.device())?, 0)?;
        Ok(Self { weight: Var::from_tensor(&rows)?, language: false, ..self.clone() })
    }

    /// Whether its classes are all tokens of the vocabulary.
    pub fn is_language(&self) -> bool {
        self.language
    }

    /// Refuses a head of classes where next tokens are asked for.
    pub(crate) fn check_language(&self) -> Result<()> {
        if self.language {
            return Ok(());
        }
        let expected = "a head of classes does not score texts: take the model's language head".to_owned();
        Err(Error::Slot { what: "log-likelihood of a text".to_owned(), expected })
    }

    /// The same head, left out of what is trained.
    #[must_use]
    pub fn frozen(self) -> Self {
        Self { trained: false, ..self }
    }

    /// Whether the head is trained.
    pub fn is_trained(&self) -> bool {
        self.trained
    }

    /// From the tensors that the family's head has, if all are there.
    fn from_tensors(tensors: &BTreeMap<String, Tensor>, backbone: &Backbone, source: &Path) -> Result<Option<Self>> {
        let width = backbone.width();
        let map = |(weight, bias): (&str, Option<&str>), rows: Option<usize>| -> Result<Option<(Var, Option<Var>)>> {
            let Some(w) = tensors.get(weight) else { return Ok(None) };
            let b = bias.and_then(|bias| tensors.get(bias));
            let fits = w.rank() == 2 && w.dims()[1] == width && rows.is_none_or(|rows| w.dims()[0] == rows);
            if !fits || b.is_some_and(|b| b.dims() != &w.dims()[..1]) {
                let rows = rows.map_or("classes".to_owned(), |rows| rows.to_string());
                let (mut got, mut expected) =
                    (format!("{weight} has shape {:?}", w.dims()), format!("[{rows}, {width}]"));
                if let (Some(bias), Some(b)) = (bias, b) {
                    got = format!("{got} and {bias} {:?}", b.dims());
                    expected = format!("{expected} and [{rows}]");
                }
                let problem = format!("{got}; expected {expected}");
                return Err(Error::File { path: source.to_owned(), problem });
            }
            Ok(Some((Var::from_tensor(w)?, b.map(Var::from_tensor).transpose()?)))
        };
        let parts = backbone.family().head;
        let names = parts.names();
        let missing: Vec<_> = names.iter().copied().filter(|&name| !tensors.contains_key(name)).collect();
        if missing.len() < names.len() && !missing.is_empty() {
            let problem = format!(
                "has a part of a classification head and no {}; expected {} together",
                missing.join(" and no "),
                names.join(", ")
            );
            return Err(Error::File { path: source.to_owned(), problem });
        }
        let Some((weight, bias)) = map(parts.last, None)? else { return Ok(None) };
        let dense = match parts.dense {
            None => None,
            Some(([weight, bias], activation)) => match map((weight, Some(bias)), Some(width))? {
                Some((weight, Some(bias))) => Some(Dense { weight, bias, activation }),
                _ => None,
            },
        };
        Ok(Some(Self { weight, bias, softcap: None, dense, parts, trained: true, language: false }))
    }

    /// The head saved with an adapter: in its file, beside it in `head.safetensors`, or in the checkpoint itself.
    ///
    /// # Errors
    /// [`Error::File`] when none of the three has one, the adapter's file has half of one, or it does not fit the encoder.
    pub fn find(adapter: &PeftAdapter, model_folder: &Path, backbone: &Backbone) -> Result<Self> {
        backbone.description.check_problem_type(model_folder)?;
        let parts = backbone.family().head;
        let names = parts.names();
        let (own, source) = (adapter.whole.keys().filter(|path| is_of_head(path)), adapter.weights_path());
        let own: Vec<&str> = own.map(String::as_str).collect();
        if let Some(other) = own.iter().find(|name| !names.contains(name)) {
            let problem = format!("{other} is of no head of a {}; is this its base model?", backbone.kind());
            return Err(wrong(adapter, problem));
        }
        let missing: Vec<&str> = names.iter().copied().filter(|name| !own.contains(name)).collect();
        // Where all biases were trained and the head was not, its biases stand alone.
        let only_biases =
            adapter.config.trains_all_biases && own.iter().all(|name| name.rsplit('.').next() == Some("bias"));
        if !own.is_empty() && !missing.is_empty() && !only_biases {
            let problem = format!("has {} without {}; save the whole head", own.join(" and "), missing.join(" and "));
            return Err(wrong(adapter, problem));
        }
        if missing.is_empty() {
            return Self::complete(&adapter.whole, backbone, &source);
        }
        let beside = adapter.folder.join(HEAD_FILE);
        if beside.is_file() {
            return Self::complete(&read_tensors(&beside, backbone.device())?, backbone, &beside);
        }
        let mut tensors = BTreeMap::new();
        // One that was trained with the adapter is not the checkpoint's.
        let was_trained = backbone.is_causal()
            && adapter.config.modules_to_save.iter().any(|module| parts.modules.contains(&module.as_str()));
        if gguf_of(model_folder).is_none() && !was_trained {
            let weights = Weights::open(model_folder, backbone.device())?;
            for &name in &names {
                tensors.extend(weights.outside(name)?.map(|tensor| (name.to_owned(), tensor)));
            }
        }
        tensors.extend(own.iter().filter_map(|&name| Some((name.to_owned(), adapter.whole.get(name)?.clone()))));
        if names.iter().all(|&name| tensors.contains_key(name)) {
            return Self::complete(&tensors, backbone, model_folder);
        }
        Err(Error::File {
            path: adapter.folder.clone(),
            problem: format!(
                "no classification head; expected {} in the adapter file, in {HEAD_FILE} beside it, or in \
                 the model's checkpoint (save the adapter with modules_to_save={:?})",
                names.join(" and "),
                parts.modules
            ),
        })
    }

    /// A head of two classes or more, from all its tensors.
    fn complete(tensors: &BTreeMap<String, Tensor>, backbone: &Backbone, source: &Path) -> Result<Self> {
        let problem = |problem: String| Error::File { path: source.to_owned(), problem };
        let head = Self::from_tensors(tensors, backbone, source)?
            .ok_or_else(|| problem(format!("has no {}", backbone.family().head.names().join(" and "))))?;
        let (weight, _) = head.parts.last;
        match head.classes() {
            0 => Err(problem(format!("{weight} has no rows; expected one for each class"))),
            1 => Err(problem(format!(
                "{weight} has one output, as of a regression, which is not supported; expected one for each of two classes or more"
            ))),
            _ => Ok(head),
        }
    }

    /// The parameters by name, trained or not, in a fixed order.
    fn named(&self) -> impl Iterator<Item = (&str, &Var)> {
        let dense = self.dense.iter().flat_map(|Dense { weight, bias, .. }| [weight, bias]);
        self.parts.names().into_iter().zip(std::iter::once(&self.weight).chain(&self.bias).chain(dense))
    }

    /// The trained parameters by name, in a fixed order; none of a frozen head.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.named().filter(|_| self.trained)
    }

    /// The tensors by name.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.named().map(|(name, var)| (name.to_owned(), var.as_detached_tensor())).collect()
    }

    /// What the last map reads: `relu(D x + c)` or `tanh(D x + c)`, or the pooled representations themselves.
    ///
    /// # Shapes
    /// `[samples, sentences, width]` to the same.
    ///
    /// # Errors
    /// When shapes do not go together.
    pub fn features(&self, pooled: &Tensor) -> Result<Tensor> {
        match &self.dense {
            None => Ok(pooled.clone()),
            Some(Dense { weight, bias, activation }) => Ok(activation.apply(&affine(pooled, weight, Some(bias))?)?),
        }
    }

    /// Logits of pooled representations.
    ///
    /// # Shapes
    /// `[samples, sentences, width]` to `[samples, sentences, classes]`.
    ///
    /// # Errors
    /// When shapes do not go together.
    pub fn logits(&self, pooled: &Tensor) -> Result<Tensor> {
        let logits = affine(&self.features(pooled)?, &self.weight, self.bias.as_ref())?;
        Ok(match self.softcap {
            None => logits,
            Some(cap) => ((logits / cap)?.tanh()? * cap)?,
        })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.weight.dims()[0]
    }
}

/// `W x + b` of every row.
fn affine(x: &Tensor, weight: &Tensor, bias: Option<&Var>) -> Result<Tensor> {
    let (samples, sentences, width) = x.dims3()?;
    let out = x.reshape((samples * sentences, width))?.matmul(&weight.t()?)?;
    let out = match bias {
        None => out,
        Some(bias) => out.broadcast_add(bias)?,
    };
    Ok(out.reshape((samples, sentences, weight.dims()[0]))?)
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
    backbone: &Backbone,
    head: &Head,
    adapters: &AdapterSet,
    draw: Draw<'_>,
    from: usize,
    x: &Tensor,
    packing: &Packing,
) -> Result<Output> {
    let mut pass = Pass::new(adapters, draw);
    let pooled = backbone.pooled(from, x, packing, &mut pass)?;
    Ok(Output { logits: head.logits(&pooled)?, divergence: pass.divergence()? })
}
