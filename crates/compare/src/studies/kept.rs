//! The predictions that a finished unit keeps beside its record.

use std::collections::HashMap;

use bayeslora_metrics::Predictive;
use bayeslora_records::{Reading, Texts};
use ndarray::{Array3, s};

use crate::error::{Error, Result};
use crate::run::opened::OpenedPlan;
use crate::run::unit::Unit;

/// Kept logits of one unit.
pub(super) struct KeptPredictions<'a> {
    opened: &'a OpenedPlan<'a>,
    unit: &'a Unit<'a>,
    logits: HashMap<String, Array3<f32>>,
}

impl<'a> KeptPredictions<'a> {
    /// Those of `unit`.
    ///
    /// # Errors
    /// When it kept none here, or their file is damaged.
    pub(super) fn open(opened: &'a OpenedPlan<'a>, unit: &'a Unit<'a>) -> Result<Self> {
        let logits = opened.store.predictions(&unit.key)?;
        let logits = logits.ok_or_else(|| refused(opened, unit, "has no predictions here"))?;
        Ok(Self { opened, unit, logits })
    }

    /// Of the first `count` texts of a test domain.
    ///
    /// # Errors
    /// When there are none, or fewer.
    pub(super) fn of_domain(&self, reading: Reading, domain: &str, count: usize) -> Result<Predictive> {
        self.find(reading, Texts::Domain(domain), count)
    }

    /// Of the validation texts.
    ///
    /// # Errors
    /// When there are none, or fewer.
    pub(super) fn of_validation(&self, reading: Reading) -> Result<Predictive> {
        self.find(reading, Texts::Validation, self.opened.data.validation.len())
    }

    fn find(&self, reading: Reading, texts: Texts<'_>, count: usize) -> Result<Predictive> {
        let row = self.opened.rows_of(self.unit).find(|row| row.reading == reading);
        let logits = row.and_then(|row| self.logits.get(&row.id.kept_name(texts)));
        let logits = logits.filter(|logits| logits.dim().1 >= count).ok_or_else(|| {
            let of = match texts {
                Texts::Validation => "validation",
                Texts::Domain(domain) => domain,
            };
            let what = format!("has no predictions ({}) of {count} texts of {of}", reading.word());
            refused(self.opened, self.unit, &what)
        })?;
        Ok(Predictive::from_logits(logits.slice(s![.., ..count, ..]), self.unit.method.prediction.averaging)?)
    }
}

fn refused(opened: &OpenedPlan<'_>, unit: &Unit<'_>, what: &str) -> Error {
    let path = opened.store.run_folder(&unit.key).join("predictions.safetensors");
    let problem =
        format!("{} {what}; remove its file in units/ and compute it again with `bayeslora run`", unit.name());
    Error::Store { path, problem }
}
