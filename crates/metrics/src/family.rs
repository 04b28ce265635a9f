//! A family of tests: rows named beforehand, one reading a fit, each compared with the same reference on one metric and test set.
//!
//! # The difference
//! A row has `S` fits, numbered by seed. The reference has `R >= S` fits, among them those at the row's seeds. Where a seed decides the
//! training set too, row and reference at one seed have noise in common. With `y_s` the row, `x_s` the reference, and means over the row's
//! seeds and over all of the reference,
//!
//! `D = mean_S(y - beta x) - (1 - beta) mean_R(x)`.
//!
//! `beta = 1` is the paired difference over the shared seeds, `beta = 0` the plain unpaired one; both estimate the same. The variance is
//! least at the slope of `y` on `x`: then `y - beta x` is uncorrelated with `x`, and
//!
//! `Var D = sigma^2_(y - beta x) (1 / S + (mean_S x - mean_R x)^2 / (K sum_S (x - mean_S x)^2)) + (1 - beta)^2 sigma^2_x / R`
//!
//! (the regression estimator of double sampling, Cochran 1977, section 12.6). One slope serves a group of `K` rows, their mean slope, held
//! within `[0, 1]`; the term with `K` is what its own error costs. Five seeds alone would not know a slope; twenty rows of five do.
//!
//! Why this and neither of the two plain forms (simulated, `S = 5`, `R = 20`, effects of four paired standard errors, after Holm over 20
//! rows). Without common noise: power 0.90 to 0.95, paired 0.69 to 0.82. With a correlation of one half: power 0.91 to 0.98, unpaired 0.62 to 0.78.
//! It has a third advantage: the residuals of two rows are independent, as moderation assumes; paired differences are not.
//!
//! Where the reference has no fits beyond the row's seeds, `D` does not depend on `beta`. Then `beta = 1`: paired differences, whose whole
//! variance is moderated. Where it has, and does not vary over the row's seeds, no slope can be known. Then `beta = 0`: a pair would be held
//! against a few fits that happen to be alike, as if all were.
//!
//! # The variances
//! Those of `y - beta x` over seeds are moderated over the rows of a group ([`Prior`]). Rows that read the reference's own fits in another way
//! (its mean, its dropout samples) vary with it and hardly apart from it: they are a group of their own. Added are the reference's variance
//! with `R - 1` degrees of freedom, and the persistent variance over texts. The law of the sum is that of Cochran and Cox.

use crate::effect::Effect;
use crate::error::{Error, Result};
use crate::fits::Fits;
use crate::inputs;
use crate::moderation::Prior;
use crate::multiplicity::holm;
use crate::parts::{Part, Parts};
use crate::persistent::Sums;

/// Where a row's predictions come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Origin {
    /// Fits of its own.
    OwnFit,
    /// The reference's fits, read in another way.
    ReferenceFit,
}

/// What equal seeds of a row and the reference mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Seeds {
    /// The same training set, initialisation or order of examples: noise in common.
    Shared,
    /// Nothing.
    Apart,
}

/// A row of a family.
#[derive(Debug, Clone, Copy)]
pub struct FamilyRow<'a> {
    /// What was measured.
    pub fits: &'a Fits,
    /// Where its predictions come from.
    pub origin: Origin,
}

/// Rows compared with one reference on one metric of one test set.
#[derive(Debug, Clone)]
pub struct Family<'a> {
    /// Fits of the reference: at least those at the rows' seeds where they are shared.
    pub reference: &'a Fits,
    /// Rows, one reading a fit; all with the same number of seeds.
    pub rows: Vec<FamilyRow<'a>>,
    /// What equal seeds mean.
    pub seeds: Seeds,
}

impl Family<'_> {
    /// Fewest seeds of a row: the slope and the mean leave a variance at least one degree of freedom, whatever the number of rows.
    pub const FEWEST_SEEDS: usize = 3;

    /// `row - reference` for every row, in their order, with Holm's correction over all of them. No rows give none.
    ///
    /// # Errors
    /// [`Error::TooFew`] below three seeds of a row or two of the reference, [`Error::Length`] where rows differ in their number of seeds or
    /// from the reference in their texts, [`Error::Seed`] for a seed of a row that the reference lacks, [`Error::Setting`] unless
    /// `0 < level < 1`.
    /// # Examples
    /// ```
    /// use bayeslora_metrics::{Family, FamilyRow, Fits, Origin, Seeds};
    /// // Losses of four texts under three fits: the row is better by a tenth, text by text and seed by seed.
    /// let losses = |gain: f64| -> Vec<Vec<f64>> {
    ///     [0.0, 0.01, 0.03].iter().map(|seed| [0.2, 0.9, 0.4, 0.1].iter().map(|text| text + seed - gain).collect()).collect()
    /// };
    /// let (row, reference) = (Fits::mean(&[1, 2, 3], &losses(0.1))?, Fits::mean(&[1, 2, 3], &losses(0.0))?);
    /// let rows = vec![FamilyRow { fits: &row, origin: Origin::OwnFit }];
    /// let found = Family { reference: &reference, rows, seeds: Seeds::Shared }.compare(0.95)?;
    /// assert!((found[0].estimate + 0.1).abs() < 1e-12 && found[0].p_value < 1e-6);
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn compare(&self, level: f64) -> Result<Vec<Effect>> {
        let Some(first) = self.rows.first() else { return Ok(Vec::new()) };
        let seeds = first.fits.values().len();
        inputs::at_least("seeds of a row", seeds, Self::FEWEST_SEEDS)?;
        for row in &self.rows {
            inputs::same_length("seeds of a row", row.fits.values().len(), "those of the first", seeds)?;
        }
        let reference = Reference { sums: Sums::new(self.reference)?, spread: Spread::of(self.reference.values()) };
        let mut found: Vec<Option<Effect>> = vec![None; self.rows.len()];
        for origin in [Origin::OwnFit, Origin::ReferenceFit] {
            let places: Vec<usize> = (0..self.rows.len()).filter(|&n| self.rows[n].origin == origin).collect();
            for (&place, effect) in places.iter().zip(self.group(&places, &reference, level)?) {
                found[place] = Some(effect);
            }
        }
        let mut found: Vec<Effect> = found.into_iter().flatten().collect();
        let corrected = holm(&found.iter().map(|effect| effect.p_value).collect::<Vec<_>>())?;
        for (effect, corrected) in found.iter_mut().zip(corrected) {
            effect.corrected = corrected;
        }
        Ok(found)
    }

    /// The rows at `places`, whose variances have something in common.
    fn group(&self, places: &[usize], reference: &Reference<'_>, level: f64) -> Result<Vec<Effect>> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let shared = self.seeds == Seeds::Shared;
        let rows = places.iter().map(|&place| self.paired(self.rows[place].fits)).collect::<Result<Vec<_>>>()?;
        let (seeds, number) = (rows[0].own.len() as f64, rows.len() as f64);
        let all = reference.spread;
        let has_further_fits = all.number > seeds;
        let is_fitted = shared && has_further_fits && rows.iter().any(Paired::reference_varies);
        let slope = if is_fitted {
            (rows.iter().map(Paired::slope).sum::<f64>() / number).clamp(0.0, 1.0)
        } else {
            f64::from(u8::from(shared && !has_further_fits))
        };
        // A slope that was fitted took its share of what the rows know.
        let own = seeds - 1.0 - if is_fitted { 1.0 / number } else { 0.0 };
        let residuals: Vec<Spread> = rows.iter().map(|row| Spread::of(&row.residuals(slope))).collect();
        let variances: Vec<f64> = residuals.iter().map(|spread| spread.squares / own).collect();
        let prior = Prior::fit(&variances, own)?;
        let average = variances.iter().sum::<f64>() / number;
        let of_reference = (1.0 - slope).powi(2) * all.variance() / all.number;
        let mut found = Vec::new();
        for (((&place, row), residual), &variance) in places.iter().zip(&rows).zip(&residuals).zip(&variances) {
            let over_seeds = prior.moderate(variance);
            let of_slope = row.doubled(all.mean) * average / number;
            let over_texts = Sums::new(self.rows[place].fits)?.difference(&reference.sums, shared)?;
            let parts = [
                (over_seeds.variance / seeds, over_seeds.degrees_of_freedom),
                (of_slope, own * number),
                (of_reference, all.number - 1.0),
                (over_texts, self.rows[place].fits.degrees_of_freedom().min(self.reference.degrees_of_freedom())),
            ];
            let of_seeds = parts[..3].iter().map(|(variance, _)| variance).sum();
            let parts = Parts::new(parts.map(|(variance, degrees_of_freedom)| Part { variance, degrees_of_freedom }));
            let estimate = residual.mean - (1.0 - slope) * all.mean;
            let effect = Effect::new(estimate, over_texts, of_seeds, parts, level)?;
            found.push(Effect {
                degrees_of_freedom_over_seeds: over_seeds.degrees_of_freedom,
                moderated: prior.degrees_of_freedom > 0.0,
                ..effect
            });
        }
        Ok(found)
    }

    /// A row's values with those of the reference at its seeds, or without any where seeds mean nothing.
    fn paired(&self, fits: &Fits) -> Result<Paired> {
        let own = fits.values().to_vec();
        if self.seeds == Seeds::Apart {
            return Ok(Paired { others: vec![0.0; own.len()], own });
        }
        let of_reference = |seed: &u64| {
            let place = self.reference.seeds().iter().position(|other| other == seed);
            let problem = "of a row is not among those of the reference; fit the reference at every seed of its rows";
            place.map(|place| self.reference.values()[place]).ok_or(Error::Seed { seed: *seed, problem })
        };
        Ok(Paired { others: fits.seeds().iter().map(of_reference).collect::<Result<_>>()?, own })
    }
}

/// The reference with what is computed of it once.
struct Reference<'a> {
    sums: Sums<'a>,
    spread: Spread,
}

/// A row and the reference at its seeds.
struct Paired {
    own: Vec<f64>,
    others: Vec<f64>,
}

impl Paired {
    /// Whether the reference has more than one value at the row's seeds. Accuracies on few texts may all be alike.
    fn reference_varies(&self) -> bool {
        self.others.iter().any(|value| value.to_bits() != self.others[0].to_bits())
    }

    /// Slope of the row on the reference over its seeds; 0 where the reference does not vary.
    fn slope(&self) -> f64 {
        let (own, others) = (Spread::of(&self.own), Spread::of(&self.others));
        let pairs = self.own.iter().zip(&self.others);
        let product: f64 = pairs.map(|(y, x)| (y - own.mean) * (x - others.mean)).sum();
        if self.reference_varies() { product / others.squares } else { 0.0 }
    }

    fn residuals(&self, slope: f64) -> Vec<f64> {
        self.own.iter().zip(&self.others).map(|(y, x)| y - slope * x).collect()
    }

    /// `(mean_S x - mean_R x)^2 / sum_S (x - mean_S x)^2`.
    fn doubled(&self, mean: f64) -> f64 {
        let others = Spread::of(&self.others);
        if self.reference_varies() { (others.mean - mean).powi(2) / others.squares } else { 0.0 }
    }
}

/// Mean of some values and the sum of their squares about it.
#[derive(Debug, Clone, Copy)]
struct Spread {
    number: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let number = values.len() as f64;
        let mean = values.iter().sum::<f64>() / number;
        Self { number, mean, squares: values.iter().map(|value| (value - mean).powi(2)).sum() }
    }

    fn variance(self) -> f64 {
        self.squares / (self.number - 1.0)
    }
}

#[cfg(test)]
mod tests;
