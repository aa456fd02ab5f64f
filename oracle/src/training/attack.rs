//! Attacks on trained networks within an L∞ ball: FGSM (arXiv 1412.6572) and PGD (arXiv 1706.06083).

use std::sync::Arc;

use candle_core::{Result, Var};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use srnas_network::ops::with_values;

use super::{
    data::Batch,
    fit::Network,
    model::Phase,
    ops,
    robustness::{self, Radius, ascent, ascent::Ascent},
};

/// An attack: how far each pixel (0..1) may move, and in how many steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// The radius of the ball, as a share of the range of pixels, which is 0 to 1; in a file also written as `"8/255"`.
    #[serde(deserialize_with = "robustness::share")]
    pub epsilon: f32,
    /// 1 is FGSM: one step of the whole radius. More are PGD: a random start, then steps of 2.5 ε / steps.
    pub steps: usize,
}

impl Attack {
    /// The name used for metrics.
    pub fn name(self) -> String {
        format!("{}@{}", if self.steps == 1 { "fgsm" } else { "pgd" }, self.epsilon)
    }

    /// Checks that it can be made.
    ///
    /// # Errors
    /// An ε in another unit, with the question; no step.
    pub fn check(self) -> std::result::Result<(), String> {
        Radius::new(self.epsilon)?;
        match self.steps {
            0 => Err("an attack needs at least one step".into()),
            _ => Ok(()),
        }
    }

    /// The images moved to where the network says something else than it says now, as in TRADES (arXiv 1901.08573): up the divergence, from
    /// a thousandth of Gaussian noise on, in steps of 2.5 ε / steps (the published ten of 2/255 within 8/255).
    ///
    /// # Errors
    /// Images of another size than the network's.
    pub fn diverging(self, network: &mut Network, batch: &Batch, rng: &mut impl Rng) -> Result<Batch> {
        let stride = 2.5 * self.epsilon / self.steps as f32;
        let ascent = Ascent { epsilon: self.epsilon, stride, steps: self.steps, start: None };
        let mut noise = || StandardNormal.sample(rng);
        let images = (batch.labels.len(), batch.width);
        let pixels = ascent::diverged(network, &batch.pixels, images, ascent, &mut noise)?;
        Ok(Batch { pixels, ..batch.clone() })
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
