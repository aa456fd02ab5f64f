//! Evaluators: programs on other machines that measure what a search asks for, by leases (`Evaluate` in `srnas.v1`).
//!
//! [`RemoteOracle`] is the search's side: it asks, and waits on threads of its own. The service is the evaluators'. Between
//! the two are the leases.

mod oracle;
mod reports;
mod service;

pub use oracle::{RemoteError, RemoteOptions, RemoteOracle};
pub use srnas_ledger::leases::Terms;
