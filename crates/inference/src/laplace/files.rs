//! A Laplace posterior beside its adapter: the eigen-decomposition of every block; precision and reach are in the adapter's
//! `posterior.json`.

use std::collections::BTreeMap;
use std::path::Path;

use bayeslora_adapters::files::{read_tensors, write_tensors};
use bayeslora_adapters::{AdapterSet, LaplaceSettings, Reach};
use bayeslora_models::Head;
use candle_core::{DType, Device, Tensor};
use ndarray::{Array1, Array2};

use super::tangents::matrix;
use super::{Block, Eigen, Laplace};
use crate::error::{Error, Result};

/// The file in an adapter's folder.
pub(crate) const FACTORS_FILE: &str = "laplace.safetensors";

impl Laplace {
    /// Writes `laplace.safetensors` into `folder`: `<block>.<side>.values` and `.vectors` for the outputs and the inputs of every map, `A` and
    /// `B` of each adapter in the order of the slots, then the head.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let mut tensors = BTreeMap::new();
        for (number, block) in self.blocks.iter().enumerate() {
            for (side, eigen) in [("outputs", &block.outputs), ("inputs", &block.inputs)] {
                let values = Tensor::from_iter(eigen.values.iter().copied(), &Device::Cpu)?;
                let vectors = Tensor::from_iter(eigen.vectors.iter().copied(), &Device::Cpu)?;
                tensors.insert(format!("{number}.{side}.values"), values);
                tensors.insert(format!("{number}.{side}.vectors"), vectors.reshape(eigen.vectors.dim())?);
            }
        }
        Ok(write_tensors(&folder.join(FACTORS_FILE), &tensors)?)
    }

    /// Reads what [`save`](Self::save) wrote for these adapters and head. Its evidence is not known any more.
    ///
    /// # Errors
    /// Naming the file, when it is missing or damaged, or has not the shapes of the adapter beside it.
    pub fn load(folder: &Path, settings: LaplaceSettings, adapters: &AdapterSet, head: &Head) -> Result<Self> {
        let path = folder.join(FACTORS_FILE);
        let tensors = read_tensors(&path, &Device::Cpu)?;
        // Those are f32; the values of the spectra are not.
        let exact = candle_core::safetensors::load(&path, &Device::Cpu)?;
        let mut widths = Vec::new();
        for (_, adapter) in adapters.iter().filter(|_| settings.reach == Reach::All) {
            let lora = adapter.low_rank();
            widths.push((lora.rank(), lora.a().dims()[1]));
            widths.push((lora.b().dims()[0], lora.rank()));
        }
        // A head that was frozen has no posterior.
        if settings.reach == Reach::Head || tensors.contains_key(&format!("{}.outputs.values", widths.len())) {
            widths.push((head.classes(), head.weight.dims()[1] + usize::from(head.bias.is_some())));
        }
        let find = |name: String, shape: &[usize]| -> Result<&Tensor> {
            tensors.get(&name).filter(|tensor| tensor.dims() == shape).ok_or_else(|| {
                let got = tensors.get(&name).map_or("is missing".to_owned(), |t| format!("has shape {:?}", t.dims()));
                let problem = format!("{name} {got}; expected {shape:?}: it was saved with another adapter");
                Error::File { path: path.clone(), problem }
            })
        };
        let eigen = |number: usize, side: &str, width: usize| -> Result<Eigen> {
            let name = format!("{number}.{side}.values");
            let rounded = find(name.clone(), &[width])?;
            let values = exact.get(&name).unwrap_or(rounded).to_dtype(DType::F64)?.to_vec1::<f64>()?;
            let vectors: Array2<f32> = matrix(find(format!("{number}.{side}.vectors"), &[width, width])?)?;
            Ok(Eigen { values: Array1::from(values), vectors })
        };
        let block = |(number, &(outputs, inputs)): (usize, &(usize, usize))| {
            Ok(Block { outputs: eigen(number, "outputs", outputs)?, inputs: eigen(number, "inputs", inputs)? })
        };
        let blocks = widths.iter().enumerate().map(block).collect::<Result<_>>()?;
        Ok(Self { blocks, settings, square: f64::NAN })
    }
}
