//! The loss of the networks: Huber on chosen outputs.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{tensor, values, with_values};

/// Σ weight × huber(output − target) over the chosen outputs: half the square up to `delta`, straight beyond it
/// (an infinite `delta` makes it half the square everywhere).
///
/// outputs of any shape; of each that is chosen its place among them (row after row), target and weight, [B] each →
/// a scalar. All other outputs get gradient 0.
pub fn huber(
    outputs: &Tensor,
    chosen: Vec<usize>,
    targets: Vec<f32>,
    weights: Vec<f32>,
    delta: f32,
) -> Result<Tensor> {
    outputs.apply_op1(Huber { chosen, targets, weights, delta })
}

struct Huber {
    chosen: Vec<usize>,
    targets: Vec<f32>,
    weights: Vec<f32>,
    delta: f32,
}

impl CustomOp1 for Huber {
    fn name(&self) -> &'static str {
        "huber"
    }

    fn cpu_fwd(&self, outputs: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let outputs = values(outputs, layout)?;
        let lengths = [self.chosen.len(), self.targets.len(), self.weights.len()];
        if lengths != [self.chosen.len(); 3] || self.chosen.iter().any(|place| *place >= outputs.len()) {
            bail!("huber: {} outputs; {lengths:?} chosen, targets and weights", outputs.len());
        }
        let mut loss = 0.0;
        for ((place, target), weight) in self.chosen.iter().zip(&self.targets).zip(&self.weights) {
            let error = (outputs[*place] - target).abs();
            let inner = error.min(self.delta);
            loss += weight * inner * (error - 0.5 * inner);
        }
        Ok((CpuStorage::F32(vec![loss]), ().into()))
    }

    fn bwd(&self, outputs: &Tensor, _loss: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let scale = gradient.to_scalar::<f32>()?;
        let mut of_outputs = vec![0.0; outputs.elem_count()];
        with_values(outputs, |outputs| {
            for ((place, target), weight) in self.chosen.iter().zip(&self.targets).zip(&self.weights) {
                let error = outputs[*place] - target;
                of_outputs[*place] += scale * weight * error.clamp(-self.delta, self.delta);
            }
        })?;
        Ok(Some(tensor(of_outputs, outputs.dims())?))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    fn agrees(delta: f32) -> Result<()> {
        let outputs = check::variable(1, &[4, 5])?;
        let columns = vec![3u32, 0, 4, 1];
        let chosen = columns.iter().enumerate().map(|(row, column)| row * 5 + *column as usize).collect();
        let targets = vec![0.1, 2.5, -3.0, 0.4];
        let weights = vec![1.0, 0.5, 2.0, 0.25];
        let index = Tensor::new(columns, outputs.device())?.reshape((4, 1))?;
        let error = (outputs.gather(&index, 1)?.flatten_all()? - tensor(targets.clone(), 4)?)?.abs()?;
        let inner = error.clamp(0f32, delta)?;
        let loss = ((&error * &inner)? - (inner.sqr()? * 0.5)?)?;
        let composed = (loss * tensor(weights.clone(), 4)?)?.sum_all()?;
        check::same(&huber(&outputs, chosen, targets, weights, delta)?, &composed, &[&outputs])
    }

    #[test]
    fn equals_the_composed_operation() -> Result<()> {
        agrees(1.0)?;
        agrees(f32::INFINITY)
    }

    #[test]
    fn refuses_an_output_that_is_not_there() -> Result<()> {
        let outputs = check::variable(1, &[1, 5])?;
        assert!(huber(&outputs, vec![4], vec![0.0], vec![1.0], 1.0).is_ok());
        assert!(huber(&outputs, vec![5], vec![0.0], vec![1.0], 1.0).is_err());
        assert!(huber(&outputs, vec![4], vec![0.0; 2], vec![1.0], 1.0).is_err());
        Ok(())
    }
}
