//! Promises hold in drawn calibrations, and false ones are refuted.

use bayeslora_metrics::guarantee::{Promise, binomial_cdf, largest_count, uniform};

use super::{answer, everything, fit, refusal, subject, world};
use crate::{Calibration, Example, Guard, Settings, TotalPromise};

/// Risk among answers up to a score, the mean of `u^3 / 2`.
fn risk_up_to(threshold: f64) -> f64 {
    threshold.min(1.0).powi(3) / 8.0
}

#[test]
fn promises_are_broken_in_no_more_calibrations_than_said() {
    let (runs, delta) = (200, 0.1);
    let total = TotalPromise { risk: 0.02, promise: Promise::Pac { delta } };
    let (mut broken, mut refuted, mut answering) = ([0; 2], 0, 0);
    for seed in 0..runs {
        let calibration = world(seed, 600);
        if let Ok(guard) = fit(calibration.clone(), answer(0.05, delta)) {
            let threshold = guard.rules().act_up_to.unwrap();
            answering += 1;
            broken[0] += usize::from(risk_up_to(threshold) > 0.05);
            refuted += usize::from(guard.check(world(1000 + seed, 400), delta).unwrap().is_refuted());
        }
        let guard = fit(calibration, Settings { total: Some(total), ..Settings::default() }).unwrap();
        let threshold = guard.rules().act_up_to.unwrap();
        broken[1] += usize::from(risk_up_to(threshold) * threshold.min(1.0) > 0.02);
    }
    // As many or more would be seen in one test of ten thousand if the promise held just so.
    let most = (0..200).find(|&most| 1.0 - binomial_cdf(most, 200, delta).unwrap() < 1e-4).unwrap();
    assert!(broken.iter().all(|&broken| broken <= most), "{broken:?} of {runs}, at most {most}");
    assert!(answering > 150, "{answering}");
    // A check refutes a promise that holds in at most delta of checks, and fewer hold just so.
    assert!(refuted <= most, "{refuted}");
}

#[test]
fn a_risk_just_above_the_promise_is_certified_in_no_more_calibrations_than_said() {
    // 5.5 % are wrong whatever the score: any certificate of 5 % is a broken promise.
    let flat = |seed| {
        let example = |example: Example| {
            let number = example.id.split_once('-').and_then(|(_, number)| number.parse().ok()).unwrap();
            Example { wrong: Some(uniform(seed * 8 + 5, number) < 0.055), ..example }
        };
        world(seed, 600).into_iter().map(example).collect::<Vec<_>>()
    };
    let broken = (0..200).filter(|&seed| fit(flat(seed), answer(0.05, 0.1)).is_ok()).count();
    let most = (0..200).find(|&most| 1.0 - binomial_cdf(most, 200, 0.1).unwrap() < 1e-4).unwrap();
    assert!(broken <= most, "{broken} of 200, at most {most}");
}

#[test]
fn the_naive_threshold_breaks_the_promise_that_the_rule_keeps() {
    // The largest threshold whose own calibration risk meets the target.
    let naive = |seed| {
        let mut examples = world(seed, 600);
        examples.sort_by(|a, b| a.score.total_cmp(&b.score));
        let (mut wrong, mut best) = (0, 0.0);
        for (place, example) in examples.iter().enumerate() {
            wrong += usize::from(example.wrong == Some(true));
            if wrong as f64 <= 0.05 * (place + 1) as f64 {
                best = example.score;
            }
        }
        best
    };
    let broken = (0..200).filter(|&seed| risk_up_to(naive(seed)) > 0.05).count();
    assert!(broken > 80, "{broken} of 200");
}

#[test]
fn a_false_promise_is_refuted() {
    let guard = fit(world(1, 3000), everything()).unwrap();
    let fresh = guard.check(world(2, 2000), 0.05).unwrap();
    assert!(!fresh.is_refuted(), "{:?}", fresh.verdicts);
    assert_eq!(
        fresh.verdicts.iter().map(|verdict| verdict.rule.as_str()).collect::<Vec<_>>(),
        ["ood", "answer", "total", "sets[0]", "sets[1]", "sets[2]"]
    );
    let (coverage, risk) = (fresh.coverage.unwrap(), fresh.risk.unwrap());
    assert_eq!((fresh.kept, coverage.of, coverage.count), (2000, 2000, risk.of));
    assert_eq!(coverage.count + fresh.asked + fresh.escalated, 2000);
    assert_eq!(fresh.per_class.iter().map(|class| class.risk.unwrap().count).sum::<usize>(), risk.count);
    // Every fourth answer is wrong.
    let mut changed = world(2, 2000);
    for example in changed.iter_mut().step_by(4) {
        example.wrong = Some(true);
    }
    let found = guard.check(changed, 0.05).unwrap();
    let refuted: Vec<&str> = found.verdicts.iter().filter(|v| v.refuted).map(|v| v.rule.as_str()).collect();
    assert_eq!(refuted, ["answer", "total"]);
    // One example that the guard was fitted to is enough, whichever part of it that was.
    for place in 0..9 {
        let known = world(1, 3000).swap_remove(place);
        let own = guard.check([world(2, 50), vec![known]].concat(), 0.05).unwrap_err().to_string();
        assert!(own.contains("is an example that the guard was fitted to"), "{own}");
    }
    // So is one of a grid of its own.
    let calibration = Calibration::new(world(1, 3000)).unwrap();
    let apart = Guard::fit(calibration, Some(world(5, 500)), everything(), subject(), &[]).unwrap();
    for seed in [1, 5] {
        let own = apart.check([world(2, 50), world(seed, 1)].concat(), 0.05).unwrap_err().to_string();
        assert!(own.contains(&format!("id `{seed}-0` is an example that the guard was fitted to")), "{own}");
    }
    let mut nowhere = world(2, 50);
    nowhere[9].distance = None;
    let far = guard.check(nowhere, 0.05).unwrap_err().to_string();
    assert!(far.starts_with("test: id `") && far.ends_with("has no distance, which rule ood needs"), "{far}");
    let missing = vec![Example { id: "a".into(), ..Example::default() }];
    let missing = guard.check(missing, 0.05).unwrap_err().to_string();
    assert_eq!(missing, "test: id `a` has no verdict; give its label, or whether it is correct");
    assert_eq!(guard.check(vec![], 0.05).unwrap_err().to_string(), "test: has no examples; give at least one");
}

#[test]
fn both_rules_about_errors_hold_together_or_not_at_all() {
    let total = |risk| TotalPromise { risk, promise: Promise::Pac { delta: 0.1 } };
    let guard = fit(world(3, 3000), Settings { total: Some(total(0.005)), ..answer(0.05, 0.1) }).unwrap();
    let (rules, up_to) = (guard.rules(), guard.rules().act_up_to.unwrap());
    let tests = &rules.answer.as_ref().unwrap().tests;
    assert!(tests.iter().any(|test| test.is_certified && test.threshold.to_bits() == up_to.to_bits()));
    assert!(
        up_to <= rules.total.unwrap().threshold && up_to < tests.iter().rfind(|t| t.is_certified).unwrap().threshold
    );
    // Of the most certain 3 % every fifth is wrong: the total stops there, the answers go on.
    let mut tip = world(3, 3000);
    for (place, example) in tip.iter_mut().enumerate() {
        if example.score < 0.03 {
            example.wrong = Some(place % 5 == 0);
        }
    }
    let refused = refusal(tip, Settings { total: Some(total(0.002)), ..answer(0.05, 0.1) });
    assert!(refused.starts_with("rule total accepts scores up to 0.0"), "{refused}");
    assert!(refused.ends_with("; promise a larger total, or one of the two"), "{refused}");
}

#[test]
fn a_looser_promise_answers_no_less() {
    let covered = |risk| fit(world(4, 1500), answer(risk, 0.1)).map_or(0.0, |guard| guard.rules().act_up_to.unwrap());
    let found = [0.01, 0.02, 0.04, 0.08].map(covered);
    assert!(found[0] < found[3] && found.iter().all(|found| *found < 2.0), "{found:?}");
    assert!(largest_count(1500, 0.01, 0.1).unwrap().is_some());
}
