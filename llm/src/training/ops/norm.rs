//! RMS normalisation (arXiv 1910.07467).

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use srnas_network::{
    ops::{simd::dot, tensor, values, with_values},
    vectorised,
};

/// Each row over the root of its mean square (raised by `epsilon`), times `gain`. inputs [R, H], gain [H] → [R, H].
pub fn norm(inputs: &Tensor, gain: &Tensor, epsilon: f32) -> Result<Tensor> {
    inputs.apply_op2(gain, Norm { epsilon })
}

struct Norm {
    epsilon: f32,
}

impl Norm {
    #[inline(always)]
    fn scale(&self, row: &[f32]) -> f32 {
        (dot(row, row) / row.len() as f32 + self.epsilon).sqrt().recip()
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        inputs: &CpuStorage,
        inputs_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = inputs_layout.shape().dims2()?;
        let (inputs, gain) = (values(inputs, inputs_layout)?, values(gain, gain_layout)?);
        if gain.len() != width {
            bail!("norm: rows of {width}, gain of {}", gain.len());
        }
        let mut result = inputs.to_vec();
        vectorised!(for row in result.chunks_exact_mut(width) {
            let scale = self.scale(row);
            row.iter_mut().zip(gain).for_each(|(value, gain)| *value *= scale * gain);
        });
        Ok((CpuStorage::F32(result), inputs_layout.shape().clone()))
    }

    fn bwd(
        &self,
        inputs: &Tensor,
        gain: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = inputs.dim(1)?;
        let gradient = gradient.contiguous()?;
        let (mut of_inputs, mut of_gain) = (vec![0.0; inputs.elem_count()], vec![0.0; width]);
        with_values(inputs, |inputs| {
            with_values(gain, |gain| {
                with_values(&gradient, |gradient| {
                    let rows = inputs.chunks_exact(width).zip(gradient.chunks_exact(width));
                    vectorised!(for ((row, gradient), of_row) in
                        rows.clone().zip(of_inputs.chunks_exact_mut(width))
                    {
                        let scale = self.scale(row);
                        let each = of_row.iter_mut().zip(gradient).zip(gain).zip(row).zip(&mut of_gain);
                        for ((((of_value, gradient), gain), value), of_gain) in each {
                            *of_value = gradient * gain * scale;
                            *of_gain += gradient * value * scale;
                        }
                        let along = dot(of_row, row) * scale * scale / width as f32;
                        of_row.iter_mut().zip(row).for_each(|(of_value, value)| *of_value -= along * value);
                    });
                })
            })
        })???;
        Ok((Some(tensor(of_inputs, inputs.dims())?), Some(tensor(of_gain, width)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn gradients_are_right() {
        let (inputs, gain) = (check::variable(1, &[5, 24]), check::variable(2, &[24]));
        check::gradients(&[&inputs, &gain], || norm(&inputs, &gain, 1e-2));
        assert!(norm(&inputs, &check::variable(2, &[23]), 1e-5).is_err());
        // A row of zeros has a gradient, not a division by zero.
        let zeros = candle_core::Var::from_tensor(&tensor(vec![0.0; 24], (1, 24)).unwrap()).unwrap();
        let store = norm(&zeros, &gain, 1e-5).unwrap().sum_all().unwrap().backward().unwrap();
        let of_zeros = srnas_network::ops::copied(store.get(&zeros).unwrap()).unwrap();
        assert!(of_zeros.iter().all(|g| g.is_finite()));
    }
}
