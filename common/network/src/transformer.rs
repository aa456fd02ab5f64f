//! A transformer block among candidates: a set, so there are no positions.

use candle_core::{Result, Tensor};

use super::{
    ops::{Segments, Sharing, attention::attention, layer_norm::layer_norm, linear::linear},
    weights::{Affine, Initial, Supply},
};
use std::sync::Arc;

/// Attention and a ReLU network, each normalised before and added to the stream after.
///
/// What returns to the stream has no bias of its own: the stream takes the place of the bias in the fused
/// operation, and the norms that read it have biases.
#[derive(Clone, Debug)]
pub(super) struct Block {
    heads: usize,
    attention_gain: Tensor,
    attention_bias: Tensor,
    packed: Affine,
    attended: Tensor,
    inner_gain: Tensor,
    inner_bias: Tensor,
    inner: Affine,
    outer: Tensor,
}

impl Block {
    /// Asks for the weights of a block of this width, whose network is twice as wide inside.
    pub fn new(supply: &mut dyn Supply, name: &str, width: usize, heads: usize) -> super::Result<Self> {
        let uniform = |inputs| Initial::Uniform { inputs };
        let mut take =
            |part: &str, shape: &[usize], initial| supply.supply(&format!("{name}.{part}"), shape, initial);
        let (one, zero) = (Initial::Constant(1.0), Initial::Constant(0.0));
        let attention_gain = take("attention_norm.weight", &[width], one)?;
        let attention_bias = take("attention_norm.bias", &[width], zero)?;
        let inner_gain = take("inner_norm.weight", &[width], one)?;
        let inner_bias = take("inner_norm.bias", &[width], zero)?;
        let attended = take("attended.weight", &[width, width], uniform(width))?;
        let outer = take("outer.weight", &[width, 2 * width], uniform(2 * width))?;
        Ok(Self {
            heads,
            attention_gain,
            attention_bias,
            packed: Affine::new(supply, &format!("{name}.packed"), 3 * width, width, uniform(width))?,
            attended,
            inner_gain,
            inner_bias,
            inner: Affine::new(supply, &format!("{name}.inner"), 2 * width, width, uniform(width))?,
            outer,
        })
    }

    /// stream [R, H] → [R, H].
    pub fn forward(&self, stream: &Tensor, segments: &Arc<Segments>) -> Result<Tensor> {
        let normal = layer_norm(stream, &self.attention_gain, &self.attention_bias)?;
        let attended = attention(&self.packed.forward(&normal, false)?, self.heads, segments)?;
        let stream = linear(&attended, &self.attended, stream, Sharing::Each, false)?;
        let normal = layer_norm(&stream, &self.inner_gain, &self.inner_bias)?;
        let inner = self.inner.forward(&normal, true)?;
        linear(&inner, &self.outer, &stream, Sharing::Each, false)
    }
}
