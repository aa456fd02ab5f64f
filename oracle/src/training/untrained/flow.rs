//! `synflow`: log Σ |θ · ∂R/∂θ| with R the logits' sum for an image of ones, weights in absolute value, no normalisation (Tanaka et al.,
//! arXiv 2006.05467; as a score of networks Abdelfattah et al., arXiv 2101.08134).

use crate::training::{
    model::{
        Model, Pass, Shape,
        layers::{Conv, ConvNorm, Linear, Norm},
    },
    ops::BLOCK,
};
use candle_core::{Result, Tensor};
use srnas_network::ops::{tensor, with_values};

/// A pass of what flows through weights in absolute value; what it is multiplied by at each waist keeps it within f32.
#[derive(Default)]
struct Flow {
    log_scale: f64,
}

impl Pass for Flow {
    fn convolution(&mut self, layer: &mut ConvNorm, images: &Tensor) -> Result<Tensor> {
        layer.absolute(images)
    }

    fn plain(&mut self, layer: &Conv, images: &Tensor) -> Result<Tensor> {
        layer.absolute(images)
    }

    fn norm(&mut self, _layer: &mut Norm, images: &Tensor) -> Result<Tensor> {
        Ok(images.clone())
    }

    fn waist(&mut self, images: Tensor) -> Result<Tensor> {
        let highest = with_values(&images, |values| values.iter().copied().fold(0.0f32, f32::max))?;
        if highest <= 0.0 {
            return Ok(images);
        }
        self.log_scale += f64::from(highest).ln();
        images.affine(f64::from(highest).recip(), 0.0)
    }

    fn linear(&mut self, layer: &Linear, inputs: &Tensor) -> Result<Tensor> {
        layer.absolute(inputs)
    }
}

/// The score of a network.
///
/// # Errors
/// When the network fails.
pub fn synflow(network: &mut dyn Model, shape: Shape) -> Result<f64> {
    let [height, width] = shape.size;
    let ones =
        tensor(vec![1.0; shape.channels * height * width * BLOCK], (shape.channels, height, width, BLOCK))?;
    let mut flow = Flow::default();
    let gradients = network.pass(&ones, &mut flow)?.sum_all()?.backward()?;
    let mut sum = 0.0;
    for (_, parameter) in network.parameters() {
        let Some(gradient) = gradients.get(parameter) else { continue };
        let product = (parameter.as_tensor() * gradient)?.abs()?;
        sum += with_values(&product, |values| values.iter().map(|&v| f64::from(v)).sum::<f64>())?;
    }
    // All images of the block are the same one.
    Ok((sum / BLOCK as f64).ln() + flow.log_scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::model::{self, Scale};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_space::SearchSpace;

    #[test]
    fn synflow_is_the_sum_over_layers_and_paths_of_what_flows() {
        // Of layers in a row each has all of R, so a network of L of them has log(L · R).
        let space = SearchSpace::named("nb201").unwrap();
        let shape = Shape { channels: 1, size: [4, 4], classes: 3 };
        let scale = Scale { width: 2, stages: 1, cells: 1 };
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        let mut network = model::build(&space, &[0, 0, 0, 3, 0, 0], shape, scale, rng).unwrap();
        let ones = tensor(vec![1.0; 16 * BLOCK], (1, 4, 4, BLOCK)).unwrap();
        let mut flow = Flow::default();
        let logits = network.pass(&ones, &mut flow).unwrap();
        let through = with_values(&logits, |v| v.iter().map(|&v| f64::from(v)).sum::<f64>()).unwrap();
        let r = (through / BLOCK as f64).ln() + flow.log_scale;
        let score = synflow(&mut *network, shape).unwrap();
        assert!((score - (r + 3f64.ln())).abs() < 1e-4, "{score} {r}");
    }
}
