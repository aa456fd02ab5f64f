//! The trainings of a search that others may inherit from: each in two files of a folder, its weights and what is known of it.

use super::edits::{Edit, edits};
use crate::training::{Network, Recipe, checkpoint, data::ImageSet, fit::Fit};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use srnas_basics::files::write_whole;
use srnas_space::SearchSpace;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What is known of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The architecture as the space writes it, for a person.
    pub architecture: String,
    /// Its choices.
    pub choices: Vec<u8>,
    /// Of its training alone, without those of what it inherited from.
    pub epochs: usize,
    /// What it inherited from, in choices; none where it was trained from the beginning.
    pub from: Option<Vec<u8>>,
    /// Cross-entropy of the validation images.
    pub loss: f64,
}

/// The folder of trainings.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: PathBuf,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.folder.display().fmt(f)
    }
}

impl Kept {
    /// In this folder, which is made.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn new(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    fn weights(&self, choices: &[u8]) -> PathBuf {
        let name: String = choices.iter().map(|choice| format!("{choice:02x}")).collect();
        self.folder.join(format!("inherit-{name}.safetensors"))
    }

    /// Keeps a training; the second file comes last, so that where it is the first is whole.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn keep(
        &self,
        trained: &Trained,
        network: &mut Network,
        fit: &Fit,
        rng: &ChaCha8Rng,
    ) -> io::Result<()> {
        let path = self.weights(&trained.choices);
        checkpoint::save(&path, network, fit, rng)?;
        write_whole(&path.with_extension("json"), &serde_json::to_vec(trained)?)
    }

    /// All that are known, in the order of their names.
    fn all(&self) -> io::Result<Vec<Trained>> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        paths.sort();
        let ours = |path: &&PathBuf| path.extension().is_some_and(|e| e == "json");
        let read = |path: &PathBuf| -> Option<Trained> {
            let read = fs::read(path).map_err(|e| e.to_string());
            let trained = read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| e.to_string()));
            trained.map_err(|error| tracing::warn!("{} is left out: {error}", path.display())).ok()
        };
        Ok(paths.iter().filter(ours).filter_map(read).collect())
    }

    /// Whom an architecture inherits from: the nearest that edits lead from, the one with the lowest loss among equals; its trained network
    /// comes with it. Never the architecture itself, that a training which is made again be the same.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn parent(
        &self,
        space: &SearchSpace,
        data: &ImageSet,
        recipe: &Recipe,
        child: &[u8],
    ) -> io::Result<Option<(Trained, usize, Network)>> {
        let mut near: Vec<(usize, Trained)> = self
            .all()?
            .into_iter()
            .filter_map(|trained| {
                let edits = edits(space, data.shape, recipe.scale, &trained.choices, child).ok()?;
                let steps: usize = edits.iter().map(Edit::steps).sum();
                (steps > 0).then_some((steps, trained))
            })
            .collect();
        near.sort_by(|(steps, a), (others, b)| steps.cmp(others).then(a.loss.total_cmp(&b.loss)));
        for (steps, trained) in near {
            let path = self.weights(&trained.choices);
            match load(&path, space, data, recipe, &trained.choices) {
                Ok(network) => return Ok(Some((trained, steps, network))),
                Err(error) => {
                    tracing::warn!("{} cannot be read, and nothing inherits from it: {error}", path.display())
                }
            }
        }
        Ok(None)
    }
}

fn load(
    path: &Path,
    space: &SearchSpace,
    data: &ImageSet,
    recipe: &Recipe,
    choices: &[u8],
) -> io::Result<Network> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut network = Network::new(space, choices, data, recipe.scale, &mut rng).map_err(io::Error::other)?;
    let mut fit = network.begin(data, recipe);
    checkpoint::load(path, &mut network, &mut fit)?;
    Ok(network)
}
