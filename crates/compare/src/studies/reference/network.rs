//! The frozen part of an encoder as the posterior's model reads it.

use bayeslora_adapters::{AdapterSet, Draw, TargetMap};
use bayeslora_inference::Sentences;
use bayeslora_models::{Head as NetworkHead, Pass, SavedAdapter, pooler_slot};
use bayeslora_posterior::Head;
use candle_core::{DType, Tensor};
use ndarray::{Array1, Array2, Ix1, Ix2};

use crate::error::{Error, Result};
use crate::run::opened::OpenedPlan;

/// Rows of one forward pass.
const ROWS_PER_PASS: usize = 4096;

/// Inputs of the pooler and its frozen outputs before the activation, of some texts.
pub(super) struct Inputs {
    /// `[texts, width]`.
    pub(super) inputs: Array2<f64>,
    /// `[texts, width]`.
    pub(super) frozen: Array2<f64>,
}

impl Inputs {
    /// Of the texts in their order.
    ///
    /// # Errors
    /// When the encoder has no pooler.
    pub(super) fn of(opened: &OpenedPlan<'_>, sentences: &Sentences) -> Result<Self> {
        let backbone = &opened.backbone;
        let Some((weight, bias)) = backbone.pooler()? else {
            return Err(Error::Report(format!(
                "posterior: a {} has no pooler; expected a BERT encoder, whose last map is one",
                backbone.kind()
            )));
        };
        let (weight, bias) = (matrix(&weight)?, vector(&bias)?);
        let mut inputs = Array2::zeros((sentences.len(), backbone.width()));
        let none = AdapterSet::new();
        for places in sentences.batches_of_rows(ROWS_PER_PASS) {
            let batch = sentences.batch(&places, backbone.device())?;
            let pass = &mut Pass::new(&none, Draw::Mean);
            let states = backbone.states(opened.lowest(), &batch.hidden, &batch.packing, pass)?.squeeze(0)?;
            for (&place, row) in places.iter().zip(matrix(&states)?.outer_iter()) {
                inputs.row_mut(place).assign(&row);
            }
            opened.progress.advance(batch.packing.rows() as u64);
        }
        let frozen = inputs.dot(&weight.t()) + bias;
        Ok(Self { inputs, frozen })
    }

    /// Those of several sets, one after another.
    pub(super) fn joined(all: &[Self]) -> Result<Self> {
        let join = |of: fn(&Self) -> &Array2<f64>| {
            let views: Vec<_> = all.iter().map(|own| of(own).view()).collect();
            ndarray::concatenate(ndarray::Axis(0), &views).map_err(|error| Error::Report(format!("posterior: {error}")))
        };
        Ok(Self { inputs: join(|own| &own.inputs)?, frozen: join(|own| &own.frozen)? })
    }
}

/// The head of a saved adapter.
pub(super) fn head(head: &NetworkHead) -> Result<Head> {
    let tensors = head.tensors();
    let of = |end: &str| tensors.iter().find(|(name, _)| name.ends_with(end)).map(|(_, tensor)| tensor);
    match (of("weight"), of("bias"), tensors.len()) {
        (Some(weight), Some(bias), 2) => Ok(Head { weight: matrix(weight)?, bias: vector(bias)? }),
        _ => Err(Error::Report("posterior: the head is no single map with a bias; expected that of a BERT".to_owned())),
    }
}

/// `A` and `B` of the adapter of the pooler, one after another, row by row; with rank and scale.
pub(super) fn parameters(opened: &OpenedPlan<'_>, saved: &SavedAdapter) -> Result<(Vec<f64>, (usize, f64))> {
    let slot = pooler_slot(opened.backbone.blocks());
    let only = "posterior: a fit adapts other maps than the pooler; expected target-maps = [\"pooler\"] alone";
    let refused = || Error::Report(only.to_owned());
    if saved.adapters.iter().any(|(own, _)| own.map != TargetMap::Pooler) {
        return Err(refused());
    }
    let adapter = saved.adapters.get(slot).ok_or_else(refused)?;
    let tensor = |wanted: &str| -> Result<Vec<f64>> {
        let found = adapter.parameters().into_iter().find(|parameter| parameter.name == wanted).ok_or_else(refused)?;
        Ok(found.var.as_tensor().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
    };
    let mut all = tensor("lora_A.weight")?;
    all.extend(tensor("lora_B.weight")?);
    let low_rank = adapter.low_rank();
    Ok((all, (low_rank.rank(), low_rank.scale())))
}

fn array(tensor: &Tensor) -> Result<ndarray::ArrayD<f64>> {
    let values: Vec<f64> = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    ndarray::ArrayD::from_shape_vec(tensor.dims().to_vec(), values)
        .map_err(|error| Error::Report(format!("posterior: {error}")))
}

fn matrix(tensor: &Tensor) -> Result<Array2<f64>> {
    array(tensor)?.into_dimensionality::<Ix2>().map_err(|error| Error::Report(format!("posterior: {error}")))
}

fn vector(tensor: &Tensor) -> Result<Array1<f64>> {
    array(tensor)?.into_dimensionality::<Ix1>().map_err(|error| Error::Report(format!("posterior: {error}")))
}
