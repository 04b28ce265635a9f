use super::*;
use crate::random::SplitMix64;

/// Probability that `reached(capital)` ever holds within `horizon` observations that are `up` with probability
/// `down / (up + down)` and `-down` otherwise, so that their mean is 0. Exact: the capital depends on the counts alone.
fn exact_error(up: f64, down: f64, horizon: usize, reached: impl Fn(&Capital) -> bool) -> f64 {
    let rise = down / (up + down);
    let mut states = vec![(Capital::default(), 1.0)];
    let mut error = 0.0;
    for _ in 0..horizon {
        let mut next = vec![(Capital::default(), 0.0); states.len() + 1];
        for (ups, (capital, mass)) in states.iter().enumerate() {
            let mut worse = *capital;
            worse.pay(-down);
            next[ups].0 = worse;
            next[ups].1 += mass * (1.0 - rise);
            let mut better = *capital;
            better.pay(up);
            next[ups + 1].0 = better;
            next[ups + 1].1 += mass * rise;
        }
        for (capital, mass) in &mut next {
            if reached(capital) {
                error += std::mem::take(mass);
            }
        }
        states = next;
    }
    error
}

#[test]
fn error_is_at_most_alpha_exactly() {
    for alpha in [0.3, 0.05, 0.01] {
        let decider = Decider::new(2, alpha, 1).unwrap();
        let mut largest: f64 = 0.0;
        // Fair coins, and coins whose rare side is far out: those that a test by the variance seen so far falls for.
        for (up, down) in [(1.0, 1.0), (0.1, 0.1), (0.05, 0.95), (0.01, 0.99), (0.3, 0.9), (0.9, 0.1), (1.0, 0.02)] {
            let error = exact_error(up, down, 400, |capital| capital.log() >= decider.log_threshold);
            assert!(error <= alpha, "{error} at {alpha} for {up} and -{down}");
            largest = largest.max(error);
        }
        assert!(largest > alpha / 4.0, "{largest} at {alpha}: no power left");
        // Taking the best bet with hindsight is refuted.
        let hindsight = exact_error(1.0, 1.0, 400, |capital| {
            capital.0.iter().copied().fold(f64::NEG_INFINITY, f64::max) >= decider.log_threshold
        });
        assert!(hindsight > alpha, "{hindsight} at {alpha}");
    }
}

/// Uniform on the unit interval.
fn uniform(random: &mut SplitMix64) -> f64 {
    random.below(1 << 53) as f64 / (1_u64 << 53) as f64
}

/// Share of `runs` in which a wrong class is decided when the means of the first two of `classes` classes are equal and those of
/// the others lower: `draw` gives one sample.
fn simulated_error(classes: usize, group: u32, runs: u32, draw: impl Fn(&mut SplitMix64) -> Vec<f64>) -> f64 {
    let mut wrong = 0;
    for run in 0..runs {
        let mut random = SplitMix64::keyed(5, classes as u64, run);
        let mut decider = Decider::new(classes, 0.1, group).unwrap();
        for _ in 0..200 {
            decider.observe(&draw(&mut random)).unwrap();
        }
        // Class 0 is the largest (on a tie, say): deciding for another is the error.
        wrong += u32::from(decider.decided().is_some_and(|class| class != 0));
    }
    f64::from(wrong) / f64::from(runs)
}

#[test]
fn error_is_at_most_alpha_in_simulation() {
    const RUNS: u32 = 4000;
    // A share of at most 0.1 exceeds this with probability 1e-6 (4.75 standard errors).
    let bound = 0.1 + 4.75 * (0.1_f64 * 0.9 / f64::from(RUNS)).sqrt();
    let two = |p: f64| vec![p, 1.0 - p];
    let symmetric = simulated_error(2, 1, RUNS, |random| two(uniform(random)));
    // Class 1 at 0.55 nine times of ten, at 0.05 otherwise: its mean is 1/2.
    let skewed = simulated_error(2, 1, RUNS, |random| two(if uniform(random) < 0.9 { 0.45 } else { 0.95 }));
    let three = simulated_error(3, 1, RUNS, |random| {
        let (u, third) = (uniform(random), 0.2 * uniform(random));
        vec![u * (1.0 - third), (1.0 - u) * (1.0 - third), third]
    });
    // Pairs that are equal: as one observation each they keep the level, as two they must break it.
    let coupled = |group| {
        let last = std::cell::Cell::new(None);
        simulated_error(2, group, RUNS, move |random| {
            let p = last.take().unwrap_or_else(|| {
                let p = f64::from(u32::from(uniform(random) < 0.5));
                last.set(Some(p));
                p
            });
            two(p)
        })
    };
    for (name, error) in [("symmetric", symmetric), ("skewed", skewed), ("three", three), ("pairs", coupled(2))] {
        assert!(error <= bound, "{name}: {error}");
    }
    assert!(coupled(1) > bound, "{}", coupled(1));
}

#[test]
fn stopping_times_are_those_of_the_capital() {
    let time = |lead: f64, alpha: f64, group: u32| {
        let mut decider = Decider::new(2, alpha, group).unwrap();
        let sample = [f64::midpoint(1.0, lead), f64::midpoint(1.0, -lead)];
        (1..=10_000).find(|_| decider.observe(&sample).unwrap().is_some()).unwrap()
    };
    // Sure samples: 2^T / 2 + 1.5^T / 4 + .. >= 1 / alpha.
    assert_eq!((time(1.0, 0.05, 1), time(1.0, 0.01, 1)), (6, 8));
    assert_eq!(Decider::new(2, 0.05, 1).unwrap().earliest(), 6);
    assert_eq!((time(1.0, 0.05, 4), Decider::new(2, 0.05, 4).unwrap().earliest()), (24, 24));
    // A constant lead d: about ln(2 / alpha) / ln(1 + d).
    for lead in [0.5_f64, 0.1, 0.02] {
        let expected = (2.0_f64 / 0.05).ln() / lead.ln_1p();
        let got = f64::from(time(lead, 0.05, 1));
        assert!(got <= expected + 1.0 && got > 0.9 * expected - 1.0, "{got} for {expected}");
    }
    // More rivals take longer.
    assert!(Decider::new(20, 0.05, 1).unwrap().earliest() > 6);
}

#[test]
fn the_order_of_classes_and_of_samples_does_not_matter() {
    let mut random = SplitMix64::keyed(1, 0, 0);
    let samples: Vec<[f64; 3]> = (0..300)
        .map(|_| {
            let (u, v) = (uniform(&mut random), uniform(&mut random));
            let middle = 0.5 * u * (1.0 - v);
            [v * 0.8, 1.0 - v * 0.8 - middle, middle]
        })
        .collect();
    let run = |order: [usize; 3]| {
        let mut decider = Decider::new(3, 0.05, 1).unwrap();
        for sample in &samples {
            decider.observe(&order.map(|class| sample[class])).unwrap();
        }
        (decider.decided().map(|class| order[class]), decider.samples())
    };
    let (class, taken) = run([0, 1, 2]);
    assert_eq!(class, Some(1));
    assert!(taken < 300);
    for order in [[1, 0, 2], [2, 1, 0], [1, 2, 0]] {
        assert_eq!(run(order), (class, taken));
    }
    let mut forwards = Capital::default();
    let mut backwards = Capital::default();
    for (one, other) in samples.iter().zip(samples.iter().rev()) {
        forwards.pay(one[1] - one[0]);
        backwards.pay(other[1] - other[0]);
    }
    assert!((forwards.log() - backwards.log()).abs() < 1e-9);
}

#[test]
fn means_are_those_until_the_decision() {
    let mut decider = Decider::new(2, 0.05, 1).unwrap();
    assert_eq!(decider.means(), [0.0, 0.0]);
    for sample in 0..20 {
        decider.observe(if sample < 10 { &[1.0, 0.0] } else { &[0.0, 1.0] }).unwrap();
    }
    assert_eq!((decider.decided(), decider.samples(), decider.means()), (Some(0), 6, vec![1.0, 0.0]));
}

#[test]
fn one_class_is_decided_at_once_and_bad_input_is_refused() {
    let mut single = Decider::new(1, 0.05, 1).unwrap();
    assert_eq!((single.decided(), single.samples(), single.earliest()), (Some(0), 0, 0));
    assert_eq!(single.observe(&[1.0]).unwrap(), Some(0));
    let refused = |classes, alpha, group| Decider::new(classes, alpha, group).unwrap_err().to_string();
    assert_eq!(refused(0, 0.05, 1), "classes: got 0, expected at least 1");
    assert_eq!(refused(2, 0.05, 0), "samples of a group: got 0, expected at least 1");
    for alpha in [0.0, 1.0, -0.1, f64::NAN] {
        assert_eq!(refused(2, alpha, 1), format!("alpha is {alpha}, expected a number in (0, 1)"));
    }
    let mut decider = Decider::new(2, 0.05, 1).unwrap();
    let mut says = |sample: &[f64]| decider.observe(sample).unwrap_err().to_string();
    assert_eq!(says(&[0.5]), "probabilities has 1 entries, classes has 2");
    assert_eq!(says(&[f64::NAN, 0.5]), "probabilities[0, 0] is NaN, expected a finite number");
    assert_eq!(says(&[-0.5, 1.5]), "probabilities[0, 0] is -0.5, expected a probability in [0, 1]");
    assert_eq!(says(&[0.5, 0.4]), "probabilities of example 0 sum to 0.9, expected 1");
    assert_eq!(decider.samples(), 0);
}
