//! What a check finds: p-values of comparisons, errors of identities, and the size of the effect.

use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

/// An estimate with its interval.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Effect {
    /// What is estimated.
    pub name: &'static str,
    /// The estimate.
    pub value: f64,
    /// Its 95 % interval, where it was estimated from samples.
    pub interval: Option<(f64, f64)>,
}

/// A measurement beside its prediction, for figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// What was measured.
    pub of: &'static str,
    /// Prediction; none where the theory has none.
    pub predicted: Option<f64>,
    /// Measurement.
    pub measured: f64,
    /// Its standard error.
    pub standard_error: f64,
}

/// Numbers that a check reports for each point of its grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// What the table holds, as a heading.
    pub title: &'static str,
    /// Head of each column.
    pub columns: &'static [&'static str],
    /// One row a point, a cell a column.
    pub rows: Vec<Vec<String>>,
}

/// What a check found on its grid.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Smallest p-value of the comparisons after Holm's correction over them; for an identity 1 where the largest error is
    /// rounding, 0 where it is not.
    pub p_value: f64,
    /// What it was computed from: largest absolute standardised deviation, or error in units of its bound.
    pub statistic: f64,
    /// Comparisons made.
    pub comparisons: usize,
    /// Grid points.
    pub points: usize,
    /// Size of what was found.
    pub effect: Effect,
    /// The numbers a reader would ask for, in sentences: leaks, counter-examples.
    pub note: String,
    /// The same point by point, where there are too many for a sentence.
    pub values: Option<Values>,
    /// Measurements that a figure shows, in the order of the grid.
    pub seen: Vec<Seen>,
}

/// Collects the comparisons of a statistical check.
#[derive(Debug, Default)]
pub struct Comparisons {
    p_values: Vec<f64>,
    largest: f64,
    /// Sums of `w p m` and `w p^2` for the regression of measured on predicted through the origin, `w = 1 / se^2`.
    slope: (f64, f64),
}

impl Comparisons {
    /// `measured` against `predicted`, with the standard error of `measured`. Where the standard error is rounding, both
    /// must agree to rounding.
    pub fn add(&mut self, measured: f64, predicted: f64, standard_error: f64) {
        let rounding = 1e-12 * predicted.abs().max(measured.abs());
        if standard_error <= rounding {
            let agrees = (measured - predicted).abs() <= 1e3 * rounding;
            self.p_values.push(if agrees { 1.0 } else { 0.0 });
        } else {
            self.push((measured - predicted) / standard_error, two_sided);
        }
    }

    /// As [`Self::add`], for a comparison independent of the others added so: it also counts towards the slope of measured
    /// on predicted.
    pub fn add_independent(&mut self, measured: f64, predicted: f64, standard_error: f64) {
        self.add(measured, predicted, standard_error);
        self.weigh(measured, predicted, standard_error);
    }

    /// The mean of independent `values` against `predicted`, by Student's t; `pooled` counts it towards the slope.
    pub fn add_mean(&mut self, values: &[f64], predicted: f64, pooled: bool) {
        let (mean, standard_error) = mean_and_error(values);
        if standard_error <= 1e-12 * mean.abs() {
            return self.add(mean, predicted, 0.0);
        }
        let degrees = values.len() as f64 - 1.0;
        self.push((mean - predicted) / standard_error, |t| student(t, degrees));
        if pooled {
            self.weigh(mean, predicted, standard_error);
        }
    }

    fn push(&mut self, deviation: f64, p_value: impl Fn(f64) -> f64) {
        self.largest = self.largest.max(deviation.abs());
        self.p_values.push(p_value(deviation));
    }

    fn weigh(&mut self, measured: f64, predicted: f64, standard_error: f64) {
        if standard_error > 0.0 {
            let weight = standard_error.powi(-2);
            self.slope.0 += weight * predicted * measured;
            self.slope.1 += weight * predicted * predicted;
        }
    }

    /// The evidence: single comparisons together with the slope of measured on predicted, which is 1 under the law.
    pub fn evidence(mut self, points: usize, note: String) -> Evidence {
        let slope = self.slope.0 / self.slope.1;
        let standard_error = self.slope.1.powf(-0.5);
        if slope.is_finite() {
            let z = (slope - 1.0) / standard_error;
            self.largest = self.largest.max(z.abs());
            self.p_values.push(two_sided(z));
        }
        Evidence {
            p_value: smallest_corrected(&self.p_values),
            statistic: self.largest,
            comparisons: self.p_values.len(),
            points,
            effect: Effect {
                name: "measured / predicted",
                value: slope,
                interval: Some((slope - 1.96 * standard_error, slope + 1.96 * standard_error)),
            },
            note,
            values: None,
            seen: Vec::new(),
        }
    }
}

impl Evidence {
    /// The evidence of an identity: its largest error in units of a bound on rounding (or on what is neglected).
    pub fn identity(errors: &[f64], points: usize, name: &'static str, note: String) -> Self {
        let largest =
            errors.iter().fold(0.0, |largest, &error| if error > largest || error.is_nan() { error } else { largest });
        // NaN compares false: it refutes.
        let holds = errors.iter().all(|&error| error <= 1.0);
        Self {
            p_value: if holds { 1.0 } else { 0.0 },
            statistic: largest,
            comparisons: errors.len(),
            points,
            effect: Effect { name, value: largest, interval: None },
            note,
            values: None,
            seen: Vec::new(),
        }
    }
}

/// Smallest of the p-values after Holm's correction, whose first step decides whether any is rejected. One that is not a number
/// comes of a comparison that could not be made: it counts as 0, because nothing was shown.
pub(crate) fn smallest_corrected(p_values: &[f64]) -> f64 {
    let smallest = p_values.iter().fold(1.0, |smallest, &p| if p.is_nan() { 0.0 } else { f64::min(smallest, p) });
    (smallest * p_values.len() as f64).min(1.0)
}

/// Two-sided p-value of a standard normal number.
pub(crate) fn two_sided(z: f64) -> f64 {
    2.0 * Normal::standard().sf(z.abs())
}

/// Two-sided p-value of Student's t.
pub(crate) fn student(t: f64, degrees: f64) -> f64 {
    StudentsT::new(0.0, 1.0, degrees).map_or(f64::NAN, |distribution| 2.0 * distribution.sf(t.abs()))
}

/// Mean and its standard error (divisor `n - 1`).
pub(crate) fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (n - 1.0) / n).sqrt())
}

/// Slope of the regression of `y` on `x` with its standard error and degrees of freedom.
pub(crate) fn regression(x: &[f64], y: &[f64]) -> (f64, f64, f64) {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let spread: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
    let slope = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
    let residual: f64 = x.iter().zip(y).map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum();
    let degrees = n - 2.0;
    (slope, (residual / degrees / spread).sqrt(), degrees)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_refutes() {
        assert!(smallest_corrected(&[0.5, f64::NAN, 0.9]) < 1e-300);
        let mut comparisons = Comparisons::default();
        comparisons.add(1.0, 1.0, 0.1);
        comparisons.add(f64::NAN, 1.0, 0.1);
        assert!(comparisons.evidence(1, String::new()).p_value < 1e-300);
        let identity = Evidence::identity(&[0.1, f64::NAN, 0.2], 1, "error", String::new());
        assert!(identity.p_value < 1e-300 && identity.statistic.is_nan());
    }

    #[test]
    fn p_values_and_regressions_are_those_of_the_textbook() {
        // scipy: 2 * norm.sf(1.96), 2 * t.sf(2, 5). statrs's error function is good to ten digits, not to the last.
        let got = two_sided(-1.96);
        assert!((got - 0.049_995_790_296_440_87).abs() < 1e-11, "{got:e}");
        assert!((student(2.0, 5.0) - 0.101_939_478_829_858_35).abs() < 1e-9);
        let (slope, error, degrees) = regression(&[0.0, 1.0, 2.0, 3.0], &[1.0, 3.0, 4.0, 8.0]);
        // Slope 11 / 5, residual sum of squares 1.8.
        assert!((slope - 2.2).abs() < 1e-14 && (error - (1.8_f64 / 2.0 / 5.0).sqrt()).abs() < 1e-14, "{error}");
        assert!((degrees - 2.0).abs() < 1e-15);
    }

    #[test]
    fn an_exact_agreement_needs_no_spread_and_a_difference_without_one_refutes() {
        let evidence = |measured| {
            let mut comparisons = Comparisons::default();
            comparisons.add(measured, 2.0, 0.0);
            comparisons.evidence(1, String::new()).p_value
        };
        assert!(evidence(2.0) > 0.99 && evidence(2.1) < 1e-300);
    }
}
