//! What PEFT takes out of a map when an adapter is initialised from the map's own weights.
//!
//! The pair then holds that part from the start, so the untouched map plus the trained pair would count it twice. Only initialisations
//! whose part follows from the weights alone can be repeated: `PiSSA` (arXiv 2404.02948) and `OLoRA` (arXiv 2406.01775).

use candle_core::{DType, Device, Tensor};

use crate::error::Result;
use crate::noise::{Address, Noise, Stream};
use crate::slot::Slot;
use crate::svd::orthogonalise;

/// Steps of the subspace iteration before it is given up.
const STEPS: usize = 2000;
/// Largest error of a singular triple, in units of the largest singular value.
const TOLERANCE: f64 = 1e-8;
/// Least distance of the last singular value kept from the first left out, in units of the largest one.
///
/// PEFT decomposes in f32: its error in the part taken out is about `1e-7 / GAP`.
const GAP: f64 = 1e-4;

/// An initialisation of `A` and `B`, by what it does to the map's own weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initialisation {
    /// They stay as they are.
    Untouched,
    /// The best approximation of rank `r` is taken out: `W - U_r S_r V_r'`.
    Pissa,
    /// The projection on the first `r` columns is taken out: `W - s Q_r Q_r' W`.
    Olora,
}

impl Initialisation {
    /// The weights `W [d_out, d_in]` that are left beside an adapter of this rank and scale.
    ///
    /// # Errors
    /// The inner one says why the part is not determined by the weights.
    pub fn residual(self, weight: &Tensor, rank: usize, scale: f64) -> Result<Result<Tensor, String>> {
        let (d_out, d_in) = weight.dims2()?;
        if rank > d_out.min(d_in) {
            return Ok(Err(format!("rank {rank} is more than that of a map [{d_out}, {d_in}]")));
        }
        let double = weight.to_dtype(DType::F64)?;
        let (basis, factor) = match self {
            Self::Untouched => return Ok(Ok(weight.clone())),
            Self::Pissa if d_out < d_in => {
                let turned = Self::Pissa.residual(&double.t()?.contiguous()?, rank, scale)?;
                return Ok(match turned {
                    Ok(turned) => Ok(turned.t()?.contiguous()?.to_dtype(weight.dtype())?),
                    Err(reason) => Err(reason),
                });
            }
            Self::Pissa => (leading_left_vectors(&double, rank)?, 1.0),
            Self::Olora => {
                let mut columns = double.narrow(1, 0, rank)?.t()?.to_vec2()?;
                columns = independent(columns, 1e-9);
                let kept = (columns.len() == rank).then_some(columns);
                (kept.ok_or_else(|| format!("the first {rank} columns depend on each other")), scale)
            }
        };
        let basis = match basis {
            Ok(basis) => matrix(&basis, weight.device())?,
            Err(reason) => return Ok(Err(reason)),
        };
        let projected = basis.t()?.matmul(&basis.matmul(&double)?)?;
        Ok(Ok((double - (projected * factor)?)?.to_dtype(weight.dtype())?))
    }
}

/// Vectors as the rows of a matrix.
fn matrix(vectors: &[Vec<f64>], device: &Device) -> Result<Tensor> {
    let width = vectors.first().map_or(0, Vec::len);
    Ok(Tensor::from_vec(vectors.concat(), (vectors.len(), width), device)?)
}

/// The left singular vectors of the `count` largest singular values of `w [m, n]`, `m >= n`, by subspace iteration on `w' w`.
fn leading_left_vectors(w: &Tensor, count: usize) -> Result<Result<Vec<Vec<f64>>, String>> {
    let (_, n) = w.dims2()?;
    let gram = w.t()?.matmul(w)?;
    // More vectors than are wanted, so that the convergence does not hang on the last gap.
    let width = n.min((count + 32).max(4 * count));
    let mut values = vec![0.0_f32; width * n];
    let at = Address { slot: Slot::NONE, sample: 0, example: 0, position: 0 };
    Noise::new(0, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
    let mut vectors: Vec<Vec<f64>> = values.chunks(n).map(|row| row.iter().map(|&v| f64::from(v)).collect()).collect();
    for step in 0..STEPS {
        // Weights of a low rank have fewer directions than vectors.
        vectors = independent(vectors, 1e-13);
        if vectors.len() < count {
            return Ok(Err("the weights have too few independent rows".to_owned()));
        }
        if step % 8 == 0 {
            // Rayleigh and Ritz: the singular vectors of `w` within the subspace.
            let mut left = matrix(&vectors, w.device())?.matmul(&w.t()?)?.to_vec2::<f64>()?;
            orthogonalise(&mut left);
            let length = |vector: &Vec<f64>| dot(vector, vector).sqrt();
            left.sort_by(|a, b| length(b).total_cmp(&length(a)));
            let sizes: Vec<f64> = left.iter().map(length).collect();
            let largest = sizes[0].max(f64::MIN_POSITIVE);
            for (vector, size) in left.iter_mut().zip(&sizes) {
                for value in vector {
                    *value /= size.max(f64::MIN_POSITIVE);
                }
            }
            left.truncate(count);
            let right = matrix(&left, w.device())?.matmul(w)?;
            let back = right.matmul(&w.t()?)?.to_vec2::<f64>()?;
            let error = |k: usize| {
                let squares = back[k].iter().zip(&left[k]).map(|(wwu, u)| (wwu - sizes[k].powi(2) * u).powi(2));
                squares.sum::<f64>().sqrt() / largest.powi(2)
            };
            if (0..count).all(|k| error(k) < TOLERANCE) {
                if sizes.get(count).is_some_and(|next| (sizes[count - 1] - next) / largest < GAP) {
                    return Ok(Err(format!(
                        "its singular values {count} and {} are too close to tell apart",
                        count + 1
                    )));
                }
                return Ok(Ok(left));
            }
        }
        vectors = matrix(&vectors, w.device())?.matmul(&gram)?.to_vec2()?;
    }
    Ok(Err("its singular values are too close to tell apart".to_owned()))
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// An orthonormal basis of what `vectors` span, by Gram and Schmidt, twice for accuracy; those go that depend on others before
/// them, but for `tolerance` of the largest length.
fn independent(vectors: Vec<Vec<f64>>, tolerance: f64) -> Vec<Vec<f64>> {
    let largest = vectors.iter().map(|vector| dot(vector, vector).sqrt()).fold(0.0, f64::max);
    let mut done: Vec<Vec<f64>> = Vec::new();
    for mut vector in vectors {
        for _ in 0..2 {
            for other in &done {
                let along = dot(&vector, other);
                vector.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
            }
        }
        let length = dot(&vector, &vector).sqrt();
        if length > tolerance * largest {
            for value in &mut vector {
                *value /= length;
            }
            done.push(vector);
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(rows: usize, columns: usize) -> Tensor {
        let mut values = vec![0.0_f32; rows * columns];
        let at = Address { slot: Slot::NONE, sample: 1, example: 0, position: 0 };
        Noise::new(7, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
    }

    fn largest(t: &Tensor) -> f32 {
        t.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    }

    fn residual(kind: Initialisation, w: &Tensor, rank: usize, scale: f64) -> Tensor {
        kind.residual(w, rank, scale).unwrap().unwrap()
    }

    #[test]
    fn pissa_takes_the_leading_part_out() {
        for (rows, columns) in [(40, 12), (12, 40), (150, 120)] {
            let w = normal(rows, columns);
            let left = residual(Initialisation::Pissa, &w, 3, 2.0);
            // What is left is orthogonal to what was taken, on both sides, and of a smaller norm in each direction.
            let taken = (&w - &left).unwrap();
            assert!(largest(&left.t().unwrap().matmul(&taken).unwrap()) < 1e-4);
            assert!(largest(&left.matmul(&taken.t().unwrap()).unwrap()) < 1e-4);
            let after = largest(&residual(Initialisation::Pissa, &taken, 3, 2.0));
            assert!(after < 1e-5, "the part taken has rank 3: {after}");
        }
        let whole = residual(Initialisation::Pissa, &normal(5, 5), 5, 1.0);
        assert!(largest(&whole) < 1e-5);
    }

    #[test]
    fn pissa_finds_known_singular_vectors() {
        let w = Tensor::new(&[[3f32, 0.0], [4.0, 5.0]], &Device::Cpu).unwrap();
        // [[3, 0], [4, 5]] is sqrt(5) [[1.5, 1.5], [4.5, 4.5]] / sqrt(5) + [[1.5, -1.5], [-0.5, 0.5]].
        let left = residual(Initialisation::Pissa, &w, 1, 1.0).flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (got, expected) in left.iter().zip([1.5, -1.5, -0.5, 0.5]) {
            assert!((got - expected).abs() < 1e-6, "{left:?}");
        }
    }

    #[test]
    fn olora_takes_the_first_columns_out() {
        let w = normal(20, 9);
        let left = residual(Initialisation::Olora, &w, 2, 1.0);
        assert!(largest(&left.narrow(1, 0, 2).unwrap()) < 1e-6 && largest(&left) > 0.1);
        // The scale counts: twice the projection turns the first columns round.
        let turned = residual(Initialisation::Olora, &w, 2, 2.0);
        let sum = (turned.narrow(1, 0, 2).unwrap() + w.narrow(1, 0, 2).unwrap()).unwrap();
        assert!(largest(&sum) < 1e-6);
    }

    #[test]
    fn parts_that_the_weights_do_not_determine_are_refused() {
        let equal = Tensor::eye(6, DType::F32, &Device::Cpu).unwrap();
        let reason = Initialisation::Pissa.residual(&equal, 2, 1.0).unwrap().unwrap_err();
        assert_eq!(reason, "its singular values 2 and 3 are too close to tell apart");
        let flat = Tensor::ones((4, 4), DType::F32, &Device::Cpu).unwrap();
        let reason = Initialisation::Olora.residual(&flat, 2, 1.0).unwrap().unwrap_err();
        assert_eq!(reason, "the first 2 columns depend on each other");
        assert!(Initialisation::Olora.residual(&flat, 5, 1.0).unwrap().is_err());
    }
}
