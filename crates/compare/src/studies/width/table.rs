//! The readings in Markdown and CSV.

use bayeslora_metrics::{MetricInfo, metric};
use bayeslora_render::{Block, Cell, Column, Page, Section, Table};

use super::findings::{FITTED, Measured, OfRow, Reading, Shown, difference};
use crate::error::Result;
use crate::experiment::Plan;
use crate::studies::mean::with_error;

impl Shown {
    pub(super) fn metric(&self) -> Option<&'static MetricInfo> {
        metric(self.metric)
    }

    /// `Movie reviews`.
    pub(super) fn domain_label(&self, plan: &Plan) -> String {
        let domain = plan.task.domains().into_iter().find(|domain| domain.id == self.domain);
        domain.map_or_else(|| self.domain.clone(), |domain| domain.label)
    }

    /// `NLL with its temperature, Movie reviews`.
    pub(super) fn title(&self, plan: &Plan) -> String {
        let metric = self.metric().map_or(self.metric, |metric| metric.label);
        let tempered = if self.is_tempered { " with its temperature" } else { "" };
        format!("{metric}{tempered}, {}", self.domain_label(plan))
    }

    /// Name of its column in CSV: `movies/nll+temperature`.
    fn column(&self) -> String {
        format!("{}/{}{}", self.domain, self.metric, if self.is_tempered { "+temperature" } else { "" })
    }
}

/// `table.md`; `texts` is what the command asked for.
pub(super) fn page(plan: &Plan, texts: usize, measured: &Measured<'_>) -> Result<Page> {
    let Measured { widths, readings, shown, .. } = *measured;
    let rows = OfRow::all(readings);
    let meaning = "The fits of this experiment are read again with their deviations multiplied by a **width**. At 0 a row is its mean, and at 1 \
                   it is the posterior as it was fitted. Nothing is trained, and the mean stays what it is. Sampled rows have what each adapter \
                   adds deviate by so many times as much. Linearised rows have the logits do so.";
    let mut opening = vec![
        Block::text(meaning),
        Block::text(conditions(measured, &rows)),
        Block::figure("Scores by width", "width.svg"),
    ];
    if !measured.failed.is_empty() {
        opening.push(Block::text(format!("Not read, as their fits failed: {}.", measured.failed.join("; "))));
    }
    let mut sections = Vec::new();
    sections.extend(chosen(plan, measured, &rows)?);
    for one in shown {
        let digits = one.metric().map_or(4, |metric| metric.digits);
        let mut table = Table::named("row", widths.iter().map(|width| Column::number(width.to_string(), digits)));
        for row in &rows {
            let cells = widths.iter().map(|&width| with_error(row.scores(one, width).as_deref()));
            table.push_named(row.label, cells);
        }
        sections.push(Section::new(format!("{}, by width", one.title(plan)), [Block::Table(table)]));
    }
    Ok(Page {
        provenance: vec![Page::made_by(format_args!(
            "bayeslora width results/{}/experiment.toml --profile {} --widths {} --texts {texts}",
            plan.experiment.name,
            plan.profile,
            joined(widths, ","),
        ))],
        title: format!("{}: the width of each posterior", plan.experiment.title),
        opening,
        sections,
    })
}

fn joined(widths: &[f64], between: &str) -> String {
    widths.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}

/// On what the numbers stand.
fn conditions(measured: &Measured<'_>, rows: &[OfRow<'_>]) -> String {
    let sets: Vec<String> = measured.texts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let mut seeds: Vec<u64> = rows.iter().flat_map(OfRow::seeds).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    format!(
        "Texts are the first of each set: {}. So scores at 1 are those of the experiment's own table only where that has no more texts. Every \
         width reads the same texts with the same noise, from the fits of seeds {}. ± is the standard error over seeds. Intervals are of 95 % \
         over seeds, by Student's t, on these texts. Each is for one comparison. This page is descriptive.",
        sets.join(", "),
        seeds.join(", "),
    )
}

/// Is the fitted width the right one, by the NLL of the test set?
fn chosen(plan: &Plan, measured: &Measured<'_>, rows: &[OfRow<'_>]) -> Result<Option<Section>> {
    let Measured { widths, shown, .. } = *measured;
    let find = |metric: &str| shown.iter().find(|one| one.metric == metric && !one.is_tempered);
    let Some(nll) = find("nll") else { return Ok(None) };
    let information = find("mean_mutual_information");
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
            // One seed, or differences that are all the same number (none, where every seed chose 1), have no law to make an interval of.
            if found.upper <= found.lower {
                return Ok(Cell::Number(found.estimate));
            }
            Ok(Cell::Interval { estimate: found.estimate, lower: found.lower, upper: found.upper, mark: "" })
        };
        let mut cells = vec![
            with_error(information.and_then(|one| row.scores(one, FITTED)).as_deref()),
            Cell::Text(joined(&row.chosen(), ", ")),
            with_error(fitted.as_deref()),
            with_error(best.as_deref()),
            less(best.as_ref(), fitted.as_ref())?,
        ];
        if has_mean {
            cells.push(less(fitted.as_ref(), row.scores(nll, 0.0).as_ref())?);
        }
        table.push_named(row.label, cells);
    }
    let widest = widths.last().map_or_else(String::new, ToString::to_string);
    let said = format!(
        "For each seed the width of least NLL on the validation texts was chosen, out of {}. A chosen {widest} is the edge of these and means \
         {widest} or more. Where mutual information is next to nothing, so is the choice. NLL is of the test set, {}. A negative difference speaks \
         for the former.",
        joined(widths, ", "),
        nll.domain_label(plan),
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
        .map(|Reading { row, seed, width, validation_nll, scores, .. }| {
            let fixed = [row.clone(), seed.to_string(), width.to_string(), format!("{validation_nll:.5}")];
            let own = shown.iter().map(|one| scores.get(one).map_or_else(String::new, |value| format!("{value:.5}")));
            fixed.into_iter().chain(own).collect()
        })
        .collect();
    Ok(bayeslora_render::csv("width/table.csv", &head, rows)?)
}
