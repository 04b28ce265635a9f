//! The second derivative of the logarithm of the gamma function, and its inverse (Smyth 2004, appendix).

/// `psi'(x)` for `x > 0`: `1 / x^2` is split off until the asymptotic series has an error below rounding.
pub(crate) fn trigamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < 15.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    // Abramowitz and Stegun 6.4.12, by Bernoulli numbers.
    let series =
        1.0 / 6.0 - inverse * (1.0 / 30.0 - inverse * (1.0 / 42.0 - inverse * (1.0 / 30.0 - inverse * (5.0 / 66.0))));
    sum + 1.0 / x + inverse / 2.0 + series * inverse / x
}

/// `psi''(x)` for `x > 0`.
fn tetragamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < 15.0 {
        sum -= 2.0 / (x * x * x);
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let series =
        1.0 / 2.0 - inverse * (1.0 / 6.0 - inverse * (1.0 / 6.0 - inverse * (3.0 / 10.0 - inverse * (5.0 / 6.0))));
    sum - inverse - inverse / x - series * inverse * inverse
}

/// The `x > 0` with `psi'(x) = value`, for `value > 0`: Newton's method on `1 / psi'`, which is nearly linear and convex, so that it
/// converges from `1/2 + 1 / value` without overshooting.
pub(crate) fn inverse_trigamma(value: f64) -> f64 {
    let mut x = 0.5 + 1.0 / value;
    for _ in 0..60 {
        let found = trigamma(x);
        let step = found * (1.0 - found / value) / tetragamma(x);
        x += step;
        if step.abs() < 1e-13 * x {
            break;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_and_derivatives() {
        let square = std::f64::consts::PI.powi(2);
        for (x, expected) in [(1.0, square / 6.0), (0.5, square / 2.0), (2.0, square / 6.0 - 1.0)] {
            assert!((trigamma(x) - expected).abs() < 1e-14 * expected, "{x}");
        }
        for x in [0.01, 0.3, 1.7, 14.9, 15.1, 400.0] {
            let step = 1e-4 * x;
            let slope = (trigamma(x + step) - trigamma(x - step)) / (2.0 * step);
            assert!((slope / tetragamma(x) - 1.0).abs() < 1e-6, "{x}");
            assert!((inverse_trigamma(trigamma(x)) / x - 1.0).abs() < 1e-10, "{x}");
        }
        for value in [1e-7, 1e7] {
            assert!((trigamma(inverse_trigamma(value)) / value - 1.0).abs() < 1e-10, "{value}");
        }
    }
}
