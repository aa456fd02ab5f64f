//! The learner: takes experience in, trains the policy and the predictor, broadcasts both back, and decides what is
//! exported.

mod append;
mod events;
pub mod http;
mod ledger;
mod limits;
mod metrics;
mod metrics_csv;
mod predictor;
mod progress;
mod recorder;
mod replay;
mod run;
pub mod service;
mod sum_tree;
mod trainer;
pub mod update;
mod validation;

pub use ledger::{Entry, Ledger};
pub use limits::{Limit, Times, limit};
pub use progress::{GroupRegret, Progress};
pub use replay::{Draw, Replay, ReplayConfig};
pub use run::{LearnerError, LearnerOptions, Summary, bind, run};
pub use sum_tree::SumTree;
