//! What a score knows that the predictive entropy of one deterministic pass does not.
//!
//! A score of disagreement can detect errors or foreign examples merely because it follows the entropy that a single pass has at
//! no extra cost. So every score is held against that entropy on the same examples: by the difference of the areas under the ROC curve,
//! and by the partial rank correlation with the errors given the entropy.

use bayeslora_metrics as metrics;
use bayeslora_metrics::{Detection, Measured, PairedDifference, over_examples_and_seeds, partial_spearman};

use crate::error::Result;
use crate::scoring::scored::{SCORES, Score, Scored};
use bayeslora_records::{Beyond, Question};

/// One domain, seed by seed.
#[derive(Clone, Copy)]
pub(crate) struct Domains<'a> {
    /// The row, whose errors are asked for.
    pub(crate) own: &'a [Scored<'a>],
    /// What has the scores: the row, but for a placebo.
    pub(crate) scores: &'a [Scored<'a>],
    /// Its deterministic pass.
    pub(crate) pass: &'a [Scored<'a>],
}

/// Entropy of the deterministic pass at every seed.
fn entropies(domain: Domains<'_>) -> Vec<Vec<f64>> {
    domain.pass.iter().map(|scored| scored.predictive.predictive_entropy().to_vec()).collect()
}

/// A score of the row at every seed.
fn values(score: &Score, own: &[Scored<'_>]) -> Option<Vec<Vec<f64>>> {
    own.iter().map(|scored| (score.of)(scored)).collect()
}

/// Every score that `wanted` names on one domain, against errors where it has labels and against the domain `inside` where it is
/// shifted. What is undefined (a seed with one error, a score that ranks as the entropy does) is left out.
pub(crate) fn beyond(
    domain: Domains<'_>,
    inside: Option<Domains<'_>>,
    wanted: fn(&str) -> bool,
    level: f64,
) -> Result<Vec<Beyond>> {
    let entropy = entropies(domain);
    let errors: Option<Vec<Vec<bool>>> = domain
        .own
        .iter()
        .map(|scored| scored.truth.as_ref().map(|truth| truth.correct.iter().map(|correct| !correct).collect()))
        .collect();
    let of_errors = |values: &[Vec<f64>], errors: &[Vec<bool>]| {
        let fits = values.iter().zip(errors).map(|(scores, positive)| Detection { scores, positive });
        Measured::auroc(&fits.collect::<Vec<_>>())
    };
    let pairs = |inside: Vec<Vec<f64>>, own: &[Vec<f64>]| -> Vec<_> { inside.into_iter().zip(own.to_vec()).collect() };
    let errors_baseline = errors.as_ref().and_then(|errors| of_errors(&entropy, errors).ok());
    let shift_baseline = inside.map(|inside| shift(&pairs(entropies(inside), &entropy))).transpose()?;
    let mut found = Vec::new();
    for score in SCORES.iter().filter(|score| wanted(score.name)) {
        let Some(own) = values(score, domain.scores) else { continue };
        let mut push = |question, baseline, difference: PairedDifference| {
            let PairedDifference { estimate, lower, upper, p_value, .. } = difference;
            let (domain, score) = (domain.own[0].domain.info.id.clone(), score.name.to_owned());
            found.push(Beyond { domain, question, score, baseline, estimate, lower, upper, p_value });
        };
        if let (Some(errors), Some(baseline)) = (&errors, &errors_baseline) {
            let difference = of_errors(&own, errors)?.difference(baseline, level)?;
            push(Question::Errors, Some(baseline.value()), difference);
        }
        if let Some(partial) = errors.as_ref().and_then(|errors| given_entropy(&own, errors, &entropy, level).ok()) {
            push(Question::ErrorsGivenEntropy, None, partial);
        }
        if let (Some(inside), Some(baseline)) = (inside, &shift_baseline)
            && let Some(of_inside) = values(score, inside.scores)
        {
            push(Question::Shift, Some(baseline.value()), shift(&pairs(of_inside, &own))?.difference(baseline, level)?);
        }
    }
    Ok(found)
}

/// AUROC of telling foreign examples from those inside, by scores `(inside, foreign)` per seed.
fn shift(pairs: &[(Vec<f64>, Vec<f64>)]) -> metrics::Result<Measured> {
    let joined: Vec<(Vec<f64>, Vec<bool>)> = pairs
        .iter()
        .map(|(inside, foreign)| {
            let positive = (0..inside.len() + foreign.len()).map(|n| n >= inside.len()).collect();
            ([inside.as_slice(), foreign].concat(), positive)
        })
        .collect();
    Measured::auroc(&joined.iter().map(|(scores, positive)| Detection { scores, positive }).collect::<Vec<_>>())
}

/// Mean over seeds of the partial rank correlation of a score with the errors given the entropy.
///
/// Over examples the mean has the error of one coefficient, `sqrt((1 - r^2) / (n - 3))`, as if the seeds, which share the examples,
/// were copies of each other: it cannot be larger, and what the seeds disagree in is counted beside it. For one seed it is the p-value of
/// the partial correlation itself.
fn given_entropy(
    own: &[Vec<f64>],
    errors: &[Vec<bool>],
    entropy: &[Vec<f64>],
    level: f64,
) -> metrics::Result<PairedDifference> {
    let mut per_seed = Vec::new();
    for ((own, errors), entropy) in own.iter().zip(errors).zip(entropy) {
        let errors: Vec<f64> = errors.iter().map(|&error| f64::from(u8::from(error))).collect();
        per_seed.push(partial_spearman(own, &errors, entropy)?.coefficient);
    }
    let mean = per_seed.iter().sum::<f64>() / per_seed.len() as f64;
    let degrees_of_freedom = own[0].len() as f64 - 3.0;
    over_examples_and_seeds(&per_seed, ((1.0 - mean * mean) / degrees_of_freedom).sqrt(), degrees_of_freedom, level)
}

#[cfg(test)]
mod tests {
    use bayeslora_metrics::Averaging;
    use ndarray::Array3;

    use super::*;
    use crate::scoring::distances::Distances;
    use bayeslora_data::tasks::{Domain, DomainInfo, Example};

    const TEXTS: usize = 300;

    fn domain(id: &str, in_distribution: bool) -> Domain {
        let info = DomainInfo {
            id: id.to_owned(),
            label: id.to_owned(),
            in_distribution,
            labelled: true,
            rated: false,
            corruption: None,
        };
        // All of class 0: an error is a logit on the side of 1.
        let example =
            |n: usize| Example { id: n.to_string(), text: String::new(), label: Some(0), ratings: None, choice: None };
        Domain { info, examples: (0..TEXTS).map(example).collect() }
    }

    /// Every fifth text is an error; confidence has nothing to do with it. `spread` says how much samples disagree on a text.
    fn scored(domain: &Domain, samples: u8, spread: impl Fn(usize) -> f32) -> Scored<'_> {
        let logits = Array3::from_shape_fn((usize::from(samples), TEXTS, 2), |(s, n, class)| {
            let margin = 1.0 + f32::from(u8::try_from(n * 7 % 101).unwrap()) / 50.0;
            let side = if n.is_multiple_of(5) { -1.0 } else { 1.0 };
            let sample = if s % 2 == 0 { 1.0 } else { -1.0 };
            if class == 0 { side * margin + sample * spread(n) } else { 0.0 }
        });
        Scored::new(domain, &logits, Averaging::Probabilities).unwrap()
    }

    fn of<'a>(found: &'a [Beyond], question: Question, score: &str) -> Option<&'a Beyond> {
        found.iter().find(|beyond| beyond.question == question && beyond.score == score)
    }

    #[test]
    fn a_pass_knows_nothing_beyond_itself() {
        let toy = domain("toy", true);
        let own = [scored(&toy, 1, |_| 0.0)];
        let domains = Domains { own: &own, scores: &own, pass: &own };
        let found = beyond(domains, None, |_| true, 0.95).unwrap();
        let same = of(&found, Question::Errors, "max_probability").unwrap();
        assert!(same.estimate.abs() < 1e-12 && same.p_value > 0.999, "{same:?}");
        // Two classes: it ranks as the entropy does, but for rounding where texts are equally uncertain.
        let given = of(&found, Question::ErrorsGivenEntropy, "max_probability");
        assert!(given.is_none_or(|given| given.estimate.abs() < 1e-3 && given.p_value > 0.99), "{given:?}");
        // One pass has no disagreement.
        assert_eq!(of(&found, Question::Errors, "mutual_information"), None);
        assert_eq!(of(&found, Question::Shift, "max_probability"), None);
    }

    #[test]
    fn disagreement_where_the_errors_are_is_found_at_every_seed() {
        let toy = domain("toy", true);
        let spread = |n: usize| if n.is_multiple_of(5) || n.is_multiple_of(11) { 0.4 } else { 0.1 };
        let own = [scored(&toy, 4, spread), scored(&toy, 6, spread)];
        let pass = [scored(&toy, 1, |_| 0.0), scored(&toy, 1, |_| 0.0)];
        let domains = Domains { own: &own, scores: &own, pass: &pass };
        let found = beyond(domains, None, |score| score == "mutual_information", 0.95).unwrap();
        let gain = of(&found, Question::Errors, "mutual_information").unwrap();
        let baseline = gain.baseline.unwrap();
        assert!((baseline - 0.5).abs() < 0.1 && gain.estimate > 0.2 && gain.lower > 0.0, "{gain:?}");
        let errors: Vec<f64> = (0..TEXTS).map(|n| f64::from(u8::from(n.is_multiple_of(5)))).collect();
        let partial = |seed: usize| {
            let information = own[seed].predictive.mutual_information().to_vec();
            let entropy = pass[seed].predictive.predictive_entropy().to_vec();
            partial_spearman(&information, &errors, &entropy).unwrap()
        };
        let given = of(&found, Question::ErrorsGivenEntropy, "mutual_information").unwrap();
        let mean = f64::midpoint(partial(0).coefficient, partial(1).coefficient);
        assert!((given.estimate - mean).abs() < 1e-12 && given.estimate > 0.3, "{given:?}");
        // Of one seed it is the partial correlation's own test.
        let one = Domains { own: &own[..1], scores: &own[..1], pass: &pass[..1] };
        let found = beyond(one, None, |score| score == "mutual_information", 0.95).unwrap();
        let given = of(&found, Question::ErrorsGivenEntropy, "mutual_information").unwrap();
        assert!((given.p_value - partial(0).p_value).abs() < 1e-12);
    }

    #[test]
    fn a_placebo_has_the_errors_of_one_fit_and_the_scores_of_another() {
        let toy = domain("toy", true);
        let own = [scored(&toy, 1, |_| 0.0)];
        // The other fit is unsure exactly where this one errs.
        let other = [scored(&toy, 1, |n| if n.is_multiple_of(5) { 2.0 } else { 0.0 })];
        let placebo = Domains { own: &own, scores: &other, pass: &own };
        let found = beyond(placebo, None, |score| score == "predictive_entropy", 0.95).unwrap();
        let gain = of(&found, Question::Errors, "predictive_entropy").unwrap();
        let area = |scored: &Scored<'_>| {
            let entropy = scored.predictive.predictive_entropy().to_vec();
            let sides = [true, false]
                .map(|wrong| (0..TEXTS).filter(|n| n.is_multiple_of(5) == wrong).map(|n| entropy[n]).collect());
            let [wrong, right]: [Vec<f64>; 2] = sides;
            metrics::auroc(&right, &wrong).unwrap()
        };
        assert!((gain.baseline.unwrap() - area(&own[0])).abs() < 1e-12, "{gain:?}");
        assert!(
            (gain.estimate - (area(&other[0]) - area(&own[0]))).abs() < 1e-12 && gain.estimate.abs() > 0.1,
            "{gain:?}"
        );
    }

    #[test]
    fn distances_tell_foreign_texts_from_those_inside() {
        let (inside, foreign) = (domain("inside", true), domain("foreign", false));
        let numbers = |start: usize| (0..TEXTS).map(|n| (start + n * 13 % 97) as f64).collect::<Vec<f64>>();
        let distances = |start: usize| Distances {
            input_norm: numbers(0),
            mahalanobis: numbers(start),
            nearest_neighbours: numbers(start),
        };
        let (near, far) = (distances(0), distances(60));
        let one = |domain, distances| [Scored { distances: Some(distances), ..scored(domain, 1, |_| 0.0) }];
        let (own, inside) = (one(&foreign, &far), one(&inside, &near));
        let (own, inside) =
            (Domains { own: &own, scores: &own, pass: &own }, Domains { own: &inside, scores: &inside, pass: &inside });
        let found = beyond(own, Some(inside), |score| Distances::SCORES.contains(&score), 0.95).unwrap();
        // The pass is equally uncertain on both sides.
        let distance = of(&found, Question::Shift, "mahalanobis").unwrap();
        assert!((distance.baseline.unwrap() - 0.5).abs() < 1e-12 && distance.lower > 0.2, "{distance:?}");
        let norm = of(&found, Question::Shift, "input_norm").unwrap();
        assert!(norm.estimate.abs() < 1e-12, "{norm:?}");
    }
}
