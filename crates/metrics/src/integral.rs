//! One-dimensional integrals of smooth functions.

/// Intervals of [`simpson`]; even. On the bell-shaped integrands here, of a width of a few hundredths of the range or more,
/// the error is below 1e-10.
const INTERVALS: u32 = 4000;

/// Composite Simpson rule for the integral of `f` from `from` to `to`.
pub(crate) fn simpson(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    let step = (to - from) / f64::from(INTERVALS);
    let inner = (1..INTERVALS).map(|k| {
        let weight = if k % 2 == 1 { 4.0 } else { 2.0 };
        weight * f(from + step * f64::from(k))
    });
    (f(from) + inner.sum::<f64>() + f(to)) * step / 3.0
}

/// The place between `from` and `to` where the increasing `f` reaches `value`, by bisection to the last bit or so.
pub(crate) fn solve_increasing(from: f64, to: f64, value: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (from, to);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if f(middle) < value {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_integral_and_a_known_root() {
        let bell = simpson(-9.0, 9.0, |x| (-x * x / 2.0).exp());
        assert!((bell - (2.0 * std::f64::consts::PI).sqrt()).abs() < 1e-13, "{bell}");
        assert!((solve_increasing(0.0, 10.0, 2.0, |x| x * x) - 2f64.sqrt()).abs() < 1e-15);
    }
}
