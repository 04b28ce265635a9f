//! The families of tests of a page, from what every text was given.
//!
//! A family is the rows of one test set and metric beside the reference, rows with a temperature apart. Of a fit that is read in several ways
//! one reading takes part, the one that averages samples; the others are shown without a test. [`Family`] has the test. What its scores know
//! beyond one deterministic pass is in `passes`. Rows beside another than the reference are pairs of their own ([`contrasted`]).

use bayeslora_metrics::{
    Bootstrap, Detection, ECE_BINS, Family, FamilyRow, Fits, Origin, PreparedAurc, PreparedEce, Seeds,
};
use bayeslora_records::{ComparisonRecord, DistancesRecord, PerText, RowRecord, UnitRecord};

use crate::comparison::{Comparison, Difference, StandardError};
use crate::definition::{Definition, TestSet, one_reading_each};
use crate::error::Result;
use crate::passes::{Passes, controls, of_samples};
use crate::row::Row;
use crate::score::{LEVEL, tempered};

/// Two passes whose probabilities of the label differ by less, relatively, are of one fit: columns have four digits.
const SAME: f64 = 1e-3;

/// The comparisons of a page: tested from what every text was given, and its distances, where the reference's records have that. Older ones
/// have the `kept` tests of their time.
///
/// # Errors
/// When a statistic cannot be computed of the columns, such as one of a single text.
pub fn compared(
    definition: &Definition,
    units: &[UnitRecord],
    (kept, distances): (&[ComparisonRecord], Option<&DistancesRecord>),
) -> Result<Vec<Comparison>> {
    let units: Vec<&UnitRecord> = units.iter().collect();
    let reference = Row::of(&units, &definition.reference);
    if !reference.has_columns() {
        return Ok(kept.iter().map(Comparison::from).collect());
    }
    let rows = one_reading_each(&definition.rows).into_iter().filter(|row| row.id != definition.reference);
    let mut found = Vec::new();
    for row in rows {
        let means = definition.rows.iter().filter(|other| other.method == row.method && other.id != row.id);
        let origin = origin(&reference, means.map(|mean| Row::of(&units, &mean.id)));
        for (id, reference) in
            [(row.id.clone(), definition.reference.clone()), (tempered(&row.id), tempered(&definition.reference))]
        {
            let own = Row::of(&units, &id);
            if own.is_comparable(definition, &Row::of(&units, &reference)) {
                found.push(Candidate { own, reference, origin, differences: Vec::new() });
            }
        }
    }
    for id in [definition.reference.clone(), tempered(&definition.reference)] {
        let reference = Row::of(&units, &id);
        let mut rows: Vec<&mut Candidate<'_>> = found.iter_mut().filter(|row| row.reference == id).collect();
        for domain in definition.domains.iter().filter(|domain| domain.corruption.is_none()) {
            for metric in TESTED {
                test(definition, metric, (domain, &reference), &mut rows)?;
            }
        }
    }
    let level = definition.bootstrap.level;
    let comparison = |Candidate { own, differences, .. }: Candidate<'_>| -> Result<Comparison> {
        let passes = Passes::of(definition, &units, &own);
        Ok(Comparison {
            seeds: own.by_seed.len(),
            of_family: true,
            beside_a_member: passes.as_ref().is_some_and(|passes| passes.of_member),
            differences,
            beyond: passes.map_or_else(|| Ok(Vec::new()), |passes| passes.beyond(&of_samples(), level))?,
            row: own.id,
        })
    };
    let mut comparisons = found.into_iter().map(comparison).collect::<Result<Vec<Comparison>>>()?;
    comparisons.extend(controls(definition, &units, &reference, distances)?);
    Ok(comparisons)
}

/// A row beside another than the reference, with everything that was tested of the two.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Contrasted {
    pub(crate) row: String,
    pub(crate) beside: String,
    /// `row - beside`.
    pub(crate) differences: Vec<Difference>,
}

/// The contrasts of a definition, each as predicted and with a temperature for either row. Both rows have fits at the same seeds, so the
/// differences are paired, and the variance over seeds is that of these few pairs alone: nothing moderates it.
///
/// # Errors
/// When a statistic cannot be computed of the columns.
pub(crate) fn contrasted(definition: &Definition, units: &[&UnitRecord]) -> Result<Vec<Contrasted>> {
    let mut found = Vec::new();
    for contrast in &definition.contrasts {
        for id in [str::to_owned as fn(&str) -> String, tempered] {
            let (own, beside) = (Row::of(units, &id(&contrast.row)), Row::of(units, &id(&contrast.beside)));
            if !own.is_comparable(definition, &beside) || !beside.has_columns() {
                continue;
            }
            let mut pair =
                Candidate { own, reference: beside.id.clone(), origin: Origin::OwnFit, differences: Vec::new() };
            for domain in definition.domains.iter().filter(|domain| domain.corruption.is_none()) {
                for metric in TESTED {
                    test(definition, metric, (domain, &beside), &mut [&mut pair])?;
                }
            }
            found.push(Contrasted { row: pair.own.id, beside: pair.reference, differences: pair.differences });
        }
    }
    Ok(found)
}

/// Whose fits a row reads: the reference's own where one of its other readings predicts as the reference does, at every seed.
fn origin<'a>(reference: &Row<'_>, mut readings: impl Iterator<Item = Row<'a>>) -> Origin {
    let same = |row: Row<'_>| {
        let pairs = row.by_seed.iter().map(|(seed, record)| Some((record, reference.by_seed.get(seed)?)));
        let inside = |record: &RowRecord| {
            let own = record.domains.iter().find(|own| own.in_distribution)?;
            own.per_text.as_ref().map(|columns| columns.label_probability.clone())
        };
        let alike = |pair: Option<(&&RowRecord, &&RowRecord)>| {
            let (own, other) = pair?;
            let (own, other) = (inside(own)?, inside(other)?);
            Some(own.len() == other.len() && own.iter().zip(&other).all(|(p, q)| (p - q).abs() <= SAME * q))
        };
        !row.by_seed.is_empty() && pairs.map(alike).all(|alike| alike == Some(true))
    };
    if readings.any(same) { Origin::ReferenceFit } else { Origin::OwnFit }
}

/// A row of the page's families, and what was found of it.
struct Candidate<'a> {
    own: Row<'a>,
    reference: String,
    origin: Origin,
    differences: Vec<Difference>,
}

/// The fits of a row in a metric; none where it is not defined or does not follow from columns.
type Measurement = Option<bayeslora_metrics::Result<Fits>>;

/// What the fits of a row gave the texts of a test set.
struct Columns<'a> {
    seeds: &'a [u64],
    own: &'a [&'a PerText],
    /// Those of the test set in distribution, where this one is shifted.
    inside: Option<&'a [&'a PerText]>,
    bootstrap: &'a Bootstrap,
}

/// A metric that is tested.
#[derive(Clone, Copy)]
struct Tested {
    key: &'static str,
    measure: fn(&Columns<'_>) -> Measurement,
}

/// All that are tested, in the order of the tables.
const TESTED: [Tested; 6] = [
    Tested {
        key: "accuracy",
        measure: |columns| mean(columns, |fit| fit.correct().iter().map(|&c| f64::from(u8::from(c))).collect()),
    },
    Tested { key: "nll", measure: |columns| mean(columns, PerText::negative_log_likelihood) },
    Tested { key: "brier", measure: |columns| mean(columns, PerText::brier) },
    Tested {
        key: "ece",
        measure: |columns| {
            let prepare = |fit: &PerText| PreparedEce::of_top(&fit.top_probability(), &fit.correct(), ECE_BINS);
            resampled(columns, prepare, PreparedEce::with_weights)
        },
    },
    Tested {
        key: "aurc",
        measure: |columns| {
            let prepare = |fit: &PerText| PreparedAurc::new(&fit.top_probability(), &fit.correct());
            // It has no column in the tables of shifted sets.
            columns.inside.is_none().then(|| resampled(columns, prepare, PreparedAurc::with_weights))?
        },
    },
    Tested { key: "auroc_predictive_entropy", measure: detection },
];

/// Keys of the metrics that are tested where the records have columns of texts.
pub fn tested_metrics() -> impl Iterator<Item = &'static str> {
    TESTED.iter().map(|tested| tested.key)
}

fn mean(columns: &Columns<'_>, of_texts: fn(&PerText) -> Vec<f64>) -> Measurement {
    let values: Vec<Vec<f64>> = columns.own.iter().map(|fit| of_texts(fit)).collect();
    values.iter().all(|values| !values.is_empty()).then(|| Fits::mean(columns.seeds, &values))
}

fn resampled<P: Sync>(
    columns: &Columns<'_>,
    prepare: impl Fn(&PerText) -> bayeslora_metrics::Result<P>,
    with_weights: fn(&P, &[u32]) -> f64,
) -> Measurement {
    let texts = columns.own.first()?.label_probability.len();
    let computed = || {
        let prepared = columns.own.iter().map(|fit| prepare(fit)).collect::<bayeslora_metrics::Result<Vec<P>>>()?;
        let values = prepared.iter().map(|fit| with_weights(fit, &vec![1; texts])).collect();
        let drawn = |fit: usize, weights: &[u32]| with_weights(&prepared[fit], weights);
        let replicates = columns.bootstrap.replicates_of_fits(texts, prepared.len(), drawn)?;
        Fits::resampled(columns.seeds, values, &replicates, texts)
    };
    (texts > 0).then(computed)
}

/// AUROC of telling the texts of a shifted test set from those in distribution, by the predictive entropy.
fn detection(columns: &Columns<'_>) -> Measurement {
    let mut pairs: Vec<(Vec<f64>, Vec<bool>)> = Vec::new();
    for (own, inside) in columns.own.iter().zip(columns.inside?) {
        let (own, inside) = (own.entropy(), inside.entropy());
        if own.is_empty() || inside.is_empty() {
            return None;
        }
        let positive = (0..inside.len() + own.len()).map(|text| text >= inside.len()).collect();
        pairs.push(([inside, own].concat(), positive));
    }
    let fits: Vec<Detection<'_>> = pairs.iter().map(|(scores, positive)| Detection { scores, positive }).collect();
    Some(Fits::auroc(columns.seeds, &fits))
}

/// Tests the rows in one metric on one test set.
fn test(
    definition: &Definition,
    metric: Tested,
    (domain, reference): (&TestSet, &Row<'_>),
    rows: &mut [&mut Candidate<'_>],
) -> Result<()> {
    let inside = definition.inside().next().filter(|_| !domain.in_distribution);
    let measured = |row: &Row<'_>| -> Result<Option<(Fits, usize)>> {
        let Some(own) = row.columns(&domain.id) else { return Ok(None) };
        let of_inside = match inside {
            Some(inside) => match row.columns(&inside.id) {
                Some(columns) => Some(columns),
                None => return Ok(None),
            },
            None => None,
        };
        let texts = own.first().map_or(0, |columns| columns.label_probability.len().max(columns.entropy().len()));
        let (seeds, bootstrap) = (row.seeds(), &definition.bootstrap);
        let columns = Columns { seeds: &seeds, own: &own, inside: of_inside.as_deref(), bootstrap };
        let fits = (metric.measure)(&columns);
        Ok(fits.transpose()?.map(|fits| (fits, texts)))
    };
    let Some((of_reference, texts)) = measured(reference)? else { return Ok(()) };
    let (mut places, mut fits) = (Vec::new(), Vec::new());
    for (place, row) in rows.iter().enumerate() {
        if let Some((own, _)) = measured(&row.own)? {
            places.push(place);
            fits.push(own);
        }
    }
    let family =
        places.iter().zip(&fits).map(|(&place, fits)| FamilyRow { fits, origin: rows[place].origin }).collect();
    let family = Family { reference: &of_reference, rows: family, seeds: Seeds::Shared };
    for (&place, effect) in places.iter().zip(&family.compare(definition.bootstrap.level)?) {
        let known = |error, degrees_of_freedom| StandardError { error, degrees_of_freedom };
        let margin = definition.margins.get(metric.key);
        let equivalence = margin.map(|margin| effect.equivalence(*margin, LEVEL)).transpose()?;
        rows[place].differences.push(Difference {
            domain: domain.id.clone(),
            metric: metric.key.to_owned(),
            estimate: effect.estimate,
            lower: effect.lower,
            upper: effect.upper,
            p_value: effect.p_value,
            over_examples: known(effect.error_over_texts, texts as f64 - 1.0),
            over_seeds: Some(known(effect.error_over_seeds, effect.degrees_of_freedom_over_seeds)),
            equivalence_p: equivalence.map(|found| found.p_value),
        });
    }
    Ok(())
}
