//! Batch normalisation (arXiv 1502.03167) by itself, with the ReLU after it if there is one: what stands before a convolution where
//! [`super::conv_norm`] has it behind.

use super::{Moments, conv_norm::checked_affine};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use srnas_network::ops::{
    simd::{dot, sum, vectorised},
    tensor, values, with_values,
};
use std::sync::{Arc, Mutex};

/// What happens to normalised values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing more.
    Nothing,
    /// Negative values become 0.
    Relu,
}

/// Normalises each channel of images [C, H, W, N] by its own moments over pixels and images, and applies gain and shift, the rows of
/// `affine` [2, C]. Also returns the moments, for the running averages.
pub fn batch_norm(images: &Tensor, affine: &Tensor, after: After) -> Result<(Tensor, Moments)> {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let result = images.apply_op2(affine, BatchNorm { after, kept: kept.clone() })?;
    let moments = kept.lock().expect("nobody panics with it").moments.clone();
    Ok((result, moments))
}

/// Like [`batch_norm`], by moments that are given. The affine gets no gradient.
pub fn batch_norm_fixed(images: &Tensor, affine: &Tensor, after: After, moments: &Moments) -> Result<Tensor> {
    images.apply_op2(affine, BatchNormFixed { after, moments: moments.clone() })
}

#[derive(Default)]
struct Kept {
    moments: Moments,
    /// Before gain and shift, [C, H, W, N].
    normalised: Vec<f32>,
}

struct BatchNorm {
    after: After,
    kept: Arc<Mutex<Kept>>,
}

/// Channels, and values of each.
fn sizes(images: &Shape) -> Result<(usize, usize)> {
    let (channels, height, width, batch) = images.dims4()?;
    Ok((channels, height * width * batch))
}

/// The gradient before the ReLU.
fn passed(gradient: &Tensor, result: &Tensor, after: After) -> Result<Vec<f32>> {
    let mut passed = with_values(gradient, <[f32]>::to_vec)?;
    if after == After::Relu {
        with_values(result, |result| {
            vectorised!(
                passed.iter_mut().zip(result).for_each(|(g, &r)| *g = if r > 0.0 { *g } else { 0.0 })
            );
        })?;
    }
    Ok(passed)
}

/// Not a maximum, which on some processors would hide what is not a number.
#[inline(always)]
fn rectified(value: f32, after: After) -> f32 {
    if after == After::Relu && value < 0.0 { 0.0 } else { value }
}

impl CustomOp2 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (channels, per_channel) = sizes(layout.shape())?;
        let affine = checked_affine(affine, affine_layout, channels)?;
        let mut normalised = values(images, layout)?.to_vec();
        let mut result = vec![0.0; normalised.len()];
        let mut moments = Moments::default();
        vectorised!({
            let planes = normalised.chunks_exact_mut(per_channel).zip(result.chunks_exact_mut(per_channel));
            for (channel, (plane, result)) in planes.enumerate() {
                let mean = sum(plane) / per_channel as f32;
                plane.iter_mut().for_each(|v| *v -= mean);
                moments.mean.push(mean);
                moments.variance.push(dot(plane, plane) / per_channel as f32);
                let rate = moments.rate(channel);
                let (gain, shift) = (affine[channel], affine[channels + channel]);
                for (v, result) in plane.iter_mut().zip(result) {
                    *v *= rate;
                    *result = rectified(*v * gain + shift, self.after);
                }
            }
        });
        *self.kept.lock().expect("nobody panics with it") = Kept { moments, normalised };
        Ok((CpuStorage::F32(result), layout.shape().clone()))
    }

    fn bwd(
        &self,
        images: &Tensor,
        affine: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (channels, per_channel) = sizes(images.shape())?;
        let kept = self.kept.lock().expect("nobody panics with it");
        let mut inner = passed(gradient, result, self.after)?;
        let mut of_affine = vec![0.0; 2 * channels];
        with_values(affine, |affine| {
            vectorised!({
                let planes =
                    inner.chunks_exact_mut(per_channel).zip(kept.normalised.chunks_exact(per_channel));
                for (channel, (gradient, plane)) in planes.enumerate() {
                    let (of_gain, of_shift) = (dot(gradient, plane), sum(gradient));
                    let scale = affine[channel] * kept.moments.rate(channel);
                    let (along, mean) = (of_gain / per_channel as f32, of_shift / per_channel as f32);
                    for (g, v) in gradient.iter_mut().zip(plane) {
                        *g = scale * (*g - mean - *v * along);
                    }
                    of_affine[channel] = of_gain;
                    of_affine[channels + channel] = of_shift;
                }
            });
        })?;
        Ok((Some(tensor(inner, images.shape())?), Some(tensor(of_affine, affine.shape())?)))
    }
}

struct BatchNormFixed {
    after: After,
    moments: Moments,
}

impl CustomOp2 for BatchNormFixed {
    fn name(&self) -> &'static str {
        "batch-norm-fixed"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (channels, per_channel) = sizes(layout.shape())?;
        let affine = checked_affine(affine, affine_layout, channels)?;
        let mut result = values(images, layout)?.to_vec();
        vectorised!({
            for (channel, plane) in result.chunks_exact_mut(per_channel).enumerate() {
                let rate = affine[channel] * self.moments.rate(channel);
                let add = affine[channels + channel] - self.moments.mean[channel] * rate;
                plane.iter_mut().for_each(|v| *v = rectified(*v * rate + add, self.after));
            }
        });
        Ok((CpuStorage::F32(result), layout.shape().clone()))
    }

    fn bwd(
        &self,
        images: &Tensor,
        affine: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, per_channel) = sizes(images.shape())?;
        let mut inner = passed(gradient, result, self.after)?;
        with_values(affine, |affine| {
            vectorised!({
                for (channel, plane) in inner.chunks_exact_mut(per_channel).enumerate() {
                    let rate = affine[channel] * self.moments.rate(channel);
                    plane.iter_mut().for_each(|v| *v *= rate);
                }
            });
        })?;
        Ok((Some(tensor(inner, images.shape())?), None))
    }
}
