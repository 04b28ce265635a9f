//! Where dropout acts, how far one draw reaches, and how much it keeps.

use std::fmt;
use std::str::FromStr;

use bayeslora_kernels::Keep;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where the multipliers `z` act (theory.md, section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropoutSite {
    /// On the adapter's input, `s B A (z * x)`: what PEFT's `lora_dropout` does.
    Input,
    /// On the rank components, `s B (z * (A x))`.
    Rank,
    /// On every entry of the down-projection, `s B ((Z * A) x)`.
    Weight,
}

impl DropoutSite {
    /// Every site.
    pub const ALL: [Self; 3] = [Self::Input, Self::Rank, Self::Weight];

    /// The word used in experiment files and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Rank => "rank",
            Self::Weight => "weight",
        }
    }
}

impl fmt::Display for DropoutSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for DropoutSite {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let sites = Self::ALL;
        sites.into_iter().find(|site| site.word() == word).ok_or_else(|| Error::Word {
            what: "dropout site",
            got: word.to_owned(),
            expected: sites.map(Self::word).join(", "),
        })
    }
}

/// How far one draw of the noise reaches (methods.md, section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskScope {
    /// Fresh noise at every position of every example (PEFT's dropout).
    Token,
    /// One draw per example, read along the sentence: one weight sample, the Bayesian reading.
    Sequence,
    /// One draw per Monte-Carlo sample, shared by all examples.
    Sample,
}

impl MaskScope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Token, Self::Sequence, Self::Sample];

    /// The word used in experiment files and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Sequence => "sequence",
            Self::Sample => "sample",
        }
    }
}

impl fmt::Display for MaskScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for MaskScope {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let scopes = Self::ALL;
        scopes.into_iter().find(|scope| scope.word() == word).ok_or_else(|| Error::Word {
            what: "mask scope",
            got: word.to_owned(),
            expected: scopes.map(Self::word).join(", "),
        })
    }
}

/// The probability `q = 1 - p` that a component is kept. PEFT's `lora_dropout` is `p`, not `q`.
///
/// # Examples
/// ```
/// use bayeslora_adapters::KeepProbability;
/// let q = KeepProbability::from_dropout(0.2)?;
/// assert!((q.value() - 0.8).abs() < 1e-15);
/// assert!((q.multiplier_variance() - 0.25).abs() < 1e-15);
/// assert!(KeepProbability::from_dropout(1.0).is_err());
/// # Ok::<(), bayeslora_adapters::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct KeepProbability(f64);

impl KeepProbability {
    /// Nothing is ever dropped.
    pub const ONE: Self = Self(1.0);

    /// From the dropout probability `p`.
    ///
    /// # Errors
    /// [`Error::DropoutProbability`] unless `0 <= p < 1`.
    pub fn from_dropout(p: f64) -> Result<Self> {
        if (0.0..1.0).contains(&p) { Ok(Self(1.0 - p)) } else { Err(Error::DropoutProbability { got: p }) }
    }

    /// `q`.
    pub fn value(self) -> f64 {
        self.0
    }

    /// `p = 1 - q`.
    pub fn dropout(self) -> f64 {
        1.0 - self.0
    }

    /// `kappa = Var z = (1 - q) / q` of the inverted multiplier `z = Bernoulli(q) / q`.
    pub fn multiplier_variance(self) -> f64 {
        (1.0 - self.0) / self.0
    }

    /// The value `1 / q` of a kept multiplier.
    #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
    pub fn multiplier(self) -> f32 {
        (1.0 / self.0) as f32
    }

    /// The rule by which 32-bit words decide the multipliers.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "q is in (0, 1]")]
    pub(crate) fn keep(self) -> Keep {
        Keep { threshold: (self.0 * 4_294_967_296.0).round() as u64, value: self.multiplier() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_parse_back_and_errors_list_them() {
        for site in DropoutSite::ALL {
            assert_eq!(site.word().parse::<DropoutSite>().unwrap(), site);
        }
        for scope in MaskScope::ALL {
            assert_eq!(scope.word().parse::<MaskScope>().unwrap(), scope);
        }
        assert_eq!(
            "rnak".parse::<DropoutSite>().unwrap_err().to_string(),
            "unknown dropout site `rnak`; expected one of: input, rank, weight"
        );
    }

    #[test]
    fn keep_probability_refuses_what_is_not_one() {
        for p in [-0.1, 1.0, 1.5, f64::NAN, f64::INFINITY] {
            let message = KeepProbability::from_dropout(p).unwrap_err().to_string();
            assert_eq!(message, format!("dropout probability is {p}; expected 0 <= p < 1"));
        }
        assert_eq!(KeepProbability::from_dropout(0.0).unwrap().keep().threshold, 1 << 32);
        assert_eq!(KeepProbability::from_dropout(0.5).unwrap().keep().threshold, 1 << 31);
    }
}
