//! Weights that an architecture inherits from a trained one: the network of the child computes what the parent's does, and is trained on.
//!
//! As Net2Net (Chen, Goodfellow and Shlens, arXiv 1511.05641) and the searches by edits: "Efficient Architecture Search by Network
//! Transformation" (Cai et al., arXiv 1707.04873) widens and deepens, "Path-Level Network Transformation" (Cai et al., arXiv 1806.02639) changes
//! paths. [`edits`] knows which architectures can be reached so, [`widening`], [`deepening`] and [`paths`] change the weights.

mod deepening;
mod edits;
mod kept;
mod paths;
mod saved;
mod widening;

pub use edits::{Edit, NoEdit, edits};
pub(super) use kept::{Kept, Trained};
pub use saved::{Saved, pairs, saved};

use candle_core::{Error, Result};
use rand_chacha::ChaCha8Rng;
use srnas_network::ops::{copied, tensor};
use srnas_space::SearchSpace;
use std::collections::BTreeMap;

use super::{Network, Recipe, TrainingError, data::ImageSet, ops::Moments};

/// What the first learning rate of a training that inherits is to that of the recipe: as 0.02 to 0.1, published for EAS.
const RATE: f32 = 0.2;

/// How a training goes on that begins with inherited weights: so many epochs along a cosine of its own.
pub fn inheriting(recipe: &Recipe, epochs: usize) -> Recipe {
    Recipe { epochs, learning_rate: RATE * recipe.learning_rate, ..recipe.clone() }
}

/// The network of a child that computes what its parent's computes, up to rounding; what is new in it is drawn from `rng`.
///
/// # Errors
/// What is not reached by edits, by name; a network that fails.
pub fn inherit(
    space: &SearchSpace,
    data: &ImageSet,
    recipe: &Recipe,
    (parent, trained): (&[u8], &mut Network),
    child: &[u8],
    rng: &mut ChaCha8Rng,
) -> std::result::Result<Network, InheritError> {
    let edits = edits(space, data.shape, recipe.scale, parent, child)?;
    let mut network = Network::new(space, child, data, recipe.scale, rng)?;
    let mut weights = Weights::of(trained)?;
    let fresh = Weights::of(&mut network)?;
    // Widening splits what deepening copies, so that it is first.
    for edit in &edits {
        match edit {
            Edit::Wider { stage, channels, .. } => weights.widen(*stage, *channels, rng)?,
            Edit::Deeper { stage, block } => weights.deepen(&fresh, *stage, *block)?,
            Edit::Larger { edge } => weights.enlarge(edge)?,
            Edit::Path { edge, silent } => weights.add_path(&fresh, edge, *silent)?,
        }
    }
    weights.put(&mut network)?;
    Ok(network)
}

/// Why nothing is inherited.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// No edits lead there.
    #[error(transparent)]
    No(#[from] NoEdit),
    /// A network could not be made or read.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// Its weights do not fit.
    #[error("the weights do not fit: {0}")]
    Network(#[from] Error),
}

/// Numbers and their shape.
#[derive(Clone, Debug, PartialEq)]
struct Array {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Everything that a network has learned, by name.
#[derive(Clone, Debug, PartialEq)]
struct Weights {
    parameters: BTreeMap<String, Array>,
    /// The running averages of each normalisation, by the name of its gain and shift.
    running: BTreeMap<String, Moments>,
}

const AFFINE: &str = ".affine";

impl Weights {
    fn of(network: &mut Network) -> Result<Self> {
        let mut parameters = BTreeMap::new();
        let mut normalisations = Vec::new();
        for (name, parameter) in network.parameters() {
            let array = Array { shape: parameter.dims().to_vec(), values: copied(parameter)? };
            if let Some(layer) = name.strip_suffix(AFFINE) {
                normalisations.push(layer.to_string());
            }
            parameters.insert(name.clone(), array);
        }
        // Cells and basic blocks have both in the same order.
        let running = normalisations.into_iter().zip(network.running().into_iter().map(|m| m.clone()));
        Ok(Self { running: running.collect(), parameters })
    }

    /// Gives a network all of them.
    fn put(mut self, network: &mut Network) -> Result<()> {
        let mut names = Vec::new();
        for (name, parameter) in network.parameters() {
            let array = self.parameters.remove(name).ok_or_else(|| missing(name))?;
            if array.shape != parameter.dims() {
                candle_core::bail!("{name} is {:?} and was made {:?}", parameter.dims(), array.shape);
            }
            parameter.set(&tensor(array.values, parameter.shape())?)?;
            names.extend(name.strip_suffix(AFFINE).map(String::from));
        }
        for (name, moments) in names.iter().zip(network.running()) {
            *moments = self.running.remove(name).ok_or_else(|| missing(name))?;
        }
        match self.parameters.keys().next() {
            None => Ok(()),
            Some(name) => candle_core::bail!("the child has no {name}"),
        }
    }

    fn parameter(&mut self, name: &str) -> Result<&mut Array> {
        self.parameters.get_mut(name).ok_or_else(|| missing(name))
    }

    /// Takes a layer as it is in another network: all that begins with its name.
    fn take(&mut self, from: &Self, layer: &str) {
        let of_layer = |name: &str| {
            name.strip_prefix(layer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        for (name, array) in from.parameters.iter().filter(|(name, _)| of_layer(name)) {
            self.parameters.insert(name.clone(), array.clone());
        }
        for (name, moments) in from.running.iter().filter(|(name, _)| of_layer(name)) {
            self.running.insert(name.clone(), moments.clone());
        }
    }
}

fn missing(name: &str) -> Error {
    Error::Msg(format!("there is no {name}"))
}

#[cfg(test)]
mod tests;
