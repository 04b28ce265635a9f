//! Ranks among `n` calibration scores and one new one: whole numbers, found without trusting the last bit of a product, and never clamped.
//!
//! By exchangeability the new score is above the `k`-th smallest of the others with probability at most `l / (n + 1)`, `l = n + 1 - k`. Where `l` would
//! be 0 there is no such rank. The largest of the calibration scores in its place covers too little: 8/9 for 90 % from 8 examples.

use crate::error::Result;
use crate::inputs;

use super::binomial::{fewest_refuting, level_of, most_refuting, partition, rate_of};

/// Over what a promise about the next example is made.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promise {
    /// On average over calibrations: each of them may lie on either side.
    Average,
    /// For all but a share `delta` of calibrations ("probably approximately correct").
    Pac {
        /// Probability that the calibration was an unlucky one.
        delta: f64,
    },
}

/// The number `l` of calibration scores from the threshold up, of `examples`, at which at most a share `alpha` of new scores are above it.
///
/// On average `l = floor(alpha (n + 1))`; for all but a share `delta` of calibrations it is the largest with `BinCDF(l - 1; n, alpha) <= delta`
/// (Vovk 2012, proposition 2a).
///
/// # Errors
/// [`Error::TooFew`](crate::Error::TooFew) naming the examples needed where `l` would be 0, [`Error::Setting`](crate::Error::Setting) unless
/// `1e-9 <= alpha < 1` and `0 < delta < 1`.
/// # Examples
/// ```
/// use bayeslora_metrics::guarantee::{Promise, allowed_above};
/// assert_eq!(allowed_above(99, 0.1, Promise::Average)?, 10);
/// assert_eq!(allowed_above(500, 0.1, Promise::Pac { delta: 0.1 })?, 41);
/// let refused = allowed_above(8, 0.1, Promise::Average).unwrap_err();
/// assert_eq!(refused.to_string(), "calibration examples: got 8, expected at least 9");
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn allowed_above(examples: usize, alpha: f64, promise: Promise) -> Result<usize> {
    inputs::at_least("calibration examples", examples, fewest_examples(alpha, promise)?)?;
    // Of fewer successes than `l`, so one more than the largest count that refutes.
    Ok(match promise {
        Promise::Average => floor_of(alpha, examples + 1),
        Promise::Pac { delta } => most_refuting(examples, alpha, delta).map_or(0, |count| count + 1),
    })
}

/// The fewest examples from which [`allowed_above`] follows: `ceil(1 / alpha) - 1`, or the `n` from which `(1 - alpha)^n <= delta`.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting), as there.
pub fn fewest_examples(alpha: f64, promise: Promise) -> Result<usize> {
    rate_of("alpha", alpha)?;
    match promise {
        Promise::Average => Ok(fewest_for_mean(alpha)),
        Promise::Pac { delta } => {
            level_of("delta", delta)?;
            Ok(fewest_refuting(0, alpha, delta))
        }
    }
}

/// The smallest `n` with `floor(alpha (n + 1)) >= 1`.
pub(super) fn fewest_for_mean(alpha: f64) -> usize {
    let enough = floor_of(2.0 / alpha, 1) + 2;
    partition(0, enough, |n| floor_of(alpha, n + 1) < 1)
}

/// `floor(share number)`, where a product that is whole up to rounding counts as whole.
///
/// A share that was computed as `1 - 0.95` is off by half a unit of 1, `2^-53`; twice that is granted: 0.05 of 100 are then 5, and so are
/// `(1 - 0.95) 100 = 5.000000000000004` and `0.29 100 = 28.999999999999996` its whole neighbour.
pub(super) fn floor_of(share: f64, number: usize) -> usize {
    whole((share * number as f64 + slack(share, number)).floor())
}

/// `ceil(share number)`, likewise.
pub(super) fn ceil_of(share: f64, number: usize) -> usize {
    whole((share * number as f64 - slack(share, number)).ceil())
}

fn slack(share: f64, number: usize) -> f64 {
    share.max(1.0) * number as f64 * f64::EPSILON
}

fn whole(value: f64) -> usize {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole by now, and a cast saturates at 0"
    )]
    let count = value as usize;
    count
}

#[cfg(test)]
mod tests {
    use super::super::binomial::cdf;
    use super::*;

    #[test]
    fn a_product_that_is_whole_up_to_rounding_is_whole() {
        for denominator in [3_usize, 7, 10, 20, 100, 1000] {
            for numerator in 1..denominator {
                let share = numerator as f64 / denominator as f64;
                for times in [1, 3, 29, 1001] {
                    let expected = numerator * times;
                    for share in [share, 1.0 - (1.0 - share)] {
                        assert_eq!(floor_of(share, denominator * times), expected, "{numerator}/{denominator}");
                        assert_eq!(ceil_of(share, denominator * times), expected, "{numerator}/{denominator}");
                        assert_eq!(floor_of(share, denominator * times - 1), expected - 1, "{numerator}/{denominator}");
                        assert_eq!(ceil_of(share, denominator * times + 1), expected + 1, "{numerator}/{denominator}");
                    }
                }
            }
        }
        let naive = |share: f64| share * 100.0;
        assert!(naive(0.29) < 29.0 && naive(0.07) > 7.0, "the naive floor and ceiling are off by one");
    }

    #[test]
    fn ranks_of_all_but_a_share_of_calibrations_are_those_of_scipy() {
        for (n, alpha, delta, expected) in
            [(500, 0.1, 0.1, 41), (1000, 0.05, 0.05, 39), (200, 0.05, 0.1, 6), (59, 0.05, 0.05, 1)]
        {
            assert_eq!(allowed_above(n, alpha, Promise::Pac { delta }).unwrap(), expected);
        }
        let refused = allowed_above(58, 0.05, Promise::Pac { delta: 0.05 }).unwrap_err().to_string();
        assert_eq!(refused, "calibration examples: got 58, expected at least 59");
    }

    #[test]
    fn the_rank_is_the_largest_that_keeps_the_promise() {
        for n in [9, 10, 57, 99, 100, 500] {
            for alpha in [0.05, 0.1, 0.3] {
                for delta in [0.05, 0.1, 0.3] {
                    let expected = (1..=n).rev().find(|&l| cdf(l - 1, n, alpha) <= delta);
                    assert_eq!(allowed_above(n, alpha, Promise::Pac { delta }).ok(), expected, "{n}, {alpha}, {delta}");
                }
            }
        }
    }

    #[test]
    fn one_example_less_than_needed_is_refused() {
        for alpha in [0.5, 0.3, 0.1, 0.05, 1.0 - 0.95, 0.01, 1.0 / 3.0, 1e-6] {
            for promise in [Promise::Average, Promise::Pac { delta: 0.1 }] {
                let needed = fewest_examples(alpha, promise).unwrap();
                assert!(allowed_above(needed, alpha, promise).unwrap() == 1, "{alpha}");
                let refused = allowed_above(needed - 1, alpha, promise).unwrap_err().to_string();
                assert_eq!(refused, format!("calibration examples: got {}, expected at least {needed}", needed - 1));
            }
        }
        assert_eq!(fewest_examples(0.1, Promise::Average).unwrap(), 9);
        assert_eq!(fewest_examples(0.3, Promise::Average).unwrap(), 3);
        let refused = fewest_examples(0.0, Promise::Average).unwrap_err().to_string();
        assert_eq!(refused, "alpha is 0, expected a number in [1e-9, 1)");
    }
}
