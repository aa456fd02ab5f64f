//! Why a search by an oracle ends before its budget.

use crate::method::{MethodError, SpecError};
use srnas_environment::ROUNDING;

/// Why a search ended before its budget.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// It was asked to stop; what was measured is kept.
    #[error("stopped after {done} measurements{}; the same command with --resume goes on", spent_in_words(*done, *spent, *budget))]
    Stopped {
        /// Measurements kept.
        done: usize,
        /// What they cost, in full trainings.
        spent: f64,
        /// Of how many.
        budget: usize,
    },
    /// Too many measurements have no value.
    #[error(
        "{failures} measurements have no value, and no more are allowed (--max-failures); the last: {reason}"
    )]
    Failures {
        /// How many have none.
        failures: usize,
        /// Why the last one has none.
        reason: String,
    },
    /// The oracle is broken.
    #[error("the oracle failed: {0}")]
    Oracle(String),
    /// A measurement cannot be kept.
    #[error("a measurement cannot be kept: {0}")]
    Journal(String),
    /// The search method failed.
    #[error("the search failed: {0}")]
    Method(#[from] MethodError),
    /// The method is not for this search.
    #[error(transparent)]
    Unfit(#[from] SpecError),
}

/// What was spent; where all were full trainings their number says it.
fn spent_in_words(done: usize, spent: f64, budget: usize) -> String {
    match (done as f64 - spent).abs() < ROUNDING {
        true => format!(" of {budget}"),
        false => format!(" that cost {spent:.1} of {budget} full trainings"),
    }
}
