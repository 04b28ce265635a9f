//! The trials in Markdown and CSV.

use bayeslora_inference::Selection;
use bayeslora_metrics::Better;
use bayeslora_render::{Block, Cell, Column, Page, Table};
use serde::Serialize;

use super::stored::command;
use super::trial::{Searched, TrialOutcome, TrialRecord, mean_nll};
use crate::error::Result;
use crate::experiment::Plan;
use crate::studies::mean::with_error;

/// Mean of what finished trials say of themselves.
fn mean(records: &[TrialRecord], of: impl Fn(&TrialOutcome) -> Option<f64>) -> Option<f64> {
    let values = records.iter().map(|record| of(&record.outcome)).collect::<Option<Vec<f64>>>()?;
    Some(values.iter().sum::<f64>() / values.len().max(1) as f64)
}

fn accuracy(outcome: &TrialOutcome) -> Option<f64> {
    if let TrialOutcome::Finished { accuracy, .. } = outcome { Some(*accuracy) } else { None }
}

fn seconds(outcome: &TrialOutcome) -> Option<f64> {
    if let TrialOutcome::Finished { seconds, .. } = outcome { Some(*seconds) } else { None }
}

fn failure(records: &[TrialRecord]) -> Option<&str> {
    records.iter().find_map(|record| match &record.outcome {
        TrialOutcome::Failed { reason } => Some(reason.as_str()),
        TrialOutcome::Finished { .. } => None,
    })
}

/// How much larger the NLL is than that of the chosen trial, seed by seed, with its standard error over them.
fn above(records: &[TrialRecord], chosen: &[TrialRecord]) -> Cell {
    let differences: Vec<f64> = records
        .iter()
        .zip(chosen)
        .map(|(one, best)| mean_nll(std::slice::from_ref(one)) - mean_nll(std::slice::from_ref(best)))
        .collect();
    with_error(Some(&differences))
}

/// `table.md`.
pub(super) fn page(plan: &Plan, searched: &[Searched]) -> Page {
    let tuning = &plan.experiment.tuning;
    let seeds: Vec<String> = tuning.seeds.iter().map(u64::to_string).collect();
    let is_stopped = plan.methods.iter().any(|method| method.training.select == Selection::ValidationNll);
    let stops = if is_stopped { ", which also stops its training" } else { "" };
    let over_seeds = if seeds.len() > 1 {
        " Means over seeds. The last column is how much worse a trial is than the chosen one on the same seeds, ± its standard error over them."
    } else {
        ""
    };
    let opening = format!(
        "Every method had at most {} trials at seed{} {}: first its settings as written, then points of its search space (in \
         `experiment.toml`) in an order of chance. A trial is judged by the NLL of the method's main predictive on the validation set{stops}; \
         test data play no part. The row in bold was chosen. A method that starts from the fit of another takes \
         over that one's training loop and searches its own parameters only.{over_seeds}",
        tuning.trials,
        if seeds.len() > 1 { "s" } else { "" },
        seeds.join(", "),
    );
    let mut columns = vec![
        Column::text("method"),
        Column::text("trial"),
        Column { better: Better::Lower, ..Column::number("validation NLL", 4) },
        Column { better: Better::Higher, ..Column::number("validation accuracy", 4) },
        Column::number("s", 1),
    ];
    if seeds.len() > 1 {
        columns.push(Column::number("NLL above the chosen", 4));
    }
    let mut table = Table::new(columns);
    for one in searched {
        for (place, (trial, records)) in one.trials.iter().enumerate() {
            let strong = place == one.best;
            let changes = trial.changes.to_string();
            let nll = match failure(records) {
                Some(reason) => Cell::text(format!("failed: {reason}")),
                None => Cell::Mean { mean: mean_nll(records), sd: None, mark: "", strong },
            };
            let mut cells = vec![
                Cell::text(&one.label),
                if strong { Cell::Strong(changes) } else { Cell::Text(changes) },
                nll,
                Cell::maybe(mean(records, accuracy)),
                Cell::maybe(mean(records, seconds)),
            ];
            if seeds.len() > 1 {
                cells.push(if strong { Cell::Missing } else { above(records, &one.trials[one.best].1) });
            }
            table.push(cells);
        }
    }
    Page {
        provenance: vec![Page::made_by(command(plan))],
        title: format!("{}: tuning", plan.experiment.title),
        opening: vec![Block::Text(opening), Block::Table(table)],
        sections: Vec::new(),
    }
}

/// `table.csv`.
pub(super) fn csv(searched: &[Searched]) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Row<'a> {
        method: &'a str,
        changes: String,
        seed: u64,
        chosen: bool,
        validation_nll: Option<f64>,
        validation_accuracy: Option<f64>,
        seconds: Option<f64>,
        failure: &'a str,
    }
    let mut rows = Vec::new();
    for one in searched {
        for (place, (trial, records)) in one.trials.iter().enumerate() {
            for record in records {
                let own = std::slice::from_ref(record);
                let nll = mean_nll(own);
                rows.push(Row {
                    method: &one.id,
                    changes: trial.changes.to_string(),
                    seed: record.seed,
                    chosen: place == one.best,
                    validation_nll: nll.is_finite().then_some(nll),
                    validation_accuracy: accuracy(&record.outcome),
                    seconds: seconds(&record.outcome),
                    failure: failure(own).unwrap_or_default(),
                });
            }
        }
    }
    Ok(bayeslora_render::csv("table.csv", &[], rows)?)
}
