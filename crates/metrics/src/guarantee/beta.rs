//! The tails of the beta law and their logarithms, by a continued fraction (Didonato and Morris 1992) with Lentz's method.
//!
//! `statrs` has an older fraction, and cuts it after 140 terms whether it has settled or not. Its `beta_reg` gives 0.4986 for
//! `P(Bin(1e7, 0.05) <= 500,000)`, which is 0.5004. It also takes the beta function from three logarithms of gamma: an error of 1.3e-12 for 25
//! of 1,000 trials, and of 8e-12 for 300 of 10,000. Here the fraction runs until it has settled, and large terms cancel before they are
//! rounded. Results are logarithms, so that a tail of `exp(-2000)` has digits as well.

/// A bound on the terms; the fraction settles after about the root of the larger parameter, 1e8 for 1e16 trials.
const MOST_TERMS: u64 = 400_000_000;

/// `ln P(P > x)` for `P` of law `Beta(a, b)`; `a, b > 0` and `0 < x < 1`.
pub(super) fn ln_upper(a: f64, b: f64, x: f64) -> f64 {
    let [smaller, larger] = ln_tails(a, b, x);
    if is_below_mean(a, b, x) { larger } else { smaller }
}

/// `ln P(P < x)`, likewise.
pub(super) fn ln_lower(a: f64, b: f64, x: f64) -> f64 {
    let [smaller, larger] = ln_tails(a, b, x);
    if is_below_mean(a, b, x) { smaller } else { larger }
}

/// The tail on this side of the mean, and the rest of 1.
fn ln_tails(a: f64, b: f64, x: f64) -> [f64; 2] {
    let tail = ln_front(a, b, x) + fraction(Side::new(a, b, x)).ln();
    [tail, (-tail.exp()).ln_1p()]
}

/// `ln int_x^1 (p / x)^wrong ((1 - p) / (1 - x))^right p^(a - 1) (1 - p)^(b - 1) dp`: how much better the rates above `x` explain
/// these counts than `x` does, weighted by an unnormalised `Beta(a, b)`.
pub(super) fn ln_ratio_above(a: f64, b: f64, x: f64, wrong: f64, right: f64) -> f64 {
    let (more, less) = (a + wrong, b + right);
    if is_below_mean(more, less, x) {
        ln_beta(more, less) + ln_upper(more, less, x) - wrong * x.ln() - right * (-x).ln_1p()
    } else {
        // The powers of `x` cancel: nothing large is left, however unlikely the counts are.
        a * x.ln() + b * (-x).ln_1p() + fraction(Side::new(more, less, x)).ln()
    }
}

/// Where the fraction of the lower tail converges fast, and that of the upper one elsewhere.
fn is_below_mean(a: f64, b: f64, x: f64) -> bool {
    x < (a + 1.0) / (a + b + 2.0)
}

/// The side of `x` that does not contain the mean, turned so that it is the lower tail.
#[derive(Debug, Clone, Copy)]
struct Side {
    a: f64,
    b: f64,
    x: f64,
    /// `1 - x`.
    rest: f64,
    /// `a (1 - x) - b x`.
    below_mean: f64,
}

impl Side {
    fn new(a: f64, b: f64, x: f64) -> Self {
        // Rounded once.
        let above = x.mul_add(a + b, -a);
        if is_below_mean(a, b, x) {
            Self { a, b, x, rest: 1.0 - x, below_mean: -above }
        } else {
            Self { a: b, b: a, x: 1.0 - x, rest: x, below_mean: above }
        }
    }
}

/// `ln (x^a (1 - x)^b / B(a, b))`, as a deviance about the mean (Loader 2000): `d = x (a + b) - a` is of the size of the root of the counts,
/// and so is what rounding is multiplied by.
fn ln_front(a: f64, b: f64, x: f64) -> f64 {
    let (sum, d) = (a + b, x.mul_add(a + b, -a));
    // Far from the mean the quotient itself has more digits than its distance from 1.
    let ln = |change: f64, quotient: f64| if change.abs() < 0.5 { change.ln_1p() } else { quotient.ln() };
    a * ln(d / a, x * sum / a) + b * ln(-d / b, (1.0 - x) * sum / b) - ln_remainder(a, b)
}

fn ln_beta(a: f64, b: f64) -> f64 {
    let sum = a + b;
    a * (a / sum).ln() + b * (b / sum).ln() + ln_remainder(a, b)
}

/// `ln B(a, b) - a ln(a / (a + b)) - b ln(b / (a + b))`.
fn ln_remainder(a: f64, b: f64) -> f64 {
    let sum = a + b;
    stirling(a) + stirling(b) - stirling(sum) + 0.5 * (std::f64::consts::TAU * sum / a / b).ln()
}

/// `ln Gamma(x) - (x - 1/2) ln x + x - ln(2 pi) / 2` for `x > 0`: its asymptotic series from 15, where the first neglected term is below 1e-15,
/// and the recurrence up to there.
fn stirling(x: f64) -> f64 {
    let (mut x, mut shifted) = (x, 0.0);
    while x < 15.0 {
        shifted += (x + 0.5) * (1.0 / x).ln_1p() - 1.0;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series =
        1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0)));
    shifted + series / x
}

/// The `h` of `P(P < x) = x^a (1 - x)^b h / B(a, b)`: one over a fraction in `x`, `1 - x` and how far `x` is below the mean (Didonato and Morris
/// 1992).
///
/// The older fraction has `x` alone: at `x = 1 - 6e-6` five digits of the distance to 1 are rounded away, on which all depends.
fn fraction(side: Side) -> f64 {
    let Side { a, b, x, rest, below_mean } = side;
    let term = |m: f64| {
        m + m * (b - m) * x / (a + 2.0 * m - 1.0)
            + (a + m) * (below_mean + 1.0 + m * (1.0 + rest)) / (a + 2.0 * m + 1.0)
    };
    let not_zero = |value: f64| if value.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { value };
    let mut value = not_zero(a * (below_mean + 1.0) / (a + 1.0));
    let (mut c, mut d) = (value, 0.0);
    for count in 1..MOST_TERMS {
        let m = count as f64;
        let root = x / (a + 2.0 * m - 1.0);
        let numerator = (a + m - 1.0) * (a + b + m - 1.0) * m * (b - m) * root * root;
        d = 1.0 / not_zero(term(m) + numerator * d);
        c = not_zero(term(m) + numerator / c);
        let change = c * d;
        value *= change;
        if (change - 1.0).abs() <= f64::EPSILON {
            break;
        }
    }
    1.0 / value
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: [(f64, f64, f64, f64); 6] = [
        (0.5, 0.5, 0.05, -0.154_978_364_247_015_4),
        (1.0, 10.0, 0.05, -0.512_932_943_875_505_3),
        (31.0, 380.0, 0.05, -0.015_841_919_133_024_675),
        (3.0, 5008.0, 0.05, -246.515_660_986_561_3),
        (6001.0, 94_010.0, 0.05, 0.0),
        (495_001.0, 9_505_000.0, 0.05, -29.312_611_605_488_894),
    ];

    #[test]
    fn upper_tails_are_those_of_mpmath() {
        // mpmath, 60 digits: log(betainc(a, b, x, 1, regularized=True)).
        for (a, b, x, expected) in GOLDEN {
            let found = ln_upper(a, b, x);
            assert!(
                (found - expected).abs() <= 1e-12 * expected.abs().max(1.0),
                "{a}, {b}, {x}: {found} for {expected}"
            );
        }
    }

    #[test]
    fn the_two_sides_of_the_mean_meet() {
        for (a, b) in [(0.3, 0.7), (1.0, 10.0), (30.0, 371.0), (4e5, 6e6)] {
            let edge = (a + 1.0) / (a + b + 2.0);
            let gap = ln_upper(a, b, edge * (1.0 - 1e-13)) - ln_upper(a, b, edge * (1.0 + 1e-13));
            assert!(gap.abs() < 1e-9, "{a}, {b}: {gap}");
        }
    }

    #[test]
    fn the_beta_function_of_small_numbers_is_known() {
        for (a, b, expected) in [(0.5, 0.5, std::f64::consts::PI), (1.0, 10.0, 0.1), (2.0, 3.0, 1.0 / 12.0)] {
            assert!((ln_beta(a, b) - f64::ln(expected)).abs() < 1e-13, "{a}, {b}");
        }
    }
}
