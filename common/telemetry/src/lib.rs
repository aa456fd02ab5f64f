//! Logs: to stderr, so that stdout stays for results.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod stderr;

use std::{io::IsTerminal, sync::OnceLock};
use tracing_subscriber::{EnvFilter, fmt};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Whether log lines are for machines: then numbers belong into fields, and not into sentences.
pub fn for_machines() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

/// Starts logging at `level` unless `RUST_LOG` says otherwise. A second call changes nothing.
pub fn start(level: &str, format: LogFormat) {
    let _ = FORMAT.set(format);
    let usual = || EnvFilter::new(format!("{level},h2=warn,hyper=warn,tower=warn,tonic=warn"));
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.is_empty());
    let (filter, wrong) = match asked.map(EnvFilter::try_new) {
        None => (usual(), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (usual(), Some(error)),
    };
    let colours = std::io::stderr().is_terminal();
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(|| stderr::Stderr)
        // Of a line that cannot be written nobody can be told.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(colours);
    // An error means that a subscriber is set already, as in tests.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if let Some(error) = wrong {
        tracing::warn!(%error, "RUST_LOG is not understood and has no effect; expected a level such as debug, or srnas_learner=debug");
    }
}
