//! llama2.c's checkpoints (github.com/karpathy/llama2.c, version 0): seven whole numbers, then f32 tensors, those of one kind
//! for all layers together.

use super::{Source, assemble};
use crate::{LlmError, config::Config, error::read, matrix::Matrix, model::Model};
use std::{collections::HashMap, ops::Range, path::Path};

const HEADER: usize = 7 * 4;

pub fn load(path: &Path) -> Result<Model, LlmError> {
    let bytes = read(path)?;
    let wrong = |reason: String| LlmError::content(path, reason);
    if bytes.len() < HEADER || bytes.starts_with(b"ak42") {
        return Err(wrong(
            "is neither GGUF nor a llama2.c checkpoint of version 0; a folder with config.json, or one \
                          of these, is expected"
                .into(),
        ));
    }
    let numbers: Vec<i32> =
        bytes[..HEADER].chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let [dim, width, layers, heads, kv_heads, vocabulary, context] = numbers[..] else { unreachable!() };
    // A header of anything else would ask for any size.
    let sizes = [dim, width, layers, heads, kv_heads, vocabulary.wrapping_abs(), context];
    if sizes.iter().any(|n| !(1..1 << 24).contains(n)) || dim % heads != 0 || layers > 4096 {
        return Err(wrong(format!("is neither GGUF nor a llama2.c checkpoint: its header reads {sizes:?}")));
    }
    let [dim, width, layers, heads, kv_heads, vocabulary_size, context] = sizes.map(|n| n as usize);
    let config = Config {
        vocabulary: vocabulary_size,
        dim,
        heads,
        kv_heads,
        head_dim: dim / heads,
        widths: vec![width; layers],
        context,
        rope_theta: 1e4,
        norm_epsilon: 1e-5,
        tied: vocabulary > 0,
        bos: Some(1),
        eos: vec![2],
    }
    .checked()
    .map_err(wrong)?;
    let (places, total) = layout(&config);
    if bytes.len() - HEADER != 4 * total {
        let (has, needs) = (bytes.len(), HEADER + 4 * total);
        return Err(wrong(format!("has {has} bytes, and a llama2.c checkpoint of its sizes has {needs}")));
    }
    assemble(config, &mut File { bytes, places })
}

struct File {
    bytes: Vec<u8>,
    places: HashMap<String, Range<usize>>,
}

/// Where each tensor is, counted in numbers, and how many there are.
fn layout(config: &Config) -> (HashMap<String, Range<usize>>, usize) {
    let mut places = HashMap::new();
    let mut at = 0;
    let mut put = |name: String, size: usize| {
        places.insert(name, at..at + size);
        at += size;
    };
    let (dim, width) = (config.dim, config.widest());
    put("model.embed_tokens.weight".into(), config.vocabulary * dim);
    for (part, size) in [
        ("input_layernorm", dim),
        ("self_attn.q_proj", dim * config.q_dim()),
        ("self_attn.k_proj", dim * config.kv_dim()),
        ("self_attn.v_proj", dim * config.kv_dim()),
        ("self_attn.o_proj", dim * config.q_dim()),
        ("post_attention_layernorm", dim),
        ("mlp.gate_proj", dim * width),
        ("mlp.down_proj", dim * width),
        ("mlp.up_proj", dim * width),
    ] {
        (0..config.widths.len()).for_each(|i| put(format!("model.layers.{i}.{part}.weight"), size));
    }
    put("model.norm.weight".into(), dim);
    // Cosines and sines that nobody needs.
    put("rotary".into(), config.context * config.head_dim);
    if !config.tied {
        put("lm_head.weight".into(), config.vocabulary * dim);
    }
    (places, at)
}

impl Source for File {
    fn vector(&mut self, name: &str, _len: usize) -> Result<Vec<f32>, LlmError> {
        let place = self.places[name].clone();
        let bytes = &self.bytes[HEADER + 4 * place.start..HEADER + 4 * place.end];
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, LlmError> {
        Matrix::dense(rows, columns, self.vector(name, rows * columns)?)
    }

    fn interleaved(&self) -> bool {
        true
    }
}
