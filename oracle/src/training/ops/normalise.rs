//! Batch normalisation alone, without gain and shift.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use srnas_network::ops::{
    simd::{dot, sum, vectorised},
    tensor, values, with_values,
};

use super::Moments;

/// Normalises each channel of images [C, H, W, N] by its own moments over pixels and images.
pub fn normalise(images: &Tensor) -> Result<Tensor> {
    images.apply_op1(Normalise(Arc::default()))
}

/// Moments, and the values normalised by them, [C, H, W, N].
#[derive(Default)]
struct Kept(Moments, Vec<f32>);

struct Normalise(Arc<Mutex<Kept>>);

impl CustomOp1 for Normalise {
    fn name(&self) -> &'static str {
        "normalise"
    }

    fn cpu_fwd(&self, images: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let channels = layout.shape().dims4()?.0;
        let mut result = values(images, layout)?.to_vec();
        let per_channel = result.len() / channels.max(1);
        let mut moments = Moments::default();
        vectorised!({
            for (channel, plane) in result.chunks_exact_mut(per_channel.max(1)).enumerate() {
                let mean = sum(plane) / per_channel as f32;
                plane.iter_mut().for_each(|v| *v -= mean);
                moments.mean.push(mean);
                moments.variance.push(dot(plane, plane) / per_channel as f32);
                let rate = moments.rate(channel);
                plane.iter_mut().for_each(|v| *v *= rate);
            }
        });
        *self.0.lock().expect("nobody panics with it") = Kept(moments, result.clone());
        Ok((CpuStorage::F32(result), layout.shape().clone()))
    }

    fn bwd(&self, images: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let Kept(moments, normalised) = &*self.0.lock().expect("nobody panics with it");
        let mut inner = normalised.clone();
        let per_channel = inner.len() / moments.mean.len().max(1);
        with_values(gradient, |gradient| {
            vectorised!({
                let planes = inner.chunks_exact_mut(per_channel.max(1));
                let planes = planes.zip(gradient.chunks_exact(per_channel.max(1)));
                for (channel, (plane, gradient)) in planes.enumerate() {
                    let along = dot(gradient, plane) / per_channel as f32;
                    let (mean, rate) = (sum(gradient) / per_channel as f32, moments.rate(channel));
                    for (v, g) in plane.iter_mut().zip(gradient) {
                        *v = rate * (g - mean - *v * along);
                    }
                }
            });
        })?;
        tensor(inner, images.shape()).map(Some)
    }
}
