//! Models read from files: a folder as Hugging Face publishes it ([`safetensors`]), llama2.c's `.bin` ([`llama2c`]) and GGUF
//! ([`gguf`]). Each file says which tensors it has; what a model needs of them is said here.

mod gguf;
mod llama2c;
mod safetensors;

use crate::{
    LlmError,
    config::Config,
    matrix::Matrix,
    memory::foresee,
    model::{Layer, Model},
};
use std::{fs, path::Path};

pub(crate) use gguf::{gguf_name, metadata as gguf_metadata, metadata_of, of_bytes as of_gguf};

/// Where tensors come from; they have Hugging Face's names.
trait Source {
    /// A tensor of one dimension.
    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LlmError>;
    /// A tensor of two.
    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, LlmError>;
    /// Whether the rotated pairs of query and key heads are neighbours (2 p, 2 p + 1), as Meta's own files have them.
    fn interleaved(&self) -> bool;
}

/// Reads a model: a folder with `config.json` and safetensors, a GGUF file, or a llama2.c checkpoint (`.bin`).
///
/// # Errors
/// What is not there, what is not what it should be (by name, with what is expected), and a model that the memory that is
/// free cannot hold.
pub fn load(path: &Path) -> Result<Model, LlmError> {
    let about = fs::metadata(path).map_err(|source| LlmError::File { path: path.into(), source })?;
    if about.is_dir() {
        return safetensors::load(path);
    }
    foresee_memory(path, about.len())?;
    let start = crate::error::read_start::<4>(path)?;
    if &start == b"GGUF" { gguf::load(path) } else { llama2c::load(path) }
}

/// Refuses what cannot be held.
fn foresee_memory(path: &Path, bytes: u64) -> Result<(), LlmError> {
    let advice = "a model in q8_0 takes about a quarter of f32";
    foresee("the weights take", bytes, advice).map_err(|reason| LlmError::content(path, reason))
}

/// The model of a configuration, from its tensors.
fn assemble(config: Config, source: &mut impl Source) -> Result<Model, LlmError> {
    let (dim, q_dim, kv_dim) = (config.dim, config.q_dim(), config.kv_dim());
    let embedding = source.matrix("model.embed_tokens.weight", config.vocabulary, dim)?;
    let mut layers = Vec::with_capacity(config.widths.len());
    for (i, &width) in config.widths.iter().enumerate() {
        let name = |part: &str| format!("model.layers.{i}.{part}.weight");
        let mut q = source.matrix(&name("self_attn.q_proj"), q_dim, dim)?;
        let mut k = source.matrix(&name("self_attn.k_proj"), kv_dim, dim)?;
        if source.interleaved() {
            q = q.rows_of(&halves(config.heads, config.head_dim));
            k = k.rows_of(&halves(config.kv_heads, config.head_dim));
        }
        layers.push(Layer {
            attention_norm: source.vector(&name("input_layernorm"), dim)?,
            q,
            k,
            v: source.matrix(&name("self_attn.v_proj"), kv_dim, dim)?,
            o: source.matrix(&name("self_attn.o_proj"), dim, q_dim)?,
            mlp_norm: source.vector(&name("post_attention_layernorm"), dim)?,
            gate: source.matrix(&name("mlp.gate_proj"), width, dim)?,
            up: source.matrix(&name("mlp.up_proj"), width, dim)?,
            down: source.matrix(&name("mlp.down_proj"), dim, width)?,
        });
    }
    let norm = source.vector("model.norm.weight", dim)?;
    let head = match config.tied {
        true => None,
        false => Some(source.matrix("lm_head.weight", config.vocabulary, dim)?),
    };
    Ok(Model { config, embedding, layers, norm, head })
}

/// Of which neighbouring row each row of the layout in halves is.
pub(crate) fn halves(heads: usize, head_dim: usize) -> Vec<usize> {
    let half = head_dim / 2;
    let of = |h: usize, j: usize| h * head_dim + if j < half { 2 * j } else { 2 * (j - half) + 1 };
    (0..heads * head_dim).map(|r| of(r / head_dim, r % head_dim)).collect()
}

/// Of which row of the layout in halves each row of the layout in neighbours is.
pub(crate) fn neighbours(heads: usize, head_dim: usize) -> Vec<usize> {
    let of = |h: usize, j: usize| h * head_dim + j / 2 + if j.is_multiple_of(2) { 0 } else { head_dim / 2 };
    (0..heads * head_dim).map(|r| of(r / head_dim, r % head_dim)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_rotary_layouts_lead_to_each_other() {
        assert_eq!(halves(1, 6), [0, 2, 4, 1, 3, 5]);
        for (heads, head_dim) in [(1, 2), (2, 4), (3, 8)] {
            let (to, back) = (halves(heads, head_dim), neighbours(heads, head_dim));
            assert!((0..heads * head_dim).all(|r| to[back[r]] == r && back[to[r]] == r));
        }
    }
}
