//! Fits and what is kept of them: adapters, and how the fit went. Units that only read a fit in another way find it here.

use std::path::{Path, PathBuf};

use bayeslora_adapters::PosteriorSettings;
use bayeslora_inference::{Fitted, Laplace, Member};
use bayeslora_models::{HeadOf, SavedAdapter, save_adapter};
use bayeslora_records::{FitRecord, read_json, write_json};
use serde::{Deserialize, Serialize};

use super::opened::{OpenedPlan, Splits};
use super::unit::{Origin, Unit};
use crate::error::{Error, Result};

/// The file that says of a fit's folder that its adapters are whole.
const FILE: &str = "fit.json";

/// What [`FILE`] says.
#[derive(Debug, Serialize, Deserialize)]
struct KeptFit {
    key: String,
    members: usize,
    record: FitRecord,
}

/// The folder of one of a fit's adapters.
fn member_folder(folder: &Path, number: usize, members: usize) -> PathBuf {
    folder.join(if members == 1 { "adapter".to_owned() } else { format!("adapter-{number}") })
}

impl OpenedPlan<'_> {
    /// The fit of a unit: the one that is kept, or a new one, which is not kept yet.
    pub(crate) fn fit(&self, unit: &Unit<'_>, splits: &Splits) -> Result<(Fitted, Origin)> {
        let folder = self.store.fit_folder(&unit.fit);
        let own = self.drawn(unit.seed, &splits.train)?;
        let train = own.as_ref().unwrap_or(&splits.train);
        if let Some(fitted) = self.kept_fit(unit)? {
            let (train, validation) = (train.tokens() as u64, splits.validation.tokens() as u64);
            self.progress.note(&format!("{}: read from a fit that is kept", unit.name()));
            self.progress.advance(unit.method.fit_work(train, validation));
            return Ok((fitted, Origin::Kept));
        }
        let context = self.context(unit, (train, &splits.validation), &folder);
        Ok((unit.method.method.fit(&context)?, Origin::New))
    }

    /// Whether the fit of a unit is kept here.
    pub(crate) fn keeps_fit(&self, unit: &Unit<'_>) -> bool {
        self.store.fit_folder(&unit.fit).join(FILE).is_file()
    }

    /// The fit of a unit, where it is kept here.
    pub(crate) fn kept_fit(&self, unit: &Unit<'_>) -> Result<Option<Fitted>> {
        let folder = &self.store.fit_folder(&unit.fit);
        let kept: Option<KeptFit> = read_json(&folder.join(FILE))?;
        let Some(KeptFit { members: count, record, .. }) = kept.filter(|kept| kept.key == unit.fit) else {
            return Ok(None);
        };
        let read = || -> Result<Fitted> {
            let (mut members, mut laplace) = (Vec::new(), None);
            for number in 0..count {
                let folder = member_folder(folder, number, count);
                let head = self.language().map_or(HeadOf::Classes, HeadOf::Shared);
                let SavedAdapter { adapters, head, posterior } =
                    SavedAdapter::load_for(&folder, &self.backbone, self.model.path(), head)?;
                if let PosteriorSettings::Laplace(settings) = posterior {
                    laplace = Some(Laplace::load(&folder, settings, &adapters, &head)?);
                }
                members.push(Member { adapters, head, posterior });
            }
            Ok(Fitted { members, record, laplace })
        };
        read().map(Some).map_err(|error| Error::Store {
            path: folder.to_owned(),
            problem: format!("is no whole fit: {error}; remove the folder, and the fit is computed again"),
        })
    }

    /// Saves a fit, for `bayeslora predict` and for other units, and drops the checkpoints that it came from.
    pub(crate) fn keep_fit(&self, unit: &Unit<'_>, fitted: &Fitted) -> Result<()> {
        let folder = self.store.fit_folder(&unit.fit);
        let adapter = &unit.method.adapter;
        let members = fitted.members.len();
        for (number, Member { adapters, head, posterior }) in fitted.members.iter().enumerate() {
            let folder = member_folder(&folder, number, members);
            let shape = (adapter.rank, adapter.alpha);
            save_adapter(&folder, &self.backbone, adapters, head, posterior, shape, self.plan.model.name())?;
            if let Some(laplace) = &fitted.laplace {
                laplace.save(&folder)?;
            }
        }
        // Of the process that fitted.
        let record = FitRecord { peak_memory: None, ..fitted.record.clone() };
        write_json(&folder.join(FILE), &KeptFit { key: unit.fit.clone(), members, record })?;
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for path in
            entries.map(|entry| entry.path()).filter(|p| p.to_string_lossy().ends_with(".checkpoint.safetensors"))
        {
            std::fs::remove_file(&path)
                .map_err(|error| Error::Store { path: path.clone(), problem: format!("cannot be removed: {error}") })?;
        }
        Ok(())
    }
}
