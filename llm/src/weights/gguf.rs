//! GGUF files (github.com/ggml-org/ggml, docs/gguf.md) of the architectures `llama` and `deci`; the latter has a width for each
//! layer.

use super::{Source, assemble};
use crate::{LlmError, config::Config, matrix::Matrix, model::Model};
use candle_core::{
    DType, Device,
    quantized::{
        QTensor,
        gguf_file::{Content, Value},
    },
};
use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Cursor, Read, Seek},
    path::{Path, PathBuf},
};

pub fn load(path: &Path) -> Result<Model, LlmError> {
    model(Gguf::open(path)?)
}

/// The model in the bytes of a file that is called `name`.
pub fn of_bytes(bytes: &'static [u8], name: &str) -> Result<Model, LlmError> {
    model(Gguf::of(Box::new(Cursor::new(bytes)), Path::new(name))?)
}

fn model(mut file: Gguf) -> Result<Model, LlmError> {
    let path = &file.path.clone();
    let config = file.config().and_then(Config::checked).map_err(|reason| LlmError::content(path, reason))?;
    if file.content.tensor_infos.keys().any(|n| n.contains("ffn_gate_exps") || n == "rope_freqs.weight") {
        return Err(LlmError::content(
            path,
            "has experts or scaled rotary frequencies, which are not supported",
        ));
    }
    assemble(config, &mut file)
}

/// What a GGUF file says of itself.
pub(crate) fn metadata(path: &Path) -> Result<HashMap<String, Value>, LlmError> {
    Ok(Gguf::open(path)?.content.metadata)
}

/// As [`metadata`], of the bytes of a file.
pub(crate) fn metadata_of(bytes: &'static [u8], name: &str) -> Result<HashMap<String, Value>, LlmError> {
    Ok(Gguf::of(Box::new(Cursor::new(bytes)), Path::new(name))?.content.metadata)
}

trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

struct Gguf {
    path: PathBuf,
    reader: Box<dyn ReadSeek>,
    content: Content,
}

impl Gguf {
    fn open(path: &Path) -> Result<Self, LlmError> {
        let file = File::open(path).map_err(|source| LlmError::File { path: path.into(), source })?;
        Self::of(Box::new(BufReader::new(file)), path)
    }

    fn of(mut reader: Box<dyn ReadSeek>, path: &Path) -> Result<Self, LlmError> {
        let content = Content::read(&mut reader)
            .map_err(|e| LlmError::content(path, format!("is no whole GGUF file: {e}")))?;
        Ok(Self { path: path.into(), reader, content })
    }

    fn config(&self) -> Result<Config, String> {
        let metadata = &self.content.metadata;
        let text = |key: &str| metadata.get(key).and_then(|v| v.to_string().ok()).map(String::as_str);
        let arch = text("general.architecture").unwrap_or_default();
        if !["llama", "deci"].contains(&arch) {
            return Err(format!("architecture `{arch}` is not supported: llama and deci are"));
        }
        if let Some(kind) = text(&format!("{arch}.rope.scaling.type")).filter(|kind| *kind != "none") {
            return Err(format!("`{arch}.rope.scaling.type` = {kind} is not supported"));
        }
        if metadata.get(&format!("{arch}.expert_count")).and_then(whole).is_some_and(|n| n > 0) {
            return Err(format!("`{arch}.expert_count` above 0 is not supported"));
        }
        let get = |key: &str| metadata.get(&format!("{arch}.{key}"));
        let needed = |key: &str| get(key).and_then(whole).ok_or_else(|| format!("`{arch}.{key}` is missing"));
        let real = |key: &str| match get(key) {
            Some(Value::F32(x)) => Some(*x),
            Some(Value::F64(x)) => Some(*x as f32),
            _ => None,
        };
        let layers = needed("block_count")?;
        // One number, or one for each layer.
        let each = |key: &str| -> Result<Vec<usize>, String> {
            let found = match get(key) {
                Some(Value::Array(list)) => list.iter().map(whole).collect::<Option<Vec<_>>>(),
                Some(one) => whole(one).map(|n| vec![n; layers]),
                None => None,
            };
            match found {
                Some(list) if list.len() == layers => Ok(list),
                _ => {
                    Err(format!("`{arch}.{key}` is not one whole number, or one for each of {layers} layers"))
                }
            }
        };
        let same = |key: &str| -> Result<usize, String> {
            let list = each(key)?;
            match list.first() {
                Some(first) if list.iter().all(|n| n == first) => Ok(*first),
                _ => Err(format!("`{arch}.{key}` differs from layer to layer, which is not supported")),
            }
        };
        let dim = needed("embedding_length")?;
        let heads = same("attention.head_count")?;
        let kv_heads =
            if get("attention.head_count_kv").is_some() { same("attention.head_count_kv")? } else { heads };
        let head_dim = match get("attention.key_length").and_then(whole) {
            Some(n) => n,
            None => dim.checked_div(heads).ok_or("it has no heads")?,
        };
        if get("rope.dimension_count").and_then(whole).is_some_and(|n| n != head_dim) {
            return Err(format!(
                "`{arch}.rope.dimension_count` is not the width of a head, which is not supported"
            ));
        }
        let id = |key: &str| metadata.get(key).and_then(whole).map(|n| n as u32);
        let embedding =
            self.content.tensor_infos.get("token_embd.weight").ok_or("it has no token_embd.weight")?;
        Ok(Config {
            vocabulary: embedding.shape.dims().first().copied().unwrap_or(0),
            dim,
            heads,
            kv_heads,
            head_dim,
            widths: each("feed_forward_length")?,
            context: needed("context_length")?,
            rope_theta: real("rope.freq_base").unwrap_or(1e4),
            norm_epsilon: real("attention.layer_norm_rms_epsilon").ok_or("its norm epsilon is missing")?,
            tied: !self.content.tensor_infos.contains_key("output.weight"),
            bos: id("tokenizer.ggml.bos_token_id"),
            eos: id("tokenizer.ggml.eos_token_id").into_iter().collect(),
        })
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<QTensor, LlmError> {
        let name = gguf_name(name);
        let wrong = |reason: String| LlmError::content(&self.path, reason);
        let Some(info) = self.content.tensor_infos.get(&name) else {
            return Err(wrong(format!("there is no tensor `{name}`")));
        };
        if info.shape.dims() != shape {
            let has = info.shape.dims();
            return Err(wrong(format!("tensor `{name}` has shape {has:?}; its metadata ask for {shape:?}")));
        }
        let read = self.content.tensor(&mut self.reader, &name, &Device::Cpu);
        read.map_err(|e| wrong(format!("tensor `{name}` cannot be read: {e}")))
    }
}

/// The name that GGUF has for a tensor of Hugging Face's.
pub(crate) fn gguf_name(name: &str) -> String {
    let stem = name.strip_suffix(".weight").unwrap_or(name);
    let renamed = match stem {
        "model.embed_tokens" => "token_embd".into(),
        "model.norm" => "output_norm".into(),
        "lm_head" => "output".into(),
        _ => {
            let rest = stem.strip_prefix("model.layers.").unwrap_or(stem);
            let (layer, part) = rest.split_once('.').unwrap_or(("", rest));
            let part = match part {
                "input_layernorm" => "attn_norm",
                "self_attn.q_proj" => "attn_q",
                "self_attn.k_proj" => "attn_k",
                "self_attn.v_proj" => "attn_v",
                "self_attn.o_proj" => "attn_output",
                "post_attention_layernorm" => "ffn_norm",
                "mlp.gate_proj" => "ffn_gate",
                "mlp.up_proj" => "ffn_up",
                "mlp.down_proj" => "ffn_down",
                other => other,
            };
            format!("blk.{layer}.{part}")
        }
    };
    format!("{renamed}.weight")
}

/// A number of any of GGUF's whole types.
fn whole(value: &Value) -> Option<usize> {
    match value {
        Value::U8(n) => Some(usize::from(*n)),
        Value::U16(n) => Some(usize::from(*n)),
        Value::U32(n) => Some(*n as usize),
        Value::U64(n) => usize::try_from(*n).ok(),
        Value::I8(n) => usize::try_from(*n).ok(),
        Value::I16(n) => usize::try_from(*n).ok(),
        Value::I32(n) => usize::try_from(*n).ok(),
        Value::I64(n) => usize::try_from(*n).ok(),
        _ => None,
    }
}

impl Source for Gguf {
    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LlmError> {
        Ok(self.tensor(name, &[len])?.dequantize(&Device::Cpu)?.to_dtype(DType::F32)?.to_vec1()?)
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, LlmError> {
        Matrix::of_ggml(&self.tensor(name, &[rows, columns])?)
    }

    fn interleaved(&self) -> bool {
        true
    }
}
