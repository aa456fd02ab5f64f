//! Search methods under one ledger, and comparisons of them that a reviewer would accept.
//!
//! A method (`methods/`) asks for architectures and is told what was measured. A search (`search.rs`) pays for what it asks, each canonical key
//! once: on a table (`table.rs`) from a start that it shares with every other method, and a [`Comparison`] does so for many methods,
//! problems and seeds; a [`LiveSearch`] asks an oracle whose answers cost seconds to days. [`report`] writes down what came of it.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod clock;
mod comparison;
mod fine_tuned;
mod goal;
mod guide;
mod guided;
mod held_out;
mod importance;
mod known;
mod live;
mod method;
mod methods;
mod pareto;
mod policy;
mod problem;
pub mod report;
mod search;
mod standings;
mod statistics;
mod table;

pub use clock::{Clock, ClockError, Durations};
pub use comparison::{Comparison, ComparisonError, Outcome, Plan, SearchResult};
pub use fine_tuned::{FineTunedError, fine_tuned};
pub use goal::{Goal, GoalError, KnownLimit, Limit, Objective, Values};
pub use guide::Guide;
pub use held_out::{HeldOut, HeldOutError, compare_held_out};
pub use importance::Importance;
pub use known::{Known, Why};
pub use live::{
    AskTell, Asking, Ends, Enough, Event, First, Inbox, Journal, LiveComparison, LiveComparisonError,
    LiveError, LiveOutcome, LivePart, LiveSearch, Measured, PartError, Sharing, StartError, Told,
    check_method, importance, read_first,
};
pub use method::{MethodError, MethodSpec, Past, SpecError};
pub use methods::{HOPELESS, METHODS, PastSearch, past_of, random_surrogate, surrogates_of};
pub use pareto::Front;
pub use policy::{Acting, ActingError, PolicySearchError, policy_environment};
pub use problem::{Problem, ProblemError};
pub use search::Next;
pub use standings::Rivals;
pub use statistics::Friedman;
pub use table::{Query, Trace};
