//! Every refusal of a fit, by its message.

use std::collections::BTreeSet;

use bayeslora_metrics::guarantee::{Promise, SetScore};

use super::{answer, everything, fit, refusal, subject, world};
use crate::{Calibration, Example, Guard, Per, SetsPromise, Settings, TotalPromise, Used};

#[test]
fn too_few_examples_say_how_many_would_do() {
    assert_eq!(
        refusal(world(1, 60), answer(0.05, 0.05)),
        "rule answer: 52 examples are left of 60, at least 59 are needed; label about 69 in all, or promise less"
    );
    let total = TotalPromise { risk: 0.01, promise: Promise::Average };
    let total = Settings { total: Some(total), ..Settings::default() };
    assert!(
        refusal(world(1, 60), total).starts_with("rule total: 52 examples are left of 60, at least 99 are needed;")
    );
    let sets = |per| {
        let promise = SetsPromise { alpha: 0.05, promise: Promise::Average, score: SetScore::Lac, per, ask_up_to: 2 };
        Settings { sets: Some(promise), ..Settings::default() }
    };
    assert!(refusal(world(1, 15), sets(Per::All)).contains("at least 19 are needed"));
    let refused = refusal(world(1, 20), sets(Per::Class));
    assert!(refused.contains("needed in each class or kind with a threshold of its own"), "{refused}");
    let ood = Settings { ood: Some(0.05), ..answer(0.2, 0.2) };
    assert_eq!(
        refusal(world(1, 60), ood),
        "rule ood: 8 examples are left of 60, at least 19 are needed in the grid; label about 143 in all, or promise less"
    );
}

#[test]
fn where_nothing_is_certified_the_table_and_the_missing_labels_are_shown() {
    let mut examples = world(1, 300);
    for (place, example) in examples.iter_mut().enumerate() {
        example.wrong = Some(place % 25 == 0);
    }
    let refused = refusal(examples.clone(), answer(0.05, 0.05));
    let lines: Vec<&str> = refused.lines().collect();
    assert_eq!(lines[0], "rule answer: no threshold is certified at a risk of 0.05.");
    assert_eq!(lines[1], " threshold  accepted  wrong  p-value  level");
    assert!(lines.len() > 5, "{refused}");
    let last = lines[lines.len() - 1];
    assert!(
        last.starts_with("The closest is ") && last.ends_with("calibration labels more would do at this rate."),
        "{last}"
    );
    for example in &mut examples {
        example.wrong = Some(example.id.ends_with('1') || example.id.ends_with('3'));
    }
    assert!(refusal(examples, answer(0.05, 0.05)).ends_with("promise more risk, or take a better score."));
}

#[test]
fn data_that_do_not_fit_or_made_the_model_are_refused() {
    let with = |change: fn(&mut Example)| {
        let mut examples = world(1, 600);
        change(&mut examples[7]);
        refusal(examples, answer(0.05, 0.05))
    };
    let start = "calibration: id `1-7` has";
    assert_eq!(with(|example| example.label = Some(3)), format!("{start} the label 3, expected a class below 3"));
    assert_eq!(
        with(|example| example.probabilities = Some(vec![0.5, 0.5])),
        format!("{start} 2 probabilities, expected 3 as there are classes")
    );
    let mut lost = world(1, 600);
    lost[9].probabilities = None;
    assert_eq!(refusal(lost, everything()), "sets: id `1-9` has no probability; sets need it");
    let calibration = Calibration::new(world(1, 600)).unwrap();
    let used = |used: Used| {
        let used = [Used { name: "the training set".into(), ..used }];
        Guard::fit(calibration.clone(), None, answer(0.05, 0.05), subject(), &used).unwrap_err().to_string()
    };
    assert_eq!(
        used(Used { digest: Some(calibration.digest().to_owned()), ..Used::default() }),
        "the calibration data are those of the training set; what a model was made with says nothing of its errors: \
         label other examples"
    );
    let mut examples = world(1, 600);
    examples[5].sha256 = Some("5e".repeat(32));
    let calibration = Calibration::new(examples).unwrap();
    let used = [Used { name: "validation".into(), texts: BTreeSet::from(["5e".repeat(32)]), digest: None }];
    let refused = Guard::fit(calibration, None, answer(0.05, 0.05), subject(), &used).unwrap_err().to_string();
    assert_eq!(
        refused,
        "the text of calibration example `1-5` is also in validation; leave out what a model was made with"
    );
}

#[test]
fn a_group_counts_once() {
    let mut examples = world(1, 3000);
    for (place, example) in examples.iter_mut().enumerate() {
        example.group = Some((place / 3).to_string());
    }
    let guard = fit(examples, answer(0.05, 0.1)).unwrap();
    let data = guard.data();
    assert_eq!((data.calibration.given, data.calibration.kept + data.grid.kept), (3000, 1000));
}

#[test]
fn a_grid_of_its_own_leaves_every_label_to_calibration() {
    let calibration = Calibration::new(world(1, 1000)).unwrap();
    let unlabelled = world(2, 500).into_iter().map(|example| Example { wrong: None, label: None, ..example });
    let guard = Guard::fit(calibration, Some(unlabelled.collect()), answer(0.05, 0.1), subject(), &[]).unwrap();
    assert_eq!((guard.data().calibration.kept, guard.data().grid.kept), (1000, 500));
}
