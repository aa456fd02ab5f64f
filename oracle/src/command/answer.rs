//! What a program's last line says: a JSON object of metrics.

use super::process::LAST_OUTPUT;
use crate::costly::Answer;
use serde_json::Value;
use srnas_basics::json::Pairs;
use std::collections::BTreeMap;

/// So much of a line is shown.
const SHOWN: usize = 120;
/// JSON has no word for what is no number; programs (Python among them) write these, and they are read as strings that begin
/// like nothing else.
const MARK: char = '\u{1}';

/// The metrics in the last line that a program said. What is no number is left out, unless it is searched.
///
/// # Errors
/// Why there are none: no line, no JSON object, a name that occurs twice, or no number for what is searched.
pub fn read(stdout: &str, wanted: &[String]) -> Result<BTreeMap<String, f64>, String> {
    let Some(line) = stdout.lines().map(str::trim).rfind(|line| !line.is_empty()) else {
        return Err("it said nothing; its last line should be a JSON object of metrics".into());
    };
    // What was kept of it begins in the middle of the line.
    if stdout.len() >= LAST_OUTPUT && !stdout.trim_end().contains('\n') {
        return Err(format!("its last line is longer than {} MiB, the most that is read", LAST_OUTPUT >> 20));
    }
    // What is wrong with a long string quotes all of it.
    let Pairs(said) = serde_json::from_str(&marked(line)).map_err(|e| {
        format!("its last line `{}` is no JSON object of metrics ({})", shown(line), shown(&e.to_string()))
    })?;
    let mut metrics = BTreeMap::new();
    let mut other = None;
    for (place, (name, value)) in said.iter().enumerate() {
        if let Some((_, before)) = said[..place].iter().find(|(earlier, _)| earlier == name) {
            return Err(format!(
                "its last line has `{}` twice: {} and {}",
                shown(name),
                plain(before),
                plain(value)
            ));
        }
        match number(value) {
            Some(number) => drop(metrics.insert(name.clone(), number)),
            None if wanted.contains(name) => {
                other.get_or_insert((name, value));
            }
            None => {}
        }
    }
    if let Some((name, other)) = other {
        return Err(format!("its metric `{name}` is {}, no number", plain(other)));
    }
    match Answer::of(metrics, wanted) {
        Answer::Metrics(metrics) => Ok(metrics),
        Answer::Infeasible(reason) => Err(reason),
    }
}

/// The numbers in a line, where it is a JSON object.
pub(crate) fn point(line: &str) -> Option<BTreeMap<String, f64>> {
    let line = line.trim();
    if !line.starts_with('{') {
        return None;
    }
    let Pairs(said) = serde_json::from_str(&marked(line)).ok()?;
    Some(said.into_iter().filter_map(|(name, value)| Some((name, number(&value)?))).collect())
}

/// The beginning of a text that may be long.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(word) => match word.strip_prefix(MARK)? {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            _ => Some(f64::NEG_INFINITY),
        },
        _ => None,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(word) if word.starts_with(MARK) => word[1..].into(),
        other => other.to_string().chars().take(SHOWN).collect(),
    }
}

/// The line with every `NaN`, `Infinity` and `-Infinity` outside of strings as a string with a mark.
fn marked(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let (mut rest, mut in_string) = (line, false);
    while let Some(c) = rest.chars().next() {
        let word =
            ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = word {
            out.push_str(&format!("\"\\u0001{word}\""));
            rest = &rest[word.len()..];
            continue;
        }
        // What follows a backslash in a string ends nothing.
        let taken = if in_string && c == '\\' {
            1 + rest[1..].chars().next().map_or(0, char::len_utf8)
        } else {
            c.len_utf8()
        };
        in_string ^= c == '"';
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::read;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_said_is_taken_as_it_is() {
        let said = read(
            "words\n {\"loss\": 5e-1, \"NaN_batches\": 3, \"note\": \"NaN\", \"of\": null, \"big\": 39974282} \n\n",
            &["loss".into()],
        );
        let expected = [("NaN_batches", 3.0), ("big", 39_974_282.0), ("loss", 0.5)];
        assert_eq!(said.unwrap(), expected.map(|(name, value)| (name.to_string(), value)).into());
        let odd =
            read(r#"{"a\"NaN": 1, "b\\": -Infinity, "c": NaN, "é": Infinity}"#, &["a\"NaN".into()]).unwrap();
        assert_eq!(odd["a\"NaN"], 1.0);
        assert_eq!((odd["b\\"], odd["é"]), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(odd["c"].is_nan());
        assert_eq!(
            read("{\"loss\": 1e-50}", &["loss".into()]).unwrap(),
            BTreeMap::from([("loss".into(), 1e-50)])
        );
    }

    #[test]
    fn what_is_no_value_is_named_as_what_it_is() {
        for (line, expected) in [
            ("", "it said nothing"),
            ("{\"loss\": NaN}", "`loss` is not a number (NaN)"),
            ("{\"loss\": Infinity}", "`loss` is infinite"),
            ("{\"loss\": -Infinity}", "`loss` is minus infinite"),
            ("{\"loss\": null}", "`loss` is null, no number"),
            ("{\"loss\": true}", "`loss` is true, no number"),
            ("{\"loss\": \"NaN\"}", "`loss` is \"NaN\", no number"),
            ("{\"loss\": [1]}", "`loss` is [1], no number"),
            ("{\"loss\": 1e39}", "`loss` is 1e39, and 3.4e38 is the most"),
            ("{\"loss\": 5, \"loss\": -99}", "has `loss` twice: 5 and -99"),
            ("{\"a\": 5, \"loss\": 1, \"a\": NaN}", "has `a` twice: 5 and NaN"),
            ("{\"lose\": 1}", "no metric `loss`; did you mean `lose`?"),
            ("{}", "no metric `loss`; there is none"),
            ("[1]", "no JSON object of metrics"),
            ("0.5", "no JSON object of metrics"),
            ("{\"loss\": NaN", "no JSON object of metrics"),
            ("{\"loss\": 1}\nNaN", "its last line `NaN` is no JSON object"),
        ] {
            let error = read(line, &["loss".into()]).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
        let x = "x".repeat(5000);
        let twice = format!("{{\"{x}\": 1, \"{x}\": 2}}");
        for long in [format!("{{\"loss\": \"{x}"), format!("\"{x}\""), twice] {
            let error = read(&long, &["loss".into()]).unwrap_err();
            assert!(error.contains("x…`") && error.len() < 400, "{error}");
        }
    }
}
