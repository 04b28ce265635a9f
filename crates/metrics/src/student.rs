//! Upper tails of Student's t and their inverse, for tails as small as f64 holds.
//!
//! `statrs` inverts from below, `t(1 - p)`, where `1 - p` has lost a tail of 1e-17. Here the tail itself is inverted.

use statrs::distribution::{Continuous, ContinuousCDF, Normal, StudentsT};

/// Above this the law is the normal one: the two differ by less than rounding.
const NORMAL: f64 = 1e9;

/// `P(T > t)` of Student's t with `degrees` degrees of freedom; infinity is the normal law.
pub(crate) fn tail(t: f64, degrees: f64) -> f64 {
    law(degrees).map_or_else(|| Normal::standard().sf(t), |law| law.sf(t))
}

/// The `t` with `P(T > t) = probability`, for `0 < probability <= 1/2`.
///
/// Newton's method on the logarithms of the tail and of `t`, in which power laws are straight lines. It starts from Wallace's (1959)
/// approximation by a normal quantile.
pub(crate) fn quantile(probability: f64, degrees: f64) -> f64 {
    let normal = -Normal::standard().inverse_cdf(probability);
    let Some(law) = law(degrees) else { return normal };
    if normal <= 0.0 {
        return 0.0;
    }
    let scaled = normal * (8.0 * degrees + 3.0) / (8.0 * degrees + 1.0);
    // Beyond this exponent the square overflows; Newton's steps find the rest.
    let mut t = (degrees * (scaled * scaled / degrees).min(600.0).exp_m1()).sqrt();
    for _ in 0..100 {
        let tail = law.sf(t);
        let step = (tail.ln() - probability.ln()) * tail / (t * law.pdf(t));
        if !step.is_finite() {
            break;
        }
        t *= step.clamp(-2.0, 2.0).exp();
        if step.abs() < 1e-13 {
            break;
        }
    }
    t
}

/// None where the law is normal.
fn law(degrees: f64) -> Option<StudentsT> {
    (degrees < NORMAL).then(|| StudentsT::new(0.0, 1.0, degrees).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_scipy() {
        // scipy.stats.t.isf(probability, degrees), of norm for infinite degrees.
        for (probability, degrees, expected) in [
            (0.025, 4.0, 2.776_445_105_197_793),
            (0.00125, 4.0, 6.758_252_832_704_275),
            (1e-12, 3.95, 1_421.770_700_969_71),
            (0.3, 1.0, 0.726_542_528_005_360_9),
            (1e-20, 76.0, 12.672_225_569_768_612),
            (0.000_5, 499.0, 3.310_130_570_397_798),
            (0.4, 0.5, 0.397_975_426_784_790_7),
            (0.025, f64::INFINITY, 1.959_963_984_540_054),
        ] {
            let found = quantile(probability, degrees);
            assert!((found / expected - 1.0).abs() < 1e-9, "{probability}, {degrees}: {found} for {expected}");
            assert!((tail(found, degrees) / probability - 1.0).abs() < 1e-9);
        }
        assert!(quantile(0.5, 3.0).abs() < 1e-15);
    }
}
