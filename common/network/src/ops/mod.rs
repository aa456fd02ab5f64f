//! The few operations a network is made of, each with its own backward pass.
//!
//! Composed of candle's basic operations they cost twice the time, most of it in passes over memory. They work
//! on *packed* rows: the candidates of all observations one after the other, told apart by [`Segments`].

pub mod attention;
pub mod dueling;
pub mod embedding;
pub mod huber;
pub mod layer_norm;
pub mod linear;
pub mod pool;
pub mod product;
pub mod simd;

use std::{ops::Range, sync::Arc};

pub use simd::add_to;

use candle_core::{CpuStorage, Device, Layout, Result, Shape, Storage, Tensor, bail};

/// Which packed rows belong to which observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Segments {
    /// Observation i has rows `offsets[i]..offsets[i + 1]`, at least one.
    pub offsets: Vec<usize>,
}

impl Segments {
    /// Number of observations.
    pub fn count(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The rows of each observation.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.offsets.windows(2).map(|pair| pair[0]..pair[1])
    }
}

/// How the rows of one tensor are shared out among many packed rows.
#[derive(Clone, Debug)]
pub enum Sharing {
    /// One row for all.
    One,
    /// A row for each.
    Each,
    /// A row for each observation.
    PerSegment(Arc<Segments>),
}

/// The values behind a storage, which must be contiguous f32.
pub fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("a network operation needs contiguous f32 values"),
    }
}

/// Calls `read` with the values of a contiguous f32 tensor on the CPU.
pub fn with_values<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(read(values(storage, layout)?)),
        _ => bail!("a network operation needs a tensor on the CPU"),
    }
}

/// A copy of the values of a contiguous f32 tensor.
pub fn copied(tensor: &Tensor) -> Result<Vec<f32>> {
    with_values(tensor, <[f32]>::to_vec)
}

/// An untracked tensor of these values.
pub fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

#[cfg(test)]
pub mod check {
    //! Compares an operation with the same thing composed of candle's basic operations.

    use candle_core::{Result, Tensor, Var};
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::{Segments, tensor};

    /// Observations of 1, 5, 3 and 17 candidates.
    pub fn segments() -> Segments {
        Segments { offsets: vec![0, 1, 6, 9, 26] }
    }

    /// A variable of this shape with entries in −1..1, the same for the same seed.
    pub fn variable(seed: u64, shape: &[usize]) -> Result<Var> {
        let mut rng = StdRng::seed_from_u64(seed);
        let values = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        Var::from_tensor(&tensor(values, shape)?)
    }

    /// The largest difference between two tensors of the same shape.
    pub fn difference(left: &Tensor, right: &Tensor) -> Result<f32> {
        assert_eq!(left.dims(), right.dims());
        (left - right)?.abs()?.max_all()?.to_scalar()
    }

    /// Asserts that both outputs, and the gradients of a fixed random projection of both, agree.
    pub fn same(fused: &Tensor, composed: &Tensor, variables: &[&Var]) -> Result<()> {
        assert!(difference(fused, composed)? < 1e-5, "outputs differ");
        let direction = variable(99, fused.dims())?.as_detached_tensor();
        let fused = (fused * &direction)?.sum_all()?.backward()?;
        let composed = (composed * &direction)?.sum_all()?.backward()?;
        for (index, variable) in variables.iter().enumerate() {
            let (fused, composed) = (fused.get(variable).unwrap(), composed.get(variable).unwrap());
            let scale = composed.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(scale > 0.0, "gradient {index} is zero");
            let difference = difference(fused, composed)? / scale.max(1.0);
            assert!(difference < 1e-5, "gradient {index} differs by {difference}");
        }
        Ok(())
    }
}
