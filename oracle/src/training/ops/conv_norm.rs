//! ReLU, convolution and batch normalisation (arXiv 1502.03167) in one operation: what cells are made of.
//!
//! Apart they cost nearly twice the time, most of it in passes over memory that candle makes between operations.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
};

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, bail};
use srnas_network::ops::{
    simd::{dot, sum, vectorised},
    tensor, values, with_values,
};

use super::{Window, convolution::Sizes};

/// Added to variances, as in the usual frameworks.
const EPSILON: f32 = 1e-5;

/// Mean and variance by channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// [C].
    pub mean: Vec<f32>,
    /// [C], of the population.
    pub variance: Vec<f32>,
}

impl Moments {
    /// What leaves values as they are.
    pub fn standard(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], variance: vec![1.0; channels] }
    }

    /// One over the standard deviation.
    pub(super) fn rate(&self, channel: usize) -> f32 {
        1.0 / (self.variance[channel] + EPSILON).sqrt()
    }
}

/// What a convolution is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// The images as they are.
    Nothing,
    /// The images with negative values set to 0.
    Relu,
}

/// Hears on the way back what a convolution gave before normalisation, and its gradient, both [O, H', W', N].
pub type Watch = Arc<dyn Fn(&[f32], &[f32]) + Send + Sync>;

/// Convolves images [I, H, W, N] with weight [O, I, k, k], normalises each channel by its own moments over pixels and
/// images, and applies `gain` and `shift`, the rows of `affine` [2, O] → [O, H', W', N]. Also returns the moments, for
/// the running averages. `watch` hears on the way back.
pub fn conv_norm(
    images: &Tensor,
    weight: &Tensor,
    affine: &Tensor,
    window: &Arc<Window>,
    before: Before,
    watch: Option<Watch>,
) -> Result<(Tensor, Moments)> {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let result = images.apply_op3(
        weight,
        affine,
        ConvNorm { window: window.clone(), before, kept: kept.clone(), watch },
    )?;
    let moments = kept.lock().expect("nobody panics with it").moments.clone();
    Ok((result, moments))
}

/// Like [`conv_norm`], normalising by moments that are given. Weight and affine get no gradient.
pub fn conv_norm_fixed(
    images: &Tensor,
    weight: &Tensor,
    affine: &Tensor,
    window: &Arc<Window>,
    before: Before,
    moments: &Moments,
) -> Result<Tensor> {
    images.apply_op3(
        weight,
        affine,
        ConvNormFixed { window: window.clone(), before, moments: moments.clone() },
    )
}

/// Each channel of images [C, H, W, N] less its mean over its standard deviation.
pub fn standardise(images: &Tensor, moments: &Moments) -> Result<Tensor> {
    images.apply_op1(Standardise(moments.clone()))
}

/// What the backward pass needs of the forward pass.
#[derive(Default)]
struct Kept {
    moments: Moments,
    /// The normalised values before gain and shift, [O, H', W', N].
    normalised: Vec<f32>,
}

struct ConvNorm {
    window: Arc<Window>,
    before: Before,
    kept: Arc<Mutex<Kept>>,
    watch: Option<Watch>,
}

impl CustomOp3 for ConvNorm {
    fn name(&self) -> &'static str {
        "conv-norm"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        images_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::check(images_layout.shape(), weight_layout.shape(), &self.window)?;
        let affine = checked_affine(affine, affine_layout, sizes.outputs)?;
        let images = prepared(values(images, images_layout)?, self.before);
        let mut normalised = sizes.forward(&images, values(weight, weight_layout)?, &self.window);
        let mut result = vec![0.0; normalised.len()];
        let mut moments = Moments::default();
        let per_channel = normalised.len() / sizes.outputs;
        vectorised!({
            let planes = normalised.chunks_exact_mut(per_channel).zip(result.chunks_exact_mut(per_channel));
            for (channel, (plane, result)) in planes.enumerate() {
                let mean = sum(plane) / per_channel as f32;
                plane.iter_mut().for_each(|v| *v -= mean);
                moments.mean.push(mean);
                moments.variance.push(dot(plane, plane) / per_channel as f32);
                let rate = moments.rate(channel);
                let (gain, shift) = (affine[channel], affine[sizes.outputs + channel]);
                for (v, result) in plane.iter_mut().zip(result) {
                    *v *= rate;
                    *result = *v * gain + shift;
                }
            }
        });
        *self.kept.lock().expect("nobody panics with it") = Kept { moments, normalised };
        let [height, width] = self.window.target;
        Ok((CpuStorage::F32(result), (sizes.outputs, height, width, sizes.batch).into()))
    }

    fn bwd(
        &self,
        images: &Tensor,
        weight: &Tensor,
        affine: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::check(images.shape(), weight.shape(), &self.window)?;
        let kept = self.kept.lock().expect("nobody panics with it");
        let per_channel = result.elem_count() / sizes.outputs;
        let mut of_affine = vec![0.0; 2 * sizes.outputs];
        // The gradient of the convolution's result.
        let mut inner = kept.normalised.clone();
        with_values(gradient, |gradient| {
            with_values(affine, |affine| {
                vectorised!({
                    let planes = inner.chunks_exact_mut(per_channel).zip(gradient.chunks_exact(per_channel));
                    for (channel, (plane, gradient)) in planes.enumerate() {
                        let (of_gain, of_shift) = (dot(gradient, plane), sum(gradient));
                        let scale = affine[channel] * kept.moments.rate(channel);
                        let along = of_gain / per_channel as f32;
                        let mean = of_shift / per_channel as f32;
                        for (v, g) in plane.iter_mut().zip(gradient) {
                            *v = scale * (g - mean - *v * along);
                        }
                        of_affine[channel] = of_gain;
                        of_affine[sizes.outputs + channel] = of_shift;
                    }
                });
            })
        })??;
        if let Some(watch) = &self.watch {
            watch(&kept.given(), &inner);
        }
        let of_weight = with_values(images, |images| {
            sizes.of_weight(&inner, &prepared(images, self.before), &self.window)
        })?;
        let of_images = of_images(images, weight, sizes, &self.window, self.before, &inner)?;
        Ok((of_images, Some(tensor(of_weight, weight.shape())?), Some(tensor(of_affine, affine.shape())?)))
    }
}

impl Kept {
    /// What the convolution gave.
    fn given(&self) -> Vec<f32> {
        let channels = self.moments.mean.len();
        let planes = self.normalised.chunks_exact(self.normalised.len() / channels).enumerate();
        let given = planes.flat_map(|(channel, plane)| {
            let (deviation, mean) = (self.moments.rate(channel).recip(), self.moments.mean[channel]);
            plane.iter().map(move |v| v * deviation + mean)
        });
        given.collect()
    }
}

struct ConvNormFixed {
    window: Arc<Window>,
    before: Before,
    moments: Moments,
}

impl ConvNormFixed {
    fn rates(&self, affine: &[f32]) -> Vec<f32> {
        (0..self.moments.mean.len()).map(|channel| affine[channel] * self.moments.rate(channel)).collect()
    }
}

impl CustomOp3 for ConvNormFixed {
    fn name(&self) -> &'static str {
        "conv-norm-fixed"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        images_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::check(images_layout.shape(), weight_layout.shape(), &self.window)?;
        let affine = checked_affine(affine, affine_layout, sizes.outputs)?;
        let images = prepared(values(images, images_layout)?, self.before);
        let mut result = sizes.forward(&images, values(weight, weight_layout)?, &self.window);
        let per_channel = result.len() / sizes.outputs;
        let rates = self.rates(affine);
        vectorised!({
            for (channel, plane) in result.chunks_exact_mut(per_channel).enumerate() {
                let rate = rates[channel];
                let add = affine[sizes.outputs + channel] - self.moments.mean[channel] * rate;
                plane.iter_mut().for_each(|v| *v = *v * rate + add);
            }
        });
        let [height, width] = self.window.target;
        Ok((CpuStorage::F32(result), (sizes.outputs, height, width, sizes.batch).into()))
    }

    fn bwd(
        &self,
        images: &Tensor,
        weight: &Tensor,
        affine: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::check(images.shape(), weight.shape(), &self.window)?;
        let mut inner = with_values(gradient, <[f32]>::to_vec)?;
        let rates = with_values(affine, |affine| self.rates(affine))?;
        let per_channel = inner.len() / sizes.outputs;
        vectorised!({
            for (plane, rate) in inner.chunks_exact_mut(per_channel).zip(&rates) {
                plane.iter_mut().for_each(|v| *v *= rate);
            }
        });
        let of_images = of_images(images, weight, sizes, &self.window, self.before, &inner)?;
        Ok((of_images, None, None))
    }
}

/// The images as the convolution sees them.
fn prepared(images: &[f32], before: Before) -> Cow<'_, [f32]> {
    if before == Before::Nothing {
        return Cow::Borrowed(images);
    }
    let mut positive = images.to_vec();
    // Not a maximum, which on some processors would hide what is not a number.
    vectorised!(positive.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }));
    Cow::Owned(positive)
}

/// The gradient of the images, if anybody asks for it, from that of the convolution's result.
fn of_images(
    images: &Tensor,
    weight: &Tensor,
    sizes: Sizes,
    window: &Window,
    before: Before,
    inner: &[f32],
) -> Result<Option<Tensor>> {
    if !images.track_op() {
        return Ok(None);
    }
    let mut result = with_values(weight, |weight| sizes.of_images(inner, weight, window))?;
    if before == Before::Relu {
        with_values(images, |images| {
            vectorised!({
                for (gradient, &image) in result.iter_mut().zip(images) {
                    *gradient = if image > 0.0 { *gradient } else { 0.0 };
                }
            });
        })?;
    }
    tensor(result, images.shape()).map(Some)
}

/// Gain and shift of so many channels.
pub(super) fn checked_affine<'a>(
    affine: &'a CpuStorage,
    layout: &Layout,
    channels: usize,
) -> Result<&'a [f32]> {
    if layout.shape().dims() != [2, channels] {
        bail!("gain and shift are {:?} for {channels} channels", layout.shape());
    }
    values(affine, layout)
}

struct Standardise(Moments);

impl CustomOp1 for Standardise {
    fn name(&self) -> &'static str {
        "standardise"
    }

    fn cpu_fwd(&self, images: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let channels = layout.shape().dims4()?.0;
        if channels != self.0.mean.len() {
            bail!("standardise: {} moments for images {:?}", self.0.mean.len(), layout.shape());
        }
        let mut result = values(images, layout)?.to_vec();
        let per_channel = result.len() / channels;
        vectorised!({
            for (channel, plane) in result.chunks_exact_mut(per_channel).enumerate() {
                let (mean, rate) = (self.0.mean[channel], self.0.rate(channel));
                plane.iter_mut().for_each(|v| *v = (*v - mean) * rate);
            }
        });
        Ok((CpuStorage::F32(result), layout.shape().clone()))
    }

    fn bwd(&self, images: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let mut result = with_values(gradient, <[f32]>::to_vec)?;
        let per_channel = result.len() / self.0.mean.len();
        vectorised!({
            for (channel, plane) in result.chunks_exact_mut(per_channel).enumerate() {
                let rate = self.0.rate(channel);
                plane.iter_mut().for_each(|v| *v *= rate);
            }
        });
        tensor(result, images.shape()).map(Some)
    }
}
