//! Shared weights in a file, also half trained.

use super::{Progress, Shared, SharedWeights};
use crate::training::TrainingError;
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use srnas_basics::files::write_whole;
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::Path,
};

/// The metadata entry that makes a safetensors file one of shared weights.
const METADATA_KEY: &str = "srnas.shared-weights";
/// What stands between a parameter's name and its shape.
const SHAPE: char = '@';

/// Why there are no shared weights.
#[derive(Debug, thiserror::Error)]
pub enum SharedFileError {
    /// The training did not come to its end.
    #[error("the shared weights: {0}")]
    Training(#[from] TrainingError),
    /// The file holds something else.
    #[error(
        "{path} holds other shared weights (`{key}` differs: {there} there, {here} here); name another file, or remove it"
    )]
    Other {
        /// The file.
        path: String,
        /// What differs.
        key: String,
        /// What the file says.
        there: String,
        /// What was asked for.
        here: String,
    },
    /// The file cannot be read as shared weights.
    #[error("{path} holds no shared weights that can be read: {reason}; name another file, or remove it")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}")]
    Unwritable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl From<candle_core::Error> for SharedFileError {
    fn from(error: candle_core::Error) -> Self {
        Self::Training(error.into())
    }
}

/// What is no weight.
#[derive(Serialize, Deserialize)]
struct Header {
    identity: serde_json::Value,
    epochs: usize,
    rng: ChaCha8Rng,
    order: Vec<usize>,
}

impl SharedWeights {
    /// Refuses a file of other weights; one that is not there is fine.
    ///
    /// # Errors
    /// As [`Self::train`].
    pub fn check_file(&self, path: &Path) -> Result<(), SharedFileError> {
        if !path.exists() {
            return Ok(());
        }
        let (header, _) = self.read(path)?;
        self.check_header(path, &header)
    }

    fn check_header(&self, path: &Path, header: &Header) -> Result<(), SharedFileError> {
        let here = self.identity();
        let keys = here.as_object().into_iter().flatten().map(|(key, _)| key);
        let other = keys.into_iter().find(|key| header.identity.get(key.as_str()) != here.get(key.as_str()));
        match other {
            None => Ok(()),
            Some(key) => Err(SharedFileError::Other {
                path: path.display().to_string(),
                key: key.clone(),
                there: header.identity.get(key).map_or("nothing".into(), ToString::to_string),
                here: here[key].to_string(),
            }),
        }
    }

    fn read(&self, path: &Path) -> Result<(Header, Vec<u8>), SharedFileError> {
        let damaged = |reason: String| SharedFileError::Damaged { path: path.display().to_string(), reason };
        let bytes = std::fs::read(path).map_err(|e| damaged(e.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
        let header = metadata.metadata().as_ref().and_then(|m| m.get(METADATA_KEY));
        let header = header.ok_or_else(|| damaged("it is another file".into()))?;
        let header: Header = serde_json::from_str(header).map_err(|e| damaged(e.to_string()))?;
        Ok((header, bytes))
    }

    /// Brings weights that were just made to where a file left them.
    pub(super) fn load(&mut self, path: &Path) -> Result<(), SharedFileError> {
        let damaged = |reason: &str| SharedFileError::Damaged {
            path: path.display().to_string(),
            reason: reason.into(),
        };
        let (header, bytes) = self.read(path)?;
        self.check_header(path, &header)?;
        let images = self.data.train.len();
        let mut seen = vec![false; images];
        header.order.iter().filter(|&&i| i < images).for_each(|&i| seen[i] = true);
        if header.order.len() != images || !seen.iter().all(|seen| *seen) {
            return Err(damaged("its order is not one of the images"));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e.to_string()))?;
        let floats = |name: &str| -> Result<(Vec<usize>, Vec<f32>), SharedFileError> {
            let tensor = tensors.tensor(name).map_err(|e| damaged(&e.to_string()))?;
            let (words, _) = tensor.data().as_chunks::<4>();
            match tensor.dtype() == Dtype::F32 && words.len() == tensor.shape().iter().product::<usize>() {
                true => Ok((tensor.shape().to_vec(), words.iter().map(|w| f32::from_le_bytes(*w)).collect())),
                false => Err(damaged(&format!("its `{name}` is no tensor of f32"))),
            }
        };
        let mut shared = BTreeMap::new();
        for name in tensors.names() {
            let Some(parameter) = name.strip_prefix("weight.") else { continue };
            let (shape, values) = floats(name)?;
            let (same, velocity) = floats(&format!("velocity.{parameter}"))?;
            let Some((parameter, _)) = parameter.rsplit_once(SHAPE).filter(|_| same == shape) else {
                return Err(damaged(&format!("its `{name}` has no shape, or a velocity of another")));
            };
            shared.insert((parameter.to_string(), shape), Shared { values, velocity });
        }
        self.shared = shared;
        self.progress = Progress { epochs: header.epochs, rng: header.rng, order: header.order };
        Ok(())
    }

    /// Writes them as they are; the file is whole or not there.
    pub(super) fn save(&self, path: &Path) -> Result<(), SharedFileError> {
        let unwritable = |source| SharedFileError::Unwritable { path: path.display().to_string(), source };
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let tensors = self.shared.iter().flat_map(|((name, shape), shared)| {
            let dims = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
            let named = |what: &str| format!("{what}.{name}{SHAPE}{dims}");
            [
                (named("weight"), shape.clone(), bytes(&shared.values)),
                (named("velocity"), shape.clone(), bytes(&shared.velocity)),
            ]
        });
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = tensors.collect();
        let Progress { epochs, rng, order } = self.progress.clone();
        let header = Header { identity: self.identity().clone(), epochs, rng, order };
        let header = serde_json::to_string(&header).map_err(|e| unwritable(e.into()))?;
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            Ok((name.as_str(), view.map_err(io::Error::other)?))
        });
        let views = views.collect::<io::Result<Vec<_>>>().map_err(unwritable)?;
        let metadata = HashMap::from([(METADATA_KEY.to_string(), header)]);
        let whole = safetensors::serialize(views, Some(metadata)).map_err(io::Error::other);
        whole.and_then(|bytes| write_whole(path, &bytes)).map_err(unwritable)
    }
}
