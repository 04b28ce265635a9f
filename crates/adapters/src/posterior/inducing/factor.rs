//! One factor `W [d1, d2]` and its inducing matrix.

use candle_core::{DType, Device, Tensor, Var};

use super::settings::InducingSettings;
use crate::error::Result;
use crate::noise::{Address, Noise};
use crate::slot::Slot;

/// Tensors of a factor: the bases `Z_r [m1, d1]` and `Z_c [m2, d2]`, the logarithms of the diagonals `D_r [m1]` and `D_c [m2]`, the mean `m`
/// and the logarithm of the deviation `s` of `V`, `[m1, m2]`, and that of `lambda`, `[1]`.
pub(super) const PARTS: usize = 7;

/// Entries of `D` before training, as in the authors' code.
const DIAGONAL: f64 = 1e-3;

/// A factor.
#[derive(Debug, Clone)]
pub(super) struct Factor {
    vars: [Var; PARTS],
    dims: (usize, usize),
    settings: InducingSettings,
}

/// Orthonormal rows of `[Z, D]`, those of `Z` and of `D` apart, for the rows of the factor and for its columns.
pub(super) struct Bases {
    rows: [Tensor; 2],
    columns: [Tensor; 2],
}

/// What the moments of `W e` need, in f64.
pub(super) struct Fixed {
    /// Mean of `W`.
    pub(super) mean: Tensor,
    /// The columns' `Q` that belongs to `Z`, `[m2, d2]`.
    pub(super) columns: Tensor,
    /// The rows' `Q` that belongs to `Z`, `[m1, d1]`.
    rows: Tensor,
    /// `(sigma_p s)^2 [m1, m2]`.
    variances: Tensor,
    /// `(sigma_p lambda)^2`.
    noise: f64,
}

impl Factor {
    /// Shapes of the tensors.
    pub(super) fn shapes((d1, d2): (usize, usize), settings: InducingSettings) -> Vec<Vec<usize>> {
        let (m1, m2) = (settings.rows.min(d1), settings.columns.min(d2));
        vec![vec![m1, d1], vec![m2, d2], vec![m1], vec![m2], vec![m1, m2], vec![m1, m2], vec![1]]
    }

    /// Tensors before training: standard normal bases over the root of their number of rows, and a standard normal mean of `V` for factor
    /// number 0, as in the authors' code; a mean of 0 for the other.
    pub(super) fn initial(
        slot: Slot,
        number: u64,
        dims: (usize, usize),
        settings: InducingSettings,
        noise: &Noise,
        device: &Device,
    ) -> Result<Vec<Tensor>> {
        let shapes = Self::shapes(dims, settings);
        let normal = |part: u32, factor: f64| -> Result<Tensor> {
            let shape = shapes[part as usize].as_slice();
            let mut values = vec![0.0; shape.iter().product()];
            // A position belongs to no other initial value.
            let at = Address { slot, sample: 0, example: number, position: part };
            noise.fill_normal(at, &mut Vec::new(), &mut values);
            Ok((Tensor::from_vec(values, shape, device)? * factor)?)
        };
        let constant = |part: usize, value: f64| -> Result<Tensor> {
            Ok((Tensor::ones(shapes[part].as_slice(), DType::F32, device)? * value)?)
        };
        let root = |part: usize| 1.0 / (shapes[part][0] as f64).sqrt();
        Ok(vec![
            normal(0, root(0))?,
            normal(1, root(1))?,
            constant(2, DIAGONAL.ln())?,
            constant(3, DIAGONAL.ln())?,
            if number == 0 { normal(4, 1.0)? } else { constant(4, 0.0)? },
            constant(5, settings.initial_sd.ln())?,
            constant(6, settings.initial_scale.ln())?,
        ])
    }

    /// With tensors of its own.
    pub(super) fn new(tensors: &[Tensor], dims: (usize, usize), settings: InducingSettings) -> Result<Self> {
        let vars = tensors.iter().map(Var::from_tensor).collect::<Result<Vec<_>, _>>()?;
        Self::of(&vars, dims, settings).ok_or_else(|| crate::error::Error::Shape {
            what: "the tensors of a factor".to_owned(),
            got: vec![tensors.len()],
            expected: format!("{PARTS} tensors"),
        })
    }

    /// With shared tensors, where there are as many as needed.
    pub(super) fn of(vars: &[Var], dims: (usize, usize), settings: InducingSettings) -> Option<Self> {
        Some(Self { vars: vars.to_vec().try_into().ok()?, dims, settings })
    }

    pub(super) fn vars(&self) -> impl Iterator<Item = &Var> {
        self.vars.iter()
    }

    /// `s`, at most the largest.
    fn sd(&self) -> Result<Tensor> {
        Ok(self.vars[5].minimum(self.settings.largest_sd.ln())?.exp()?)
    }

    /// `log lambda`, at most that of the largest.
    fn log_scale(&self) -> Result<Tensor> {
        Ok(self.vars[6].minimum(self.settings.largest_scale.ln())?)
    }

    /// `lambda`.
    pub(super) fn scale_value(&self) -> Result<f64> {
        Ok(f64::from(self.log_scale()?.detach().squeeze(0)?.to_scalar::<f32>()?).exp())
    }

    pub(super) fn bases(&self) -> Result<Bases> {
        let [row_basis, column_basis, row_noise, column_noise, ..] = &self.vars;
        Ok(Bases { rows: orthonormal(row_basis, row_noise)?, columns: orthonormal(column_basis, column_noise)? })
    }

    /// `sigma_p Q_r' m Q_c`.
    pub(super) fn mean(&self) -> Result<Tensor> {
        let Bases { rows: [rows, _], columns: [columns, _] } = self.bases()?;
        Ok((rows.t()?.matmul(&self.vars[4])?.matmul(&columns)? * self.settings.prior_sd)?)
    }

    /// A draw with the noise at an address: that of `V`, then that of the extended prior, row by row.
    pub(super) fn draw(&self, bases: &Bases, noise: &Noise, at: Address) -> Result<Tensor> {
        let (d1, d2) = self.dims;
        let (m1, m2) = self.vars[4].dims2()?;
        let mut normals = vec![0.0; m1 * m2 + (d1 + m1) * (d2 + m2)];
        noise.fill_normal(at, &mut Vec::new(), &mut normals);
        let extended = normals.split_off(m1 * m2);
        let device = self.vars[4].device();
        let own = Tensor::from_vec(normals, (m1, m2), device)?;
        self.of_noise(bases, &own, &Tensor::from_vec(extended, (d1 + m1, d2 + m2), device)?)
    }

    /// `sigma_p (Q_r' V Q_c + lambda (G_1 - Q_r' (Q G Q') Q_c))` with `V = m + s * own` and `G` the noise `extended [d1 + m1, d2 + m2]`,
    /// whose first `d1` rows and `d2` columns are `G_1`.
    pub(super) fn of_noise(&self, bases: &Bases, own: &Tensor, extended: &Tensor) -> Result<Tensor> {
        let (d1, d2) = self.dims;
        let Bases { rows: [rows, _], columns: [columns, _] } = bases;
        let [all_rows, all_columns] = [&bases.rows, &bases.columns].map(|[z, d]| Tensor::cat(&[z, d], 1));
        let explained = all_rows?.matmul(extended)?.matmul(&all_columns?.t()?)?;
        let whitened = (self.vars[4].as_tensor() + (own * self.sd()?)?)?;
        let scale = self.log_scale()?.exp()?.reshape((1, 1))?;
        // What is explained passes through the same products as the mean.
        let through = (whitened - explained.broadcast_mul(&scale)?)?;
        let unexplained = extended.narrow(0, 0, d1)?.narrow(1, 0, d2)?.broadcast_mul(&scale)?;
        Ok(((rows.t()?.matmul(&through)?.matmul(columns)? + unexplained)? * self.settings.prior_sd)?)
    }

    /// Divergence of `V`, and of the factor given it.
    pub(super) fn divergence(&self) -> Result<Tensor> {
        let (d1, d2) = self.dims;
        let log_sd = self.vars[5].minimum(self.settings.largest_sd.ln())?;
        let squares = (self.sd()?.sqr()? + self.vars[4].sqr()?)?;
        let of_v = (((squares - 1.0)? - (log_sd * 2.0)?)?.sum_all()? * 0.5)?;
        let log = self.log_scale()?;
        let each = (((&log * 2.0)?.exp()? - 1.0)? - (&log * 2.0)?)?.sum_all()?;
        Ok((of_v + (each * (0.5 * d1 as f64 * d2 as f64))?)?)
    }

    pub(super) fn fixed(&self) -> Result<Fixed> {
        let wide = |t: Tensor| t.detach().to_dtype(DType::F64);
        let prior = self.settings.prior_sd;
        let Bases { rows: [rows, _], columns: [columns, _] } = self.bases()?;
        Ok(Fixed {
            mean: wide(self.mean()?)?,
            columns: wide(columns)?,
            rows: wide(rows)?,
            variances: (wide(self.sd()?)?.sqr()? * (prior * prior))?,
            noise: (prior * self.scale_value()?).powi(2),
        })
    }
}

impl Fixed {
    /// Columns `F` and weights `w` of the covariance `F diag(w) F'` of `W e` given `|e|^2 [n, 1]` and `(Q_c e)_j^2 [n, m2]`, or its mean given
    /// theirs: `Q_r' diag(sum_j (sigma_p s_ij)^2 (Q_c e)_j^2) Q_r + (sigma_p lambda)^2 (|e|^2 I - |Q_c e|^2 Q_r' Q_r)`.
    pub(super) fn covariance(&self, length: &Tensor, along: &Tensor) -> Result<(Tensor, Tensor)> {
        let d1 = self.rows.dim(1)?;
        let of_v = along.matmul(&self.variances.t()?)?;
        let explained = (along.sum_keepdim(1)? * self.noise)?;
        let free = (length * self.noise)?.broadcast_as((along.dim(0)?, d1))?.contiguous()?;
        let identity = Tensor::eye(d1, DType::F64, self.rows.device())?;
        let factor = Tensor::cat(&[&self.rows.t()?.contiguous()?, &identity], 1)?;
        Ok((factor, Tensor::cat(&[&of_v.broadcast_sub(&explained)?, &free], 1)?))
    }
}

/// The rows of `[Z, diag(exp l)]` made orthonormal one after another, each freed from those before it twice, which is enough for f32.
fn orthonormal(basis: &Var, log_noise: &Var) -> Result<[Tensor; 2]> {
    let (count, width) = basis.dims2()?;
    let diagonal = Tensor::eye(count, DType::F32, basis.device())?.broadcast_mul(&log_noise.exp()?)?;
    let extended = Tensor::cat(&[basis.as_tensor(), &diagonal], 1)?;
    let mut rows: Vec<Tensor> = Vec::with_capacity(count);
    for number in 0..count {
        let mut row = extended.narrow(0, number, 1)?;
        if number > 0 {
            let before = Tensor::cat(&rows, 0)?;
            for _ in 0..2 {
                row = (&row - row.matmul(&before.t()?)?.matmul(&before)?)?;
            }
        }
        rows.push(row.broadcast_div(&row.sqr()?.sum_keepdim(1)?.sqrt()?)?);
    }
    let all = Tensor::cat(&rows, 0)?;
    Ok([all.narrow(1, 0, width)?.contiguous()?, all.narrow(1, width, count)?.contiguous()?])
}
