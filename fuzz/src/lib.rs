//! Fuzzing of everything that reads what comes from outside; see README.md.

pub mod properties;

use std::alloc::System;

/// Whoever asks for more than this, for an input of a few kilobytes, is to be found.
#[global_allocator]
static MEMORY: cap::Cap<System> = cap::Cap::new(System, 1 << 30);
