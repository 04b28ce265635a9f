//! Scores that owe all they know of errors to the entropy of the pass: how often is one said to know more?
//!
//! A text has a logit; the fit of a seed adds noise to it, and is calibrated: it errs with the probability that its own pass says. Errors
//! of different fits on one text are correlated, as texts are hard for every fit. A score is a curved function of the entropy times noise that
//! the fits share in part as well. A family is five such scores; where power is counted, errors raise the logarithm of each.

use bayeslora_metrics::{
    FitScores, Result as Tested, TEXTS_A_STRATUM, association, holm, over_examples_and_seeds, partial_spearman,
};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::differences::{LEVEL, Level};
use crate::error::{Error, Result};
use crate::random::{normal, normals, stream};

/// Scores of a family.
pub const SCORES: usize = 5;
/// What errors add to the logarithm of a score where power is counted.
pub const RAISED: f64 = 0.25;
/// The test in use is run on so many times as many draws as the others.
const FEWER: u64 = 5;
/// Share of the variance of errors and of scores that fits have in common.
const PERSISTENT: f64 = 0.6;

/// A way to test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Permutation within strata of about so many texts, over texts and fits.
    Strata(usize),
    /// The same of the fits at hand alone: the mean coefficient beside its error over texts.
    TheseFits,
    /// The t law of the partial rank correlation, over texts and seeds.
    Partial,
    /// As if every fit had texts of its own.
    Pooled,
}

/// What a cell gave.
#[derive(Debug, Clone)]
pub struct Associations {
    /// Fits that share the texts.
    pub fits: usize,
    /// Texts.
    pub texts: usize,
    /// In the order of [`Way::ALL`].
    pub levels: Vec<Level>,
}

impl Way {
    /// In the order of tables; the first is in use.
    pub const ALL: [Self; 7] = [
        Self::Strata(TEXTS_A_STRATUM),
        Self::TheseFits,
        Self::Partial,
        Self::Pooled,
        Self::Strata(10),
        Self::Strata(40),
        Self::Strata(100),
    ];

    /// Name in tables.
    pub fn name(self) -> String {
        match self {
            Self::Strata(texts) => format!("strata of {texts}"),
            Self::TheseFits => "these fits".to_owned(),
            Self::Partial => "partial t".to_owned(),
            Self::Pooled => "texts pooled".to_owned(),
        }
    }

    fn p_value(self, score: &[Vec<f64>], drawn: &Drawn) -> Tested<f64> {
        let fits = score.iter().zip(&drawn.errors).zip(&drawn.entropy);
        match self {
            Self::Strata(_) | Self::TheseFits => {
                let fits = fits.map(|((score, errors), given)| FitScores { score, errors, given });
                let texts = if let Self::Strata(texts) = self { texts } else { TEXTS_A_STRATUM };
                let mut found = association(&fits.collect::<Vec<_>>(), texts)?;
                if self == Self::TheseFits {
                    found.per_fit = vec![found.coefficient];
                }
                Ok(found.over_texts_and_fits(1.0 - LEVEL)?.p_value)
            }
            Self::Pooled => {
                let (score, errors, given) = (score.concat(), drawn.errors.concat(), drawn.entropy.concat());
                let one = FitScores { score: &score, errors: &errors, given: &given };
                Ok(association(&[one], TEXTS_A_STRATUM)?.over_texts_and_fits(1.0 - LEVEL)?.p_value)
            }
            Self::Partial => {
                let mut per_fit = Vec::new();
                for ((score, errors), given) in fits {
                    let errors: Vec<f64> = errors.iter().map(|&error| f64::from(u8::from(error))).collect();
                    per_fit.push(partial_spearman(score, &errors, given)?.coefficient);
                }
                let mean = per_fit.iter().sum::<f64>() / per_fit.len() as f64;
                let degrees = score[0].len() as f64 - 3.0;
                let error = ((1.0 - mean * mean) / degrees).sqrt();
                Ok(over_examples_and_seeds(&per_fit, error, degrees, 1.0 - LEVEL)?.p_value)
            }
        }
    }
}

/// One draw: `[fits][texts]`.
struct Drawn {
    entropy: Vec<Vec<f64>>,
    errors: Vec<Vec<bool>>,
    /// Noise of each score's logarithm, `[scores][fits][texts]`.
    noise: Vec<Vec<Vec<f64>>>,
}

impl Drawn {
    fn new(fits: usize, texts: usize, random: &mut ChaCha8Rng) -> Self {
        let logits: Vec<f64> = normals(texts, random).into_iter().map(|z| 2.0 * z).collect();
        let shared = |random: &mut ChaCha8Rng| -> Vec<Vec<f64>> {
            let common = normals(texts, random);
            let mix = |common: &f64, own: f64| PERSISTENT.sqrt() * common + (1.0 - PERSISTENT).sqrt() * own;
            (0..fits).map(|_| common.iter().map(|common| mix(common, normal(random))).collect()).collect()
        };
        let hardness = shared(random);
        let noise = (0..SCORES).map(|_| shared(random)).collect();
        let (mut entropy, mut errors) = (Vec::new(), Vec::new());
        for hard in hardness {
            let seen: Vec<f64> = logits.iter().map(|logit| (logit + 0.5 * normal(random)).abs()).collect();
            let wrong = |logit: f64| 1.0 / (1.0 + logit.exp());
            entropy.push(seen.iter().map(|&logit| of_two(wrong(logit))).collect());
            let pairs = hard.iter().zip(&seen);
            errors.push(pairs.map(|(&hard, &logit)| Normal::standard().cdf(hard) < wrong(logit)).collect());
        }
        Self { entropy, errors, noise }
    }

    /// A score under every fit; errors raise its logarithm by `raised`.
    fn score(&self, number: usize, raised: f64) -> Vec<Vec<f64>> {
        let fits = self.entropy.iter().zip(&self.errors).zip(&self.noise[number]);
        fits.map(|((entropy, errors), noise)| {
            let texts = entropy.iter().zip(errors).zip(noise);
            let value = |((entropy, &error), noise): ((&f64, &bool), &f64)| {
                2.0 * entropy.max(1e-300).ln() + 0.5 * noise + raised * f64::from(u8::from(error))
            };
            texts.map(value).collect()
        })
        .collect()
    }
}

/// Entropy of two classes, in nats.
fn of_two(p: f64) -> f64 {
    -(p * p.ln() + (1.0 - p) * (-p).ln_1p())
}

/// Simulates `runs` families of scores; `on_run` is called after each.
///
/// # Errors
/// [`Error::Refused`] when a test refuses what was simulated.
pub fn associations(
    (fits, texts): (usize, usize),
    number: u64,
    runs: u64,
    seed: u64,
    on_run: &(dyn Fn() + Sync),
) -> Result<Associations> {
    let one = |run: u64| -> Tested<Vec<Level>> {
        let drawn = Drawn::new(fits, texts, &mut stream(seed, number, run));
        let mut levels = Vec::new();
        for way in Way::ALL {
            let mut level = Level::default();
            let family = |raised| -> Tested<Vec<f64>> {
                (0..SCORES).map(|score| way.p_value(&drawn.score(score, raised), &drawn)).collect()
            };
            let rejected = |p_values: &[f64]| p_values.iter().filter(|&&p| p <= LEVEL).count() as u64;
            // Levels need the most runs; the other ways and power have enough with fewer.
            let is_first = run < runs / FEWER;
            if is_first || way == Way::ALL[0] {
                let none = family(0.0)?;
                level.family.add(u64::from(rejected(&holm(&none)?) > 0), 1);
                level.single.add(rejected(&none), SCORES as u64);
            }
            if is_first {
                level.power.add(rejected(&holm(&family(RAISED)?)?), SCORES as u64);
            }
            levels.push(level);
        }
        on_run();
        Ok(levels)
    };
    let refused = |source| Error::Refused { what: format!("association, {fits} fits on {texts} texts"), source };
    let found: Vec<Vec<Level>> = (0..runs).into_par_iter().map(one).collect::<Tested<_>>().map_err(refused)?;
    let mut levels = vec![Level::default(); Way::ALL.len()];
    for own in found {
        for (level, own) in levels.iter_mut().zip(own) {
            level.merge(&own);
        }
    }
    Ok(Associations { fits, texts, levels })
}
