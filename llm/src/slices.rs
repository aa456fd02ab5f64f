//! The operations of inference over plain slices: no gradients, no copies that are not needed.

use crate::{
    LlmError,
    config::Config,
    matrix::Matrix,
    model::{Cache, Operations},
};
use srnas_network::{
    ops::simd::{add_to, dot, exp_of_negative},
    vectorised,
};

/// Inference over slices: a value is one vector for each token, one after the other.
pub struct Slices<'a> {
    config: &'a Config,
    cache: &'a mut Cache,
}

impl<'a> Slices<'a> {
    pub fn new(config: &'a Config, cache: &'a mut Cache) -> Self {
        Self { config, cache }
    }
}

impl Operations for Slices<'_> {
    type Value = Vec<f32>;

    fn embed(&mut self, table: &Matrix, tokens: &[u32]) -> Result<Vec<f32>, LlmError> {
        let mut x = vec![0.0; tokens.len() * table.columns()];
        for (&token, row) in tokens.iter().zip(x.chunks_exact_mut(table.columns())) {
            table.copy_row(token as usize, row);
        }
        Ok(x)
    }

    fn norm(&mut self, x: &Vec<f32>, gain: &[f32]) -> Result<Vec<f32>, LlmError> {
        let epsilon = self.config.norm_epsilon;
        let mut out = x.clone();
        vectorised!(for row in out.chunks_exact_mut(gain.len()) {
            let scale = 1.0 / (dot(row, row) / gain.len() as f32 + epsilon).sqrt();
            row.iter_mut().zip(gain).for_each(|(x, g)| *x *= scale * g);
        });
        Ok(out)
    }

    fn linear(&mut self, x: &Vec<f32>, weights: &Matrix) -> Result<Vec<f32>, LlmError> {
        Ok(weights.product(x))
    }

    fn attend(
        &mut self,
        layer: usize,
        mut q: Vec<f32>,
        mut k: Vec<f32>,
        v: Vec<f32>,
    ) -> Result<Vec<f32>, LlmError> {
        let Config { heads, kv_heads, head_dim, .. } = *self.config;
        let (first, kv_dim) = (self.cache.len, kv_heads * head_dim);
        let angles = &self.cache.angles[first * head_dim..];
        rotate(&mut q, heads, head_dim, angles);
        rotate(&mut k, kv_heads, head_dim, angles);
        let (keys, values) = &mut self.cache.layers[layer];
        keys.extend_from_slice(&k);
        values.extend_from_slice(&v);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let group = heads / kv_heads;
        let mut out = vec![0.0; q.len()];
        let mut scores = Vec::with_capacity(keys.len() / kv_dim);
        vectorised!(for (i, (q, out)) in
            q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).enumerate()
        {
            let (token, head) = (first + i / heads, i % heads);
            let at = head / group * head_dim;
            // Causal: a token sees itself and what came before it.
            let seen = (token + 1) * kv_dim;
            scores.clear();
            scores.extend(keys[..seen].chunks_exact(kv_dim).map(|k| dot(q, &k[at..at + head_dim]) * scale));
            let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            scores.iter_mut().for_each(|s| *s = exp_of_negative(*s - most));
            let sum: f32 = scores.iter().sum();
            for (&weight, v) in scores.iter().zip(values[..seen].chunks_exact(kv_dim)) {
                out.iter_mut().zip(&v[at..at + head_dim]).for_each(|(o, v)| *o += weight * v);
            }
            out.iter_mut().for_each(|o| *o /= sum);
        });
        Ok(out)
    }

    fn gated(&mut self, mut gate: Vec<f32>, up: &Vec<f32>) -> Result<Vec<f32>, LlmError> {
        vectorised!(for (g, u) in gate.iter_mut().zip(up) {
            let e = exp_of_negative(-g.abs());
            let sigmoid = if *g >= 0.0 { 1.0 } else { e } / (1.0 + e);
            *g *= sigmoid * u;
        });
        Ok(gate)
    }

    fn add(&mut self, mut x: Vec<f32>, y: &Vec<f32>) -> Result<Vec<f32>, LlmError> {
        add_to(&mut x, y);
        Ok(x)
    }
}

/// Turns each pair (i, i + half) of each head by its angle: the layout of Hugging Face's files.
fn rotate(x: &mut [f32], heads: usize, head_dim: usize, angles: &[f32]) {
    let half = head_dim / 2;
    for (i, head) in x.chunks_exact_mut(head_dim).enumerate() {
        let (cos, sin) = angles[i / heads * head_dim..][..head_dim].split_at(half);
        let (low, high) = head.split_at_mut(half);
        for p in 0..half {
            let (a, b) = (low[p], high[p]);
            low[p] = a * cos[p] - b * sin[p];
            high[p] = b * cos[p] + a * sin[p];
        }
    }
}
