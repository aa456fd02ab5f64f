//! `nwot`: log det K, K(i, j) the number of ReLU units that say the same of images i and j (Mellor et al., arXiv 2006.04647v3).

use super::{IMAGES, matrix::log_determinant};
use crate::training::{
    model::{
        Pass, Phase,
        layers::{Conv, ConvNorm, Linear, Norm},
    },
    ops,
};
use candle_core::{Result, Tensor};
use srnas_network::ops::with_values;

/// A pass in training, which sees which ReLU units are on.
pub struct Codes {
    phase: Phase,
    /// f64 [images, images]: how many units say the same of two images.
    alike: Vec<f64>,
}

impl Default for Codes {
    fn default() -> Self {
        Self { phase: Phase::Train, alike: vec![0.0; IMAGES * IMAGES] }
    }
}

impl Codes {
    /// The score; none where two images have the same code.
    pub fn nwot(&self) -> Option<f64> {
        log_determinant(&self.alike, IMAGES)
    }

    fn see(&mut self, images: &Tensor) -> Result<()> {
        with_values(images, |values| {
            let units = values.len() / IMAGES;
            // By image, a bit for each unit.
            let words = units.div_ceil(64);
            let mut codes = vec![0u64; IMAGES * words];
            for (unit, values) in values.chunks_exact(IMAGES).enumerate() {
                for (image, &value) in values.iter().enumerate() {
                    codes[image * words + unit / 64] |= u64::from(value > 0.0) << (unit % 64);
                }
            }
            let code = |image: usize| &codes[image * words..][..words];
            for i in 0..IMAGES {
                for j in 0..=i {
                    let differ: u32 = code(i).iter().zip(code(j)).map(|(a, b)| (a ^ b).count_ones()).sum();
                    let same = (units - differ as usize) as f64;
                    self.alike[i * IMAGES + j] += same;
                    if i != j {
                        self.alike[j * IMAGES + i] += same;
                    }
                }
            }
        })
    }
}

impl Pass for Codes {
    fn convolution(&mut self, layer: &mut ConvNorm, images: &Tensor) -> Result<Tensor> {
        if layer.is_after_relu() {
            self.see(images)?;
        }
        self.phase.convolution(layer, images)
    }

    fn plain(&mut self, layer: &Conv, images: &Tensor) -> Result<Tensor> {
        self.phase.plain(layer, images)
    }

    fn norm(&mut self, layer: &mut Norm, images: &Tensor) -> Result<Tensor> {
        let given = self.phase.norm(layer, images)?;
        if layer.is_before_relu() {
            self.see(&given)?;
        }
        Ok(given)
    }

    fn relu(&mut self, images: &Tensor) -> Result<Tensor> {
        self.see(images)?;
        ops::relu(images)
    }

    fn linear(&mut self, layer: &Linear, inputs: &Tensor) -> Result<Tensor> {
        self.phase.linear(layer, inputs)
    }
}
