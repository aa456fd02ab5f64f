//! A recurrent controller that is trained by the gradient of what its architectures are worth.
//!
//! * `nas-rl`: REINFORCE with a moving-average baseline, as Zoph and Le, "Neural Architecture Search with Reinforcement Learning" (arXiv
//!   1611.01578): two layers of LSTM of 35, weights within 0.08, Adam.
//! * `nasnet-ppo`: clipped proximal policy optimisation (Schulman et al., arXiv 1707.06347), as Zoph et al., "Learning Transferable
//!   Architectures for Scalable Image Recognition" (arXiv 1707.07012): one layer of 100, weights within 0.1, baseline 0.95.
//!
//! What was measured before is drawn again until something new is, so that each measurement is learned from once. Published searches take thousands of steps of the optimiser and these as many as the budget has batches, so that by default the
//! learning rate is larger by as much as the steps are fewer.

use super::{
    Begin, MethodSpec, SpecError, Starter,
    controller::{Controller, Published, Shape, rate_for},
    measured::{Drawing, Measured, Policy},
    prefixes::Prefixes,
};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use srnas_network::Baseline;
use srnas_space::Choices;
use std::sync::{Arc, OnceLock};

/// How the controller learns from a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gradient {
    Reinforce,
    Ppo,
}

/// 12,800 architectures, eight to a gradient.
const REINFORCE: Published = (0.0006, 1600.0);
/// 20,000 architectures, twenty to a batch.
const PPO: Published = (0.000_35, 1000.0);

#[derive(Clone, Copy)]
struct Settings {
    gradient: Gradient,
    shape: Shape,
    /// The learning rate; none where the budget says it.
    rate: Option<f64>,
    entropy: f32,
    keep: f64,
    batch: usize,
    /// Of a batch: how often it is gone through, in parts of how many, and how far the ratio of probabilities may be from 1.
    epochs: usize,
    minibatch: usize,
    clip: f32,
}

pub fn prepare(spec: &MethodSpec, gradient: Gradient) -> Result<Starter, SpecError> {
    let ppo = gradient == Gradient::Ppo;
    let mut options = spec.options()?;
    let layers = options.whole("layers", if ppo { 1 } else { 2 }, 1)?;
    let hidden = options.whole("hidden", if ppo { 100 } else { 35 }, 1)?;
    let bound = options.number("init", if ppo { 0.1 } else { 0.08 }, 0.0)? as f32;
    let rate = options.number_or("rate", "budget")?;
    let entropy = options.number("entropy", 1e-4, 0.0)? as f32;
    let keep = options.number("baseline", 0.95, 0.0)?;
    let batch = options.whole("batch", if ppo { 10 } else { 1 }, 1)?;
    let mut settings = Settings {
        gradient,
        shape: Shape { layers, hidden, bound },
        rate,
        entropy,
        keep,
        batch,
        epochs: 1,
        minibatch: batch,
        clip: 0.0,
    };
    if ppo {
        settings.epochs = options.whole("epochs", 10, 1)?;
        settings.minibatch = options.whole("minibatch", 5, 1)?;
        settings.clip = options.number("clip", 0.2, 0.0)? as f32;
    }
    options.end()?;
    let prefixes = OnceLock::new();
    Ok(Box::new(move |begin| {
        let prefixes = prefixes.get_or_init(|| Arc::new(Prefixes::new(&begin.space)));
        let mut rng = begin.rng();
        let policy = PolicyGradient::new(begin, prefixes, settings, &mut rng);
        Ok(Box::new(Drawing::new(begin, rng, policy)))
    }))
}

/// What the controller learns from.
struct Told {
    choices: Vec<u8>,
    advantage: f64,
    /// Logarithms of the probabilities with which it was drawn, step by step.
    logs: Vec<f32>,
}

struct PolicyGradient {
    settings: Settings,
    rate: f32,
    controller: Controller,
    baseline: Baseline,
    batch: Vec<Told>,
}

impl PolicyGradient {
    fn new(begin: &Begin, prefixes: &Arc<Prefixes>, settings: Settings, rng: &mut ChaCha8Rng) -> Self {
        let published = if settings.gradient == Gradient::Ppo { PPO } else { REINFORCE };
        let rate = rate_for(settings.rate, published, begin.budget, settings.batch);
        Self {
            controller: Controller::new(&begin.space, prefixes.clone(), settings.shape, rng),
            settings,
            rate,
            baseline: Baseline::new(settings.keep),
            batch: Vec::new(),
        }
    }

    fn learn_from_batch(&mut self, rng: &mut ChaCha8Rng) {
        let Settings { gradient, entropy, epochs, minibatch, clip, .. } = self.settings;
        let mut batch = std::mem::take(&mut self.batch);
        for _ in 0..epochs {
            batch.shuffle(rng);
            for part in batch.chunks(minibatch) {
                let share = 1.0 / part.len() as f32;
                for told in part {
                    let advantage = told.advantage as f32;
                    let weight = |t: usize, log: f32| match gradient {
                        Gradient::Reinforce => share * advantage,
                        Gradient::Ppo => share * ppo_weight(log - told.logs[t], advantage, clip),
                    };
                    self.controller.add_gradient(&told.choices, weight, share * entropy);
                }
                self.controller.ascend(self.rate);
            }
        }
    }
}

/// The derivative by log p of min(ρ A, clip(ρ, 1 ± ε) A), where log ρ is how much higher log p is than when the choice was drawn: ρ A, but
/// nought where ρ is beyond the clip already.
fn ppo_weight(log_ratio: f32, advantage: f32, clip: f32) -> f32 {
    let ratio = log_ratio.exp();
    let beyond = if advantage > 0.0 { ratio > 1.0 + clip } else { ratio < 1.0 - clip };
    if beyond { 0.0 } else { ratio * advantage }
}

impl Policy for PolicyGradient {
    /// The logarithms of the probabilities with which it was drawn.
    type Drawn = Vec<f32>;

    fn draw(&mut self, measured: &Measured, rng: &mut ChaCha8Rng) -> Option<(Vec<u8>, Option<Vec<f32>>)> {
        let (choices, _) = measured.draw(rng, |rng| (self.controller.draw(rng), ()))?;
        let logs = self.controller.log_probabilities(&choices);
        Some((choices, Some(logs)))
    }

    fn learn(&mut self, choices: &Choices, values: &[f32], drawn: Option<Vec<f32>>, rng: &mut ChaCha8Rng) {
        let logs = drawn.unwrap_or_else(|| self.controller.log_probabilities(choices));
        let advantage = self.baseline.advantage(f64::from(values[0]));
        self.batch.push(Told { choices: choices.to_vec(), advantage, logs });
        if self.batch.len() >= self.settings.batch {
            self.learn_from_batch(rng);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clipped_objective_has_no_slope_beyond_its_clip() {
        let objective = |log_ratio: f32, advantage: f32| {
            let ratio = log_ratio.exp();
            (ratio * advantage).min(ratio.clamp(0.8, 1.2) * advantage)
        };
        for advantage in [-1.5, 0.5, 2.0] {
            for log_ratio in [-0.7, -0.3, -0.1, 0.0, 0.1, 0.3, 0.7] {
                let slope =
                    (objective(log_ratio + 1e-3, advantage) - objective(log_ratio - 1e-3, advantage)) / 2e-3;
                let weight = ppo_weight(log_ratio, advantage, 0.2);
                assert!((slope - weight).abs() < 1e-2, "{advantage} {log_ratio}: {slope} {weight}");
            }
        }
    }
}
