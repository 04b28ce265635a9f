//! A share of runs with its exact upper bound (Clopper and Pearson 1934).

use statrs::distribution::{Beta, ContinuousCDF};

/// Confidence of the bound.
const CONFIDENCE: f64 = 0.95;

/// Some of some runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// How many.
    pub found: u64,
    /// Of how many.
    pub of: u64,
}

impl Share {
    /// Adds what a run found.
    pub fn add(&mut self, found: u64, of: u64) {
        self.found += found;
        self.of += of;
    }

    /// The share; NaN of none.
    pub fn value(self) -> f64 {
        self.found as f64 / self.of as f64
    }

    /// The largest probability under which as few or fewer are found one time in twenty.
    pub fn upper(self) -> f64 {
        if self.found >= self.of {
            return 1.0;
        }
        let law = Beta::new(self.found as f64 + 1.0, (self.of - self.found) as f64);
        law.map_or(f64::NAN, |law| law.inverse_cdf(CONFIDENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_binomial_law() {
        // None of n: (1 - p)^n = 0.05.
        let none = Share { found: 0, of: 100 };
        assert!((none.upper() - (1.0 - 0.05_f64.powf(0.01))).abs() < 1e-9, "{}", none.upper());
        // scipy.stats.beta.ppf(0.95, 51, 950).
        let some = Share { found: 50, of: 1000 };
        assert!((some.upper() - 0.062_863_4).abs() < 1e-6, "{}", some.upper());
        assert!((Share { found: 3, of: 3 }.upper() - 1.0).abs() < 1e-15);
    }
}
