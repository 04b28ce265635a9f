//! The validation set at the mean of a member's posterior, and the loss that training shares with it.

use bayeslora_adapters::Draw;
use candle_core::{D, Tensor};

use crate::context::FitContext;
use crate::error::Result;
use crate::member::Member;
use crate::readout::outputs;

/// Rows of one forward pass of validation.
const ROWS_PER_PASS: usize = 2048;

/// The validation sentences at the mean of the posterior.
pub(crate) struct Validation {
    /// Mean, nats.
    pub(crate) nll: f64,
    /// Share of them whose most probable class is right.
    pub(crate) accuracy: f64,
}

pub(crate) fn validate(context: &FitContext<'_>, member: &Member) -> Result<Validation> {
    let (mut nll, mut right) = (0.0, 0);
    for places in context.validation.batches_of_rows(ROWS_PER_PASS) {
        let batch = context.validation.batch(&places, context.backbone.device())?;
        let output = outputs(context.backbone, member, Draw::Mean, context.from, &batch)?;
        nll += f64::from(mean_nll(&output.logits, &batch.labels)?.to_scalar::<f32>()?) * places.len() as f64;
        let predicted: Vec<u32> = output.logits.squeeze(0)?.argmax(D::Minus1)?.to_vec1()?;
        right += predicted.iter().zip(&batch.labels).filter(|(predicted, label)| predicted == label).count();
    }
    let examples = context.validation.len() as f64;
    Ok(Validation { nll: nll / examples, accuracy: right as f64 / examples })
}

/// Mean cross-entropy in nats.
///
/// # Shapes
/// `logits: [1, sentences, classes]`.
pub(crate) fn mean_nll(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let logits = logits.squeeze(0)?;
    let labels = Tensor::new(labels, logits.device())?.unsqueeze(1)?;
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let normaliser = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok((normaliser - shifted.gather(&labels, 1)?)?.mean_all()?)
}
