//! What the scores of a row know that the predictive entropy of one deterministic pass does not, from what every text was given.
//!
//! A score of disagreement can detect errors or foreign texts merely because it follows the entropy that a single pass has at no extra cost.
//! So every score is held against that entropy on the same texts, in two ways. One is the difference of the areas under the ROC curve. The
//! other is the rank correlation with the errors within strata of the entropy.
//!
//! Three controls stand beside the rows, all of plain fits of the reference. The entropy of another fit says what any second fit adds. A
//! fit's own scores beside another fit's pass say what an ensemble would seem to add, whose errors are its own and whose pass is a member's.
//! The top probability of the same pass says what the entropy alone leaves out.

use bayeslora_metrics::{
    Detection, Error as Undefined, FitScores, Measured, PairedDifference, Result as Measurement, TEXTS_A_STRATUM,
    association,
};
use bayeslora_records::{
    Beyond, DISTANCES, DistancesRecord, PerText, Question, Reading, RowId, TextDistances, UnitRecord,
};

use crate::comparison::Comparison;
use crate::definition::{Definition, RowDefinition};
use crate::error::Result;
use crate::row::Row;

/// The entropy of another fit of the reference, beside the pass of its own.
const OTHER_FIT: &str = "+other-fit";
/// Scores of a fit of the reference, beside the pass of another.
pub(crate) const OTHER_PASS: &str = "+other-pass";
/// The top probability of a fit of the reference, beside the entropy of the same pass.
const SAME_PASS: &str = "+same-pass";
/// What belongs to no row, in the order of the tables.
pub(crate) const CONTROLS: [&str; 4] = [DISTANCES, OTHER_FIT, OTHER_PASS, SAME_PASS];

/// What tables call a control, given what they call its score and the reference; none for a row.
pub(crate) fn control(row: &str, score: &str, reference: &str) -> Option<String> {
    match row {
        DISTANCES => Some(format!("{} of the adapters' input", score.trim_start_matches("input "))),
        OTHER_FIT => Some(format!("placebo: {score} of another fit of {reference}")),
        OTHER_PASS => Some(format!("placebo: {score} of {reference} beside another fit's pass")),
        SAME_PASS => Some(format!("{score} of the same pass of {reference}")),
        _ => None,
    }
}

/// One number for each text of a test set under one fit; none where the columns do not say.
type OfFit<'a> = Box<dyn Fn(&TestSetTexts<'_>, usize) -> Option<Vec<f64>> + 'a>;

/// A score that may detect errors or foreign texts: larger for more uncertain ones.
pub(crate) struct Score<'a> {
    name: &'a str,
    of: OfFit<'a>,
}

/// A score that follows from the columns of a fit.
fn score(name: &str, of: fn(&PerText) -> Vec<f64>) -> Score<'_> {
    Score { name, of: Box::new(move |texts, fit| Some(of(texts.fits[fit])).filter(|values| !values.is_empty())) }
}

/// The top probability of more than two classes; of two it ranks as the entropy does.
fn of_top<'a>() -> Score<'a> {
    score("max_probability", |fit| {
        let top = if fit.classes > 2 { fit.top_probability() } else { Vec::new() };
        top.iter().map(|p| 1.0 - p).collect()
    })
}

/// Scores of samples or members.
pub(crate) fn of_samples<'a>() -> Vec<Score<'a>> {
    vec![
        of_top(),
        score("predictive_entropy", PerText::entropy),
        score("expected_entropy", PerText::expected_entropy),
        score("mutual_information", |fit| fit.mutual_information.clone()),
    ]
}

/// Distances of the texts from the training texts: the same for all fits.
fn of_distances(record: &DistancesRecord) -> Vec<Score<'_>> {
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

/// The entropy of the next fit.
fn of_next_fit<'a>() -> Score<'a> {
    let next = |texts: &TestSetTexts<'_>, fit: usize| Some(texts.fits[(fit + 1) % texts.fits.len()].entropy());
    Score { name: "predictive_entropy", of: Box::new(next) }
}

/// What some fits gave the texts of one test set, and the pass that their scores are held against.
struct TestSetTexts<'a> {
    domain: &'a str,
    in_distribution: bool,
    /// Columns of every fit.
    fits: Vec<&'a PerText>,
    /// Entropy of the pass of every fit.
    pass: Vec<Vec<f64>>,
}

/// What a row gave the texts of every test set, beside the entropy of a pass of the same fits.
pub(crate) struct Passes<'a> {
    sets: Vec<TestSetTexts<'a>>,
    /// Whether the pass is that of one member, in a column of its own.
    pub(crate) of_member: bool,
}

impl<'a> Passes<'a> {
    /// Of a row with samples: its pass is the fit's reading at its mean, or else in a column of its own. None where no test set has one.
    pub(crate) fn of(definition: &'a Definition, units: &[&'a UnitRecord], row: &Row<'a>) -> Option<Self> {
        let method = definition.rows.iter().find(|own| own.id == row.id).map(|own| own.method.as_str())?;
        let is_pass = |own: &&RowDefinition| own.id.parse() == Ok(RowId::of(method, Some(Reading::Mean)));
        let pass = definition.rows.iter().find(is_pass).map(|pass| Row::of(units, &pass.id));
        let of_member = units.iter().any(|unit| unit.method == method && unit.members() > 1);
        Self::new(definition, row, of_member, |domain| match &pass {
            Some(pass) => Some(pass.columns(domain)?.into_iter().map(PerText::entropy).collect()),
            None => Some(row.columns(domain)?.into_iter().map(|fit| fit.pass_entropy.clone()).collect()),
        })
    }

    /// Of a row that is a pass itself.
    fn own(definition: &'a Definition, row: &Row<'a>) -> Option<Self> {
        let entropy = |domain: &str| Some(row.columns(domain)?.into_iter().map(PerText::entropy).collect());
        Self::new(definition, row, false, entropy)
    }

    /// A test set without a pass is left out.
    fn new(
        definition: &'a Definition,
        row: &Row<'a>,
        of_member: bool,
        pass: impl Fn(&str) -> Option<Vec<Vec<f64>>>,
    ) -> Option<Self> {
        let mut sets = Vec::new();
        for set in definition.domains.iter().filter(|set| set.corruption.is_none()) {
            let (Some(fits), Some(pass)) = (row.columns(&set.id), pass(&set.id)) else { continue };
            if pass.len() == fits.len() && pass.iter().all(|pass| !pass.is_empty()) {
                sets.push(TestSetTexts { domain: &set.id, in_distribution: set.in_distribution, fits, pass });
            }
        }
        (!sets.is_empty()).then_some(Self { sets, of_member })
    }

    /// The same fits beside the pass of the next.
    fn beside_next(&self) -> Self {
        let rotated = |set: &TestSetTexts<'a>| {
            let mut pass = set.pass.clone();
            pass.rotate_left(1);
            TestSetTexts { fits: set.fits.clone(), pass, ..*set }
        };
        Self { sets: self.sets.iter().map(rotated).collect(), of_member: self.of_member }
    }

    /// What scores know on every test set: against errors where it has labels, and against the texts in distribution where it is shifted.
    /// What is undefined is left out: fewer texts than two strata, a fit with one error, a score that does not vary.
    ///
    /// # Errors
    /// When columns differ in length or hold no numbers.
    pub(crate) fn beyond(&self, scores: &[Score<'_>], level: f64) -> Result<Vec<Beyond>> {
        let inside = self.sets.iter().find(|set| set.in_distribution);
        let mut found = Vec::new();
        for set in &self.sets {
            found.extend(set.beyond(inside.filter(|_| !set.in_distribution), scores, level)?);
        }
        Ok(found)
    }
}

impl TestSetTexts<'_> {
    fn beyond(&self, inside: Option<&Self>, scores: &[Score<'_>], level: f64) -> Result<Vec<Beyond>> {
        let errors: Vec<Vec<bool>> =
            self.fits.iter().map(|fit| fit.correct().iter().map(|right| !right).collect()).collect();
        let errors = Some(errors).filter(|errors| errors.iter().all(|errors| !errors.is_empty()));
        let baseline = errors.as_ref().map(|errors| of_errors(&self.pass, errors)).transpose()?.flatten();
        let baseline_of_shift = inside.map(|inside| of_shift(&inside.pass, &self.pass)).transpose()?.flatten();
        let mut found = Vec::new();
        for Score { name, of } in scores {
            let values = |set: &Self| (0..set.fits.len()).map(|fit| of(set, fit)).collect::<Option<Vec<_>>>();
            let Some(own) = values(self) else { continue };
            let mut push = |question, baseline: Option<&Measured>, difference: PairedDifference| {
                let PairedDifference { estimate, lower, upper, p_value, .. } = difference;
                let (domain, score) = (self.domain.to_owned(), (*name).to_owned());
                let baseline = baseline.map(Measured::value);
                found.push(Beyond { domain, question, score, baseline, estimate, lower, upper, p_value });
            };
            if let Some(errors) = &errors {
                if let (Some(baseline), Some(detected)) = (&baseline, of_errors(&own, errors)?) {
                    push(Question::Errors, Some(baseline), detected.difference(baseline, level)?);
                }
                if let Some(association) = given_pass(&own, errors, &self.pass, level)? {
                    push(Question::ErrorsGivenEntropy, None, association);
                }
            }
            if let (Some(inside), Some(baseline)) = (inside, &baseline_of_shift)
                && let Some(of_inside) = values(inside)
                && let Some(detected) = of_shift(&of_inside, &own)?
            {
                push(Question::Shift, Some(baseline), detected.difference(baseline, level)?);
            }
        }
        Ok(found)
    }
}

/// What is asked the questions of scores beside the rows: distances and plain fits.
///
/// # Errors
/// As [`Passes::beyond`].
pub(crate) fn controls<'a>(
    definition: &'a Definition,
    units: &[&'a UnitRecord],
    reference: &Row<'a>,
    distances: Option<&DistancesRecord>,
) -> Result<Vec<Comparison>> {
    let is_pass = |set: &&str| {
        reference.columns(set).is_some_and(|fits| fits.iter().all(|fit| fit.mutual_information.is_empty()))
    };
    let inside = definition.inside().map(|set| set.id.as_str()).find(is_pass);
    let passes =
        if inside.is_some() { Passes::own(definition, reference) } else { Passes::of(definition, units, reference) };
    let Some(passes) = passes.filter(|_| reference.is_finished(definition)) else { return Ok(Vec::new()) };
    let level = definition.bootstrap.level;
    // Of shifts the mean over fits is that of the same fits in another order: no placebo at all.
    let of_errors = |mut found: Vec<Beyond>| {
        found.retain(|one| one.question != Question::Shift);
        found
    };
    let of_pass = [of_top(), score("predictive_entropy", PerText::entropy)];
    let mut found = vec![
        (OTHER_FIT, of_errors(passes.beyond(&[of_next_fit()], level)?)),
        (OTHER_PASS, of_errors(passes.beside_next().beyond(&of_pass, level)?)),
        (SAME_PASS, passes.beyond(&of_pass[..1], level)?),
    ];
    if let Some(distances) = distances {
        found.insert(0, (DISTANCES, passes.beyond(&of_distances(distances), level)?));
    }
    let comparison = |(row, beyond): (&str, Vec<Beyond>)| Comparison {
        row: row.to_owned(),
        seeds: reference.by_seed.len(),
        of_family: true,
        beside_a_member: false,
        differences: Vec::new(),
        beyond,
    };
    Ok(found.into_iter().map(comparison).collect())
}

/// What was measured; nothing where a statistic is not defined. Other faults of the columns are told.
fn defined<T>(found: Measurement<T>) -> Result<Option<T>> {
    match found {
        Err(Undefined::TooFew { .. } | Undefined::Constant { .. }) => Ok(None),
        found => Ok(Some(found?)),
    }
}

/// AUROC of errors, fit by fit.
fn of_errors(values: &[Vec<f64>], errors: &[Vec<bool>]) -> Result<Option<Measured>> {
    let fits = values.iter().zip(errors).map(|(scores, positive)| Detection { scores, positive });
    defined(Measured::auroc(&fits.collect::<Vec<_>>()))
}

/// AUROC of telling foreign texts from those inside, fit by fit.
fn of_shift(inside: &[Vec<f64>], foreign: &[Vec<f64>]) -> Result<Option<Measured>> {
    let joined = inside.iter().zip(foreign).map(|(inside, foreign)| {
        let positive: Vec<bool> = (0..inside.len() + foreign.len()).map(|n| n >= inside.len()).collect();
        ([inside.as_slice(), foreign].concat(), positive)
    });
    let joined: Vec<(Vec<f64>, Vec<bool>)> = joined.collect();
    let fits = joined.iter().map(|(scores, positive)| Detection { scores, positive });
    defined(Measured::auroc(&fits.collect::<Vec<_>>()))
}

/// Rank correlation of a score with the errors within strata of the entropy of the pass.
fn given_pass(
    own: &[Vec<f64>],
    errors: &[Vec<bool>],
    pass: &[Vec<f64>],
    level: f64,
) -> Result<Option<PairedDifference>> {
    let fits = own.iter().zip(errors).zip(pass).map(|((score, errors), given)| FitScores { score, errors, given });
    let found = defined(association(&fits.collect::<Vec<_>>(), TEXTS_A_STRATUM))?;
    Ok(found.map(|found| found.over_texts_and_fits(level)).transpose()?)
}
