//! The actor: walks many episodes at the same time with the newest policy and streams what it saw to the learner. And the
//! evaluator: measures what a search on another machine asks for.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod client;
pub mod evaluator;
mod progress;
mod segment;
mod slow_oracle;
mod walker;
mod worker;

pub use slow_oracle::{Pause, SlowOracle};
pub use walker::{Walker, WalkerError};
pub use worker::{ActorError, ActorOptions, run};
