//! Where measurements come from: benchmark files, the folders they lie in, the importers that make them from published
//! tables and from what other programs measured, the tasks built on them, and what is simulated on top; and measurements in files for
//! other programs.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod agreement;
pub mod benchmark;
pub mod built_in;
pub mod catalog;
mod climb;
pub mod command;
pub mod compress;
pub mod control;
pub mod costly;
pub mod curves;
pub mod digits;
pub mod digits_wrn;
pub mod exporters;
pub mod fit;
pub mod importers;
pub mod ranking;
pub mod rewarded;
pub mod run_tasks;
pub mod simulated;
mod spec;
pub mod tasks;
pub mod training;
pub mod verify;
pub mod wrn_tables;

pub use spec::{OracleSpec, OracleSpecError};
