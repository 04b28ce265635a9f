//! The findings in Markdown and CSV, with what reproduces and what does not.

use bayeslora_metrics::{Correlation, QuantileBin, summarise};
use bayeslora_render::{Block, Cell, Column, Page, Section, Table};
use serde::Serialize;

use super::findings::{Finding, REPORTED, SENTENCE_SAMPLES, SENTENCES, Sentence};
use crate::error::Result;
use crate::experiment::Plan;
use bayeslora_data::tasks::TaskData;

/// `mean ± sd` over seeds, or the number itself for one.
fn over_seeds(values: &[f64], show: impl Fn(f64) -> String) -> Result<Cell> {
    let summary = summarise(values)?;
    let spread = summary.sample_sd.map_or_else(String::new, |sd| format!(" ± {}", show(sd)));
    Ok(Cell::text(show(summary.mean) + &spread))
}

fn decimals(digits: usize) -> impl Fn(f64) -> String {
    move |value| format!("{value:.digits$}")
}

/// Variances of a confident network differ by orders of magnitude.
fn scientific(value: f64) -> String {
    format!("{value:.1e}")
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The largest p-value over seeds, in words.
fn largest_p(correlations: &[Correlation]) -> String {
    let p = correlations.iter().map(|c| c.p_value).fold(0.0, f64::max);
    if p < 1e-300 { "< 1e-300".to_owned() } else { format!("{p:.1e}") }
}

/// Methods in the order found, with their findings seed by seed.
pub(super) fn by_method(findings: &[Finding]) -> Vec<(&str, Vec<&Finding>)> {
    let mut methods: Vec<(&str, Vec<&Finding>)> = Vec::new();
    for finding in findings {
        match methods.iter_mut().find(|(label, _)| *label == finding.label) {
            Some((_, own)) => own.push(finding),
            None => methods.push((&finding.label, vec![finding])),
        }
    }
    methods
}

/// Mean error of each decile over the seeds that have all of them.
pub(super) fn mean_deciles<'a>(own: &[&'a Finding], of: impl Fn(&'a Finding) -> &'a [QuantileBin]) -> Vec<f64> {
    let longest = own.iter().map(|finding| of(finding).len()).max().unwrap_or(0);
    let whole: Vec<&[QuantileBin]> =
        own.iter().map(|finding| of(finding)).filter(|bins| bins.len() == longest).collect();
    (0..longest).map(|bin| mean(&whole.iter().map(|bins| bins[bin].error_rate).collect::<Vec<_>>())).collect()
}

/// `table.md`.
pub(crate) fn page(plan: &Plan, data: &TaskData, findings: &[Finding], shares: [f64; 2]) -> Result<Page> {
    let tested = data.domains.iter().filter(|domain| domain.info.in_distribution);
    let seeds = match plan.seeds.len() {
        1 => "One seed.".to_owned(),
        many => {
            format!("Values are mean ± sample standard deviation over {many} seeds; p is the largest of the seeds'.")
        }
    };
    let head = if plan.experiment.adapter.train_head { "is trained" } else { "keeps its random initial values" };
    let opening = format!(
        "The paper's model is DistilBERT, trained on the first tenth of GLUE's SST-2 (6,734 phrases and sentences, a fifth of them held out). \
         Here it is {}, trained on {} texts of `{}`, with {} for validation and {} to test. Adapters have rank {}, and dropout inside them, with \
         T = {}; the classification head {head}. {seeds}",
        plan.model.name(),
        data.trained_on(),
        plan.experiment.task,
        data.validation.len(),
        tested.map(|domain| domain.examples.len()).sum::<usize>(),
        plan.of_dropout_methods(|method| method.adapter.rank.to_string()),
        plan.of_dropout_methods(|method| method.prediction.samples.to_string()),
    );
    let picture = format!(
        "Points are last-block states of the token that the head reads, in the trained network of the first method and seed after one deterministic pass. \
         Axes are the first two principal components of the test set's states. They hold {:.0} % and {:.0} % of its variance. The area of a \
         point grows with the variance of its sampled probabilities.",
        100.0 * shares[0],
        100.0 * shares[1],
    );
    let picture = [
        Block::figure("CLS states of the test sets", "cls_states.svg"),
        Block::Text(picture),
        Block::figure("Error by decile", "deciles.svg"),
    ];
    let mut sections =
        by_method(findings).into_iter().map(|(label, own)| section(label, &own)).collect::<Result<Vec<_>>>()?;
    sections.push(Section::new("The picture", picture));
    let Plan { experiment, profile, .. } = plan;
    let command = format!("bayeslora paper results/{}/experiment.toml --profile {profile}", experiment.name);
    Ok(Page {
        provenance: vec![Page::made_by(command)],
        title: format!("{}: beside the paper", experiment.title),
        opening: vec![Block::Text(opening)],
        sections,
    })
}

/// What was found with one method.
fn section(label: &str, own: &[&Finding]) -> Result<Section> {
    let tables = [quantities(own)?, deciles(own), sentences(own)?].map(Block::Table);
    Ok(Section::new(label, tables.into_iter().chain([Block::Points(what_it_says(own))])))
}

/// The paper's numbers and those beside them.
fn quantities(own: &[&Finding]) -> Result<Table> {
    let mut table = Table::new([
        Column::text("quantity"),
        Column::number("reported", 4),
        Column::number("here", 4),
        Column::number("p here", 4),
    ]);
    let mut accuracy = |name: &str, reported: Cell, of: fn(&Finding) -> f64| -> Result<()> {
        let values: Vec<f64> = own.iter().map(|finding| of(finding)).collect();
        table.push_named(name, [reported, over_seeds(&values, decimals(4))?, Cell::text("")]);
        Ok(())
    };
    accuracy("accuracy, validation", Cell::Number(REPORTED.accuracy), |f| f.validation_accuracy)?;
    accuracy("accuracy, test", Cell::Missing, |f| f.test_accuracy)?;
    let mut correlation = |name: &str, reported: Cell, of: fn(&Finding) -> Correlation| -> Result<()> {
        let found: Vec<Correlation> = own.iter().map(|finding| of(finding)).collect();
        let coefficients: Vec<f64> = found.iter().map(|c| c.coefficient).collect();
        let here = over_seeds(&coefficients, decimals(3))?;
        table.push_named(name, [reported, here, Cell::Text(largest_p(&found))]);
        Ok(())
    };
    let reported = Cell::text(format!("{:.3} (p {:.1e})", REPORTED.spearman, REPORTED.p_value));
    correlation("ρ(variance, error)", reported, |f| f.error)?;
    correlation("ρ(entropy of one deterministic pass, its error)", Cell::Missing, |f| f.entropy_error)?;
    correlation("ρ(variance, that entropy)", Cell::Missing, |f| f.entropy)?;
    correlation("ρ(variance, error), given that entropy", Cell::Missing, |f| f.error_given_entropy)?;
    Ok(table)
}

fn deciles(own: &[&Finding]) -> Table {
    let all = [
        ("of the variance", mean_deciles(own, |f| &f.variance_deciles)),
        ("of the deterministic entropy", mean_deciles(own, |f| &f.entropy_deciles)),
    ];
    let heads = (1..=all[0].1.len()).map(|bin| Column::number(bin.to_string(), 3));
    let mut table = Table::named("error rate by decile", heads);
    for (name, bins) in all {
        table.push_named(name, bins.into_iter().map(Cell::Number));
    }
    table
}

fn sentences(own: &[&Finding]) -> Result<Table> {
    let mut table = Table::new([
        Column::text(format!("the paper's sentences, T = {SENTENCE_SAMPLES}")),
        Column::number("p(positive)", 3),
        Column::number("variance", 1),
        Column::number("entropy of one deterministic pass", 3).unit("nats"),
    ]);
    for (place, sentence) in SENTENCES.iter().enumerate() {
        let of = |value: fn(&Sentence) -> f64| own.iter().map(|f| value(&f.sentences[place])).collect::<Vec<_>>();
        let cells = [
            over_seeds(&of(|s| s.probability), decimals(3))?,
            over_seeds(&of(|s| s.variance), scientific)?,
            over_seeds(&of(|s| s.entropy), decimals(3))?,
        ];
        table.push_named(*sentence, cells);
    }
    Ok(table)
}

/// What reproduces and what does not, from the numbers.
fn what_it_says(own: &[&Finding]) -> Vec<String> {
    let of = |value: fn(&Finding) -> f64| own.iter().map(|finding| value(finding)).collect::<Vec<f64>>();
    // One seed, or the smallest and the largest of several.
    let span =
        |low: f64, high: f64| if own.len() == 1 { format!("{low:.3}") } else { format!("{low:.3} to {high:.3}") };
    let range = |values: &[f64]| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    };
    let (low, high) = range(&of(|f| f.error.coefficient));
    let significant = own.iter().all(|f| f.error.p_value < 0.05);
    let size = if low <= REPORTED.spearman && REPORTED.spearman <= high {
        "within the seeds' range"
    } else if high < REPORTED.spearman {
        "weaker than reported at every seed"
    } else {
        "stronger than reported at every seed"
    };
    let mut said = vec![if low > 0.0 && significant {
        format!("Variance points at errors, as reported: ρ is positive at every seed ({}), {size}.", span(low, high))
    } else {
        format!("That variance points at errors does not reproduce at every seed: ρ is {}.", span(low, high))
    }];
    let bins = mean_deciles(own, |f| &f.variance_deciles);
    let falls = bins.windows(2).filter(|pair| pair[1] < pair[0]).count();
    if let (Some(first), Some(last)) = (bins.first(), bins.last()) {
        said.push(format!(
            "The error rate is {first:.3} in the lowest decile of the variance and {last:.3} in the highest. It falls between {falls} of {} \
             pairs of neighbours.",
            bins.len().saturating_sub(1)
        ));
    }
    let beyond = own.iter().filter(|f| f.error_given_entropy.p_value < 0.05).count();
    let (low, high) = range(&of(|f| f.error_given_entropy.coefficient));
    let stronger = own.iter().filter(|f| f.error.coefficient > f.entropy_error.coefficient).count();
    said.push(format!(
        "Given the entropy of one deterministic pass, ρ of variance and error is {}, with p < 0.05 at {beyond} of {} seeds. \
         Variance ranks errors better than that entropy at {stronger} of {}.",
        span(low, high),
        own.len(),
        own.len()
    ));
    let variance_of = |place: usize| mean(&own.iter().map(|f| f.sentences[place].variance).collect::<Vec<_>>());
    let inside = (0..3).map(variance_of).fold(0.0, f64::max);
    let (finance, nonsense) = (variance_of(3), variance_of(4));
    let compare = |value: f64| if value > inside { "more" } else { "less" };
    said.push(format!(
        "The sentence on earnings has {} variance ({}) than the most uncertain of the three about films ({}). The one without \
         meaning has {} ({}).",
        compare(finance),
        scientific(finance),
        scientific(inside),
        compare(nonsense),
        scientific(nonsense),
    ));
    said
}

/// `table.csv`: one line a number.
pub(crate) fn csv(findings: &[Finding]) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Row<'a> {
        method: &'a str,
        seed: u64,
        quantity: String,
        value: f64,
        p: Option<f64>,
    }
    let mut lines = Vec::new();
    for finding in findings {
        let mut rows: Vec<(String, f64, Option<f64>)> = vec![
            ("validation accuracy".to_owned(), finding.validation_accuracy, None),
            ("test accuracy".to_owned(), finding.test_accuracy, None),
        ];
        for (name, correlation) in [
            ("rho(variance, error)", &finding.error),
            ("rho(deterministic entropy, error)", &finding.entropy_error),
            ("rho(variance, deterministic entropy)", &finding.entropy),
            ("rho(variance, error | deterministic entropy)", &finding.error_given_entropy),
        ] {
            rows.push((name.to_owned(), correlation.coefficient, Some(correlation.p_value)));
        }
        for (name, bins) in
            [("variance", &finding.variance_deciles), ("deterministic entropy", &finding.entropy_deciles)]
        {
            rows.extend(
                (1..).zip(bins).map(|(n, bin)| (format!("error in decile {n} of the {name}"), bin.error_rate, None)),
            );
        }
        for (sentence, found) in SENTENCES.iter().zip(&finding.sentences) {
            rows.push((format!("p(positive): {sentence}"), found.probability, None));
            rows.push((format!("variance: {sentence}"), found.variance, None));
            rows.push((format!("deterministic entropy: {sentence}"), found.entropy, None));
        }
        for (quantity, value, p) in rows {
            lines.push(Row { method: &finding.label, seed: finding.seed, quantity, value, p });
        }
    }
    Ok(bayeslora_render::csv("table.csv", &[], lines)?)
}

#[cfg(test)]
mod tests {
    use bayeslora_data::tasks::{Domain, DomainInfo, Example};

    use super::*;
    use crate::studies::toy;

    fn correlation(coefficient: f64, p_value: f64) -> Correlation {
        Correlation { coefficient, p_value }
    }

    /// Rho of variance and error, the same given the entropy, and the variance of the sentence on earnings.
    fn finding(seed: u64, error: Correlation, given: Correlation, earnings: f64) -> Finding {
        let decile = |error_rate: f64| QuantileBin { mean_score: 0.1, error_rate, count: 10 };
        let sentence = |variance: f64| Sentence { probability: 0.5, variance, entropy: 0.6 };
        Finding {
            label: "Toy".to_owned(),
            seed,
            validation_accuracy: 0.8,
            test_accuracy: 0.82,
            error,
            entropy_error: correlation(0.36, 1e-9),
            entropy: correlation(0.95, 0.0),
            error_given_entropy: given,
            variance_deciles: [0.0, 0.2, 0.1, 0.4].map(decile).to_vec(),
            entropy_deciles: [0.0, 0.1, 0.2, 0.4].map(decile).to_vec(),
            sentences: [0.001, 0.002, 0.003, earnings, 0.0].map(sentence).to_vec(),
        }
    }

    #[test]
    fn the_page_is_as_it_was_written_down() {
        let example =
            Example { id: "1".to_owned(), text: "a film".to_owned(), label: Some(1), ratings: None, choice: None };
        let of = |in_distribution, examples| Domain {
            info: DomainInfo { in_distribution, ..toy::plan().task.domains()[0].clone() },
            examples: vec![example.clone(); examples],
        };
        let data = TaskData {
            classes: vec![],
            train: vec![example.clone(); 4],
            train_per_seed: None,
            validation: vec![example.clone(); 2],
            domains: vec![of(true, 3), of(false, 1)],
            notes: vec![],
            digest: String::new(),
        };
        let other = finding(1, correlation(-0.1, 0.2), correlation(0.0, 1.0), 0.0001);
        let findings = [
            finding(1, correlation(0.37, 1e-20), correlation(0.1, 0.01), 0.004),
            finding(2, correlation(0.39, 1e-22), correlation(0.02, 0.4), 0.006),
            Finding { label: "Other".to_owned(), ..other },
        ];
        let page = page(&toy::plan(), &data, &findings, [0.941, 0.03]).unwrap().markdown();
        assert_eq!(page, include_str!("expected.md"));
    }

    #[test]
    fn what_reproduces_is_said_as_it_is() {
        let strong = finding(1, correlation(0.37, 1e-20), correlation(0.1, 0.01), 0.004);
        let stronger = finding(2, correlation(0.39, 1e-20), correlation(0.02, 0.4), 0.006);
        let both = what_it_says(&[&strong, &stronger]).join("\n");
        for expected in [
            "positive at every seed (0.370 to 0.390), within the seeds' range.",
            "is 0.000 in the lowest decile of the variance and 0.400 in the highest. It falls between 1 of 3",
            "is 0.020 to 0.100, with p < 0.05 at 1 of 2 seeds. Variance ranks errors better than that entropy at 2 of 2.",
            "on earnings has more variance (5.0e-3) than the most uncertain of the three about films (3.0e-3). The one without \
             meaning has less (0.0e0).",
        ] {
            assert!(both.contains(expected), "{expected:?} is not in\n{both}");
        }
        let one = &what_it_says(&[&strong])[0];
        assert!(one.contains("at every seed (0.370), weaker than reported at every seed."), "{one}");
        let absent = &what_it_says(&[&strong, &finding(3, correlation(-0.01, 0.9), correlation(0.0, 1.0), 0.0)])[0];
        assert!(absent.contains("does not reproduce at every seed: ρ is -0.010 to 0.370."), "{absent}");
    }

    #[test]
    fn every_number_is_a_line() {
        let found = finding(4, correlation(0.37, 1e-20), correlation(0.1, 0.01), 0.004);
        let text = String::from_utf8(csv(&[found]).unwrap()).unwrap();
        // Two accuracies, four correlations, two times four deciles, three numbers for each sentence, and the head.
        assert_eq!(text.lines().count(), 1 + 2 + 4 + 8 + 15, "{text}");
        assert!(text.contains("Toy,4,\"rho(variance, error)\",0.37,1e-20"), "{text}");
    }
}
