//! From an architecture to a network that can be trained.
//!
//! [`build`] knows which spaces have networks; training and measuring know none of them. A space adds itself with a
//! function that puts [`layers`] together.

mod cell;
pub mod layers;
mod robust;
pub mod wide;

use super::ops::{self, Moments};
use candle_core::{Result, Tensor, Var};
use layers::{Conv, ConvNorm, Linear, Norm};
use rand::Rng;
use serde::{Deserialize, Serialize};
use srnas_space::{
    SearchSpace,
    wrn::{Teacher, WideResNet},
};

/// What a network is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Batch statistics, which move the running averages; gradients of the parameters.
    Train,
    /// Running averages; no gradients of the parameters.
    Evaluate,
}

/// Size of what a network sees and says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels of an image.
    pub channels: usize,
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Classes to tell apart.
    pub classes: usize,
}

/// How large a network is made of an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Channels of the first stage; each later stage has twice as many at half the height and width.
    pub width: usize,
    /// Stages.
    pub stages: usize,
    /// Cells in a stage.
    pub cells: usize,
}

/// A network that tells images apart.
pub trait Model {
    /// What comes out of a pass of images [C, H, W, N], N a multiple of [`super::ops::BLOCK`].
    ///
    /// # Errors
    /// Images of another size.
    fn pass(&mut self, images: &Tensor, how: &mut dyn Pass) -> Result<Tensor>;

    /// Logits [classes, 1, 1, N] of images [C, H, W, N], N a multiple of [`super::ops::BLOCK`].
    ///
    /// # Errors
    /// Images of another size.
    fn forward(&mut self, images: &Tensor, mut phase: Phase) -> Result<Tensor> {
        self.pass(images, &mut phase)
    }

    /// The parameters by name. Those of parts that nothing flows through get no gradient.
    fn parameters(&self) -> &[(String, Var)];

    /// Those that multiply, of convolutions and linear maps: no gains, shifts or biases.
    fn weights(&self) -> Vec<&Var> {
        let all = self.parameters().iter().map(|(_, parameter)| parameter);
        all.filter(|parameter| parameter.rank() == 4).collect()
    }

    /// The running averages of every normalisation, always in the same order.
    fn running(&mut self) -> Vec<&mut Moments>;

    /// Multiply-adds for one image.
    fn multiply_adds(&self) -> u64;

    /// Number of weights.
    fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, p)| p.elem_count()).sum()
    }
}

/// What each layer does with what comes to it: a network says how its layers are joined, and this what they compute.
pub trait Pass {
    /// A convolution [`ConvNorm`].
    ///
    /// # Errors
    /// Images of another size, here and below.
    fn convolution(&mut self, layer: &mut ConvNorm, images: &Tensor) -> Result<Tensor>;

    /// The convolution of a shortcut between stages.
    fn shortcut(&mut self, layer: &mut ConvNorm, images: &Tensor) -> Result<Tensor> {
        self.convolution(layer, images)
    }

    /// A convolution by itself.
    fn plain(&mut self, layer: &Conv, images: &Tensor) -> Result<Tensor>;

    /// A normalisation by itself, and the ReLU that belongs to it.
    fn norm(&mut self, layer: &mut Norm, images: &Tensor) -> Result<Tensor>;

    /// A normalisation, and a convolution that alone sees what comes of it.
    fn norm_plain(&mut self, norm: &mut Norm, behind: &Conv, images: &Tensor) -> Result<Tensor> {
        let active = self.norm(norm, images)?;
        self.plain(behind, &active)
    }

    /// A ReLU that belongs to no convolution.
    fn relu(&mut self, images: &Tensor) -> Result<Tensor> {
        ops::relu(images)
    }

    /// A place that everything goes through, such as the end of a cell.
    fn waist(&mut self, images: Tensor) -> Result<Tensor> {
        Ok(images)
    }

    /// The mean over all pixels, which the classifier sees.
    fn average(&mut self, images: &Tensor) -> Result<Tensor> {
        ops::global_average(images)
    }

    /// A linear map.
    fn linear(&mut self, layer: &Linear, inputs: &Tensor) -> Result<Tensor>;
}

impl Pass for Phase {
    fn convolution(&mut self, layer: &mut ConvNorm, images: &Tensor) -> Result<Tensor> {
        layer.forward(images, *self)
    }

    fn plain(&mut self, layer: &Conv, images: &Tensor) -> Result<Tensor> {
        layer.forward(images, *self)
    }

    fn norm(&mut self, layer: &mut Norm, images: &Tensor) -> Result<Tensor> {
        layer.forward(images, *self)
    }

    fn norm_plain(&mut self, norm: &mut Norm, behind: &Conv, images: &Tensor) -> Result<Tensor> {
        norm.convolve(behind, images, *self)
    }

    fn linear(&mut self, layer: &Linear, inputs: &Tensor) -> Result<Tensor> {
        layer.forward(inputs, *self)
    }
}

/// A pass that sets every normalisation to the moments of what comes to it; no gradients.
pub struct Calibration;

impl Pass for Calibration {
    fn convolution(&mut self, layer: &mut ConvNorm, images: &Tensor) -> Result<Tensor> {
        layer.calibrate(images)
    }

    fn plain(&mut self, layer: &Conv, images: &Tensor) -> Result<Tensor> {
        layer.forward(images, Phase::Evaluate)
    }

    fn norm(&mut self, layer: &mut Norm, images: &Tensor) -> Result<Tensor> {
        layer.calibrate(images)
    }

    fn linear(&mut self, layer: &Linear, inputs: &Tensor) -> Result<Tensor> {
        layer.forward(inputs, Phase::Evaluate)
    }
}

/// Spaces whose architectures can be built, for a person.
pub const BUILT: &str = "those of nb201 and of wrn-compress-… can";

/// Whether architectures of this space can be built.
pub fn can_build(space: &SearchSpace) -> bool {
    space.name() == "nb201" || Teacher::of(space).is_some()
}

/// The network of an architecture with fresh weights.
///
/// # Errors
/// Spaces without networks.
pub fn build(
    space: &SearchSpace,
    choices: &[u8],
    shape: Shape,
    scale: Scale,
    rng: &mut impl Rng,
) -> Result<Box<dyn Model>> {
    if let Some(network) = WideResNet::of(space, choices) {
        return Ok(Box::new(wide::WideNetwork::new(&network, shape, scale, rng)?));
    }
    if !can_build(space) {
        candle_core::bail!("architectures of {} cannot be built into networks; {BUILT}", space.name());
    }
    let mut active = choices.to_vec();
    space.activate(&mut active);
    Ok(Box::new(cell::CellNetwork::new(&active, shape, scale, rng)?))
}
