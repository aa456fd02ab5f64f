//! Spaces as the Python package ConfigSpace writes them (`ConfigurationSpace.to_json`, formats 0.2 to 0.4, packages 0.4 to 1.2).

use super::{
    Condition, Constraint, Custom, Decision, SearchSpace, SpaceError, check_decisions,
    file::{Namer, decision},
};
use serde::Deserialize;
use serde_json::Value;
use std::cmp::Ordering;

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
    // All that is wrong is said at once: a space is mended in one go.
    let decisions = all(&file.hyperparameters, |h| {
        Ok(Decision { ordered: h.is_ordered(), ..decision(&h.name, &h.choices()?)? })
    })
    .map_err(malformed)?;
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
    Custom::space(name, decisions.clone(), conditions, constraints, Vec::new())
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

fn read_condition(clause: &Clause, names: &Namer) -> Result<Vec<Condition>, String> {
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

fn read_forbidden(clause: &Clause, names: &Namer) -> Result<Vec<Constraint>, String> {
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

    /// A space of two hyperparameters and a clause, all in JSON.
    fn pair(left: &str, right: &str, clause: &str) -> Result<SearchSpace, String> {
        let text = format!(
            r#"{{"name": null, "hyperparameters": [{{"name": "a-1", {left}}}, {{"name": "b:2", {right}}}],
                "conditions": [], "forbiddens": [{clause}], "python_module_version": "0.7.1", "json_format_version": 0.3}}"#
        );
        read(&text, "pair").map_err(|e| e.to_string())
    }

    /// The valid combinations, in the order of their ranks.
    fn valid(space: &SearchSpace) -> Vec<String> {
        let mut choices = vec![0; space.len()];
        let mut valid = Vec::new();
        for rank in 0..space.size().unwrap() {
            space.unrank(rank, &mut choices);
            if space.is_valid(&choices) {
                let names =
                    space.decisions().iter().zip(&choices).map(|(d, &c)| d.choices[usize::from(c)].as_str());
                valid.push(names.collect::<Vec<_>>().join(" "));
            }
        }
        valid
    }

    #[test]
    fn relations_are_those_of_configspace_between_words_too() {
        let words = r#""type": "categorical", "choices": ["s", "m", "l"]"#;
        let more = r#""type": "ordinal", "sequence": ["m", "l", "xl"]"#;
        let relation = |kind: &str| {
            let (new, old) = match kind {
                "LESS" => ("_LT", "LT"),
                "GREATER" => ("_GT", "GT"),
                _ => ("_EQ", "EQ"),
            };
            [
                format!(r#"{{"type": "RELATION{new}", "left": "a-1", "right": "b:2"}}"#),
                format!(r#"{{"type": "RELATION", "left": "a-1", "right": "b:2", "lambda": "{kind}"}}"#),
                format!(r#"{{"type": "RELATION", "left": "a-1", "right": "b:2", "lambda": "{old}"}}"#),
            ]
        };
        // What ConfigSpace 0.7.1 and 1.2.0 leave of these: words are compared by their letters, not by their places.
        for (kind, left, right, expected) in [
            ("EQUALS", words, more, &["s m", "s l", "s xl", "m l", "m xl", "l m", "l xl"][..]),
            ("LESS", words, more, &["s m", "s l", "m m", "m l", "l l"]),
            ("GREATER", words, more, &["s xl", "m m", "m xl", "l m", "l l", "l xl"]),
            (
                "LESS",
                r#""type": "ordinal", "sequence": [1, 2, 3]"#,
                r#""type": "uniform_int", "lower": 1, "upper": 3"#,
                &["1 1", "2 1", "2 2", "3 1", "3 2", "3 3"],
            ),
            (
                "EQUALS",
                r#""type": "categorical", "choices": [true, false]"#,
                r#""type": "uniform_int", "lower": 0, "upper": 1"#,
                &["true 0", "false 1"],
            ),
            ("EQUALS", words, r#""type": "constant", "value": 1"#, &["s 1", "m 1", "l 1"]),
        ] {
            for clause in relation(kind) {
                assert_eq!(valid(&pair(left, right, &clause).unwrap()), expected, "{kind}: {clause}");
            }
        }
        let error = pair(words, r#""type": "constant", "value": 1"#, &relation("LESS")[0]).unwrap_err();
        assert!(error.contains("`a-1` and `b:2` cannot be compared"), "{error}");
        // Together with something else.
        let [relation, ..] = relation("EQUALS");
        let both = format!(
            r#"{{"type": "AND", "clauses": [{{"type": "IN", "name": "a-1", "values": ["m"]}}, {relation}]}}"#
        );
        assert_eq!(valid(&pair(words, more, &both).unwrap()).len(), 8);
    }

    #[test]
    fn an_order_is_that_of_the_sequence_in_conditions() {
        let text = r#"{"hyperparameters": [
            {"type": "ordinal", "name": "size", "sequence": [64, 32, 16]},
            {"type": "categorical", "name": "op", "choices": ["conv", "pool"]}],
            "conditions": [{"type": "GT", "child": "op", "parent": "size", "value": 32}], "forbiddens": []}"#;
        let space = read(text, "order").unwrap();
        let active = |text: &str| !space.is_inactive(&space.parse(text).unwrap(), 1);
        assert_eq!(
            ["size=64,op=conv", "size=32,op=conv", "size=16,op=conv"].map(active),
            [false, false, true],
            "16 is later in the sequence than 32"
        );
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let text = r#"{"hyperparameters": [
            {"type": "uniform_float", "name": "lr", "lower": 1e-5, "upper": 1.0, "default": 0.1, "log": true},
            {"type": "uniform_int", "name": "units", "lower": 1, "upper": 4096},
            {"type": "normal_float", "name": "decay", "mu": 0, "sigma": 1},
            {"type": "categorical", "name": "mixed", "choices": ["a", 1]},
            {"type": "categorical", "name": "pairs", "choices": [[1, 2], [3, 4]]},
            {"type": "categorical", "name": "op", "choices": ["conv", "pool"]}], "conditions": [], "forbiddens": []}"#;
        let error = read(text, "x").unwrap_err().to_string();
        for name in [
            "`lr` is continuous",
            "`units` has 4096",
            "`decay` is a normal_float",
            "`mixed`",
            "decision `pairs`: [1,2] is no choice",
        ] {
            assert!(error.contains(name), "{name}: {error}");
        }
        assert!(!error.contains("`op`"), "{error}");
        let bad = NET.replacen("\"parent\": \"op\"", "\"parent\": \"pp\"", 1).replacen(
            "\"name\": \"depth\", \"value\": 4",
            "\"name\": \"dpth\", \"value\": 4",
            1,
        );
        let error = read(&bad, "x").unwrap_err().to_string();
        assert!(error.contains("no decision `pp`") && error.contains("no decision `dpth`"), "{error}");
    }
}
