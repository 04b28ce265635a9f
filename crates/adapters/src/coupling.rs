//! How the noise of different Monte-Carlo samples depends on each other: coupled samples cover a multiplier's law more evenly
//! than independent ones, and each of them alone has the same law.
//!
//! Samples are coupled within groups of consecutive numbers, and groups are independent. The random words of a group are drawn
//! once, at the address of its first sample; sample `t` of the group reads them through an affine bijection
//! `w -> m_t w + a_t` of the 32-bit words, so that every sample's words are uniform and those of different components are
//! independent.
//!
//! - Antithetic (Hammersley and Morton, "A new Monte Carlo technique: antithetic variates", 1956): `w` and its complement
//!   `2^32 - 1 - w`. Two multipliers `z` of a pair have covariance `-(min(p, q) / q)^2`.
//! - Balanced: `w + t (2 w + 1) 2^32 / G` for a group of `G = 2^g` samples. As `2 w + 1` is odd, `t (2 w + 1)` runs through all
//!   residues of `G`: the words are a systematic sample with random start (Madow and Madow, "On the theory of systematic
//!   sampling", 1944), and a component is dropped in `floor(p G)` or `ceil(p G)` samples of each group. The odd factor puts them into
//!   an order of the component's own. In one order for all, `w + t 2^32 / G`, the samples that drop one component are
//!   neighbours of those that drop another or far from them, and products of two multipliers keep a variance that does not
//!   fall with `G` at all.

use std::fmt;
use std::str::FromStr;

use bayeslora_kernels::Turn;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the noise of consecutive samples is coupled.
///
/// # Examples
/// ```
/// use bayeslora_adapters::Coupling;
/// let coupling: Coupling = "balanced-16".parse()?;
/// assert_eq!((coupling.group(), coupling.to_string().as_str()), (16, "balanced-16"));
/// assert!("balanced-12".parse::<Coupling>().is_err());
/// # Ok::<(), bayeslora_adapters::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Coupling {
    /// Not at all.
    #[default]
    Independent,
    /// Samples `2 i` and `2 i + 1` are opposite: what one drops the other keeps where `p <= 1/2`; normal numbers change sign.
    Antithetic,
    /// Samples `G i` to `G i + G - 1` share out the law of every multiplier; normal numbers are made of words so shared out.
    Balanced(GroupSize),
}

/// Number of samples `G = 2^g` in a balanced group. The number of samples of a prediction is the natural choice: a group that
/// a prediction does not finish is less balanced than it could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSize {
    log2: u32,
}

impl GroupSize {
    /// Of `samples`.
    ///
    /// # Errors
    /// [`Error::Setting`] unless it is a power of two from 2 to 65,536.
    pub fn new(samples: u32) -> Result<Self> {
        if samples.is_power_of_two() && (2..=1 << 16).contains(&samples) {
            Ok(Self { log2: samples.ilog2() })
        } else {
            let expected = "a power of two from 2 to 65536";
            Err(Error::Setting { name: "balanced group", got: f64::from(samples), expected })
        }
    }

    /// `G`.
    pub fn samples(self) -> u32 {
        1 << self.log2
    }
}

impl Coupling {
    /// Samples in a group: averages over whole groups (of numbers `group i` to `group i + group - 1`) are independent.
    pub fn group(self) -> u32 {
        match self {
            Self::Independent => 1,
            Self::Antithetic => 2,
            Self::Balanced(size) => size.samples(),
        }
    }

    /// The first sample of the group that `sample` belongs to.
    pub(crate) fn first(self, sample: u32) -> u32 {
        sample - sample % self.group()
    }

    /// What `sample` makes of the words of its group.
    pub(crate) fn turn(self, sample: u32) -> Turn {
        let member = sample % self.group();
        match self {
            _ if member == 0 => Turn::NONE,
            Self::Independent => Turn::NONE,
            // -w - 1 is the complement.
            Self::Antithetic => Turn { factor: u32::MAX, shift: u32::MAX },
            Self::Balanced(size) => {
                let shift = member << (32 - size.log2);
                Turn { factor: shift.wrapping_mul(2).wrapping_add(1), shift }
            }
        }
    }
}

impl fmt::Display for Coupling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Independent => f.write_str("independent"),
            Self::Antithetic => f.write_str("antithetic"),
            Self::Balanced(size) => write!(f, "balanced-{}", size.samples()),
        }
    }
}

impl FromStr for Coupling {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let size = |digits: &str| digits.parse().ok().and_then(|samples| GroupSize::new(samples).ok());
        match word {
            "independent" => Some(Self::Independent),
            "antithetic" => Some(Self::Antithetic),
            _ => word.strip_prefix("balanced-").and_then(size).map(Self::Balanced),
        }
        .ok_or_else(|| Error::Word {
            what: "coupling",
            got: word.to_owned(),
            expected: "independent, antithetic, balanced-G (G samples in a group, a power of two from 2 to 65536)"
                .to_owned(),
        })
    }
}

impl TryFrom<String> for Coupling {
    type Error = Error;

    fn try_from(word: String) -> Result<Self> {
        word.parse()
    }
}

impl From<Coupling> for String {
    fn from(coupling: Coupling) -> Self {
        coupling.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balanced(samples: u32) -> Coupling {
        Coupling::Balanced(GroupSize::new(samples).unwrap())
    }

    #[test]
    fn words_parse_back_and_errors_list_them() {
        for coupling in [Coupling::Independent, Coupling::Antithetic, balanced(2), balanced(16), balanced(65_536)] {
            assert_eq!(coupling.to_string().parse::<Coupling>().unwrap(), coupling);
        }
        for word in ["balanced", "balanced-", "balanced-12", "balanced-1", "balanced-131072", "balanced--2", ""] {
            let message = word.parse::<Coupling>().unwrap_err().to_string();
            assert_eq!(
                message,
                format!(
                    "unknown coupling `{word}`; expected one of: independent, antithetic, balanced-G (G samples in a \
                     group, a power of two from 2 to 65536)"
                )
            );
        }
        let message = GroupSize::new(12).unwrap_err().to_string();
        assert_eq!(message, "balanced group is 12; expected a power of two from 2 to 65536");
    }

    /// The words of a group are one start plus every multiple of `2^32 / G`, each once.
    #[test]
    fn balanced_groups_are_systematic_samples() {
        for samples in [2_u32, 8, 64, 65_536] {
            let step = 1_u64 << 32 >> samples.ilog2();
            for word in [0, 1, 2, 77, 0x8000_0000, 0xdead_beef, u32::MAX] {
                let mut words: Vec<u64> = (0..samples)
                    .map(|sample| u64::from(balanced(samples).turn(3 * samples + sample).of(word)))
                    .collect();
                assert_eq!(words[0], u64::from(word));
                words.sort_unstable();
                assert!(words.windows(2).all(|pair| pair[1] - pair[0] == step), "{word} in {samples}");
            }
        }
        assert_eq!(Coupling::Antithetic.turn(7).of(0xdead_beef), !0xdead_beef);
        assert_eq!((Coupling::Antithetic.first(7), balanced(8).first(23), Coupling::Independent.first(5)), (6, 16, 5));
    }

    /// Every turn is a bijection: odd factors are invertible. Checked on the low 16 bits, which it maps among themselves.
    #[test]
    fn turns_keep_words_uniform() {
        for turn in [Coupling::Antithetic.turn(1), balanced(65_536).turn(12_345), balanced(4).turn(3)] {
            let mut seen = vec![false; 1 << 16];
            for word in 0..1_u32 << 16 {
                seen[(turn.of(word) & 0xFFFF) as usize] = true;
            }
            assert!(seen.into_iter().all(|seen| seen), "{turn:?}");
        }
    }
}
