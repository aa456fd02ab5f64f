//! First points of one's own: architectures in a file, JSON lines or CSV, some of them measured elsewhere.

use crate::goal::Goal;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use srnas_basics::json::Pairs;
use srnas_oracle::{
    costly::Answer,
    importers::csv::{CsvError, CsvTable},
    rewarded::rewarded,
};
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Fidelity, Training};
use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

/// So many bad rows are told one by one.
const TOLD: usize = 20;

/// Where a row has its architecture, if not in one field for each decision.
const ARCHITECTURE: &str = "architecture";
/// The same, as `--json` prints it for programs.
const DECISIONS: &str = "decisions";
/// Where a row of JSON has its metrics, if not one field for each.
const METRICS: &str = "metrics";
/// Why a row's architecture has no value.
const INFEASIBLE: &str = "infeasible";
/// How long it was or is to be trained, in the unit of the fidelities.
const TRAINED: &str = "trained";
/// What it cost, in full trainings.
const COST: &str = "cost";
/// What else `measurements.csv` has: no metrics.
const OTHERS: [&str; 5] = ["measurement", "breaks", "front", COST, "elsewhere"];

/// A first point.
#[derive(Clone, Debug, PartialEq)]
pub struct First {
    /// What is to be measured, or was.
    pub training: Training,
    /// What was measured elsewhere, if it was.
    pub answer: Option<Answer>,
}

/// Why a file holds no first points.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no CSV.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// There is nothing in it.
    #[error("{path} has no row")]
    Nothing {
        /// The file.
        path: String,
    },
    /// Some of its rows are no first points.
    #[error("{path}: {bad} of {rows} rows cannot be used, and nothing was begun: {reasons}")]
    Rows {
        /// The file.
        path: String,
        /// How many.
        bad: usize,
        /// Of how many.
        rows: usize,
        /// Each by its line, with its reason.
        reasons: String,
    },
}

/// Names and values, in the order in which they stand.
type Fields = Vec<(String, Value)>;

/// A row of a file: its line, and its fields or why they cannot be read.
struct Given {
    line: u64,
    fields: Result<Fields, String>,
}

/// What rows are read by.
struct Reader<'a> {
    space: &'a SearchSpace,
    goal: &'a Goal,
    fidelities: &'a Fidelities,
}

/// Reads first points: JSON lines (each an object), or CSV with a header. A row has its architecture in `architecture` (the space's
/// notation, or in JSON also an object) or in one field for each decision; and, if it was measured elsewhere, every metric that is
/// searched, or a reason in `infeasible`. With shorter trainings, `trained` or the unit's name says how long.
///
/// # Errors
/// See [`StartError`]: all that is wrong, by line, and nothing of a file that is not right as a whole.
pub fn read_first(
    path: &Path,
    space: &SearchSpace,
    goal: &Goal,
    fidelities: &Fidelities,
) -> Result<Vec<First>, StartError> {
    let name = path.display().to_string();
    let rows = match is_json(path).map_err(|source| StartError::Read { path: name.clone(), source })? {
        Some(text) => json_rows(&text),
        None => csv_rows(path)?,
    };
    if rows.is_empty() {
        return Err(StartError::Nothing { path: name });
    }
    let reader = Reader { space, goal, fidelities };
    let (mut first, mut wrong): (Vec<First>, Vec<(u64, String)>) = (Vec::new(), Vec::new());
    let (mut seen, n) = (HashMap::new(), rows.len());
    for Given { line, fields } in rows {
        let read = fields.and_then(|fields| reader.row(fields)).and_then(|read| {
            let key = (space.canonical_key(&read.training.choices), read.training.fidelity);
            match seen.insert(key, line) {
                Some(before) => Err(format!("it is the same architecture as in line {before}")),
                None => Ok(read),
            }
        });
        match read {
            Ok(read) => first.push(read),
            Err(reason) => wrong.push((line, reason)),
        }
    }
    if wrong.is_empty() {
        return Ok(first);
    }
    let mut reasons = String::new();
    for (line, reason) in wrong.iter().take(TOLD) {
        let _ = write!(reasons, "\n  line {line}: {reason}");
    }
    if wrong.len() > TOLD {
        let _ = write!(reasons, "\n  and {} more", wrong.len() - TOLD);
    }
    Err(StartError::Rows { path: name, bad: wrong.len(), rows: n, reasons })
}

/// The text of a file of JSON lines; none of one that is to be read as CSV.
fn is_json(path: &Path) -> std::io::Result<Option<String>> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let bytes = fs::read(path)?;
    let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace() && !b"\xef\xbb\xbf".contains(byte));
    let json = match ending.as_deref() {
        Some("jsonl" | "json" | "ndjson") => true,
        Some("csv" | "tsv") => false,
        _ => begins.is_some_and(|byte| matches!(byte, b'{' | b'[')),
    };
    if !json {
        return Ok(None);
    }
    let text =
        String::from_utf8(bytes).map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e))?;
    Ok(Some(text.trim_start_matches('\u{feff}').into()))
}

fn json_rows(text: &str) -> Vec<Given> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let fields = |line: &str| match serde_json::from_str(line) {
        Ok(Pairs(fields)) => Ok(fields),
        Err(error) => Err(format!("it is no JSON object on one line ({error})")),
    };
    lines.map(|(i, line)| Given { line: i as u64 + 1, fields: fields(line) }).collect()
}

fn csv_rows(path: &Path) -> Result<Vec<Given>, StartError> {
    let tabs = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv"));
    let table = CsvTable::read_separated(path, if tabs { b'\t' } else { b',' })?.with_rows()?;
    let columns = table.header().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
    let row = |row: usize| {
        // An empty cell says nothing.
        let cells = columns.iter().filter(|column| !column.text(row).is_empty());
        let fields = cells.map(|column| (column.name().to_string(), Value::from(column.text(row)))).collect();
        Given { line: columns.first().map_or(row as u64 + 2, |column| column.line(row)), fields: Ok(fields) }
    };
    Ok((0..table.rows()).map(row).collect())
}

impl Reader<'_> {
    /// What a row says.
    fn row(&self, fields: Fields) -> Result<First, String> {
        for (place, (name, _)) in fields.iter().enumerate() {
            if fields[..place].iter().any(|(earlier, _)| earlier == name) {
                return Err(format!("it has `{name}` twice"));
            }
        }
        let (choices, rest) = self.architecture(fields)?;
        let fidelity = self.fidelity(&rest)?;
        let training = Training { choices, fidelity };
        let infeasible = rest.iter().find(|(name, _)| name == INFEASIBLE).map(|(_, value)| value);
        let answer = match infeasible.filter(|value| !value.is_null()) {
            Some(Value::String(reason)) => Some(Answer::Infeasible(reason.clone())),
            Some(other) => return Err(format!("`{INFEASIBLE}` is {other}; it is the reason, in words")),
            None => self.measured(&rest)?,
        };
        Ok(First { training, answer })
    }

    /// The architecture, and the fields that are not its.
    fn architecture(&self, mut fields: Fields) -> Result<(Vec<u8>, Fields), String> {
        let decisions = self.space.decisions();
        let is_decision = |name: &str| decisions.iter().any(|decision| decision.name == name);
        let mut whole = [ARCHITECTURE, DECISIONS].into_iter().filter(|name| !is_decision(name));
        let place = whole.find_map(|name| fields.iter().position(|(field, _)| field == name));
        let (text, rest) = match place {
            Some(place) => {
                let (_, whole) = fields.remove(place);
                fields.retain(|(name, _)| name != DECISIONS && !is_decision(name));
                (whole.as_str().map_or_else(|| whole.to_string(), String::from), fields)
            }
            None => {
                let (own, rest): (Vec<_>, Vec<_>) =
                    fields.into_iter().partition(|(name, _)| is_decision(name));
                if own.is_empty() {
                    return Err(format!(
                        "it has neither `{ARCHITECTURE}` nor a field for each decision ({})",
                        decisions.iter().map(|d| d.name.as_str()).collect::<Vec<_>>().join(", ")
                    ));
                }
                let own: Map<String, Value> =
                    own.into_iter().map(|(name, value)| (name.clone(), self.choice(&name, value))).collect();
                (Value::Object(own).to_string(), rest)
            }
        };
        Ok((self.space.parse(&text).map_err(|e| e.to_string())?, rest))
    }

    /// A choice in a cell of CSV as JSON has it: the name of a choice, else a number or a truth value.
    fn choice(&self, decision: &str, value: Value) -> Value {
        let Value::String(text) = &value else { return value };
        let decision = self.space.decisions().iter().find(|d| d.name == decision);
        match decision.is_some_and(|decision| decision.choices.contains(text)) {
            true => value,
            // Python's True is a truth value, too.
            false => serde_json::from_str(text)
                .or_else(|_| serde_json::from_str(&text.to_lowercase()))
                .ok()
                .filter(|read: &Value| read.is_number() || read.is_boolean())
                .unwrap_or(value),
        }
    }

    /// How long it is trained: a full training where nothing is said.
    fn fidelity(&self, fields: &[(String, Value)]) -> Result<Fidelity, String> {
        if self.fidelities.shorter() == 0 {
            let said =
                |name: &str| fields.iter().find(|(field, _)| field == name).and_then(|(_, v)| number(v));
            let whole = self.fidelities.amount(Fidelity::Full);
            let shorter = said(TRAINED).filter(|amount| *amount != whole);
            let cost = said(COST).filter(|cost| *cost > 0.0 && *cost < 1.0);
            return match (shorter, cost) {
                (None, None) => Ok(Fidelity::Full),
                (Some(amount), _) => Err(format!(
                    "its `{TRAINED}` is {amount}, and this search has full trainings alone: leave it out, or search with --fidelity"
                )),
                (None, Some(cost)) => Err(format!(
                    "its `{COST}` is {cost} of a full training, and this search has full ones alone: leave it out, or search with --fidelity"
                )),
            };
        }
        let names = [TRAINED, self.fidelities.unit()];
        let said = fields.iter().find(|(name, value)| names.contains(&name.as_str()) && !value.is_null());
        let Some((name, value)) = said else { return Ok(Fidelity::Full) };
        let amount = number(value).ok_or_else(|| format!("its `{name}` {value} is no number"))?;
        if amount == self.fidelities.amount(Fidelity::Full) {
            return Ok(Fidelity::Full);
        }
        self.fidelities.of_amount(amount).map(Fidelity::Shorter).ok_or_else(|| {
            format!("its `{name}` {amount} is none of the trainings there are ({})", self.fidelities)
        })
    }

    /// What was measured; nothing where no metric that is searched has a value.
    fn measured(&self, fields: &[(String, Value)]) -> Result<Option<Answer>, String> {
        let nested = fields.iter().find(|(name, _)| name == METRICS).map(|(_, value)| value);
        let flat: Vec<(&String, &Value)> = match nested {
            Some(Value::Object(metrics)) => metrics.iter().collect(),
            Some(Value::Null) => Vec::new(),
            Some(other) => return Err(format!("`{METRICS}` is {other}; it is an object of numbers")),
            None => fields.iter().map(|(name, value)| (name, value)).collect(),
        };
        let wanted = self.goal.metrics();
        let is_wanted = |name: &str| wanted.iter().any(|metric| metric == name);
        let is_metric = |name: &str| {
            let other = OTHERS.contains(&name)
                || (self.fidelities.shorter() > 0 && [TRAINED, self.fidelities.unit()].contains(&name));
            is_wanted(name) || nested.is_some() || !other
        };
        let mut metrics = BTreeMap::new();
        for (name, value) in flat.into_iter().filter(|(name, _)| is_metric(name)) {
            match number(value) {
                Some(value) => drop(metrics.insert(name.clone(), value)),
                None if is_wanted(name) && !value.is_null() => {
                    return Err(format!("its metric `{name}` is {value}, no number"));
                }
                None => {}
            }
        }
        if !wanted.iter().any(|metric| metrics.contains_key(metric)) {
            return Ok(None);
        }
        match rewarded(Answer::of(metrics, &wanted), &self.goal.rewards()) {
            Answer::Infeasible(reason) => Err(reason),
            answer => Ok(Some(answer)),
        }
    }
}

/// A number, or the text of one.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A first point as a run directory keeps it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    choices: Vec<u8>,
    /// In the unit of the fidelities.
    trained: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metrics: Option<BTreeMap<String, f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    infeasible: Option<String>,
}

impl First {
    /// By what it is known.
    pub fn key(&self, space: &SearchSpace) -> (u64, Fidelity) {
        (space.canonical_key(&self.training.choices), self.training.fidelity)
    }

    /// As a line in a run directory: choices by their indices, every number to the last bit.
    pub fn to_line(&self, fidelities: &Fidelities) -> String {
        let (metrics, infeasible) = match &self.answer {
            None => (None, None),
            Some(Answer::Metrics(metrics)) => {
                // JSON has no numbers that are not one, and none of these is searched.
                let finite = metrics.iter().filter(|(_, value)| value.is_finite());
                (Some(finite.map(|(name, value)| (name.clone(), *value)).collect()), None)
            }
            Some(Answer::Infeasible(reason)) => (None, Some(reason.clone())),
        };
        let (choices, trained) = (self.training.choices.clone(), fidelities.amount(self.training.fidelity));
        let kept = Kept { choices, trained, metrics, infeasible };
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// As [`Self::to_line`] wrote it.
    ///
    /// # Errors
    /// Says what is wrong with a line that was changed by hand.
    pub fn of_line(line: &str, space: &SearchSpace, fidelities: &Fidelities) -> Result<Self, String> {
        let kept: Kept = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let decisions = space.decisions();
        let fits = kept.choices.len() == decisions.len()
            && kept.choices.iter().zip(decisions).all(|(c, d)| usize::from(*c) < d.choices.len())
            && space.is_valid(&kept.choices);
        if !fits {
            return Err("it is no architecture of this space".into());
        }
        let fidelity = match kept.trained == fidelities.amount(Fidelity::Full) {
            true => Fidelity::Full,
            false => fidelities
                .of_amount(kept.trained)
                .map(Fidelity::Shorter)
                .ok_or_else(|| format!("there is no training of {}", kept.trained))?,
        };
        let answer = match (kept.metrics, kept.infeasible) {
            (Some(metrics), _) => Some(Answer::Metrics(metrics)),
            (None, reason) => reason.map(Answer::Infeasible),
        };
        Ok(Self { training: Training { choices: kept.choices, fidelity }, answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::read;

    const SPACE: &str = "[[decisions]]\nname = \"layers\"\nchoices = [1, 2]\n[[decisions]]\nname = \"op\"\nchoices = [\"conv\", \"pool\"]\nactive_if = { layers = 2 }\n[[decisions]]\nname = \"rate\"\nchoices = [0.1, 0.01]";

    fn of(name: &str, text: &str, fidelities: &Fidelities) -> Result<Vec<First>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let goal = Goal::new(
            vec![crate::Objective { metric: "loss".into(), minimise: true }],
            vec!["ms <= 9".parse().unwrap()],
        );
        let read = read_first(&path, &read(SPACE, "toy").unwrap(), &goal.unwrap(), fidelities);
        read.map_err(|e| e.to_string().replace(&folder.path().display().to_string(), ""))
    }

    fn metrics(pairs: &[(&str, f64)]) -> Option<Answer> {
        Some(Answer::Metrics(pairs.iter().map(|(name, value)| ((*name).into(), *value)).collect()))
    }

    fn point(choices: &[u8], answer: Option<Answer>) -> First {
        First { training: Training::full(choices.to_vec()), answer }
    }

    #[test]
    fn rows_are_read_in_every_form_that_they_have() {
        let json = "\u{feff}{\"layers\": 2, \"op\": \"pool\", \"rate\": 0.01}\n\n\
            {\"layers\": 1, \"rate\": 0.10, \"loss\": 0.5, \"ms\": 3, \"note\": \"x\"}\n\
            {\"architecture\": \"layers=2,op=conv,rate=0.1\", \"metrics\": {\"loss\": 1e-3, \"ms\": 2, \"cost\": 7}, \"infeasible\": null}\n\
            {\"architecture\": {\"layers\": 1, \"rate\": 0.01}, \"infeasible\": \"it burnt\"}\n";
        let expected = [
            point(&[1, 1, 1], None),
            point(&[0, 0, 0], metrics(&[("loss", 0.5), ("ms", 3.0)])),
            point(&[1, 0, 0], metrics(&[("loss", 1e-3), ("ms", 2.0), ("cost", 7.0)])),
            point(&[0, 0, 1], Some(Answer::Infeasible("it burnt".into()))),
        ];
        assert_eq!(of("a.jsonl", json, &Fidelities::FULL).unwrap(), expected);
        assert_eq!(of("without-ending", json, &Fidelities::FULL).unwrap(), expected);
        let csv = "layers,op,rate,loss,ms\r\n2,pool,0.01,,\r\n1,,0.1,0.5,3\r\n";
        assert_eq!(of("a.csv", csv, &Fidelities::FULL).unwrap(), expected[..2]);
        // What a search writes is read again.
        let written = "measurement,architecture,infeasible,loss,ms\n1,\"layers=2,op=conv,rate=0.1\",,0.5,2\n2,\"layers=1,op=conv,rate=0.01\",it burnt,,\n";
        let read = of("measurements.csv", written, &Fidelities::FULL).unwrap();
        assert_eq!(read, [point(&[1, 0, 0], metrics(&[("loss", 0.5), ("ms", 2.0)])), expected[3].clone()]);
    }

    #[test]
    fn how_long_each_was_trained_is_read_where_that_differs() {
        let epochs: Fidelities = "epochs=3,9".parse().unwrap();
        let csv = "layers,rate,epochs,cost,loss,ms\n1,0.1,3,0.33,0.5,1\n1,0.1,9,1,0.4,1\n1,0.01,,,,\n";
        let read = of("a.csv", csv, &epochs).unwrap();
        let fidelities: Vec<Fidelity> = read.iter().map(|first| first.training.fidelity).collect();
        assert_eq!(fidelities, [Fidelity::Shorter(0), Fidelity::Full, Fidelity::Full]);
        assert_eq!(read[0].answer, metrics(&[("loss", 0.5), ("ms", 1.0)]));
        let error = of("a.csv", &csv.replace(",3,", ",4,"), &epochs).unwrap_err();
        assert!(
            error.contains("line 2: its `epochs` 4 is none of the trainings there are (epochs=3,9)"),
            "{error}"
        );
    }

    #[test]
    fn every_bad_row_is_named_by_line_and_reason() {
        let json = "{\"layers\": 3, \"op\": \"conv\", \"rate\": 0.1}\n{\"layers\": 1, \"rate\": 0.1}\n[1]\n\
            {\"layers\": 1, \"op\": \"pool\", \"rate\": 0.1, \"loss\": 1}\n{\"layers\": 2, \"rate\": 0.1, \"op\": \"conv\", \"loss\": \"low\", \"ms\": 1}\n\
            {\"loss\": 1}\n{\"layers\": 2, \"rate\": 0.1}\n{\"layers\": 1, \"op\": \"pool\", \"rate\": 0.1}\n\
            {\"layers\": 1, \"layers\": 2}\n{\"layers\": 1, \"rate\": 0.01, \"infeasible\": true}\n{\"loss\": NaN}\n";
        let error = of("a.jsonl", json, &Fidelities::FULL).unwrap_err();
        for says in [
            "10 of 11 rows cannot be used, and nothing was begun",
            "line 1: ",
            "decision `layers` has no choice `3`",
            "line 3: it is no JSON object on one line",
            "line 4: it has no metric `ms`",
            "line 5: its metric `loss` is \"low\", no number",
            "line 6: it has neither `architecture` nor a field for each decision (layers, op, rate)",
            "decision `op` is missing",
            "line 8: it is the same architecture as in line 2",
            "line 9: it has `layers` twice",
            "line 10: `infeasible` is true; it is the reason",
            "line 11: it is no JSON object",
        ] {
            assert!(error.contains(says), "no {says:?} in {error}");
        }
        let many: String = (0..30).map(|_| "{}\n").collect();
        let error = of("a.jsonl", &many, &Fidelities::FULL).unwrap_err();
        assert!(error.contains("line 20: ") && error.ends_with("and 10 more"), "{error}");
        for (name, text, says) in [
            ("a.jsonl", "\n", "has no row"),
            ("a.csv", "layers,rate\n", "no rows below"),
            ("a.csv", "", "is empty"),
            ("a.csv", "layers,rate\n1\n", ":2: "),
            ("a.json", "[\n{\"layers\": 1}\n]", "line 1: it is no JSON object on one line"),
        ] {
            let error = of(name, text, &Fidelities::FULL).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        // A value that cannot be searched is no value.
        let error = of("a.csv", "layers,rate,loss,ms\n1,0.1,inf,1\n", &Fidelities::FULL).unwrap_err();
        assert!(error.contains("line 2: its metric `loss` is infinite"), "{error}");
    }

    #[test]
    fn a_run_directory_keeps_them_to_the_last_bit() {
        let space = read(SPACE, "toy").unwrap();
        let epochs: Fidelities = "epochs=3,9".parse().unwrap();
        for first in [
            // The choice of what does not count is kept, too.
            point(&[0, 1, 1], None),
            point(&[1, 1, 1], metrics(&[("loss", 0.1 + 0.2)])),
            First {
                training: Training::shorter(vec![1, 0, 0], 0),
                answer: Some(Answer::Infeasible("no".into())),
            },
        ] {
            assert_eq!(First::of_line(&first.to_line(&epochs), &space, &epochs), Ok(first));
        }
        for (line, says) in [
            ("{}", "missing field"),
            (r#"{"choices": [1, 2, 0], "trained": 9}"#, "no architecture of this space"),
            (r#"{"choices": [1, 1, 0], "trained": 4}"#, "no training of 4"),
        ] {
            assert!(First::of_line(line, &space, &epochs).unwrap_err().contains(says), "{line}");
        }
    }
}
