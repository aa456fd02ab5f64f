//! Measurements as columns: a decision or a metric each.

use super::{Measurement, Study};
use serde_json::Value;
use std::collections::BTreeSet;

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name, which no other has.
    pub name: String,
    /// A cell for each measurement; none where it has nothing.
    pub cells: Cells,
}

/// The cells of a column, all of one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Whole numbers.
    Whole(Vec<Option<i64>>),
    /// Numbers.
    Real(Vec<Option<f64>>),
    /// Truth values.
    Truth(Vec<Option<bool>>),
    /// Words.
    Words(Vec<Option<String>>),
}

impl Cells {
    /// A cell as JSON has it.
    pub fn value(&self, row: usize) -> Option<Value> {
        match self {
            Self::Whole(cells) => cells[row].map(Value::from),
            Self::Real(cells) => cells[row].map(Value::from),
            Self::Truth(cells) => cells[row].map(Value::from),
            Self::Words(cells) => cells[row].clone().map(Value::from),
        }
    }

    fn of(values: Vec<Option<Value>>) -> Self {
        let all = |what: fn(&Value) -> bool| values.iter().flatten().all(what);
        if all(Value::is_i64) {
            return Self::Whole(values.iter().map(|v| v.as_ref().and_then(Value::as_i64)).collect());
        }
        if all(Value::is_number) {
            return Self::Real(values.iter().map(|v| v.as_ref().and_then(Value::as_f64)).collect());
        }
        if all(Value::is_boolean) {
            return Self::Truth(values.iter().map(|v| v.as_ref().and_then(Value::as_bool)).collect());
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
        Self::Words(values.iter().map(|v| v.as_ref().map(text)).collect())
    }
}

/// The columns of studies, one below the other: `measurement` counts, `task` says whose study it is where they are several, and a
/// column that has nothing is left out.
pub fn columns(studies: &[Study]) -> Vec<Column> {
    let all = || studies.iter().flat_map(|study| study.measurements.iter().map(move |m| (study, m)));
    let mut columns: Vec<Column> = Vec::new();
    let mut add = |name: &str, cells: Cells| {
        let mut name = name.to_string();
        while columns.iter().any(|column| column.name == name) {
            name.insert_str(0, "metric.");
        }
        columns.push(Column { name, cells });
    };
    let counted = studies.iter().flat_map(|study| (1..).take(study.measurements.len()).map(Some));
    let count = Cells::Whole(counted.collect());
    let mut names: Vec<&str> = Vec::new();
    for decision in studies.iter().flat_map(|study| study.space.decisions()) {
        if !names.contains(&decision.name.as_str()) {
            names.push(&decision.name);
        }
    }
    let is_decision = |name: &str| names.contains(&name);
    if !is_decision("measurement") {
        add("measurement", count);
    }
    if studies.len() > 1 && !is_decision("task") {
        add("task", Cells::Words(all().map(|(study, _)| Some(study.name.clone())).collect()));
    }
    for name in &names {
        add(name, Cells::of(all().map(|(_, m)| m.decisions.get(*name).cloned()).collect()));
    }
    if let Some(unit) = studies.iter().find_map(|study| study.unit.as_ref()) {
        add(unit, Cells::Real(all().map(|(_, m)| Some(m.trained)).collect()));
        add("cost", Cells::Real(all().map(|(_, m)| Some(m.cost)).collect()));
    }
    let metrics: BTreeSet<&String> = all().flat_map(|(_, m)| m.metrics.keys()).collect();
    for metric in metrics {
        // What is not finite is no measurement, and JSON does not have it.
        let value = |m: &Measurement| m.metrics.get(metric).copied().filter(|value| value.is_finite());
        add(metric, Cells::Real(all().map(|(_, m)| value(m)).collect()));
    }
    if all().any(|(_, m)| m.infeasible.is_some()) {
        add("infeasible", Cells::Words(all().map(|(_, m)| m.infeasible.clone()).collect()));
    }
    if all().any(|(_, m)| m.cost == 0.0) {
        add("elsewhere", Cells::Truth(all().map(|(_, m)| Some(m.cost == 0.0)).collect()));
    }
    columns
}
