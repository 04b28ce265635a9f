//! What a method is.

use bayeslora_adapters::{DropoutSite, MaskScope};

use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::settings::TrainingSettings;
use bayeslora_records::Reading;

/// The dropout that a method trains its adapters with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Where the multipliers act.
    pub site: DropoutSite,
    /// Reach of one draw.
    pub scope: MaskScope,
    /// Dropout probability `p`, in [0, 1).
    pub probability: f64,
}

/// A method with checked parameters.
pub trait Method: std::fmt::Debug + Send + Sync {
    /// The predictives it offers, each a row of the tables; tuning judges by the last one.
    fn readings(&self) -> Vec<Reading>;

    /// The checked parameters: what determines the fit beside data, backbone, adapter, training and seed.
    fn settings(&self) -> serde_json::Value;

    /// Names of parameters that only say how the fit is read: fits that differ in nothing else are one fit.
    fn parameters_of_readings(&self) -> &'static [&'static str] {
        &[]
    }

    /// The dropout of its adapters in training and at prediction; none for methods without.
    fn dropout(&self) -> Option<Dropout> {
        None
    }

    /// Refuses parameters that want more steps than a training on so many examples has.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) with the parameter, its value, and what would do.
    fn check_steps(&self, _examples: usize, _training: &TrainingSettings) -> Result<()> {
        Ok(())
    }

    /// Members of the fit.
    fn members(&self) -> u32 {
        1
    }

    /// Trainings it takes, for the estimate of the work ahead.
    fn trainings(&self) -> u32 {
        self.members()
    }

    /// Token passes after the trainings (see [`Progress`](bayeslora_data::Progress)), at most, given the tokens of the training and the validation
    /// set.
    fn post_hoc_work(&self, _train: u64, _validation: u64) -> u64 {
        0
    }

    /// Trains.
    ///
    /// # Errors
    /// When training diverges or cannot write its checkpoints.
    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted>;
}
