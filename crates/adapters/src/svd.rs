//! Singular values of thin matrices by one-sided Jacobi rotations (Hestenes 1958): a few dozen vectors at most, each to high relative
//! accuracy, also the small ones.

/// Sweeps after which rotations have long stopped to matter; convergence is quadratic.
const SWEEPS: usize = 60;

/// Rotates `vectors` until they are orthogonal and returns the rotation `V'`, row `k` of which gives the new vector `k` as a
/// combination of the old ones.
///
/// Vectors are the columns of `M = U diag(d) V'`; afterwards they are the columns of `U diag(d)`, in no particular order.
pub(crate) fn orthogonalise(vectors: &mut [Vec<f64>]) -> Vec<Vec<f64>> {
    let count = vectors.len();
    let mut rotation: Vec<Vec<f64>> =
        (0..count).map(|k| (0..count).map(|l| if k == l { 1.0 } else { 0.0 }).collect()).collect();
    for _ in 0..SWEEPS {
        let mut turned = false;
        for p in 0..count {
            for q in p + 1..count {
                let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
                let (alpha, beta) = (dot(&vectors[p], &vectors[p]), dot(&vectors[q], &vectors[q]));
                let gamma = dot(&vectors[p], &vectors[q]);
                if gamma.abs() <= f64::EPSILON * (alpha * beta).sqrt() {
                    continue;
                }
                turned = true;
                let zeta = (beta - alpha) / (2.0 * gamma);
                let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let cosine = tangent.hypot(1.0).recip();
                let sine = cosine * tangent;
                for pairs in [&mut *vectors, &mut rotation] {
                    let (head, tail) = pairs.split_at_mut(q);
                    for (x, y) in head[p].iter_mut().zip(tail[0].iter_mut()) {
                        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
                    }
                }
            }
        }
        if !turned {
            break;
        }
    }
    rotation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Address, Noise, Stream};
    use crate::slot::Slot;

    fn dot(x: &[f64], y: &[f64]) -> f64 {
        x.iter().zip(y).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn known_singular_values() {
        // [[3, 0], [4, 5]] has singular values 3 sqrt 5 and sqrt 5.
        let mut columns = vec![vec![3.0, 4.0], vec![0.0, 5.0]];
        orthogonalise(&mut columns);
        let mut lengths: Vec<f64> = columns.iter().map(|c| dot(c, c)).collect();
        lengths.sort_by(f64::total_cmp);
        assert!((lengths[0] - 5.0).abs() < 1e-14 && (lengths[1] - 45.0).abs() < 1e-13, "{lengths:?}");
    }

    #[test]
    fn vectors_become_orthogonal_by_a_rotation() {
        for (count, length, seed) in [(1, 3, 1), (4, 4, 2), (8, 50, 3), (24, 64, 4)] {
            let mut values = vec![0.0_f32; count * length];
            let at = Address { slot: Slot::NONE, sample: 0, example: 0, position: 0 };
            Noise::new(seed, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
            let mut old: Vec<Vec<f64>> =
                values.chunks(length).map(|row| row.iter().map(|&v| f64::from(v)).collect()).collect();
            // Two nearly parallel vectors, and one of zeros.
            if count > 4 {
                old[1] = old[0].iter().map(|v| v + 1e-7).collect();
                old[2] = vec![0.0; length];
            }
            let mut new = old.clone();
            let rotation = orthogonalise(&mut new);
            for k in 0..count {
                for l in 0..count {
                    let expected = if k == l { 1.0 } else { 0.0 };
                    assert!((dot(&rotation[k], &rotation[l]) - expected).abs() < 1e-13, "{count} {k} {l}");
                    let size = (dot(&new[k], &new[k]) * dot(&new[l], &new[l])).sqrt();
                    assert!(k == l || dot(&new[k], &new[l]).abs() <= 1e-14 * size, "{count} {k} {l}");
                }
                for j in 0..length {
                    let sum: f64 = rotation[k].iter().zip(&old).map(|(v, old)| v * old[j]).sum();
                    assert!((sum - new[k][j]).abs() < 1e-13 * 10.0, "{count} {k} {j}");
                }
            }
        }
    }
}
