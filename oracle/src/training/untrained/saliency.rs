//! What the loss of a batch says of the weights θ of convolutions and linear maps, g its gradient.
//!
//! * `snip`: Σ |θ · g| (Lee et al., arXiv 1810.02340).
//! * `plain`: Σ θ · g (Abdelfattah et al., arXiv 2101.08134, with all of these as scores of networks).
//! * `grad_norm`: Σ ‖g‖ over the layers (there).
//! * `l2_norm`: Σ ‖θ‖ over the layers (there); it asks for no loss.
//! * `grasp`: −Σ θ · (H g), H the loss's Hessian (Wang et al., arXiv 2002.07376). There is no gradient of a gradient here. As H is
//!   symmetric the score is −Σ g · (H θ), and H θ is a difference of the gradients where θ is a hundredth longer and shorter: a way on
//!   which gradients hardly bend and few ReLU units switch, where along g in a deep network they do at once.
//! * `fisher`: over the channels of what each layer gives before normalisation, the mean over images of ½ (Σ a · ∂L/∂a)², Σ over a
//!   channel's pixels a, times the channel's weights (Theis et al., arXiv 1801.05787).
//!
//! All this depends on where is normalised: it is where NAS-Bench-201's own networks have it (arXiv 2001.00326), before the last ReLU and
//! not in shortcuts. Where a normalisation follows, a layer's scale does not count, and Σ θ · g of it is 0 but for what keeps variances
//! from 0: `plain` is what shortcuts and classifier say, and that is mostly the chance of one draw of weights.

use super::IMAGES;
use crate::training::{
    model::{
        Model, Pass, Phase,
        layers::{Conv, ConvNorm, Linear, Norm},
    },
    ops::{self, cross_entropy},
};
use candle_core::{Result, Tensor, Var, backprop::GradStore};
use srnas_network::ops::with_values;
use std::sync::{Arc, Mutex};

/// How much longer and shorter, as a share of θ.
const STEP: f64 = 1e-2;

/// A batch with its labels.
#[derive(Clone, Copy)]
pub struct Labelled<'a> {
    /// [C, H, W, N], normalised.
    pub images: &'a Tensor,
    /// N.
    pub labels: &'a Arc<[u8]>,
}

/// The weights of convolutions and linear maps with the gradient of the loss; those that nothing flows through are left out.
pub struct Saliency {
    of: Vec<(Var, Tensor)>,
    fisher: f64,
}

impl Saliency {
    /// At the weights as they are.
    ///
    /// # Errors
    /// When the network fails.
    pub fn of(network: &mut dyn Model, batch: Labelled<'_>) -> Result<Self> {
        let mut fisher = Fisher::default();
        let logits = network.pass(batch.images, &mut fisher)?;
        let gradients = cross_entropy(&logits, batch.labels)?.backward()?;
        let with_gradient = |weight: &Var| Some((weight.clone(), gradients.get(weight)?.detach()));
        let of = network.weights().into_iter().filter_map(with_gradient).collect();
        Ok(Self { of, fisher: fisher.score(&gradients)? })
    }

    /// The score `fisher`.
    pub fn fisher(&self) -> f64 {
        self.fisher
    }

    /// The score `snip`.
    ///
    /// # Errors
    /// None that is known of; as all below.
    pub fn snip(&self) -> Result<f64> {
        self.sum(|weight, gradient| (weight * gradient).abs())
    }

    /// The score `plain`.
    pub fn plain(&self) -> Result<f64> {
        self.sum(|weight, gradient| weight * gradient)
    }

    /// The score `grad_norm`.
    pub fn grad_norm(&self) -> Result<f64> {
        self.of.iter().map(|(_, gradient)| norm(gradient)).sum()
    }

    /// The score `grasp`; the weights are in the end what they were, to the bit.
    pub fn grasp(&self, network: &mut dyn Model, batch: Labelled<'_>) -> Result<f64> {
        let start = self.of.iter().map(|(weight, _)| weight.copy()).collect::<Result<Vec<Tensor>>>()?;
        // g(θ) · g(longer θ).
        let mut at = |longer: f64| -> Result<f64> {
            for ((weight, _), start) in self.of.iter().zip(&start) {
                weight.set(&start.affine(longer, 0.0)?)?;
            }
            let moved = Self::of(network, batch)?;
            self.of.iter().zip(&moved.of).map(|((_, g), (_, moved))| product(g, moved, |a, b| a * b)).sum()
        };
        let (ahead, behind) = (at(1.0 + STEP)?, at(1.0 - STEP)?);
        for ((weight, _), start) in self.of.iter().zip(&start) {
            weight.set(start)?;
        }
        Ok((behind - ahead) / (2.0 * STEP))
    }

    fn sum(&self, term: impl Fn(f64, f64) -> f64 + Copy) -> Result<f64> {
        self.of.iter().map(|(weight, gradient)| product(weight, gradient, term)).sum()
    }
}

/// The score `l2_norm`.
///
/// # Errors
/// None that is known of.
pub fn l2_norm(network: &dyn Model) -> Result<f64> {
    network.weights().into_iter().map(|weight| norm(weight)).sum()
}

fn norm(values: &Tensor) -> Result<f64> {
    with_values(values, |values| values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt())
}

/// Σ of terms of two tensors of one shape.
fn product(a: &Tensor, b: &Tensor, term: impl Fn(f64, f64) -> f64) -> Result<f64> {
    with_values(a, |a| {
        with_values(b, |b| a.iter().zip(b).map(|(&a, &b)| term(f64::from(a), f64::from(b))).sum())
    })?
}

/// Outputs of a layer, and weights of each.
type Fan = [usize; 2];

/// A pass in training that looks at what each layer gives, and on the way back at its gradient.
struct Fisher {
    phase: Phase,
    /// Of what is normalised.
    score: Arc<Mutex<f64>>,
    /// Of other layers: what they give, and zeros added to it, which have the same gradient.
    probes: Vec<(Tensor, Var, Fan)>,
}

impl Default for Fisher {
    fn default() -> Self {
        Self { phase: Phase::Train, score: Arc::default(), probes: Vec::new() }
    }
}

impl Fisher {
    fn probe(&mut self, given: Tensor, fan: Fan) -> Result<Tensor> {
        let zeros = Var::from_tensor(&given.zeros_like()?)?;
        let result = ops::sum(&given, &zeros)?;
        self.probes.push((given, zeros, fan));
        Ok(result)
    }

    fn score(self, gradients: &GradStore) -> Result<f64> {
        for (given, zeros, fan) in &self.probes {
            let Some(gradient) = gradients.get(zeros) else { continue };
            let score = with_values(given, |given| with_values(gradient, |g| of_layer(given, g, *fan)))??;
            add(&self.score, score);
        }
        Ok(*self.score.lock().expect("nobody panics with it"))
    }
}

fn add(score: &Mutex<f64>, more: f64) {
    *score.lock().expect("nobody panics with it") += more;
}

/// What a layer adds to the score: what it gives and the gradient of that, both [outputs, H, W, N].
fn of_layer(given: &[f32], gradient: &[f32], [outputs, weights]: Fan) -> f64 {
    let per_channel = given.len() / outputs;
    let channels = given.chunks_exact(per_channel).zip(gradient.chunks_exact(per_channel));
    let squares = channels.map(|(given, gradient)| {
        let mut sums = [0.0f64; IMAGES];
        for (given, gradient) in given.chunks_exact(IMAGES).zip(gradient.chunks_exact(IMAGES)) {
            for (sum, (a, g)) in sums.iter_mut().zip(given.iter().zip(gradient)) {
                *sum += f64::from(a * g);
            }
        }
        sums.iter().map(|sum| sum * sum).sum::<f64>() / IMAGES as f64
    });
    0.5 * weights as f64 * squares.sum::<f64>()
}

impl Pass for Fisher {
    fn convolution(&mut self, layer: &mut ConvNorm, images: &Tensor) -> Result<Tensor> {
        let (fan, score) = (layer.fan(), self.score.clone());
        let see = move |given: &[f32], gradient: &[f32]| add(&score, of_layer(given, gradient, fan));
        layer.watched(images, Arc::new(see))
    }

    fn shortcut(&mut self, layer: &mut ConvNorm, images: &Tensor) -> Result<Tensor> {
        self.probe(layer.convolve(images)?, layer.fan())
    }

    fn plain(&mut self, layer: &Conv, images: &Tensor) -> Result<Tensor> {
        let given = self.phase.plain(layer, images)?;
        self.probe(given, layer.fan())
    }

    fn norm(&mut self, layer: &mut Norm, images: &Tensor) -> Result<Tensor> {
        self.phase.norm(layer, images)
    }

    fn relu(&mut self, images: &Tensor) -> Result<Tensor> {
        ops::relu(&ops::normalise(images)?)
    }

    fn linear(&mut self, layer: &Linear, inputs: &Tensor) -> Result<Tensor> {
        let given = self.phase.linear(layer, inputs)?;
        self.probe(given, layer.fan())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::{
        data,
        model::{self, Scale},
        ops::Moments,
    };
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_network::ops::tensor;
    use srnas_space::SearchSpace;

    struct Case {
        network: Box<dyn Model>,
        images: Tensor,
        labels: Arc<[u8]>,
    }

    fn case(choices: [u8; 6], stages: usize) -> Case {
        let data = data::digits();
        let scale = Scale { width: 4, stages, cells: 1 };
        let rng = &mut ChaCha8Rng::seed_from_u64(5);
        let space = SearchSpace::named("nb201").unwrap();
        let network = model::build(&space, &choices, data.shape, scale, rng).unwrap();
        let batch = data.batch(&data.train, &(0..IMAGES).collect::<Vec<_>>(), |_, _| {});
        let (mean, variance) = data.moments();
        let images = tensor(batch.pixels, (1, 8, 8, IMAGES)).unwrap();
        let images = ops::standardise(&images, &Moments { mean, variance }).unwrap();
        Case { network, images, labels: batch.labels.into() }
    }

    #[test]
    fn scores_are_their_sums() {
        let Case { mut network, images, labels } = case([3, 1, 3, 1, 2, 4], 2);
        let found = Saliency::of(&mut *network, Labelled { images: &images, labels: &labels }).unwrap();
        // Nothing is left out: stem, two cells of three convolutions, three of the reduction, classifier.
        assert_eq!((found.of.len(), network.weights().len()), (11, 11));
        let (mut snip, mut plain, mut lengths) = (0.0, 0.0, 0.0);
        for (weight, gradient) in &found.of {
            let own: Vec<f32> =
                (weight.as_tensor() * gradient).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            snip += own.iter().map(|v| f64::from(v.abs())).sum::<f64>();
            plain += own.iter().map(|v| f64::from(*v)).sum::<f64>();
            let square = gradient.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            lengths += f64::from(square).sqrt();
        }
        assert!((found.snip().unwrap() / snip - 1.0).abs() < 1e-5);
        assert!((found.plain().unwrap() - plain).abs() < 1e-5 * snip);
        assert!((found.grad_norm().unwrap() / lengths - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_layer_s_part_of_fisher_is_half_the_mean_square_of_what_its_channels_say() {
        // Two channels of two pixels: of image n a · g is n and 1 in the first, 2 and −2 in the second.
        let all = |rows: [fn(f32) -> f32; 4]| -> Vec<f32> {
            rows.into_iter().flat_map(|row| (0..IMAGES).map(move |n| row(n as f32))).collect()
        };
        let given = all([|n| n, |_| 1.0, |_| 2.0, |_| -1.0]);
        let gradient = all([|_| 1.0, |_| 1.0, |_| 1.0, |_| 2.0]);
        let mean = (0..IMAGES).map(|n| (n as f64 + 1.0).powi(2)).sum::<f64>() / IMAGES as f64;
        assert!((of_layer(&given, &gradient, [2, 9]) / (0.5 * 9.0 * mean) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn grasp_is_what_follows_from_scales_that_do_not_count() {
        // In one stage all convolutions are normalised, so that their lengths do not count, and H θ of them is −g. So the score is Σ g · g
        // over them, less what a longer classifier alone does. Differences along g would not do: ReLU units switch on the way.
        let Case { mut network, images, labels } = case([3, 1, 3, 1, 2, 4], 1);
        let batch = Labelled { images: &images, labels: &labels };
        let found = Saliency::of(&mut *network, batch).unwrap();
        let before: Vec<Tensor> = found.of.iter().map(|(weight, _)| weight.copy().unwrap()).collect();
        let grasp = found.grasp(&mut *network, batch).unwrap();
        for ((weight, _), before) in found.of.iter().zip(&before) {
            assert_eq!(
                product(weight, before, |a, b| (a - b).abs()).unwrap(),
                0.0,
                "weights are as they were"
            );
        }
        let (classifier, convolutions) = found.of.split_last().unwrap();
        let of_convolutions: f64 =
            convolutions.iter().map(|(_, gradient)| norm(gradient).unwrap().powi(2)).sum();
        let mut with_classifier = |longer: f64| {
            let (weight, last) = (&classifier.0, before.last().unwrap());
            weight.set(&last.affine(longer, 0.0).unwrap()).unwrap();
            let moved = Saliency::of(&mut *network, batch).unwrap();
            weight.set(last).unwrap();
            let pairs = moved.of.iter().zip(&found.of);
            pairs.map(|((_, a), (_, b))| product(a, b, |a, b| a * b).unwrap()).sum::<f64>()
        };
        let of_classifier = (with_classifier(0.99) - with_classifier(1.01)) / 0.02;
        let expected = of_convolutions + of_classifier;
        assert!((grasp - expected).abs() < 0.01 * of_convolutions, "{grasp} {expected}: {of_convolutions}");
    }
}
