//! Language models of the LLaMA family: read as they are published ([`weights`], [`tokenizer`]), run ([`model`],
//! [`generate`]), trained ([`training`]), cut to a sub-network ([`subnetwork`], [`space`]), measured ([`evaluate`], [`questions`],
//! [`oracle`]) and written so
//! that other programs load them ([`export`]).

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod blocks;
pub mod built_in;
pub mod config;
mod error;
pub mod evaluate;
pub mod export;
pub mod generate;
pub mod matrix;
mod memory;
pub mod model;
pub mod oracle;
pub mod picks;
pub mod questions;
mod slices;
pub mod space;
pub mod subnetwork;
pub mod tokenizer;
pub mod training;
pub mod weights;

pub use error::{LlmError, read_text};
