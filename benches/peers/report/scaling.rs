//! How time grows: the slope of log seconds on log size, with its standard error.

use super::Records;

/// Growth of a contestant's time along a sweep.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exponent {
    pub(super) contestant: String,
    pub(super) slope: f64,
    /// Of least squares; none for two points.
    pub(super) standard_error: Option<f64>,
}

/// The exponents of a set's contestants, in the order of the record.
pub(super) fn exponents(records: &Records, set: &str) -> Vec<Exponent> {
    let mut found: Vec<Exponent> = Vec::new();
    for (contestant, points) in series(records, set) {
        let logs: Vec<(f64, f64)> = points.iter().map(|&(at, seconds)| (at.ln(), seconds.ln())).collect();
        if let Some((slope, standard_error)) = slope(&logs) {
            found.push(Exponent { contestant, slope, standard_error });
        }
    }
    found
}

/// Medians of every contestant along a set's axis.
pub(super) fn series(records: &Records, set: &str) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut series: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for one in records.set(set).map_or(&[][..], |record| &record.measurements) {
        let Some(median) = one.median() else { continue };
        match series.iter_mut().find(|(contestant, _)| *contestant == one.contestant) {
            Some((_, points)) => points.push((one.at, median)),
            None => series.push((one.contestant.clone(), vec![(one.at, median)])),
        }
    }
    series
}

/// Least-squares slope and its standard error.
fn slope(points: &[(f64, f64)]) -> Option<(f64, Option<f64>)> {
    let n = points.len() as f64;
    if points.len() < 2 {
        return None;
    }
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
    let residual: f64 = points.iter().map(|point| (point.1 - y - slope * (point.0 - x)).powi(2)).sum();
    let error = (points.len() > 2).then(|| (residual / (n - 2.0) / spread).sqrt());
    Some((slope, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_by_hand() {
        assert_eq!(slope(&[(0.0, 1.0)]), None);
        assert_eq!(slope(&[(0.0, 1.0), (2.0, 5.0)]), Some((2.0, None)));
        // Residuals 1/6, -1/3, 1/6 about the slope 1/2: error sqrt(1/6 / 1 / 2).
        let (found, error) = slope(&[(0.0, 0.0), (1.0, 0.0), (2.0, 1.0)]).unwrap();
        assert!((found - 0.5).abs() < 1e-12 && (error.unwrap() - (1.0_f64 / 12.0).sqrt()).abs() < 1e-12);
    }
}
