//! The table of verdicts in Markdown, CSV and LaTeX.

use std::fmt::Write as _;

use crate::claims::Grid;
use crate::error::{Error, Result};
use crate::evidence::Values;
use crate::harness::{Decision, ERROR_SEEN, LEVEL, POWER, POWER_SEEDS, Report, Verdict};
use crate::timing::Exponent;

/// What a table says of its making.
#[derive(Debug, Clone)]
pub struct Heading {
    /// Grid.
    pub grid: Grid,
    /// Seed.
    pub seed: u64,
    /// Command that makes it again.
    pub command: String,
}

/// What the statements are written in.
const SYMBOLS: &str = "\
| symbol | meaning |
|---|---|
| dW = s B A | increment of an adapter of rank r, with rows a_i of A and columns b_i of B |
| A_0 | A at initialisation, with entries of variance sigma_A^2 |
| p, kappa | dropout probability, and p / (1 - p) |
| site | where dropout acts: the input, between A and B (rank), or the entries of A (weight) |
| F, w(x) | the fixed factor behind the multipliers, and the squares that they multiply |
| V, Q | variance of the increment, V(x) = x'Qx |
| S^2 | variance of T samples |
| S_X, k, P | span of the fine-tuning inputs, its dimension and its projector |
| delta | distance from S_X |
";

/// The answer, as far as linear layers go, when the claims it stands on hold.
const ANSWER: &str = "\
\"Adapter variance grows with the distance of an input from the fine-tuning subspace\" is true in one sense and false in another.

**True when the distance is added.** Keep the part of the input inside S_X and add a component outside it. V is then a quadratic
polynomial of the distance, for every dropout site. Once past a possible dip it grows without bound, in every direction that the
site reads (G1). For the rank site, trained by gradient descent, the rate is known. The trained B and the *initial* A decide it,
because training never touches A outside S_X (S1, L1). Weight decay shrinks that part of A and with it the growth. Adam, and
dropout on the input, make the training leak out of S_X (S2).

**False at fixed norm, in the mean.** Per unit of input energy, V outside over V inside is a factor rho, which does not depend on a distance.
This holds for the rank site with isotropic inputs, and at the optimum with any inputs. Where the adapter has learnt much compared
with its initialisation, rho is well below 1. Inside, the rows of A have grown with B; outside they have not (N1, F1, F3). Where it
has learnt little, rho tends to k / (k - 2) in the mean over initialisations. That is above 1, because a row of A that reads little
inside is given a large column of B (F4). A warm start raises rho too (F2). The loss need not be squared: cross-entropy has the same
law (N2). A LayerNorm fixes the norm of its output. Behind one, the mean of V stays between its value inside and rho times that. No
distance changes this (D3). A gain changes the numbers, not the bound (D4). `bayeslora geometry` asks trained adapters of a real
network the same question.

**PEFT's site hardly tells inside from outside.** `lora_dropout` acts at the input of A. As long as A outside is untouched, rho lies between
k / (k + 2) and 1 + 2 / (d - k), whatever was learnt (F5). Long training under this dropout erases the initial A. Then rho tends to
k / (k - 2) where dropout is strong or d is large (F6, F7). These bounds need an S_X in general position. Along coordinate axes the
input site is as sharp as the rank site. Adam leaves S_X with its first step, by a share that is known (S2, S4).

**Ten samples blur it further.** V is estimated from T masks. At T = 10 the estimate has a relative error of tens of percent (V1). AUROC and
rank correlation of V shrink by a known factor (V2).

**In the mean, not for each adapter.** One adapter is one draw of A. In a single direction, the side of 1 on which V lies is often
not rho's (L2). The subspace is that of the inputs that training *saw*. With few of them, fresh inputs of the same distribution lie
partly outside, and their V does not tell them from shifted ones (S3).

**False for the row space of A.** Orthogonal to the rows of A the rank site has no variance at all, at any distance (G2).

**Not what other posteriors do.** Noise of one size on A, as TFB sets it, has rho 1: it sees the length of an input only (B1). A mean-field
posterior stays below k / (k - 2), however much data it sees (B2). Laplace with all covariances has no such bound (B3). Over gates on
the rank components, dropout has Laplace's derivatives and nothing of its curvature. Its V inside does not fall with the data (B4).

**Not what an ensemble does.** Outside, MC-dropout is an ensemble of initialisations scaled by kappa. Inside, members agree because
the data decide, but the variance of MC-dropout stays (E1).

**Not what a reader of probabilities sees.** Behind a softmax the variance of a probability is bounded and may fall with the distance
(D2). Behind mean pooling it falls with the length of the text where each token has its own mask (T1). Behind attention it grows only
where the query attends to the distant token (T2). In a residual stream the next LayerNorm divides it by the squared distance (D5).
Contextual noise grows like dropout with an added distance. It is as blind outside the row space of A (C1, C2).";

/// The figures beside the table.
const FIGURES: &str = "
## Figures

![V along a ray, and growth relative to the start, by site and method](growth.svg)

V along a ray that leaves S_X, exact and sampled. Beside it, relative to its start for every method (G1, G2, C2, E1).

![V against the angle to S_X at fixed norm](angle.svg)

V at fixed norm against the angle to S_X. F1's line goes over trained adapters, with the spread of single ones (F1, D3, F4, L2).
Beside it, every method per unit of what it is inside.

![predicted against measured rho](rho.svg)

rho over the grid of F1, with 95 % intervals of the mean over initialisations.

![V of MC-dropout and of an ensemble, inside and outside](ensemble.svg)

MC-dropout against an ensemble (E1). Bars show what was predicted.

![variance of a class probability along five rays](softmax.svg)

Variance of a class probability behind a softmax (D2).
";

fn p_value(p: f64) -> String {
    if p < 1e-4 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

fn effect(decision: &Decision) -> String {
    let effect = &decision.evidence.effect;
    match effect.interval {
        Some((lower, upper)) => format!("{} {:.4} [{lower:.4}, {upper:.4}]", effect.name, effect.value),
        None => format!("{} {:.3}", effect.name, effect.value),
    }
}

fn power(decision: &Decision) -> String {
    decision.power.map_or_else(|| "–".to_owned(), |power| format!("{:.0} %", 100.0 * power))
}

/// `table.md`. Seconds are left out: the same seed gives the same bytes.
pub fn markdown(heading: &Heading, report: &Report) -> String {
    let Report { decisions, seeds, false_alarms } = report;
    let Heading { grid, seed, command } = heading;
    let mut text = format!(
        "<!-- Generated by `{command}`; do not edit. -->\n\n# Does adapter variance grow with distance from the fine-tuning \
         subspace?\n\nGrid {}, seed {seed}. p-values are corrected by Holm's method, within a claim over its comparisons \
         and over the table. A claim fails below {LEVEL}. It holds when three things are true: it was not contradicted, its power is at \
         least {:.0} %, and all its wrong variants were refuted.\n\nPower is the share of {} other seeds on which the check saw a {:.0} % \
         error in the law. A dash stands where the statement has no number that could be so far off. Wrong variants and such errors count as \
         seen at the level of the whole table: their p-values are multiplied by the number of claims. On {seeds} other seeds the quick grid \
         rejected some law as stated {false_alarms} times. The level allows one time in a hundred. The largest deviation is in standard errors of the measurement, or a share of the \
         rounding or bound that the effect names.\n\nAssumptions and derivations are in `crates/theory/DERIVATIONS.md`. Symbols of \
         this page:\n\n{SYMBOLS}\n\
         | claim | verdict | statement | corrected p | largest deviation | effect | comparisons | power |\n\
         |---|---|---|---:|---:|---|---:|---:|\n",
        match grid {
            Grid::Quick => "quick",
            Grid::Full => "full",
        },
        100.0 * POWER,
        (*seeds).min(POWER_SEEDS),
        100.0 * (ERROR_SEEN - 1.0)
    );
    for decision in decisions {
        let _ = writeln!(
            text,
            "| {} | **{}** | {} | {} | {:.2} | {} | {} | {} |",
            decision.claim.id,
            decision.verdict.word(),
            decision.claim.statement.replace('|', "\\|"),
            p_value(decision.corrected),
            decision.evidence.statistic,
            effect(decision),
            decision.evidence.comparisons,
            power(decision)
        );
    }
    // The answer stands on these claims; without them there is none.
    let stands = [
        "M2", "V1", "V2", "T1", "T2", "G1", "G2", "S1", "S2", "S4", "S3", "L1", "L2", "N1", "N2", "F1", "F2", "F3",
        "F4", "F5", "F6", "F7", "E1", "D2", "D3", "D4", "D5", "B1", "B2", "B3", "B4", "C1", "C2",
    ];
    let holds = |id: &&str| decisions.iter().any(|d| d.claim.id == *id && d.verdict == Verdict::Holds);
    if stands.iter().all(holds) {
        let _ = write!(text, "\n## In plain words\n\n{ANSWER}\n");
    }
    text.push_str(FIGURES);
    text.push_str(
        "\n## What each means, and under which assumptions\n\nDerivations are in `crates/theory/DERIVATIONS.md`.\n\n",
    );
    for decision in decisions {
        let claim = decision.claim;
        let _ = writeln!(
            text,
            "- **{}.** {}. Assumptions: {}. Checked on {} grid points: {}.",
            claim.id, claim.bearing, claim.assumptions, decision.evidence.points, decision.evidence.note
        );
    }
    for decision in decisions {
        if let Some(Values { title, columns, rows }) = &decision.evidence.values {
            let _ = write!(
                text,
                "\n### {}: {title}\n\n| {} |\n|{}\n",
                decision.claim.id,
                columns.join(" | "),
                "---:|".repeat(columns.len())
            );
            for row in rows {
                let _ = writeln!(text, "| {} |", row.join(" | "));
            }
        }
    }
    text.push_str("\n## Wrong variants\n\n| claim | variant | corrected p | refuted |\n|---|---|---:|---|\n");
    for decision in decisions {
        for refutation in &decision.refutations {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                decision.claim.id,
                refutation.variant.replace('|', "\\|"),
                p_value(refutation.p_value),
                if refutation.refuted { "yes" } else { "**no**" }
            );
        }
    }
    text
}

/// `table.csv`.
///
/// # Errors
/// [`Error::Table`] when a row cannot be encoded.
pub fn csv(Report { decisions, .. }: &Report) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| Error::Table(format!("table.csv: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = [
        "claim",
        "verdict",
        "p_value",
        "corrected_p",
        "statistic",
        "comparisons",
        "points",
        "effect",
        "value",
        "lower",
        "upper",
        "power",
        "refuted",
        "variants",
    ];
    writer.write_record(head).map_err(|error| failed(&error))?;
    for decision in decisions {
        let evidence = &decision.evidence;
        let effect = &evidence.effect;
        let (lower, upper) = effect.interval.unzip();
        let refuted = decision.refutations.iter().filter(|refutation| refutation.refuted).count();
        writer
            .serialize((
                (decision.claim.id, decision.verdict.word(), evidence.p_value, decision.corrected, evidence.statistic),
                (evidence.comparisons, evidence.points, effect.name, effect.value, lower, upper),
                (decision.power, refuted, decision.refutations.len()),
            ))
            .map_err(|error| failed(&error))?;
    }
    writer.into_inner().map_err(|error| failed(&error))
}

/// `table.tex`.
pub fn latex(heading: &Heading, Report { decisions, .. }: &Report) -> String {
    let mut text = format!(
        "% Generated by `{}`; do not edit.\n\\begin{{table}}\n\\centering\n\\caption{{Verdicts at family-wise error {LEVEL}. Power: share of \
         seeds on which a {:.0}\\,\\% error in the law was seen.}}\n\\begin{{tabular}}{{llrrrr}}\n\\toprule\nclaim & verdict & corrected \
         $p$ & largest deviation & comparisons & power \\\\\n\\midrule\n",
        heading.command,
        100.0 * (ERROR_SEEN - 1.0)
    );
    for decision in decisions {
        let _ = writeln!(
            text,
            "{} & {} & {} & {:.2} & {} & {} \\\\",
            decision.claim.id,
            decision.verdict.word(),
            p_value(decision.corrected).replace('<', "$<$"),
            decision.evidence.statistic,
            decision.evidence.comparisons,
            power(decision).replace('%', "\\%").replace('–', "--")
        );
    }
    text.push_str("\\bottomrule\n\\end{tabular}\n\\end{table}\n");
    text
}

/// `seconds.md`: what the checks took and how their loops' time grows. Not the same bytes twice.
pub fn seconds(heading: &Heading, Report { decisions, .. }: &Report, exponents: &[Exponent]) -> String {
    let mut text = format!(
        "<!-- Generated by `{}`; do not edit. -->\n\n# Time of the checks\n\nSeconds of each law as stated, wall clock. Wrong \
         variants, power and false alarms come on top, on the quick grid.\n\n| claim | seconds |\n|---|---:|\n",
        heading.command
    );
    for decision in decisions {
        let _ = writeln!(text, "| {} | {:.2} |", decision.claim.id, decision.seconds);
    }
    text.push_str(
        "\nTime of the inner loops, least of five. The exponent is that of the time in a size in which the work is linear. It is 1, or less \
         where a part that does not grow still shows.\n\n| loop | varied | sizes | milliseconds | exponent |\n|---|---|---|---|---:|\n",
    );
    let list = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(", ");
    for Exponent { of, varied, values, seconds, exponent, standard_error } in exponents {
        let _ = writeln!(
            text,
            "| {of} | {varied} | {} | {} | {exponent:.2} +- {standard_error:.2} |",
            list(&mut values.iter().map(ToString::to_string)),
            list(&mut seconds.iter().map(|seconds| format!("{:.2}", 1e3 * seconds)))
        );
    }
    text
}
