//! Text that a model writes: the likeliest token each time, or drawn.

use crate::{LlmError, model::Model};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0: the likeliest (the first of equals). Else drawn with logits divided by this.
    pub temperature: f32,
    /// Seed of what is drawn.
    pub seed: u64,
}

/// What was written, and how long it took.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The tokens after the prompt, without the one that ended the text.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Time to read the prompt.
    pub prompt_time: Duration,
    /// Time to write the tokens.
    pub time: Duration,
}

impl Generated {
    /// Tokens of the prompt read a second.
    pub fn prompt_speed(&self) -> f64 {
        self.prompt as f64 / self.prompt_time.as_secs_f64()
    }

    /// Tokens written a second; the first of them comes with the prompt.
    pub fn speed(&self) -> f64 {
        self.tokens.len().saturating_sub(1) as f64 / self.time.as_secs_f64()
    }
}

/// Continues a prompt by at most `tokens` tokens, until the model ends the text or its context is full.
///
/// # Errors
/// An empty prompt, one longer than the context, a token that is not in the vocabulary, a temperature below 0 or none.
pub fn generate(
    model: &Model,
    prompt: &[u32],
    tokens: usize,
    sampling: Sampling,
) -> Result<Generated, LlmError> {
    let began = Instant::now();
    generate_by(model, prompt, tokens, sampling, &|| began.elapsed())
}

/// As [`generate`], timed by another clock.
///
/// # Errors
/// As [`generate`].
pub(crate) fn generate_by(
    model: &Model,
    prompt: &[u32],
    tokens: usize,
    sampling: Sampling,
    clock: &dyn Fn() -> Duration,
) -> Result<Generated, LlmError> {
    if !(sampling.temperature >= 0.0 && sampling.temperature.is_finite()) {
        let t = sampling.temperature;
        return Err(LlmError::Asked(format!("a temperature of {t} is none: it is 0 or above")));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
    let mut cache = model.cache();
    let started = clock();
    let mut logits = model.run(prompt, &mut cache, 1)?;
    let read = clock();
    let mut written = Vec::new();
    while written.len() < tokens {
        let next = choose(&logits, sampling.temperature, &mut rng);
        // A text that begins anew has ended: models without a token for the end say so.
        if model.config().eos.contains(&next) || model.config().bos == Some(next) {
            break;
        }
        written.push(next);
        if cache.len() == model.config().context || written.len() == tokens {
            break;
        }
        logits = model.run(&[next], &mut cache, 1)?;
    }
    Ok(Generated { tokens: written, prompt: prompt.len(), prompt_time: read - started, time: clock() - read })
}

fn choose(logits: &[f32], temperature: f32, rng: &mut impl Rng) -> u32 {
    let mut best = 0;
    for (i, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = i;
        }
    }
    if temperature == 0.0 {
        return best as u32;
    }
    let weight = |logit: &f32| f64::from((logit - logits[best]) / temperature).exp();
    let total: f64 = logits.iter().map(weight).sum();
    let mut left = rng.random_range(0.0..1.0) * total;
    for (i, logit) in logits.iter().enumerate() {
        left -= weight(logit);
        if left < 0.0 {
            return i as u32;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_is_the_first_of_equals_and_draws_follow_the_odds() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(choose(&[0.0, 2.0, 2.0, 1.0], 0.0, &mut rng), 1);
        let logits = [0.0, 3f32.ln()];
        let ones = (0..4000).filter(|_| choose(&logits, 1.0, &mut rng) == 1).count();
        assert!((2880..3120).contains(&ones), "{ones} of 4000 where 3000 are expected");
        assert_eq!(choose(&[f32::NAN, f32::NAN], 1.0, &mut rng), 0);
    }
}
