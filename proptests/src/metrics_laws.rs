//! Laws of the metrics: invariances, bounds, and prepared against plain (methods.md, section 16, law 10).

use bayeslora_metrics::{
    Averaging, Bootstrap, Detection, Mahalanobis, Measured, NearestNeighbours, Predictive, PreparedAurc, PreparedEce,
    RiskCoverage, Scaled, Temperature, adaptive_calibration_error, aupr, auroc, classwise_calibration_error,
    expected_calibration_error, fpr_at_tpr, friedman, holm, negative_log_likelihood, reliability,
    smallest_noncentrality, spearman, weights,
};
use ndarray::{Array2, Array3, Axis};
use proptest::{collection::vec, prelude::*};

/// Sums of at most a few hundred f64 terms of order 1 in another order.
const REORDERED: f64 = 1e-12;

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= REORDERED
}

/// Scores with many ties: quarters, or anything.
fn score() -> impl Strategy<Value = f64> {
    prop_oneof![(-4i8..=4).prop_map(|k| f64::from(k) / 4.0), -10.0..10.0]
}

/// Distributions over `classes` classes, a third of them certain, and labels.
fn scored(classes: usize) -> impl Strategy<Value = (Array2<f64>, Vec<usize>)> {
    let masses = prop_oneof![
        2 => vec(1u32..8, classes),
        1 => (0..classes).prop_map(move |top| (0..classes).map(|c| u32::from(c == top)).collect()),
    ];
    vec((masses, 0..classes), 1..60).prop_map(move |rows| {
        let (masses, labels): (Vec<Vec<u32>>, Vec<usize>) = rows.into_iter().unzip();
        let probability = |(n, c): (usize, usize)| f64::from(masses[n][c]) / f64::from(masses[n].iter().sum::<u32>());
        (Array2::from_shape_fn((labels.len(), classes), probability), labels)
    })
}

fn logits() -> impl Strategy<Value = Array3<f32>> {
    (1usize..9, 1usize..6, 2usize..6, prop_oneof![Just(1.0f32), Just(30.0), Just(1000.0)]).prop_flat_map(
        |(samples, examples, classes, size)| {
            vec(-size..size, samples * examples * classes)
                .prop_map(move |flat| Array3::from_shape_vec((samples, examples, classes), flat).unwrap())
        },
    )
}

fn repeated<T: Copy>(values: &[T], indices: &[usize]) -> Vec<T> {
    indices.iter().map(|&index| values[index]).collect()
}

/// Indices of a resample of `n` examples, not all of one kind by construction.
fn resample(n: usize) -> impl Strategy<Value = Vec<usize>> {
    vec(0..n, 1..2 * n + 2)
}

/// Values with a permutation of their indices.
fn permuted(n: usize) -> impl Strategy<Value = Vec<usize>> {
    Just((0..n).collect::<Vec<usize>>()).prop_shuffle()
}

proptest! {
    #[test]
    fn calibration_errors_do_not_depend_on_order(
        ((probs, labels), order) in scored(3).prop_flat_map(|s| { let n = s.1.len(); (Just(s), permuted(n)) }),
        bins in 1usize..20,
    ) {
        let (moved, moved_labels) = (probs.select(Axis(0), &order), repeated(&labels, &order));
        for error in [expected_calibration_error, adaptive_calibration_error, classwise_calibration_error] {
            let (before, after) = (error(probs.view(), &labels, bins)?, error(moved.view(), &moved_labels, bins)?);
            prop_assert!(close(before, after), "{before} {after}");
            prop_assert!((0.0..=1.0 + REORDERED).contains(&before));
        }
    }

    #[test]
    fn certainty_has_the_error_rate_as_calibration_error(
        rows in vec((0usize..4, 0usize..4), 1..60),
        bins in 1usize..20,
    ) {
        let (predicted, labels): (Vec<usize>, Vec<usize>) = rows.into_iter().unzip();
        let probs = Array2::from_shape_fn((labels.len(), 4), |(n, c)| f64::from(u8::from(predicted[n] == c)));
        let errors = 1.0 - bayeslora_metrics::accuracy(&predicted, &labels)?;
        prop_assert!(close(expected_calibration_error(probs.view(), &labels, bins)?, errors));
        prop_assert!(close(adaptive_calibration_error(probs.view(), &labels, bins)?, errors));
    }

    #[test]
    fn reliability_bins_add_up_to_the_calibration_error((probs, labels) in scored(2), bins in 1usize..20) {
        let rows = reliability(probs.view(), &labels, bins)?;
        prop_assert_eq!(rows.iter().map(|row| row.count).sum::<usize>(), labels.len());
        let gap = |row: &bayeslora_metrics::ReliabilityBin| {
            let gap = row.confidence.zip(row.accuracy).map_or(0.0, |(confidence, accuracy)| (confidence - accuracy).abs());
            row.count as f64 * gap
        };
        let total = rows.iter().map(gap).sum::<f64>() / labels.len() as f64;
        prop_assert!(close(total, expected_calibration_error(probs.view(), &labels, bins)?));
        // The confidence of a bin lies in the bin, up to the rounding of a mean.
        for row in rows.iter().filter(|row| row.count > 0) {
            let confidence = row.confidence.unwrap();
            prop_assert!(row.lower <= confidence + REORDERED && confidence <= row.upper + REORDERED);
        }
    }

    #[test]
    fn mutual_information_is_between_zero_and_the_entropy(logits in logits()) {
        let predictive = Predictive::from_logits(logits.view(), Averaging::Probabilities)?;
        let most = (predictive.classes() as f64).ln();
        for n in 0..predictive.examples() {
            let (total, expected) = (predictive.predictive_entropy()[n], predictive.expected_entropy()[n]);
            let information = predictive.mutual_information()[n];
            prop_assert!(information >= 0.0 && information <= total + REORDERED && total <= most + REORDERED);
            prop_assert!(close(information, total - expected));
            // Also at most what S equally likely weights can tell.
            prop_assert!(information <= (predictive.samples() as f64).ln() + REORDERED);
            let s = predictive.samples() as f64;
            let variance = predictive.probability_variance()[n];
            prop_assert!(variance >= 0.0 && variance <= s / (4.0 * (s - 1.0).max(1.0)) + REORDERED);
        }
    }

    #[test]
    fn both_averagings_agree_when_samples_agree(one in logits(), copies in 1usize..8) {
        let first = one.index_axis(Axis(0), 0);
        let (examples, classes) = first.dim();
        let logits = Array3::from_shape_fn((copies, examples, classes), |(_, n, c)| first[[n, c]]);
        let probabilities = Predictive::from_logits(logits.view(), Averaging::Probabilities)?;
        let averaged = Predictive::from_logits(logits.view(), Averaging::Logits)?;
        for (a, b) in probabilities.log_probabilities().iter().zip(averaged.log_probabilities()) {
            prop_assert!((a - b).abs() <= REORDERED * a.abs().max(1.0));
        }
        prop_assert!(probabilities.mutual_information().iter().all(|&value| value.to_bits() == 0));
        prop_assert!(averaged.mutual_information().iter().all(|&value| value.to_bits() == 0));
    }

    #[test]
    fn predictive_does_not_depend_on_the_order_of_samples_or_on_shifts(logits in logits(), shift in -64i8..64) {
        let moved = Array3::from_shape_fn(logits.dim(), |(s, n, c)| logits[[logits.dim().0 - 1 - s, n, c]]);
        for averaging in [Averaging::Probabilities, Averaging::Logits] {
            let before = Predictive::from_logits(logits.view(), averaging)?;
            let after = Predictive::from_logits(moved.view(), averaging)?;
            for (a, b) in before.log_probabilities().iter().zip(after.log_probabilities()) {
                prop_assert!((a - b).abs() <= REORDERED * a.abs().max(1.0));
            }
            prop_assert!(before.log_probabilities().iter().all(|l| l.is_finite() && *l <= 0.0));
            let labels = before.predicted();
            prop_assert!(negative_log_likelihood(before.log_probabilities(), &labels)? <= (before.classes() as f64).ln() + REORDERED);
        }
        // Whole-number logits, which a shift does not round.
        let whole = logits.mapv(f32::round);
        let before = Predictive::from_logits(whole.view(), Averaging::Probabilities)?;
        let after = Predictive::from_logits((&whole + f32::from(shift)).view(), Averaging::Probabilities)?;
        for (a, b) in before.log_probabilities().iter().zip(after.log_probabilities()) {
            prop_assert!((a - b).abs() <= REORDERED * a.abs().max(1.0));
        }
    }

    #[test]
    fn auroc_changes_sides(negatives in vec(score(), 1..40), positives in vec(score(), 1..40)) {
        let forward = auroc(&negatives, &positives)?;
        prop_assert!((0.0..=1.0).contains(&forward));
        prop_assert!(close(forward, 1.0 - auroc(&positives, &negatives)?));
    }

    #[test]
    fn detection_depends_on_the_order_of_scores_alone(
        negatives in vec(-4i8..=4, 1..40),
        positives in vec(-4i8..=4, 1..40),
        tpr in 0.01..1.0f64,
    ) {
        let plain = |values: &[i8]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        // Strictly increasing, and far from linear.
        let mapped = |values: &[i8]| values.iter().map(|&v| (3.0 * f64::from(v)).exp() - 1e-3).collect::<Vec<_>>();
        let (n, p, mn, mp) = (plain(&negatives), plain(&positives), mapped(&negatives), mapped(&positives));
        prop_assert!(close(auroc(&n, &p)?, auroc(&mn, &mp)?));
        prop_assert!(close(aupr(&n, &p)?, aupr(&mn, &mp)?));
        prop_assert!(close(fpr_at_tpr(&n, &p, tpr)?, fpr_at_tpr(&mn, &mp, tpr)?));
        let reversed = |values: &[f64]| values.iter().rev().copied().collect::<Vec<_>>();
        prop_assert!(close(aupr(&n, &p)?, aupr(&reversed(&n), &reversed(&p))?));
    }

    #[test]
    fn false_positives_grow_with_the_asked_rate(
        negatives in vec(score(), 1..40),
        positives in vec(score(), 1..40),
        tprs in (0.01..1.0f64, 0.01..1.0f64),
    ) {
        let (low, high) = (tprs.0.min(tprs.1), tprs.0.max(tprs.1));
        prop_assert!(fpr_at_tpr(&negatives, &positives, low)? <= fpr_at_tpr(&negatives, &positives, high)?);
    }

    #[test]
    fn area_under_risk_and_coverage_is_bounded_and_free_of_order(
        (examples, order) in vec((score(), any::<bool>()), 1..60).prop_flat_map(|e| { let n = e.len(); (Just(e), permuted(n)) }),
    ) {
        let (confidence, correct): (Vec<f64>, Vec<bool>) = examples.into_iter().unzip();
        let curve = RiskCoverage::from_confidence(&confidence, &correct)?;
        let moved = RiskCoverage::from_confidence(&repeated(&confidence, &order), &repeated(&correct, &order))?;
        prop_assert!(close(curve.aurc(), moved.aurc()));
        // Best and worst order of the same errors enclose it.
        let ideal: Vec<f64> = correct.iter().map(|&right| f64::from(u8::from(right))).collect();
        let reverse: Vec<f64> = ideal.iter().map(|value| -value).collect();
        let best = RiskCoverage::from_confidence(&ideal, &correct)?;
        let worst = RiskCoverage::from_confidence(&reverse, &correct)?;
        prop_assert!(best.aurc() <= curve.aurc() + REORDERED && curve.aurc() <= worst.aurc() + REORDERED);
        prop_assert!(close(best.e_aurc(), 0.0) && curve.e_aurc() >= -REORDERED && worst.aurc() <= 1.0);
        // A constant confidence has the error rate at every coverage.
        let rate = correct.iter().filter(|right| !**right).count() as f64 / correct.len() as f64;
        prop_assert!(close(RiskCoverage::from_confidence(&vec![0.5; correct.len()], &correct)?.aurc(), rate));
        prop_assert!(close(curve.selective_accuracy(1.0)?, 1.0 - rate));
    }

    #[test]
    fn prepared_aurc_is_the_plain_one_of_repeated_examples(
        (examples, indices) in vec((score(), any::<bool>()), 1..40).prop_flat_map(|e| { let n = e.len(); (Just(e), resample(n)) }),
    ) {
        let (confidence, correct): (Vec<f64>, Vec<bool>) = examples.into_iter().unzip();
        let prepared = PreparedAurc::new(&confidence, &correct)?;
        let counts = weights(&indices, correct.len());
        let plain = RiskCoverage::from_confidence(&repeated(&confidence, &indices), &repeated(&correct, &indices))?;
        prop_assert!(close(prepared.with_weights(&counts), plain.aurc()));
    }

    #[test]
    fn prepared_calibration_error_is_the_plain_one_of_repeated_examples(
        ((probs, labels), indices) in scored(4).prop_flat_map(|s| { let n = s.1.len(); (Just(s), resample(n)) }),
        bins in 1usize..20,
    ) {
        let fast = PreparedEce::new(probs.view(), &labels, bins)?.with_weights(&weights(&indices, labels.len()));
        let (rows, row_labels) = (probs.select(Axis(0), &indices), repeated(&labels, &indices));
        prop_assert!(close(fast, expected_calibration_error(rows.view(), &row_labels, bins)?));
    }

    #[test]
    fn rank_correlation_is_symmetric_and_turns_with_its_input(pairs in vec((score(), score()), 3..50)) {
        let (x, y): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        if let Ok(found) = spearman(&x, &y) {
            let negated: Vec<f64> = x.iter().map(|value| -value).collect();
            prop_assert!((-1.0..=1.0).contains(&found.coefficient) && (0.0..=1.0).contains(&found.p_value));
            prop_assert!(close(found.coefficient, spearman(&y, &x)?.coefficient));
            prop_assert!(close(found.coefficient, -spearman(&negated, &y)?.coefficient));
        }
    }

    #[test]
    fn bootstrap_moves_with_its_statistic(values in vec(-1.0..1.0f64, 1..40), seed in any::<u64>(), shift in -2i8..3) {
        let bootstrap = Bootstrap { resamples: 50, level: 0.9, seed };
        let mean = |indices: &[usize]| indices.iter().map(|&n| values[n]).sum::<f64>() / indices.len() as f64;
        let plain = bootstrap.interval(values.len(), mean)?;
        let moved = bootstrap.interval(values.len(), |indices| 2.0 * mean(indices) + f64::from(shift))?;
        prop_assert!(plain.lower <= plain.upper);
        prop_assert!(close(moved.lower, 2.0 * plain.lower + f64::from(shift)));
        prop_assert!(close(moved.upper, 2.0 * plain.upper + f64::from(shift)));
    }
}

// --- statistics of comparisons ------------------------------------------------------------------------------------------

/// Scores of two detectors on the same examples.
fn detector_pairs() -> impl Strategy<Value = [Vec<f64>; 4]> {
    let group = || vec((score(), score()), 2..30);
    (group(), group()).prop_map(|(negatives, positives)| {
        let ((a, b), (c, d)) = (negatives.into_iter().unzip(), positives.into_iter().unzip());
        [a, b, c, d]
    })
}

proptest! {
    #[test]
    fn swapping_detectors_turns_the_sign_and_nothing_else([a, b, c, d] in detector_pairs()) {
        let measured = |negatives: &[f64], positives: &[f64]| {
            let scores = [negatives, positives].concat();
            let positive: Vec<bool> = (0..scores.len()).map(|n| n >= negatives.len()).collect();
            Measured::auroc(&[Detection { scores: &scores, positive: &positive }])
        };
        let (one, two) = (measured(&a, &c)?, measured(&b, &d)?);
        let (there, back) = (one.difference(&two, 0.95)?, two.difference(&one, 0.95)?);
        prop_assert!(close(there.estimate, -back.estimate) && close(there.p_value, back.p_value));
        prop_assert!(close(there.lower, -back.upper) && close(there.error_over_examples, back.error_over_examples));
        prop_assert!(close(one.value(), auroc(&a, &c)?) && close(two.value(), auroc(&b, &d)?));
        prop_assert!((0.0..=1.0).contains(&there.p_value));
    }

    #[test]
    fn corrected_p_values_are_no_smaller_in_the_same_order_and_those_of_the_theory_crate(
        p in vec(prop_oneof![0.0..=1.0f64, Just(0.0), Just(1.0), Just(0.01)], 0..20),
    ) {
        let adjusted = holm(&p)?;
        for (own, adjusted) in p.iter().zip(&adjusted) {
            prop_assert!(own <= adjusted && *adjusted <= 1.0 && *adjusted <= own * p.len() as f64);
        }
        for (i, j) in (0..p.len()).flat_map(|i| (0..p.len()).map(move |j| (i, j))) {
            prop_assert!(p[i] > p[j] || adjusted[i] <= adjusted[j]);
        }
        // The theory crate depends on nothing of the project and has its own.
        prop_assert_eq!(adjusted, bayeslora_theory::holm(&p));
    }

    #[test]
    fn average_ranks_have_a_fixed_sum_and_follow_columns(
        rows in vec(vec(score(), 4), 2..12),
        order in permuted(4),
    ) {
        let losses = Array2::from_shape_fn((rows.len(), 4), |(n, c)| rows[n][c]);
        let Ok(test) = friedman(losses.view()) else { return Ok(()) };
        prop_assert!(close(test.average_ranks.iter().sum::<f64>(), 10.0));
        let moved = friedman(losses.select(Axis(1), &order).view())?;
        prop_assert!(close(test.chi_squared, moved.chi_squared));
        for (place, &from) in order.iter().enumerate() {
            prop_assert!(close(moved.average_ranks[place], test.average_ranks[from]));
        }
    }

    #[test]
    fn temperatures_never_raise_the_loss_and_undo_a_scale(z in logits(), seed in 0usize..100, doubling in 0u8..3) {
        let labels: Vec<usize> = (0..z.dim().1).map(|n| (n * 7 + seed) % z.dim().2).collect();
        for scaled in [Scaled::Samples, Scaled::Mean] {
            let fitted = Temperature::fit(z.view(), &labels, Averaging::Logits, scaled)?;
            prop_assert!(fitted.nll_after <= fitted.nll_before);
            // A power of two scales f32 exactly; ends of the range stay where they are.
            let factor = f32::from(1u8 << doubling);
            let scaled_up = z.mapv(|logit| logit * factor);
            let other = Temperature::fit(scaled_up.view(), &labels, Averaging::Logits, scaled)?;
            if (0.02..20.0).contains(&fitted.temperature) {
                let ratio = other.temperature / fitted.temperature / f64::from(factor);
                prop_assert!((ratio - 1.0).abs() < 1e-4 || other.nll_after <= fitted.nll_after + 1e-10, "{ratio}");
            }
        }
    }

    #[test]
    fn distances_follow_the_directions_of_the_features(
        train in vec(vec(-3.0..3.0f64, 3), 8..20),
        test in vec(vec(-3.0..3.0f64, 3), 1..6),
        angle in 0.0..6.3f64,
    ) {
        let matrix = |rows: &[Vec<f64>]| Array2::from_shape_fn((rows.len(), 3), |(n, c)| rows[n][c]);
        let (sin, cos) = angle.sin_cos();
        let turn = ndarray::arr2(&[[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]);
        let (train, test) = (matrix(&train), matrix(&test));
        let (turned_train, turned_test) = (train.dot(&turn), test.dot(&turn));
        let labels: Vec<usize> = (0..train.nrows()).map(|n| n % 2).collect();
        let near = |a: &ndarray::Array1<f64>, b: &ndarray::Array1<f64>| {
            a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6 * a.abs().max(1.0))
        };
        // Shrunk, so that no draw of features is singular; a rotation commutes with that.
        if let (Ok(own), Ok(turned)) = (
            Mahalanobis::fit(train.view(), &labels, 2, 0.1),
            Mahalanobis::fit(turned_train.view(), &labels, 2, 0.1),
        ) {
            prop_assert!(near(&own.score(test.view())?, &turned.score(turned_test.view())?));
        }
        let own = NearestNeighbours::new(train.view(), 3)?.score(test.view())?;
        let turned = NearestNeighbours::new(turned_train.view(), 3)?.score((turned_test * 5.0).view())?;
        prop_assert!(near(&own, &turned) && own.iter().all(|d| (0.0..=2.0 + 1e-12).contains(d)));
    }
}

proptest! {
    // Every case solves three equations, each over an integral.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_is_detected_grows_with_the_power_and_falls_with_the_degrees_of_freedom(
        power in 0.1..0.9f64,
        more in 0.001..0.09f64,
        degrees in 1.0..60.0f64,
    ) {
        let smallest = |degrees, power| smallest_noncentrality(degrees, 0.05, power);
        let own = smallest(degrees, power)?;
        prop_assert!(own > 0.0 && smallest(degrees, power + more)? > own && smallest(degrees + 1.0, power)? < own);
    }
}
