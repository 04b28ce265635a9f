//! The promises, simulated: thousands of calibrations on risks that are known exactly. Each has a wrong variant that must be refuted.

use super::binomial::{cdf, lower_bound};
use super::{Answer, Cutoff, Outlier, Promise, RiskWatch, Total, allowed_above, coverages, thresholds};
use crate::random::SplitMix64;

const CALIBRATIONS: u32 = 2000;

/// The most broken promises of 2,000 that a probability of `delta` explains: more have a probability of 1e-3.
fn most_broken(delta: f64) -> usize {
    let runs = CALIBRATIONS as usize;
    (0..=runs).find(|&broken| cdf(broken, runs, delta) >= 0.999).unwrap_or(runs)
}

/// How the risk depends on the score, which is uniform in `[0, 1]`.
#[derive(Debug, Clone, Copy)]
enum Curve {
    /// `0.3 u^2`: the risk up to `u` is `0.1 u^2`.
    Monotone,
    /// 12 % among the most confident 3 %, then `0.005 + 0.2 u^2`.
    Tip,
    /// 5.02 % everywhere.
    Flat,
}

const TIP: f64 = 0.03;

impl Curve {
    fn risk_at(self, u: f64) -> f64 {
        match self {
            Self::Monotone => 0.3 * u * u,
            Self::Tip if u < TIP => 0.12,
            Self::Tip => 0.005 + 0.2 * u * u,
            Self::Flat => 0.0502,
        }
    }

    /// Share of inputs that are accepted up to `u` and wrong.
    fn joint_up_to(self, u: f64) -> f64 {
        match self {
            Self::Monotone => 0.1 * u.powi(3),
            Self::Tip if u < TIP => 0.12 * u,
            Self::Tip => 0.12 * TIP + 0.005 * (u - TIP) + 0.2 / 3.0 * (u.powi(3) - TIP.powi(3)),
            Self::Flat => 0.0502 * u,
        }
    }

    fn calibration(self, n: u32, random: &mut SplitMix64) -> (Vec<f64>, Vec<bool>) {
        let scores: Vec<f64> = (0..n).map(|_| random.open_unit()).collect();
        let wrong = scores.iter().map(|&score| random.open_unit() < self.risk_at(score)).collect();
        (scores, wrong)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of 2,000 calibrations of the rule "answer": how many break the promise of 5 %, and the mean coverage.
fn answered(
    curve: Curve,
    n: u32,
    delta: f64,
    choose: impl Fn(&Answer, &[f64], &[bool]) -> Option<f64>,
) -> (usize, f64) {
    let (mut broken, mut coverage) = (0, Vec::new());
    for run in 0..CALIBRATIONS {
        let mut random = SplitMix64::keyed(31, u64::from(n), run);
        let grid: Vec<f64> = (0..n).map(|_| random.open_unit()).collect();
        let (scores, wrong) = curve.calibration(n, &mut random);
        let candidates = thresholds(&grid, &coverages(scores.len(), 0.05, delta).unwrap()).unwrap();
        let rule = Answer::fit(&candidates, &scores, &wrong, 0.05, delta).unwrap();
        let threshold = choose(&rule, &scores, &wrong);
        broken += usize::from(threshold.is_some_and(|t| curve.joint_up_to(t) > 0.05 * t));
        coverage.push(threshold.unwrap_or(0.0));
    }
    (broken, mean(&coverage))
}

fn certified(rule: &Answer, _: &[f64], _: &[bool]) -> Option<f64> {
    rule.certified().map(|test| test.threshold)
}

#[test]
fn the_risk_among_answers_is_kept_on_every_curve() {
    for curve in [Curve::Monotone, Curve::Tip, Curve::Flat] {
        for (n, delta) in [(100, 0.1), (300, 0.1), (1000, 0.1), (1000, 0.05)] {
            let (broken, coverage) = answered(curve, n, delta, certified);
            eprintln!("answer {curve:?}, n {n}, delta {delta}: {broken} broken, coverage {coverage:.3}");
            assert!(broken <= most_broken(delta), "{curve:?}, {n}, {delta}: {broken}");
        }
    }
}

#[test]
fn the_threshold_where_the_calibration_risk_meets_the_target_is_refuted() {
    let naive = |_: &Answer, scores: &[f64], wrong: &[bool]| {
        let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(wrong.iter().copied()).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut errors, mut best) = (0.0, None);
        for (place, (score, wrong)) in order.into_iter().enumerate() {
            errors += f64::from(u8::from(wrong));
            if errors <= 0.05 * (place + 1) as f64 {
                best = Some(score);
            }
        }
        best
    };
    for curve in [Curve::Monotone, Curve::Tip, Curve::Flat] {
        let (broken, _) = answered(curve, 1000, 0.1, naive);
        eprintln!("naive {curve:?}: {broken} broken");
        assert!(broken > most_broken(0.1), "{curve:?}: {broken}");
    }
}

#[test]
fn a_fixed_sequence_of_tests_stops_at_an_overconfident_tip_and_fallback_does_not() {
    let sequence = |rule: &Answer, _: &[f64], _: &[bool]| {
        rule.tests.iter().take_while(|test| test.p_value <= rule.delta).last().map(|test| test.threshold)
    };
    let [single, fallback] =
        [answered(Curve::Monotone, 1000, 0.1, sequence).1, answered(Curve::Monotone, 1000, 0.1, certified).1];
    eprintln!("monotone at 1,000: fixed sequence {single:.3}, fallback {fallback:.3}");
    assert!(fallback > single - 0.05, "what it costs without a tip: {single}, {fallback}");
    let (_, stopped) = answered(Curve::Tip, 3000, 0.1, sequence);
    let (broken, coverage) = answered(Curve::Tip, 3000, 0.1, certified);
    eprintln!("tip at 3,000: fixed sequence {stopped:.3}, fallback {coverage:.3}, {broken} broken");
    assert!(stopped < 0.01 && coverage > 0.6 && broken <= most_broken(0.1));
}

#[test]
fn the_joint_risk_is_kept_for_all_but_a_share_of_calibrations_or_on_average() {
    for curve in [Curve::Monotone, Curve::Tip, Curve::Flat] {
        for (promise, risk) in [(Promise::Pac { delta: 0.1 }, 0.03), (Promise::Average, 0.03)] {
            let joint: Vec<f64> = (0..CALIBRATIONS)
                .map(|run| {
                    let (scores, wrong) = curve.calibration(500, &mut SplitMix64::keyed(32, 0, run));
                    curve.joint_up_to(Total::fit(&scores, &wrong, risk, promise).unwrap().threshold.min(1.0))
                })
                .collect();
            let broken = joint.iter().filter(|&&joint| joint > risk).count();
            eprintln!("total {curve:?}, {promise:?}: {broken} broken, mean {:.4}", mean(&joint));
            match promise {
                Promise::Pac { delta } => assert!(broken <= most_broken(delta), "{curve:?}: {broken}"),
                Promise::Average => {
                    // Its standard deviation is about the root of 0.03 / 500.
                    assert!(mean(&joint) <= risk + 4.0 * (risk / 500.0 / f64::from(CALIBRATIONS)).sqrt());
                    assert!(broken > most_broken(0.1), "{curve:?}: on average only, {broken}");
                }
            }
        }
    }
}

/// The true coverage of sets in 2,000 calibrations with uniform scores, where `threshold` is chosen from them.
fn covered(n: u32, threshold: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let scores = |run| {
        let mut random = SplitMix64::keyed(33, u64::from(n), run);
        (0..n).map(|_| random.open_unit()).collect::<Vec<_>>()
    };
    (0..CALIBRATIONS).map(|run| threshold(&scores(run))).collect()
}

#[test]
fn sets_cover_as_promised_and_a_clamped_rank_is_refuted() {
    let fitted = |promise| move |scores: &[f64]| Cutoff::fit(scores, 0.1, promise).unwrap().threshold;
    for n in [9, 25, 100] {
        let coverage = covered(n, fitted(Promise::Average));
        let error = (0.09 / f64::from(n + 2) / f64::from(CALIBRATIONS)).sqrt();
        assert!(mean(&coverage) >= 0.9 - 4.0 * error, "{n}: {}", mean(&coverage));
    }
    let broken = |coverage: &[f64]| coverage.iter().filter(|&&coverage| coverage < 0.9).count();
    let on_average = covered(100, fitted(Promise::Average));
    let pac = covered(100, fitted(Promise::Pac { delta: 0.1 }));
    assert!(broken(&pac) <= most_broken(0.1) && broken(&on_average) > most_broken(0.1), "{}", broken(&pac));
    // Eight examples know no 90 %.
    assert!(allowed_above(8, 0.1, Promise::Average).is_err());
    let clamped = covered(8, |scores| scores.iter().copied().fold(0.0, f64::max));
    eprintln!(
        "clamped rank: coverage {:.4}; broken: average {}, pac {}",
        mean(&clamped),
        broken(&on_average),
        broken(&pac)
    );
    // The largest of eight has variance 8 / (81 10).
    assert!(mean(&clamped) < 0.9 - 4.0 * (8.0 / 810.0 / f64::from(CALIBRATIONS)).sqrt());
}

#[test]
fn inputs_sent_away_are_no_more_than_promised() {
    let sent = covered(59, |scores| 1.0 - Outlier::fit(scores, 0.05).unwrap().threshold);
    assert!(mean(&sent) <= 0.05 + 4.0 * (0.0475 / 61.0 / f64::from(CALIBRATIONS)).sqrt(), "{}", mean(&sent));
    assert!(mean(&sent) > 0.04);
}

#[test]
fn evidence_may_be_looked_at_after_every_label_and_a_test_of_fixed_size_may_not() {
    let runs = 500;
    let (mut watched, mut tested, mut found) = (0, 0, 0);
    for run in 0..runs {
        let mut random = SplitMix64::keyed(34, 0, run);
        let wrong: Vec<bool> = (0..500).map(|_| random.open_unit() < 0.05).collect();
        let mut watch = RiskWatch::new(0.05, 0.05).unwrap();
        watched += usize::from(wrong.iter().any(|&wrong| watch.observe(wrong)));
        let mut counts = [0, 0];
        tested += usize::from(wrong.iter().any(|&wrong| {
            counts = [counts[0] + usize::from(wrong), counts[1] + 1];
            // P(Bin(n, r) >= k), the p-value at a number of labels fixed beforehand.
            counts[0] > 0 && 1.0 - cdf(counts[0] - 1, counts[1], 0.05) <= 0.05
        }));
        let mut watch = RiskWatch::new(0.05, 0.05).unwrap();
        found += usize::from((0..500).any(|_| watch.observe(random.open_unit() < 0.15)));
    }
    eprintln!("alarms of 500: watch {watched}, test of fixed size {tested}, at three times the risk {found}");
    let at_least = |alarms| lower_bound(alarms, runs as usize, 1e-3).unwrap();
    assert!(at_least(watched) <= 0.05 && at_least(tested) > 0.05, "{watched}, {tested}");
    assert!(found > 490, "{found}");
}
