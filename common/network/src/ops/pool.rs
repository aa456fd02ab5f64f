//! Mean and maximum over the candidates of each observation.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{
    Segments,
    simd::{add_to, vectorised},
    tensor, values, with_values,
};

/// The mean of each observation's rows, then their maximum.
///
/// inputs [R, H] → [B, 2 H]. Of equal maxima the first gets the gradient.
pub fn pool(inputs: &Tensor, segments: &Arc<Segments>) -> Result<Tensor> {
    inputs.apply_op1(Pool(segments.clone()))
}

struct Pool(Arc<Segments>);

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn cpu_fwd(&self, inputs: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let inputs = values(inputs, layout)?;
        let mut result = vec![0.0; self.0.count() * 2 * width];
        vectorised!({
            for (range, pooled) in self.0.ranges().zip(result.chunks_exact_mut(2 * width)) {
                let (mean, most) = pooled.split_at_mut(width);
                let scale = 1.0 / range.len() as f32;
                most.fill(f32::NEG_INFINITY);
                for row in inputs[range.start * width..range.end * width].chunks_exact(width) {
                    add_to(mean, row);
                    for (most, value) in most.iter_mut().zip(row) {
                        *most = if *value > *most { *value } else { *most };
                    }
                }
                mean.iter_mut().for_each(|sum| *sum *= scale);
            }
        });
        Ok((CpuStorage::F32(result), (self.0.count(), 2 * width).into()))
    }

    fn bwd(&self, inputs: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = inputs.dims2()?;
        let mut of_inputs = vec![0.0; rows * width];
        let mut visit = |inputs: &[f32], result: &[f32], gradient: &[f32]| {
            let pooled = result.chunks_exact(2 * width).zip(gradient.chunks_exact(2 * width));
            for (range, (result, gradient)) in self.0.ranges().zip(pooled) {
                let scale = 1.0 / range.len() as f32;
                let (of_mean, of_most) = gradient.split_at(width);
                let mut left = of_most.to_vec();
                let span = range.start * width..range.end * width;
                let rows = inputs[span.clone()].chunks_exact(width);
                for (row, of_row) in rows.zip(of_inputs[span].chunks_exact_mut(width)) {
                    for index in 0..width {
                        let is_most = row[index] == result[width + index];
                        of_row[index] = of_mean[index] * scale + if is_most { left[index] } else { 0.0 };
                        left[index] = if is_most { 0.0 } else { left[index] };
                    }
                }
            }
        };
        with_values(inputs, |inputs| {
            with_values(result, |result| with_values(gradient, |gradient| visit(inputs, result, gradient)))
        })???;
        Ok(Some(tensor(of_inputs, (rows, width))?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::{super::check, *};

    #[test]
    fn equals_the_composed_operation() -> Result<()> {
        let segments = Arc::new(check::segments());
        let inputs = check::variable(1, &[26, 6])?;
        let pooled: Vec<Tensor> = segments
            .ranges()
            .map(|range| {
                let rows = inputs.narrow(0, range.start, range.len())?;
                Tensor::cat(&[rows.mean(0)?, rows.max(0)?], 0)
            })
            .collect::<Result<_>>()?;
        check::same(&pool(&inputs, &segments)?, &Tensor::stack(&pooled, 0)?, &[&inputs])
    }

    #[test]
    fn the_first_of_equal_maxima_gets_the_gradient() -> Result<()> {
        let inputs = Var::from_tensor(&tensor(vec![1.0, 5.0, 5.0], (3, 1))?)?;
        let segments = Arc::new(Segments { offsets: vec![0, 3] });
        let most = pool(&inputs, &segments)?.narrow(1, 1, 1)?.sum_all()?;
        let gradients = most.backward()?;
        assert_eq!(gradients.get(&inputs).unwrap().flatten_all()?.to_vec1::<f32>()?, [0.0, 1.0, 0.0]);
        Ok(())
    }
}
