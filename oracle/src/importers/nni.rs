//! The search space of an NNI experiment (`search_space.json`) as a space of srnas in TOML.

use serde_json::{Map, Value};
use srnas_space::SearchSpace;
use std::fmt::Write;

/// What became of a search space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NniSpace {
    /// The file of the space. What is not as it was is marked there with `check`.
    pub text: String,
    /// How many marks there are.
    pub checks: usize,
    /// How many decisions.
    pub decisions: usize,
}

/// Most numbers of a grid that are all kept.
const MOST: f64 = 255.0;

/// Whether a value is a search space of NNI.
pub fn is_one(value: &Value) -> bool {
    let Value::Object(entries) = value else { return false };
    !entries.is_empty() && entries.values().all(|entry| entry.get("_type").is_some_and(Value::is_string))
}

/// Turns the text of a `search_space.json` into a space, under this name.
///
/// # Errors
/// All that is not understood, by the names of the parameters.
pub fn space(text: &str, name: &str) -> Result<NniSpace, String> {
    let value: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|e| {
        format!("it is no JSON ({e}); a search space in a Python file or in a YAML config is written as JSON first: json.dump(search_space, file)")
    })?;
    let inside = value.get("searchSpace").or_else(|| value.get("search_space")).unwrap_or(&value);
    let Value::Object(entries) = inside else {
        return Err("it is no search space of NNI: an object with an entry for each parameter".into());
    };
    if entries.is_empty() {
        return Err("it has no parameter".into());
    }
    if !entries.values().any(|entry| entry.get("_type").is_some()) {
        return Err("it is no search space of NNI: none of its entries has a `_type`".into());
    }
    let mut writer = Writer::default();
    writer.entries(entries, "", None);
    if !writer.wrong.is_empty() {
        return Err(writer.wrong.join("; "));
    }
    if writer.decisions == 0 {
        return Err("each of its parameters has one value: there is nothing to search".into());
    }
    let mut text = String::from(
        "# Made by srnas of a search space of NNI. What is marked with \"check\" is not as it was there.\n",
    );
    let _ = writeln!(text, "name = {}", quoted(name));
    text += &writer.text;
    for note in &writer.left_out {
        let _ = write!(text, "\n# Left out: {note}\n");
    }
    // What is written can be searched.
    srnas_space::read(&text, name).map(|_: SearchSpace| ()).map_err(|e| e.to_string())?;
    let checks = text.lines().filter(|line| line.contains("# check")).count();
    Ok(NniSpace { text, checks, decisions: writer.decisions })
}

#[derive(Default)]
struct Writer {
    text: String,
    decisions: usize,
    left_out: Vec<String>,
    wrong: Vec<String>,
}

/// Where a parameter counts: under one choice of another.
type Under<'a> = Option<(&'a str, &'a str)>;

impl Writer {
    fn entries(&mut self, entries: &Map<String, Value>, beginning: &str, under: Under<'_>) {
        for (name, entry) in entries.iter().filter(|(name, _)| *name != "_name") {
            let full = format!("{beginning}{name}");
            if let Err(reason) = self.entry(&full, entry, under) {
                self.wrong.push(format!("`{full}`: {reason}"));
            }
        }
    }

    fn entry(&mut self, name: &str, entry: &Value, under: Under<'_>) -> Result<(), String> {
        let kind = entry.get("_type").and_then(Value::as_str);
        let Some(kind) = kind else {
            // A constant beside parameters.
            self.left_out
                .push(format!("{} = {entry}, which is no parameter: put it into the program", quoted(name)));
            return Ok(());
        };
        let value = entry.get("_value").ok_or("it has no `_value`")?;
        if let "choice" | "ordinal" = kind {
            return self.choice(name, value, kind == "ordinal", under);
        }
        if let "layer_choice" | "input_choice" | "mutable_layer" | "mutable_type" = kind {
            return Err(format!(
                "`{kind}` is of NNI's own modules, which srnas does not build: write it as a choice that your program reads"
            ));
        }
        let numbers: Option<Vec<f64>> =
            value.as_array().and_then(|values| values.iter().map(Value::as_f64).collect());
        let numbers =
            numbers.ok_or_else(|| format!("the `_value` of `{kind}` is {value}, no list of numbers"))?;
        match (kind, &numbers[..]) {
            ("randint", &[low, high]) => self.grid(name, low, high - 1.0, 1.0, under),
            ("uniform", &[low, high]) => self.range(name, low, high, false, "", under),
            ("loguniform", &[low, high]) => self.range(name, low, high, true, "", under),
            ("quniform", &[low, high, step]) => self.grid(name, low, high, step, under),
            ("qloguniform", &[low, high, step]) => {
                let lost = format!("it was on a grid of {}", number(step));
                self.range(name, low, high, true, &lost, under)
            }
            ("normal", &[mean, deviation]) | ("qnormal", &[mean, deviation, _]) => {
                let lost =
                    format!("it was {kind}, mean {} and deviation {}", number(mean), number(deviation));
                self.range(name, mean - 2.0 * deviation, mean + 2.0 * deviation, false, &lost, under)
            }
            ("lognormal", &[mean, deviation]) | ("qlognormal", &[mean, deviation, _]) => {
                let lost = format!(
                    "its logarithm was normal, mean {} and deviation {}",
                    number(mean),
                    number(deviation)
                );
                let end = |sign: f64| (mean + sign * 2.0 * deviation).exp();
                self.range(name, end(-1.0), end(1.0), true, &lost, under)
            }
            (
                "randint" | "uniform" | "loguniform" | "quniform" | "qloguniform" | "normal" | "qnormal"
                | "lognormal" | "qlognormal",
                _,
            ) => Err(format!("`{kind}` has another number of values than {}", numbers.len())),
            (other, _) => Err(format!("`_type` is `{other}`, which is none of NNI's")),
        }
    }

    fn begin(&mut self, name: &str, check: &str) {
        self.decisions += 1;
        let check = if check.is_empty() { String::new() } else { format!("  # check: {check}") };
        let _ = writeln!(self.text, "\n[[decisions]]\nname = {}{check}", quoted(name));
    }

    fn end(&mut self, under: Under<'_>) {
        if let Some((decision, choice)) = under {
            let _ = writeln!(self.text, "active_if = {{ {} = {choice} }}", quoted(decision));
        }
    }

    fn only(&mut self, name: &str, value: &str) {
        self.left_out.push(format!("{} = {value}, its only value: put it into the program", quoted(name)));
    }

    fn choice(&mut self, name: &str, value: &Value, ordered: bool, under: Under<'_>) -> Result<(), String> {
        let options = value.as_array().filter(|options| !options.is_empty());
        let options = options.ok_or_else(|| format!("the `_value` of a choice is {value}, no list"))?;
        let option = |(i, option): (usize, &Value)| match option {
            Value::Object(of) => of.get("_name").and_then(Value::as_str).map(String::from).ok_or_else(|| {
                format!("option {} is an object without `_name`, by which it could be called", i + 1)
            }),
            Value::Array(_) => Ok(plain(&option.to_string())),
            Value::Null => Ok("None".into()),
            Value::String(text) => Ok(plain(text)),
            other => Ok(other.to_string()),
        };
        let names: Vec<String> = options.iter().enumerate().map(option).collect::<Result<_, _>>()?;
        let all = |what: fn(&Value) -> bool| options.iter().all(what);
        let words = !all(Value::is_number) && !all(Value::is_boolean);
        let mut texts: Vec<String> = Vec::new();
        for name in &names {
            let text = if words { quoted(name) } else { name.clone() };
            if texts.contains(&text) {
                self.left_out.push(format!("the choice {text} of {}, which is there twice", quoted(name)));
            } else {
                texts.push(text);
            }
        }
        let renamed = options.iter().any(|o| o.is_null() || o.is_array())
            || (words && options.iter().any(|o| o.is_number() || o.is_boolean()))
            || options.iter().zip(&names).any(|(o, name)| o.as_str().is_some_and(|text| text != name));
        match texts.len() {
            1 if !options.iter().any(Value::is_object) => self.only(name, &texts[0]),
            1 => {}
            _ => {
                let check =
                    if renamed { "its choices are words here; what was none is written as one" } else { "" };
                self.begin(name, check);
                let _ = writeln!(self.text, "choices = [{}]", texts.join(", "));
                if ordered || (all(Value::is_number) && ascending(options) && options.len() > 4) {
                    self.text += "ordered = true\n";
                }
                self.end(under);
            }
        }
        for (option, choice) in options.iter().zip(&names) {
            if let Value::Object(of) = option {
                let choice = quoted(choice);
                let under = if texts.len() == 1 { under } else { Some((name, choice.as_str())) };
                self.entries(of, &format!("{name}/"), under);
            }
        }
        Ok(())
    }

    /// Numbers a step apart; the end counts also where no step leads there.
    fn grid(&mut self, name: &str, low: f64, high: f64, step: f64, under: Under<'_>) -> Result<(), String> {
        check_ends(low, high)?;
        if !(step > 0.0 && step.is_finite()) {
            return Err(format!("its step is {}", number(step)));
        }
        let steps = ((high - low) / step + 1e-9).floor();
        let whole = [low, high, step].iter().all(|n| n.fract() == 0.0);
        let last = low + steps * step;
        if low == high {
            self.only(name, &number(low));
            return Ok(());
        }
        if steps < 1.0 || steps + 1.0 > MOST {
            let lost = format!("it had steps of {}", number(step));
            return match (steps < 1.0, whole) {
                (false, true) => self.range(name, low, last, false, &lost, under),
                (false, false) => self.range(name, low, high, false, &lost, under),
                (true, _) => {
                    self.begin(name, "");
                    let _ = writeln!(
                        self.text,
                        "choices = [{}, {}]\nordered = true",
                        toml(low, whole),
                        toml(high, whole)
                    );
                    self.end(under);
                    Ok(())
                }
            };
        }
        if (high - last).abs() > 1e-9 * high.abs().max(1.0) {
            // NNI rounds to multiples of the step and cuts at the ends.
            let mut values: Vec<f64> =
                (0..=steps as u32).map(|i| rounded(low + f64::from(i) * step)).collect();
            values.push(high);
            self.begin(name, "its last step is a shorter one");
            let values: Vec<String> = values.into_iter().map(|value| toml(value, whole)).collect();
            let _ = writeln!(self.text, "choices = [{}]\nordered = true", values.join(", "));
        } else {
            self.begin(name, "");
            let ends = [toml(low, whole), toml(rounded(last), whole), toml(step, whole)];
            let _ = writeln!(self.text, "range = [{}, {}]\nstep = {}", ends[0], ends[1], ends[2]);
        }
        self.end(under);
        Ok(())
    }

    fn range(
        &mut self,
        name: &str,
        low: f64,
        high: f64,
        log: bool,
        lost: &str,
        under: Under<'_>,
    ) -> Result<(), String> {
        check_ends(low, high)?;
        if low == high {
            self.only(name, &number(low));
            return Ok(());
        }
        if log && low <= 0.0 {
            return Err(format!("it begins with {}, which has no logarithm", number(low)));
        }
        let levels = "it was continuous, and is searched in levels: `levels = …` says how many";
        let check = if lost.is_empty() { levels.into() } else { format!("{lost}; it is searched in levels") };
        self.begin(name, &check);
        let whole = lost.starts_with("it had steps") && low.fract() == 0.0 && high.fract() == 0.0;
        let _ = writeln!(self.text, "range = [{}, {}]", toml(low, whole), toml(high, whole));
        if log {
            self.text += "log = true\n";
        }
        self.end(under);
        Ok(())
    }
}

fn check_ends(low: f64, high: f64) -> Result<(), String> {
    match low.is_finite() && high.is_finite() && low <= high {
        true => Ok(()),
        false => Err(format!("it goes from {} to {}", number(low), number(high))),
    }
}

/// A number as one writes it.
fn number(value: f64) -> String {
    value.to_string()
}

/// A number without what the last bits of a sum add to it.
fn rounded(value: f64) -> f64 {
    format!("{value:.12e}").parse().unwrap_or(value)
}

fn toml(value: f64, whole: bool) -> String {
    if whole { format!("{value:.0}") } else { format!("{value:?}") }
}

fn ascending(options: &[Value]) -> bool {
    let numbers: Vec<f64> = options.iter().filter_map(Value::as_f64).collect();
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

/// A word as a choice may be called: commas are between the decisions of an architecture.
fn plain(word: &str) -> String {
    let word = word.replace(',', ";").replace(['\n', '\r'], " ");
    let word = word.trim();
    if word.is_empty() { "empty".into() } else { word.into() }
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text.replace(char::is_control, " ")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_parameter_becomes_a_decision() {
        let text = r#"{
            "act": {"_type": "choice", "_value": ["relu", "tanh"]},
            "width": {"_type": "choice", "_value": [16, 32, 64, 128, 256]},
            "bias": {"_type": "choice", "_value": [true, false]},
            "mixed": {"_type": "choice", "_value": [null, "a,b", 3]},
            "depth": {"_type": "randint", "_value": [1, 5]},
            "dropout": {"_type": "uniform", "_value": [0, 0.5]},
            "lr": {"_type": "loguniform", "_value": [0.0001, 0.1]},
            "steps": {"_type": "quniform", "_value": [0, 1, 0.1]},
            "short": {"_type": "quniform", "_value": [1, 11, 2.5]},
            "decay": {"_type": "normal", "_value": [0, 1]},
            "seed": {"_type": "choice", "_value": [7]},
            "wide": {"_type": "randint", "_value": [0, 100000]}
        }"#;
        let made = space(text, "toy").unwrap();
        let space = srnas_space::read(&made.text, "toy").unwrap();
        let choices = |name: &str| {
            let found = space.decisions().iter().find(|decision| decision.name == name);
            found.unwrap_or_else(|| panic!("{name} in\n{}", made.text)).choices.join(" ")
        };
        for (name, wanted) in [
            ("act", "relu tanh"),
            ("width", "16 32 64 128 256"),
            ("bias", "true false"),
            ("mixed", "None a;b 3"),
            ("depth", "1 2 3 4"),
            ("dropout", "0.0 0.1 0.2 0.3 0.4 0.5"),
            ("lr", "0.0001 0.0003 0.001 0.003 0.01 0.03 0.1"),
            ("steps", "0.0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0"),
            ("short", "1.0 3.5 6.0 8.5 11.0"),
        ] {
            assert_eq!(choices(name), wanted, "{name}");
        }
        assert_eq!((made.decisions, space.len()), (11, 11));
        // Whole numbers stay whole.
        assert!(
            choices("wide").starts_with("0 ") && choices("wide").ends_with(" 99999"),
            "{}",
            choices("wide")
        );
        for says in [
            "# Left out: \"seed\" = 7",
            "name = \"lr\"  # check: it was continuous",
            "mean 0 and deviation 1",
        ] {
            assert!(made.text.contains(says), "{says} in\n{}", made.text);
        }
        assert_eq!(made.checks, 5, "{}", made.text);
    }

    #[test]
    fn nested_choices_are_decisions_that_count_under_their_choice() {
        let text = r#"{"layer": {"_type": "choice", "_value": [
            {"_name": "Empty"},
            {"_name": "Conv", "kernel": {"_type": "choice", "_value": [1, 3]},
                "act": {"_type": "choice", "_value": [{"_name": "leaky", "slope": {"_type": "uniform", "_value": [0.01, 0.1]}}, {"_name": "relu"}]}},
            {"_name": "Pool", "pooling_size": {"_type": "choice", "_value": [2, 3]}}]}}"#;
        let made = space(text, "toy").unwrap();
        let space = srnas_space::read(&made.text, "toy").unwrap();
        let names: Vec<&str> = space.decisions().iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["layer", "layer/act", "layer/act/slope", "layer/kernel", "layer/pooling_size"]);
        let mut pool = vec![2, 0, 0, 0, 0];
        space.activate(&mut pool);
        let inactive: Vec<bool> = (0..5).map(|d| space.is_inactive(&pool, d)).collect();
        assert_eq!(inactive, [false, true, true, true, false], "{}", made.text);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, says) in [
            ("", "it is no JSON"),
            ("[]", "no search space of NNI"),
            ("{}", "it has no parameter"),
            (r#"{"count": ["C1", "C2"]}"#, "none of its entries has a `_type`"),
            (
                r#"{"a": {"_type": "choice"}, "b": {"_type": "uniforn", "_value": [0, 1]}}"#,
                "`a`: it has no `_value`; `b`: `_type` is `uniforn`",
            ),
            (r#"{"a": {"_type": "choice", "_value": []}}"#, "no list"),
            (r#"{"a": {"_type": "uniform", "_value": [1]}}"#, "another number of values"),
            (r#"{"a": {"_type": "uniform", "_value": [2, 1]}}"#, "it goes from 2 to 1"),
            (r#"{"a": {"_type": "loguniform", "_value": [0, 1]}}"#, "no logarithm"),
            (r#"{"a": {"_type": "choice", "_value": [{"x": 1}, {"x": 2}]}}"#, "without `_name`"),
            (r#"{"a": {"_type": "layer_choice", "_value": ["conv"]}}"#, "NNI's own modules"),
            (r#"{"a": {"_type": "choice", "_value": [1]}}"#, "nothing to search"),
        ] {
            let said = space(text, "toy").unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
    }
}
