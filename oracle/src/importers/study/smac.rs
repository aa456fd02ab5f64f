//! The run history of SMAC (`runhistory.json`, of SMAC3 from 0.x to 2.x), with its ConfigSpace if that is there.

use super::{
    StudyError,
    sheet::{self, Sheet},
};
use crate::{
    benchmark::SpaceFormat,
    importers::table::{Domain, Known, Source, SourceSpace},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// The column of a trial's state, and the word for one that ended well.
const STATE: (&str, &str) = ("status", "SUCCESS");
/// Columns that are neither, and why.
const NOTES: [(&str, &str); 6] = [
    ("config_id", "the number or the name of a row"),
    ("instance", "what it was measured on; `only` can say which rows count"),
    ("seed", "seeds; rows of one architecture are then measurements with other seeds"),
    ("budget", "how long was trained; `only` says which rows count"),
    (STATE.0, "the state of the trial"),
    ("origin", "who proposed it"),
];

/// Whether a value is a run history.
pub(super) fn is_one(value: &Value) -> bool {
    value.get("data").is_some() && value.get("configs").is_some_and(Value::is_object)
}

/// Whether a value is a ConfigSpace.
pub(super) fn is_space(value: &Value) -> bool {
    value.get("hyperparameters").is_some_and(Value::is_array)
}

/// The ConfigSpace that SMAC writes beside its run history.
pub(super) fn space_beside(path: &Path) -> Option<PathBuf> {
    let beside = path.with_file_name("configspace.json");
    beside.is_file().then_some(beside)
}

/// One run of the program that was configured.
#[derive(Default)]
struct Run {
    config: String,
    instance: String,
    seed: String,
    budget: String,
    costs: Vec<Option<f64>>,
    time: Option<f64>,
    status: String,
}

/// Reads a run history; `space` is the text of its ConfigSpace.
///
/// # Errors
/// Says which entry is not understood.
pub(super) fn read(path: &Path, value: &Value, space: Option<String>) -> Result<Source, StudyError> {
    let malformed = |reason: String| StudyError::Malformed { path: path.into(), reason };
    let entries = value.get("data").and_then(Value::as_array);
    let entries = entries.filter(|e| !e.is_empty()).ok_or_else(|| malformed("it has no trial".into()))?;
    let configs = value.get("configs").and_then(Value::as_object);
    let configs = configs.ok_or_else(|| malformed("it has no `configs`".into()))?;
    let mut known: HashMap<String, Known> =
        NOTES.iter().map(|(name, why)| (name.to_string(), Known::neither(why))).collect();
    let mut notes = Vec::new();
    let runs = entries.iter().enumerate().map(|(i, entry)| {
        run(entry).ok_or_else(|| malformed(format!("entry {} of `data` is no trial: {entry}", i + 1)))
    });
    let runs: Vec<Run> = runs.collect::<Result<_, _>>()?;
    let several = runs.iter().any(|run| run.costs.len() > 1);
    let cost = |i: usize| if several { format!("cost_{i}") } else { "cost".to_string() };
    let domains = space.as_deref().map(domains).unwrap_or_default();

    let mut sheet = Sheet::default();
    for name in ["config_id", "instance", "seed", "budget"] {
        sheet.column(name);
    }
    let mut infinite = 0;
    for run in &runs {
        let config = configs.get(&run.config).and_then(Value::as_object).ok_or_else(|| {
            malformed(format!(
                "`configs` lacks the configuration {}, of which `data` has a trial",
                run.config
            ))
        })?;
        sheet.begin();
        sheet.put("config_id", &run.config);
        sheet.put("instance", &run.instance);
        sheet.put("seed", &run.seed);
        sheet.put("budget", &run.budget);
        for (name, value) in config {
            let column = format!("config.{name}");
            known.entry(column.clone()).or_insert_with(|| Known::decision(name, domains.get(name).cloned()));
            sheet.put(&column, &sheet::parameter(value));
        }
        for (i, value) in run.costs.iter().enumerate() {
            known.entry(cost(i)).or_insert_with(|| Known::metric(&cost(i), Some(true)));
            match value {
                Some(value) => sheet.put_value(&cost(i), &(*value).into()),
                None => infinite += usize::from(run.status == STATE.1),
            }
        }
        if let Some(time) = run.time {
            known.entry("time".into()).or_insert_with(|| Known::metric("time_s", Some(true)));
            sheet.put_value("time", &time.into());
        }
        sheet.put(STATE.0, &run.status);
    }
    if infinite > 0 {
        notes.push(format!("infinite costs ({infinite}): they are missing"));
    }
    let mut only = vec![(STATE.0.to_string(), STATE.1.to_string())];
    let good = || runs.iter().filter(|run| run.status == STATE.1);
    let largest = good().filter_map(|run| run.budget.parse().ok()).max_by(f64::total_cmp);
    if let Some(run) = good().find(|run| largest.is_some_and(|most: f64| run.budget.parse() == Ok(most))) {
        only.push(("budget".into(), run.budget.clone()));
    }
    let instances = good().any(|run| run.instance != runs[0].instance);
    if instances {
        notes.push("which instance each cost is of: the costs of one configuration count as seeds".into());
    }
    let space = space.map(|text| SourceSpace::Text(SpaceFormat::Json, text));
    let table = sheet.table(path)?;
    Ok(Source { by: Some("SMAC"), known, only, space, notes, ..Source::of(table) })
}

/// One entry of `data`, in the writing of each version.
fn run(entry: &Value) -> Option<Run> {
    let text = |value: Option<&Value>| value.map(sheet::text).unwrap_or_default();
    match entry {
        // 2.1 and later.
        Value::Object(of) => Some(Run {
            config: text(of.get("config_id")),
            instance: text(of.get("instance")),
            seed: text(of.get("seed")),
            budget: text(of.get("budget")),
            costs: costs(of.get("cost")?),
            time: of.get("time").and_then(Value::as_f64),
            status: status(of.get("status")?, true)?,
        }),
        Value::Array(parts) => match &parts[..] {
            // 0.x and 1.x: what was run, and what came of it.
            [Value::Array(what), Value::Array(came)] => Some(Run {
                config: text(what.first()),
                instance: text(what.get(1)),
                seed: text(what.get(2)),
                budget: text(what.get(3)),
                costs: costs(came.first()?),
                time: came.get(1).and_then(Value::as_f64),
                status: status(came.get(2)?, false)?,
            }),
            // 2.0: all of it in a row.
            [config, instance, seed, budget, cost, time, state, ..] => Some(Run {
                config: sheet::text(config),
                instance: sheet::text(instance),
                seed: sheet::text(seed),
                budget: sheet::text(budget),
                costs: costs(cost),
                time: time.as_f64(),
                status: status(state, true)?,
            }),
            _ => None,
        },
        _ => None,
    }
}

fn costs(cost: &Value) -> Vec<Option<f64>> {
    // SMAC 1.x stood this in for what crashed.
    let number = |value: &Value| value.as_f64().filter(|cost| *cost < 2_147_483_647.0);
    match cost {
        Value::Array(several) => several.iter().map(number).collect(),
        one => vec![number(one)],
    }
}

/// A state by its name; numbers meant others before 2.0.
fn status(value: &Value, newer: bool) -> Option<String> {
    let named = value.get("__enum__").unwrap_or(value);
    if let Some(name) = named.as_str() {
        return Some(name.rsplit('.').next().unwrap_or(name).into());
    }
    let names: &[&str] = match newer {
        true => &["RUNNING", "SUCCESS", "CRASHED", "TIMEOUT", "MEMORYOUT"],
        false => &["", "SUCCESS", "TIMEOUT", "CRASHED", "ABORT", "MEMOUT", "CAPPED", "RUNNING", "STOP"],
    };
    names.get(usize::try_from(named.as_u64()?).ok()?).filter(|name| !name.is_empty()).map(ToString::to_string)
}

/// Whether numbers of a ConfigSpace are near by their ratio.
fn domains(text: &str) -> HashMap<String, Domain> {
    let space: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let all = space.get("hyperparameters").and_then(Value::as_array).into_iter().flatten();
    let domain = |of: &Value| {
        let name = of.get("name")?.as_str()?.to_string();
        let (low, high) = (of.get("lower")?.as_f64()?, of.get("upper")?.as_f64()?);
        let log = of.get("log").and_then(Value::as_bool).unwrap_or(false);
        let whole = of.get("type")?.as_str()?.to_lowercase().contains("int");
        Some((name, Domain::Numbers { low, high, log, step: None, whole }))
    };
    all.filter_map(domain).collect()
}
