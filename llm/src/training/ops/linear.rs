//! A linear map by a part of a matrix: how an MLP of fewer channels shares the weights of the whole one.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use srnas_network::ops::{
    product::{Matrix, Then, add_product},
    tensor, values, with_values,
};

/// The inner size of a product over rows is cut to this, so that what it packs stays in the cache.
const CHUNK: usize = 512;

/// `inputs · Wᵀ`, W the first `outputs` rows and the first I columns of `weight`.
///
/// inputs [R, I], weight [≥ outputs, ≥ I] → [R, outputs].
pub fn linear(inputs: &Tensor, weight: &Tensor, outputs: usize) -> Result<Tensor> {
    inputs.apply_op2(weight, Linear { outputs })
}

struct Linear {
    outputs: usize,
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "part-linear"
    }

    fn cpu_fwd(
        &self,
        inputs: &CpuStorage,
        inputs_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = inputs_layout.shape().dims2()?;
        let (has, stride) = weight_layout.shape().dims2()?;
        if self.outputs == 0 || self.outputs > has || width == 0 || width > stride {
            bail!("linear: {} outputs of {width} inputs by a weight [{has}, {stride}]", self.outputs);
        }
        let (inputs, weight) = (values(inputs, inputs_layout)?, values(weight, weight_layout)?);
        let mut result = vec![0.0; rows * self.outputs];
        let weight = part(weight, self.outputs, width, stride).transposed();
        add_product(&mut result, self.outputs, Matrix::new(inputs, width, width), weight, Then::Keep);
        Ok((CpuStorage::F32(result), (rows, self.outputs).into()))
    }

    fn bwd(
        &self,
        inputs: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((rows, width), (_, stride)) = (inputs.dims2()?, weight.dims2()?);
        let gradient = gradient.contiguous()?;
        let (mut of_inputs, mut of_weight) = (vec![0.0; rows * width], vec![0.0; weight.elem_count()]);
        with_values(&gradient, |gradient| -> Result<()> {
            with_values(weight, |weight| {
                let weight = part(weight, self.outputs, width, stride);
                let gradient = Matrix::new(gradient, self.outputs, self.outputs);
                add_product(&mut of_inputs, width, gradient, weight, Then::Keep);
            })?;
            with_values(inputs, |inputs| {
                let chunks = gradient.chunks(CHUNK * self.outputs).zip(inputs.chunks(CHUNK * width));
                for (gradient, inputs) in chunks {
                    let gradient = Matrix::new(gradient, self.outputs, self.outputs).transposed();
                    let inputs = Matrix::new(inputs, width, width);
                    add_product(&mut of_weight, stride, gradient, inputs, Then::Keep);
                }
            })
        })??;
        Ok((Some(tensor(of_inputs, (rows, width))?), Some(tensor(of_weight, weight.dims())?)))
    }
}

/// The first rows and columns of a matrix.
fn part(weight: &[f32], rows: usize, columns: usize, stride: usize) -> Matrix<'_> {
    Matrix::new(&weight[..(rows - 1) * stride + columns], columns, stride)
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};
    use srnas_network::ops::copied;

    #[test]
    fn a_part_of_a_matrix_is_a_smaller_matrix_and_its_gradient_is_zero_elsewhere() {
        let (inputs, weight) = (check::variable(1, &[600, 7]), check::variable(2, &[9, 11]));
        check::gradients(&[&inputs, &weight], || linear(&inputs, &weight, 5));
        let out = linear(&inputs, &weight, 5).unwrap();
        let small = weight.narrow(0, 0, 5).unwrap().narrow(1, 0, 7).unwrap().t().unwrap();
        let apart = (&out - inputs.matmul(&small.contiguous().unwrap()).unwrap()).unwrap().abs().unwrap();
        assert!(apart.max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-5);
        let store = out.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let gradient = copied(store.get(&weight).unwrap()).unwrap();
        for (i, row) in gradient.chunks_exact(11).enumerate() {
            assert_eq!(row[..7].iter().all(|g| *g == 0.0), i >= 5);
            assert!(row[7..].iter().all(|g| *g == 0.0));
        }
        assert!(linear(&inputs, &weight, 10).is_err());
        assert!(linear(&check::variable(1, &[2, 12]), &weight, 1).is_err());
    }
}
