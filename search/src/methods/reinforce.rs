//! REINFORCE on independent categoricals with a moving-average baseline: the reinforcement-learning baseline of
//! NAS-Bench-101 (arXiv 1902.09635). The advantage is divided by the spread of what was told, so that one learning rate
//! serves every metric: 0.05 a standard deviation is about the published 0.5 on accuracies as fractions.

use super::{Begin, Method, MethodError, MethodSpec, SpecError, Starter};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use srnas_network::Baseline;
use srnas_space::Choices;

/// Draws of an invalid architecture before the method gives up.
const TRIES: usize = 10_000;

pub fn prepare(spec: &MethodSpec) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let rate = options.number("rate", 0.05, 0.0)?;
    let keep = options.number("baseline", 0.95, 0.0)?;
    options.end()?;
    Ok(Box::new(move |begin| {
        let logits = (0..begin.space.len()).map(|d| vec![0.0; begin.space.arity(d) as usize]).collect();
        Ok(Box::new(Reinforce {
            rng: begin.rng(),
            begin: begin.clone(),
            rate,
            logits,
            baseline: Baseline::new(keep),
        }))
    }))
}

struct Reinforce {
    begin: Begin,
    rng: ChaCha8Rng,
    rate: f64,
    /// f64 [decisions][choices].
    logits: Vec<Vec<f64>>,
    baseline: Baseline,
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|l| (l - highest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

fn draw(probabilities: &[f64], rng: &mut impl Rng) -> u8 {
    let mut left: f64 = rng.random();
    for (choice, p) in probabilities.iter().enumerate() {
        left -= p;
        if left < 0.0 {
            return choice as u8;
        }
    }
    (probabilities.len() - 1) as u8
}

impl Method for Reinforce {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        for _ in 0..TRIES {
            let choices: Vec<u8> =
                self.logits.iter().map(|logits| draw(&softmax(logits), &mut self.rng)).collect();
            if self.begin.space.is_valid(&choices) {
                return Ok(Some(choices));
            }
        }
        // In a table that is a sample of a large space hardly any draw is listed.
        if self.begin.space.whole().is_some() {
            let mut choices = vec![0; self.begin.space.len()];
            self.begin.space.sample(&mut self.rng, &mut choices);
            return Ok(Some(choices));
        }
        Err(MethodError(format!("drew no valid architecture in {TRIES} tries")))
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        let step = self.rate * self.baseline.advantage(f64::from(values[0]));
        if step != 0.0 {
            for (logits, &choice) in self.logits.iter_mut().zip(choices) {
                let probabilities = softmax(logits);
                for (c, (logit, p)) in logits.iter_mut().zip(probabilities).enumerate() {
                    *logit += step * (f64::from(u8::from(c == usize::from(choice))) - p);
                }
            }
        }
        Ok(())
    }
}
