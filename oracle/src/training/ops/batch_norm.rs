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

/// What a normalisation knows on the way back.
#[derive(Default)]
pub(super) struct Kept {
    pub moments: Moments,
    /// Before gain and shift, [C, H, W, N].
    normalised: Vec<f32>,
}

impl Kept {
    /// Normalises, and what comes of it behind gain, shift and ReLU.
    pub fn of(images: &[f32], affine: &[f32], after: After) -> (Self, Vec<f32>) {
        let channels = affine.len() / 2;
        let per_channel = images.len() / channels;
        // Written from front to back: a vector of zeros would be written twice.
        let (mut normalised, mut result) =
            (Vec::with_capacity(images.len()), Vec::with_capacity(images.len()));
        let mut moments = Moments::default();
        vectorised!({
            for (channel, images) in images.chunks_exact(per_channel).enumerate() {
                let mean = sum(images) / per_channel as f32;
                normalised.extend(images.iter().map(|v| v - mean));
                let plane = &mut normalised[channel * per_channel..];
                moments.mean.push(mean);
                moments.variance.push(dot(plane, plane) / per_channel as f32);
                let rate = moments.rate(channel);
                let (gain, shift) = (affine[channel], affine[channels + channel]);
                result.extend(plane.iter_mut().map(|v| {
                    *v *= rate;
                    rectified(*v * gain + shift, after)
                }));
            }
        });
        (Self { moments, normalised }, result)
    }

    /// Turns the gradient behind gain and shift into that of the images, and returns the one of gain and shift.
    pub fn back(&self, gradient: &mut [f32], affine: &[f32]) -> Vec<f32> {
        let channels = affine.len() / 2;
        let per_channel = gradient.len() / channels;
        let mut of_affine = vec![0.0; 2 * channels];
        vectorised!({
            let planes =
                gradient.chunks_exact_mut(per_channel).zip(self.normalised.chunks_exact(per_channel));
            for (channel, (gradient, plane)) in planes.enumerate() {
                let (of_gain, of_shift) = (dot(gradient, plane), sum(gradient));
                let scale = affine[channel] * self.moments.rate(channel);
                let (along, mean) = (of_gain / per_channel as f32, of_shift / per_channel as f32);
                for (g, v) in gradient.iter_mut().zip(plane) {
                    *g = scale * (*g - mean - *v * along);
                }
                of_affine[channel] = of_gain;
                of_affine[channels + channel] = of_shift;
            }
        });
        of_affine
    }
}

impl Moments {
    /// Images behind a normalisation by these moments, gain, shift and ReLU.
    pub(super) fn applied(&self, images: &[f32], affine: &[f32], after: After) -> Vec<f32> {
        let channels = affine.len() / 2;
        let per_channel = images.len() / channels;
        let mut result = Vec::with_capacity(images.len());
        vectorised!({
            for (channel, plane) in images.chunks_exact(per_channel).enumerate() {
                let rate = affine[channel] * self.rate(channel);
                let add = affine[channels + channel] - self.mean[channel] * rate;
                result.extend(plane.iter().map(|v| rectified(v * rate + add, after)));
            }
        });
        result
    }

    /// Turns the gradient behind gain and shift into that of the images.
    pub(super) fn back(&self, gradient: &mut [f32], affine: &[f32]) {
        let per_channel = gradient.len() / (affine.len() / 2);
        vectorised!({
            for (channel, plane) in gradient.chunks_exact_mut(per_channel).enumerate() {
                let rate = affine[channel] * self.rate(channel);
                plane.iter_mut().for_each(|v| *v *= rate);
            }
        });
    }
}

/// Leaves of a gradient what the ReLU passed.
pub(super) fn pass(gradient: &mut [f32], result: &[f32], after: After) {
    if after == After::Relu {
        vectorised!(gradient.iter_mut().zip(result).for_each(|(g, &r)| *g = if r > 0.0 { *g } else { 0.0 }));
    }
}

/// Not a maximum, which on some processors would hide what is not a number.
#[inline(always)]
fn rectified(value: f32, after: After) -> f32 {
    if after == After::Relu && value < 0.0 { 0.0 } else { value }
}

struct BatchNorm {
    after: After,
    kept: Arc<Mutex<Kept>>,
}

/// Channels of images.
fn channels(images: &Shape) -> Result<usize> {
    Ok(images.dims4()?.0)
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
        let affine = checked_affine(affine, affine_layout, channels(layout.shape())?)?;
        let (kept, result) = Kept::of(values(images, layout)?, affine, self.after);
        *self.kept.lock().expect("nobody panics with it") = kept;
        Ok((CpuStorage::F32(result), layout.shape().clone()))
    }

    fn bwd(
        &self,
        images: &Tensor,
        affine: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let kept = self.kept.lock().expect("nobody panics with it");
        let mut inner = with_values(gradient, <[f32]>::to_vec)?;
        with_values(result, |result| pass(&mut inner, result, self.after))?;
        let of_affine = with_values(affine, |affine| kept.back(&mut inner, affine))?;
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
        let affine = checked_affine(affine, affine_layout, channels(layout.shape())?)?;
        let result = self.moments.applied(values(images, layout)?, affine, self.after);
        Ok((CpuStorage::F32(result), layout.shape().clone()))
    }

    fn bwd(
        &self,
        images: &Tensor,
        affine: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut inner = with_values(gradient, <[f32]>::to_vec)?;
        with_values(result, |result| pass(&mut inner, result, self.after))?;
        with_values(affine, |affine| self.moments.back(&mut inner, affine))?;
        Ok((Some(tensor(inner, images.shape())?), None))
    }
}
