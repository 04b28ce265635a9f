//! What the scores of a row know that the predictive entropy of one deterministic pass does not, from what every text was given.
//!
//! A score of disagreement can detect errors or foreign texts merely because it follows the entropy that a single pass has at no extra cost.
//! So every score is held against that entropy on the same texts: by the difference of the areas under the ROC curve, and by its rank
//! correlation with the errors within strata of the entropy.

use bayeslora_metrics::{
    Detection, FitScores, Measured, PairedDifference, Result as Measurement, TEXTS_A_STRATUM, association,
};
use bayeslora_records::{Beyond, DistancesRecord, PerText, Question, TextDistances};

use crate::error::Result;

/// One number for each text of a test set under one fit; none where the columns do not say.
type OfFit<'a> = Box<dyn Fn(&Texts<'_>, usize) -> Option<Vec<f64>> + 'a>;

/// A score that may detect errors or foreign texts: larger for more uncertain ones.
pub(crate) struct Score<'a> {
    name: &'a str,
    of: OfFit<'a>,
}

/// What some fits gave the texts of one test set, and the pass that their scores are held against.
#[derive(Clone)]
pub(crate) struct Texts<'a> {
    pub(crate) domain: &'a str,
    /// Columns of every fit.
    pub(crate) fits: Vec<&'a PerText>,
    /// Entropy of the pass of every fit.
    pub(crate) pass: Vec<Vec<f64>>,
}

/// Scores of samples or members. The top probability of two classes ranks as the entropy does, and is left out.
pub(crate) fn of_samples<'a>() -> Vec<Score<'a>> {
    fn score(name: &str, of: fn(&PerText) -> Option<Vec<f64>>) -> Score<'_> {
        Score { name, of: Box::new(move |texts, fit| of(texts.fits[fit]).filter(|values| !values.is_empty())) }
    }
    vec![
        score("max_probability", |fit| {
            (fit.classes > 2).then(|| fit.top_probability().iter().map(|p| 1.0 - p).collect())
        }),
        score("predictive_entropy", |fit| Some(fit.entropy())),
        score("expected_entropy", |fit| Some(fit.expected_entropy())),
        score("mutual_information", |fit| Some(fit.mutual_information.clone())),
    ]
}

/// Distances of the texts from the training texts: the same for all fits.
pub(crate) fn of_distances(record: &DistancesRecord) -> Vec<Score<'_>> {
    fn score<'a>(record: &'a DistancesRecord, name: &'a str, of: fn(&TextDistances) -> &Vec<f64>) -> Score<'a> {
        let own = move |domain: &str| record.domains.iter().find(|own| own.domain == domain);
        Score { name, of: Box::new(move |texts, _| own(texts.domain).map(|own| of(own).clone())) }
    }
    vec![
        score(record, "input_norm", |own| &own.input_norm),
        score(record, "mahalanobis", |own| &own.mahalanobis),
        score(record, "nearest_neighbours", |own| &own.nearest_neighbours),
    ]
}

/// A placebo: the entropy of the next fit. What any second fit adds to one pass is no merit of a posterior.
pub(crate) fn of_next_fit<'a>() -> Vec<Score<'a>> {
    let next = |texts: &Texts<'_>, fit: usize| Some(texts.fits[(fit + 1) % texts.fits.len()].entropy());
    vec![Score { name: "predictive_entropy", of: Box::new(next) }]
}

/// Every score on one test set: against errors where it has labels, and against the texts `inside` the training distribution where it is
/// shifted. What is undefined (a fit with one error, a score that does not vary) is left out.
///
/// # Errors
/// When the level is none.
pub(crate) fn beyond(
    texts: &Texts<'_>,
    inside: Option<&Texts<'_>>,
    scores: &[Score<'_>],
    level: f64,
) -> Result<Vec<Beyond>> {
    let errors: Vec<Vec<bool>> =
        texts.fits.iter().map(|fit| fit.correct().iter().map(|right| !right).collect()).collect();
    let errors = Some(errors).filter(|errors| errors.iter().all(|errors| !errors.is_empty()));
    let of_errors = |values: &[Vec<f64>], errors: &[Vec<bool>]| {
        let fits = values.iter().zip(errors).map(|(scores, positive)| Detection { scores, positive });
        Measured::auroc(&fits.collect::<Vec<_>>())
    };
    let baseline = errors.as_ref().and_then(|errors| of_errors(&texts.pass, errors).ok());
    let baseline_of_shift = inside.and_then(|inside| shift(&inside.pass, &texts.pass).ok());
    let mut found = Vec::new();
    for Score { name, of } in scores {
        let values = |texts: &Texts<'_>| (0..texts.fits.len()).map(|fit| of(texts, fit)).collect::<Option<Vec<_>>>();
        let Some(own) = values(texts) else { continue };
        let mut push = |question, baseline: Option<&Measured>, difference: PairedDifference| {
            let PairedDifference { estimate, lower, upper, p_value, .. } = difference;
            let (domain, score, baseline) =
                (texts.domain.to_owned(), (*name).to_owned(), baseline.map(Measured::value));
            found.push(Beyond { domain, question, score, baseline, estimate, lower, upper, p_value });
        };
        if let Some(errors) = &errors {
            if let (Some(baseline), Ok(detected)) = (&baseline, of_errors(&own, errors)) {
                push(Question::Errors, Some(baseline), detected.difference(baseline, level)?);
            }
            if let Ok(association) = given_pass(&own, errors, &texts.pass, level) {
                push(Question::ErrorsGivenEntropy, None, association);
            }
        }
        if let (Some(inside), Some(baseline)) = (inside, &baseline_of_shift)
            && let Some(detected) = values(inside).and_then(|of_inside| shift(&of_inside, &own).ok())
        {
            push(Question::Shift, Some(baseline), detected.difference(baseline, level)?);
        }
    }
    Ok(found)
}

/// AUROC of telling foreign texts from those inside, fit by fit.
fn shift(inside: &[Vec<f64>], foreign: &[Vec<f64>]) -> Measurement<Measured> {
    let joined = inside.iter().zip(foreign).map(|(inside, foreign)| {
        let positive: Vec<bool> = (0..inside.len() + foreign.len()).map(|n| n >= inside.len()).collect();
        ([inside.as_slice(), foreign].concat(), positive)
    });
    let joined: Vec<(Vec<f64>, Vec<bool>)> = joined.collect();
    Measured::auroc(&joined.iter().map(|(scores, positive)| Detection { scores, positive }).collect::<Vec<_>>())
}

/// Rank correlation of a score with the errors within strata of the entropy of the pass.
fn given_pass(own: &[Vec<f64>], errors: &[Vec<bool>], pass: &[Vec<f64>], level: f64) -> Measurement<PairedDifference> {
    let fits = own.iter().zip(errors).zip(pass).map(|((score, errors), given)| FitScores { score, errors, given });
    association(&fits.collect::<Vec<_>>(), TEXTS_A_STRATUM)?.over_texts_and_fits(level)
}
