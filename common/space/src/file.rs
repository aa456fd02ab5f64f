//! Spaces in files: our own TOML (docs/your-own-search.md), or a ConfigSpace in JSON.

use super::{
    Condition, Constraint, Custom, Decision, Formula, SearchSpace, SpaceError, check_decisions, configspace,
    range::{RangeError, Written},
};
use serde::Deserialize;
use srnas_basics::names::did_you_mean;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a file gives no space.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}", path = path.display())]
pub struct SpaceFileError {
    path: PathBuf,
    reason: String,
}

/// The space in a file: TOML, or a ConfigSpace where its name ends with `.json`. Where the file does not name the space, it
/// has the file's name.
///
/// # Errors
/// Says which file and what is wrong in it.
pub fn load(path: &Path) -> Result<Arc<SearchSpace>, SpaceFileError> {
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    load_as(path, &stem)
}

/// The space in a file that was copied: where it does not name the space, that is called `name`.
///
/// # Errors
/// As [`load`].
pub fn load_as(path: &Path, name: &str) -> Result<Arc<SearchSpace>, SpaceFileError> {
    let failed = |reason: String| SpaceFileError { path: path.into(), reason };
    let text = fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let space = if is_json { configspace::read(&text, name) } else { read(&text, name) };
    // The space's name says less than the file's.
    let plain = |e: SpaceError| match e {
        SpaceError::Malformed { reason, .. } => reason,
        other => other.to_string(),
    };
    space.map(Arc::new).map_err(|e| failed(plain(e)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    #[serde(default)]
    decisions: Vec<DecisionEntry>,
    #[serde(default)]
    constraints: Vec<ConstraintEntry>,
    #[serde(default)]
    interchangeable: Vec<Vec<Names>>,
    /// Formulas of what is known of an architecture without training it, such as its parameters.
    #[serde(default)]
    describe: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionEntry {
    name: String,
    choices: Option<Vec<toml::Value>>,
    /// Both ends of numbers, in place of choices.
    range: Option<toml::Value>,
    /// Whether levels are equally far apart in the logarithm.
    log: Option<bool>,
    levels: Option<toml::Value>,
    step: Option<toml::Value>,
    /// Whether choices stand in an order, as sizes do; those of a range do where nothing is said.
    ordered: Option<bool>,
    #[serde(default)]
    active_if: BTreeMap<String, Choice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConstraintEntry {
    forbid: Option<BTreeMap<String, Choice>>,
    require: Option<String>,
}

/// One choice or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Choice {
    Any(Vec<toml::Value>),
    One(toml::Value),
}

/// One decision or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    Group(Vec<String>),
    One(String),
}

/// Reads a space from TOML; `name` is its name where the text has none.
///
/// # Errors
/// [`SpaceError::Malformed`] says what is wrong, and for what is no TOML in which line.
pub fn read(text: &str, name: &str) -> Result<SearchSpace, SpaceError> {
    let malformed = |reason: String| SpaceError::Malformed { space: name.into(), reason };
    let file: File = toml::from_str(text).map_err(|e| malformed(e.to_string().trim_end().into()))?;
    let name = file.name.as_deref().unwrap_or(name);
    let decisions = file
        .decisions
        .iter()
        .map(|d| {
            let ordered = d.ordered.unwrap_or(d.range.is_some());
            Ok(Decision { ordered, ..decision(&d.name, &d.values()?)? })
        })
        .collect::<Result<Vec<Decision>, String>>()
        .map_err(malformed)?;
    check_decisions(&decisions).map_err(malformed)?;
    let names = Namer { decisions: &decisions };
    let mut conditions = Vec::new();
    for (d, entry) in file.decisions.iter().enumerate() {
        for (parent, choice) in &entry.active_if {
            let place = |reason| malformed(format!("active_if of `{}`: {reason}", entry.name));
            let (depends_on, active_if) = names.choices(parent, choice).map_err(place)?;
            conditions.push(Condition { decision: d, depends_on, active_if });
        }
    }
    let mut constraints = Vec::new();
    for entry in &file.constraints {
        constraints.push(match (&entry.forbid, &entry.require) {
            (Some(pattern), None) if !pattern.is_empty() => {
                let parts = pattern.iter().map(|(name, choice)| names.choices(name, choice));
                let parts = parts.collect::<Result<_, _>>();
                Constraint::Forbid(parts.map_err(|e| malformed(format!("forbid: {e}")))?)
            }
            (None, Some(text)) => Constraint::Require(
                Formula::read(text, &decisions).map_err(|e| malformed(format!("require {e}")))?,
            ),
            _ => {
                return Err(malformed(
                    "a constraint has either `forbid = { decision = choice }` or `require = \"formula\"`"
                        .into(),
                ));
            }
        });
    }
    let mut interchangeable = Vec::new();
    for set in &file.interchangeable {
        let groups = set.iter().map(|group| match group {
            Names::One(name) => Ok(vec![names.decision(name)?]),
            Names::Group(group) => group.iter().map(|name| names.decision(name)).collect(),
        });
        let groups = groups.collect::<Result<_, String>>();
        interchangeable.push(groups.map_err(|e| malformed(format!("interchangeable: {e}")))?);
    }
    let mut descriptors = Vec::new();
    for text in &file.describe {
        let formula =
            Formula::read_number(text, &decisions).map_err(|e| malformed(format!("describe {e}")))?;
        if descriptors.iter().any(|known: &Formula| known.text() == formula.text()) {
            return Err(malformed(format!("describe `{text}`: it is there twice")));
        }
        descriptors.push(*formula);
    }
    Ok(Custom::space(name, decisions.clone(), conditions, constraints, interchangeable)?
        .described_by(descriptors))
}

impl DecisionEntry {
    /// The values of its choices, or the levels of its range.
    fn values(&self) -> Result<Vec<serde_json::Value>, String> {
        let of_ranges =
            [("log", self.log.is_some()), ("levels", self.levels.is_some()), ("step", self.step.is_some())];
        let levels = match (&self.choices, &self.range) {
            (Some(_), Some(_)) => Err(RangeError::ChoicesAndRange),
            (None, None) => Err(RangeError::Nothing),
            (None, Some(range)) => {
                let (levels, step) = (self.levels.as_ref(), self.step.as_ref());
                Written { range, log: self.log, levels, step }.choices()
            }
            (Some(choices), None) => match of_ranges.iter().find(|(_, given)| *given) {
                Some((key, _)) => Err(RangeError::WithoutRange(key)),
                None => return choices.iter().map(value).collect(),
            },
        };
        levels.map_err(|e| format!("decision `{}`: {e}", self.name))
    }
}

/// A value of TOML as JSON has it.
fn value(value: &toml::Value) -> Result<serde_json::Value, String> {
    match value {
        toml::Value::String(s) => Ok(s.as_str().into()),
        toml::Value::Integer(i) => Ok((*i).into()),
        toml::Value::Float(f) if f.is_finite() => Ok((*f).into()),
        toml::Value::Boolean(b) => Ok((*b).into()),
        other => Err(format!("`{other}` is no choice: choices are words, numbers or truth values")),
    }
}

/// A decision from the values of its choices: all words, all numbers, or all truth values.
pub(super) fn decision(name: &str, values: &[serde_json::Value]) -> Result<Decision, String> {
    if name.is_empty() || name.trim() != name || name.contains([',', '=', '\n']) {
        return Err(format!(
            "`{name}` is no name of a decision: it is empty, begins or ends with a space, or has a comma, an equals sign or a \
             line break"
        ));
    }
    if values.is_empty() {
        return Err(format!("decision `{name}` has no choices"));
    }
    if let Some(other) = values.iter().find(|v| v.is_null() || v.is_array() || v.is_object()) {
        return Err(format!(
            "decision `{name}`: {other} is no choice: choices are words, numbers or truth values"
        ));
    }
    let kind = |v: &serde_json::Value| (v.is_string(), v.is_boolean());
    if let Some(other) = values.iter().find(|v| kind(v) != kind(&values[0])) {
        let first = &values[0];
        return Err(format!(
            "decision `{name}`: {first} and {other} are of two kinds; choices are all words, all numbers or all truth values"
        ));
    }
    let text = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_string);
    if let Some(bad) =
        values.iter().filter_map(|v| v.as_str()).find(|c| c.trim() != *c || c.contains([',', '\n']))
    {
        return Err(format!(
            "decision `{name}`: the choice `{bad}` begins or ends with a space, or has a comma or a line break"
        ));
    }
    let literal = values.first().is_some_and(|v| !v.is_string());
    Ok(Decision { name: name.into(), choices: values.iter().map(text).collect(), literal, ordered: false })
}

/// Finds decisions and choices by their names.
pub(super) struct Namer<'a> {
    pub decisions: &'a [Decision],
}

impl Namer<'_> {
    /// Place of a decision.
    pub fn decision(&self, name: &str) -> Result<usize, String> {
        self.decisions.iter().position(|d| d.name == name).ok_or_else(|| {
            format!(
                "there is no decision `{name}`{}",
                did_you_mean(name, self.decisions.iter().map(|d| d.name.as_str()))
            )
        })
    }

    /// Place of a choice by its value; a number is found by its value, however it is written.
    pub fn choice(&self, decision: usize, wanted: &serde_json::Value) -> Result<u8, String> {
        let d = &self.decisions[decision];
        let text = || wanted.as_str().map_or_else(|| wanted.to_string(), str::to_string);
        d.position(wanted).ok_or_else(|| d.unknown(&text()))
    }

    fn choices(&self, name: &str, choice: &Choice) -> Result<(usize, Vec<u8>), String> {
        let place = self.decision(name)?;
        let values = match choice {
            Choice::One(one) => std::slice::from_ref(one),
            Choice::Any(any) => any.as_slice(),
        };
        let found =
            values.iter().map(|v| self.choice(place, &value(v)?)).collect::<Result<Vec<u8>, String>>()?;
        if found.is_empty() {
            return Err(format!("no choice of `{name}` is named"));
        }
        Ok((place, found))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{listed_or_drawn, unreachable_choices},
        *,
    };

    const NET: &str = r#"
name = "net"
# Two layers of the same kind.
interchangeable = [[["width1", "act1"], ["width2", "act2"]]]

[[decisions]]
name = "depth"
choices = [1, 2]

[[decisions]]
name = "width1"
choices = [8, 16, 32]

[[decisions]]
name = "act1"
choices = ["relu", "tanh"]

[[decisions]]
name = "width2"
choices = [8, 16, 32]
active_if = { depth = 2 }

[[decisions]]
name = "act2"
choices = ["relu", "tanh"]
active_if = { depth = [2] }

[[decisions]]
name = "rate"
choices = [0.1, 1e-3]

[[constraints]]
require = "width1 * width2 <= 256"

[[constraints]]
forbid = { act1 = "tanh", width1 = [16, 32] }
"#;

    #[test]
    fn a_space_is_read_with_its_conditions_constraints_and_groups() {
        let space = read(NET, "file").unwrap();
        assert_eq!((space.name(), space.len(), space.size()), ("net", 6, Some(2 * 3 * 2 * 3 * 2 * 2)));
        let choices = space.parse("depth=1,width1=8,act1=tanh,width2=32,act2=tanh,rate=0.001").unwrap();
        let json = serde_json::Value::Object(space.to_json(&choices));
        assert_eq!(json, serde_json::json!({"depth": 1, "width1": 8, "act1": "tanh", "rate": 0.001}));
        assert!(space.parse("depth=2,width1=16,act1=tanh,width2=8,act2=tanh,rate=0.001").is_err());
        let key = |text: &str| space.canonical_key(&space.parse(text).unwrap());
        assert_eq!(
            key("depth=2,width1=8,act1=tanh,width2=32,act2=relu,rate=0.1"),
            key("depth=2,width1=32,act1=relu,width2=8,act2=tanh,rate=0.1")
        );
        let (all, whole) = listed_or_drawn(&space, 1 << 16);
        assert!(whole && unreachable_choices(&space, all).is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_by_name() {
        let cases = [
            ("name = \"net\"", "name = 3", "name"),
            ("choices = [1, 2]", "choices = [1, \"two\"]", "two kinds"),
            ("choices = [1, 2]", "choices = []", "`depth` has no choices"),
            ("choices = [1, 2]", "choices = [1, 1]", "occurs twice"),
            ("choices = [1, 2]", "choises = [1, 2]", "choises"),
            (
                "depth = 2 }",
                "detph = 2 }",
                "active_if of `width2`: there is no decision `detph`; did you mean `depth`?",
            ),
            ("depth = [2]", "depth = [3]", "decision `depth` has no choice `3`"),
            ("depth = [2]", "depth = []", "no choice of `depth`"),
            ("depth = [2]", "act2 = [\"relu\"]", "circle"),
            ("\"width1 * width2 <= 256\"", "\"width1 * width2 <= 1\"\nforbid = { depth = 1 }", "either"),
            ("width1 * width2 <= 256", "width1 * act2 <= 256", "`act2` is a word, and `*` wants numbers"),
            ("[\"width2\", \"act2\"]]]", "[\"width2\", \"act3\"]]]", "did you mean `act"),
            ("name = \"depth\"", "name = \"de=pth\"", "equals sign"),
            ("name = \"depth\"", "name = \" depth\"", "` depth` is no name of a decision"),
            ("name = \"act1\"", "name = \"depth\"", "decision `depth` occurs twice"),
        ];
        for (from, to, expected) in cases {
            assert!(NET.contains(from), "{from}");
            let error = read(&NET.replacen(from, to, 1), "file").unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        assert!(read("", "empty").unwrap_err().to_string().contains("no decisions"));
    }

    #[test]
    fn a_large_whole_number_is_no_other_one() {
        let text = r#"
            [[decisions]]
            name = "seed"
            choices = [9007199254740992, 9007199254740993, 8.0, 8]
            [[decisions]]
            name = "more"
            choices = ["a", "b"]
            active_if = { seed = NUMBER }"#;
        for (number, place) in [("9007199254740992", 0), ("9007199254740993", 1), ("8.0", 2), ("8", 3)] {
            let space = read(&text.replace("NUMBER", number), "file").unwrap();
            let active: Vec<u8> = (0..4).filter(|&c| !space.is_inactive(&[c, 0], 1)).collect();
            assert_eq!(active, [place], "{number}");
        }
        let refused = read(&text.replace("NUMBER", "9007199254740994"), "file").unwrap_err().to_string();
        assert!(refused.contains("has no choice `9007199254740994`"), "{refused}");
    }

    #[test]
    fn a_choice_that_a_constraint_never_allows_is_found() {
        let text = NET.replace("width1 * width2 <= 256", "width1 * depth <= 31");
        let space = read(&text, "file").unwrap();
        let (all, _) = listed_or_drawn(&space, 1 << 16);
        assert_eq!(unreachable_choices(&space, all), ["width1 = 32"]);
    }
}
