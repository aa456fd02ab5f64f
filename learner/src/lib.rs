//! The learner: takes experience in, trains the policy and the predictor, broadcasts both back, and decides what is
//! exported.

mod ledger;
mod limits;
mod predictor;
mod progress;
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
