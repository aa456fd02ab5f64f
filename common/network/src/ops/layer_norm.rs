//! Layer normalisation over the last dimension.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{
    simd::{dot, sum, vectorised},
    tensor, values, with_values,
};

/// Keeps the division finite where all values of a row are alike.
const EPSILON: f32 = 1e-5;

/// Each row less its mean, over its standard deviation, times `gain` plus `bias`.
///
/// inputs [R, H], gain [H], bias [H] → [R, H].
pub fn layer_norm(inputs: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Tensor> {
    inputs.apply_op3(gain, bias, LayerNorm)
}

struct LayerNorm;

/// Writes `row` less its mean, over its standard deviation, to `normal`; returns what it was multiplied with.
#[inline(always)]
fn normalise(row: &[f32], normal: &mut [f32]) -> f32 {
    let size = row.len() as f32;
    let mean = sum(row) / size;
    normal.iter_mut().zip(row).for_each(|(normal, value)| *normal = value - mean);
    let scale = (dot(normal, normal) / size + EPSILON).sqrt().recip();
    normal.iter_mut().for_each(|normal| *normal *= scale);
    scale
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        inputs: &CpuStorage,
        inputs_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = inputs_layout.shape().dims2()?;
        let inputs = values(inputs, inputs_layout)?;
        let (gain, bias) = (values(gain, gain_layout)?, values(bias, bias_layout)?);
        if gain.len() != width || bias.len() != width {
            bail!("layer norm: rows of {width}, gain of {}, bias of {}", gain.len(), bias.len());
        }
        let mut result = vec![0.0; inputs.len()];
        vectorised!({
            for (row, result) in inputs.chunks_exact(width).zip(result.chunks_exact_mut(width)) {
                normalise(row, result);
                let factors = result.iter_mut().zip(gain).zip(bias);
                factors.for_each(|((value, gain), bias)| *value = *value * gain + bias);
            }
        });
        Ok((CpuStorage::F32(result), inputs_layout.shape().clone()))
    }

    fn bwd(
        &self,
        inputs: &Tensor,
        gain: &Tensor,
        _bias: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (rows, width) = inputs.dims2()?;
        let (mut of_gain, mut of_bias) = (vec![0.0; width], vec![0.0; width]);
        let mut of_inputs = vec![0.0; rows * width];
        let mut visit = |inputs: &[f32], gain: &[f32], gradient: &[f32]| {
            let mut normal = vec![0.0; width];
            let (gain, of_gain, of_bias) = (&gain[..width], &mut of_gain[..width], &mut of_bias[..width]);
            vectorised!({
                let rows = inputs.chunks_exact(width).zip(gradient.chunks_exact(width));
                for ((row, gradient), of_row) in rows.zip(of_inputs.chunks_exact_mut(width)) {
                    let scale = normalise(row, &mut normal);
                    for index in 0..width {
                        of_gain[index] += gradient[index] * normal[index];
                        of_bias[index] += gradient[index];
                        of_row[index] = gradient[index] * gain[index];
                    }
                    // Normalising removes what moves the mean or the spread.
                    let (mean, spread) = (sum(of_row) / width as f32, dot(of_row, &normal) / width as f32);
                    for (of_value, normal) in of_row.iter_mut().zip(&normal) {
                        *of_value = (*of_value - mean - normal * spread) * scale;
                    }
                }
            });
        };
        with_values(inputs, |inputs| {
            with_values(gain, |gain| with_values(gradient, |gradient| visit(inputs, gain, gradient)))
        })???;
        Ok((
            Some(tensor(of_inputs, (rows, width))?),
            Some(tensor(of_gain, width)?),
            Some(tensor(of_bias, width)?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::D;

    use super::{super::check, *};

    #[test]
    fn equals_the_composed_operation() -> Result<()> {
        let inputs = check::variable(1, &[26, 12])?;
        let gain = check::variable(2, &[12])?;
        let bias = check::variable(3, &[12])?;
        let centred = inputs.broadcast_sub(&inputs.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + EPSILON as f64)?.sqrt()?)?;
        let composed = normal.broadcast_mul(&gain)?.broadcast_add(&bias)?;
        check::same(&layer_norm(&inputs, &gain, &bias)?, &composed, &[&inputs, &gain, &bias])
    }

    #[test]
    fn a_row_of_equal_values_stays_finite() -> Result<()> {
        let inputs = candle_core::Var::from_tensor(&tensor(vec![3.0; 12], (1, 12))?)?;
        let (gain, bias) = (check::variable(2, &[12])?, check::variable(3, &[12])?);
        let result = layer_norm(&inputs, &gain, &bias)?;
        assert!(check::difference(&result, &bias.reshape((1, 12))?)? < 1e-6);
        let gradients = result.sqr()?.sum_all()?.backward()?;
        let norm: f32 = gradients.get(&inputs).unwrap().sqr()?.sum_all()?.to_scalar()?;
        assert!(norm.is_finite());
        Ok(())
    }
}
