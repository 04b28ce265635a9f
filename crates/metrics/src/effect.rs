//! An estimated difference with everything that a page says about it, and the test that it is no larger than a margin.

use crate::error::{Error, Result};
use crate::parts::Parts;

/// A difference of two rows with its interval and test.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The difference.
    pub estimate: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Probability that the interval aims to cover.
    pub level: f64,
    /// Two-sided, of no difference; at most `1 - level` exactly where the interval excludes 0.
    pub p_value: f64,
    /// `p_value` after Holm's correction over the family.
    pub corrected: f64,
    /// Standard error over texts: the root of the persistent variance.
    pub error_over_texts: f64,
    /// Standard error over seeds, of both sides.
    pub error_over_seeds: f64,
    /// Degrees of freedom of all variances together (Satterthwaite), for readers; infinite without variance. The test itself takes a
    /// quantile of each.
    pub degrees_of_freedom: f64,
    /// Degrees of freedom of the row's own variance over seeds.
    pub degrees_of_freedom_over_seeds: f64,
    /// Whether other rows had a say in the row's variance over seeds.
    pub moderated: bool,
    pub(crate) parts: Parts,
}

/// Whether a difference is shown to be within a margin.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Equivalence {
    /// The margin, named before the data were seen.
    pub margin: f64,
    /// The larger of the two one-sided p-values.
    pub p_value: f64,
    /// Level at which it is decided.
    pub alpha: f64,
}

impl Effect {
    /// An estimate whose variances are `of_texts` and `of_seeds`.
    pub(crate) fn new(estimate: f64, of_texts: f64, of_seeds: f64, parts: Parts, level: f64) -> Result<Self> {
        if !(level > 0.0 && level < 1.0) {
            return Err(Error::Setting { what: "level", value: level, expected: "(0, 1)" });
        }
        let variance = parts.variance();
        let half = if variance > 0.0 { parts.quantile((1.0 - level) / 2.0) * variance.sqrt() } else { 0.0 };
        let p_value = two_sided(&parts, estimate);
        Ok(Self {
            estimate,
            lower: estimate - half,
            upper: estimate + half,
            level,
            p_value,
            corrected: p_value,
            error_over_texts: of_texts.sqrt(),
            error_over_seeds: of_seeds.sqrt(),
            degrees_of_freedom: parts.degrees_of_freedom(),
            degrees_of_freedom_over_seeds: f64::INFINITY,
            moderated: false,
            parts,
        })
    }

    /// Two-sided p-value that the difference is `stated`; [`Self::p_value`] is that of 0.
    pub fn p_value_of(&self, stated: f64) -> f64 {
        two_sided(&self.parts, self.estimate - stated)
    }

    /// Two one-sided tests (Schuirmann 1987) that the difference lies in `(-margin, margin)`, on the same variances as the test of no
    /// difference: the larger p-value, that against the nearer end.
    ///
    /// It is shown at `alpha` exactly where the interval of level `1 - 2 alpha` lies within the margin.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `margin > 0` and `0 < alpha <= 1/2`.
    pub fn equivalence(&self, margin: f64, alpha: f64) -> Result<Equivalence> {
        for (what, value, ok, expected) in [
            ("margin", margin, margin > 0.0 && margin.is_finite(), "(0, inf)"),
            ("alpha", alpha, alpha > 0.0 && alpha <= 0.5, "(0, 0.5]"),
        ] {
            if !ok {
                return Err(Error::Setting { what, value, expected });
            }
        }
        let (inside, error) = (margin - self.estimate.abs(), self.parts.variance().sqrt());
        let p_value = if error > 0.0 {
            let tail = self.parts.tail(inside.abs() / error);
            if inside > 0.0 { tail } else { 1.0 - tail }
        } else {
            f64::from(u8::from(inside <= 0.0))
        };
        Ok(Equivalence { margin, p_value, alpha })
    }
}

/// p-value that what was estimated as `estimate` is 0. Without variance there is no law: it is 1 for 0 and 0 otherwise.
fn two_sided(parts: &Parts, estimate: f64) -> f64 {
    let variance = parts.variance();
    if variance > 0.0 {
        return (2.0 * parts.tail(estimate.abs() / variance.sqrt())).min(1.0);
    }
    if estimate == 0.0 { 1.0 } else { 0.0 }
}

impl Equivalence {
    /// Whether it is shown.
    pub fn is_shown(&self) -> bool {
        self.p_value <= self.alpha
    }
}

/// As a table says it: `equivalent within 0.01`, or `not shown`.
impl std::fmt::Display for Equivalence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_shown() { write!(f, "equivalent within {}", self.margin) } else { f.write_str("not shown") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::Part;

    fn effect(estimate: f64, level: f64) -> Effect {
        let part = |variance: f64, degrees_of_freedom| Part { variance, degrees_of_freedom };
        let parts = Parts::new([part(4e-4, 4.0), part(1e-4, 499.0)]);
        Effect::new(estimate, 1e-4, 4e-4, parts, level).unwrap()
    }

    #[test]
    fn the_interval_excludes_nothing_exactly_where_p_is_below_its_level() {
        let edge = effect(0.0, 0.95).upper;
        assert!((effect(edge, 0.95).p_value - 0.05).abs() < 1e-9);
        // Cochran and Cox: (0.8 t_4 + 0.2 t_499) sqrt V by scipy.
        assert!((edge - (0.8 * 2.776_445_105_197_794_3 + 0.2 * 1.964_729_390_987_664) * 5e-4_f64.sqrt()).abs() < 1e-9);
        for estimate in [-0.1, -0.04, 0.0, 0.03, 0.0593, 0.0594, 0.2] {
            let found = effect(estimate, 0.95);
            assert_eq!(found.p_value <= 0.05, found.lower > 0.0 || found.upper < 0.0, "{found:?}");
        }
    }

    #[test]
    fn equivalence_is_an_interval_of_ninety_per_cent_within_the_margin() {
        for estimate in [-0.05, -0.01, 0.0, 0.02, 0.07] {
            let found = effect(estimate, 0.9);
            for margin in [0.01, 0.04, 0.06, 0.1, 0.3] {
                let within = found.lower > -margin && found.upper < margin;
                let shown = found.equivalence(margin, 0.05).unwrap();
                assert_eq!(shown.is_shown(), within, "{estimate}, {margin}: {shown:?}");
                let words = if within { format!("equivalent within {margin}") } else { "not shown".to_owned() };
                assert_eq!(shown.to_string(), words);
            }
        }
        assert!((effect(0.05, 0.9).p_value_of(0.03) - effect(0.02, 0.9).p_value).abs() < 1e-12);
        // On the margin itself nothing speaks for it.
        assert!((effect(0.05, 0.9).equivalence(0.05, 0.05).unwrap().p_value - 0.5).abs() < 1e-12);
    }

    #[test]
    fn no_variance_is_no_evidence_or_certainty() {
        let without = |estimate| Effect::new(estimate, 0.0, 0.0, Parts::new([]), 0.95).unwrap();
        assert_eq!([without(0.0).p_value, without(0.1).p_value].map(f64::to_bits), [1.0_f64, 0.0].map(f64::to_bits));
        assert!(without(0.1).equivalence(0.2, 0.05).unwrap().is_shown());
        assert!(!without(0.2).equivalence(0.2, 0.05).unwrap().is_shown());
    }

    #[test]
    fn bad_settings_are_refused() {
        let message = |margin, alpha| effect(0.0, 0.9).equivalence(margin, alpha).unwrap_err().to_string();
        assert_eq!(message(0.0, 0.05), "margin is 0, expected a number in (0, inf)");
        assert_eq!(message(0.1, 0.7), "alpha is 0.7, expected a number in (0, 0.5]");
    }
}
