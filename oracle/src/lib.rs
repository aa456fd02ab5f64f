//! Where measurements come from: benchmark files, the folders they lie in, the importers that make them from published
//! tables, the tasks built on them, and what is simulated on top.

pub mod agreement;
pub mod benchmark;
pub mod catalog;
pub mod command;
pub mod costly;
pub mod digits;
pub mod fidelities;
pub mod importers;
pub mod ranking;
pub mod run_tasks;
pub mod simulated;
pub mod tasks;
pub mod training;
pub mod verify;
