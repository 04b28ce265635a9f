//! The predictions that a finished unit keeps beside its record.

use std::collections::HashMap;

use bayeslora_metrics::Predictive;
use ndarray::{Array3, s};

use super::Unit;
use super::paired::validation_name;
use super::workshop::Workshop;
use crate::error::{Error, Result};
use bayeslora_inference::Reading;

/// Kept logits of one unit.
pub(super) struct KeptPredictions<'a> {
    workshop: &'a Workshop<'a>,
    unit: &'a Unit<'a>,
    logits: HashMap<String, Array3<f32>>,
}

impl<'a> KeptPredictions<'a> {
    /// Those of `unit`.
    ///
    /// # Errors
    /// When it kept none here, or their file is damaged.
    pub(super) fn open(workshop: &'a Workshop<'a>, unit: &'a Unit<'a>) -> Result<Self> {
        let logits = workshop.store.predictions(&unit.key)?;
        let logits = logits.ok_or_else(|| refused(workshop, unit, "has no predictions here"))?;
        Ok(Self { workshop, unit, logits })
    }

    /// Of the first `count` texts of a test domain.
    ///
    /// # Errors
    /// When there are none, or fewer.
    pub(super) fn of_domain(&self, reading: Reading, domain: &str, count: usize) -> Result<Predictive> {
        self.find(reading, count, domain, |row| format!("{row}.{domain}"))
    }

    /// Of the validation texts.
    ///
    /// # Errors
    /// When there are none, or fewer.
    pub(super) fn of_validation(&self, reading: Reading) -> Result<Predictive> {
        self.find(reading, self.workshop.data.validation.len(), "validation", validation_name)
    }

    fn find(&self, wanted: Reading, count: usize, domain: &str, name: impl Fn(&str) -> String) -> Result<Predictive> {
        let rows = self.workshop.plan.rows();
        let row = rows.iter().find(|(_, _, method, reading)| method.id == self.unit.method.id && *reading == wanted);
        let logits = row.and_then(|(id, ..)| self.logits.get(&name(id)));
        let logits = logits.filter(|logits| logits.dim().1 >= count).ok_or_else(|| {
            let what = format!("has no predictions ({}) of {count} texts of {domain}", wanted.word());
            refused(self.workshop, self.unit, &what)
        })?;
        Ok(Predictive::from_logits(logits.slice(s![.., ..count, ..]), self.unit.method.prediction.averaging)?)
    }
}

fn refused(workshop: &Workshop<'_>, unit: &Unit<'_>, what: &str) -> Error {
    let path = workshop.store.run_folder(&unit.key).join("predictions.safetensors");
    let problem =
        format!("{} {what}; remove its file in units/ and compute it again with `bayeslora run`", unit.name());
    Error::Store { path, problem }
}
