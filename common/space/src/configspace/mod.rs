//! Spaces as the Python package ConfigSpace writes them (`ConfigurationSpace.to_json`, formats 0.2 to 0.4, packages 0.4 to 1.2).
//!
//! What is continuous, and whole numbers that are more than choices can be, are read as levels (see [`super::range`]); a notice
//! says so.

mod clauses;
mod hyperparameters;
#[cfg(test)]
mod tests;

use super::{
    Custom, Decision, SearchSpace, SpaceError, check_decisions,
    file::{Namer, decision},
};
use clauses::{Clause, read_condition, read_forbidden};
use hyperparameters::Hyperparameter;
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    name: Option<String>,
    hyperparameters: Vec<Hyperparameter>,
    #[serde(default)]
    conditions: Vec<Clause>,
    #[serde(default)]
    forbiddens: Vec<Clause>,
}

/// Reads a ConfigSpace; `name` is its name where the text has none.
///
/// # Errors
/// [`SpaceError::Malformed`] names all that is not understood, such as a normal distribution without bounds.
pub fn read(text: &str, name: &str) -> Result<SearchSpace, SpaceError> {
    let malformed = |reason: String| SpaceError::Malformed { space: name.into(), reason };
    let file: File =
        serde_json::from_str(text).map_err(|e| malformed(format!("it is no ConfigSpace in JSON: {e}")))?;
    // All that is wrong is said at once: a space is mended in one go.
    let read = all(&file.hyperparameters, |h| {
        let mut named = Vec::new();
        for clause in file.conditions.iter().chain(&file.forbiddens) {
            clause.values_of(&h.name, &mut named);
        }
        let (values, levels) = h.choices(&named)?;
        Ok((Decision { ordered: h.is_ordered(), ..decision(&h.name, &values)? }, levels))
    })
    .map_err(malformed)?;
    let (decisions, levels): (Vec<Decision>, Vec<Option<String>>) = read.into_iter().unzip();
    check_decisions(&decisions).map_err(malformed)?;
    let names = Namer { decisions: &decisions };
    let conditions = all(&file.conditions, |clause| {
        read_condition(clause, &names).map_err(|e| format!("condition of `{}`: {e}", clause.child))
    });
    let constraints = all(&file.forbiddens, |clause| {
        read_forbidden(clause, &names).map_err(|e| format!("forbidden clause: {e}"))
    });
    let (conditions, constraints) = match (conditions, constraints) {
        (Ok(conditions), Ok(constraints)) => (conditions.concat(), constraints.concat()),
        (conditions, constraints) => {
            let reasons: Vec<String> = conditions.err().into_iter().chain(constraints.err()).collect();
            return Err(malformed(reasons.join("; ")));
        }
    };
    let name = file.name.as_deref().filter(|n| !n.is_empty()).unwrap_or(name);
    let mut space = Custom::space(name, decisions.clone(), conditions, constraints, Vec::new())?;
    space.notice = notice(&levels.into_iter().flatten().collect::<Vec<String>>());
    Ok(space)
}

/// Hyperparameters that are named in a notice; it is one line.
const NAMED: usize = 10;

/// What was read otherwise than it is written.
fn notice(levels: &[String]) -> Option<String> {
    let more = match levels.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = levels.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    (!levels.is_empty()).then(|| {
        format!(
            "ranges are read as levels: {named}{more}; for others, make a hyperparameter an ordinal one or write the space in TOML \
             with `range`"
        )
    })
}

/// What is read of each entry, or all reasons why some cannot be.
fn all<E, T>(entries: &[E], read: impl Fn(&E) -> Result<T, String>) -> Result<Vec<T>, String> {
    let (mut found, mut reasons) = (Vec::new(), Vec::new());
    for entry in entries {
        match read(entry) {
            Ok(one) => found.push(one),
            Err(reason) => reasons.push(reason),
        }
    }
    if reasons.is_empty() { Ok(found) } else { Err(reasons.join("; ")) }
}
