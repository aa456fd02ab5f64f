//! Attacks on trained networks within an L∞ ball: FGSM (arXiv 1412.6572) and PGD (arXiv 1706.06083).

use std::sync::Arc;

use candle_core::{Result, Var};
use rand::Rng;
use serde::{Deserialize, Serialize};
use srnas_network::ops::with_values;

use super::{data::Batch, fit::Network, model::Phase, ops};

/// An attack: how far each pixel (0..1) may move, and in how many steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// The radius of the ball.
    pub epsilon: f32,
    /// 1 is FGSM: one step of the whole radius. More are PGD: a random start, then steps of 2.5 ε / steps.
    pub steps: usize,
}

impl Attack {
    /// The name used for metrics.
    pub fn name(self) -> String {
        format!("{}@{}", if self.steps == 1 { "fgsm" } else { "pgd" }, self.epsilon)
    }

    /// The images moved to where the network errs most.
    ///
    /// # Errors
    /// Images of another size than the network's.
    pub fn on(self, network: &mut Network, batch: &Batch, rng: &mut impl Rng) -> Result<Batch> {
        let labels: Arc<[u8]> = batch.labels.clone().into();
        let mut attacked = batch.clone();
        let clean = &batch.pixels;
        let mut stride = self.epsilon;
        if self.steps > 1 {
            stride = 2.5 * self.epsilon / self.steps as f32;
            for pixel in &mut attacked.pixels {
                *pixel = (*pixel + rng.random_range(-self.epsilon..=self.epsilon)).clamp(0.0, 1.0);
            }
        }
        for _ in 0..self.steps {
            let images = Var::from_tensor(&network.tensor(&attacked)?)?;
            let logits = network.forward(&images, Phase::Evaluate)?;
            let gradients = ops::cross_entropy(&logits, &labels)?.backward()?;
            // A network that does not look at its input cannot be moved by it.
            let Some(gradient) = gradients.get(&images) else { break };
            with_values(gradient, |gradient| {
                for ((pixel, gradient), clean) in attacked.pixels.iter_mut().zip(gradient).zip(clean) {
                    let direction = f32::from(i8::from(*gradient > 0.0) - i8::from(*gradient < 0.0));
                    let moved =
                        (*pixel + stride * direction).clamp(clean - self.epsilon, clean + self.epsilon);
                    *pixel = moved.clamp(0.0, 1.0);
                }
            })?;
        }
        Ok(attacked)
    }
}
