//! Models written so that other programs load them: a folder for Hugging Face's transformers, a GGUF file for llama.cpp.
//! What is written is whole or not there.

use crate::{
    LlmError,
    config::Config,
    matrix::{Matrix, ggml_f32},
    model::Model,
    tokenizer::{Kind, Piece, Tokenizer, Vocabulary},
    weights::{gguf_name, neighbours},
};
use candle_core::quantized::{
    QTensor,
    gguf_file::{self, Value},
};
use safetensors::{Dtype, View};
use srnas_basics::files::{write_whole, write_whole_by};
use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// A tensor by the name that Hugging Face has for it.
struct Named<'a> {
    name: String,
    shape: Vec<usize>,
    weights: Weights<'a>,
}

#[derive(Clone, Copy)]
enum Weights<'a> {
    Vector(&'a [f32]),
    Matrix(&'a Matrix),
}

fn vector(name: String, weights: &[f32]) -> Named<'_> {
    Named { name, shape: vec![weights.len()], weights: Weights::Vector(weights) }
}

fn matrix(name: String, weights: &Matrix) -> Named<'_> {
    Named { name, shape: vec![weights.rows(), weights.columns()], weights: Weights::Matrix(weights) }
}

fn named(model: &Model) -> Vec<Named<'_>> {
    let mut all = vec![matrix("model.embed_tokens.weight".into(), &model.embedding)];
    for (i, layer) in model.layers.iter().enumerate() {
        let name = |part: &str| format!("model.layers.{i}.{part}.weight");
        all.push(vector(name("input_layernorm"), &layer.attention_norm));
        all.push(vector(name("post_attention_layernorm"), &layer.mlp_norm));
        let parts = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
        let parts = parts.into_iter().chain(["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]);
        all.extend(parts.zip(layer.matrices()).map(|(part, m)| matrix(name(part), m)));
    }
    all.push(vector("model.norm.weight".into(), &model.norm));
    all.extend(model.head.as_ref().map(|head| matrix("lm_head.weight".into(), head)));
    all
}

/// Writes a folder with `config.json`, `model.safetensors` (f32) and the tokenizer's files. MLPs of different widths are padded
/// with zeros to the widest, because the architecture knows one width.
///
/// # Errors
/// A folder that has something in it, a model without layers, and what the system says; nothing is there then.
pub fn hugging_face(model: &Model, tokenizer: &Tokenizer, folder: &Path) -> Result<(), LlmError> {
    some_layer(model)?;
    tokenizer.check(model.config())?;
    if fs::read_dir(folder).is_ok_and(|mut inside| inside.next().is_some()) || folder.is_file() {
        return Err(LlmError::content(
            folder,
            "is there already; name a folder that is not there, or is empty",
        ));
    }
    let padded = model.padded()?;
    let told = |source| LlmError::File { path: folder.into(), source };
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(told)?;
    let aside = tempfile::Builder::new().prefix(".srnas-").tempdir_in(parent).map_err(told)?;
    fill(&padded, tokenizer, aside.path()).map_err(told)?;
    fs::set_permissions(aside.path(), fs::Permissions::from_mode(0o755)).map_err(told)?;
    fs::rename(aside.path(), folder).map_err(told)?;
    // It has its name now, and nothing is to be removed.
    let _ = aside.keep();
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(told)
}

fn fill(model: &Model, tokenizer: &Tokenizer, folder: &Path) -> io::Result<()> {
    let config = serde_json::to_vec_pretty(&model.config().to_json())?;
    write_whole(&folder.join("config.json"), &config)?;
    for (name, bytes) in &tokenizer.files {
        write_whole(&folder.join(name), bytes)?;
    }
    let tensors = named(model).into_iter().map(|tensor| (tensor.name.clone(), tensor));
    let path = folder.join("model.safetensors");
    let format = [("format".to_string(), "pt".to_string())].into();
    safetensors::serialize_to_file(tensors, Some(format), &path).map_err(io::Error::other)?;
    // The library lets nobody else read it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    File::open(&path)?.sync_all()
}

impl View for Named<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let weights = match self.weights {
            Weights::Vector(weights) => Cow::Borrowed(weights),
            Weights::Matrix(m) => m.to_f32(),
        };
        Cow::Owned(weights.iter().flat_map(|w| w.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        4 * self.shape.iter().product::<usize>()
    }
}

/// How a GGUF file states MLPs of different widths.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Uneven {
    /// By the architecture `deci`, which has a width for each layer.
    #[default]
    Listed,
    /// By zeros up to the widest, as the architecture `llama`, which more programs load.
    Padded,
}

/// Writes a GGUF file, with the tokenizer inside: architecture `llama` where all MLPs have one width.
///
/// # Errors
/// A model without layers, a tokenizer that GGUF has no words for, and what the system says; what was there is
/// untouched then.
pub fn gguf(model: &Model, tokenizer: &Tokenizer, path: &Path, uneven: Uneven) -> Result<(), LlmError> {
    some_layer(model)?;
    tokenizer.check(model.config())?;
    let padded;
    let model = match uneven {
        Uneven::Listed => model,
        Uneven::Padded => {
            padded = model.padded()?;
            &padded
        }
    };
    let metadata = metadata(model, tokenizer)?;
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let mut tensors: Vec<(String, QTensor)> = Vec::new();
    let config = model.config();
    for Named { name, shape, weights } in named(model) {
        let heads = match &name {
            n if n.ends_with("q_proj.weight") => Some(config.heads),
            n if n.ends_with("k_proj.weight") => Some(config.kv_heads),
            _ => None,
        };
        let tensor = match (weights, heads) {
            (Weights::Vector(weights), _) => ggml_f32(weights, &shape)?,
            (Weights::Matrix(m), None) => m.to_ggml()?,
            (Weights::Matrix(m), Some(heads)) => m.rows_of(&neighbours(heads, config.head_dim)).to_ggml()?,
        };
        tensors.push((gguf_name(&name), tensor));
    }
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
    write_whole_by(path, |file| {
        let mut file = BufWriter::new(file);
        gguf_file::write(&mut file, &metadata, &tensors).map_err(io::Error::other)?;
        file.flush()
    })
    .map_err(|source| LlmError::File { path: path.into(), source })
}

fn metadata(model: &Model, tokenizer: &Tokenizer) -> Result<Vec<(String, Value)>, LlmError> {
    let config = model.config();
    let widths = &config.widths;
    let number = |n: usize| Value::U32(n as u32);
    let arch = if widths.iter().all(|w| *w == widths[0]) { "llama" } else { "deci" };
    let mut all = vec![("general.architecture".to_string(), Value::String(arch.into()))];
    let mut put = |key: &str, value: Value| all.push((key.into(), value));
    // deci states each layer's sizes in lists.
    let each = |of: &dyn Fn(usize) -> usize| match arch {
        "llama" => number(of(0)),
        _ => Value::Array((0..widths.len()).map(|i| number(of(i))).collect()),
    };
    put("general.name", Value::String("srnas sub-network".into()));
    let own = |key: &str| format!("{arch}.{key}");
    put(&own("vocab_size"), number(config.vocabulary));
    put(&own("context_length"), number(config.context));
    put(&own("embedding_length"), number(config.dim));
    put(&own("block_count"), number(widths.len()));
    put(&own("feed_forward_length"), each(&|i| widths[i]));
    put(&own("attention.head_count"), each(&|_| config.heads));
    put(&own("attention.head_count_kv"), each(&|_| config.kv_heads));
    put(&own("attention.key_length"), number(config.head_dim));
    put(&own("attention.value_length"), number(config.head_dim));
    put(&own("rope.dimension_count"), number(config.head_dim));
    put(&own("rope.freq_base"), Value::F32(config.rope_theta));
    put(&own("attention.layer_norm_rms_epsilon"), Value::F32(config.norm_epsilon));
    tokens(tokenizer, config, &mut all)?;
    Ok(all)
}

/// What a GGUF file has of its tokenizer.
fn tokens(tokenizer: &Tokenizer, config: &Config, all: &mut Vec<(String, Value)>) -> Result<(), LlmError> {
    let mut put = |key: &str, value: Value| all.push((format!("tokenizer.ggml.{key}"), value));
    let strings = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::String).collect());
    let kinds =
        |kinds: Vec<Kind>| Value::Array(kinds.into_iter().map(|kind| Value::I32(kind as i32)).collect());
    let (ends, prefix) = match tokenizer.vocabulary(config)? {
        Vocabulary::Pieces(pieces) => {
            let all = pieces.pieces();
            // A model may have more tokens than its tokenizer.
            let more = config.vocabulary.saturating_sub(all.len());
            let padded = |i: usize| all.get(i).cloned().unwrap_or_else(|| Piece::unused(i));
            let all: Vec<Piece> = (0..all.len() + more).map(padded).collect();
            put("model", Value::String("llama".into()));
            put("tokens", strings(all.iter().map(|p| p.text.clone()).collect()));
            put("scores", Value::Array(all.iter().map(|p| Value::F32(p.score)).collect()));
            put("token_type", kinds(all.iter().map(|p| p.kind).collect()));
            put("unknown_token_id", Value::U32(pieces.unknown()));
            ((Some(pieces.bos), Some(pieces.eos)), pieces.prefix)
        }
        Vocabulary::Merges(mut merges) => {
            let unused = (merges.tokens.len()..config.vocabulary).map(Piece::unused);
            merges.tokens.extend(unused.map(|piece| (piece.text, piece.kind)));
            let (texts, of): (Vec<_>, Vec<_>) = merges.tokens.into_iter().unzip();
            put("model", Value::String("gpt2".into()));
            put("pre", Value::String(merges.split.into()));
            put("tokens", strings(texts));
            put("token_type", kinds(of));
            put("merges", strings(merges.merges));
            ((config.bos, config.eos.first().copied()), false)
        }
    };
    for (key, id) in [("bos_token_id", ends.0), ("eos_token_id", ends.1)] {
        id.into_iter().for_each(|id| put(key, Value::U32(id)));
    }
    put("add_bos_token", Value::Bool(tokenizer.begins(config)));
    put("add_eos_token", Value::Bool(false));
    put("add_space_prefix", Value::Bool(prefix));
    Ok(())
}

fn some_layer(model: &Model) -> Result<(), LlmError> {
    if model.layers.is_empty() {
        return Err(LlmError::Asked(
            "a model without layers is none that other programs load: keep one".into(),
        ));
    }
    Ok(())
}
