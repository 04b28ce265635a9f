//! What one adapted map shows: correlations and detection rates of `V` and of the distance, over texts.

use bayeslora_adapters::Slot;
use bayeslora_adapters::TargetMap;
use bayeslora_metrics::{Bootstrap, Interval, auroc, partial_spearman, spearman};
use bayeslora_theory::{Layer, Principal, Site};
use ndarray::{Array2, ArrayView2, Axis, s};

use crate::error::Result;

/// How claim R1 is measured.
#[derive(Debug, Clone, Copy)]
pub struct GeometryOptions {
    /// Texts of each test domain at most.
    pub texts: usize,
    /// Resamples of each interval.
    pub resamples: u32,
}

/// Shares of the fine-tuning energy that `S_X` holds.
pub(crate) const SHARES: [f64; 3] = [0.9, 0.99, 0.999];
/// Place of the share that the Markdown tables show.
pub(crate) const SHOWN_PLACE: usize = 1;

/// What one adapted map shows at one site and one share of energy.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// Method, by its label.
    pub method: String,
    /// Seed of the fit.
    pub seed: u64,
    /// The map.
    pub slot: Slot,
    /// Where the variance is computed.
    pub site: Site,
    /// Whether the adapter was trained with dropout there.
    pub own_site: bool,
    /// Share of energy.
    pub share: f64,
    /// Dimension of `S_X`.
    pub k: usize,
    /// Width of the map's input.
    pub d: usize,
    /// Variance per unit of energy in a uniform direction outside over that of the fine-tuning inputs inside (F1's `rho`).
    pub rho: f64,
    /// Coefficient of variation of `|x|` over the texts: how far their norm is from fixed.
    pub norm_variation: f64,
    /// Spearman's correlation of `V` with `delta`; none where one of them does not vary.
    pub distance: Option<Interval>,
    /// With `delta / |x|`.
    pub relative: Option<Interval>,
    /// With `delta`, given `|x|`.
    pub given_norm: Option<Interval>,
    /// AUROC of `V` for shifted texts.
    pub auroc: Option<Interval>,
    /// AUROC of `delta`.
    pub auroc_distance: Option<Interval>,
    /// AUROC of `|x|`.
    pub auroc_norm: Option<Interval>,
}

/// Whether a map's input comes out of a layer normalisation.
pub(crate) fn behind_layer_norm(map: TargetMap) -> bool {
    matches!(map, TargetMap::Query | TargetMap::Key | TargetMap::Value | TargetMap::Gate | TargetMap::Intermediate)
}

/// An adapted map with the principal directions of its fine-tuning inputs.
#[derive(Debug)]
pub(crate) struct Map {
    slot: Slot,
    layers: Vec<Layer>,
    principal: Principal,
    dimensions: Vec<usize>,
}

/// Means over one text's rows.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    /// `|x|^2`.
    pub(super) energy: f64,
    /// `delta^2`, share by share.
    pub(super) outside: Vec<f64>,
    /// `V`, site by site.
    pub(super) variances: Vec<f64>,
}

impl Map {
    /// `layers` are the same adapter at every site.
    pub(crate) fn new(slot: Slot, layers: Vec<Layer>, second_moment: &Array2<f64>) -> Result<Self> {
        let refused = |error: bayeslora_theory::Error| crate::error::Error::Report(format!("{slot}: {error}"));
        let principal = Principal::of(second_moment).map_err(refused)?;
        let dimensions = SHARES.map(|share| principal.dimension_at(share)).to_vec();
        Ok(Self { slot, layers, principal, dimensions })
    }

    /// One text's inputs `[rows, d]`.
    pub(crate) fn read(&self, x: &ArrayView2<'_, f64>) -> Text {
        let mean = |sum: f64| sum / x.nrows() as f64;
        let energy = mean(x.iter().map(|x| x * x).sum());
        let widest = self.dimensions.iter().copied().max().unwrap_or(0);
        let inside = x.dot(&self.principal.directions().slice(s![.., ..widest])).mapv(|c| c * c).sum_axis(Axis(0));
        // What is left of nothing but rounding is nothing.
        let outside = |k: usize| (energy - mean(inside.slice(s![..k]).sum())).max(0.0);
        Text {
            energy,
            outside: self.dimensions.iter().map(|&k| outside(k)).collect(),
            variances: self.layers.iter().map(|layer| mean(layer.variances(*x).sum())).collect(),
        }
    }

    /// F1's ratio for layer `layer` with the first `k` directions as `S_X`.
    fn rho(&self, layer: &Layer, k: usize) -> f64 {
        let along = layer.variances(self.principal.directions().t());
        let energies = self.principal.energies();
        let inside = energies.iter().zip(&along).take(k).map(|(energy, v)| energy * v).sum::<f64>()
            / energies.iter().take(k).sum::<f64>();
        let outside = along.iter().skip(k).sum::<f64>() / (along.len() - k) as f64;
        outside / inside
    }

    /// What texts of the training domain and shifted ones show.
    pub(crate) fn findings(
        &self,
        (method, seed, own_site): (&str, u64, Site),
        inside: &[Text],
        shifted: &[Text],
        bootstrap: &Bootstrap,
    ) -> Vec<Finding> {
        let groups = |value: &dyn Fn(&Text) -> f64| -> [Vec<f64>; 2] {
            [inside.iter().map(value).collect(), shifted.iter().map(value).collect()]
        };
        let norms = groups(&|text| text.energy.sqrt());
        let auroc_of = |values: &[Vec<f64>; 2]| {
            interval(bootstrap, values.each_ref().map(Vec::len), |i, j| {
                auroc(&gather(&values[0], i), &gather(&values[1], j)).unwrap_or(f64::NAN)
            })
        };
        let auroc_norm = auroc_of(&norms);
        let norm_variation = {
            let all = norms.concat();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let variance = all.iter().map(|norm| (norm - mean).powi(2)).sum::<f64>() / all.len() as f64;
            variance.sqrt() / mean
        };
        let distances: Vec<_> = (0..SHARES.len()).map(|place| groups(&|text| text.outside[place].sqrt())).collect();
        let auroc_distances: Vec<_> = distances.iter().map(auroc_of).collect();
        let mut findings = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let variances = groups(&|text| text.variances[number]);
            let auroc_variance = auroc_of(&variances);
            for (place, &share) in SHARES.iter().enumerate() {
                let (k, delta) = (self.dimensions[place], &distances[place]);
                let relative =
                    [0, 1].map(|side| delta[side].iter().zip(&norms[side]).map(|(d, n)| d / n).collect::<Vec<_>>());
                let correlation = |other: &[Vec<f64>; 2]| {
                    interval(bootstrap, other.each_ref().map(Vec::len), |i, j| {
                        let [v, other] = [&variances, other].map(|values| both(values, i, j));
                        spearman(&v, &other).map_or(f64::NAN, |found| found.coefficient)
                    })
                };
                let given_norm = interval(bootstrap, [inside.len(), shifted.len()], |i, j| {
                    let [v, delta, norm] = [&variances, delta, &norms].map(|values| both(values, i, j));
                    partial_spearman(&v, &delta, &norm).map_or(f64::NAN, |found| found.coefficient)
                });
                findings.push(Finding {
                    method: method.to_owned(),
                    seed,
                    slot: self.slot,
                    site: layer.site,
                    own_site: layer.site == own_site,
                    share,
                    k,
                    d: self.principal.energies().len(),
                    rho: self.rho(layer, k),
                    norm_variation,
                    distance: correlation(delta),
                    relative: correlation(&relative),
                    given_norm,
                    auroc: auroc_variance,
                    auroc_distance: auroc_distances[place],
                    auroc_norm,
                });
            }
        }
        findings
    }
}

pub(super) fn gather(values: &[f64], places: &[usize]) -> Vec<f64> {
    places.iter().map(|&place| values[place]).collect()
}

/// Both sides of a resample, one after the other.
pub(super) fn both(values: &[Vec<f64>; 2], first: &[usize], second: &[usize]) -> Vec<f64> {
    let mut gathered = gather(&values[0], first);
    gathered.extend(second.iter().map(|&place| values[1][place]));
    gathered
}

/// None where the statistic does not exist, such as a correlation with what does not vary.
pub(super) fn interval(
    bootstrap: &Bootstrap,
    [inside, shifted]: [usize; 2],
    statistic: impl Fn(&[usize], &[usize]) -> f64 + Sync,
) -> Option<Interval> {
    bootstrap.interval_two_groups(inside, shifted, statistic).ok()
}

#[cfg(test)]
mod tests {
    use bayeslora_theory::{Dropout, direction, normal, stream};
    use ndarray::Array1;

    use super::*;

    const D: usize = 12;

    fn map(random: &mut impl rand::Rng, b: f64) -> Map {
        // Fine-tuning inputs in the first four coordinates.
        let mut second_moment = Array2::zeros((D, D));
        for axis in 0..4 {
            second_moment[[axis, axis]] = 1.0;
        }
        let (a, b) = (normal((3, D), 1.0, random), normal((5, 3), b, random));
        let layers =
            Site::ALL.map(|site| Layer::new(a.clone(), b.clone(), 1.0, site, Dropout::new(0.2).unwrap()).unwrap());
        Map::new(Slot::new(0, TargetMap::Query), layers.to_vec(), &second_moment).unwrap()
    }

    fn texts(map: &Map, distances: impl Iterator<Item = f64>, random: &mut impl rand::Rng) -> Vec<Text> {
        distances
            .map(|distance| {
                let mut x = Array1::zeros(D);
                x.slice_mut(s![..4]).assign(&direction(4, random));
                x.slice_mut(s![4..]).assign(&(direction(D - 4, random) * distance));
                map.read(&x.insert_axis(Axis(0)).view())
            })
            .collect()
    }

    #[test]
    fn distances_are_those_from_the_fine_tuning_subspace() {
        let mut random = stream(1, 0);
        let map = map(&mut random, 1.0);
        assert_eq!(map.dimensions, [4, 4, 4]);
        for (text, distance) in texts(&map, [0.0, 1.0, 3.0].into_iter(), &mut random).iter().zip([0.0, 1.0, 3.0]) {
            assert!((text.outside[0].sqrt() - distance).abs() < 1e-7);
            assert!((text.energy - 1.0 - distance * distance).abs() < 1e-12);
        }
    }

    #[test]
    fn a_distance_that_is_added_shows() {
        let mut random = stream(2, 0);
        let map = map(&mut random, 1.0);
        let bootstrap = Bootstrap { resamples: 50, ..Bootstrap::default() };
        let steps = |from: f64| (0..60).map(move |n| from + f64::from(n) / 30.0);
        let inside = texts(&map, steps(0.5), &mut random);
        let shifted = texts(&map, steps(2.5), &mut random);
        for finding in map.findings(("m", 1, Site::Rank), &inside, &shifted, &bootstrap) {
            assert!((finding.norm_variation - 0.3808).abs() < 1e-3, "{}", finding.norm_variation);
            assert_eq!((finding.k, finding.own_site), (4, finding.site == Site::Rank));
            assert!(finding.distance.unwrap().lower > 0.3 && finding.auroc.unwrap().lower > 0.6, "{finding:?}");
        }
    }

    #[test]
    fn rho_is_the_ratio_of_mean_variances_of_unit_inputs_outside_and_inside() {
        let map = map(&mut stream(4, 0), 1.0);
        let units = Array2::<f64>::eye(D);
        for layer in &map.layers {
            let variances: Vec<f64> = units.rows().into_iter().map(|unit| layer.variance(unit)).collect();
            let ratio = variances[4..].iter().sum::<f64>() / 8.0 / (variances[..4].iter().sum::<f64>() / 4.0);
            assert!((map.rho(layer, 4) / ratio - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn rho_is_one_where_all_directions_are_alike_and_nothing_varies_without_b() {
        let mut random = stream(3, 0);
        let identity = Layer::new(Array2::eye(D), Array2::eye(D), 1.0, Site::Rank, Dropout::new(0.5).unwrap()).unwrap();
        let moments = Array2::from_diag(&Array1::from_shape_fn(D, |place| if place < 4 { 1.0 } else { 0.0 }));
        let alike = Map::new(Slot::new(0, TargetMap::Query), vec![identity], &moments).unwrap();
        assert!((alike.rho(&alike.layers[0], 4) - 1.0).abs() < 1e-12);
        let untrained = map(&mut random, 0.0);
        let inside = texts(&untrained, [0.1, 0.2, 0.3, 0.4, 0.5].into_iter(), &mut random);
        let bootstrap = Bootstrap { resamples: 10, ..Bootstrap::default() };
        let findings = untrained.findings(("m", 1, Site::Rank), &inside, &inside, &bootstrap);
        assert!(findings.iter().all(|finding| finding.distance.is_none() && finding.given_norm.is_none()));
    }
}
