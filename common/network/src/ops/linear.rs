//! A linear map with bias and optional ReLU.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{
    Sharing,
    product::{Matrix, Then, add_product},
    simd::{add_to, vectorised},
    tensor, values, with_values,
};

/// `inputs · weightᵀ + bias`, then ReLU if asked for.
///
/// inputs [R, I], weight [O, I], bias [O], [R, O] or [observations, O] as `sharing` says → [R, O].
///
/// A bias per observation is how what belongs to the observation joins its candidates without being multiplied
/// once for each; a bias per row is how a residual stream joins.
pub fn linear(
    inputs: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    sharing: Sharing,
    relu: bool,
) -> Result<Tensor> {
    inputs.apply_op3(weight, bias, Linear { sharing, relu })
}

struct Linear {
    sharing: Sharing,
    relu: bool,
}

impl Linear {
    /// Calls `visit` with each row of the bias and the range of the rows that share it.
    fn groups(&self, rows: usize, mut visit: impl FnMut(usize, Range<usize>)) {
        match &self.sharing {
            Sharing::One => visit(0, 0..rows),
            Sharing::Each => (0..rows).for_each(|row| visit(row, row..row + 1)),
            Sharing::PerSegment(segments) => {
                segments.ranges().enumerate().for_each(|(index, range)| visit(index, range))
            }
        }
    }

    fn expected_bias(&self, rows: usize, outputs: usize) -> usize {
        outputs
            * match &self.sharing {
                Sharing::One => 1,
                Sharing::Each => rows,
                Sharing::PerSegment(segments) => segments.count(),
            }
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        inputs: &CpuStorage,
        inputs_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = inputs_layout.shape().dims2()?;
        let (outputs, weight_width) = weight_layout.shape().dims2()?;
        let bias = values(bias, bias_layout)?;
        if width != weight_width || bias.len() != self.expected_bias(rows, outputs) {
            bail!(
                "linear: inputs [{rows}, {width}], weight [{outputs}, {weight_width}], bias {}",
                bias.len()
            );
        }
        let (inputs, weight) = (values(inputs, inputs_layout)?, values(weight, weight_layout)?);
        // The sum starts at the bias.
        let mut result = Vec::with_capacity(rows * outputs);
        self.groups(rows, |index, range| {
            range.for_each(|_| result.extend_from_slice(&bias[index * outputs..][..outputs]));
        });
        let then = if self.relu { Then::Relu } else { Then::Keep };
        let weight = Matrix::new(weight, width, width);
        add_product(&mut result, outputs, Matrix::new(inputs, width, width), weight.transposed(), then);
        Ok((CpuStorage::F32(result), (rows, outputs).into()))
    }

    fn bwd(
        &self,
        inputs: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (rows, outputs) = result.dims2()?;
        let width = inputs.dim(1)?;
        let gradient = if self.relu { passed_by_relu(result, gradient)? } else { gradient.clone() };
        let product = |rows: usize, columns: usize, left: Matrix, right: Matrix| {
            let mut product = vec![0.0; rows * columns];
            add_product(&mut product, columns, left, right, Then::Keep);
            product
        };
        let (of_inputs, of_weight) = with_values(&gradient, |gradient| {
            let gradient = Matrix::new(gradient, outputs, outputs);
            let weight = with_values(weight, |weight| {
                let weight = Matrix::new(weight, width, width);
                inputs.track_op().then(|| product(rows, width, gradient, weight))
            })?;
            let inputs = with_values(inputs, |inputs| {
                product(outputs, width, gradient.transposed(), Matrix::new(inputs, width, width))
            })?;
            Ok::<_, candle_core::Error>((weight, inputs))
        })??;
        let of_bias = match self.sharing {
            Sharing::Each => gradient,
            _ => {
                let mut sums = vec![0.0; bias.elem_count()];
                with_values(&gradient, |gradient| {
                    self.groups(rows, |index, range| {
                        let sum = &mut sums[index * outputs..][..outputs];
                        let rows = &gradient[range.start * outputs..range.end * outputs];
                        vectorised!(rows.chunks_exact(outputs).for_each(|row| add_to(sum, row)));
                    })
                })?;
                tensor(sums, bias.dims())?
            }
        };
        Ok((
            of_inputs.map(|values| tensor(values, inputs.dims())).transpose()?,
            Some(tensor(of_weight, weight.dims())?),
            Some(of_bias),
        ))
    }
}

/// The gradient where the result is positive, 0 elsewhere.
fn passed_by_relu(result: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let passed = with_values(result, |result| {
        with_values(gradient, |gradient| {
            let mut passed = vec![0.0; result.len()];
            vectorised!({
                for ((passed, result), gradient) in passed.iter_mut().zip(result).zip(gradient) {
                    *passed = if *result > 0.0 { *gradient } else { 0.0 };
                }
            });
            passed
        })
    })??;
    tensor(passed, result.dims())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::check, *};

    fn agrees(sharing: Sharing, bias_rows: usize, relu: bool) -> Result<()> {
        let rows = 26;
        let inputs = check::variable(1, &[rows, 7])?;
        let weight = check::variable(2, &[5, 7])?;
        let bias = check::variable(3, &[bias_rows, 5])?;
        let spread: Vec<u32> = match &sharing {
            Sharing::One => vec![0; rows],
            Sharing::Each => (0..rows as u32).collect(),
            Sharing::PerSegment(segments) => segments
                .ranges()
                .enumerate()
                .flat_map(|(index, range)| range.map(move |_| index as u32))
                .collect(),
        };
        let spread = Tensor::new(spread, inputs.device())?;
        let composed = (inputs.matmul(&weight.t()?)? + bias.index_select(&spread, 0)?)?;
        let composed = if relu { composed.relu()? } else { composed };
        check::same(&linear(&inputs, &weight, &bias, sharing, relu)?, &composed, &[&inputs, &weight, &bias])
    }

    #[test]
    fn equals_the_composed_operation() -> Result<()> {
        for relu in [false, true] {
            agrees(Sharing::One, 1, relu)?;
            agrees(Sharing::Each, 26, relu)?;
            agrees(Sharing::PerSegment(Arc::new(check::segments())), 4, relu)?;
        }
        Ok(())
    }

    #[test]
    fn refuses_shapes_that_do_not_fit() -> Result<()> {
        let inputs = check::variable(1, &[26, 7])?;
        let weight = check::variable(2, &[5, 7])?;
        let short = check::variable(3, &[3, 5])?;
        let sharing = Sharing::PerSegment(Arc::new(check::segments()));
        assert!(linear(&inputs, &weight, &short, sharing, false).is_err());
        assert!(linear(&inputs, &weight.t()?.contiguous()?, &short, Sharing::One, false).is_err());
        Ok(())
    }
}
