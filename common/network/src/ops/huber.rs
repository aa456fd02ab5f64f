//! The loss of the networks: Huber on one chosen output per row.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{tensor, values, with_values};

/// Σ weight × huber(output[column] − target) over the rows: half the square up to `delta`, straight beyond it
/// (an infinite `delta` makes it half the square everywhere).
///
/// outputs [B, M]; one column, target and weight per row, [B] each → a scalar. All other outputs get gradient 0.
pub fn huber(
    outputs: &Tensor,
    columns: Vec<u32>,
    targets: Vec<f32>,
    weights: Vec<f32>,
    delta: f32,
) -> Result<Tensor> {
    outputs.apply_op1(Huber { columns, targets, weights, delta })
}

struct Huber {
    columns: Vec<u32>,
    targets: Vec<f32>,
    weights: Vec<f32>,
    delta: f32,
}

impl CustomOp1 for Huber {
    fn name(&self) -> &'static str {
        "huber"
    }

    fn cpu_fwd(&self, outputs: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let outputs = values(outputs, layout)?;
        let lengths = [self.columns.len(), self.targets.len(), self.weights.len()];
        if lengths != [rows; 3] || self.columns.iter().any(|column| *column as usize >= width) {
            bail!("huber: outputs [{rows}, {width}]; {lengths:?} columns, targets and weights");
        }
        let mut loss = 0.0;
        for (row, output) in outputs.chunks_exact(width).enumerate() {
            let error = (output[self.columns[row] as usize] - self.targets[row]).abs();
            let inner = error.min(self.delta);
            loss += self.weights[row] * inner * (error - 0.5 * inner);
        }
        Ok((CpuStorage::F32(vec![loss]), ().into()))
    }

    fn bwd(&self, outputs: &Tensor, _loss: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = outputs.dims2()?;
        let scale = gradient.to_scalar::<f32>()?;
        let mut of_outputs = vec![0.0; rows * width];
        with_values(outputs, |outputs| {
            let rows = outputs.chunks_exact(width).zip(of_outputs.chunks_exact_mut(width));
            for (row, (output, of_output)) in rows.enumerate() {
                let column = self.columns[row] as usize;
                let error = output[column] - self.targets[row];
                of_output[column] = scale * self.weights[row] * error.clamp(-self.delta, self.delta);
            }
        })?;
        Ok(Some(tensor(of_outputs, (rows, width))?))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    fn agrees(delta: f32) -> Result<()> {
        let outputs = check::variable(1, &[4, 5])?;
        let columns = vec![3, 0, 4, 1];
        let targets = vec![0.1, 2.5, -3.0, 0.4];
        let weights = vec![1.0, 0.5, 2.0, 0.25];
        let index = Tensor::new(columns.clone(), outputs.device())?.reshape((4, 1))?;
        let error = (outputs.gather(&index, 1)?.flatten_all()? - tensor(targets.clone(), 4)?)?.abs()?;
        let inner = error.clamp(0f32, delta)?;
        let loss = ((&error * &inner)? - (inner.sqr()? * 0.5)?)?;
        let composed = (loss * tensor(weights.clone(), 4)?)?.sum_all()?;
        check::same(&huber(&outputs, columns, targets, weights, delta)?, &composed, &[&outputs])
    }

    #[test]
    fn equals_the_composed_operation() -> Result<()> {
        agrees(1.0)?;
        agrees(f32::INFINITY)
    }

    #[test]
    fn refuses_a_column_that_is_not_there() -> Result<()> {
        let outputs = check::variable(1, &[1, 5])?;
        assert!(huber(&outputs, vec![5], vec![0.0], vec![1.0], 1.0).is_err());
        Ok(())
    }
}
