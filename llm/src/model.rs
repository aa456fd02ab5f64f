//! A LLaMA-type decoder (arXiv 2302.13971): RMS normalisation, rotary grouped-query attention, gated MLPs. [`Model::run`]
//! computes it with a cache of keys and values; [`crate::training`] computes the same with gradients.

use crate::{LlmError, config::Config, matrix::Matrix, slices};
use sha2::Digest;
use srnas_network::ops::add_to;

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

/// The residual stream after the last layer, not yet normalised; keys and values go into the cache.
fn forward(model: &Model, tokens: &[u32], cache: &mut Cache) -> Vec<f32> {
    let config = &model.config;
    let mut x = slices::rows(&model.embedding, tokens);
    for (i, layer) in model.layers.iter().enumerate() {
        let h = slices::norm(&x, &layer.attention_norm, config.norm_epsilon);
        let (q, k, v) = (layer.q.product(&h), layer.k.product(&h), layer.v.product(&h));
        let attended = slices::attend(config, cache, i, q, k, &v);
        add_to(&mut x, &layer.o.product(&attended));
        let h = slices::norm(&x, &layer.mlp_norm, config.norm_epsilon);
        let mut gated = layer.gate.product(&h);
        slices::gate(&mut gated, &layer.up.product(&h));
        add_to(&mut x, &layer.down.product(&gated));
    }
    x
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

    /// Adds everything that the model computes with to a hash.
    pub(crate) fn hash_into(&self, hash: &mut impl Digest) {
        hash.update(format!("{:?}", self.config));
        let norms = self.layers.iter().flat_map(|l| [&l.attention_norm, &l.mlp_norm]);
        for value in norms.chain([&self.norm]).flatten() {
            hash.update(value.to_le_bytes());
        }
        let layers = self.layers.iter().flat_map(Layer::matrices);
        for matrix in [&self.embedding].into_iter().chain(&self.head).chain(layers) {
            matrix.hash_into(hash);
        }
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
        angles_until(config, end, &mut cache.angles);
        let x = forward(self, tokens, cache);
        let wanted = &x[x.len() - config.dim * places.min(tokens.len())..];
        let x = slices::norm(wanted, &self.norm, config.norm_epsilon);
        cache.len = end;
        Ok(self.head.as_ref().unwrap_or(&self.embedding).product(&x))
    }
}

/// Cosines, then sines, of the first `places`: [places, head_dim].
pub(crate) fn angles(config: &Config, places: usize) -> Vec<f32> {
    let mut angles = Vec::with_capacity(places * config.head_dim);
    angles_until(config, places, &mut angles);
    angles
}

fn angles_until(config: &Config, end: usize, angles: &mut Vec<f32>) {
    let Config { head_dim, rope_theta, .. } = *config;
    let half = head_dim / 2;
    for place in angles.len() / head_dim..end {
        let angle = |p: usize| place as f32 / rope_theta.powf(2.0 * p as f32 / head_dim as f32);
        angles.extend((0..half).map(|p| angle(p).cos()));
        angles.extend((0..half).map(|p| angle(p).sin()));
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
