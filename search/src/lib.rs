//! Search methods under one ledger, and comparisons of them that a reviewer would accept.
//!
//! A [`Method`] asks for architectures and is told what was measured. [`search`] pays for what it asks (each canonical key
//! once) from a start that it shares with every other method; a [`Comparison`] does so for many methods, problems and seeds;
//! [`report`] writes down what came of it.

mod comparison;
mod method;
pub mod methods;
mod pareto;
mod policy;
mod problem;
pub mod report;
mod search;
mod statistics;

pub use comparison::{Comparison, ComparisonError, Outcome, Plan, SearchResult};
pub use method::{Begin, Method, MethodError, MethodSpec, SpecError};
pub use pareto::Front;
pub use policy::{Acting, PolicySearchError, policy_environment};
pub use problem::{Problem, ProblemError};
pub use search::{Query, Trace, search};
pub use statistics::{Friedman, friedman, nemenyi_critical_difference, ranks};
