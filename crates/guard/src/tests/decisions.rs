//! Decisions are those of the rules, and a guard fails closed.

use bayeslora_metrics::guarantee::{Promise, SetScore};

use super::{answer, everything, fit, world};
use crate::{Choice, Example, Per, SetsPromise, Settings};

#[test]
fn decisions_are_those_of_the_rules_by_hand() {
    let guard = fit(world(1, 3000), everything()).unwrap();
    let (rules, mut seen) = (guard.rules(), [0; 4]);
    let (ood, sets, up_to) = (rules.ood.as_ref().unwrap(), rules.sets.as_ref().unwrap(), rules.act_up_to.unwrap());
    for example in world(2, 2000) {
        let found = guard.decide(&example);
        let far = example.distance.unwrap();
        let within = |class: usize| {
            1.0 - example.probabilities.as_ref().unwrap()[class] <= sets.thresholds.of(class).unwrap().threshold
        };
        let set: Vec<usize> = (0..3).filter(|&class| within(class)).collect();
        let (place, expected) = if far > ood.threshold {
            (0, Choice::Escalate)
        } else if example.score <= up_to {
            (1, Choice::Act)
        } else if (1..=2).contains(&set.len()) {
            (2, Choice::Ask(set.clone()))
        } else {
            (3, Choice::Escalate)
        };
        seen[place] += 1;
        assert_eq!(found.decision, expected, "{example:?}: {found:?}");
        assert!((found.ood_p.unwrap() - ood.p_value(far)).abs() < 1e-15 && !found.reasons.is_empty());
        assert!(set.is_empty() || found.set == Some(set));
    }
    assert!(seen[..3].iter().all(|&seen| seen > 20), "{seen:?}");
    let text =
        serde_json::to_string(&guard.decide(&Example { score: 0.99, distance: Some(0.1), ..world(2, 1)[0].clone() }));
    assert!(text.unwrap().contains(r#""decision":{"ask":["#));
}

#[test]
fn a_forced_set_and_a_large_one_escalate() {
    let sets = SetsPromise { alpha: 0.3, promise: Promise::Average, score: SetScore::Lac, per: Per::All, ask_up_to: 1 };
    let guard = fit(world(1, 600), Settings { sets: Some(sets), ..Settings::default() }).unwrap();
    let decide = |probabilities: [f64; 3]| {
        guard.decide(&Example {
            id: "a".into(),
            score: 0.1,
            probabilities: Some(probabilities.to_vec()),
            ..Example::default()
        })
    };
    let threshold = guard.rules().sets.as_ref().unwrap().thresholds.cutoffs[0].threshold;
    assert!((0.2..0.6).contains(&threshold), "{threshold}");
    let forced = decide([0.34, 0.33, 0.33]);
    assert_eq!((forced.decision, forced.set), (Choice::Escalate, Some(vec![0])));
    assert_eq!(forced.reasons, ["No class comes up to the threshold of the sets."]);
    assert_eq!(decide([0.9, 0.05, 0.05]).decision, Choice::Ask(vec![0]));
    let wide = SetsPromise { alpha: 0.001, ..sets };
    let wide = fit(world(1, 3000), Settings { sets: Some(wide), ..Settings::default() }).unwrap();
    let example = Example { probabilities: Some(vec![0.34, 0.33, 0.33]), ..world(2, 1)[0].clone() };
    assert_eq!(wide.decide(&example).reasons, ["The set has 3 classes, more than 1."]);
}

#[test]
fn what_is_not_finite_or_missing_escalates() {
    let guard = fit(world(1, 3000), everything()).unwrap();
    let sure = Example { score: 0.01, distance: Some(0.1), ..world(2, 1)[0].clone() };
    assert_eq!(guard.decide(&sure).decision, Choice::Act);
    let nan = f64::NAN;
    let broken: [(Example, &str); 7] = [
        (Example { score: nan, ..sure.clone() }, "The score is NaN."),
        (Example { score: f64::NEG_INFINITY, ..sure.clone() }, "The score is -inf."),
        (Example { distance: None, ..sure.clone() }, "The distance is missing."),
        (Example { distance: Some(nan), ..sure.clone() }, "The distance is NaN."),
        (
            Example { probabilities: None, ..sure.clone() },
            "There is no set: sets: id `2-0` has no probability; sets need it.",
        ),
        (Example { probabilities: Some(vec![nan, 0.5, 0.5]), ..sure.clone() }, "The probability of a class is NaN."),
        (
            Example { probabilities: Some(vec![0.5, 0.5]), ..sure.clone() },
            "There is no set: rule sets: class scores has 2 entries",
        ),
    ];
    for (example, reason) in broken {
        let found = guard.decide(&example);
        assert_eq!(found.decision, Choice::Escalate);
        assert!(found.reasons.iter().any(|found| found.starts_with(reason)), "{:?}", found.reasons);
    }
    let answers = fit(world(1, 3000), answer(0.05, 0.1)).unwrap();
    assert_eq!(answers.decide(&Example { probabilities: Some(vec![nan; 3]), ..sure }).decision, Choice::Escalate);
}

#[test]
fn kinds_of_input_have_their_own_thresholds_and_unknown_ones_escalate() {
    let score = SetScore::Raps { penalty: 0.01, free: 1 };
    let sets = SetsPromise { alpha: 0.1, promise: Promise::Average, score, per: Per::Stratum, ask_up_to: 3 };
    let guard = fit(world(1, 1000), Settings { sets: Some(sets), ..Settings::default() }).unwrap();
    assert_eq!((guard.rules().sets.as_ref().unwrap().kinds.clone()), ["de", "en"]);
    let example = Example { stratum: Some("fr".into()), ..world(2, 1)[0].clone() };
    let found = guard.decide(&example);
    assert_eq!(found.decision, Choice::Escalate);
    assert!(found.reasons[0].contains("is of the kind `fr`, of which there was none"), "{:?}", found.reasons);
    let checked = guard.check(world(5, 1000), 0.05).unwrap();
    assert!(!checked.is_refuted() && checked.verdicts.len() == 2, "{:?}", checked.verdicts);
    assert_eq!(checked.verdicts.iter().map(|verdict| verdict.of).sum::<usize>(), 1000);
}
