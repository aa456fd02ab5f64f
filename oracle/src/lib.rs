//! Where measurements come from: benchmark files, the folders they lie in, the importers that make them from published
//! tables, and the tasks built on them.

pub mod benchmark;
pub mod catalog;
pub mod importers;
pub mod run_tasks;
pub mod tasks;
pub mod verify;
