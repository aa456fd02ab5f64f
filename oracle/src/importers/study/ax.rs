//! An experiment of Ax in JSON (`AxClient.save_to_json_file`, `save_experiment`), as the table of its arms.

use super::{
    StudyError, literal,
    sheet::{self, Sheet},
};
use crate::importers::table::{Domain, Known, Source};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

/// The column of a trial's state, and the word for one that ended well.
const STATE: (&str, &str) = ("trial_status", "COMPLETED");

/// Whether a value is an experiment, or has one in it.
pub(super) fn is_one(value: &Value) -> bool {
    experiment(value).is_some()
}

fn kind(value: &Value) -> Option<&str> {
    ["__type", "_type"].into_iter().find_map(|key| value.get(key)?.as_str())
}

/// The experiment: the value itself, or that of a client.
fn experiment(value: &Value) -> Option<&Value> {
    let inside = value.get("experiment").or_else(|| value.get("_experiment"));
    [Some(value), inside].into_iter().flatten().find(|value| {
        kind(value).is_some_and(|kind| kind.ends_with("Experiment")) && value.get("trials").is_some()
    })
}

/// Reads an experiment.
///
/// # Errors
/// Says what of it is missing.
pub(super) fn read(path: &Path, value: &Value) -> Result<Source, StudyError> {
    let malformed = |reason: &str| StudyError::Malformed { path: path.into(), reason: reason.into() };
    let experiment = experiment(value).ok_or_else(|| malformed("it has no experiment of Ax"))?;
    let trials = experiment.get("trials").and_then(Value::as_object);
    let trials = trials.filter(|trials| !trials.is_empty()).ok_or_else(|| malformed("it has no trial"))?;
    let mut known = HashMap::new();
    for column in ["trial_index", "arm_name"] {
        known.insert(column.to_string(), Known::neither("the number or the name of a row"));
    }
    known.insert(STATE.0.into(), Known::neither("the state of the trial"));
    let mut notes = Vec::new();
    let space = experiment.get("search_space");
    let parameters = space.and_then(|space| space.get("parameters")).and_then(Value::as_array);
    for parameter in parameters.into_iter().flatten() {
        let Some(name) = parameter.get("name").and_then(Value::as_str) else { continue };
        known.insert(column("parameter", name), Known::decision(name, domain(parameter)));
    }
    let constraints = space.and_then(|space| space.get("parameter_constraints")).and_then(Value::as_array);
    if let Some(constraints) = constraints.filter(|constraints| !constraints.is_empty()) {
        let said: Vec<String> = constraints.iter().map(constraint).collect();
        notes.push(format!("constraints of parameters ({})", said.join("; ")));
    }
    let config = experiment.get("optimization_config").unwrap_or(&Value::Null);
    for (metric, minimised) in objectives(config.get("objective").unwrap_or(&Value::Null)) {
        known.insert(column("metric", &metric), Known::metric(&metric, Some(minimised)));
    }
    let limits = |key: &str| config.get(key).and_then(Value::as_array).into_iter().flatten();
    for outcome in limits("outcome_constraints") {
        notes.push(format!("a limit on an outcome: {}", limit(outcome)));
    }
    if limits("objective_thresholds").next().is_some() {
        notes.push("the thresholds of the objectives".into());
    }

    let mut sheet = Sheet::default();
    for name in ["trial_index", "arm_name", STATE.0] {
        sheet.column(name);
    }
    let mut measured = data(path, experiment, &mut notes)?;
    let mut order: Vec<(u64, &Value)> =
        trials.iter().map(|(key, trial)| (key.parse().unwrap_or(u64::MAX), trial)).collect();
    order.sort_by_key(|(index, _)| *index);
    for (index, trial) in order {
        let status = trial.get("status").and_then(|status| status.get("name")).and_then(Value::as_str);
        for (name, parameters) in arms(trial) {
            sheet.begin();
            sheet.put("trial_index", &index.to_string());
            sheet.put("arm_name", name);
            sheet.put(STATE.0, status.unwrap_or_default());
            for (parameter, value) in parameters {
                let column = column("parameter", parameter);
                known.entry(column.clone()).or_insert_with(|| Known::decision(parameter, None));
                sheet.put(&column, &sheet::parameter(value));
            }
            for (metric, value) in measured.remove(&(index, name.to_string())).unwrap_or_default() {
                let column = column("metric", &metric);
                known.entry(column.clone()).or_insert_with(|| Known::metric(&metric, None));
                sheet.put_value(&column, &value.into());
            }
        }
    }
    let name =
        experiment.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()).map(String::from);
    let table = sheet.table(path)?;
    let only = vec![(STATE.0.to_string(), STATE.1.to_string())];
    Ok(Source { name, by: Some("Ax"), known, only, notes, ..Source::of(table) })
}

fn column(what: &str, name: &str) -> String {
    format!("{what}.{name}")
}

/// The arms of a trial, or of a batch of them in each of the ways in which it was written.
fn arms(trial: &Value) -> Vec<(&str, &Map<String, Value>)> {
    let one = trial.get("generator_run").into_iter();
    let list = |key: &str| trial.get(key).and_then(Value::as_array).into_iter().flatten();
    let structs = list("generator_run_structs").filter_map(|of| of.get("generator_run"));
    let runs = one.chain(list("generator_runs")).chain(structs);
    let arms = runs.filter_map(|run| run.get("arms")?.as_array()).flatten();
    arms.filter_map(|arm| Some((arm.get("name")?.as_str()?, arm.get("parameters")?.as_object()?))).collect()
}

/// The mean of each metric of each arm, the last that was fetched.
#[expect(clippy::type_complexity, reason = "what was measured of an arm of a trial")]
fn data(
    path: &Path,
    experiment: &Value,
    notes: &mut Vec<String>,
) -> Result<HashMap<(u64, String), BTreeMap<String, f64>>, StudyError> {
    let mut measured: HashMap<(u64, String), BTreeMap<String, f64>> = HashMap::new();
    let (mut noise, mut steps) = (false, BTreeMap::<(u64, String, String), f64>::new());
    let by_trial = experiment.get("data_by_trial").and_then(Value::as_object);
    for fetched in by_trial.into_iter().flat_map(Map::values) {
        // An ordered dictionary of times and data, or a plain one.
        let pairs = fetched.get("value").and_then(Value::as_array);
        let plain = fetched.as_object().filter(|_| pairs.is_none()).into_iter().flat_map(Map::values);
        for data in pairs.into_iter().flatten().filter_map(|pair| pair.get(1)).chain(plain) {
            let Some(frame) = data.get("df").and_then(|frame| frame.get("value")).and_then(Value::as_str)
            else {
                continue;
            };
            let malformed = |reason: String| StudyError::Malformed {
                path: path.into(),
                reason: format!("the data of a trial: {reason}"),
            };
            let (frame, _) = literal::read(frame).map_err(malformed)?;
            let cell = |column: &str, row: &str| frame.get(column).and_then(|column| column.get(row));
            let rows = frame.get("metric_name").and_then(Value::as_object).into_iter().flat_map(Map::keys);
            for row in rows {
                let text = |column| cell(column, row).and_then(Value::as_str).map(String::from);
                let number = |column| cell(column, row).and_then(Value::as_f64);
                let (Some(metric), Some(arm)) = (text("metric_name"), text("arm_name")) else { continue };
                let trial = cell("trial_index", row).and_then(Value::as_u64);
                let (Some(trial), Some(mean)) = (trial, number("mean")) else { continue };
                noise |= number("sem").is_some_and(|sem| sem > 0.0);
                // Of a curve, what it ended with.
                if let Some(step) = number("step") {
                    let last = steps.entry((trial, arm.clone(), metric.clone())).or_insert(step);
                    if step < *last {
                        continue;
                    }
                    *last = step;
                }
                measured.entry((trial, arm)).or_default().insert(metric, mean);
            }
        }
    }
    if noise {
        notes.push("the standard errors of the means".into());
    }
    Ok(measured)
}

/// Where a parameter's values come from.
fn domain(parameter: &Value) -> Option<Domain> {
    let truth = |key: &str| parameter.get(key).and_then(Value::as_bool).unwrap_or(false);
    match kind(parameter)? {
        "RangeParameter" => {
            let whole = parameter.get("parameter_type")?.get("name")?.as_str()? == "INT";
            let (low, high) = (parameter.get("lower")?.as_f64()?, parameter.get("upper")?.as_f64()?);
            let digits = parameter.get("digits").and_then(Value::as_i64).filter(|_| !whole);
            let step = digits.map(|digits| 0.1_f64.powi(i32::try_from(digits).unwrap_or(12)));
            let log = truth("log_scale") && low > 0.0;
            Some(Domain::Numbers { low, high, log, step: step.filter(|_| !log), whole })
        }
        "ChoiceParameter" => {
            Some(Domain::Choices(parameter.get("values")?.as_array()?.clone(), truth("is_ordered")))
        }
        "FixedParameter" => Some(Domain::Choices(vec![parameter.get("value")?.clone()], false)),
        _ => None,
    }
}

/// The metrics of an objective, each with whether less is better.
fn objectives(objective: &Value) -> Vec<(String, bool)> {
    if let Some(several) = objective.get("objectives").and_then(Value::as_array) {
        return several.iter().flat_map(objectives).collect();
    }
    if let Some(expression) = objective.get("expression").and_then(Value::as_str) {
        // Several are a list; a sum of metrics is none of them.
        let term = |text: &str| {
            let text = text.trim();
            let bare = text.strip_prefix('-').map(str::trim_start).unwrap_or(text);
            let plain = !bare.is_empty() && !bare.contains(['+', '*', '-', '(', ' ', '/']);
            plain.then(|| (bare.to_string(), bare.len() < text.len()))
        };
        return expression.split(',').filter_map(term).collect();
    }
    let metric = |metric: &Value| metric.get("name").and_then(Value::as_str).map(String::from);
    let minimised = objective.get("minimize").and_then(Value::as_bool);
    let Some(of) = objective.get("metric") else { return Vec::new() };
    let minimised = minimised.or_else(|| of.get("lower_is_better")?.as_bool());
    metric(of).zip(minimised).into_iter().collect()
}

fn constraint(constraint: &Value) -> String {
    let weights = constraint.get("constraint_dict").and_then(Value::as_object);
    let sum: Vec<String> =
        weights.into_iter().flatten().map(|(name, weight)| format!("{weight} {name}")).collect();
    let text = |key: &str| constraint.get(key).map(ToString::to_string).unwrap_or_default();
    match sum.is_empty() {
        true => text("inequality"),
        false => format!("{} <= {}", sum.join(" + "), text("bound")),
    }
}

fn limit(outcome: &Value) -> String {
    let text = |of: Option<&Value>| of.and_then(Value::as_str).map(String::from);
    if let Some(expression) = text(outcome.get("expression")) {
        return expression;
    }
    let metric = text(outcome.get("metric").and_then(|metric| metric.get("name"))).unwrap_or_default();
    let op = text(outcome.get("op").and_then(|op| op.get("name"))).unwrap_or_default();
    let sign = if op == "GEQ" { ">=" } else { "<=" };
    let bound = outcome.get("bound").map(ToString::to_string).unwrap_or_default();
    format!("{metric} {sign} {bound}; a search has it as --require '{metric} {sign} {bound}'")
}
