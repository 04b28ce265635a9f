//! Whole guards on drawn data: promises kept, refusals by their messages, decisions, files and watches.

use bayeslora_metrics::guarantee::{Promise, SetScore, uniform};
use serde_json::json;

use crate::{AnswerPromise, Calibration, Example, Guard, Per, Score, SetsPromise, Settings, Subject, TotalPromise};

mod decisions;
mod files;
mod promises;
mod refusals;
mod watches;

/// A world where a prediction of uncertainty `u`, uniform in (0, 1), is wrong with probability `u^3 / 2`.
fn world(seed: u64, n: u64) -> Vec<Example> {
    let example = |n: u64| {
        let [score, luck, far] = [0, 1, 2].map(|stream| uniform(seed * 8 + stream, n));
        let is_wrong = luck < score.powi(3) / 2.0;
        // The predicted class is 0, 1 or 2 by turns.
        let predicted = usize::try_from(n % 3).unwrap();
        let others = score / 2.0;
        let mut probabilities = vec![others / 2.0; 3];
        probabilities[predicted] = 1.0 - others;
        let label = if is_wrong { (predicted + 1) % 3 } else { predicted };
        Example {
            id: format!("{seed}-{n}"),
            stratum: Some(["de", "en"][usize::from(n % 5 < 3)].to_owned()),
            score,
            distance: Some(far),
            probabilities: Some(probabilities),
            label: Some(label),
            wrong: Some(is_wrong),
            ..Example::default()
        }
    };
    (0..n).map(example).collect()
}

fn subject() -> Subject {
    Subject {
        model: "m".into(),
        adapter: Some("a".into()),
        classes: ["x", "y", "z"].map(str::to_owned).to_vec(),
        inference: json!({"samples": 8, "coupling": {"b": 1, "a": 0.1}}),
        score: Score::new("predictive-entropy"),
    }
}

fn answer(risk: f64, delta: f64) -> Settings {
    Settings { answer: Some(AnswerPromise { risk, delta }), ..Settings::default() }
}

fn everything() -> Settings {
    let pac = Promise::Pac { delta: 0.1 };
    let sets = SetsPromise { alpha: 0.1, promise: pac, score: SetScore::Lac, per: Per::Class, ask_up_to: 2 };
    let total = TotalPromise { risk: 0.05, promise: pac };
    Settings { total: Some(total), sets: Some(sets), ood: Some(0.05), ..answer(0.05, 0.1) }
}

fn fit(examples: Vec<Example>, settings: Settings) -> crate::Result<Guard> {
    Guard::fit(Calibration::new(examples)?, None, settings, subject(), &[])
}

fn refusal(examples: Vec<Example>, settings: Settings) -> String {
    fit(examples, settings).unwrap_err().to_string()
}
