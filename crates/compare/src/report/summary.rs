//! What the numbers say, in sentences made from the records.

use std::fmt::Write as _;

use bayeslora_metrics::{Better, METRICS, median, metric};

use super::aggregate::{Cell, tempered};
use super::beyond::{Known, asked};
use super::power::Power;
use super::ranks::test_sets;
use super::{Aggregate, Definition};
use crate::error::Result;
use bayeslora_data::tasks::DomainInfo;
use bayeslora_records::{ComparisonRecord, DISTANCES, Question};

/// Metrics told.
const TOLD: [&str; 4] = ["accuracy", "nll", "brier", "ece"];
/// Names in one list; the others are counted.
const NAMES: usize = 5;

/// One sentence or a few for each thing compared.
pub(super) fn sentences(
    definition: &Definition,
    aggregate: &Aggregate,
    comparisons: &[ComparisonRecord],
    power: &Power<'_>,
) -> Result<Vec<String>> {
    let reference = definition.reference_label();
    if definition.rows.len() < 2 {
        return Ok(Vec::new());
    }
    if !aggregate.cells.iter().any(|cell| cell.difference.is_some()) {
        return Ok(vec![format!("No row is compared with {reference}: predictions of all seeds were not kept.")]);
    }
    let mut found = Vec::new();
    if aggregate.cells.iter().any(|cell| cell.holm_p.is_some()) {
        found.extend(coverage(comparisons));
        for domain in test_sets(definition) {
            found.extend(quality(definition, aggregate, power, domain));
        }
        for domain in test_sets(definition) {
            found.extend(temperature(definition, aggregate, domain));
        }
        found.extend(knowledge(definition, comparisons)?);
    } else {
        found.push(
            "These records hold intervals over examples only, not corrected for their number, so no row is called better or worse here: \
             a run anew keeps the predictions that tests over seeds are made of."
                .to_owned(),
        );
    }
    let compared = |row: &str| aggregate.cells.iter().any(|cell| cell.row == row && cell.difference.is_some());
    let missing: Vec<String> = definition
        .rows
        .iter()
        .filter(|row| row.id != definition.reference && !compared(&row.id))
        .map(|row| row.label.clone())
        .collect();
    if !missing.is_empty() {
        found.push(format!("Not compared with {reference}, for want of kept predictions: {}.", missing.join("; ")));
    }
    Ok(found)
}

/// What the tests generalise over.
fn coverage(comparisons: &[ComparisonRecord]) -> Option<String> {
    let seeds = comparisons.iter().map(|comparison| comparison.seeds.len()).max()?;
    Some(match seeds {
        1 => "One seed: the tests are over examples, and say nothing about how another seed would have come out."
            .to_owned(),
        _ => format!(
            "The tests are over examples and {seeds} seeds, corrected (Holm, 0.05) for the number of rows. Detectable: what they find with \
             probability 0.8, median over rows."
        ),
    })
}

/// Names in a sentence, the first few of many.
fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        [one] => one.clone(),
        all if all.len() > NAMES => format!("{}; and {} more", all[..NAMES].join("; "), all.len() - NAMES),
        [first @ .., last] => format!("{} and {last}", first.join("; ")),
    }
}

/// Rows that are better and rows that are worse than the reference in a metric, among those tested; `None` where none was.
fn better_and_worse(
    definition: &Definition,
    aggregate: &Aggregate,
    domain: &str,
    key: &str,
    id: fn(&str) -> String,
) -> Option<(Vec<String>, Vec<String>)> {
    let higher = metric(key)?.better == Better::Higher;
    let cells: Vec<(&Cell, &str)> = definition
        .rows
        .iter()
        .filter_map(|row| Some((aggregate.get(&id(&row.id), domain, key)?, row.label.as_str())))
        .filter(|(cell, _)| cell.holm_p.is_some())
        .collect();
    let of = |better: bool| -> Vec<String> {
        let wanted = |cell: &Cell| cell.differs() && cell.difference.is_some_and(|d| (d > 0.0) == (better == higher));
        cells.iter().filter(|(cell, _)| wanted(cell)).map(|(_, label)| (*label).to_owned()).collect()
    };
    (!cells.is_empty()).then(|| (of(true), of(false)))
}

/// `better than MLE: SWAG; worse than MLE: TFB`.
fn sides(reference: &str, better: &[String], worse: &[String]) -> String {
    let side =
        |rows: &[String], word: &str| (!rows.is_empty()).then(|| format!("{word} than {reference}: {}", listed(rows)));
    [side(better, "better"), side(worse, "worse")].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Better, worse or no different, metric by metric, on one test set.
fn quality(definition: &Definition, aggregate: &Aggregate, power: &Power<'_>, domain: &DomainInfo) -> Option<String> {
    let reference = definition.reference_label();
    let mut clauses = Vec::new();
    let mut alike = Vec::new();
    for key in TOLD {
        let Some(info) = metric(key) else { continue };
        let found = better_and_worse(definition, aggregate, &domain.id, key, str::to_owned);
        let Some((better, worse)) = found else { continue };
        let name = if info.label == "Accuracy" { "accuracy" } else { info.label };
        if better.is_empty() && worse.is_empty() {
            let detectable = power.of(&domain.id, key).filter(|found| !found.by_test.is_empty());
            let digits = info.digits;
            let smallest = detectable.map(|found| {
                let median = median(found.by_test.iter().copied());
                format!(" (detectable: {median:.digits$})")
            });
            alike.push(name.to_owned() + &smallest.unwrap_or_default());
        } else {
            clauses.push(format!("In {name} {}", sides(reference, &better, &worse)));
        }
    }
    if !alike.is_empty() {
        clauses.push(format!("No row differs from {reference} in {}", listed(&alike)));
    }
    // Of the other metrics only what stands out.
    for info in METRICS.iter().filter(|info| info.better != Better::Neither && !TOLD.contains(&info.key)) {
        let found = better_and_worse(definition, aggregate, &domain.id, info.key, str::to_owned);
        let Some((better, worse)) = found.filter(|(better, worse)| better.len() + worse.len() > 0) else { continue };
        clauses.push(format!("In {} {}", info.label, sides(reference, &better, &worse)));
    }
    (!clauses.is_empty()).then(|| format!("On {}. {}.", domain.label, clauses.join(". ")))
}

/// What a temperature changes on one test set, and which rows then differ.
fn temperature(definition: &Definition, aggregate: &Aggregate, domain: &DomainInfo) -> Option<String> {
    let reference = definition.reference_label();
    let mut clauses = Vec::new();
    for key in ["nll", "ece"] {
        let pairs: Vec<(f64, f64)> = definition
            .rows
            .iter()
            .filter_map(|row| {
                let get = |row: &str| aggregate.get(row, &domain.id, key).map(|cell| cell.mean);
                Some((get(&row.id)?, get(&tempered(&row.id))?))
            })
            .collect();
        let (Some(info), false) = (metric(key), pairs.is_empty()) else { continue };
        let fell = pairs.iter().filter(|(before, after)| after < before).count();
        let (before, after) = (median(pairs.iter().map(|pair| pair.0)), median(pairs.iter().map(|pair| pair.1)));
        let digits = info.digits;
        let mut clause = format!(
            "{} falls in {fell} of {} rows (median {before:.digits$} → {after:.digits$})",
            info.label,
            pairs.len()
        );
        if let Some((better, worse)) = better_and_worse(definition, aggregate, &domain.id, key, tempered) {
            let _ = match (better.is_empty(), worse.is_empty()) {
                (true, true) => write!(clause, ", and no row differs from {reference} with its own"),
                _ => write!(
                    clause,
                    ", and against {reference} with its own, better: {}; worse: {}",
                    listed(&better),
                    listed(&worse)
                ),
            };
        }
        clauses.push(clause);
    }
    (!clauses.is_empty())
        .then(|| format!("With a temperature fitted on validation, on {}: {}.", domain.label, clauses.join(". ")))
}

/// What scores know beyond the entropy of one deterministic pass.
fn knowledge(definition: &Definition, comparisons: &[ComparisonRecord]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for question in [Question::Errors, Question::ErrorsGivenEntropy, Question::Shift] {
        let (verb, than) = match question {
            Question::ErrorsGivenEntropy => ("points", "at errors once the entropy of one deterministic pass is given"),
            Question::Errors | Question::Shift => ("beats", "the entropy of one deterministic pass"),
        };
        let what = |label: &str| match question {
            Question::Errors => format!("{than} at detecting errors on {label}"),
            Question::ErrorsGivenEntropy => format!("{than}, on {label}"),
            Question::Shift => format!("{than} at telling {label} from the in-distribution test set"),
        };
        let (mut none, mut some) = (Vec::new(), Vec::new());
        for domain in &definition.domains {
            let asked = asked(definition, comparisons, domain, question)?;
            let mut winners: Vec<&Known<'_>> = asked.iter().filter(|k| k.differs() && k.found.estimate > 0.0).collect();
            winners.sort_by(|a, b| b.found.estimate.total_cmp(&a.found.estimate));
            let names: Vec<String> = winners.iter().map(|known| name(definition, known)).collect();
            if !names.is_empty() {
                let (count, all, verb) = (names.len(), asked.len(), verb.trim_end_matches('s'));
                some.push(format!("{count} of {all} scores {verb} {}: {}.", what(&domain.label), listed(&names)));
            } else if !asked.is_empty() {
                none.push(domain.label.clone());
            }
        }
        if !none.is_empty() {
            found.push(format!("After correction no score of any row {verb} {}.", what(&listed(&none))));
        }
        found.extend(some);
    }
    Ok(found)
}

/// `mutual information of SWAG (+0.021 beside MLE's pass)`.
fn name(definition: &Definition, known: &Known<'_>) -> String {
    let (gain, score) = (known.found.estimate, known.score());
    if known.row == DISTANCES {
        return format!("the {score} of the adapters' input ({gain:+.3})");
    }
    let method = definition.rows.iter().find(|row| row.id == known.row).map(|row| &row.method);
    let own_pass = definition.rows.iter().any(|row| Some(&row.method) == method && row.id.ends_with("/mean"));
    let beside = if own_pass { String::new() } else { format!(" beside {}'s pass", definition.reference_label()) };
    format!("{score} of {} ({gain:+.3}{beside})", definition.label(known.row))
}
