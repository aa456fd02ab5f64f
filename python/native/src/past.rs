//! What earlier searches and trained policies say, as a guide.

use crate::errors::{input, wrong};
use pyo3::PyErr;
use srnas_ledger::{Database, fits};
use srnas_policy::Policy;
use srnas_search::{Goal, Guide, MethodSpec, Past, PastSearch, past_of};
use srnas_space::SearchSpace;
use srnas_task::Count;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What is known beforehand: what guides a search without a method, and what its method knows.
pub fn known(
    past: &[PathBuf],
    policy: Option<&Path>,
    space: &Arc<SearchSpace>,
    goal: &Goal,
    method: Option<&MethodSpec>,
) -> Result<(Guide, Past), PyErr> {
    if let Some(path) = policy {
        if method.is_some() || !past.is_empty() {
            let text = "policy= knows one objective without limits, and goes with neither method= nor past=";
            return Err(input(text));
        }
        let policy = Policy::load(path).map_err(|e| wrong(&e))?;
        return Ok((Guide::of_policy(&policy, space).map_err(|e| wrong(&e))?, Past::default()));
    }
    if past.is_empty() {
        return Ok((Guide::default(), Past::default()));
    }
    if !goal.is_single() || !goal.limits().is_empty() {
        return Err(input("past= goes with one objective without limits"));
    }
    let mut searches = Vec::new();
    for path in past {
        searches.extend(of_ledger(path, space)?);
    }
    let failed = |e: srnas_predictor::PriorError| input(format!("past: {e}"));
    Ok(match method {
        None => (Guide::of_past(space, &searches).map_err(failed)?, Past::default()),
        Some(_) => (Guide::default(), past_of(space, &[searches]).map_err(failed)?),
    })
}

/// What a ledger has: a file, or the run directory that it is in. What shorter trainings said is a search of its own.
fn of_ledger(path: &Path, space: &SearchSpace) -> Result<Vec<PastSearch>, PyErr> {
    let name = path.display().to_string();
    let refused = |reason: String| input(format!("past={name}: {reason}"));
    let file = if path.is_dir() { path.join("ledger.sqlite") } else { path.to_path_buf() };
    if !file.is_file() {
        return Err(refused("it is neither a ledger nor a run directory".into()));
    }
    let (run, answers) = Database::look(&file, 0).map_err(|e| refused(e.to_string()))?;
    if run.space != space.name() {
        return Err(refused(format!("its space is {}, not {}", run.space, space.name())));
    }
    let mut by_fidelity: BTreeMap<u64, PastSearch> = BTreeMap::new();
    for answer in answers {
        fits(space, Count::Classes, answer.key, &answer.choices)
            .map_err(|reason| refused(format!("its space is another one: {reason}")))?;
        let of = || PastSearch { name: name.clone(), measured: Vec::new() };
        let search = by_fidelity.entry(answer.fidelity.to_bits()).or_insert_with(of);
        search.measured.push((answer.choices, answer.said.ok().map(|(value, _)| value as f32)));
    }
    Ok(by_fidelity.into_values().collect())
}
