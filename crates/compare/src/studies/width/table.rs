//! The readings in Markdown and CSV.

use bayeslora_metrics::{MetricInfo, metric, summarise};
use bayeslora_render::{Block, Cell, Column, Page, Section, Table};

use super::findings::{FITTED, OfRow, Reading, Shown, difference};
use crate::error::Result;
use crate::experiment::Plan;

impl Shown {
    fn metric(&self) -> Option<&'static MetricInfo> {
        metric(self.metric)
    }

    /// `NLL with its temperature, Movie reviews`.
    pub(super) fn title(&self, plan: &Plan) -> String {
        let domain = plan.task.domains().into_iter().find(|domain| domain.id == self.domain);
        let domain = domain.map_or_else(|| self.domain.clone(), |domain| domain.label);
        let metric = self.metric().map_or(self.metric, |metric| metric.label);
        let tempered = if self.is_tempered { " with its temperature" } else { "" };
        format!("{metric}{tempered}, {domain}")
    }

    /// Name of its column in CSV: `movies/nll+temperature`.
    fn column(&self) -> String {
        format!("{}/{}{}", self.domain, self.metric, if self.is_tempered { "+temperature" } else { "" })
    }
}

/// `table.md`.
pub(super) fn page(plan: &Plan, texts: usize, widths: &[f64], readings: &[Reading], shown: &[Shown]) -> Result<Page> {
    let rows = OfRow::all(readings);
    let meaning = "The fits of this experiment are read again with their deviations multiplied by a **width**. At 0 a row is its mean, and at 1 \
                   it is the posterior as it was fitted. Nothing is trained, and the mean stays what it is. Sampled rows have what each adapter \
                   adds deviate by so many times as much. Linearised rows have the logits do so.";
    let seeds = "The same texts and noise are read at every width. ± is the standard error over seeds, each with a training set and a fit of its \
                 own where the experiment says so. Intervals are of 95 % over seeds, by Student's t, on these texts. Each is for one comparison. \
                 This page is descriptive.";
    let mut sections = Vec::new();
    if let Some(chosen) = chosen(plan, &rows, widths, shown)? {
        sections.push(chosen);
    }
    for one in shown {
        let digits = one.metric().map_or(4, |metric| metric.digits);
        let mut table = Table::named("row", widths.iter().map(|width| Column::number(width.to_string(), digits)));
        for row in &rows {
            let cells = widths.iter().map(|&width| mean(row.scores(one, width).as_deref()));
            table.push_named(row.label, cells.collect::<Result<Vec<_>>>()?);
        }
        sections.push(Section::new(format!("{}, by width", one.title(plan)), [Block::Table(table)]));
    }
    Ok(Page {
        provenance: vec![Page::made_by(format_args!(
            "bayeslora width results/{}/experiment.toml --profile {} --texts {texts}",
            plan.experiment.name, plan.profile
        ))],
        title: format!("{}: the width of each posterior", plan.experiment.title),
        opening: vec![Block::text(meaning), Block::text(seeds), Block::figure("Scores by width", "width.svg")],
        sections,
    })
}

/// Mean and standard error over seeds.
fn mean(values: Option<&[f64]>) -> Result<Cell> {
    let Some(values) = values else { return Ok(Cell::Missing) };
    let summary = summarise(values)?;
    let error = summary.sample_sd.map(|sd| sd / (summary.n as f64).sqrt());
    Ok(Cell::Mean { mean: summary.mean, sd: error, mark: "", strong: false })
}

/// Is the fitted width the right one, by the NLL of the test set?
fn chosen(plan: &Plan, rows: &[OfRow<'_>], widths: &[f64], shown: &[Shown]) -> Result<Option<Section>> {
    let find = |metric: &str| shown.iter().find(|one| one.metric == metric && !one.is_tempered);
    let (Some(nll), Some(information)) = (find("nll"), find("mean_mutual_information")) else { return Ok(None) };
    let has_mean = widths.contains(&0.0);
    let mut columns = vec![
        Column::number("mutual information at 1", 5).unit("nats"),
        Column::text("widths chosen, by seed"),
        Column::number("NLL at 1", 4),
        Column::number("NLL at the chosen ones", 4),
        Column::number("chosen less 1", 4),
    ];
    if has_mean {
        columns.push(Column::number("1 less 0", 4));
    }
    let mut table = Table::named("row", columns);
    for row in rows {
        let (fitted, best) = (row.scores(nll, FITTED), row.at_chosen(nll));
        let less = |a: Option<&Vec<f64>>, b: Option<&Vec<f64>>| -> Result<Cell> {
            let (Some(a), Some(b)) = (a, b) else { return Ok(Cell::Missing) };
            let found = difference(a, b)?;
            if a.len() < 2 {
                return Ok(Cell::Number(found.estimate));
            }
            Ok(Cell::Interval { estimate: found.estimate, lower: found.lower, upper: found.upper, mark: "" })
        };
        let chosen: Vec<String> = row.chosen().iter().map(ToString::to_string).collect();
        let mut cells = vec![
            mean(row.scores(information, FITTED).as_deref())?,
            Cell::Text(chosen.join(", ")),
            mean(fitted.as_deref())?,
            mean(best.as_deref())?,
            less(best.as_ref(), fitted.as_ref())?,
        ];
        if has_mean {
            cells.push(less(fitted.as_ref(), row.scores(nll, 0.0).as_ref())?);
        }
        table.push_named(row.label, cells);
    }
    let said = format!(
        "For each seed the width of least NLL on the validation texts was chosen, out of {}. The columns are NLL on the test set, {}. A negative \
         difference speaks for the former.",
        widths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        nll.title(plan).trim_start_matches("NLL, "),
    );
    Ok(Some(Section::new("Is the fitted width the right one?", [Block::text(said), Block::Table(table)])))
}

/// `table.csv`: every row, seed and width.
pub(super) fn csv(readings: &[Reading], shown: &[Shown]) -> Result<Vec<u8>> {
    let columns: Vec<String> = shown.iter().map(Shown::column).collect();
    let head: Vec<&str> =
        ["row", "seed", "width", "validation_nll"].into_iter().chain(columns.iter().map(String::as_str)).collect();
    let rows: Vec<Vec<String>> = readings
        .iter()
        .map(|Reading { row, seed, width, validation_nll, scores }| {
            let fixed = [row.clone(), seed.to_string(), width.to_string(), format!("{validation_nll:.5}")];
            let own = shown.iter().map(|one| scores.get(one).map_or_else(String::new, |value| format!("{value:.5}")));
            fixed.into_iter().chain(own).collect()
        })
        .collect();
    Ok(bayeslora_render::csv("width/table.csv", &head, rows)?)
}
