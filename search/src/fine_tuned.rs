//! A trained agent on a new problem: it searches and learns from what it finds.

use crate::{
    Comparison, ComparisonError, MethodError, MethodSpec, Plan, Problem, SpecError, comparison::Ready,
};
use rayon::prelude::*;
use srnas_policy::evaluation::Search;
use srnas_task::Count;
use std::path::Path;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum FineTunedError {
    /// The policy has no agent, or one for another space.
    #[error(transparent)]
    Method(#[from] SpecError),
    /// More evaluations than there are architectures.
    #[error(transparent)]
    Comparison(#[from] ComparisonError),
    /// A search failed.
    #[error("a search failed: {0}")]
    Search(#[from] MethodError),
}

impl FineTunedError {
    /// Whether what was asked for is to blame.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Method(_) => true,
            Self::Comparison(comparison) => comparison.is_usage(),
            Self::Search(_) => false,
        }
    }
}

/// Searches a problem `seeds` times by the agent of a policy file, `evaluations` each, from random starts that every method of the same seed
/// shares; on the current rayon pool.
///
/// # Errors
/// See [`FineTunedError`].
pub fn fine_tuned(
    problem: Problem,
    policy: &Path,
    evaluations: usize,
    (seeds, seed): (usize, u64),
    count: Count,
) -> Result<Vec<Search>, FineTunedError> {
    let method: MethodSpec = format!("rc-nas:policy={}", policy.display()).parse()?;
    let task = problem.signals[0].clone();
    let (methods, problems) = (vec![method], vec![problem]);
    let plan = Plan::unwritten(&methods, &problems, evaluations, (seeds, seed), count);
    let comparison = Comparison::new(plan, methods, problems, Vec::new(), Path::new(""))?;
    let ready: Vec<Ready> = comparison.prepare(evaluations)?;
    let one = |start| -> Result<Search, FineTunedError> {
        let trace = comparison.one(&ready[0], 0, 0, start, evaluations)?;
        let (mut best, mut choices) = (f32::NEG_INFINITY, Vec::new());
        let mut search = Search { regrets: Vec::new(), incumbents: Vec::new(), best: Vec::new() };
        for query in &trace {
            if query.values[0] > best {
                (best, choices) = (query.values[0], query.choices.clone());
            }
            search.regrets.push(task.normalised_regret(best));
            search.incumbents.push(best);
        }
        // A space that is exhausted before has nothing else to say.
        search.regrets.resize(evaluations, task.normalised_regret(best));
        search.incumbents.resize(evaluations, best);
        search.best = choices;
        Ok(search)
    };
    (0..seeds).into_par_iter().map(one).collect()
}
