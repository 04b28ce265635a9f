//! IVON-LoRA (arXiv 2506.14280; the optimiser: arXiv 2402.17641): a Gaussian over every entry of `A` and `B` whose variance is the
//! curvature that the optimiser has estimated, `N(m, 1 / (lambda (h + delta)))`.
//!
//! Each step draws one set of weights for its whole batch; prediction draws one a sample. A head that is trained stays a point, under AdamW:
//! in the paper no head is trained. The prior is in the step itself, as weight decay `delta`, so that the loss has no divergence.
//!
//! Defaults are those of the authors' package, with the training examples as sample size. After `t` steps the curvature has moved from `h0` by
//! the share `1 - beta2^t`: with `beta2 = 0.99999` a training of some hundred steps ends with the widths that it began with. The package
//! multiplies the rate by `h0 + delta`, the paper's algorithm does not (`rescale-rate`).

use bayeslora_adapters::{PosteriorSettings, WeightGaussian, WeightGaussianSettings};
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::parameters::{check_positive, read, recorded};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::member::Member;
use crate::optimise::{Ivon as Update, Rule};
use crate::recipe::Recipe;
use crate::train::train;
use bayeslora_records::Reading;

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Ivon {
    /// Peak rate of the natural-gradient steps, positive. Default: 0.1.
    learning_rate: f64,
    /// Decay of the momentum, above 0 and below 1. Default: 0.9.
    beta1: f64,
    /// Decay of the curvature, above 0 and below 1. Default: 0.99999.
    beta2: f64,
    /// Weight decay `delta`, positive; the prior of an entry has variance `1 / (lambda delta)`. Default: 1e-4.
    weight_decay: f64,
    /// Effective sample size `lambda`, positive. Default: the number of training examples.
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_size: Option<f64>,
    /// Curvature `h0` at the start, positive. Default: 1.
    initial_curvature: f64,
    /// Largest change of an entry before the rate, positive. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    clip_radius: Option<f64>,
    /// Whether the momentum is divided by `1 - beta1^t`. Default: true.
    debias: bool,
    /// Whether the rate is multiplied by `h0 + delta`. Default: true.
    rescale_rate: bool,
}

impl Default for Ivon {
    fn default() -> Self {
        Self {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.99999,
            weight_decay: 1e-4,
            sample_size: None,
            initial_curvature: 1.0,
            clip_radius: None,
            debias: true,
            rescale_rate: true,
        }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: Ivon = read(parameters)?;
    for (name, value) in [
        ("learning-rate", method.learning_rate),
        ("weight-decay", method.weight_decay),
        ("initial-curvature", method.initial_curvature),
        ("sample-size", method.sample_size.unwrap_or(1.0)),
        ("clip-radius", method.clip_radius.unwrap_or(1.0)),
    ] {
        check_positive(name, value)?;
    }
    for (name, value) in [("beta1", method.beta1), ("beta2", method.beta2)] {
        if !(value > 0.0 && value < 1.0) {
            return Err(format!("{name} is {value}; expected a number above 0 and below 1"));
        }
    }
    Ok(Box::new(method))
}

impl Ivon {
    fn update(&self, examples: usize) -> Update {
        Update {
            rate: self.learning_rate,
            beta1: self.beta1,
            beta2: self.beta2,
            decay: self.weight_decay,
            sample_size: self.sample_size.unwrap_or(examples as f64),
            initial_curvature: self.initial_curvature,
            clip_radius: self.clip_radius,
            debiased: self.debias,
            rescaled: self.rescale_rate,
        }
    }
}

/// Mean standard deviation of the adapters' entries.
fn mean_sd(member: &Member) -> Result<f64> {
    let (mut total, mut count) = (0.0, 0);
    for (_, parameter) in member.adapters.parameters() {
        if WeightGaussian::tensor_names().contains(&parameter.name) {
            total += f64::from(parameter.var.as_detached_tensor().exp()?.sum_all()?.to_scalar::<f32>()?);
            count += parameter.var.elem_count();
        }
    }
    Ok(total / count.max(1) as f64)
}

impl Method for Ivon {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Mean, Reading::Sampled]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("ivon", self)
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        let update = self.update(context.train.len());
        let rule = |name: &str| match name {
            "lora_A.weight" | "lora_B.weight" => Some(Rule::IvonMean(update)),
            name if WeightGaussian::tensor_names().contains(&name) => Some(Rule::IvonLogSd(update)),
            _ => None,
        };
        let settings = WeightGaussianSettings { initial_sd: update.initial_sd() };
        let recipe = Recipe { rule: &rule, ..Recipe::plain(PosteriorSettings::WeightGaussian(settings)) };
        let mut fit = train(context, &recipe, 0)?;
        fit.record.chosen.insert("mean standard deviation".to_owned(), mean_sd(&fit.members[0])?);
        Ok(fit)
    }
}
