//! What an experiment file may not say, beyond what its types refuse.

use bayeslora_data::unknown;
use bayeslora_metrics::Bootstrap;
use bayeslora_report::{Contrast, tested_metrics};

use super::plan::{Plan, Row, Shared};
use super::{Experiment, TuningSettings};

impl Experiment {
    /// Refuses contrasts of rows that there are not, among `rows` of all profiles, those that every page has anyway, and those named twice.
    pub(super) fn check_contrasts(&self, rows: &[Row]) -> Result<(), String> {
        let ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
        for (place, Contrast { row, beside }) in self.contrasts.iter().enumerate() {
            let both = [row, beside];
            if let Some(other) = both.into_iter().find(|id| !ids.contains(id)) {
                return Err(unknown("row of contrasts", other, ids.iter().map(String::as_str)));
            }
            if row == beside {
                return Err(format!("contrasts: \"{row}\" stands beside itself; name two rows"));
            }
            if both.contains(&&self.reference) {
                return Err(format!(
                    "contrasts: \"{row}\" beside \"{beside}\", one of them the reference; every row is compared with it already"
                ));
            }
            let mut before = self.contrasts[..place].iter();
            if before.any(|other| both.contains(&&other.row) && both.contains(&&other.beside)) {
                return Err(format!("contrasts: \"{row}\" and \"{beside}\" are named twice; each pair is one test"));
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Refuses values out of range.
    pub(super) fn check(&self) -> Result<(), String> {
        let t = &self.training;
        range("training.epochs", t.epochs.into(), t.epochs >= 1, "at least 1")?;
        range("training.batch-size", t.batch_size as f64, t.batch_size >= 1, "at least 1")?;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        range("training.learning-rate", t.learning_rate, positive(t.learning_rate), "a positive number")?;
        range("training.warmup", t.warmup, (0.0..=1.0).contains(&t.warmup), "0 to 1")?;
        let decay = t.weight_decay;
        range("training.weight-decay", decay, decay.is_finite() && decay >= 0.0, "at least 0")?;
        range("training.clip-norm", t.clip_norm, positive(t.clip_norm), "a positive number")?;
        range("training.patience", t.patience.into(), t.patience >= 1, "at least 1")?;
        let samples = self.prediction.samples;
        range("prediction.samples", samples.into(), samples >= 1, "at least 1")?;
        if self.adapter.target_maps.is_empty() || self.adapter.target_blocks.is_empty() {
            return Err("adapter.target-maps or adapter.target-blocks is empty; name at least one of each".to_owned());
        }
        Ok(())
    }
}

impl Plan {
    /// Refuses values out of range, seeds named twice, and margins of what is not tested.
    pub(super) fn check(&self) -> Result<(), String> {
        let max_tokens = self.experiment.max_tokens;
        range("max-tokens", max_tokens as f64, max_tokens >= 3, "at least 3 (special tokens included)")?;
        let TuningSettings { trials, seeds, .. } = &self.experiment.tuning;
        range("tuning.trials", f64::from(*trials), *trials >= 1, "at least 1")?;
        range("the number of tuning.seeds", seeds.len() as f64, !seeds.is_empty(), "at least 1")?;
        // A seed counted twice would make the spread over seeds smaller than it is.
        let fitted = [self.seeds.as_slice(), &self.reference_seeds].concat();
        for (name, seeds) in [(format!("profile \"{}\"", self.profile), &fitted), ("tuning".to_owned(), seeds)] {
            if let Some(twice) = (1..seeds.len()).find(|&place| seeds[..place].contains(&seeds[place])) {
                return Err(format!("{name} has the seed {} twice; name every seed once", seeds[twice]));
            }
        }
        self.check_lines()?;
        let settings = self.task.settings();
        if let Some(examples) = settings.train_per_seed.or(settings.max_train) {
            self.check_steps(examples)?;
        }
        let Bootstrap { resamples, level, .. } = self.experiment.bootstrap;
        range("bootstrap.resamples", resamples.into(), resamples >= 2, "at least 2")?;
        range("bootstrap.level", level, level > 0.0 && level < 1.0, "a number between 0 and 1")?;
        for (metric, &margin) in &self.experiment.margins {
            let tested: Vec<&str> = tested_metrics().collect();
            if !tested.contains(&metric.as_str()) {
                return Err(format!(
                    "margins.{metric}: no such metric is tested; expected one of {}",
                    tested.join(", ")
                ));
            }
            range(&format!("margins.{metric}"), margin, margin > 0.0 && margin.is_finite(), "a positive number")?;
        }
        Ok(())
    }

    /// Refuses words that would break the tables they stand in, and labels that would be mistaken for each other.
    fn check_lines(&self) -> Result<(), String> {
        let experiment = &self.experiment;
        let mut lines = vec![("name".to_owned(), &experiment.name), ("title".to_owned(), &experiment.title)];
        lines.extend(experiment.ranked_as.iter().map(|name| ("ranked-as".to_owned(), name)));
        lines.extend(experiment.curve.iter().map(|curve| ("curve.axis".to_owned(), &curve.axis)));
        lines
            .extend(experiment.methods.iter().map(|entry| (format!("label of method \"{}\"", entry.id), &entry.label)));
        for (name, line) in lines {
            let tears = |c: char| c.is_control() || matches!(c, '|' | '\u{2028}' | '\u{2029}');
            if line.trim().is_empty() || line.contains(tears) {
                return Err(format!("{name} is {line:?}; expected words for tables, in one line and without |"));
            }
        }
        let methods = &experiment.methods;
        let label = |place: usize| methods[place].label.trim();
        let twice = (1..methods.len()).find(|&place| (0..place).any(|before| label(before) == label(place)));
        twice.map_or(Ok(()), |place| {
            Err(format!("two methods have the label {:?}; tables know them by it", methods[place].label))
        })
    }
}

fn range(name: &str, value: f64, ok: bool, expected: &str) -> Result<(), String> {
    if ok { Ok(()) } else { Err(format!("{name} is {value}; expected {expected}")) }
}
