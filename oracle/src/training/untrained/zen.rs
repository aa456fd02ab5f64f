//! `zen`: how far what comes before the last average over pixels moves when images of noise move a hundredth of other such noise, as
//! log of the mean over images of Σ |f(x) − f(x + 0.01 z)|, plus Σ log of the deviations that normalisations take away again (Lin et al.,
//! arXiv 2102.01063). Weights, x and z are drawn from the standard normal distribution. As in the published scores (NAS-Bench-Suite-Zero,
//! arXiv 2210.03230) a deviation is the root of the mean over channels of the running variances after both passes, and shortcuts are not normalised, as in
//! NAS-Bench-201's own networks. Their last normalisation is left out here: its deviation would be given back at once.

use super::IMAGES;
use crate::training::{
    model::{
        Model, Pass, Phase, Shape,
        layers::{Conv, ConvNorm, Linear, Norm},
    },
    ops,
};
use candle_core::{Result, Tensor};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use srnas_network::ops::{tensor, with_values};

/// How far images move.
const SHIFT: f64 = 1e-2;

/// A pass in training that keeps what comes before the last average.
struct Features {
    phase: Phase,
    found: Option<Tensor>,
}

impl Pass for Features {
    fn convolution(&mut self, layer: &mut ConvNorm, images: &Tensor) -> Result<Tensor> {
        self.phase.convolution(layer, images)
    }

    fn shortcut(&mut self, layer: &mut ConvNorm, images: &Tensor) -> Result<Tensor> {
        layer.convolve(images)
    }

    fn plain(&mut self, layer: &Conv, images: &Tensor) -> Result<Tensor> {
        self.phase.plain(layer, images)
    }

    fn norm(&mut self, layer: &mut Norm, images: &Tensor) -> Result<Tensor> {
        self.phase.norm(layer, images)
    }

    fn average(&mut self, images: &Tensor) -> Result<Tensor> {
        self.found = Some(images.clone());
        ops::global_average(images)
    }

    fn linear(&mut self, layer: &Linear, inputs: &Tensor) -> Result<Tensor> {
        self.phase.linear(layer, inputs)
    }
}

fn features(network: &mut dyn Model, images: &Tensor) -> Result<Tensor> {
    let mut pass = Features { phase: Phase::Train, found: None };
    network.pass(images, &mut pass)?;
    match pass.found {
        Some(found) => Ok(found),
        None => candle_core::bail!("a network without an average over pixels has no zen score"),
    }
}

/// The score of a fresh network, which gets other weights.
///
/// # Errors
/// When the network fails.
pub fn zen(network: &mut dyn Model, shape: Shape, rng: &mut impl Rng) -> Result<f64> {
    let mut normal = |shape: &[usize]| {
        let draws = (0..shape.iter().product()).map(|_| StandardNormal.sample(rng));
        tensor(draws.collect::<Vec<f32>>(), shape)
    };
    for weight in network.weights() {
        weight.set(&normal(weight.dims())?)?;
    }
    let [height, width] = shape.size;
    let noise = [shape.channels, height, width, IMAGES];
    let (images, other) = (normal(&noise)?, normal(&noise)?);
    let moved = (&images + other.affine(SHIFT, 0.0)?)?;
    let difference = (features(network, &images)? - features(network, &moved)?)?;
    let sum = with_values(&difference, |values| values.iter().map(|&v| f64::from(v.abs())).sum::<f64>())?;
    let deviations = network.running().into_iter().map(|running| {
        let sum: f64 = running.variance.iter().map(|&v| f64::from(v)).sum();
        0.5 * (sum / running.variance.len() as f64).ln()
    });
    Ok((sum / IMAGES as f64).ln() + deviations.sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::model::{self, Scale};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_space::SearchSpace;

    #[test]
    fn what_a_normalisation_takes_away_is_given_back() {
        // An image of one pixel, a stem and nothing else but ReLU: f is the stem, normalised.
        let space = SearchSpace::named("nb201").unwrap();
        let shape = Shape { channels: 1, size: [4, 4], classes: 2 };
        let scale = Scale { width: 8, stages: 1, cells: 1 };
        let fresh = || {
            let rng = &mut ChaCha8Rng::seed_from_u64(1);
            model::build(&space, &[0, 0, 0, 1, 0, 0], shape, scale, rng).unwrap()
        };
        let mut network = fresh();
        let score = zen(&mut *network, shape, &mut ChaCha8Rng::seed_from_u64(2)).unwrap();
        let variances = network.running()[0].variance.clone();
        // Of nine weights and inputs of variance 1, a tenth and a tenth of the rest on top of what 1 has left; fewer at the border.
        let mean = variances.iter().sum::<f32>() / 8.0;
        assert!((2.0..=0.81 + 0.19 * 12.0).contains(&mean), "{variances:?}");
        // 128 units, half of them on, of deviation 1, moved by a hundredth of as much: 0.01 √(2/π) each.
        let moved = 64.0 * 0.01 * (2.0 / std::f64::consts::PI).sqrt();
        let expected = f64::ln(moved) + 0.5 * f64::from(mean).ln();
        assert!((score - expected).abs() < 0.2, "{score} {expected}");
    }
}
