//! A training that was interrupted: everything that it needs to go on as if it had not been.

use std::{borrow::Cow, collections::HashMap, io, path::Path};

use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use srnas_basics::files::write_whole;
use srnas_network::ops::copied;

use super::fit::{Fit, Network};

/// The metadata entry that makes a safetensors file a checkpoint.
const METADATA_KEY: &str = "srnas.training";

/// What is no tensor.
#[derive(Serialize, Deserialize)]
struct Header {
    epochs: usize,
    rng: ChaCha8Rng,
}

/// A tensor to be written.
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Entry {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

impl Entry {
    fn new(dtype: Dtype, bytes: Vec<u8>) -> Self {
        Self { dtype, shape: vec![bytes.len() / 4], bytes }
    }

    fn floats(values: &[f32]) -> Self {
        Self::new(Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }
}

/// Writes a training as it is now; the file is whole or not there.
///
/// # Errors
/// When it cannot be written.
pub fn save(path: &Path, network: &mut Network, fit: &Fit, rng: &ChaCha8Rng) -> io::Result<()> {
    let mut entries = vec![("order".to_string(), {
        let order = fit.order.iter().flat_map(|&image| (image as u32).to_le_bytes());
        Entry::new(Dtype::U32, order.collect())
    })];
    for ((name, parameter), velocity) in network.parameters().iter().zip(fit.sgd.velocities()) {
        let values = copied(parameter).map_err(io::Error::other)?;
        entries.push((format!("parameter.{name}"), Entry::floats(&values)));
        entries.push((format!("velocity.{name}"), Entry::floats(velocity)));
    }
    let running: Vec<f32> =
        network.running().iter().flat_map(|m| m.mean.iter().chain(&m.variance).copied()).collect();
    entries.push(("running".into(), Entry::floats(&running)));
    let header = Header { epochs: fit.epochs, rng: rng.clone() };
    let metadata = HashMap::from([(METADATA_KEY.to_string(), serde_json::to_string(&header)?)]);
    let named = entries.iter().map(|(name, entry)| (name.as_str(), entry));
    let bytes = safetensors::serialize(named, Some(metadata)).map_err(io::Error::other)?;
    write_whole(path, &bytes)
}

/// Brings a network that was just made of the same architecture to where the training was.
///
/// # Errors
/// A file that is not there, or is none of this architecture's; the network is of no use then.
pub fn load(path: &Path, network: &mut Network, fit: &mut Fit) -> io::Result<ChaCha8Rng> {
    let bytes = std::fs::read(path)?;
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_string());
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(io::Error::other)?;
    let header = metadata.metadata().as_ref().and_then(|m| m.get(METADATA_KEY));
    let header: Header = serde_json::from_str(header.ok_or_else(|| wrong("it is no training"))?)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(io::Error::other)?;
    let words = |name: &str, dtype: Dtype, count: usize| -> io::Result<Vec<[u8; 4]>> {
        let tensor = tensors.tensor(name).map_err(io::Error::other)?;
        let (words, _) = tensor.data().as_chunks::<4>();
        match tensor.dtype() == dtype && words.len() == count {
            true => Ok(words.to_vec()),
            false => Err(wrong(&format!("its `{name}` is of another network"))),
        }
    };
    let floats = |name: &str, count: usize| -> io::Result<Vec<f32>> {
        Ok(words(name, Dtype::F32, count)?.into_iter().map(f32::from_le_bytes).collect())
    };
    let order = words("order", Dtype::U32, fit.order.len())?;
    fit.order = order.into_iter().map(|word| u32::from_le_bytes(word) as usize).collect();
    if fit.order.iter().any(|&image| image >= fit.order.len()) {
        return Err(wrong("it was trained on other images"));
    }
    for ((name, parameter), velocity) in network.parameters().iter().zip(fit.sgd.velocities_mut()) {
        let count = parameter.elem_count();
        let values = floats(&format!("parameter.{name}"), count)?;
        let values = srnas_network::ops::tensor(values, parameter.shape());
        values.and_then(|values| parameter.set(&values)).map_err(io::Error::other)?;
        *velocity = floats(&format!("velocity.{name}"), count)?;
    }
    let mut running = network.running();
    let count = running.iter().map(|m| 2 * m.mean.len()).sum();
    let mut values = floats("running", count)?.into_iter();
    for moments in &mut running {
        for value in moments.mean.iter_mut().chain(&mut moments.variance) {
            *value = values.next().unwrap_or_default();
        }
    }
    fit.epochs = header.epochs;
    Ok(header.rng)
}
