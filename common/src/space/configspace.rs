//! Spaces as the Python package ConfigSpace writes them (`ConfigurationSpace.to_json`, formats 0.2 to 0.4).

use super::{
    Condition, Constraint, Custom, Decision, Formula, SearchSpace, SpaceError, check_decisions,
    file::{Namer, decision},
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct File {
    name: Option<String>,
    hyperparameters: Vec<Hyperparameter>,
    #[serde(default)]
    conditions: Vec<Clause>,
    #[serde(default)]
    forbiddens: Vec<Clause>,
}

#[derive(Deserialize)]
struct Hyperparameter {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    choices: Vec<Value>,
    #[serde(default)]
    sequence: Vec<Value>,
    value: Option<Value>,
    lower: Option<f64>,
    upper: Option<f64>,
    /// Distance of the grid.
    q: Option<f64>,
}

/// A condition or a forbidden clause.
#[derive(Deserialize)]
struct Clause {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    child: String,
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

/// Reads a ConfigSpace; `name` is its name where the text has none.
///
/// # Errors
/// [`SpaceError::Malformed`] names what is not understood, such as what is continuous without a grid.
pub fn read(text: &str, name: &str) -> Result<SearchSpace, SpaceError> {
    let malformed = |reason: String| SpaceError::Malformed { space: name.into(), reason };
    let file: File =
        serde_json::from_str(text).map_err(|e| malformed(format!("it is no ConfigSpace in JSON: {e}")))?;
    let decisions: Vec<Decision> = file
        .hyperparameters
        .iter()
        .map(|h| Ok(Decision { ordered: h.is_ordered(), ..decision(&h.name, &h.choices()?)? }))
        .collect::<Result<_, String>>()
        .map_err(malformed)?;
    check_decisions(&decisions).map_err(malformed)?;
    let names = Namer { decisions: &decisions };
    let mut conditions = Vec::new();
    for clause in &file.conditions {
        read_condition(clause, &names, &mut conditions)
            .map_err(|e| malformed(format!("condition of `{}`: {e}", clause.child)))?;
    }
    let constraints: Vec<Constraint> = file
        .forbiddens
        .iter()
        .map(|clause| read_forbidden(clause, &names))
        .collect::<Result<_, String>>()
        .map_err(|e| malformed(format!("forbidden clause: {e}")))?;
    let name = file.name.as_deref().filter(|n| !n.is_empty()).unwrap_or(name);
    Custom::space(name, decisions.clone(), conditions, constraints, Vec::new())
}

impl Hyperparameter {
    fn is_ordered(&self) -> bool {
        matches!(self.kind.as_str(), "ordinal" | "uniform_int" | "uniform_float")
    }

    fn choices(&self) -> Result<Vec<Value>, String> {
        let name = &self.name;
        match self.kind.as_str() {
            "categorical" => Ok(self.choices.clone()),
            "ordinal" => Ok(self.sequence.clone()),
            "constant" | "unparametrized" => Ok(self.value.iter().cloned().collect()),
            "uniform_int" | "uniform_float" => self.grid(),
            kind => Err(format!(
                "`{name}` is a {kind} hyperparameter; a search space has categorical, ordinal, integer and constant ones, and \
                 uniform ones with a grid"
            )),
        }
    }

    fn grid(&self) -> Result<Vec<Value>, String> {
        let name = &self.name;
        let whole = self.kind == "uniform_int";
        let (Some(lower), Some(upper)) = (self.lower, self.upper) else {
            return Err(format!("`{name}` has no lower or no upper end"));
        };
        let step = match self.q.filter(|&q| q > 0.0) {
            Some(q) => q,
            None if whole => 1.0,
            None => {
                return Err(format!(
                    "`{name}` is continuous; a search space wants a grid: make it an ordinal one with the values to try"
                ));
            }
        };
        // The end belongs to the grid also where the division is a hair short.
        let steps = ((upper - lower) / step + 1e-9).floor();
        if !(0.0..255.0).contains(&steps) {
            let values = steps + 1.0;
            return Err(format!(
                "`{name}` has {values} values; 1 to 255 are possible: make it an ordinal one with the values to try"
            ));
        }
        let value = |i: u32| {
            let value = lower + f64::from(i) * step;
            if whole { Value::from(value.round() as i64) } else { Value::from((value * 1e12).round() / 1e12) }
        };
        Ok((0..=steps as u32).map(value).collect())
    }
}

fn read_condition(clause: &Clause, names: &Namer, conditions: &mut Vec<Condition>) -> Result<(), String> {
    if clause.kind == "AND" {
        return clause.conditions.iter().try_for_each(|part| read_condition(part, names, conditions));
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
        conditions.push(Condition { decision: names.decision(child)?, depends_on, active_if });
        return Ok(());
    }
    let decision = names.decision(&clause.child)?;
    let (depends_on, active_if) = choices_of(clause, names)?;
    conditions.push(Condition { decision, depends_on, active_if });
    Ok(())
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
        // Words in an order are compared by their place in it.
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

fn read_forbidden(clause: &Clause, names: &Namer) -> Result<Constraint, String> {
    let relation = clause.kind.strip_prefix("RELATION").map(|rest| match (rest, clause.lambda.as_str()) {
        ("_LT", _) | ("", "LESS") => Ok(">="),
        ("_GT", _) | ("", "GREATER") => Ok("<="),
        ("_EQ" | "_EQUALS", _) | ("", "EQUALS") => Ok("!="),
        _ => Err(format!("a relation of kind {} {} is not understood", clause.kind, clause.lambda)),
    });
    if let Some(allowed) = relation {
        let text = format!("{} {} {}", clause.left, allowed?, clause.right);
        return Ok(Constraint::Require(Formula::read(&text, names.decisions)?));
    }
    let parts = if clause.kind == "AND" { clause.conditions.iter().collect() } else { vec![clause] };
    Ok(Constraint::Forbid(parts.iter().map(|part| choices_of(part, names)).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ConfigSpace 1.2.0 writes it.
    const NET: &str = r#"{"name": "net", "hyperparameters": [
        {"type": "categorical", "name": "bias", "choices": [true, false], "weights": null, "default_value": true, "meta": null},
        {"type": "uniform_int", "name": "depth", "lower": 1, "upper": 4, "default_value": 2, "log": false, "meta": null},
        {"type": "constant", "name": "kernel", "value": 3, "meta": null},
        {"type": "categorical", "name": "op", "choices": ["conv", "pool", "skip"], "weights": null, "default_value": "conv", "meta": null},
        {"type": "ordinal", "name": "width", "sequence": [16, 32, 64], "default_value": 16, "meta": null},
        {"type": "categorical", "name": "act", "choices": ["relu", "gelu"], "weights": null, "default_value": "relu", "meta": null},
        {"type": "uniform_int", "name": "units", "lower": 32, "upper": 128, "default_value": 64, "log": true, "meta": null}],
      "conditions": [
        {"type": "IN", "child": "act", "parent": "op", "values": ["conv", "pool"]},
        {"type": "AND", "child": "units", "conditions": [
            {"type": "GT", "child": "units", "parent": "depth", "value": 1},
            {"type": "NEQ", "child": "units", "parent": "op", "value": "skip"}]}],
      "forbiddens": [
        {"type": "AND", "clauses": [{"type": "EQUALS", "name": "op", "value": "pool"}, {"type": "IN", "name": "width", "values": [32, 64]}]},
        {"type": "RELATION_LT", "left": "width", "right": "units"},
        {"type": "EQUALS", "name": "depth", "value": 4}],
      "python_module_version": "1.2.0", "format_version": 0.4}"#;

    #[test]
    fn a_space_is_read_as_its_users_write_it() {
        let space = read(NET, "file").unwrap();
        assert_eq!((space.name(), space.len()), ("net", 7));
        let valid = |text: &str| space.parse(text).is_ok();
        assert!(valid("bias=true,depth=1,kernel=3,op=conv,width=16,act=relu,units=90"));
        assert!(
            !valid("bias=true,depth=4,kernel=3,op=conv,width=16,act=relu,units=32"),
            "depth 4 is forbidden"
        );
        assert!(!valid("bias=true,depth=1,kernel=3,op=pool,width=32,act=relu,units=32"));
        assert!(!valid("bias=true,depth=2,kernel=3,op=conv,width=32,act=relu,units=33"), "width below units");
        assert!(valid("bias=true,depth=2,kernel=3,op=conv,width=64,act=relu,units=33"));
        let json = |text: &str| serde_json::Value::Object(space.to_json(&space.parse(text).unwrap()));
        assert_eq!(
            json("bias=false,depth=3,kernel=3,op=skip,width=64,act=relu,units=33"),
            serde_json::json!({"bias": false, "depth": 3, "kernel": 3, "op": "skip", "width": 64})
        );
    }

    #[test]
    fn older_formats_and_grids_are_read() {
        let text = r#"{"hyperparameters": [
            {"type": "uniform_float", "name": "rate", "lower": 0.1, "upper": 0.5, "q": 0.1, "log": false},
            {"type": "uniform_int", "name": "a", "lower": 0, "upper": 10, "q": 5}],
            "conditions": [], "forbiddens": [{"type": "RELATION", "left": "rate", "right": "a", "lambda": "LESS"}]}"#;
        let space = read(text, "old").unwrap();
        assert_eq!(space.decisions()[0].choices, ["0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(space.decisions()[1].choices, ["0", "5", "10"]);
        assert!(space.parse("rate=0.3,a=0").is_ok() && space.parse("rate=0.3,a=5").is_err());
    }

    #[test]
    fn an_or_on_one_decision_is_a_choice_of_several() {
        let either = r#"{"type": "OR", "child": "act", "conditions": [
            {"type": "EQ", "child": "act", "parent": "op", "value": "conv"},
            {"type": "EQ", "child": "act", "parent": "op", "value": "pool"}]}"#;
        let one = r#"{"type": "IN", "child": "act", "parent": "op", "values": ["conv", "pool"]}"#;
        assert!(NET.contains(one));
        let (joined, listed) = (read(&NET.replace(one, either), "file").unwrap(), read(NET, "file").unwrap());
        for op in ["conv", "pool", "skip"] {
            let text = format!("bias=true,depth=1,kernel=3,op={op},width=16,act=gelu,units=90");
            let choices = listed.parse(&text).unwrap();
            assert_eq!(joined.to_json(&joined.parse(&text).unwrap()), listed.to_json(&choices), "{op}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let refused = |from: &str, to: &str| {
            assert!(NET.contains(from), "{from}");
            read(&NET.replacen(from, to, 1), "file").unwrap_err().to_string()
        };
        for odd in ["null", "[1, 2]", "{\"a\": 1}"] {
            let error = refused("\"sequence\": [16, 32, 64]", &format!("\"sequence\": [16, {odd}]"));
            assert!(error.contains("`width`") && error.contains("is no choice"), "{error}");
        }
        let error = refused("\"uniform_int\", \"name\": \"units\"", "\"uniform_float\", \"name\": \"units\"");
        assert!(error.contains("`units` is continuous") && error.contains("ordinal"), "{error}");
        let error = refused("\"lower\": 32, \"upper\": 128", "\"lower\": 32, \"upper\": 1000");
        assert!(error.contains("`units` has 969 values"), "{error}");
        assert!(refused("\"uniform_int\"", "\"normal_int\"").contains("`depth` is a normal_int"));
        assert!(
            refused("\"type\": \"AND\", \"child\"", "\"type\": \"OR\", \"child\"")
                .contains("condition of `units`: it is an OR")
        );
        assert!(refused("\"parent\": \"op\"", "\"parent\": \"pp\"").contains("no decision `pp`"));
        assert!(refused("\"value\": \"pool\"", "\"value\": \"pol\"").contains("did you mean `pool`?"));
        assert!(read("[]", "x").unwrap_err().to_string().contains("no ConfigSpace"));
    }
}
