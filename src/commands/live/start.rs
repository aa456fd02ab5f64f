//! First points in a run directory: what is measured before a method says what is, and what was measured elsewhere.

use super::Usage;
use anyhow::Context;
use srnas_basics::{files::write_whole, text::with_causes};
use srnas_search::{First, Goal, read_first};
use srnas_space::SearchSpace;
use srnas_task::Fidelities;
use std::{fs, io, path::Path};

/// The file of a run directory that has them, in their order.
pub const FILE: &str = "start.jsonl";

/// The rows of a file of a user's.
///
/// # Errors
/// All that is wrong in it, by line.
pub fn read(path: &Path, space: &SearchSpace, goal: &Goal, f: &Fidelities) -> anyhow::Result<Vec<First>> {
    Ok(read_first(path, space, goal, f).map_err(|e| Usage(format!("--start {}", with_causes(&e))))?)
}

/// Those that a run directory has.
///
/// # Errors
/// What cannot be read, or was changed by hand.
pub fn load(run_dir: &Path, space: &SearchSpace, fidelities: &Fidelities) -> anyhow::Result<Vec<First>> {
    let path = run_dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let line = |(i, line): (usize, &str)| {
        let wrong = |reason| Usage(format!("{}:{}: {reason}", path.display(), i + 1)).into();
        First::of_line(line, space, fidelities).map_err(wrong)
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
}

/// Adds to those that a run directory has, and returns all: what is there already is replaced in its place.
///
/// # Errors
/// As [`load`], and what cannot be written; what was there stays then.
pub fn add(
    run_dir: &Path,
    new: Vec<First>,
    space: &SearchSpace,
    fidelities: &Fidelities,
) -> anyhow::Result<Vec<First>> {
    let mut all = load(run_dir, space, fidelities)?;
    if new.is_empty() {
        return Ok(all);
    }
    for first in new {
        let key = first.key(space);
        match all.iter_mut().find(|known| known.key(space) == key) {
            Some(known) => *known = first,
            None => all.push(first),
        }
    }
    let text: String = all.iter().map(|first| first.to_line(fidelities) + "\n").collect();
    let path = run_dir.join(FILE);
    write_whole(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(all)
}
