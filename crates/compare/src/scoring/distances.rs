//! Plain distances of a text from the training texts: controls that need no posterior and no fit.
//!
//! The features of a text are the mean over its tokens of the activations below the first adapted block: what the adapters are given. They
//! are frozen, so the scores are the same for every method and seed. Where a seed draws its own training set, the training texts are all that
//! seeds draw from. A posterior that detects foreign texts no better than
//! these has learnt nothing about foreignness that its input did not already say.

use bayeslora_metrics::{Mahalanobis, NearestNeighbours};

use crate::error::Result;
use bayeslora_inference::Sentences;

/// Which neighbour counts, or the farthest when there are fewer training texts.
const NEIGHBOUR: usize = 10;
/// Share of the mean variance in the shared covariance: it has an inverse with fewer texts than features.
const SHRINKAGE: f64 = 0.01;

/// Distances of every text of a test set, larger for farther ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Distances {
    /// Euclidean norm of the features. No distance, but what one may be in disguise; foreign texts may have the smaller ones.
    pub(crate) input_norm: Vec<f64>,
    /// Squared Mahalanobis distance to the nearest class mean.
    pub(crate) mahalanobis: Vec<f64>,
    /// Distance to the 10th nearest training text, both scaled to unit length.
    pub(crate) nearest_neighbours: Vec<f64>,
}

/// The distances of every test set from `train`, whose texts are labelled with `classes` classes.
///
/// # Errors
/// When the features of the training texts are all alike.
pub(crate) fn distances(train: &Sentences, classes: usize, tests: &[Sentences]) -> Result<Vec<Distances>> {
    let features = train.mean_hidden()?;
    let labels: Vec<usize> = train.labels().iter().map(|&label| label as usize).collect();
    let mahalanobis = Mahalanobis::fit(features.view(), &labels, classes, SHRINKAGE)?;
    let neighbours = NearestNeighbours::new(features.view(), NEIGHBOUR.min(train.len()))?;
    let of = |sentences: &Sentences| {
        let features = sentences.mean_hidden()?;
        Ok(Distances {
            input_norm: features.outer_iter().map(|row| row.dot(&row).sqrt()).collect(),
            mahalanobis: mahalanobis.score(features.view())?.to_vec(),
            nearest_neighbours: neighbours.score(features.view())?.to_vec(),
        })
    };
    tests.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bayeslora_metrics::auroc;
    use bayeslora_models::Backbone;
    use candle_core::Device;

    use super::*;
    use bayeslora_data::Silent;

    /// Sentences of two classes whose tokens begin at `first`.
    fn sentences(backbone: &Backbone, first: u32, count: u32) -> Sentences {
        let sentence = |n: u32| -> Vec<u32> {
            let inner = (0..2 + n % 4).map(|k| first + (7 * n + 3 * k) % 8);
            std::iter::once(2).chain(inner).chain([3]).collect()
        };
        let tokens: Vec<Vec<u32>> = (0..count).map(sentence).collect();
        let labels = (0..count).map(|n| n % 2).collect();
        Sentences::of_tokens(backbone, &tokens, labels, 0, 1, &Silent).unwrap()
    }

    #[test]
    fn features_are_means_over_tokens_and_foreign_texts_are_farther() {
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/tiny");
        let backbone = Backbone::load(&tiny, &Device::Cpu).unwrap();
        let (train, inside, foreign) =
            (sentences(&backbone, 5, 60), sentences(&backbone, 5, 60), sentences(&backbone, 40, 60));
        let [inside_distances, foreign_distances] =
            <[Distances; 2]>::try_from(distances(&train, 2, &[inside, foreign]).unwrap()).unwrap();

        let features = sentences(&backbone, 5, 60).mean_hidden().unwrap();
        let (rows, lengths, _) = sentences(&backbone, 5, 60).gather(&[7]).unwrap();
        let width = rows.len() / lengths[0];
        let first: f64 = rows.iter().step_by(width).map(|&value| f64::from(value)).sum::<f64>() / lengths[0] as f64;
        assert!((features[[7, 0]] - first).abs() < 1e-12);
        let norm = features.row(7).dot(&features.row(7)).sqrt();
        assert!((inside_distances.input_norm[7] - norm).abs() < 1e-12);

        let detected = |of: fn(&Distances) -> &Vec<f64>| auroc(of(&inside_distances), of(&foreign_distances)).unwrap();
        // Without a difference an AUROC of 60 against 60 has the standard error sqrt(121 / (12 * 60 * 60)); five of those.
        let chance = 0.5 + 5.0 * (121.0 / 43_200.0_f64).sqrt();
        assert!(detected(|d| &d.mahalanobis) > chance, "{}", detected(|d| &d.mahalanobis));
        assert!(detected(|d| &d.nearest_neighbours) > chance, "{}", detected(|d| &d.nearest_neighbours));
        // Fewer training texts than the neighbour's number: the farthest one counts.
        assert!(distances(&sentences(&backbone, 5, 4), 2, &[train]).is_ok());
    }
}
