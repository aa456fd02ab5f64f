//! The learner: takes experience in, trains the policy and the predictor, broadcasts both back, and decides what is
//! exported.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod append;
mod checkpoint;
mod curves;
pub mod evaluate;
mod events;
mod failures;
pub mod http;
mod interleaved;
mod limiter;
mod limits;
mod metrics;
mod metrics_csv;
pub mod page;
mod predictor;
mod progress;
mod recorder;
mod replay;
mod run;
mod run_dir;
pub mod service;
mod sum_tree;
mod trainer;
pub mod update;
mod validation;

pub use checkpoint::CheckpointError;
pub use interleaved::{Interleaved, Turn};
pub use limits::{Limit, Times, limit};
pub use progress::{GroupRegret, Progress, Standings};
pub use replay::{Draw, Replay, ReplayConfig};
pub use run::{LearnerError, LearnerOptions, Summary, bind, known_by_checkpoint, run};
pub use run_dir::{RunDir, RunDirError, Start};
pub use sum_tree::SumTree;
