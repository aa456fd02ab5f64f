//! RobustResBlock (arXiv 2212.11005): a bottleneck whose inner channels are in eight parts. Seven go through grouped 3×3 convolutions, each
//! with what the part before it gave added, the last is handed on; a gate of channels is added besides. As in the authors' code the first
//! convolution sees what comes in before normalisation. What the last part goes through where sizes halve is the mean of the pixels that
//! there are, without the zeros around the image.

use super::{
    Pass,
    layers::{Conv, Norm, Parameters},
};
use crate::training::ops::{self, After, Moments, Window};
use candle_core::{Result, Tensor, bail};
use rand::Rng;
use srnas_space::wrn::RobustSizes;
use std::sync::Arc;

/// One block.
pub struct RobustBlock {
    sizes: RobustSizes,
    /// Of what the shortcut sees.
    first: Norm,
    shortcut: Option<Conv>,
    narrow: Conv,
    inner: Norm,
    parts: Vec<Part>,
    /// Where height and width are halved: what the last part goes through.
    pool: Option<Arc<Window>>,
    widen: Conv,
    gate: Gate,
}

/// A grouped convolution, one for each group, and the normalisation after it.
struct Part {
    groups: Vec<Conv>,
    norm: Norm,
}

/// Squeeze and excitation (arXiv 1709.01507) after a normalisation.
struct Gate {
    norm: Norm,
    squeeze: Conv,
    excite: Conv,
}

impl RobustBlock {
    /// From so many channels, of a stage with so many planes. Also returns the channels it gives.
    pub fn new<R: Rng>(
        parameters: &mut Parameters<R>,
        name: &str,
        [inputs, planes]: [usize; 2],
        size: [usize; 2],
        stride: usize,
    ) -> Result<(Self, usize)> {
        let Some(sizes) = RobustSizes::of(planes) else {
            bail!("a robust block needs 16 channels, and its stage has {planes}")
        };
        let RobustSizes { part, inner, outer, gate } = sizes;
        let (groups, parts) = (RobustSizes::GROUPS, RobustSizes::PARTS);
        let point = |size| Window::new(size, 1, 1);
        let window = Window::new(size, 3, stride);
        let target = window.target;
        let mut conv = |name: String, channels, window| Conv::new(parameters, &name, channels, window);
        let mut shortcut = None;
        if stride > 1 || inputs != outer {
            shortcut = Some(conv(format!("{name}.shortcut"), [inputs, outer], Window::new(size, 1, stride))?);
        }
        let narrow = conv(format!("{name}.narrow"), [inputs, inner], point(size))?;
        let widen = conv(format!("{name}.widen"), [inner, outer], point(target))?;
        let squeeze = conv(format!("{name}.gate.squeeze"), [outer, gate], point([1, 1]))?;
        let excite = conv(format!("{name}.gate.excite"), [gate, outer], point([1, 1]))?;
        let mut all = Vec::with_capacity(parts - 1);
        for index in 1..parts {
            let name = format!("{name}.part{index}");
            let group = |group: usize| {
                Conv::new(
                    &mut *parameters,
                    &format!("{name}.group{group}"),
                    [part / groups; 2],
                    window.clone(),
                )
            };
            let convolutions = (0..groups).map(group).collect::<Result<_>>()?;
            all.push(Part {
                groups: convolutions,
                norm: Norm::new(parameters, &format!("{name}.norm"), part, After::Relu)?,
            });
        }
        let block = Self {
            sizes,
            first: Norm::new(parameters, &format!("{name}.norm1"), inputs, After::Relu)?,
            shortcut,
            narrow,
            inner: Norm::new(parameters, &format!("{name}.norm2"), inner, After::Relu)?,
            parts: all,
            pool: (stride > 1).then(|| window.clone()),
            widen,
            gate: Gate {
                norm: Norm::new(parameters, &format!("{name}.gate.norm"), outer, After::Nothing)?,
                squeeze,
                excite,
            },
        };
        Ok((block, outer))
    }

    /// [C, H, W, N] → [C', H', W', N].
    pub fn pass(&mut self, images: &Tensor, how: &mut dyn Pass) -> Result<Tensor> {
        let inner = how.plain(&self.narrow, images)?;
        let inner = how.norm(&mut self.inner, &inner)?;
        let width = self.sizes.part;
        let mut given: Vec<Tensor> = Vec::with_capacity(RobustSizes::PARTS);
        for (index, part) in self.parts.iter_mut().enumerate() {
            let own = slice(&inner, index * width, width)?;
            let seen = match given.last() {
                // Where sizes change nothing can be added.
                Some(before) if self.pool.is_none() => ops::sum(&own, before)?,
                _ => own,
            };
            given.push(part.pass(&seen, how)?);
        }
        let last = slice(&inner, self.parts.len() * width, width)?;
        given.push(match &self.pool {
            Some(window) => ops::average_pool(&last, window)?,
            None => last,
        });
        let wide = how.plain(&self.widen, &Tensor::cat(&given, 0)?)?;
        let gated = self.gate.pass(&wide, how)?;
        let sum = ops::sum(&wide, &gated)?;
        match &self.shortcut {
            Some(shortcut) => {
                let active = how.norm(&mut self.first, images)?;
                ops::sum(&sum, &how.plain(shortcut, &active)?)
            }
            None => ops::sum(&sum, images),
        }
    }

    /// The running averages.
    pub fn running(&mut self) -> Vec<&mut Moments> {
        let Self { first, inner, parts, gate, shortcut, .. } = self;
        // Nothing goes through the first where there is no convolution on the shortcut.
        let first = shortcut.is_some().then(|| first.running());
        let parts = parts.iter_mut().map(|part| part.norm.running());
        first.into_iter().chain([inner.running()]).chain(parts).chain([gate.norm.running()]).collect()
    }
}

/// Channels of images [C, H, W, N], from one on.
fn slice(images: &Tensor, from: usize, channels: usize) -> Result<Tensor> {
    images.narrow(0, from, channels)?.contiguous()
}

impl Part {
    fn pass(&mut self, images: &Tensor, how: &mut dyn Pass) -> Result<Tensor> {
        let width = images.dim(0)? / self.groups.len();
        let groups = self.groups.iter().enumerate();
        let given: Vec<Tensor> = groups
            .map(|(i, group)| how.plain(group, &slice(images, i * width, width)?))
            .collect::<Result<_>>()?;
        how.norm(&mut self.norm, &Tensor::cat(&given, 0)?)
    }
}

impl Gate {
    fn pass(&mut self, images: &Tensor, how: &mut dyn Pass) -> Result<Tensor> {
        let images = how.norm(&mut self.norm, images)?;
        let mean = ops::global_average(&images)?;
        let squeezed = how.plain(&self.squeeze, &mean)?;
        let excited = how.plain(&self.excite, &ops::relu(&squeezed)?)?;
        let open = (excited.neg()?.exp()? + 1.0)?.recip()?;
        images.broadcast_mul(&open)
    }
}
