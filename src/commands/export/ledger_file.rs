//! A ledger in a file of its own, as `srnas.Search` of the Python package keeps it. What was searched is the name of its task; what the space is
//! stands in a file beside it.

use crate::commands::{Usage, space::GivenSpace};
use srnas_ledger::{Database, LedgerError, fits};
use srnas_oracle::exporters::{Measurement, Study};
use srnas_space::SearchSpace;
use srnas_task::Count;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What the name of the task begins with.
const PYTHON: &str = "python/";

/// What a ledger has.
///
/// # Errors
/// A file that is none, or none of `srnas.Search`; a space that is not beside it.
pub fn of_ledger(file: &Path) -> anyhow::Result<Study> {
    let place = file.display();
    let wrong = |reason: &str| Usage(format!("{place} {reason}"));
    let (run, answers) = Database::look(file, 0).map_err(|error| match error {
        LedgerError::Foreign { .. } => wrong("is not a ledger of srnas, or its beginning is damaged").into(),
        error => anyhow::Error::from(error),
    })?;
    let searched = match &run.tasks[..] {
        [(name, metric)] => name.strip_prefix(PYTHON).map(|goal| (goal, metric)),
        _ => None,
    };
    let (goal, metric) = searched.ok_or_else(|| {
        wrong("is the ledger of a search by --oracle, or of a run: name the run directory that it is in")
    })?;
    let objectives = objectives(goal, metric);
    let (space, definition) = space_of(file, &run.space)?;
    let mut measurements = Vec::with_capacity(answers.len());
    for answer in answers {
        fits(&space, Count::Classes, answer.key, &answer.choices)
            .map_err(|reason| wrong(&format!("was not measured in the space beside it: {reason}")))?;
        let (metrics, infeasible) = match answer.said {
            Ok((value, mut metrics)) => {
                // What is maximised, where the metric itself is not told beside it.
                let of_first = if objectives[0].1 { 0.0 - value } else { value };
                metrics.entry(objectives[0].0.clone()).or_insert(of_first);
                (metrics, None)
            }
            Err(reason) => (BTreeMap::new(), Some(reason)),
        };
        measurements.push(Measurement {
            decisions: space.to_json(&answer.choices),
            trained: answer.fidelity,
            full: answer.fidelity == 1.0,
            cost: answer.cost,
            metrics,
            infeasible,
        });
    }
    let shorter = measurements.iter().any(|measurement| !measurement.full);
    let name = file.file_stem().map_or_else(|| run.name, |stem| stem.to_string_lossy().into_owned());
    let unit = shorter.then(|| "fidelity".into());
    Ok(Study { name, space, definition, objectives, unit, measurements })
}

/// Metrics and whether less is better, of a goal as it is written: `-loss & accuracy, ms <= 12`. The first is known by its name, which may
/// have anything in it.
fn objectives(goal: &str, metric: &str) -> Vec<(String, bool)> {
    let minimise = goal.strip_prefix('-').is_some_and(|rest| rest.starts_with(metric));
    let rest = goal.get(usize::from(minimise) + metric.len()..).unwrap_or_default();
    let others = rest.split(", ").next().unwrap_or_default().split(" & ").skip(1);
    let other = |text: &str| match text.strip_prefix('-') {
        Some(metric) => (metric.to_string(), true),
        None => (text.to_string(), false),
    };
    std::iter::once((metric.to_string(), minimise)).chain(others.map(other)).collect()
}

/// The space, and its text if it is one of the user's own.
#[expect(clippy::type_complexity, reason = "a space and what defines it")]
fn space_of(file: &Path, name: &str) -> anyhow::Result<(Arc<SearchSpace>, Option<(String, String)>)> {
    if srnas_space::is_known(name) {
        return Ok((SearchSpace::named(name)?, None));
    }
    let beside = |ending: &str| {
        let mut path = file.as_os_str().to_owned();
        path.push(format!(".space.{ending}"));
        PathBuf::from(path)
    };
    for ending in ["toml", "json"] {
        let path = beside(ending);
        if path.is_file() {
            let given = GivenSpace::of_copy(&path, name)?;
            return Ok((given.space, Some((given.definition, ending.into()))));
        }
    }
    let wanted = beside("toml");
    Err(Usage(format!(
        "{} is missing, which says what the space of {} is: open the ledger once more with srnas.Search, which puts it there, or write \
         space.to_toml() into it",
        wanted.display(),
        file.display()
    ))
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_read_as_a_goal_is_written() {
        let of = |goal, metric| objectives(goal, metric);
        assert_eq!(of("-loss", "loss"), [("loss".into(), true)]);
        assert_eq!(of("val/clean, ms <= 12", "val/clean"), [("val/clean".into(), false)]);
        assert_eq!(
            of("accuracy & -ms, size <= 12, ms >= 1", "accuracy"),
            [("accuracy".into(), false), ("ms".into(), true)]
        );
        // A name may have anything in it.
        assert_eq!(of("--a & b, c", "-a & b, c"), [("-a & b, c".into(), true)]);
        assert_eq!(of("-a", "-a"), [("-a".into(), false)]);
    }
}
