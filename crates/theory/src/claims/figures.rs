//! The figures: theory overlaid on measurement.
//!
//! More than 400 lines: five figures over the same layers and subspaces.

use bayeslora_render::{Area, Axes, Estimate, Figure, File, band, colour, estimates, file, legend, line};
use ndarray::{Array1, Array2, ArrayView1};
use plotters::prelude::*;
use rayon::prelude::*;
use statrs::statistics::{Data, OrderStatistics as _};

use super::contextual::Contextual;
use super::depth::probability_moments;
use super::normalised::{Behind, behind, mean_variance, rho};
use super::training::{STEPS, Size, descend, problem, start, train_sampled};
use crate::dynamics::{Optimiser, Pair};
use crate::error::Result;
use crate::evidence::{Seen, mean_and_error};
use crate::harness::Report;
use crate::layer::{Dropout, Layer, Site};
use crate::random::{direction, normal, stream};
use crate::subspace::Subspace;

/// Points of a line.
type Line = Vec<(f64, f64)>;

type Drawn = bayeslora_render::Result;

/// Draws every figure. `report` supplies what its checks measured.
///
/// # Errors
/// When a figure cannot be computed, drawn or encoded.
pub fn draw(report: &Report, seed: u64) -> Result<Vec<File>> {
    let seen = |id: &str| -> Vec<Seen> {
        let found = report.decisions.iter().find(|decision| decision.claim.id == id);
        found.map(|decision| decision.evidence.seen.clone()).unwrap_or_default()
    };
    Ok(vec![
        file("growth", &Growth::compute(seed)?)?,
        file("angle", &Angle::compute(seed)?)?,
        file("rho", &Rho(seen("F1")))?,
        file("ensemble", &Ensemble(seen("E1")))?,
        file("softmax", &Softmax::compute(seed)?)?,
    ])
}

const SIZE: Size = Size { d_in: 24, d_out: 4, rank: 4, k: 8, p: 0.2, sigma: 0.3, noise: 0.1, scale: 1.0 };
const WIDE: (u32, u32) = (1120, 480);

/// Samples of an estimated V.
const SAMPLES: u32 = 500;

/// An estimate with its 95 % interval.
fn estimate(x: f64, values: &[f64]) -> Estimate {
    let (y, error) = mean_and_error(values);
    Estimate { x, y, interval: (y - 1.96 * error, y + 1.96 * error) }
}

fn highest<'a>(lines: impl Iterator<Item = &'a Line>) -> f64 {
    lines.flatten().map(|point| point.1).fold(0.0, f64::max)
}

/// Members of an ensemble that share their data.
fn members(size: Size, count: u64, seed: u64) -> Result<(Subspace, Vec<Pair>)> {
    let (subspace, problem) = problem(size, &mut stream(seed, 0))?;
    let member = |number| descend(size, &problem, start(size, &mut stream(seed, number)), 0.05, 1000);
    Ok((subspace, (1..=count).into_par_iter().map(member).collect::<Result<_>>()?))
}

/// Trace of the covariance of `dW x` over members.
fn disagreement(pairs: &[Pair], scale: f64, x: ArrayView1<'_, f64>) -> f64 {
    let outputs: Vec<Array1<f64>> = pairs.iter().map(|pair| pair.b.dot(&pair.a.dot(&x)) * scale).collect();
    let n = outputs.len() as f64;
    let mean = outputs.iter().fold(Array1::<f64>::zeros(outputs[0].len()), |sum, output| sum + output) / n;
    outputs.iter().map(|output| (output - &mean).mapv(|d| d * d).sum()).sum::<f64>() / (n - 1.0)
}

/// G1, C2, E1: V along a ray that leaves `S_X`.
struct Growth {
    /// Site by site: exact, and sampled.
    sites: Vec<(&'static str, Line, Vec<Estimate>)>,
    /// `log10 V(delta) / V(0)` over `log10 delta`.
    rates: Vec<(&'static str, Line)>,
}

impl Growth {
    fn compute(seed: u64) -> Result<Self> {
        let (subspace, pairs) = members(SIZE, 64, seed)?;
        let pair = &pairs[0];
        let mut random = stream(seed, u64::MAX);
        let x = subspace.basis().dot(&direction(SIZE.k, &mut random)) * (SIZE.k as f64).sqrt();
        let u = subspace.direction_outside(&mut random)?;
        let at = |delta: f64| &x + &(&u * delta);
        let layers =
            Site::ALL.map(|site| Layer::new(pair.a.clone(), pair.b.clone(), SIZE.scale, site, Dropout::new(SIZE.p)?));
        let (mut sites, mut rates) = (Vec::new(), Vec::new());
        let decades = || (0..=60).map(|step| f64::from(step) / 15.0 - 1.0);
        for layer in layers {
            let layer = layer?;
            let exact =
                (0..=60).map(|step| f64::from(step) / 10.0).map(|delta| (delta, layer.variance(at(delta).view())));
            let sampled = (0..=6).map(f64::from).map(|delta| {
                let x = at(delta);
                let mean = layer.mean(x.view());
                let deviations: Vec<f64> =
                    (0..SAMPLES).map(|_| (layer.sample(x.view(), &mut random) - &mean).mapv(|d| d * d).sum()).collect();
                estimate(delta, &deviations)
            });
            sites.push((layer.site.word(), exact.collect(), sampled.collect()));
            let start = layer.variance(x.view());
            let rate = decades().map(|log| (log, (layer.variance(at(10_f64.powf(log)).view()) / start).log10()));
            if layer.site != Site::Weight {
                rates.push((if layer.site == Site::Rank { "rank site" } else { "input site" }, rate.collect()));
            }
        }
        let contextual = Contextual::random(SIZE.rank, &mut random);
        let noise = |x: &Array1<f64>| contextual.variance(&pair.a.dot(x));
        let start = (noise(&x), disagreement(&pairs, SIZE.scale, x.view()));
        let rate = |v: &dyn Fn(&Array1<f64>) -> f64, start: f64| -> Line {
            decades().map(|log| (log, (v(&at(10_f64.powf(log))) / start).log10())).collect()
        };
        rates.push(("contextual noise", rate(&noise, start.0)));
        rates.push(("ensemble", rate(&|x| disagreement(&pairs, SIZE.scale, x.view()), start.1)));
        let rows = Subspace::span(&pair.a.t().to_owned())?;
        let away = rows.direction_outside(&mut random)?;
        let blind = Layer::new(pair.a.clone(), pair.b.clone(), SIZE.scale, Site::Rank, Dropout::new(SIZE.p)?)?;
        let start = blind.variance(x.view());
        let flat = |log: f64| (log, (blind.variance((&x + &(&away * 10_f64.powf(log))).view()) / start).log10());
        rates.push(("rank site, away from the rows of A", decades().map(flat).collect()));
        Ok(Self { sites, rates })
    }
}

impl Figure for Growth {
    fn size(&self) -> (u32, u32) {
        WIDE
    }

    fn draw(&self, area: &Area) -> Drawn {
        let panels = area.split_evenly((1, 2));
        let top = highest(self.sites.iter().map(|site| &site.1)) * 1.2;
        let title = "Growth along a ray: exact (lines), sampled (marks, 95 %)";
        let axes = Axes {
            title,
            x: ("delta, distance from S_X", (-0.2, 6.2)),
            y: ("V", (0.0, top)),
            logarithms: (false, false),
        };
        let mut chart = axes.on(&panels[0])?;
        for (number, (word, exact, sampled)) in self.sites.iter().enumerate() {
            let place = [0, 1, 5][number];
            line(&mut chart, exact.clone(), place, &format!("{word} site"))?;
            estimates(&mut chart, sampled, place, &format!("{word} site, {SAMPLES} samples"))?;
        }
        legend(&mut chart, SeriesLabelPosition::UpperLeft, 13)?;
        let top = highest(self.rates.iter().map(|rate| &rate.1)) * 1.1;
        let axes = Axes {
            title: "Growth relative to the start",
            x: ("delta", (-1.0, 3.0)),
            y: ("V(delta) / V(0)", (-1.0, top)),
            logarithms: (true, true),
        };
        let mut chart = axes.on(&panels[1])?;
        for (place, (label, rate)) in self.rates.iter().enumerate() {
            line(&mut chart, rate.clone(), place, label)?;
        }
        legend(&mut chart, SeriesLabelPosition::UpperLeft, 13)
    }
}

/// A family of adapters, angle by angle.
struct Turning {
    label: String,
    /// What F1 and D3 say; nothing where they do not speak.
    theory: Line,
    means: Vec<Estimate>,
    /// 5 % and 95 % quantiles of single adapters.
    band: [Line; 2],
}

impl Turning {
    /// `ratios`, `V(theta) / V(0)`: adapter by adapter, angle by angle.
    fn of(label: String, theory: Line, degrees: &[f64], ratios: &[Vec<f64>]) -> Self {
        let at = |place: usize| -> Vec<f64> { ratios.iter().map(|ratios| ratios[place]).collect() };
        let means = degrees.iter().enumerate().map(|(place, &x)| estimate(x, &at(place))).collect();
        let quantile = |share: f64| -> Line {
            let one = |(place, &x): (usize, &f64)| (x, Data::new(at(place)).quantile(share));
            degrees.iter().enumerate().map(one).collect()
        };
        Self { label, theory, means, band: [quantile(0.05), quantile(0.95)] }
    }
}

/// F1, D3, L2: V against the angle to `S_X` at fixed norm.
struct Angle {
    learnt: Vec<Turning>,
    sites: Vec<(String, Line)>,
}

impl Angle {
    fn compute(seed: u64) -> Result<Self> {
        let degrees: Vec<f64> = (0..=6).map(|step| 15.0 * f64::from(step)).collect();
        let share = |degrees: f64| degrees.to_radians().sin().powi(2);
        let mut learnt = Vec::new();
        for (number, sigma) in [0.1, 0.3, 2.0].into_iter().enumerate() {
            let size = Size { d_in: 20, k: 5, noise: 0.0, sigma, ..SIZE };
            let rate = 0.02 / (1.0 + size.d_in as f64 * sigma * sigma);
            let found = (0..100)
                .into_par_iter()
                .map(|replica| {
                    let behind = behind(size, (rate, 1000), &mut stream(seed, (number as u64) << 32 | replica))?;
                    let Behind { pair, .. } = &behind;
                    let layer = Layer::new(pair.a.clone(), pair.b.clone(), 1.0, Site::Rank, Dropout::new(size.p)?)?;
                    // tan theta = delta / |x_S|; at 90 degrees a distance without end.
                    let root = (size.d_in as f64).sqrt();
                    let at =
                        |degrees: f64| mean_variance(&layer, &behind, root * degrees.min(89.9999).to_radians().tan());
                    let inside = at(0.0);
                    Ok((rho(size, &behind), degrees.iter().map(|&degrees| at(degrees) / inside).collect()))
                })
                .collect::<Result<Vec<(f64, Vec<f64>)>>>()?;
            let (rho, _) = mean_and_error(&found.iter().map(|found| found.0).collect::<Vec<_>>());
            let theory = (0..=90).map(f64::from).map(|degrees| (degrees, 1.0 + (rho - 1.0) * share(degrees))).collect();
            let ratios: Vec<Vec<f64>> = found.into_iter().map(|found| found.1).collect();
            learnt.push(Turning::of(format!("sigma_A = {sigma}, rho = {rho:.2}"), theory, &degrees, &ratios));
        }
        // Per unit of energy inside and outside, whatever made them; then the angle decides.
        let turn = |inside: f64, outside: f64| -> Line {
            let at = |degrees: f64| ((outside / inside - 1.0) * share(degrees)).ln_1p() / std::f64::consts::LN_10;
            (0..=90).map(f64::from).map(|degrees| (degrees, at(degrees))).collect()
        };
        let mut sites = Vec::new();
        for site in Site::ALL {
            let both = (0..40)
                .into_par_iter()
                .map(|replica| {
                    let optimiser = Optimiser::Sgd { rate: 0.05, momentum: 0.0, decay: 0.0 };
                    let trained = train_sampled(SIZE, site, optimiser, 4 * STEPS, (seed, replica))?;
                    let Pair { a, b } = trained.pair;
                    let layer = Layer::new(a, b, SIZE.scale, site, Dropout::new(SIZE.p)?)?;
                    let mean = |basis: &Array2<f64>| layer.variances(basis.t()).mean().unwrap_or(f64::NAN);
                    Ok([mean(trained.subspace.basis()), mean(trained.subspace.complement())])
                })
                .collect::<Result<Vec<[f64; 2]>>>()?;
            let [inside, outside] = [0, 1].map(|side| both.iter().map(|both| both[side]).sum::<f64>());
            sites.push((format!("MC-dropout, {} site", site.word()), turn(inside, outside)));
        }
        let (subspace, pairs) = members(SIZE, 64, seed)?;
        let mean = |basis: &Array2<f64>| {
            basis.columns().into_iter().map(|x| disagreement(&pairs, SIZE.scale, x)).sum::<f64>() / basis.ncols() as f64
        };
        sites.push(("ensemble".to_owned(), turn(mean(subspace.basis()), mean(subspace.complement()))));
        // Its noise is no quadratic form: directions are drawn at each angle.
        let mut random = stream(seed, u64::MAX);
        let noise = Contextual::random(SIZE.rank, &mut random);
        let directions: Vec<[Array1<f64>; 2]> = (0..400)
            .map(|_| {
                Ok([subspace.basis().dot(&direction(SIZE.k, &mut random)), subspace.direction_outside(&mut random)?])
            })
            .collect::<Result<_>>()?;
        let at = |degrees: f64| -> f64 {
            let (sin, cos) = degrees.to_radians().sin_cos();
            let v = |[x, u]: &[Array1<f64>; 2]| {
                noise.variance(&pairs[0].a.dot(&((x * cos + u * sin) * (SIZE.k as f64).sqrt())))
            };
            directions.iter().map(v).sum()
        };
        let inside = at(0.0);
        let curve = (0..=18).map(|step| 5.0 * f64::from(step)).map(|degrees| (degrees, (at(degrees) / inside).log10()));
        sites.push(("contextual noise".to_owned(), curve.collect()));
        Ok(Self { learnt, sites })
    }
}

impl Figure for Angle {
    fn size(&self) -> (u32, u32) {
        WIDE
    }

    fn draw(&self, area: &Area) -> Drawn {
        let panels = area.split_evenly((1, 2));
        let x = ("angle to S_X, degrees", (-3.0, 93.0));
        let top = highest(self.learnt.iter().map(|family| &family.band[1])) * 1.45;
        let title = "Rank site behind a LayerNorm: F1 (lines), trained (marks), 90 % of adapters (bands)";
        let axes = Axes { title, x, y: ("V / V inside", (0.0, top)), logarithms: (false, false) };
        let mut chart = axes.on(&panels[0])?;
        for (number, Turning { label, theory, means, band: [lower, upper] }) in self.learnt.iter().enumerate() {
            let place = [0, 1, 5][number];
            band(&mut chart, lower, upper, place)?;
            line(&mut chart, theory.clone(), place, label)?;
            estimates(&mut chart, means, place, "mean of 100 trained")?;
        }
        legend(&mut chart, SeriesLabelPosition::UpperLeft, 13)?;
        let values = || self.sites.iter().flat_map(|site| &site.1).map(|point| point.1);
        let (bottom, top) = (values().fold(0.0, f64::min) - 0.3, values().fold(0.0, f64::max) + 0.8);
        let axes =
            Axes { title: "At fixed norm: methods", x, y: ("V / V inside", (bottom, top)), logarithms: (false, true) };
        let mut chart = axes.on(&panels[1])?;
        for (place, (label, curve)) in self.sites.iter().enumerate() {
            line(&mut chart, curve.clone(), place, label)?;
        }
        legend(&mut chart, SeriesLabelPosition::UpperLeft, 13)
    }
}

/// F1: predicted against measured, point by point of its grid.
struct Rho(Vec<Seen>);

impl Figure for Rho {
    fn size(&self) -> (u32, u32) {
        (620, 560)
    }

    fn draw(&self, area: &Area) -> Drawn {
        let top = self.0.iter().map(|seen| seen.measured + 1.96 * seen.standard_error).fold(1.0, f64::max) * 1.05;
        let axes = Axes {
            title: "rho, V outside over V inside per unit of energy",
            x: ("predicted (F1), mean over initialisations", (0.0, top)),
            y: ("measured", (0.0, top)),
            logarithms: (false, false),
        };
        let mut chart = axes.on(area)?;
        chart.draw_series(LineSeries::new([(0.0, 0.0), (top, top)], BLACK.stroke_width(1)))?;
        chart.draw_series(LineSeries::new([(0.0, 1.0), (top, 1.0)], BLACK.mix(0.4).stroke_width(1)))?;
        chart.draw_series(self.0.iter().filter_map(|seen| {
            let half = 1.96 * seen.standard_error;
            let x = seen.predicted?;
            Some(PathElement::new([(x, seen.measured - half), (x, seen.measured + half)], colour(5).mix(0.6)))
        }))?;
        chart.draw_series(
            self.0.iter().filter_map(|seen| Some(Circle::new((seen.predicted?, seen.measured), 3, colour(5).filled()))),
        )?;
        Ok(())
    }
}

/// E1: MC-dropout against an ensemble, inside and outside.
struct Ensemble(Vec<Seen>);

impl Figure for Ensemble {
    fn size(&self) -> (u32, u32) {
        (760, 480)
    }

    fn draw(&self, area: &Area) -> Drawn {
        let mut names: Vec<&'static str> = Vec::new();
        for seen in &self.0 {
            if !names.contains(&seen.of) {
                names.push(seen.of);
            }
        }
        let points = self.0.len() / names.len().max(1);
        let lowest = self.0.iter().map(|seen| seen.measured.log10()).fold(0.0, f64::min).floor();
        let axes = Axes {
            title: "V per unit of energy: MC-dropout and an ensemble of initialisations",
            x: ("problem (numbered as in the table of E1)", (0.5, points as f64 + 0.5)),
            y: ("V", (lowest, 2.5)),
            logarithms: (false, true),
        };
        let mut chart = axes.on(area)?;
        for (place, name) in names.iter().enumerate() {
            let x = |number: usize| number as f64 + 1.0 + 0.12 * (place as f64 - 1.5);
            let mut found = Vec::new();
            for (number, seen) in self.0.iter().filter(|seen| seen.of == *name).enumerate() {
                let half = 1.96 * seen.standard_error;
                let interval = ((seen.measured - half).max(1e-300).log10(), (seen.measured + half).log10());
                found.push(Estimate { x: x(number), y: seen.measured.log10(), interval });
                if let Some(predicted) = seen.predicted {
                    let y = predicted.log10();
                    let bar = PathElement::new([(x(number) - 0.08, y), (x(number) + 0.08, y)], BLACK.stroke_width(2));
                    chart.draw_series(std::iter::once(bar))?;
                }
            }
            estimates(&mut chart, &found, [0, 1, 5, 3][place % 4], name)?;
        }
        let bar = |(x, y)| PathElement::new([(x + 4, y), (x + 18, y)], BLACK.stroke_width(2));
        chart.draw_series(std::iter::empty::<Circle<(f64, f64), i32>>())?.label("predicted (L1, E1)").legend(bar);
        legend(&mut chart, SeriesLabelPosition::UpperRight, 13)
    }
}

/// D2: the variance of a probability along rays.
struct Softmax {
    rays: Vec<(Line, f64)>,
}

impl Softmax {
    fn compute(seed: u64) -> Result<Self> {
        let (d, rank) = (12, 6);
        let dropout = Dropout::new(0.3)?;
        let mut rays = Vec::new();
        for number in 0..5 {
            let mut random = stream(seed, number);
            let mut draw = |rows, columns, sd| normal((rows, columns), sd, &mut random);
            let (a, b) = (draw(rank, d, 1.0), draw(1, rank, 0.7));
            let (frozen, x, u) = (draw(1, d, 0.5), draw(d, 1, 0.5), draw(d, 1, 1.0));
            let of = |z: &Array1<f64>, x: &Array2<f64>| frozen.dot(x)[[0, 0]] + (&b * z).dot(&a.dot(x))[[0, 0]];
            let curve = (0..=100).map(|step| f64::from(step) / 25.0 - 2.0).map(|log| {
                let delta = 10_f64.powf(log);
                (log, probability_moments(rank, dropout, |z| of(z, &x) + delta * of(z, &u)).1)
            });
            let far = probability_moments(rank, dropout, |z| of(z, &x) + 1e9 * of(z, &u)).1;
            rays.push((curve.collect(), far));
        }
        Ok(Self { rays })
    }
}

impl Figure for Softmax {
    fn size(&self) -> (u32, u32) {
        (760, 480)
    }

    fn draw(&self, area: &Area) -> Drawn {
        let axes = Axes {
            title: "Variance of a class probability along five rays; marks: its limit",
            x: ("delta", (-2.0, 2.2)),
            y: ("Var P", (0.0, 0.25)),
            logarithms: (true, false),
        };
        let mut chart = axes.on(area)?;
        for (place, (curve, far)) in self.rays.iter().enumerate() {
            line(&mut chart, curve.clone(), place, &format!("ray {}", place + 1))?;
            chart.draw_series(std::iter::once(Circle::new((2.1, *far), 4, colour(place).filled())))?;
        }
        legend(&mut chart, SeriesLabelPosition::UpperLeft, 13)
    }
}
