//! The operations of inference over plain slices: no gradients, no copies that are not needed. Values are one vector for each
//! token, one after the other.

use crate::{config::Config, matrix::Matrix, model::Cache};
use srnas_network::{
    ops::simd::{dot, exp_of_negative},
    vectorised,
};

/// Rows of a table.
pub fn rows(table: &Matrix, tokens: &[u32]) -> Vec<f32> {
    let mut x = vec![0.0; tokens.len() * table.columns()];
    for (&token, row) in tokens.iter().zip(x.chunks_exact_mut(table.columns())) {
        table.copy_row(token as usize, row);
    }
    x
}

/// RMS normalisation.
pub fn norm(x: &[f32], gain: &[f32], epsilon: f32) -> Vec<f32> {
    let mut out = x.to_vec();
    vectorised!(for row in out.chunks_exact_mut(gain.len()) {
        let scale = 1.0 / (dot(row, row) / gain.len() as f32 + epsilon).sqrt();
        row.iter_mut().zip(gain).for_each(|(x, g)| *x *= scale * g);
    });
    out
}

/// Causal attention of rotated queries to rotated keys, of these tokens and of those before, which the cache holds.
pub fn attend(
    config: &Config,
    cache: &mut Cache,
    layer: usize,
    mut q: Vec<f32>,
    mut k: Vec<f32>,
    v: &[f32],
) -> Vec<f32> {
    let Config { heads, kv_heads, head_dim, .. } = *config;
    let (first, kv_dim) = (cache.len, kv_heads * head_dim);
    let angles = &cache.angles[first * head_dim..];
    rotate(&mut q, heads, head_dim, angles);
    rotate(&mut k, kv_heads, head_dim, angles);
    let (keys, values) = &mut cache.layers[layer];
    keys.extend_from_slice(&k);
    values.extend_from_slice(v);
    let scale = 1.0 / (head_dim as f32).sqrt();
    let group = heads / kv_heads;
    let mut out = vec![0.0; q.len()];
    let mut scores = Vec::with_capacity(keys.len() / kv_dim);
    vectorised!(
        for (i, (q, out)) in q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).enumerate() {
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
        }
    );
    out
}

/// silu(gate) · up, number by number, in place of the gate.
pub fn gate(gate: &mut [f32], up: &[f32]) {
    vectorised!(for (g, u) in gate.iter_mut().zip(up) {
        let e = exp_of_negative(-g.abs());
        let sigmoid = if *g >= 0.0 { 1.0 } else { e } / (1.0 + e);
        *g *= sigmoid * u;
    });
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
