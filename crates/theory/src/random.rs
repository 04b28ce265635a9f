//! Seeded random matrices: every check draws from its own stream.

use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// The stream numbered `stream` of `seed`.
pub fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

/// Independent normal entries with standard deviation `sd`.
pub fn normal(shape: (usize, usize), sd: f64, random: &mut impl Rng) -> Array2<f64> {
    Array2::from_shape_simple_fn(shape, || sd * random.sample::<f64, _>(StandardNormal))
}

/// A vector uniform on the unit sphere.
pub fn direction(dimension: usize, random: &mut impl Rng) -> Array1<f64> {
    let vector = Array1::from_shape_simple_fn(dimension, || random.sample::<f64, _>(StandardNormal));
    let norm = vector.dot(&vector).sqrt();
    vector / norm
}
