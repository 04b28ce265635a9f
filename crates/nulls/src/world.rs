//! Simulated fits between which there is no difference, down to what they make of single texts.
//!
//! A text has a margin `h_i`, the logit by which the right label leads. Without further noise the fits would be calibrated: `h_i = z_i` for a
//! right answer and `-z_i` for a wrong one, wrong with the probability that `|z_i|` says. The fit of row `r` and seed `s` has the margin
//!
//! `(h_i + 0.3 t_ir + 0.2 e_irs + sigma_r a_rs) exp(0.3 sigma_r b_rs)`
//!
//! with standard normal `t` (what the row does to the text under every seed), `e` (what one fit does to it) and `a`, `b` (what a seed does to
//! all texts). Of `a`, `b` and `e`, row and reference at one seed share a part of variance `common`, as with a resampled training set.
//! `sigma` is set so that the variance over seeds and the persistent variance over texts have the wanted ratio.

use rand::Rng;

use crate::random::{normal, normals};

/// What one fit makes of all texts.
#[derive(Debug, Clone)]
pub(crate) struct Fit {
    /// Margins of the right label, or plain values where the statistic is their mean.
    pub(crate) inside: Vec<f64>,
    /// Logits of shifted texts.
    pub(crate) shifted: Vec<f64>,
}

/// What is simulated.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// Texts of each test set.
    pub(crate) texts: usize,
    /// Whether shifted texts are needed.
    pub(crate) shifted: bool,
    /// Whether values are plain sums, in which rows may differ in `sigma` and still have the same mean.
    pub(crate) additive: bool,
    /// Seeds of a row.
    pub(crate) seeds: usize,
    /// Fits of the reference.
    pub(crate) reference: usize,
    /// Share of a seed's variance that row and reference have in common.
    pub(crate) common: f64,
    /// `sigma_r / sigma` of every row; the reference has 1.
    pub(crate) scales: Vec<f64>,
}

/// One draw: rows and reference.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    /// `[rows][seeds]`.
    pub(crate) rows: Vec<Vec<Fit>>,
    /// At seeds `0..`, of which the rows have the first.
    pub(crate) reference: Vec<Fit>,
}

/// What a seed decides: shift, scale and scale on shifted texts, then the noise of every text.
struct Seed {
    effects: [f64; 3],
    inside: Vec<f64>,
    shifted: Vec<f64>,
}

impl Seed {
    fn draw(world: &World, random: &mut impl Rng) -> Self {
        let effects = [0; 3].map(|_| normal(random));
        let shifted = if world.shifted { normals(world.texts, random) } else { Vec::new() };
        Self { effects, inside: normals(world.texts, random), shifted }
    }

    /// Of a row's fit: a part is that of the reference at the same seed.
    fn mixed(&self, own: &Self, common: f64) -> Self {
        let (shared, apart) = (common.sqrt(), (1.0 - common).sqrt());
        let mix = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| shared * a + apart * b).collect();
        let effects = [0, 1, 2].map(|n| shared * self.effects[n] + apart * own.effects[n]);
        Self { effects, inside: mix(&self.inside, &own.inside), shifted: mix(&self.shifted, &own.shifted) }
    }
}

/// What all fits see of the texts, and what a row does to them.
struct Texts<'a> {
    inside: &'a [f64],
    shifted: &'a [f64],
}

impl World {
    /// Draws rows and reference with the seeds' effects at scale `sigma`.
    pub(crate) fn draw(&self, sigma: f64, random: &mut impl Rng) -> Drawn {
        let inside: Vec<f64> = (0..self.texts)
            .map(|_| {
                let logit = 2.5 * normal(random);
                let right = random.random::<f64>() < 1.0 / (1.0 + (-logit.abs()).exp());
                if right { logit.abs() } else { -logit.abs() }
            })
            .collect();
        let shifted: Vec<f64> = normals(if self.shifted { self.texts } else { 0 }, random);
        let texts = Texts { inside: &inside, shifted: &shifted };
        let seeds: Vec<Seed> = (0..self.reference.max(self.seeds)).map(|_| Seed::draw(self, random)).collect();
        let persistent = [normals(self.texts, random), normals(shifted.len(), random)];
        let of_reference = |seed: &Seed| self.fit(&texts, &persistent, seed, sigma);
        let reference = seeds[..self.reference].iter().map(of_reference).collect();
        let rows = self.scales.iter().map(|scale| {
            let persistent = [normals(self.texts, random), normals(shifted.len(), random)];
            let fits = seeds[..self.seeds].iter().map(|seed| {
                let own = seed.mixed(&Seed::draw(self, random), self.common);
                self.fit(&texts, &persistent, &own, sigma * scale)
            });
            fits.collect()
        });
        let rows = rows.collect();
        Drawn { rows, reference }
    }

    fn fit(&self, texts: &Texts<'_>, persistent: &[Vec<f64>; 2], seed: &Seed, sigma: f64) -> Fit {
        let [shift, scale, scale_of_shifted] = seed.effects.map(|effect| sigma * effect);
        let margin = |(text, (row, noise)): (&f64, (&f64, &f64))| text + 0.3 * row + 0.2 * noise;
        let pairs = texts.inside.iter().zip(persistent[0].iter().zip(&seed.inside));
        if self.additive {
            return Fit { inside: pairs.map(|pair| margin(pair) + shift).collect(), shifted: Vec::new() };
        }
        let inside = pairs.map(|pair| (margin(pair) + shift) * (0.3 * scale).exp()).collect();
        let pairs = texts.shifted.iter().zip(persistent[1].iter().zip(&seed.shifted));
        Fit { inside, shifted: pairs.map(|pair| margin(pair) * (0.3 * scale_of_shifted).exp()).collect() }
    }
}
