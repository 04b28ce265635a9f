//! Random numbers of a run: a stream of its own, so that threads change nothing.

use rand::{Rng, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// The stream of run `run` of the cell numbered `cell`.
pub(crate) fn stream(seed: u64, cell: u64, run: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(cell * 1_000_000 + run);
    random
}

/// Standard normals.
pub(crate) fn normals(number: usize, random: &mut impl Rng) -> Vec<f64> {
    (0..number).map(|_| random.sample(StandardNormal)).collect()
}

/// One standard normal.
pub(crate) fn normal(random: &mut impl Rng) -> f64 {
    random.sample(StandardNormal)
}
