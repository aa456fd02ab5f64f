//! Images under attack: those that are still told right stay together, the others leave.

use crate::training::ops::BLOCK;
use candle_core::Result;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What is attacked: it gives logits [classes, width] of pixels [values, width] in 0..1, an image a column, `width` a multiple of
/// [`BLOCK`].
pub trait Victim {
    /// Logits of images.
    ///
    /// # Errors
    /// Images of another size, here and below.
    fn logits(&mut self, pixels: &[f32], width: usize) -> Result<Vec<f32>>;

    /// Logits, and the gradient by the pixels of what `loss` makes of them: given logits it gives its gradient by them. No gradient where
    /// nothing of the pixels reaches the logits.
    fn climb(
        &mut self,
        pixels: &[f32],
        width: usize,
        loss: &mut dyn FnMut(&[f32]) -> Vec<f32>,
    ) -> Result<(Vec<f32>, Option<Vec<f32>>)>;
}

/// Images as columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Crowd {
    /// [values, width], as they are without an attack; columns beyond the labels are black.
    pub clean: Vec<f32>,
    /// Of each image.
    pub labels: Vec<u8>,
    /// Which image of the split each is.
    pub places: Vec<usize>,
    /// A multiple of [`BLOCK`], at least as many as images.
    pub width: usize,
}

impl Crowd {
    /// Values of an image.
    pub fn values(&self) -> usize {
        self.clean.len() / self.width.max(1)
    }

    /// Those at these positions, in this order, alone.
    pub fn only(&self, kept: &[usize]) -> Self {
        let width = room(kept.len());
        Self {
            clean: columns(&self.clean, self.width, kept, width),
            labels: kept.iter().map(|&n| self.labels[n]).collect(),
            places: kept.iter().map(|&n| self.places[n]).collect(),
            width,
        }
    }

    /// A source of random numbers for each image: of its place alone, whoever else is attacked.
    pub fn draws(&self, seed: u64) -> Vec<ChaCha8Rng> {
        let of = |&place: &usize| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(place as u64);
            rng
        };
        self.places.iter().map(of).collect()
    }
}

/// The width for so many images.
pub fn room(images: usize) -> usize {
    images.next_multiple_of(BLOCK).max(BLOCK)
}

/// Some columns of values [rows, width] → [rows, to]; columns beyond them are 0.
pub fn columns(values: &[f32], width: usize, kept: &[usize], to: usize) -> Vec<f32> {
    let mut result = Vec::with_capacity(values.len() / width * to);
    for row in values.chunks_exact(width) {
        result.extend(kept.iter().map(|&n| row[n]));
        result.resize(result.len() + to - kept.len(), 0.0);
    }
    result
}

/// What stays of values by image.
pub fn entries<T: Clone>(values: &[T], kept: &[usize]) -> Vec<T> {
    kept.iter().map(|&n| values[n].clone()).collect()
}

/// Within the ball and the range of pixels.
#[inline(always)]
pub fn held(value: f32, clean: f32, epsilon: f32) -> f32 {
    value.clamp(clean - epsilon, clean + epsilon).clamp(0.0, 1.0)
}

/// −1, 0 or 1.
#[inline(always)]
pub fn sign(value: f32) -> f32 {
    f32::from(i8::from(value > 0.0) - i8::from(value < 0.0))
}

#[cfg(test)]
pub mod linear {
    //! A network that is a linear map, of which everything is known.

    use super::{Crowd, Victim, room};
    use candle_core::Result;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Logits W x + b; W [classes, values].
    pub struct Linear {
        /// [classes][values]
        pub weights: Vec<Vec<f32>>,
        /// By class.
        pub bias: Vec<f32>,
        /// How often it was asked.
        pub asked: usize,
    }

    impl Linear {
        /// With weights of −1 to 1.
        pub fn new(classes: usize, values: usize, seed: u64) -> Self {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let weights =
                (0..classes).map(|_| (0..values).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
            let bias = (0..classes).map(|_| rng.random_range(-0.1..0.1)).collect();
            Self { weights, bias, asked: 0 }
        }

        /// Images in the middle of the range, so that no pixel reaches its end, with the labels that are told.
        pub fn crowd(&mut self, images: usize, seed: u64) -> Crowd {
            let (width, values) = (room(images), self.weights[0].len());
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let clean: Vec<f32> = (0..values * width).map(|_| rng.random_range(0.4..0.6)).collect();
            let logits = self.logits(&clean, width).unwrap();
            let labels =
                (0..images).map(|n| crate::training::robustness::losses::ranked(&logits, width, n)[0] as u8);
            Crowd { labels: labels.collect(), clean, places: (0..images).collect(), width }
        }

        /// By how much the label leads another class on an image, and how far a pixel must move to end that: lead / ‖w_label − w_other‖₁.
        pub fn distance(&mut self, crowd: &Crowd, n: usize) -> f32 {
            let logits = self.logits(&crowd.clean, crowd.width).unwrap();
            let label = usize::from(crowd.labels[n]);
            let of = |class: usize| logits[class * crowd.width + n];
            let others = (0..self.weights.len()).filter(|&class| class != label);
            let reach = |other: usize| {
                let norm: f32 =
                    self.weights[label].iter().zip(&self.weights[other]).map(|(a, b)| (a - b).abs()).sum();
                (of(label) - of(other)) / norm
            };
            others.map(reach).fold(f32::INFINITY, f32::min)
        }
    }

    impl Victim for Linear {
        fn logits(&mut self, pixels: &[f32], width: usize) -> Result<Vec<f32>> {
            self.asked += 1;
            let mut logits = Vec::new();
            for (weights, bias) in self.weights.iter().zip(&self.bias) {
                for n in 0..width {
                    logits.push(
                        bias + weights
                            .iter()
                            .zip(pixels.chunks_exact(width))
                            .map(|(w, row)| w * row[n])
                            .sum::<f32>(),
                    );
                }
            }
            Ok(logits)
        }

        fn climb(
            &mut self,
            pixels: &[f32],
            width: usize,
            loss: &mut dyn FnMut(&[f32]) -> Vec<f32>,
        ) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
            let logits = self.logits(pixels, width)?;
            let direction = loss(&logits);
            let mut gradient = vec![0.0; pixels.len()];
            for (class, weights) in self.weights.iter().enumerate() {
                for (value, weight) in weights.iter().enumerate() {
                    for n in 0..width {
                        gradient[value * width + n] += weight * direction[class * width + n];
                    }
                }
            }
            Ok((logits, Some(gradient)))
        }
    }
}
