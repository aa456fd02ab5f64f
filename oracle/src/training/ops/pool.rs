//! Averages over pixels.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use srnas_network::ops::{add_to, simd::vectorised, tensor, values, with_values};

use super::Window;

/// The mean of the pixels in the window; what is outside of the image does not count:
/// [C, H, W, N] → [C, H', W', N].
pub fn average_pool(images: &Tensor, window: &Arc<Window>) -> Result<Tensor> {
    images.apply_op1(AveragePool(window.clone()))
}

/// The mean over all pixels: [C, H, W, N] → [C, 1, 1, N].
pub fn global_average(images: &Tensor) -> Result<Tensor> {
    images.apply_op1(GlobalAverage)
}

struct AveragePool(Arc<Window>);

impl CustomOp1 for AveragePool {
    fn name(&self) -> &'static str {
        "average-pool"
    }

    fn cpu_fwd(&self, images: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let window = &*self.0;
        let (channels, height, width, batch) = layout.shape().dims4()?;
        if [height, width] != window.source {
            bail!("average-pool: images {:?} through a window over {:?}", layout.shape(), window.source);
        }
        let images = values(images, layout)?;
        let [rows, columns] = window.target;
        let mut result = vec![0.0; channels * rows * columns * batch];
        vectorised!({
            let planes = images.chunks_exact(height * width * batch);
            for (plane, result) in planes.zip(result.chunks_exact_mut(rows * columns * batch)) {
                for (result, seen) in result.chunks_exact_mut(batch).zip(window.seen()) {
                    for &(from, _) in seen {
                        add_to(result, &plane[from * batch..][..batch]);
                    }
                    let share = 1.0 / seen.len() as f32;
                    result.iter_mut().for_each(|v| *v *= share);
                }
            }
        });
        Ok((CpuStorage::F32(result), (channels, rows, columns, batch).into()))
    }

    fn bwd(&self, images: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let window = &*self.0;
        let (_, height, width, batch) = images.dims4()?;
        let pixels = window.target[0] * window.target[1];
        let mut result = vec![0.0; images.elem_count()];
        with_values(gradient, |gradient| {
            vectorised!({
                let planes = result.chunks_exact_mut(height * width * batch);
                for (plane, gradient) in planes.zip(gradient.chunks_exact(pixels * batch)) {
                    for (gradient, seen) in gradient.chunks_exact(batch).zip(window.seen()) {
                        let share = 1.0 / seen.len() as f32;
                        for &(from, _) in seen {
                            let to = &mut plane[from * batch..][..batch];
                            to.iter_mut().zip(gradient).for_each(|(to, g)| *to += share * g);
                        }
                    }
                }
            });
        })?;
        tensor(result, images.shape()).map(Some)
    }
}

struct GlobalAverage;

impl CustomOp1 for GlobalAverage {
    fn name(&self) -> &'static str {
        "global-average"
    }

    fn cpu_fwd(&self, images: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (channels, height, width, batch) = layout.shape().dims4()?;
        let images = values(images, layout)?;
        let mut result = vec![0.0; channels * batch];
        let share = 1.0 / (height * width) as f32;
        vectorised!({
            let planes = images.chunks_exact(height * width * batch);
            for (plane, result) in planes.zip(result.chunks_exact_mut(batch)) {
                plane.chunks_exact(batch).for_each(|pixel| add_to(result, pixel));
                result.iter_mut().for_each(|v| *v *= share);
            }
        });
        Ok((CpuStorage::F32(result), (channels, 1, 1, batch).into()))
    }

    fn bwd(&self, images: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, height, width, batch) = images.dims4()?;
        let share = 1.0 / (height * width) as f32;
        let mut result = vec![0.0; images.elem_count()];
        with_values(gradient, |gradient| {
            vectorised!({
                let planes = result.chunks_exact_mut(height * width * batch);
                for (plane, gradient) in planes.zip(gradient.chunks_exact(batch)) {
                    for pixel in plane.chunks_exact_mut(batch) {
                        pixel.iter_mut().zip(gradient).for_each(|(to, g)| *to = share * g);
                    }
                }
            });
        })?;
        tensor(result, images.shape()).map(Some)
    }
}
