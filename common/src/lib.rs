//! What actor and learner must agree on: search spaces, tasks, the environment with its two posteriors, the
//! networks, the configuration, the policy file and who may speak. Data flows one way: space → environment → network → wire.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod config;
pub mod environment;
pub mod evaluation;
pub mod files;
pub mod json;
pub mod names;
pub mod network;
pub mod policy;
pub mod posterior;
pub mod security;
pub mod space;
pub mod statistics;
pub mod task;
pub mod telemetry;
pub mod text;
pub mod wire;
