//! `bayeslora guard fit`.

use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_guard::{
    AnswerPromise, Calibration, Guard, Per, Promise, ScoreName, SetScore, SetsPromise, Settings, TotalPromise, Used,
};

use super::examples;
use crate::commands::print_line;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Labelled predictions that served neither training, stopping, tuning, temperature nor the choice of the score: a folder or a file of JSON
    /// lines.
    #[arg(long, value_name = "PATH")]
    predictions: PathBuf,
    /// Other predictions, labelled or not, that fix the thresholds to be tested [default: a fifth of the calibration, by hashed ids].
    #[arg(long, value_name = "PATH")]
    grid: Option<PathBuf>,
    /// Predictions on what made the model, such as validation: refused among the calibration, by digest and by hashes of texts.
    #[arg(long, value_name = "PATH")]
    used: Vec<PathBuf>,
    /// What orders the examples, larger = more uncertain: predictive-entropy, one-minus-max, mutual-information or score.NAME.
    #[arg(long, default_value = "predictive-entropy")]
    score: ScoreName,
    /// At most this share of the answers is wrong.
    #[arg(long, value_name = "RISK")]
    answer: Option<f64>,
    /// At most this share of all inputs is answered and wrong.
    #[arg(long, value_name = "RISK")]
    total: Option<f64>,
    /// Promise the total risk on average over calibrations, not for all but a share of them.
    #[arg(long, requires = "total")]
    expected: bool,
    /// The label is in the set that is asked about, with this probability.
    #[arg(long, value_name = "COVERAGE")]
    sets: Option<f64>,
    /// Promise the sets for all but a share of calibrations, not on average over them.
    #[arg(long, requires = "sets")]
    pac: bool,
    /// Of what the sets are promised: all inputs together, or each class.
    #[arg(long, requires = "sets", default_value = "all", value_parser = ["all", "class"])]
    per: String,
    /// Sets of more classes are not asked about.
    #[arg(long, requires = "sets", default_value_t = 3, value_name = "CLASSES")]
    ask_up_to: usize,
    /// At most this share of inputs like those of calibration is sent away as foreign.
    #[arg(long, value_name = "SHARE", requires = "distance")]
    ood: Option<f64>,
    /// The score of the predictions that says how foreign an input is, by its name.
    #[arg(long, value_name = "NAME", requires = "ood")]
    distance: Option<String>,
    /// Share of calibrations that may be unlucky.
    #[arg(long, default_value_t = 0.05)]
    delta: f64,
    /// File of the guard.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Arguments {
    fn settings(&self) -> Settings {
        let pac = Promise::Pac { delta: self.delta };
        let promise = |on_average| if on_average { Promise::Average } else { pac };
        Settings {
            answer: self.answer.map(|risk| AnswerPromise { risk, delta: self.delta }),
            total: self.total.map(|risk| TotalPromise { risk, promise: promise(self.expected) }),
            sets: self.sets.map(|coverage| SetsPromise {
                alpha: 1.0 - coverage,
                promise: promise(!self.pac),
                score: SetScore::Lac,
                per: if self.per == "class" { Per::Class } else { Per::All },
                ask_up_to: self.ask_up_to,
            }),
            ood: self.ood,
            ..Settings::default()
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = arguments.settings();
    settings.check()?;
    let distance = arguments.distance.as_deref();
    let (calibration, subject) = examples(&arguments.predictions, &arguments.score, distance)?;
    let grid = match &arguments.grid {
        Some(path) => {
            let (grid, of_grid) = examples(path, &arguments.score, distance)?;
            subject.check(&of_grid).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            Some(grid)
        }
        None => None,
    };
    let named = |error: bayeslora_guard::Error| anyhow::anyhow!("{}: {error}", arguments.predictions.display());
    let calibration = Calibration::new(calibration).map_err(named)?;
    let of_model = |path: &PathBuf| -> anyhow::Result<Used> {
        Ok(Used::of(path.display().to_string(), &examples(path, &arguments.score, distance)?.0))
    };
    let used = arguments.used.iter().map(of_model).collect::<anyhow::Result<Vec<Used>>>()?;
    let guard = Guard::fit(calibration, grid, settings, subject, &used).map_err(named)?;
    guard.write(&arguments.output)?;
    for guarantee in guard.guarantees() {
        print_line(&guarantee.sentence)?;
    }
    print_line(arguments.output.display())?;
    Ok(ExitCode::SUCCESS)
}
