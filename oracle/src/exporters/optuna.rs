//! Studies as an SQLite storage that Optuna (3.2 and later) loads and goes on with.

use super::{ExportError, Measurement, Study};
use crate::importers::study::OPTUNA_SPACE;
use rusqlite::{Connection, Transaction, params};
use serde_json::{Value, json};
use srnas_basics::files::write_whole_by;
use srnas_space::Decision;
use std::{fs, io, path::Path};

/// The tables of Optuna's schema 12, and what says that they are these.
const SCHEMA: &str = "
CREATE TABLE studies (study_id INTEGER NOT NULL PRIMARY KEY, study_name VARCHAR(512) NOT NULL);
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE TABLE version_info (
    version_info_id INTEGER NOT NULL PRIMARY KEY CHECK (version_info_id = 1), schema_version INTEGER, library_version VARCHAR(256)
);
CREATE TABLE study_directions (
    study_direction_id INTEGER NOT NULL PRIMARY KEY, direction VARCHAR(8) NOT NULL,
    study_id INTEGER NOT NULL REFERENCES studies (study_id), objective INTEGER NOT NULL, UNIQUE (study_id, objective)
);
CREATE TABLE study_user_attributes (
    study_user_attribute_id INTEGER NOT NULL PRIMARY KEY, study_id INTEGER REFERENCES studies (study_id), \"key\" VARCHAR(512),
    value_json TEXT, UNIQUE (study_id, \"key\")
);
CREATE TABLE study_system_attributes (
    study_system_attribute_id INTEGER NOT NULL PRIMARY KEY, study_id INTEGER REFERENCES studies (study_id), \"key\" VARCHAR(512),
    value_json TEXT, UNIQUE (study_id, \"key\")
);
CREATE TABLE trials (
    trial_id INTEGER NOT NULL PRIMARY KEY, number INTEGER, study_id INTEGER REFERENCES studies (study_id), state VARCHAR(8) NOT NULL,
    datetime_start DATETIME, datetime_complete DATETIME
);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE TABLE trial_user_attributes (
    trial_user_attribute_id INTEGER NOT NULL PRIMARY KEY, trial_id INTEGER REFERENCES trials (trial_id), \"key\" VARCHAR(512),
    value_json TEXT, UNIQUE (trial_id, \"key\")
);
CREATE TABLE trial_system_attributes (
    trial_system_attribute_id INTEGER NOT NULL PRIMARY KEY, trial_id INTEGER REFERENCES trials (trial_id), \"key\" VARCHAR(512),
    value_json TEXT, UNIQUE (trial_id, \"key\")
);
CREATE TABLE trial_params (
    param_id INTEGER NOT NULL PRIMARY KEY, trial_id INTEGER REFERENCES trials (trial_id), param_name VARCHAR(512),
    param_value FLOAT, distribution_json TEXT, UNIQUE (trial_id, param_name)
);
CREATE TABLE trial_values (
    trial_value_id INTEGER NOT NULL PRIMARY KEY, trial_id INTEGER NOT NULL REFERENCES trials (trial_id), objective INTEGER NOT NULL,
    value FLOAT, value_type VARCHAR(7) NOT NULL, UNIQUE (trial_id, objective)
);
CREATE TABLE trial_intermediate_values (
    trial_intermediate_value_id INTEGER NOT NULL PRIMARY KEY, trial_id INTEGER NOT NULL REFERENCES trials (trial_id),
    step INTEGER NOT NULL, intermediate_value FLOAT, intermediate_value_type VARCHAR(7) NOT NULL, UNIQUE (trial_id, step)
);
CREATE TABLE trial_heartbeats (
    trial_heartbeat_id INTEGER NOT NULL PRIMARY KEY, trial_id INTEGER NOT NULL REFERENCES trials (trial_id),
    heartbeat DATETIME NOT NULL, UNIQUE (trial_id)
);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO version_info VALUES (1, 12, '3.2.0');
INSERT INTO alembic_version VALUES ('v3.2.0.a');
";

/// Writes studies into a new file, whole or not at all.
///
/// # Errors
/// See [`ExportError`].
pub fn write(studies: &[Study], path: &Path) -> Result<(), ExportError> {
    if path.exists() {
        return Err(ExportError::Present { path: path.into() });
    }
    let database = |source| ExportError::Database { path: path.into(), source };
    let mut connection = Connection::open_in_memory().map_err(database)?;
    let transaction = connection.transaction().map_err(database)?;
    transaction.execute_batch(SCHEMA).map_err(database)?;
    for study in studies {
        enter(&transaction, study).map_err(database)?;
    }
    transaction.commit().map_err(database)?;
    let failed = |source| ExportError::Write { path: path.into(), source };
    // SQLite wants a name of its own; what it wrote is put in place whole.
    let folder = tempdir_beside(path).map_err(failed)?;
    let made = folder.path().join("storage");
    let copied = connection.execute("VACUUM INTO ?1", [made.to_string_lossy()]).map_err(database);
    copied?;
    write_whole_by(path, |file| io::copy(&mut fs::File::open(&made)?, file).map(|_| ())).map_err(failed)
}

fn tempdir_beside(path: &Path) -> io::Result<tempfile::TempDir> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    tempfile::Builder::new().prefix(".srnas-").tempdir_in(folder)
}

fn enter(to: &Transaction<'_>, study: &Study) -> rusqlite::Result<()> {
    to.execute("INSERT INTO studies (study_name) VALUES (?1)", [&study.name])?;
    let id = to.last_insert_rowid();
    for (objective, (_, minimise)) in study.objectives.iter().enumerate() {
        let direction = if *minimise { "MINIMIZE" } else { "MAXIMIZE" };
        let sql = "INSERT INTO study_directions (direction, study_id, objective) VALUES (?1, ?2, ?3)";
        to.execute(sql, params![direction, id, objective as i64])?;
    }
    let names: Vec<&String> = study.objectives.iter().map(|(name, _)| name).collect();
    let sql = "INSERT INTO study_system_attributes (study_id, \"key\", value_json) VALUES (?1, 'study:metric_names', ?2)";
    to.execute(sql, params![id, json!(names).to_string()])?;
    // Read by `srnas bench import optuna`.
    let space = match &study.definition {
        Some((text, ending)) => json!({ "format": ending, "text": text }),
        None => json!({ "name": study.space.name() }),
    };
    let sql = "INSERT INTO study_user_attributes (study_id, \"key\", value_json) VALUES (?1, ?2, ?3)";
    to.execute(sql, params![id, OPTUNA_SPACE, space.to_string()])?;
    let distributions: Vec<Distribution> = study.space.decisions().iter().map(Distribution::of).collect();
    for (number, measurement) in study.measurements.iter().enumerate() {
        trial(to, study, id, number, measurement, &distributions)?;
    }
    Ok(())
}

fn trial(
    to: &Transaction<'_>,
    study: &Study,
    id: i64,
    number: usize,
    measurement: &Measurement,
    distributions: &[Distribution],
) -> rusqlite::Result<()> {
    let value = |name: &String| measurement.metrics.get(name).copied().filter(|value| value.is_finite());
    let values: Vec<Option<f64>> = study.objectives.iter().map(|(name, _)| value(name)).collect();
    let measured = measurement.infeasible.is_none() && values.iter().all(Option::is_some);
    let state = match (measured, measurement.full) {
        (true, true) => "COMPLETE",
        // A shorter training is one that was ended early.
        (true, false) => "PRUNED",
        (false, _) => "FAIL",
    };
    // The ledger has no times; Optuna wants some.
    let sql = "INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete)
               VALUES (?1, ?2, ?3, strftime('%Y-%m-%d %H:%M:%f000', 'now'), strftime('%Y-%m-%d %H:%M:%f000', 'now'))";
    to.execute(sql, params![number as i64, id, state])?;
    let trial = to.last_insert_rowid();
    let mut parameters = to.prepare_cached(
        "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (decision, distribution) in study.space.decisions().iter().zip(distributions) {
        let Some(value) = measurement.decisions.get(&decision.name) else { continue };
        let Some(number) = distribution.number(value) else { continue };
        parameters.execute(params![trial, decision.name, number, distribution.json])?;
    }
    if measured && measurement.full {
        for (objective, value) in values.iter().enumerate() {
            let sql = "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?1, ?2, ?3, 'FINITE')";
            to.execute(sql, params![trial, objective as i64, value])?;
        }
    } else if measured && let [Some(value)] = values[..] {
        let sql = "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
                   VALUES (?1, ?2, ?3, 'FINITE')";
        to.execute(sql, params![trial, measurement.trained.round() as i64, value])?;
    }
    let is_value =
        |name: &String| measured && study.objectives.iter().any(|(objective, _)| objective == name);
    let mut notes: Vec<(String, Value)> = measurement
        .metrics
        .iter()
        .filter(|(name, value)| {
            value.is_finite() && !(is_value(name) && (measurement.full || values.len() == 1))
        })
        .map(|(name, value)| (name.clone(), Value::from(*value)))
        .collect();
    notes.extend(
        measurement.infeasible.iter().map(|reason| ("infeasible".to_string(), Value::from(reason.as_str()))),
    );
    if let Some(unit) = &study.unit {
        notes.push((unit.clone(), measurement.trained.into()));
        notes.push(("cost".into(), measurement.cost.into()));
    } else if measurement.cost == 0.0 {
        notes.push(("elsewhere".into(), true.into()));
    }
    let mut attributes = to.prepare_cached(
        "INSERT OR IGNORE INTO trial_user_attributes (trial_id, \"key\", value_json) VALUES (?1, ?2, ?3)",
    )?;
    for (key, value) in notes {
        attributes.execute(params![trial, key, value.to_string()])?;
    }
    Ok(())
}

/// What Optuna is told of a decision: a range where its choices are ordered numbers, else its choices.
struct Distribution {
    json: String,
    choices: Option<Vec<Value>>,
}

impl Distribution {
    fn of(decision: &Decision) -> Self {
        let choices: Vec<Value> = (0..decision.choices.len()).map(|c| decision.value(c as u8)).collect();
        let numbers: Option<Vec<f64>> = choices.iter().map(Value::as_f64).collect();
        let whole = choices.iter().all(|choice| choice.is_i64());
        match numbers.filter(|numbers| decision.ordered && numbers.len() > 1) {
            Some(numbers) if numbers.windows(2).all(|pair| pair[0] < pair[1]) => {
                let (low, high) = (numbers[0], numbers[numbers.len() - 1]);
                let gap = numbers[1] - numbers[0];
                let even = numbers.windows(2).all(|pair| ((pair[1] - pair[0]) - gap).abs() <= 1e-9 * gap);
                // Wider from level to level: near by their ratio.
                let widening = numbers.windows(2).last().is_some_and(|pair| pair[1] - pair[0] > 1.5 * gap);
                let log = low > 0.0 && !even && widening;
                let json = match whole {
                    true => {
                        let step = if even { gap as i64 } else { 1 };
                        let attributes =
                            json!({ "log": log, "step": step, "low": low as i64, "high": high as i64 });
                        json!({ "name": "IntDistribution", "attributes": attributes })
                    }
                    false => {
                        let attributes = json!({ "step": null, "low": low, "high": high, "log": log });
                        json!({ "name": "FloatDistribution", "attributes": attributes })
                    }
                };
                Self { json: json.to_string(), choices: None }
            }
            _ => {
                let json = json!({ "name": "CategoricalDistribution", "attributes": { "choices": choices } });
                Self { json: json.to_string(), choices: Some(choices) }
            }
        }
    }

    /// A value as the storage has it: its number, or the place of the choice.
    fn number(&self, value: &Value) -> Option<f64> {
        match &self.choices {
            Some(choices) => choices.iter().position(|choice| choice == value).map(|place| place as f64),
            None => value.as_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_numbers_are_ranges_and_all_else_is_choices() {
        let text = "[[decisions]]\nname = \"a\"\nrange = [1, 4]\n[[decisions]]\nname = \"b\"\nrange = [1e-4, 1e-1]\nlog = true\n\
                    [[decisions]]\nname = \"c\"\nrange = [16, 64]\nstep = 16\n[[decisions]]\nname = \"d\"\nchoices = [true, false]\n\
                    [[decisions]]\nname = \"e\"\nchoices = [8, 16, 64]\n[[decisions]]\nname = \"f\"\nchoices = [8, 16, 64]\nordered = true\n\
                    [[decisions]]\nname = \"g\"\nrange = [0.0, 0.5]\n";
        let space = srnas_space::read(text, "toy").unwrap();
        let of = |i: usize| -> String { Distribution::of(&space.decisions()[i]).json };
        let wanted = [
            r#"{"attributes":{"high":4,"log":false,"low":1,"step":1},"name":"IntDistribution"}"#,
            r#"{"attributes":{"high":0.1,"log":true,"low":0.0001,"step":null},"name":"FloatDistribution"}"#,
            r#"{"attributes":{"high":64,"log":false,"low":16,"step":16},"name":"IntDistribution"}"#,
            r#"{"attributes":{"choices":[true,false]},"name":"CategoricalDistribution"}"#,
            r#"{"attributes":{"choices":[8,16,64]},"name":"CategoricalDistribution"}"#,
            r#"{"attributes":{"high":64,"log":true,"low":8,"step":1},"name":"IntDistribution"}"#,
            r#"{"attributes":{"high":0.5,"log":false,"low":0.0,"step":null},"name":"FloatDistribution"}"#,
        ];
        for (i, wanted) in wanted.iter().enumerate() {
            let (found, wanted): (Value, Value) = (of(i).parse().unwrap(), wanted.parse().unwrap());
            assert_eq!(found, wanted);
        }
        let choices = Distribution::of(&space.decisions()[4]);
        assert_eq!((choices.number(&json!(16)), choices.number(&json!(17))), (Some(1.0), None));
    }
}
