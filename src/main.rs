//! `srnas`: learns to search for neural architectures. One binary; each subcommand has its file in `commands`.

#![warn(clippy::print_stdout, clippy::print_stderr)]

// First, so that its macros hold in the modules below.
#[macro_use]
mod print;
mod commands;
mod deterministic;
mod doctor;
mod standings;

use std::process::ExitCode;

// candle allocates and frees large buffers all the time: twice as fast with this allocator.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    commands::run()
}
