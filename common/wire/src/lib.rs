//! The wire between actors and the learner: packed arrays of experience and snapshots of the policy.
//!
//! What arrives is checked here, once: behind [`Experience::decode`] and [`Assembler::push`] every length fits every
//! other, every index is in range and every number is finite. A hostile peer can neither cause a panic nor an
//! allocation larger than a small multiple of what it sent.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod arrays;
mod experience;
mod fits;
mod snapshot;
#[cfg(test)]
mod tests;

pub use arrays::Malformed;
pub use experience::{EpisodeEnds, Experience, Measurements, SYNTHETIC_TASK, Shape, TERMINATED, TRUNCATED};
pub use snapshot::fnv1a;
pub use snapshot::{Assembler, BrokenSnapshot, CHUNK_BYTES, MAX_SNAPSHOT_BYTES, Snapshot};

/// Peers with another major version do not understand each other.
pub const PROTOCOL_MAJOR: u32 = 1;
/// An evaluator's answer is no larger than this, in bytes: metrics are numbers.
pub const LARGEST_ANSWER: usize = 4 << 20;
/// Rises with additions that an older peer can ignore.
pub const PROTOCOL_MINOR: u32 = 3;
