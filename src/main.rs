//! `srnas`: learns to search for neural architectures. One binary; each subcommand has its file in `commands`.

mod commands;
mod deterministic;
mod doctor;
mod standings;

use clap::Parser;
use std::process::ExitCode;

// candle allocates and frees large buffers all the time: twice as fast with this allocator.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // clap itself exits with 2 on wrong usage.
    commands::Cli::parse().run()
}
