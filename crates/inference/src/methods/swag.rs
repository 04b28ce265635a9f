//! SWAG-LoRA (arXiv 2405.03425, after arXiv 1902.02476; methods.md, section 13): a Gaussian with the moments of the weights that training
//! visits around its best point, diagonal plus low rank; members are draws from it.
//!
//! First the MLE fit, then further steps of AdamW at a constant rate from its best weights, with snapshots along the way. Each draw is one
//! set of weights that all examples share. Published settings have `scale = 1` where the covariance they state needs 1/2, the default
//! here; `scale = 0` gives the average of the snapshots (SWA).

use bayeslora_adapters::{Address, Noise, PosteriorSettings, Slot, Stream, derive_seed};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::checkpoint_ensemble::spaced;
use super::method::Method;
use super::parameters::{check_not_negative, check_positive, read, recorded, refused};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::member::Member;
use crate::optimise::Rule;
use crate::recipe::Recipe;
use crate::settings::{Schedule, TrainingSettings};
use crate::train::train;
use bayeslora_records::Reading;

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Swag {
    /// Epochs that snapshots are collected over, at least 1. Default: 5.
    epochs: u32,
    /// Snapshots, equally spaced over these epochs, at least 2; at most their steps. Default: 20.
    snapshots: u32,
    /// Constant rate of AdamW in these epochs, positive. Default: 1e-4.
    learning_rate: f64,
    /// Deviations kept, the last ones: rank of the covariance beside its diagonal; 2 to `snapshots`. Default: 5.
    columns: u32,
    /// Factor of the covariance, at least 0. Default: 0.5.
    scale: f64,
    /// Draws, at least 1. Default: 10.
    members: u32,
}

impl Default for Swag {
    fn default() -> Self {
        Self { epochs: 5, snapshots: 20, learning_rate: 1e-4, columns: 5, scale: 0.5, members: 10 }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: Swag = read(parameters)?;
    for (name, value, least) in
        [("epochs", method.epochs, 1), ("snapshots", method.snapshots, 2), ("members", method.members, 1)]
    {
        if value < least {
            return Err(format!("{name} is {value}; expected at least {least}"));
        }
    }
    if !(2..=method.snapshots).contains(&method.columns) {
        return Err(format!("columns is {}; expected 2 to snapshots ({})", method.columns, method.snapshots));
    }
    check_positive("learning-rate", method.learning_rate)?;
    check_not_negative("scale", method.scale)?;
    Ok(Box::new(method))
}

/// Moments of vectors that come one after another.
#[derive(Debug)]
struct Moments {
    mean: Vec<f64>,
    variance: Vec<f64>,
    /// Deviations of the last vectors from the mean of those up to them.
    columns: Vec<Vec<f64>>,
}

impl Moments {
    fn of(vectors: &[Vec<f64>], columns: usize) -> Self {
        let width = vectors.first().map_or(0, Vec::len);
        let (mut mean, mut square) = (vec![0.0; width], vec![0.0; width]);
        let mut deviations = Vec::new();
        for (count, vector) in (1..).map(f64::from).zip(vectors) {
            let mut deviation = Vec::with_capacity(width);
            for ((mean, square), value) in mean.iter_mut().zip(&mut square).zip(vector) {
                *mean += (value - *mean) / count;
                *square += (value * value - *square) / count;
                deviation.push(value - *mean);
            }
            deviations.push(deviation);
        }
        let variance = mean.iter().zip(&square).map(|(mean, square)| (square - mean * mean).max(0.0)).collect();
        let columns = deviations.split_off(deviations.len().saturating_sub(columns));
        Self { mean, variance, columns }
    }

    /// `mean + sqrt(scale) ( sqrt(variance) * n1 + D n2 / sqrt(K - 1) )`.
    fn draw(&self, scale: f64, noise: &Noise, number: u32) -> Vec<f64> {
        let normals = |example: u64, count: usize| -> Vec<f32> {
            let mut normals = vec![0.0; count];
            let at = Address { slot: Slot::NONE, sample: number, example, position: 0 };
            noise.fill_normal(at, &mut Vec::new(), &mut normals);
            normals
        };
        let along = normals(0, self.columns.len());
        let share = (self.columns.len().max(2) as f64 - 1.0).sqrt();
        let own = normals(1, self.mean.len());
        let deviation = |index: usize| {
            let low_rank: f64 = self.columns.iter().zip(&along).map(|(column, &n)| column[index] * f64::from(n)).sum();
            self.variance[index].sqrt() * f64::from(own[index]) + low_rank / share
        };
        self.mean.iter().enumerate().map(|(index, mean)| mean + scale.sqrt() * deviation(index)).collect()
    }
}

/// Part of the unit's seed that the draws come from.
const DRAWS: u64 = u64::MAX - 2;

/// Every trained number of a member.
fn flat(member: &Member) -> Result<Vec<f64>> {
    let mut values = Vec::new();
    for (_, var) in member.parameters() {
        values.extend(var.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from));
    }
    Ok(values)
}

/// A member like `like` with other numbers.
#[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
fn shaped(like: &Member, context: &FitContext<'_>, values: &[f64]) -> Result<Member> {
    let mut rest = values;
    let mut tensors = Vec::new();
    for (_, var) in like.parameters() {
        let (own, others) = rest.split_at(var.elem_count());
        rest = others;
        let own: Vec<f32> = own.iter().map(|&value| value as f32).collect();
        tensors.push(Tensor::from_vec(own, var.shape(), var.device())?);
    }
    like.with_values(context, &tensors)
}

impl Swag {
    /// The training loop from the best weights on.
    fn continued(&self, training: &TrainingSettings) -> TrainingSettings {
        TrainingSettings { epochs: self.epochs, schedule: Schedule::Constant, ..training.clone() }
    }
}

impl Method for Swag {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Members]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("swag", self)
    }

    fn members(&self) -> u32 {
        self.members
    }

    fn trainings(&self) -> u32 {
        2
    }

    fn check_steps(&self, examples: usize, training: &TrainingSettings) -> Result<()> {
        let steps = self.continued(training).steps(examples);
        if spaced(0, steps, self.snapshots).len() >= self.snapshots as usize {
            return Ok(());
        }
        Err(refused(format!("snapshots is {}", self.snapshots), format!("{} epochs have {steps} steps", self.epochs)))
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        self.check_steps(context.train.len(), context.training)?;
        let plain = Recipe::plain(PosteriorSettings::Deterministic);
        let best = train(context, &plain, 0)?;
        let training = self.continued(context.training);
        let context = &FitContext { training: &training, ..*context };
        let steps = spaced(0, context.steps(), self.snapshots);
        context.progress.stage("snapshots around the best weights");
        let rule = Rule::AdamW { rate: self.learning_rate, decay: training.weight_decay };
        let collected = train(
            context,
            &Recipe { start: Some(&best.members[0]), rule: &|_| Some(rule), snapshots: &steps, ..plain },
            1,
        )?;
        let vectors = collected.members.iter().map(flat).collect::<Result<Vec<_>>>()?;
        let moments = Moments::of(&vectors, self.columns as usize);
        let noise = Noise::new(derive_seed(context.seed, DRAWS), Stream::Predictive);
        let draw = |number| shaped(&best.members[0], context, &moments.draw(self.scale, &noise, number));
        let members = (0..self.members).map(draw).collect::<Result<Vec<_>>>()?;
        let mut record = best.record;
        record.steps += collected.record.steps;
        record.seconds += collected.record.seconds;
        record.best_epoch = record.best_epoch.repeat(members.len());
        record.validation_nll = vec![record.validation_nll.concat(); members.len()];
        Ok(Fitted { members, record, laplace: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_vectors() {
        let vectors: Vec<Vec<f64>> = vec![vec![1.0, 5.0], vec![2.0, 4.0], vec![6.0, 0.0]];
        let Moments { mean, variance, columns } = Moments::of(&vectors, 2);
        assert_eq!(mean, [3.0, 3.0]);
        // 41 / 3 - 9, both.
        assert!(variance.iter().all(|v| (v - 14.0 / 3.0).abs() < 1e-12), "{variance:?}");
        // From the means of the first two (1.5, 4.5) and of all three.
        assert_eq!(columns, [[0.5, -0.5], [3.0, -3.0]]);
    }

    /// `scale (diag(variance) + D D' / (K - 1))`, by many draws: each entry within five of its standard errors.
    #[test]
    fn draws_have_the_stated_covariance() {
        const DRAWS: u32 = 20_000;
        let vectors: Vec<Vec<f64>> =
            (0..6).map(|i| (0..3).map(|j| f64::from((i * 7 + j * 5) % 11) - f64::from(j)).collect()).collect();
        let moments = Moments::of(&vectors, 4);
        let noise = Noise::new(3, Stream::Predictive);
        for scale in [0.5, 1.0] {
            let draws: Vec<Vec<f64>> = (0..DRAWS).map(|number| moments.draw(scale, &noise, number)).collect();
            let n = f64::from(DRAWS);
            let covariance = |i: usize, j: usize| {
                let low_rank: f64 = moments.columns.iter().map(|column| column[i] * column[j]).sum::<f64>() / 3.0;
                scale * (low_rank + if i == j { moments.variance[i] } else { 0.0 })
            };
            for i in 0..3 {
                let mean = draws.iter().map(|draw| draw[i]).sum::<f64>() / n;
                assert!((mean - moments.mean[i]).abs() < 5.0 * (covariance(i, i) / n).sqrt(), "mean {i}: {mean}");
                for j in 0..3 {
                    let product = |draw: &Vec<f64>| (draw[i] - moments.mean[i]) * (draw[j] - moments.mean[j]);
                    let got = draws.iter().map(product).sum::<f64>() / n;
                    // Of Gaussians: Var(x y) = v_i v_j + c^2.
                    let error = ((covariance(i, i) * covariance(j, j) + covariance(i, j).powi(2)) / n).sqrt();
                    assert!((got - covariance(i, j)).abs() < 5.0 * error, "{i} {j}: {got} for {}", covariance(i, j));
                }
            }
        }
        assert_eq!(moments.draw(0.0, &noise, 1), moments.mean);
    }
}
