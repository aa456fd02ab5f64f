//! From hidden advantages and values to the scores of candidates.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{
    Segments,
    simd::{dot, vectorised},
    tensor, values, with_values,
};

/// Q = value + base + advantage − mean advantage of the observation, where advantage = hidden · weight.
///
/// hidden [R, H], weight [H], value [B, 1], base [R] → [R].
pub fn dueling(
    hidden: &Tensor,
    weight: &Tensor,
    value: &Tensor,
    base: Vec<f32>,
    segments: &Arc<Segments>,
) -> Result<Tensor> {
    hidden.apply_op3(weight, value, Dueling { base, segments: segments.clone() })
}

struct Dueling {
    base: Vec<f32>,
    segments: Arc<Segments>,
}

impl CustomOp3 for Dueling {
    fn name(&self) -> &'static str {
        "dueling"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        hidden_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = hidden_layout.shape().dims2()?;
        let hidden = values(hidden, hidden_layout)?;
        let weight = values(weight, weight_layout)?;
        let value = values(value, value_layout)?;
        let count = self.segments.count();
        if weight.len() != width || value.len() != count || self.base.len() != rows {
            bail!("dueling: hidden [{rows}, {width}], weight {}, value {}", weight.len(), value.len());
        }
        let mut result = vec![0.0; rows];
        for (range, value) in self.segments.ranges().zip(value) {
            let scores = &mut result[range.clone()];
            let rows = &hidden[range.start * width..range.end * width];
            vectorised!({
                let rows = rows.chunks_exact(width).zip(scores.iter_mut());
                rows.for_each(|(row, score)| *score = dot(row, weight));
            });
            let mean = scores.iter().sum::<f32>() / scores.len() as f32;
            for (score, base) in scores.iter_mut().zip(&self.base[range]) {
                *score += value + base - mean;
            }
        }
        Ok((CpuStorage::F32(result), rows.into()))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        weight: &Tensor,
        value: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (rows, width) = hidden.dims2()?;
        let mut of_hidden = vec![0.0; rows * width];
        let mut of_weight = vec![0.0; width];
        let mut of_value = Vec::with_capacity(self.segments.count());
        let mut visit = |hidden: &[f32], weight: &[f32], gradient: &[f32]| {
            for range in self.segments.ranges() {
                let gradient = &gradient[range.clone()];
                let sum: f32 = gradient.iter().sum();
                of_value.push(sum);
                let share = sum / range.len() as f32;
                let span = range.start * width..range.end * width;
                vectorised!({
                    let rows = hidden[span.clone()].chunks_exact(width);
                    let of_rows = of_hidden[span.clone()].chunks_exact_mut(width);
                    for ((row, of_row), gradient) in rows.zip(of_rows).zip(gradient) {
                        let of_advantage = gradient - share;
                        for index in 0..width {
                            of_row[index] = weight[index] * of_advantage;
                            of_weight[index] += row[index] * of_advantage;
                        }
                    }
                });
            }
        };
        with_values(hidden, |hidden| {
            with_values(weight, |weight| with_values(gradient, |gradient| visit(hidden, weight, gradient)))
        })???;
        Ok((
            Some(tensor(of_hidden, (rows, width))?),
            Some(tensor(of_weight, weight.dims())?),
            Some(tensor(of_value, value.dims())?),
        ))
    }
}

/// What the base rule alone would score: `scale` × (feature − largest feature of the observation).
///
/// features [R] → [R].
pub fn base_scores(features: &[f32], scale: f32, segments: &Segments) -> Vec<f32> {
    let mut scores = Vec::with_capacity(features.len());
    for range in segments.ranges() {
        let most = features[range.clone()].iter().copied().fold(f32::NEG_INFINITY, f32::max);
        scores.extend(features[range].iter().map(|feature| scale * (feature - most)));
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn equals_the_composed_operation() -> Result<()> {
        let segments = Arc::new(check::segments());
        let hidden = check::variable(1, &[26, 6])?;
        let weight = check::variable(2, &[6])?;
        let value = check::variable(3, &[4, 1])?;
        let base: Vec<f32> = (0..26).map(|row| (row as f32).sin()).collect();
        let fused = dueling(&hidden, &weight, &value, base.clone(), &segments)?;
        let base = tensor(base, 26)?;
        for (index, range) in segments.ranges().enumerate() {
            let count = range.len();
            let rows = hidden.narrow(0, range.start, count)?;
            let advantage = rows.matmul(&weight.reshape((6, 1))?)?.flatten_all()?;
            let composed = advantage.broadcast_sub(&advantage.mean_all()?)?;
            let composed = composed.broadcast_add(&value.narrow(0, index, 1)?.flatten_all()?)?;
            let composed = (composed + base.narrow(0, range.start, count)?)?;
            let scores = fused.narrow(0, range.start, count)?;
            let variables = [&hidden, &weight, &value];
            // With one candidate the advantage cancels out, and its gradients are zero.
            if count == 1 {
                assert!(check::difference(&scores, &composed)? < 1e-6);
            } else {
                check::same(&scores, &composed, &variables)?;
            }
        }
        Ok(())
    }

    #[test]
    fn a_score_passes_no_gradient_to_other_observations() -> Result<()> {
        let segments = Arc::new(Segments { offsets: vec![0, 2, 5] });
        let hidden = check::variable(1, &[5, 6])?;
        let weight = check::variable(2, &[6])?;
        let value = check::variable(3, &[2, 1])?;
        let scores = dueling(&hidden, &weight, &value, vec![0.0; 5], &segments)?;
        let gradients = scores.narrow(0, 1, 1)?.sum_all()?.backward()?;
        for (variable, own) in [(&hidden, 2), (&value, 1)] {
            let gradient = gradients.get(variable).unwrap().abs()?.sum(1)?.to_vec1::<f32>()?;
            assert!(gradient[..own].iter().all(|size| *size > 0.0));
            assert!(gradient[own..].iter().all(|size| *size == 0.0));
        }
        Ok(())
    }

    #[test]
    fn the_best_of_an_observation_has_base_zero() {
        let segments = Segments { offsets: vec![0, 1, 3] };
        assert_eq!(base_scores(&[5.0, 1.0, 3.0], 2.0, &segments), [0.0, -4.0, 0.0]);
    }
}
