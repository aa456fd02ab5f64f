//! How good a model is, and what it costs: perplexity of a text, multiple choice by log-likelihood, tokens a second, memory.

use crate::{
    LlmError,
    generate::{Sampling, generate_by},
    model::Model,
    questions::Question,
    tokenizer::Tokenizer,
};
use rayon::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// How well a text is predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perplexity {
    /// Tokens predicted.
    pub tokens: usize,
    /// Windows that the text was cut into.
    pub windows: usize,
    /// Mean negative log-likelihood of a token, in nats.
    pub nats: f64,
}

impl Perplexity {
    /// e to the nats.
    pub fn perplexity(&self) -> f64 {
        self.nats.exp()
    }
}

/// How well a model predicts tokens. They are cut into windows of `window` tokens, one after the other; each is read from the
/// token for the beginning of a text on and knows nothing of the one before, and each token is predicted once.
///
/// # Errors
/// No tokens, and a window that is empty or longer than the context.
pub fn perplexity(model: &Model, tokens: &[u32], window: usize) -> Result<Perplexity, LlmError> {
    let never = AtomicBool::new(false);
    let found = perplexity_unless(model, tokens, window, &never)?;
    found.ok_or_else(|| LlmError::Asked("stopped".into()))
}

/// As [`perplexity`], but nothing where `stop` says so before the end.
///
/// # Errors
/// As [`perplexity`].
pub fn perplexity_unless(
    model: &Model,
    tokens: &[u32],
    window: usize,
    stop: &AtomicBool,
) -> Result<Option<Perplexity>, LlmError> {
    let config = model.config();
    if tokens.is_empty() {
        return Err(LlmError::Asked("there is nothing to predict: the text is empty".into()));
    }
    if window == 0 || window > config.context {
        let context = config.context;
        return Err(LlmError::Asked(format!(
            "a window of {window} tokens: 1 to {context}, the context, are possible"
        )));
    }
    let windows: Vec<&[u32]> = tokens.chunks(window).collect();
    let sums: Vec<(f64, usize)> = windows
        .par_iter()
        .map(|window| {
            if stop.load(Ordering::Relaxed) {
                return Ok((0.0, 0));
            }
            // Without a token for the beginning the first has nothing that it follows from.
            let (start, predicted) = match config.bos {
                Some(_) => (config.bos, *window),
                None => (window.first().copied(), &window[1..]),
            };
            let Some(start) = start.filter(|_| !predicted.is_empty()) else { return Ok((0.0, 0)) };
            Ok((-log_likelihood(model, &[&[start], predicted].concat(), predicted.len())?, predicted.len()))
        })
        .collect::<Result<_, LlmError>>()?;
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let (nats, counted) = sums.iter().fold((0.0, 0), |(nats, n), (more, tokens)| (nats + more, n + tokens));
    if counted == 0 {
        return Err(LlmError::Asked("there is nothing to predict: each window has one token".into()));
    }
    Ok(Some(Perplexity { tokens: counted, windows: windows.len(), nats: nats / counted as f64 }))
}

/// Log-likelihood in nats of the last `predicted` tokens, given those before.
fn log_likelihood(model: &Model, tokens: &[u32], predicted: usize) -> Result<f64, LlmError> {
    let logits = model.run(&tokens[..tokens.len() - 1], &mut model.cache(), predicted)?;
    let next = &tokens[tokens.len() - predicted..];
    let each = logits.chunks_exact(model.config().vocabulary).zip(next);
    Ok(each.map(|(logits, &token)| log_probability(logits, token as usize)).sum())
}

fn log_probability(logits: &[f32], token: usize) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|l| f64::from(l - most).exp()).sum();
    f64::from(logits[token] - most) - sum.ln()
}

/// What a model makes of a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Log-likelihood in nats of each choice.
    pub scores: Vec<f64>,
    /// The choice with the highest; the first of equals.
    pub plain: usize,
    /// The choice with the highest by the character of its text.
    pub normalised: usize,
}

/// Judges questions as the Language Model Evaluation Harness does: the log-likelihood of each choice's tokens after its
/// context, which begins with the token for the beginning of a text. Tokens are those of both together; where they are more
/// than the model's context, the first are left out.
///
/// # Errors
/// A choice without a token, or longer than the context.
pub fn judge(model: &Model, tokenizer: &Tokenizer, questions: &[Question]) -> Result<Vec<Judged>, LlmError> {
    questions.par_iter().map(|question| judge_one(model, tokenizer, question)).collect()
}

fn judge_one(model: &Model, tokenizer: &Tokenizer, question: &Question) -> Result<Judged, LlmError> {
    let mut scores = Vec::with_capacity(question.choices().len());
    let mut by_length = Vec::with_capacity(question.choices().len());
    for choice in question.choices() {
        // Spaces between both belong to the second: most tokens begin with theirs.
        let context = choice.context.trim_end();
        let continuation = format!("{}{}", &choice.context[context.len()..], choice.text);
        let before = tokenizer.encode(context)?.len();
        let mut tokens: Vec<u32> = model.config().bos.into_iter().collect();
        let first = tokens.len() + before;
        tokens.extend(tokenizer.encode(&format!("{context}{continuation}"))?);
        let predicted = tokens.len().saturating_sub(first.max(1));
        if predicted == 0 || predicted > model.config().context {
            let (text, most) = (&choice.text, model.config().context);
            return Err(LlmError::Asked(format!(
                "the choice `{text}` has {predicted} tokens: 1 to {most} are possible"
            )));
        }
        let kept = tokens.len().min(model.config().context + 1);
        let score = log_likelihood(model, &tokens[tokens.len() - kept..], predicted)?;
        scores.push(score);
        by_length.push(score / choice.text.trim_start().chars().count().max(1) as f64);
    }
    Ok(Judged { plain: highest(&scores), normalised: highest(&by_length), scores })
}

fn highest(scores: &[f64]) -> usize {
    let better = |best: usize, i: usize| if scores[i] > scores[best] { i } else { best };
    (0..scores.len()).fold(0, better)
}

/// Measured speed in tokens a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Of reading a prompt.
    pub prompt: f64,
    /// Of writing, one token after the other.
    pub generation: f64,
}

/// Processor time of this thread, which does not run on while others have the processor.
fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// Measures speed on one thread: the best of `repeats` times reading `prompt` tokens and writing `tokens`, by processor time, so that a
/// machine with other work says the same as one without.
///
/// # Errors
/// More tokens than the context holds, and none.
pub fn speed(model: &Model, prompt: usize, tokens: usize, repeats: usize) -> Result<Speed, LlmError> {
    let config = model.config();
    // A model that ends its text early would be measured on less.
    let mut endless = model.clone();
    (endless.config.bos, endless.config.eos) = (None, Vec::new());
    let read: Vec<u32> = (0..prompt).map(|i| (i * 7 % config.vocabulary) as u32).collect();
    let mut best = Speed { prompt: 0.0, generation: 0.0 };
    for _ in 0..repeats.max(1) {
        let written =
            generate_by(&endless, &read, tokens, Sampling { temperature: 0.0, seed: 0 }, &thread_time)?;
        best.prompt = best.prompt.max(written.prompt_speed());
        best.generation = best.generation.max(written.speed());
    }
    Ok(best)
}

/// The most memory that this process has held, in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_is_chosen_and_log_probabilities_are_those_of_a_softmax() {
        assert_eq!(highest(&[-3.0, -1.0, -1.0]), 1);
        assert_eq!(highest(&[f64::NAN, -1.0]), 0);
        let logits = [1000.0, 1000.0 + 3f32.ln()];
        assert!((log_probability(&logits, 1) - 0.75f64.ln()).abs() < 1e-4);
    }
}
