//! How many answers a certificate takes: when planned, and when one fell short.

use crate::error::{Error, Result};

use super::binomial::{cdf, fewest_refuting, level_of, partition, rate_of};

/// A true risk nearer to the target than this takes millions of labels.
const NEAREST: f64 = 0.99;
/// Errors beyond this are never waited for.
const MOST_ERRORS: usize = 100_000_000;

/// Answered examples from which one test certifies `risk` with probability `power` when the true risk is `true_risk`.
///
/// The power of an exact test has saw teeth: it falls from one count of errors to the next. This is the number from which on it stays up;
/// single smaller numbers may do. With half the risk, `delta = 0.05` and power 0.8 it is 203 at 10 %, 434 at 5 % and 1,091 at 2 %.
///
/// # Errors
/// [`Error::Setting`] unless `1e-9 <= risk < 1`, `0 < delta < 1`, `0 < power < 1` and `0 <= true_risk <= 0.99 risk`.
/// # Examples
/// ```
/// assert_eq!(bayeslora_metrics::guarantee::answered_for_power(0.1, 0.05, 0.05, 0.8)?, 203);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn answered_for_power(risk: f64, delta: f64, true_risk: f64, power: f64) -> Result<usize> {
    rate_of("risk", risk)?;
    level_of("delta", delta)?;
    level_of("power", power)?;
    if !(true_risk >= 0.0 && true_risk <= NEAREST * risk) {
        return Err(Error::Setting { what: "true risk", value: true_risk, expected: "[0, 0.99 risk]" });
    }
    // The least power while so many errors are allowed is that of the most answers.
    let is_weak = |errors: usize| {
        let most = fewest_refuting(errors + 1, risk, delta) - 1;
        cdf(errors, most, true_risk) < power
    };
    let mut enough = 1;
    while is_weak(enough) && enough < MOST_ERRORS {
        enough *= 2;
    }
    let mut errors = partition(0, enough, is_weak);
    // Teeth differ in width: one a little further on may be weak again.
    while let Some(weak) = (errors..errors + 20).rev().find(|&further| is_weak(further)) {
        errors = weak + 1;
    }
    Ok(fewest_refuting(errors, risk, delta))
}

/// Accepted examples at which a test of `level` passes if errors go on at the rate of `wrong` in `accepted`, rounded up; none where that
/// rate is not below the risk, or so little that nobody would wait.
pub(super) fn accepted_at_rate(wrong: usize, accepted: usize, risk: f64, level: f64) -> Option<usize> {
    if accepted == 0 {
        return None;
    }
    // The most answers with no more than so many errors.
    let most = |errors: usize| errors.checked_mul(accepted)?.checked_div(wrong);
    if wrong == 0 {
        return Some(fewest_refuting(0, risk, level));
    }
    if wrong as f64 >= risk * accepted as f64 {
        return None;
    }
    let is_short = |errors: usize| most(errors).is_none_or(|answers| cdf(errors, answers, risk) > level);
    let mut enough = wrong;
    while is_short(enough) {
        enough = enough.checked_mul(2).filter(|&errors| errors < MOST_ERRORS)?;
    }
    Some(fewest_refuting(partition(wrong, enough, is_short), risk, level))
}

#[cfg(test)]
mod tests {
    use super::super::binomial::most_refuting;
    use super::*;

    #[test]
    fn power_stays_up_from_the_number_on_and_not_from_one_before() {
        let power =
            |answers, risk, delta, truth| most_refuting(answers, risk, delta).map_or(0.0, |k| cdf(k, answers, truth));
        for (risk, delta, expected) in [
            (0.1, 0.05, 203),
            (0.05, 0.05, 434),
            (0.02, 0.05, 1091),
            (0.1, 0.1, 152),
            (0.05, 0.1, 330),
            (0.02, 0.1, 828),
        ] {
            let found = answered_for_power(risk, delta, risk / 2.0, 0.8).unwrap();
            assert_eq!(found, expected, "{risk}, {delta}");
            assert!((found..2 * found).all(|answers| power(answers, risk, delta, risk / 2.0) >= 0.8));
            assert!(power(found - 1, risk, delta, risk / 2.0) < 0.8);
        }
        assert_eq!(answered_for_power(0.05, 0.05, 0.0, 0.8).unwrap(), 59);
        let refused = answered_for_power(0.05, 0.05, 0.05, 0.8).unwrap_err().to_string();
        assert_eq!(refused, "true risk is 0.05, expected a number in [0, 0.99 risk]");
    }

    #[test]
    fn errors_go_on_at_their_rate() {
        for (wrong, accepted) in [(0, 30), (1, 40), (3, 90), (7, 200)] {
            let found = accepted_at_rate(wrong, accepted, 0.05, 0.05).unwrap();
            let passes = |answers: usize| cdf((wrong * answers).div_ceil(accepted), answers, 0.05) <= 0.05;
            assert!(passes(found), "{wrong} of {accepted}: {found}");
            assert!(!(1..found).any(passes), "{wrong} of {accepted}: {found}");
        }
        assert_eq!(accepted_at_rate(5, 100, 0.05, 0.05), None);
        assert_eq!(accepted_at_rate(0, 0, 0.05, 0.05), None);
    }
}
