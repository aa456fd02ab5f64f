//! Folders as Hugging Face publishes them: `config.json`, and one safetensors file or several with an index.

use super::{Source, assemble, foresee_memory};
use crate::{LlmError, config::Config, error::read, matrix::Matrix, model::Model};
use half::{bf16, f16};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

const INDEX: &str = "model.safetensors.index.json";

pub fn load(folder: &Path) -> Result<Model, LlmError> {
    let path = folder.join("config.json");
    let text = String::from_utf8(read(&path)?).map_err(|_| LlmError::content(&path, "is no UTF-8"))?;
    let config = Config::from_json(&text).map_err(|reason| LlmError::content(&path, reason))?;
    foresee_memory(folder, 4 * config.parameters() as u64)?;
    assemble(config, &mut Folder::open(folder)?)
}

struct Folder {
    folder: PathBuf,
    shards: Vec<Shard>,
    /// In which shard each tensor is.
    places: HashMap<String, usize>,
}

struct Shard {
    path: PathBuf,
    file: File,
    /// Where its tensors begin.
    start: u64,
    metadata: Metadata,
}

#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Folder {
    fn open(folder: &Path) -> Result<Self, LlmError> {
        let index = folder.join(INDEX);
        let mut files = vec!["model.safetensors".to_string()];
        if index.exists() {
            let index: Index = serde_json::from_slice(&read(&index)?)
                .map_err(|e| LlmError::content(&index, format!("is no index of shards: {e}")))?;
            files = index.weight_map.into_values().collect();
            files.sort();
            files.dedup();
        }
        let mut found = Self { folder: folder.into(), shards: Vec::new(), places: HashMap::new() };
        for name in files {
            // The index may not lead out of the folder.
            if Path::new(&name).components().count() != 1 {
                return Err(LlmError::content(&index, format!("`{name}` is no name of a shard")));
            }
            let shard = Shard::open(&folder.join(name))?;
            for tensor in shard.metadata.tensors().keys() {
                found.places.insert(tensor.clone(), found.shards.len());
            }
            found.shards.push(shard);
        }
        Ok(found)
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LlmError> {
        let Some(&shard) = self.places.get(name) else {
            return Err(LlmError::content(&self.folder, format!("there is no tensor `{name}`")));
        };
        let Shard { path, file, start, metadata } = &mut self.shards[shard];
        let TensorInfo { dtype, shape: has, data_offsets } =
            metadata.info(name).expect("it is in this shard");
        if has != shape {
            return Err(LlmError::content(
                path,
                format!("tensor `{name}` has shape {has:?}; config.json asks for {shape:?}"),
            ));
        }
        if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(LlmError::content(
                path,
                format!("tensor `{name}` has type {dtype:?}; F32, F16 and BF16 are read"),
            ));
        }
        let size = shape.iter().product::<usize>() * if *dtype == Dtype::F32 { 4 } else { 2 };
        if data_offsets.0.checked_add(size) != Some(data_offsets.1) {
            return Err(LlmError::content(
                path,
                format!("tensor `{name}` does not have the bytes of its shape"),
            ));
        }
        let mut bytes = vec![0; size];
        file.seek(SeekFrom::Start(*start + data_offsets.0 as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| LlmError::File { path: path.clone(), source })?;
        Ok(match dtype {
            Dtype::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            _ => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        })
    }
}

/// A header longer than this is none: it lists names and shapes.
const LONGEST_HEADER: u64 = 100_000_000;

impl Shard {
    fn open(path: &Path) -> Result<Self, LlmError> {
        let told = |source| LlmError::File { path: path.into(), source };
        let wrong = |reason: String| LlmError::content(path, reason);
        let mut file = File::open(path).map_err(told)?;
        let size = file.metadata().map_err(told)?.len();
        let length = u64::from_le_bytes(crate::error::read_start(path)?);
        if size < 8 || length > LONGEST_HEADER.min(size - 8) {
            return Err(wrong("is no safetensors file: its header is longer than the file".into()));
        }
        file.seek(SeekFrom::Start(8)).map_err(told)?;
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(told)?;
        // Not the library's reader, which wants the whole file in memory.
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|e| wrong(format!("is no safetensors file: its header is not one ({e})")))?;
        let (start, end) =
            (8 + length, metadata.tensors().values().map(|t| t.data_offsets.1).max().unwrap_or(0));
        if size != start + end as u64 {
            return Err(wrong(format!("has {size} bytes where its header promises {}", start + end as u64)));
        }
        Ok(Self { path: path.into(), file, start, metadata })
    }
}

impl Source for Folder {
    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LlmError> {
        self.tensor(name, &[len])
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, LlmError> {
        Matrix::dense(rows, columns, self.tensor(name, &[rows, columns])?)
    }

    fn interleaved(&self) -> bool {
        false
    }
}
