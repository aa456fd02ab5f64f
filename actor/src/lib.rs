//! The actor: walks many episodes at the same time with the newest policy and streams what it saw to the learner. And the
//! evaluator: measures what a search on another machine asks for.

pub mod client;
pub mod evaluator;
mod segment;
mod slow_oracle;
mod walker;
mod worker;

pub use slow_oracle::{Pause, SlowOracle};
pub use walker::{Walker, WalkerError};
pub use worker::{ActorError, ActorOptions, run};
