//! The learner: takes experience in, trains the policy and the predictor, broadcasts both back, and decides what is
//! exported.

mod append;
mod checkpoint;
mod curves;
pub mod evaluate;
mod events;
mod failures;
pub mod http;
mod interleaved;
pub mod ledger;
mod limiter;
mod limits;
mod metrics;
mod metrics_csv;
mod predictor;
mod progress;
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
pub use ledger::{
    AnswerRecord, Database, Entry, Incumbent, Incumbents, Ledger, LedgerError, RunRecord, Tally, fits,
};
pub use limits::{Limit, Times, limit};
pub use progress::{GroupRegret, Progress, Standings};
pub use replay::{Draw, Replay, ReplayConfig};
pub use run::{LearnerError, LearnerOptions, Summary, bind, known_by_checkpoint, run};
pub use run_dir::{RunDir, RunDirError, Start};
pub use sum_tree::SumTree;
