//! MLP channels in the order of what the loss would lose with them.

use super::{
    corpus::Corpus,
    network::Network,
    ops::loss::{Expected, loss},
};
use crate::{LlmError, matrix::Format, model::Model, subnetwork::Subnetwork};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use srnas_network::ops::with_values;

/// The same model, to rounding, with the MLP channels of each layer in the order of their importance, the most important first:
/// the mean over sequences of (h · ∂L/∂h)², h what a channel adds to the sequence (arXiv 1906.10771, equation 8).
///
/// # Errors
/// As training.
pub fn by_importance(model: &Model, corpus: &Corpus, sequences: usize, seed: u64) -> Result<Model, LlmError> {
    let network = Network::new(model)?;
    let length = model.config().context.min(128);
    let each = (0..sequences as u64).into_par_iter().map(|i| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(i));
        of_sequence(&network, corpus, length, &mut rng)
    });
    let each = each.collect::<Result<Vec<_>, LlmError>>()?;
    let mut orders = Vec::new();
    for (layer, width) in model.config().widths.iter().enumerate() {
        // In the order of the sequences, so that the sums are the same whatever ended first.
        let sum = |c: usize| each.iter().map(|of| of[layer][c].powi(2)).sum::<f64>();
        let importance: Vec<f64> = (0..*width).map(sum).collect();
        let mut order: Vec<usize> = (0..*width).collect();
        order.sort_by(|a, b| importance[*b].total_cmp(&importance[*a]));
        orders.push(order);
    }
    model.cut(&Subnetwork::whole(model.config(), Format::F32), Some(&orders))
}

/// h · ∂L/∂h of each channel of each layer, summed over a sequence: a column of `down` times its gradient.
fn of_sequence(
    network: &Network,
    corpus: &Corpus,
    length: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Vec<f64>>, LlmError> {
    let (read, follow) = corpus.draw(1, length, rng);
    let logits = network.logits(&read, length, &network.whole())?;
    let expected = Expected { tokens: follow, share: 1.0, others: Vec::new() };
    let store = loss(&logits, expected)?.narrow(0, 0, 1)?.sum_all()?.backward()?;
    let mut found = Vec::new();
    for (name, var) in network.parameters().iter().filter(|(name, _)| name.ends_with("down_proj.weight")) {
        let gradient = store.get(var).ok_or_else(|| LlmError::Asked(format!("`{name}` has no gradient")))?;
        let width = var.dim(1)?;
        let mut sums = vec![0.0f64; width];
        with_values(gradient, |gradient| {
            with_values(var.as_tensor(), |weights| {
                for (gradient, weights) in gradient.chunks_exact(width).zip(weights.chunks_exact(width)) {
                    for ((sum, g), w) in sums.iter_mut().zip(gradient).zip(weights) {
                        *sum += f64::from(g * w);
                    }
                }
            })
        })??;
        found.push(sums);
    }
    Ok(found)
}
