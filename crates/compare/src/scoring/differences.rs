//! What a row measured on a domain, seed by seed, ready to be compared with another row on the same examples.
//!
//! Every difference is over examples and seeds ([`Measured`]). Means have their variance in closed form, detection by the placements
//! of DeLong's test; the calibration error and the area under the risk-coverage curve are resampled, once a row: the resamples
//! are the same for every row, so any two of them are paired.

use bayeslora_metrics as metrics;
use bayeslora_metrics::{Bootstrap, Detection, Measured, PreparedAurc, PreparedEce, weights};
use ndarray::{Array1, Array2, Axis};

use crate::error::Result;
use crate::scoring::scored::{BINS, Scored, Truth};
use bayeslora_records::{Difference, Test};

/// A row on one domain: metrics by key.
pub(crate) type Measures = Vec<(&'static str, Measured)>;

/// Negative log-likelihood of each example's target distribution.
fn nll_of(scored: &Scored<'_>, targets: &Array2<f64>) -> Array1<f64> {
    -(targets * &scored.predictive.log_probabilities()).sum_axis(Axis(1))
}

fn one_hot(scored: &Scored<'_>, truth: &Truth) -> Array2<f64> {
    let mut targets = Array2::zeros((truth.labels.len(), scored.predictive.classes()));
    for (mut row, &label) in targets.outer_iter_mut().zip(&truth.labels) {
        row[label] = 1.0;
    }
    targets
}

fn brier_of(scored: &Scored<'_>, truth: &Truth) -> Array1<f64> {
    (&scored.predictive.probabilities() - &one_hot(scored, truth)).mapv(|gap| gap * gap).sum_axis(Axis(1))
}

fn correct_of(truth: &Truth) -> Array1<f64> {
    truth.correct.iter().map(|&correct| f64::from(u8::from(correct))).collect()
}

/// What the seeds of a row measure on one domain; `inside` is the row on the in-distribution domain when this one is shifted. What
/// needs labels or ratings is absent where there are none.
pub(crate) fn measure(seeds: &[Scored<'_>], inside: Option<&[Scored<'_>]>, bootstrap: &Bootstrap) -> Result<Measures> {
    let mut found = Vec::new();
    // Labels are those of the domain, the same at every seed.
    let labelled: Option<Vec<(&Scored<'_>, &Truth)>> =
        seeds.iter().map(|scored| Some((scored, scored.truth.as_ref()?))).collect();
    if let Some(labelled) = labelled {
        let mean = |f: &dyn Fn(&Scored<'_>, &Truth) -> Array1<f64>| {
            Measured::mean(&labelled.iter().map(|(scored, truth)| f(scored, truth).to_vec()).collect::<Vec<_>>())
        };
        found.push(("accuracy", mean(&|_, truth| correct_of(truth))?));
        found.push(("nll", mean(&|scored, truth| nll_of(scored, &one_hot(scored, truth)))?));
        found.push(("brier", mean(&brier_of)?));
        if let Some(soft) = seeds[0].soft_labels() {
            found.push(("soft_nll", mean(&|scored, _| nll_of(scored, &soft))?));
        }
        found.push(("ece", calibration(&labelled, bootstrap)?));
        if inside.is_none() {
            found.push(("aurc", selective(&labelled, bootstrap)?));
        }
    }
    if let Some(inside) = inside {
        let entropy = |scored: &Scored<'_>| scored.predictive.predictive_entropy().to_vec();
        let pairs: Vec<_> = inside.iter().zip(seeds).map(|(inside, own)| (entropy(inside), entropy(own))).collect();
        let mut detection = shift(&pairs)?;
        if seeds[0].domain.info.corruption.is_some() {
            // Copy n is of text n of the test set.
            let texts: Vec<usize> =
                pairs.first().map_or_else(Vec::new, |(inside, own)| (0..inside.len()).chain(0..own.len()).collect());
            detection = detection.clustered(&texts)?;
        }
        found.push(("auroc_predictive_entropy", detection));
    }
    Ok(found)
}

fn calibration(labelled: &[(&Scored<'_>, &Truth)], bootstrap: &Bootstrap) -> Result<Measured> {
    let prepare = |(scored, truth): &(&Scored<'_>, &Truth)| {
        PreparedEce::new(scored.predictive.probabilities(), &truth.labels, BINS)
    };
    let prepared = labelled.iter().map(prepare).collect::<metrics::Result<Vec<_>>>()?;
    resampled(&prepared, labelled[0].1.labels.len(), bootstrap, PreparedEce::with_weights)
}

fn selective(labelled: &[(&Scored<'_>, &Truth)], bootstrap: &Bootstrap) -> Result<Measured> {
    let prepare = |(scored, truth): &(&Scored<'_>, &Truth)| {
        PreparedAurc::new(&scored.predictive.max_probability().to_vec(), &truth.correct)
    };
    let prepared = labelled.iter().map(prepare).collect::<metrics::Result<Vec<_>>>()?;
    resampled(&prepared, labelled[0].1.labels.len(), bootstrap, PreparedAurc::with_weights)
}

fn resampled<P: Sync>(
    prepared: &[P],
    examples: usize,
    bootstrap: &Bootstrap,
    with_weights: fn(&P, &[u32]) -> f64,
) -> Result<Measured> {
    let once = vec![1; examples];
    let per_seed = prepared.iter().map(|own| with_weights(own, &once)).collect();
    let replicates = bootstrap.replicates(examples, |drawn| {
        let weights = weights(drawn, examples);
        prepared.iter().map(|own| with_weights(own, &weights)).sum::<f64>() / prepared.len() as f64
    })?;
    Ok(Measured::resampled(per_seed, &replicates, examples)?)
}

/// AUROC of telling foreign examples from those inside, by scores `(inside, foreign)` per seed.
pub(crate) fn shift(pairs: &[(Vec<f64>, Vec<f64>)]) -> metrics::Result<Measured> {
    let joined: Vec<(Vec<f64>, Vec<bool>)> = pairs
        .iter()
        .map(|(inside, foreign)| {
            let positive = (0..inside.len() + foreign.len()).map(|n| n >= inside.len()).collect();
            ([inside.as_slice(), foreign].concat(), positive)
        })
        .collect();
    Measured::auroc(&joined.iter().map(|(scores, positive)| Detection { scores, positive }).collect::<Vec<_>>())
}

/// `row - reference` for every metric that both have.
pub(crate) fn differences(
    row: &Measures,
    reference: &Measures,
    (domain, examples): (&str, usize),
    level: f64,
) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    for (metric, own) in row {
        let Some((_, other)) = reference.iter().find(|(key, _)| key == metric) else { continue };
        let difference = own.difference(other, level)?;
        found.push(Difference {
            domain: domain.to_owned(),
            metric: (*metric).to_owned(),
            estimate: difference.estimate,
            lower: difference.lower,
            upper: difference.upper,
            test: Some(Test {
                p_value: difference.p_value,
                examples: examples as u64,
                error_over_examples: difference.error_over_examples,
                error_over_seeds: difference.error_over_seeds,
            }),
        });
    }
    Ok(found)
}
