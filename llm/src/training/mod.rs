//! Training: a model from nothing, a model or a part of it further, and a *super-network*, whose parts are models that share its
//! weights (InstaTune, arXiv 2308.15609, as LLaMA-NAS, arXiv 2405.18377, uses it).

mod corpus;
mod importance;
mod network;
mod ops;
mod supernet;
mod tuning;

pub use corpus::Corpus;
pub use importance::by_importance;
pub use network::{Network, Shape};
pub(crate) use supernet::TOGETHER;
pub use supernet::{Batch, Losses, Settings};
pub use tuning::{Tuning, TuningError};

use crate::{
    LlmError,
    config::Config,
    matrix::Matrix,
    memory::foresee,
    model::{Layer, Model},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

/// A model with random weights: normal, .02 wide, and narrower by √(2 · layers) where a layer writes into the residual stream
/// (GPT-2's rule).
///
/// # Errors
/// Sizes that do not go together.
pub fn fresh(config: Config, seed: u64) -> Result<Model, LlmError> {
    let config = config.checked().map_err(LlmError::Asked)?;
    let bytes = 4 * config.parameters() as u64;
    foresee("the weights take", bytes, "a smaller model takes less").map_err(LlmError::Asked)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (dim, layers) = (config.dim, config.widths.len());
    let mut drawn = |rows: usize, columns: usize, width: f32| {
        let normal = Normal::new(0.0, width).map_err(|e| LlmError::Asked(e.to_string()))?;
        Matrix::dense(rows, columns, (0..rows * columns).map(|_| normal.sample(&mut rng)).collect())
    };
    let narrow = 0.02 / (2.0 * layers.max(1) as f32).sqrt();
    let embedding = drawn(config.vocabulary, dim, 0.02)?;
    let layers = config.widths.iter().map(|&width| {
        Ok(Layer {
            attention_norm: vec![1.0; dim],
            q: drawn(config.q_dim(), dim, 0.02)?,
            k: drawn(config.kv_dim(), dim, 0.02)?,
            v: drawn(config.kv_dim(), dim, 0.02)?,
            o: drawn(dim, config.q_dim(), narrow)?,
            mlp_norm: vec![1.0; dim],
            gate: drawn(width, dim, 0.02)?,
            up: drawn(width, dim, 0.02)?,
            down: drawn(dim, width, narrow)?,
        })
    });
    let layers = layers.collect::<Result<_, LlmError>>()?;
    let head = if config.tied { None } else { Some(drawn(config.vocabulary, dim, 0.02)?) };
    Ok(Model { embedding, layers, norm: vec![1.0; dim], head, config })
}
