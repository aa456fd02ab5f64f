//! A LLaMA-type decoder (arXiv 2302.13971): RMS normalisation, rotary grouped-query attention, gated MLPs. [`forward`] says
//! what is computed, over any [`Operations`]; [`Model::run`] computes it over slices with a cache of keys and values.

use crate::{LlmError, config::Config, matrix::Matrix, slices::Slices};

/// A model's weights. The query and key heads have their rotated pairs as halves (i, i + head_dim / 2), as Hugging Face's
/// files have them.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) config: Config,
    pub(crate) embedding: Matrix,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Vec<f32>,
    /// None where the embedding is tied.
    pub(crate) head: Option<Matrix>,
}

/// One layer: attention and a gated MLP, each after a normalisation and around a residual.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) q: Matrix,
    pub(crate) k: Matrix,
    pub(crate) v: Matrix,
    pub(crate) o: Matrix,
    pub(crate) mlp_norm: Vec<f32>,
    pub(crate) gate: Matrix,
    pub(crate) up: Matrix,
    pub(crate) down: Matrix,
}

/// The operations that a forward pass is made of, over values of one vector for each token. Inference computes them over
/// slices; training over tensors that record what gradients need.
pub trait Operations {
    /// Vectors, one for each token.
    type Value;

    /// Rows of a table.
    ///
    /// # Errors
    /// As all of these: what the operation says.
    fn embed(&mut self, table: &Matrix, tokens: &[u32]) -> Result<Self::Value, LlmError>;
    /// RMS normalisation.
    fn norm(&mut self, x: &Self::Value, gain: &[f32]) -> Result<Self::Value, LlmError>;
    /// A linear map.
    fn linear(&mut self, x: &Self::Value, weights: &Matrix) -> Result<Self::Value, LlmError>;
    /// Causal attention of rotated queries to rotated keys, of this call's tokens and of those before.
    fn attend(
        &mut self,
        layer: usize,
        q: Self::Value,
        k: Self::Value,
        v: Self::Value,
    ) -> Result<Self::Value, LlmError>;
    /// silu(gate) · up, number by number.
    fn gated(&mut self, gate: Self::Value, up: &Self::Value) -> Result<Self::Value, LlmError>;
    /// The sum.
    fn add(&mut self, x: Self::Value, y: &Self::Value) -> Result<Self::Value, LlmError>;
}

/// The residual stream after the last layer, not yet normalised.
///
/// # Errors
/// What an operation says.
pub fn forward<O: Operations>(model: &Model, tokens: &[u32], ops: &mut O) -> Result<O::Value, LlmError> {
    let mut x = ops.embed(&model.embedding, tokens)?;
    for (i, layer) in model.layers.iter().enumerate() {
        let h = ops.norm(&x, &layer.attention_norm)?;
        let (q, k, v) = (ops.linear(&h, &layer.q)?, ops.linear(&h, &layer.k)?, ops.linear(&h, &layer.v)?);
        let attended = ops.attend(i, q, k, v)?;
        let h = ops.linear(&attended, &layer.o)?;
        x = ops.add(x, &h)?;
        let h = ops.norm(&x, &layer.mlp_norm)?;
        let (gate, up) = (ops.linear(&h, &layer.gate)?, ops.linear(&h, &layer.up)?);
        let gated = ops.gated(gate, &up)?;
        let h = ops.linear(&gated, &layer.down)?;
        x = ops.add(x, &h)?;
    }
    Ok(x)
}

/// Keys and values of the tokens that a model has read.
#[derive(Clone, Debug)]
pub struct Cache {
    pub(crate) len: usize,
    /// Keys and values of each layer: one vector for each token.
    pub(crate) layers: Vec<(Vec<f32>, Vec<f32>)>,
    /// Cosines, then sines, of each place.
    pub(crate) angles: Vec<f32>,
}

impl Cache {
    /// Number of tokens read.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all but the first `len` tokens.
    pub fn truncate(&mut self, len: usize, config: &Config) {
        self.len = self.len.min(len);
        for (keys, values) in &mut self.layers {
            keys.truncate(self.len * config.kv_dim());
            values.truncate(self.len * config.kv_dim());
        }
    }
}

impl Model {
    /// What the model is like.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its layers.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Bytes of all weights as they are stored.
    pub fn bytes(&self) -> usize {
        let layers = self.layers.iter().map(Layer::bytes).sum::<usize>();
        self.embedding.bytes() + layers + 4 * self.norm.len() + self.head.as_ref().map_or(0, Matrix::bytes)
    }

    /// A cache with nothing in it.
    pub fn cache(&self) -> Cache {
        Cache { len: 0, layers: vec![Default::default(); self.layers.len()], angles: Vec::new() }
    }

    /// Reads tokens after those in the cache: the logits of what comes after each of the last `places` of them, `vocabulary`
    /// numbers each.
    ///
    /// # Errors
    /// No token, one that the vocabulary lacks, and more than the context holds.
    pub fn run(&self, tokens: &[u32], cache: &mut Cache, places: usize) -> Result<Vec<f32>, LlmError> {
        let config = &self.config;
        if tokens.is_empty() {
            return Err(LlmError::Asked("there is nothing to read: no token".into()));
        }
        if let Some(token) = tokens.iter().find(|t| **t as usize >= config.vocabulary) {
            let n = config.vocabulary;
            return Err(LlmError::Asked(format!("token {token} is not in the model's vocabulary of {n}")));
        }
        let end = cache.len + tokens.len();
        if end > config.context {
            return Err(LlmError::Asked(format!(
                "{end} tokens are more than the model's context of {}",
                config.context
            )));
        }
        self.angles_until(end, &mut cache.angles);
        let mut ops = Slices::new(config, cache);
        let x = forward(self, tokens, &mut ops)?;
        let wanted = x[x.len() - config.dim * places.min(tokens.len())..].to_vec();
        let x = ops.norm(&wanted, &self.norm)?;
        let logits = ops.linear(&x, self.head.as_ref().unwrap_or(&self.embedding))?;
        cache.len = end;
        Ok(logits)
    }

    fn angles_until(&self, end: usize, angles: &mut Vec<f32>) {
        let Config { head_dim, rope_theta, .. } = self.config;
        let half = head_dim / 2;
        for place in angles.len() / head_dim..end {
            let angle = |p: usize| place as f32 / rope_theta.powf(2.0 * p as f32 / head_dim as f32);
            angles.extend((0..half).map(|p| angle(p).cos()));
            angles.extend((0..half).map(|p| angle(p).sin()));
        }
    }
}

impl Layer {
    /// Its matrices in the order q, k, v, o, gate, up, down.
    pub(crate) fn matrices(&self) -> [&Matrix; 7] {
        [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down]
    }

    fn bytes(&self) -> usize {
        let norms = 4 * (self.attention_norm.len() + self.mlp_norm.len());
        self.matrices().iter().map(|m| m.bytes()).sum::<usize>() + norms
    }
}
