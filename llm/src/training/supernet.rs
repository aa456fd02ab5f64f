//! One step of training, whole and parts together: the losses of InstaTune (arXiv 2308.15609).

use super::{
    network::{Network, Shape},
    ops::loss::{Expected, loss, probabilities},
};
use crate::LlmError;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use srnas_network::Gradients;
use std::sync::Arc;

/// How a model is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Steps in all; the learning rate falls to 0 with the last.
    pub steps: u64,
    /// Sequences of a step.
    pub sequences: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// The highest learning rate, reached after a twentieth of the steps.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Share of what the text says; the rest is what the models above say.
    pub alpha: f32,
    /// Of what the models above say to a part, the share of the original; the rest is what the whole says.
    pub gamma: f32,
    /// Parts drawn at random in each step; 0 trains the whole alone.
    pub parts: usize,
    /// Whether the smallest part is trained in each step, too (the sandwich rule, arXiv 1903.05134).
    pub smallest: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            steps: 1000,
            sequences: 16,
            length: 256,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            alpha: 0.3,
            gamma: 0.5,
            parts: 2,
            smallest: false,
        }
    }
}

impl Settings {
    /// Whether something can be trained by them.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, context: usize) -> Result<(), LlmError> {
        let share = |value: f32| (0.0..=1.0).contains(&value);
        let wrong = match () {
            () if self.steps == 0 || self.sequences == 0 => "steps and sequences are 1 at least".to_string(),
            () if self.length < 2 || self.length > context => {
                format!("sequences of {} tokens: 2 to {context}, the context, are possible", self.length)
            }
            () if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) => {
                format!("a learning rate of {}: it is above 0", self.learning_rate)
            }
            () if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) => {
                format!("a weight decay of {}: it is 0 or above", self.weight_decay)
            }
            () if !share(self.alpha) || !share(self.gamma) => {
                "alpha and gamma are shares, 0 to 1".to_string()
            }
            () => return Ok(()),
        };
        Err(LlmError::Asked(wrong))
    }

    /// The learning rate of a step, counted from 0: up over a twentieth of all, then down by a cosine.
    pub fn rate(&self, step: u64) -> f64 {
        let warm = (self.steps / 20).max(1) as f64;
        let done = step as f64;
        let rising = ((done + 1.0) / warm).min(1.0);
        let falling = 0.5 * (1.0 + (std::f64::consts::PI * (done / self.steps as f64).min(1.0)).cos());
        self.learning_rate * rising * falling
    }
}

/// Sequences, one after the other, and what follows each of their tokens.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What is read.
    pub read: Arc<Vec<u32>>,
    /// What follows each token.
    pub follow: Arc<Vec<u32>>,
    /// Tokens of a sequence.
    pub length: usize,
}

/// Nats a token, of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Of the whole.
    pub whole: f64,
    /// Mean of the parts; that of the whole where there is none.
    pub parts: f64,
}

/// Sequences whose gradients are computed together: a batch is cut into these whatever the number of threads, and their sums are
/// added in their order, so that numbers repeat.
pub const TOGETHER: usize = 4;

/// The gradients of a step: L = α (CE(S) + Σ CE(Sᵢ)) + (1 − α) (KL(T, S) + Σ ((1 − γ) KL(S, Sᵢ) + γ KL(T, Sᵢ))), S the whole, Sᵢ its
/// parts, T the original; KL(p, q) is of q from p, and what is above is a constant in it. Without an original the whole learns from
/// the text alone. The published form weighs KL(S, T) by γ too, with nothing in the place of the rest; here shares add up to 1.
///
/// # Errors
/// As [`Network::logits`].
pub fn gradients(
    network: &Network,
    original: Option<&Network>,
    batch: &Batch,
    parts: &[Vec<Option<usize>>],
    settings: &Settings,
) -> Result<(Gradients, Losses), LlmError> {
    let size = TOGETHER * batch.length;
    let pieces: Vec<Batch> = batch
        .read
        .chunks(size)
        .zip(batch.follow.chunks(size))
        .map(|(read, follow)| Batch {
            read: Arc::new(read.to_vec()),
            follow: Arc::new(follow.to_vec()),
            length: batch.length,
        })
        .collect();
    let all = batch.read.len() as f64;
    let each = pieces.par_iter().map(|piece| {
        let share = piece.read.len() as f64 / all;
        of_piece(network, original, piece, parts, settings, share)
    });
    let each = each.collect::<Result<Vec<_>, LlmError>>()?;
    let mut sum = Gradients::zeros(network.parameters());
    let mut losses = Losses::default();
    for (gradients, of_piece) in &each {
        sum.add(gradients);
        losses.whole += of_piece.whole;
        losses.parts += of_piece.parts;
    }
    Ok((sum, losses))
}

fn of_piece(
    network: &Network,
    original: Option<&Network>,
    piece: &Batch,
    parts: &[Vec<Option<usize>>],
    settings: &Settings,
    share: f64,
) -> Result<(Gradients, Losses), LlmError> {
    let Settings { alpha, gamma, .. } = *settings;
    let logits = |network: &Network, shape: &Shape| network.logits(&piece.read, piece.length, shape);
    let says = |logits: &candle_core::Tensor| Ok::<_, LlmError>(Arc::new(probabilities(logits)?));
    let mut sum = Gradients::zeros(network.parameters());
    let mut add = |logits: &candle_core::Tensor, own: f32, others: Vec<(f32, Arc<Vec<f32>>)>| {
        let loss = loss(logits, Expected { tokens: piece.follow.clone(), share: own, others })?;
        sum.add_part(&(loss.narrow(0, 0, 1)?.sum_all()? * share)?, network.parameters())?;
        Ok::<f64, LlmError>(f64::from(loss.narrow(0, 1, 1)?.sum_all()?.to_scalar::<f32>()?) * share)
    };
    let teacher = match original {
        Some(original) => Some(says(&logits(original, &original.whole())?)?),
        None => None,
    };
    let of_whole = logits(network, &network.whole())?;
    let whole = match &teacher {
        Some(teacher) => add(&of_whole, alpha, vec![(1.0 - alpha, teacher.clone())])?,
        None => add(&of_whole, 1.0, Vec::new())?,
    };
    if parts.is_empty() {
        return Ok((sum, Losses { whole, parts: whole }));
    }
    let above = says(&of_whole)?;
    drop(of_whole);
    let mut of_parts = 0.0;
    for shape in parts {
        let rest = 1.0 - alpha;
        let others = match &teacher {
            Some(teacher) => vec![(rest * (1.0 - gamma), above.clone()), (rest * gamma, teacher.clone())],
            None => vec![(rest, above.clone())],
        };
        of_parts += add(&logits(network, shape)?, alpha, others)?;
    }
    Ok((sum, Losses { whole, parts: of_parts / parts.len() as f64 }))
}
