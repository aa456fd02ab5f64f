//! Operations value by value.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use srnas_network::ops::{add_to, simd::vectorised, tensor, values, with_values};

/// Negative values become 0.
pub fn relu(input: &Tensor) -> Result<Tensor> {
    input.apply_op1(Relu)
}

/// The sum of two tensors of one shape.
pub fn sum(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    left.apply_op2(right, Sum)
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut result = values(input, layout)?.to_vec();
        // Not a maximum, which on some processors would hide what is not a number.
        vectorised!(result.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }));
        Ok((CpuStorage::F32(result), layout.shape().clone()))
    }

    fn bwd(&self, _input: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let passed = with_values(result, |result| {
            with_values(gradient, |gradient| {
                let mut passed = gradient.to_vec();
                vectorised!(
                    passed.iter_mut().zip(result).for_each(|(g, &r)| *g = if r > 0.0 { *g } else { 0.0 })
                );
                passed
            })
        })??;
        tensor(passed, result.shape()).map(Some)
    }
}

struct Sum;

impl CustomOp2 for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn cpu_fwd(
        &self,
        left: &CpuStorage,
        left_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if left_layout.shape() != right_layout.shape() {
            bail!("sum: {:?} and {:?}", left_layout.shape(), right_layout.shape());
        }
        let mut result = values(left, left_layout)?.to_vec();
        let right = values(right, right_layout)?;
        vectorised!(add_to(&mut result, right));
        Ok((CpuStorage::F32(result), left_layout.shape().clone()))
    }

    fn bwd(
        &self,
        left: &Tensor,
        right: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let passed = |to: &Tensor| to.track_op().then(|| gradient.clone());
        Ok((passed(left), passed(right)))
    }
}
