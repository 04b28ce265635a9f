//! Rotary positions (arXiv 2104.09864): how fast each pair of a head's values turns with the position.
//!
//! Pair `i` of a head of width `d` turns by `f_i = theta^(-2 i / d)` a position; values `i` and `i + d / 2` are a pair. Longer texts than
//! those of the training are reached by slower turns: all (linear), or the slow ones only (llama3, yarn: arXiv 2309.00071).

use super::families::Family;
use super::keys::{Keys, Problem};

/// Angles a position, and what cosines and sines are multiplied by.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Radians a position, `head_dim / 2` of them.
    pub inverse_frequencies: Vec<f64>,
    /// Factor of cosines and sines; 1 but for yarn.
    pub attention_factor: f64,
}

/// Types that are read.
const TYPES: &str = "\"default\", \"linear\", \"dynamic\", \"llama3\" or \"yarn\"";
/// Layer types whose positions may have settings of their own: those without and those with a window.
const LAYERS: [&str; 2] = ["full_attention", "sliding_attention"];

impl Rope {
    /// Positions as they were published, of base `theta`.
    pub(crate) fn plain(theta: f64, head_dim: usize) -> Self {
        let frequency = |pair: usize| theta.powf(-2.0 * pair as f64 / head_dim as f64);
        Self { inverse_frequencies: (0..head_dim / 2).map(frequency).collect(), attention_factor: 1.0 }
    }

    /// Every pair turns `factor` times slower, as with positions divided by it.
    pub(crate) fn slower(self, factor: f64) -> Self {
        self.map(|_, frequency| frequency / factor)
    }

    /// Each pair turns slower by a factor of its own, as GGUF files have it.
    pub(crate) fn slower_by(self, factors: &[f64]) -> Self {
        self.map(|pair, frequency| frequency / factors.get(pair).copied().unwrap_or(1.0))
    }

    /// Pairs of wavelengths above `original / low` turn slower, those below `original / high` do not, and between these a part of each
    /// is taken (Llama 3.1).
    fn llama3(self, factor: f64, [low, high]: [f64; 2], original: f64) -> Self {
        self.map(|_, frequency| {
            let turns = original * frequency / std::f64::consts::TAU;
            let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            frequency * (kept + (1.0 - kept) / factor)
        })
    }

    /// Pairs that turn less than `slow` times within `original` positions turn slower, those of more than `fast` do not, with a ramp over
    /// the pairs between them.
    fn yarn(self, factor: f64, [fast, slow]: [f64; 2], original: f64, theta: f64, whole: bool) -> Self {
        let width = 2.0 * self.inverse_frequencies.len() as f64;
        // The pair that turns so often within the original positions.
        let pair = |turns: f64| width * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * theta.ln());
        let (mut from, mut to) = (pair(fast), pair(slow));
        if whole {
            (from, to) = (from.floor(), to.ceil());
        }
        (from, to) = (from.max(0.0), to.min(width - 1.0));
        if from.total_cmp(&to).is_eq() {
            to += 0.001;
        }
        self.map(|pair, frequency| {
            let slowed = ((pair as f64 - from) / (to - from)).clamp(0.0, 1.0);
            frequency * (1.0 - slowed + slowed / factor)
        })
    }

    fn map(mut self, change: impl Fn(usize, f64) -> f64) -> Self {
        for (pair, frequency) in self.inverse_frequencies.iter_mut().enumerate() {
            *frequency = change(pair, *frequency);
        }
        self
    }
}

/// The positions of a configuration: one for all blocks, or one for blocks without and one for blocks with a window.
pub(crate) fn read(
    keys: &Keys<'_>,
    family: &Family,
    head_dim: usize,
    max_positions: usize,
) -> Result<Vec<Rope>, Problem> {
    let older = keys.inner("rope_scaling")?;
    let newer = keys.inner("rope_parameters")?;
    if older.is_some() && newer.is_some() {
        return Err("has both rope_scaling and rope_parameters; remove the one that does not belong to it".to_owned());
    }
    whole_heads(keys)?;
    let read = |settings: Option<&Keys<'_>>, (key, default): (&str, f64)| {
        let theta = theta(settings, keys, key, default)?;
        let plain = Rope::plain(theta, head_dim);
        settings.map_or(Ok(plain.clone()), |settings| scaled(plain, settings, keys, theta, max_positions))
    };
    let (theta, local) = family.theta;
    let global = ("rope_theta", theta);
    if let Some(local) = local {
        let local = ("rope_local_base_freq", local);
        let Some(newer) = newer else { return Ok(vec![read(older.as_ref(), global)?, read(None, local)?]) };
        if !LAYERS.iter().any(|layer| newer.is_given(layer)) {
            let expected = format!("an object with {} and {}", LAYERS[0], LAYERS[1]);
            return Err(keys.refused("rope_parameters", &expected));
        }
        let [full, sliding] = LAYERS.map(|layer| newer.inner(layer));
        return Ok(vec![read(full?.as_ref(), global)?, read(sliding?.as_ref(), local)?]);
    }
    let settings = older.or(newer);
    if let Some(layer) = settings.as_ref().and_then(|settings| LAYERS.iter().find(|layer| settings.is_given(layer))) {
        let spelt = settings.as_ref().map(|settings| settings.spelt(layer)).unwrap_or_default();
        return Err(format!("has {spelt}; the positions of a {} are the same in all blocks", family.name));
    }
    Ok(vec![read(settings.as_ref(), global)?])
}

/// The base: beside the other settings, or under a key of its own.
fn theta(settings: Option<&Keys<'_>>, keys: &Keys<'_>, key: &str, default: f64) -> Result<f64, Problem> {
    let own = settings.map(|settings| settings.positive("rope_theta")).transpose()?.flatten();
    let top = keys.positive(key)?;
    match (own, top) {
        (Some(own), Some(top)) if own.total_cmp(&top).is_ne() => {
            let spelt = settings.map(|settings| settings.spelt("rope_theta")).unwrap_or_default();
            Err(format!("{spelt} is {own}, but {key} is {top}; remove the one that does not belong to it"))
        }
        _ => Ok(own.or(top).unwrap_or(default)),
    }
}

/// Refuses heads that are turned in part.
fn whole_heads(keys: &Keys<'_>) -> Result<(), Problem> {
    match keys.positive("partial_rotary_factor")? {
        Some(part) if part.total_cmp(&1.0).is_ne() => {
            Err(keys.refused("partial_rotary_factor", "1: positions here turn whole heads"))
        }
        _ => Ok(()),
    }
}

/// Positions as the settings have them.
fn scaled(
    plain: Rope,
    settings: &Keys<'_>,
    keys: &Keys<'_>,
    theta: f64,
    max_positions: usize,
) -> Result<Rope, Problem> {
    whole_heads(settings)?;
    let key = if settings.find("rope_type").is_some() { "rope_type" } else { "type" };
    let needed = |key: &str| settings.positive(key)?.ok_or_else(|| format!("has no {}; add it", settings.spelt(key)));
    let original = || -> Result<f64, Problem> {
        let key = "original_max_position_embeddings";
        Ok(keys.size(key)?.or(settings.size(key)?).unwrap_or(max_positions) as f64)
    };
    match settings.text(key)?.unwrap_or("default") {
        // Dynamic turns are slower only in texts beyond the positions that there are, and no such text is read.
        "default" | "dynamic" => Ok(plain),
        "linear" => Ok(plain.slower(needed("factor")?)),
        "llama3" => {
            let bounds = [needed("low_freq_factor")?, needed("high_freq_factor")?];
            if bounds[1] <= bounds[0] {
                return Err(settings.refused("high_freq_factor", "more than low_freq_factor"));
            }
            Ok(plain.llama3(needed("factor")?, bounds, original()?))
        }
        "yarn" => {
            let original = original()?;
            let factor = settings.positive("factor")?.unwrap_or(max_positions as f64 / original);
            let fast = settings.positive("beta_fast")?.unwrap_or(32.0);
            let slow = settings.positive("beta_slow")?.unwrap_or(1.0);
            let whole = settings.truth("truncate")?.unwrap_or(true);
            let sharpened = |by: f64| if factor <= 1.0 { 1.0 } else { 0.1 * by * factor.ln() + 1.0 };
            let attention_factor = match settings.positive("attention_factor")? {
                Some(given) => given,
                None => match (settings.positive("mscale")?, settings.positive("mscale_all_dim")?) {
                    (Some(own), Some(all)) => sharpened(own) / sharpened(all),
                    _ => sharpened(1.0),
                },
            };
            Ok(Rope { attention_factor, ..plain.yarn(factor, [fast, slow], original, theta, whole) })
        }
        _ => Err(settings.refused(key, TYPES)),
    }
}
