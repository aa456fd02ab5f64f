//! Conditions and forbidden clauses of a ConfigSpace.

use super::{
    super::{Condition, Constraint},
    Namer,
};
use serde::Deserialize;
use serde_json::Value;
use std::cmp::Ordering;

/// A condition or a forbidden clause.
#[derive(Deserialize)]
pub(super) struct Clause {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    pub child: String,
    #[serde(alias = "name", default)]
    parent: String,
    value: Option<Value>,
    #[serde(default)]
    values: Vec<Value>,
    #[serde(alias = "clauses", default)]
    conditions: Vec<Clause>,
    #[serde(default)]
    left: String,
    #[serde(default)]
    right: String,
    #[serde(default)]
    lambda: String,
}

impl Clause {
    /// The numbers with which a hyperparameter is compared here.
    pub fn values_of(&self, hyperparameter: &str, found: &mut Vec<f64>) {
        if self.parent == hyperparameter {
            let listed = self.value.iter().flat_map(|value| match value {
                Value::Array(values) => values.as_slice(),
                one => std::slice::from_ref(one),
            });
            found.extend(self.values.iter().chain(listed).filter_map(Value::as_f64));
        }
        self.conditions.iter().for_each(|part| part.values_of(hyperparameter, found));
    }
}

pub(super) fn read_condition(clause: &Clause, names: &Namer) -> Result<Vec<Condition>, String> {
    if clause.kind == "AND" {
        let parts = clause.conditions.iter().map(|part| read_condition(part, names));
        return Ok(parts.collect::<Result<Vec<_>, _>>()?.concat());
    }
    if clause.kind == "OR" {
        let mut parts =
            clause.conditions.iter().map(|part| choices_of(part, names)).collect::<Result<Vec<_>, _>>()?;
        let child = clause.conditions.first().map_or(&clause.child, |part| &part.child);
        let (depends_on, mut active_if) = parts.pop().ok_or("it is an OR of nothing")?;
        if parts.iter().any(|(other, _)| *other != depends_on) {
            return Err("it is an OR of conditions on several decisions, which is not understood; write the space as TOML \
                        with another decision"
                .into());
        }
        active_if.extend(parts.into_iter().flat_map(|(_, choices)| choices));
        active_if.sort_unstable();
        active_if.dedup();
        return Ok(vec![Condition { decision: names.decision(child)?, depends_on, active_if }]);
    }
    let decision = names.decision(&clause.child)?;
    let (depends_on, active_if) = choices_of(clause, names)?;
    Ok(vec![Condition { decision, depends_on, active_if }])
}

/// The decision that a clause is about and the choices for which it is true.
fn choices_of(clause: &Clause, names: &Namer) -> Result<(usize, Vec<u8>), String> {
    let place = names.decision(&clause.parent)?;
    let parent = &names.decisions[place];
    let value =
        || clause.value.as_ref().ok_or_else(|| format!("its clause on `{}` has no value", parent.name));
    let all = 0..parent.choices.len() as u8;
    let compared = |holds: fn(f64, f64) -> bool| {
        let value = value()?;
        // What stands in an order is compared by its place there, as ConfigSpace does, numbers too.
        if parent.ordered
            && let Ok(limit) = names.choice(place, value)
        {
            return Ok((place, all.clone().filter(|&c| holds(f64::from(c), f64::from(limit))).collect()));
        }
        let rank = |v: &Value| v.as_f64().or_else(|| names.choice(place, v).ok().map(f64::from));
        let limit = rank(value).ok_or_else(|| format!("{value} is no value of `{}`", parent.name))?;
        let fits = |&c: &u8| rank(&parent.value(c)).is_some_and(|v| holds(v, limit));
        Ok((place, all.clone().filter(fits).collect()))
    };
    match clause.kind.as_str() {
        "EQ" | "EQUALS" => Ok((place, vec![names.choice(place, value()?)?])),
        "NEQ" => {
            let not = names.choice(place, value()?)?;
            Ok((place, all.filter(|&c| c != not).collect()))
        }
        "IN" => {
            let values = clause.values.iter().chain(clause.value.iter().flat_map(|v| match v {
                Value::Array(values) => values.iter().collect(),
                one => vec![one],
            }));
            Ok((place, values.map(|v| names.choice(place, v)).collect::<Result<_, _>>()?))
        }
        "GT" => compared(|v, limit| v > limit),
        "LT" => compared(|v, limit| v < limit),
        kind => Err(format!("a clause of kind {kind} is not understood")),
    }
}

/// What is forbidden at once.
type Pattern = Vec<(usize, Vec<u8>)>;

pub(super) fn read_forbidden(clause: &Clause, names: &Namer) -> Result<Vec<Constraint>, String> {
    Ok(patterns(clause, names)?.into_iter().map(Constraint::Forbid).collect())
}

/// The patterns of which each is forbidden by itself.
fn patterns(clause: &Clause, names: &Namer) -> Result<Vec<Pattern>, String> {
    if clause.kind == "AND" {
        // What is forbidden together: each pattern of one part with each of the others.
        let mut together: Vec<Pattern> = vec![Vec::new()];
        for part in &clause.conditions {
            let part = patterns(part, names)?;
            if together.len() * part.len() > MOST_PATTERNS {
                return Err(format!(
                    "its relations forbid more than {MOST_PATTERNS} combinations of choices"
                ));
            }
            let with = |pattern: &Pattern| -> Vec<Pattern> {
                part.iter().map(|other| [pattern.as_slice(), other].concat()).collect()
            };
            together = together.iter().flat_map(with).collect();
        }
        return match &together[..] {
            [nothing] if nothing.is_empty() => Err("it is an AND of nothing".into()),
            _ => Ok(together),
        };
    }
    let Some(rest) = clause.kind.strip_prefix("RELATION") else {
        return Ok(vec![vec![choices_of(clause, names)?]]);
    };
    // The first is how 1.0 and later write it, then up to 0.7, then what 1.0 reads of before.
    let forbidden: fn(Ordering) -> bool = match (rest, clause.lambda.as_str()) {
        ("_LT", _) | ("", "LESS" | "LT") => Ordering::is_lt,
        ("_GT", _) | ("", "GREATER" | "GT") => Ordering::is_gt,
        ("_EQ" | "_EQUALS", _) | ("", "EQUALS" | "EQ") => Ordering::is_eq,
        _ => return Err(format!("a relation of kind {} {} is not understood", clause.kind, clause.lambda)),
    };
    let equality = forbidden(Ordering::Equal);
    let (left, right) = (names.decision(&clause.left)?, names.decision(&clause.right)?);
    let (of_left, of_right) = (&names.decisions[left], &names.decisions[right]);
    let mut patterns = Vec::new();
    for a in 0..of_left.choices.len() as u8 {
        let mut bad = Vec::new();
        for b in 0..of_right.choices.len() as u8 {
            let (one, other) = (of_left.value(a), of_right.value(b));
            match compare(&one, &other) {
                Some(order) if forbidden(order) => bad.push(b),
                Some(_) => {}
                // A word and a number are never equal.
                None if equality => {}
                None => {
                    return Err(format!(
                        "`{}` and `{}` cannot be compared: {one} and {other} are of two kinds",
                        of_left.name, of_right.name
                    ));
                }
            }
        }
        if !bad.is_empty() {
            patterns.push(vec![(left, vec![a]), (right, bad)]);
        }
    }
    Ok(patterns)
}

/// More patterns than this make a space slow, and mean that it is one of other decisions.
const MOST_PATTERNS: usize = 10_000;

/// As Python compares them, and so ConfigSpace: numbers and truth values by their size, words by their letters, whatever order
/// their hyperparameter has them in.
fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_bool().map(|b| f64::from(u8::from(b))));
    match (one, other) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => number(one)?.partial_cmp(&number(other)?),
    }
}
