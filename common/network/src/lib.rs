//! The networks: a scorer of candidates ([`QNetwork`]), an estimator of metrics ([`PredictorNetwork`]) and an agent that compresses
//! networks ([`Agent`]), with what trains them ([`Adam`], [`Gradients`]) and what acts in their place ([`AveragedWeights`]).
//!
//! Each network has two forms. The *online* form holds candle variables and records what gradients need; the
//! *frozen* form is a real copy of the weights (a view would follow the variables) that is cheap to clone and
//! free to share between threads.
//!
//! Everything here runs on the thread that asks for it. Parallelism is across observations, which wins over
//! splitting products this small and leaves the number of threads to the caller. candle itself would bring in
//! threads in two places, both kept out of the way: its matrix product (see `ops::product`) and the sums of
//! gradients of 65,536 values and more (see [`ObservationBatch::blocks`]).

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod adam;
mod agent;
mod average;
mod baseline;
mod config;
pub mod lstm;
mod observation;
pub mod ops;
mod predictor;
mod qnetwork;
mod transformer;
mod weights;

pub use adam::{Adam, AdamConfig, Gradients, StepSize};
pub use agent::{Agent, AgentConfig, Choice};
pub use average::AveragedWeights;
pub use baseline::Baseline;
pub use config::{IdentityConfig, QNetworkConfig};
pub use observation::{ObservationBatch, PackedBatch};
pub use ops::huber::huber;
pub use predictor::{FrozenPredictor, PredictorConfig, PredictorNetwork};
pub use qnetwork::{FrozenQNetwork, QNetwork};
pub use weights::Named;

/// What a network refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration that describes no network.
    #[error("network configuration: {0}")]
    Config(String),
    /// Observations or inputs whose sizes or contents do not fit the network.
    #[error("network input: {0}")]
    Input(String),
    /// Saved weights that are not those of this network.
    #[error("weights: {0}")]
    Weights(String),
    /// candle failed.
    #[error("tensor operation: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// The result of a network operation.
pub type Result<T> = std::result::Result<T, Error>;
