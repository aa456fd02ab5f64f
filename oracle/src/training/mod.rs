//! The oracle that trains: from an architecture and a data set to what the trained network is good for.
//!
//! [`data`] has the images, [`model`] makes a network of an architecture, [`Network`] trains it and asks it, and
//! [`measure`] puts these together into one measurement. [`ops`] is the hot path.

pub mod attack;
pub mod corruption;
pub mod data;
mod fit;
pub mod measure;
pub mod model;
pub mod ops;
mod oracle;
mod sgd;

pub use fit::{Adversarial, Network, Recipe, Score};
pub use oracle::TrainingOracle;

/// Why a training gives no measurement.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The loss is not a number any more.
    #[error("the training diverged in epoch {epoch} of {epochs}: its loss is not a number any more")]
    Diverged {
        /// When, counted from 1.
        epoch: usize,
        /// Of how many.
        epochs: usize,
    },
    /// Somebody asked to stop.
    #[error("the training was stopped")]
    Stopped,
    /// There is not one batch.
    #[error("{images} training images do not make one batch of {batch}")]
    TooFewImages {
        /// How many there are.
        images: usize,
        /// How many a batch takes.
        batch: usize,
    },
    /// The network could not be built or run.
    #[error("the network failed: {0}")]
    Network(#[from] candle_core::Error),
}
