//! Layers: parameters with the operation that uses them.

use std::sync::Arc;

use candle_core::{Result, Tensor, Var};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use srnas_network::ops::tensor;

use super::Phase;
use crate::training::ops::{self, After, Before, Moments, Watch, Window};

/// How far running averages move to the moments of a batch.
const MOMENTUM: f32 = 0.1;

/// Collects the parameters of a network while it is built.
pub struct Parameters<'r, R> {
    /// What was made so far.
    pub named: Vec<(String, Var)>,
    rng: &'r mut R,
}

impl<'r, R: Rng> Parameters<'r, R> {
    /// None yet; weights will be drawn from `rng`.
    pub fn new(rng: &'r mut R) -> Self {
        Self { named: Vec::new(), rng }
    }

    /// Weights with variance 2 / fan-in (He et al., arXiv 1502.01852).
    fn weights(&mut self, name: String, shape: &[usize]) -> Result<Var> {
        let fan_in: usize = shape[1..].iter().product();
        let deviation = (2.0 / fan_in as f32).sqrt();
        let rng = &mut *self.rng;
        let values = (0..shape.iter().product()).map(|_| {
            let draw: f32 = StandardNormal.sample(rng);
            deviation * draw
        });
        let values = values.collect();
        self.variable(name, tensor(values, shape)?)
    }

    fn variable(&mut self, name: String, value: Tensor) -> Result<Var> {
        let variable = Var::from_tensor(&value)?;
        self.named.push((name, variable.clone()));
        Ok(variable)
    }
}

/// The values of a variable, with gradients while training.
fn used(variable: &Var, phase: Phase) -> Tensor {
    match phase {
        Phase::Train => variable.as_tensor().clone(),
        Phase::Evaluate => variable.as_detached_tensor(),
    }
}

impl Moments {
    /// Moves running averages to the moments of a batch.
    fn move_to(&mut self, moments: &Self) {
        let towards = |running: &mut [f32], now: &[f32]| {
            running.iter_mut().zip(now).for_each(|(running, now)| *running += MOMENTUM * (now - *running));
        };
        towards(&mut self.mean, &moments.mean);
        towards(&mut self.variance, &moments.variance);
    }
}

/// Outputs of a weight [O, I, k, k], and weights of each.
fn fan(weight: &Var) -> [usize; 2] {
    let outputs = weight.dims()[0];
    [outputs, weight.elem_count() / outputs]
}

/// ReLU if asked for, a convolution, and batch normalisation.
pub struct ConvNorm {
    weight: Var,
    /// Gain and shift.
    affine: Var,
    running: Moments,
    window: Arc<Window>,
    before: Before,
}

impl ConvNorm {
    /// From `inputs` to `outputs` channels through a window.
    pub fn new<R: Rng>(
        parameters: &mut Parameters<R>,
        name: &str,
        [inputs, outputs]: [usize; 2],
        window: Arc<Window>,
        before: Before,
    ) -> Result<Self> {
        let side = window.kernel;
        let affine = [vec![1.0; outputs], vec![0.0; outputs]].concat();
        Ok(Self {
            weight: parameters.weights(format!("{name}.weight"), &[outputs, inputs, side, side])?,
            affine: parameters.variable(format!("{name}.affine"), tensor(affine, (2, outputs))?)?,
            running: Moments::standard(outputs),
            window,
            before,
        })
    }

    /// [C, H, W, N] → [C', H', W', N].
    pub fn forward(&mut self, images: &Tensor, phase: Phase) -> Result<Tensor> {
        if phase == Phase::Evaluate {
            let (weight, affine) = (used(&self.weight, phase), used(&self.affine, phase));
            return ops::conv_norm_fixed(images, &weight, &affine, &self.window, self.before, &self.running);
        }
        self.train(images, None)
    }

    /// Normalises by the moments of these images, which take the place of the running averages; no gradients.
    pub fn calibrate(&mut self, images: &Tensor) -> Result<Tensor> {
        let (weight, affine) = (used(&self.weight, Phase::Evaluate), used(&self.affine, Phase::Evaluate));
        let (result, moments) = ops::conv_norm(images, &weight, &affine, &self.window, self.before, None)?;
        self.running = moments;
        Ok(result)
    }

    /// As in training, where on the way back `watch` hears what the convolution gave.
    pub fn watched(&mut self, images: &Tensor, watch: Watch) -> Result<Tensor> {
        self.train(images, Some(watch))
    }

    fn train(&mut self, images: &Tensor, watch: Option<Watch>) -> Result<Tensor> {
        let (weight, affine) = (self.weight.as_tensor(), self.affine.as_tensor());
        let (result, moments) = ops::conv_norm(images, weight, affine, &self.window, self.before, watch)?;
        self.running.move_to(&moments);
        Ok(result)
    }

    /// Whether a ReLU is before it.
    pub fn is_after_relu(&self) -> bool {
        self.before == Before::Relu
    }

    /// The convolution alone, with the absolute values of its weights.
    pub fn absolute(&self, images: &Tensor) -> Result<Tensor> {
        ops::convolution(images, &self.weight.as_tensor().abs()?, &self.window)
    }

    /// The convolution alone.
    pub fn convolve(&self, images: &Tensor) -> Result<Tensor> {
        ops::convolution(images, self.weight.as_tensor(), &self.window)
    }

    /// Number of its outputs, and of the weights of each.
    pub fn fan(&self) -> [usize; 2] {
        fan(&self.weight)
    }

    /// Its running averages.
    pub fn running(&mut self) -> &mut Moments {
        &mut self.running
    }

    /// Height and width of its results.
    pub fn target(&self) -> [usize; 2] {
        self.window.target
    }

    /// Multiply-adds for one image, normalisation not counted.
    pub fn multiply_adds(&self) -> u64 {
        let channels = self.weight.dims()[0] * self.weight.dims()[1];
        (channels * self.window.taps()) as u64
    }
}

/// A convolution alone.
pub struct Conv {
    weight: Var,
    window: Arc<Window>,
}

impl Conv {
    /// From `inputs` to `outputs` channels through a window.
    pub fn new<R: Rng>(
        parameters: &mut Parameters<R>,
        name: &str,
        [inputs, outputs]: [usize; 2],
        window: Arc<Window>,
    ) -> Result<Self> {
        let side = window.kernel;
        let weight = parameters.weights(format!("{name}.weight"), &[outputs, inputs, side, side])?;
        Ok(Self { weight, window })
    }

    /// [C, H, W, N] → [C', H', W', N].
    pub fn forward(&self, images: &Tensor, phase: Phase) -> Result<Tensor> {
        ops::convolution(images, &used(&self.weight, phase), &self.window)
    }

    /// The same with the absolute values of its weights.
    pub fn absolute(&self, images: &Tensor) -> Result<Tensor> {
        ops::convolution(images, &self.weight.as_tensor().abs()?, &self.window)
    }

    /// Number of its outputs, and of the weights of each.
    pub fn fan(&self) -> [usize; 2] {
        fan(&self.weight)
    }
}

/// Batch normalisation alone, with the ReLU after it if there is one.
pub struct Norm {
    /// Gain and shift.
    affine: Var,
    running: Moments,
    after: After,
}

impl Norm {
    /// Normalises by the moments of these images, which take the place of the running averages; no gradients.
    pub fn calibrate(&mut self, images: &Tensor) -> Result<Tensor> {
        let (result, moments) = ops::batch_norm(images, &used(&self.affine, Phase::Evaluate), self.after)?;
        self.running = moments;
        Ok(result)
    }

    /// Of so many channels.
    pub fn new<R: Rng>(
        parameters: &mut Parameters<R>,
        name: &str,
        channels: usize,
        after: After,
    ) -> Result<Self> {
        let affine = [vec![1.0; channels], vec![0.0; channels]].concat();
        let affine = parameters.variable(format!("{name}.affine"), tensor(affine, (2, channels))?)?;
        Ok(Self { affine, running: Moments::standard(channels), after })
    }

    /// [C, H, W, N] → the same.
    pub fn forward(&mut self, images: &Tensor, phase: Phase) -> Result<Tensor> {
        let affine = used(&self.affine, phase);
        if phase == Phase::Evaluate {
            return ops::batch_norm_fixed(images, &affine, self.after, &self.running);
        }
        let (result, moments) = ops::batch_norm(images, &affine, self.after)?;
        self.running.move_to(&moments);
        Ok(result)
    }

    /// It and the convolution behind it: [C, H, W, N] → [C', H', W', N].
    pub fn convolve(&mut self, behind: &Conv, images: &Tensor, phase: Phase) -> Result<Tensor> {
        let (affine, weight) = (used(&self.affine, phase), used(&behind.weight, phase));
        if phase == Phase::Evaluate {
            return ops::norm_conv_fixed(images, &affine, &weight, &behind.window, self.after, &self.running);
        }
        let (result, moments) = ops::norm_conv(images, &affine, &weight, &behind.window, self.after)?;
        self.running.move_to(&moments);
        Ok(result)
    }

    /// Whether a ReLU is behind it.
    pub fn is_before_relu(&self) -> bool {
        self.after == After::Relu
    }

    /// Its running averages.
    pub fn running(&mut self) -> &mut Moments {
        &mut self.running
    }
}

/// A linear map with bias.
pub struct Linear {
    weight: Var,
    bias: Var,
    window: Arc<Window>,
}

impl Linear {
    /// From `inputs` to `outputs` values.
    pub fn new<R: Rng>(
        parameters: &mut Parameters<R>,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self> {
        Ok(Self {
            weight: parameters.weights(format!("{name}.weight"), &[outputs, inputs, 1, 1])?,
            bias: parameters.variable(format!("{name}.bias"), tensor(vec![0.0; outputs], outputs)?)?,
            window: Window::new([1, 1], 1, 1),
        })
    }

    /// [C, 1, 1, N] → [C', 1, 1, N].
    pub fn forward(&self, inputs: &Tensor, phase: Phase) -> Result<Tensor> {
        let result = ops::convolution(inputs, &used(&self.weight, phase), &self.window)?;
        result.broadcast_add(&used(&self.bias, phase).reshape(((), 1, 1, 1))?)
    }

    /// The map without its bias, with the absolute values of its weights.
    pub fn absolute(&self, inputs: &Tensor) -> Result<Tensor> {
        ops::convolution(inputs, &self.weight.as_tensor().abs()?, &self.window)
    }

    /// Number of its outputs, and of the weights of each.
    pub fn fan(&self) -> [usize; 2] {
        fan(&self.weight)
    }

    /// Multiply-adds for one input.
    pub fn multiply_adds(&self) -> u64 {
        self.weight.elem_count() as u64
    }
}
