//! A study in Optuna's SQLite storage, as the table that `study.trials_dataframe()` makes of it, with what the storage says more: the
//! directions, and the distributions of the parameters.

use super::{
    StudyError,
    sheet::{self, Sheet},
};
use crate::{
    benchmark::SpaceFormat,
    importers::table::{Domain, Known, Source, SourceSpace},
};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, params};
use serde_json::Value;
use std::{collections::HashMap, path::Path, time::Duration};

/// The newest schema that is known.
const SCHEMA: i64 = 12;
/// The attribute of a study in which `srnas export` keeps the space.
pub const SPACE: &str = "srnas:space";
/// How long a lock is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a parameter's distribution says: its domain, and the choices that its numbers stand for.
type Distribution = (Option<Domain>, Option<Vec<Value>>);
/// By trial, the value of each objective; none where it is infinite.
type Values = HashMap<i64, Vec<(usize, Option<f64>)>>;

/// Reads a study of a storage: the one of that name, or the only one.
///
/// # Errors
/// See [`StudyError`].
pub(super) fn read(path: &Path, wanted: Option<&str>) -> Result<Source, StudyError> {
    let storage = Storage::open(path)?;
    let (id, name) = storage.study(wanted)?;
    storage.trials(id, &name)
}

struct Storage<'p> {
    path: &'p Path,
    connection: Connection,
}

impl<'p> Storage<'p> {
    fn open(path: &'p Path) -> Result<Self, StudyError> {
        let failed = |source| failure(path, source);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        let storage = Self { path, connection };
        let tables = storage.all("SELECT name FROM sqlite_master WHERE type = 'table'", [], |row| row.get(0));
        let tables: Vec<String> = tables?;
        let has = |name: &str| tables.iter().any(|table| table == name);
        if !["studies", "trials", "trial_params"].into_iter().all(has) {
            return Err(StudyError::OtherKind {
                path: path.into(),
                wanted: "optuna",
                found: database(&tables),
            });
        }
        if has("version_info") {
            let said =
                storage.all("SELECT schema_version, library_version FROM version_info", [], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?))
                })?;
            if let Some((schema, library)) = said.into_iter().find(|(schema, _)| *schema > SCHEMA) {
                let library = library.unwrap_or_else(|| "?".into());
                return Err(StudyError::Schema { path: path.into(), schema, library, known: SCHEMA });
            }
        }
        Ok(storage)
    }

    fn all<T>(
        &self,
        sql: &str,
        given: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StudyError> {
        let rows = self.connection.prepare(sql).and_then(|mut query| query.query_map(given, read)?.collect());
        rows.map_err(|source| failure(self.path, source))
    }

    fn has_column(&self, table: &str, column: &str) -> Result<bool, StudyError> {
        let sql = "SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2";
        Ok(!self.all(sql, [table, column], |_| Ok(()))?.is_empty())
    }

    /// The study that is wanted.
    fn study(&self, wanted: Option<&str>) -> Result<(i64, String), StudyError> {
        let sql = "SELECT s.study_id, s.study_name, count(t.trial_id) FROM studies s LEFT JOIN trials t USING (study_id) \
                   GROUP BY s.study_id ORDER BY s.study_id";
        let studies = self.all(sql, [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        })?;
        let path = self.path.into();
        let names = || {
            let named = |(_, name, trials): &(i64, String, i64)| {
                format!("`{name}` ({trials} trial{})", if *trials == 1 { "" } else { "s" })
            };
            studies.iter().map(named).collect::<Vec<_>>().join(", ")
        };
        match (wanted, &studies[..]) {
            (_, []) => Err(StudyError::NoStudy { path, reason: "it holds no study".into() }),
            (Some(wanted), all) => match all.iter().find(|(_, name, _)| name == wanted) {
                Some((id, name, _)) => Ok((*id, name.clone())),
                None => {
                    let reason = format!("it holds no study `{wanted}`; there are {}", names());
                    Err(StudyError::NoStudy { path, reason })
                }
            },
            (None, [(id, name, _)]) => Ok((*id, name.clone())),
            (None, _) => Err(StudyError::SeveralStudies { path, studies: names() }),
        }
    }

    fn trials(&self, study: i64, name: &str) -> Result<Source, StudyError> {
        let number = if self.has_column("trials", "number")? { "number" } else { "NULL" };
        let sql = format!(
            "SELECT trial_id, {number}, state FROM trials WHERE study_id = ?1 ORDER BY {number}, trial_id"
        );
        let trials = self.all(&sql, [study], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, String>(2)?))
        })?;
        if trials.is_empty() {
            return Err(StudyError::NoStudy {
                path: self.path.into(),
                reason: format!("its study `{name}` has no trial"),
            });
        }
        let (mut sheet, mut known) = (Sheet::default(), HashMap::new());
        sheet.column("number");
        let mut values = self.values(study)?;
        let objectives = self.objectives(study, &values)?;
        for (column, minimised) in &objectives {
            sheet.column(column);
            let metric = ["values_", "value_"].into_iter().find_map(|start| column.strip_prefix(start));
            let metric = metric.unwrap_or(column);
            known.insert(column.clone(), Known::metric(metric, *minimised));
        }
        let (mut parameters, domains) = self.parameters(study)?;
        let mut names: Vec<&String> = domains.keys().collect();
        names.sort();
        for name in names {
            sheet.column(&format!("params_{name}"));
            known.insert(format!("params_{name}"), Known::decision(name, domains[name].clone()));
        }
        let mut attributes = self.attributes(study)?;
        let mut infinite = 0;
        for (place, (id, number, state)) in trials.iter().enumerate() {
            sheet.begin();
            sheet.put("number", &number.unwrap_or(place as i64).to_string());
            for (objective, value) in values.remove(id).unwrap_or_default() {
                let Some((column, _)) = objectives.get(objective) else { continue };
                match value {
                    Some(value) if value.is_finite() => sheet.put_value(column, &value.into()),
                    _ => infinite += usize::from(state == "COMPLETE"),
                }
            }
            for (name, text) in parameters.remove(id).unwrap_or_default() {
                sheet.put(&format!("params_{name}"), &text);
            }
            for (key, value) in attributes.remove(id).unwrap_or_default() {
                sheet.put_value(&format!("user_attrs_{key}"), &value);
            }
            sheet.put("state", state);
        }
        let mut notes = Vec::new();
        if infinite > 0 {
            notes.push(format!("infinite values ({infinite}): they are missing"));
        }
        let steps =
            "SELECT count(*) FROM trial_intermediate_values JOIN trials USING (trial_id) WHERE study_id = ?1";
        if self.has_column("trial_intermediate_values", "step")?
            && let Some(steps @ 1..) =
                self.all(steps, [study], |row| row.get::<_, i64>(0))?.into_iter().next()
        {
            notes.push(format!("values on the way ({steps}): a table has what a training ended with"));
        }
        let table = sheet.table(self.path)?;
        let (name, space) = (Some(name.to_string()), self.space(study)?);
        Ok(Source { name, known, space, notes, ..Source::of(table) })
    }

    /// The values of each trial, by objective; none where they are infinite.
    fn values(&self, study: i64) -> Result<Values, StudyError> {
        let sql = match self.has_column("trial_values", "objective")? {
            true => {
                "SELECT trial_id, objective, v.value FROM trial_values v JOIN trials USING (trial_id) WHERE study_id = ?1"
            }
            // Before studies had several objectives.
            false => "SELECT trial_id, 0, value FROM trials WHERE study_id = ?1 AND value IS NOT NULL",
        };
        let read = |row: &Row<'_>| {
            Ok((row.get::<_, i64>(0)?, (row.get::<_, i64>(1)? as usize, row.get::<_, Option<f64>>(2)?)))
        };
        Ok(gathered(self.all(sql, [study], read)?))
    }

    /// The columns of the objectives, and whether less is better.
    fn objectives(&self, study: i64, values: &Values) -> Result<Vec<(String, Option<bool>)>, StudyError> {
        let sql = match self.has_column("study_directions", "objective")? {
            true => "SELECT direction FROM study_directions WHERE study_id = ?1 ORDER BY objective",
            false => "SELECT direction FROM studies WHERE study_id = ?1",
        };
        let directions: Vec<String> = self.all(sql, [study], |row| row.get(0))?;
        let named = self.study_attribute("study_system_attributes", study, "study:metric_names")?;
        let named: Vec<String> =
            named.and_then(|names| serde_json::from_value(names).ok()).unwrap_or_default();
        let most = values.values().flatten().map(|(objective, _)| objective + 1).max().unwrap_or(0);
        let count = directions.len().max(most);
        let column = |i: usize| match (named.get(i), count) {
            (Some(name), 1) => format!("value_{name}"),
            (Some(name), _) => format!("values_{name}"),
            (None, 1) => "value".into(),
            (None, _) => format!("values_{i}"),
        };
        let minimised = |i: usize| match directions.get(i).map(String::as_str) {
            Some("MINIMIZE") => Some(true),
            Some("MAXIMIZE") => Some(false),
            _ => None,
        };
        Ok((0..count).map(|i| (column(i), minimised(i))).collect())
    }

    /// The parameters of each trial as cells have them, and the domain of each.
    #[expect(clippy::type_complexity, reason = "two maps that are made in one go")]
    fn parameters(
        &self,
        study: i64,
    ) -> Result<(HashMap<i64, Vec<(String, String)>>, HashMap<String, Option<Domain>>), StudyError> {
        let sql = "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params JOIN trials USING (trial_id) \
                   WHERE study_id = ?1 ORDER BY param_id";
        let rows = self.all(sql, [study], |row| {
            let name_and_value = (row.get::<_, String>(1)?, row.get::<_, Option<f64>>(2)?);
            Ok((row.get::<_, i64>(0)?, name_and_value, row.get::<_, Option<String>>(3)?))
        })?;
        // Most trials say the same of a parameter.
        let mut distributions: HashMap<String, Distribution> = HashMap::new();
        let (mut cells, mut domains) = (Vec::new(), HashMap::<String, Option<Domain>>::new());
        for (trial, (name, value), json) in rows {
            let json = json.unwrap_or_default();
            let (domain, choices) = distributions.entry(json).or_insert_with_key(|json| distribution(json));
            if let Some(domain) = domain.clone() {
                let known = domains.entry(name.clone()).or_default();
                *known = Some(match known.take() {
                    Some(before) if before != domain => before.joined(domain),
                    _ => domain,
                });
            } else {
                domains.entry(name.clone()).or_default();
            }
            let Some(value) = value else { continue };
            let whole = matches!(domain, Some(Domain::Numbers { whole: true, .. }));
            let text = match choices {
                Some(choices) => choices.get(value as usize).map(sheet::parameter).unwrap_or_default(),
                None if whole => format!("{value:.0}"),
                None => Value::from(value).to_string(),
            };
            cells.push((trial, (name, text)));
        }
        Ok((gathered(cells), domains))
    }

    /// What a user noted of each trial.
    fn attributes(&self, study: i64) -> Result<HashMap<i64, Vec<(String, Value)>>, StudyError> {
        if !self.has_column("trial_user_attributes", "value_json")? {
            return Ok(HashMap::new());
        }
        let sql = "SELECT trial_id, \"key\", value_json FROM trial_user_attributes JOIN trials USING (trial_id) \
                   WHERE study_id = ?1 ORDER BY trial_user_attribute_id";
        let read = |row: &Row<'_>| {
            let text = row.get::<_, Option<String>>(2)?.unwrap_or_default();
            let value = super::literal::read(&text).map_or(Value::String(text), |(value, _)| value);
            Ok((row.get::<_, i64>(0)?, (row.get::<_, String>(1)?, value)))
        };
        Ok(gathered(self.all(sql, [study], read)?))
    }

    fn study_attribute(&self, table: &str, study: i64, key: &str) -> Result<Option<Value>, StudyError> {
        if !self.has_column(table, "value_json")? {
            return Ok(None);
        }
        let sql = format!("SELECT value_json FROM {table} WHERE study_id = ?1 AND \"key\" = ?2");
        let found = self.all(&sql, params![study, key], |row| row.get::<_, Option<String>>(0))?;
        Ok(found.into_iter().flatten().next().and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// The space, if srnas wrote the study.
    fn space(&self, study: i64) -> Result<Option<SourceSpace>, StudyError> {
        let Some(said) = self.study_attribute("study_user_attributes", study, SPACE)? else {
            return Ok(None);
        };
        let text = |key: &str| said.get(key).and_then(Value::as_str).map(String::from);
        let format = |name: &str| if name == "json" { SpaceFormat::Json } else { SpaceFormat::Toml };
        Ok(match (text("name"), text("format"), text("text")) {
            (_, Some(ending), Some(text)) => Some(SourceSpace::Text(format(&ending), text)),
            (Some(name), ..) => Some(SourceSpace::Named(name)),
            _ => None,
        })
    }
}

fn gathered<T>(rows: Vec<(i64, T)>) -> HashMap<i64, Vec<T>> {
    let mut all: HashMap<i64, Vec<T>> = HashMap::new();
    for (trial, value) in rows {
        all.entry(trial).or_default().push(value);
    }
    all
}

/// What a distribution says, in the writing of every version.
fn distribution(json: &str) -> Distribution {
    let Ok(said) = serde_json::from_str::<Value>(json) else { return (None, None) };
    let of = |key: &str| said.get("attributes").and_then(|attributes| attributes.get(key));
    let number = |key: &str| of(key).and_then(Value::as_f64);
    let name = said.get("name").and_then(Value::as_str).unwrap_or_default();
    if name == "CategoricalDistribution" {
        let choices = of("choices").and_then(Value::as_array).cloned().unwrap_or_default();
        return (Some(Domain::Choices(choices.clone(), false)), Some(choices));
    }
    let (Some(low), Some(high)) = (number("low"), number("high")) else { return (None, None) };
    let whole = name.starts_with("Int");
    let log = of("log").and_then(Value::as_bool).unwrap_or(false) || name.contains("LogUniform");
    let step = number("step").or(number("q")).filter(|step| *step > 0.0 && !log);
    (Some(Domain::Numbers { low, high, log, step, whole }), None)
}

/// What a database holds that is no storage of Optuna.
fn database(tables: &[String]) -> String {
    let has = |name: &str| tables.iter().any(|table| table == name);
    if has("measurements") && has("run") {
        return "the ledger of a run or search of srnas: `srnas export DIR --to …` takes its measurements out".into();
    }
    if has("experiments") && has("runs") && has("metrics") {
        return "the database of MLflow: write its runs as CSV (`mlflow.search_runs().to_csv(…)`), and `srnas bench import mlflow` \
                reads that"
            .into();
    }
    if has("TrialJobEvent") || has("MetricData") {
        return "the database of an NNI experiment: `nnictl experiment export --type json` writes what `srnas bench import json` reads"
            .into();
    }
    match tables {
        [] => "an SQLite database without tables: was the file copied whole?".into(),
        tables => format!("an SQLite database of another program (tables {})", tables.join(", ")),
    }
}

fn failure(path: &Path, source: rusqlite::Error) -> StudyError {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StudyError::Locked { path: path.into() },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StudyError::Malformed {
            path: path.into(),
            reason: format!("it is a damaged SQLite database ({source})"),
        },
        _ => StudyError::Database { path: path.into(), source },
    }
}
