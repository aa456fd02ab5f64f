//! Weights that all architectures of a space share, trained once: what an architecture is worth on them is known in milliseconds, and is a
//! guess of what it is worth trained alone.
//!
//! As ENAS shares them (Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", arXiv 1802.03268), trained as in single-path
//! one-shot search (Guo et al., arXiv 1904.00420): each batch trains one architecture drawn at random, and before one is asked, its
//! normalisations are set to the moments of some training images, for the running averages of all paths together are those of none. What
//! architectures share is what has the same name and shape in their networks: of NAS-Bench-201 cells the stem, the reductions, the classifier,
//! and of each edge of each cell one convolution of each size.

mod file;
mod oracle;

pub use file::SharedFileError;
pub use oracle::{METRIC_ACCURACY, SharedOracle};

use candle_core::Var;
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use srnas_network::ops::{copied, tensor};
use srnas_space::SearchSpace;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Network, Recipe, Score, TrainingError,
    data::{Batch, ImageSet, Split},
    fit::{Adversarial, augmented},
    ops::{BLOCK, Moments},
    sgd::Sgd,
};

/// Weights in training are written down at the end of an epoch when so much time has passed.
const SAVE_AFTER: Duration = Duration::from_secs(2);

/// How shared weights are trained and asked; batches, rates and augmentations are those of the [`Recipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SharedSettings {
    /// Passes over the training images, of all architectures together.
    pub epochs: usize,
    /// Training images to whose moments the normalisations of an architecture are set before it is asked; a multiple of [`BLOCK`].
    pub calibration: usize,
    /// Validation images that an architecture is asked for, drawn once; 0 for all.
    pub images: usize,
    /// Seed of everything random in them.
    pub seed: u64,
}

impl Default for SharedSettings {
    fn default() -> Self {
        Self { epochs: 600, calibration: 256, images: 0, seed: 0 }
    }
}

impl SharedSettings {
    /// Checks that they can be followed on a data set.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self, data: &ImageSet) -> Result<(), String> {
        if self.epochs == 0 {
            return Err("shared.epochs must be at least 1".into());
        }
        let (train, validation) = (data.train.len(), data.validation.len());
        if self.calibration == 0 || !self.calibration.is_multiple_of(BLOCK) || self.calibration > train {
            return Err(format!(
                "shared.calibration must be a multiple of {BLOCK} and at most the {train} training images, and is {}",
                self.calibration
            ));
        }
        match self.images > validation {
            true => {
                Err(format!("shared.images is {}, more than the {validation} validation images", self.images))
            }
            false => Ok(()),
        }
    }
}

/// What a parameter is called and its shape: equal in two networks where they share it.
type Name = (String, Vec<usize>);

/// A parameter, and the velocity with which it was moving.
#[derive(Clone, Debug, PartialEq)]
struct Shared {
    values: Vec<f32>,
    velocity: Vec<f32>,
}

/// Where their training is.
#[derive(Clone, Debug, PartialEq)]
struct Progress {
    epochs: usize,
    rng: ChaCha8Rng,
    /// The images in the order of the last epoch, which the next one shuffles.
    order: Vec<usize>,
}

/// What an architecture is worth on shared weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OnSharedWeights {
    /// On the validation images that are asked for.
    pub score: Score,
    /// Weights of its network alone.
    pub parameters: usize,
    /// Multiply-adds of its network for one image.
    pub multiply_adds: u64,
}

/// The weights of all architectures of a space.
pub struct SharedWeights {
    space: Arc<SearchSpace>,
    data: Arc<ImageSet>,
    recipe: Recipe,
    settings: SharedSettings,
    pixels: Moments,
    calibration: Batch,
    asked: Split,
    identity: serde_json::Value,
    shared: BTreeMap<Name, Shared>,
    progress: Progress,
}

impl SharedWeights {
    /// Before the first step. A parameter is drawn when the first architecture that has it is.
    ///
    /// # Errors
    /// Spaces without networks; recipes and settings that cannot be followed.
    pub fn new(
        space: Arc<SearchSpace>,
        data: Arc<ImageSet>,
        recipe: Recipe,
        settings: SharedSettings,
    ) -> Result<Self, String> {
        if !super::model::can_build(&space) {
            return Err(format!(
                "architectures of {} share no weights; {}",
                space.name(),
                super::model::BUILT
            ));
        }
        recipe.check(&data)?;
        // Every architecture is drawn now and then.
        super::model::wide::all_can_be_built(&space, data.shape, recipe.scale)?;
        if let Some(Adversarial::Free { .. }) = recipe.adversarial {
            return Err("free adversarial training carries what was added to images from batch to batch, and shared weights train \
                        another network with each: use pgd, trades or fast"
                .into());
        }
        settings.check(&data)?;
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        let (mean, variance) = data.moments();
        let mut drawn = |of: usize, count: usize| {
            let mut all: Vec<usize> = (0..of).collect();
            all.shuffle(&mut rng);
            all.truncate(count);
            all
        };
        let (calibration, validation) =
            (drawn(data.train.len(), settings.calibration), data.validation.len());
        let asked = match settings.images {
            0 => data.validation.clone(),
            count => data.some(&data.validation, &drawn(validation, count)),
        };
        let calibration = augmented(&data, &calibration, &recipe, &mut rng);
        let order = (0..data.train.len()).collect();
        let identity = identity(&space, &data, &recipe, &settings);
        Ok(Self {
            identity,
            pixels: Moments { mean, variance },
            progress: Progress { epochs: 0, rng, order },
            shared: BTreeMap::new(),
            space,
            data,
            recipe,
            settings,
            calibration,
            asked,
        })
    }

    /// Everything that they depend on.
    pub fn identity(&self) -> &serde_json::Value {
        &self.identity
    }

    /// Trains them to the end, from where a file left them if it is there, and leaves them in it now and then; `after` hears of each epoch.
    /// What is trained in parts is what is trained at once.
    ///
    /// # Errors
    /// A file of other weights or that cannot be written; a loss that is no number any more; a wish to stop: the file holds the end of an
    /// epoch, from which is gone on.
    pub fn train(
        &mut self,
        path: &Path,
        stop: &AtomicBool,
        after: &mut dyn FnMut(usize),
    ) -> Result<(), SharedFileError> {
        if path.exists() {
            self.load(path)?;
        }
        let Recipe { batch, .. } = self.recipe;
        let per_epoch = self.data.train.len() / batch;
        let (epochs, mut saved) = (self.settings.epochs, Instant::now());
        let mut choices = vec![0; self.space.len()];
        while self.progress.epochs < epochs {
            if stop.load(Ordering::Relaxed) {
                self.save(path)?;
                return Err(TrainingError::Stopped.into());
            }
            let Progress { epochs: done, mut rng, mut order } = self.progress.clone();
            order.shuffle(&mut rng);
            for (step, indices) in order.chunks_exact(batch).enumerate() {
                // In the middle of an epoch there is nothing to go on from but what was written last.
                if stop.load(Ordering::Relaxed) {
                    return Err(TrainingError::Stopped.into());
                }
                let share = (done * per_epoch + step) as f64 / (epochs * per_epoch) as f64;
                self.space.sample(&mut rng, &mut choices);
                let loss = self.step(&choices, indices, self.recipe.rate(share), &mut rng)?;
                if !loss.is_finite() {
                    return Err(TrainingError::Diverged { epoch: done + 1, epochs }.into());
                }
            }
            self.progress = Progress { epochs: done + 1, rng, order };
            if saved.elapsed() >= SAVE_AFTER || self.progress.epochs == epochs {
                self.save(path)?;
                saved = Instant::now();
            }
            after(self.progress.epochs);
        }
        Ok(())
    }

    /// The network of an architecture on its shared weights.
    fn network(&self, choices: &[u8], rng: &mut ChaCha8Rng) -> Result<Network, TrainingError> {
        let network = Network::over(
            &self.space,
            choices,
            self.data.shape,
            self.pixels.clone(),
            self.recipe.scale,
            rng,
        )?;
        for (name, parameter) in network.parameters() {
            if let Some(shared) = self.shared.get(&name_of(name, parameter)) {
                parameter.set(&tensor(shared.values.clone(), parameter.shape())?)?;
            }
        }
        Ok(network)
    }

    /// Trains one architecture with one batch.
    fn step(
        &mut self,
        choices: &[u8],
        indices: &[usize],
        rate: f32,
        rng: &mut ChaCha8Rng,
    ) -> Result<f32, TrainingError> {
        let mut network = self.network(choices, rng)?;
        let mut sgd = Sgd::new(self.recipe.momentum, self.recipe.weight_decay, network.parameters());
        for ((name, parameter), velocity) in network.parameters().iter().zip(sgd.velocities_mut()) {
            if let Some(shared) = self.shared.get(&name_of(name, parameter)) {
                velocity.copy_from_slice(&shared.velocity);
            }
        }
        let loss = network.step(&self.data, indices, &self.recipe, rate, &mut sgd, rng)?;
        for ((name, parameter), velocity) in network.parameters().iter().zip(sgd.velocities()) {
            let shared = Shared { values: copied(parameter)?, velocity: velocity.clone() };
            self.shared.insert(name_of(name, parameter), shared);
        }
        Ok(loss)
    }

    /// What an architecture is worth on them. Equal questions have equal answers.
    ///
    /// # Errors
    /// A network that fails.
    pub fn ask(&self, choices: &[u8]) -> Result<OnSharedWeights, TrainingError> {
        let mut network = self.network(choices, &mut ChaCha8Rng::seed_from_u64(self.settings.seed))?;
        let pixels = network.tensor(&self.calibration)?;
        network.calibrate(&pixels)?;
        let score = network.score(&self.data, &self.asked, |_, _| {})?;
        Ok(OnSharedWeights {
            score,
            parameters: network.parameter_count(),
            multiply_adds: network.multiply_adds(),
        })
    }
}

fn name_of(name: &str, parameter: &Var) -> Name {
    (name.into(), parameter.dims().to_vec())
}

fn identity(
    space: &SearchSpace,
    data: &ImageSet,
    recipe: &Recipe,
    settings: &SharedSettings,
) -> serde_json::Value {
    let Recipe { scale, batch, learning_rate, momentum, weight_decay, augmentations, adversarial, .. } =
        recipe;
    serde_json::json!({
        "space": space.name(), "data": data.name, "sha256": data.sha256(), "scale": scale, "batch": batch,
        "learning_rate": learning_rate, "momentum": momentum, "weight_decay": weight_decay,
        "augmentations": augmentations, "adversarial": adversarial, "epochs": settings.epochs,
        "calibration": settings.calibration, "seed": settings.seed,
    })
}

#[cfg(test)]
mod tests;
