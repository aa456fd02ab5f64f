//! Architectures written down: in the space's own notation, as `decision=choice,…`, or in JSON.

use super::{Choices, Decision, SearchSpace, SpaceError};
use serde_json::Value;
use srnas_basics::{json::Pairs, names::did_you_mean};

impl SearchSpace {
    /// An architecture as a JSON object: the value of each decision that counts, by its name.
    pub fn to_json(&self, choices: &Choices) -> serde_json::Map<String, Value> {
        let counts = |d: &usize| !self.is_inactive(choices, *d);
        let value = |d: usize| (self.decisions[d].name.clone(), self.decisions[d].value(choices[d]));
        (0..self.len()).filter(counts).map(value).collect()
    }

    /// Writes an architecture in the space's own notation, else as `decision=choice,…`.
    pub fn format(&self, choices: &Choices) -> String {
        self.rules.format(self, choices).unwrap_or_else(|| {
            let pairs = self.decisions.iter().zip(choices);
            let parts: Vec<String> =
                pairs.map(|(d, &c)| format!("{}={}", d.name, d.choices[c as usize])).collect();
            parts.join(",")
        })
    }

    /// Reads an architecture: a JSON object with the value of each decision by its name, a JSON list of the values in order, the
    /// space's own notation, or where it has none `decision=choice,…` in any order. A decision that does not count may be left
    /// out, and gets its first choice.
    ///
    /// # Errors
    /// Says which part is not an architecture of this space and what is expected.
    pub fn parse(&self, text: &str) -> Result<Vec<u8>, SpaceError> {
        let text = text.trim();
        // A decision's name may begin with a bracket.
        let named = |(name, _): (&str, &str)| self.decisions.iter().any(|d| d.name == name.trim());
        let read = match text.chars().next().filter(|_| !text.split_once('=').is_some_and(named)) {
            Some('{') => self.parse_object(text),
            Some('[') => self.parse_list(text),
            _ => match self.rules.parse(self, text) {
                Some(result) => Ok(result?),
                None => self.parse_pairs(text),
            },
        };
        let choices = read.map_err(|reason| self.not_an_architecture(text, &reason))?;
        if !self.is_valid(&choices) {
            let why = match &self.broken(&choices)[..] {
                [] => "its choices together are not valid here".to_string(),
                broken => format!("it breaks {}", broken.join(" and ")),
            };
            return Err(self.not_an_architecture(text, &why));
        }
        Ok(choices)
    }

    fn parse_pairs(&self, text: &str) -> Result<Vec<u8>, String> {
        let mut choices = vec![None; self.len()];
        for pair in text.split(',') {
            let (name, choice) = pair.split_once('=').ok_or_else(|| {
                format!(
                    "`{pair}` is not decision=choice; a JSON object {{\"decision\": choice, …}} is read too"
                )
            })?;
            self.choose(&mut choices, name.trim(), |d| self.choice(d, choice.trim()))?;
        }
        self.complete(choices)
    }

    fn parse_object(&self, text: &str) -> Result<Vec<u8>, String> {
        let wrong = |e| format!("it is no JSON object: {e}");
        let own = serde_json::from_str(text).map(|object| self.rules.parse_json(&object)).map_err(wrong)?;
        if let Some(own) = own {
            return own;
        }
        let Pairs(pairs) = serde_json::from_str(text).map_err(wrong)?;
        let mut choices = vec![None; self.len()];
        for (name, value) in pairs {
            self.choose(&mut choices, &name, |d| self.choice_of(d, &value))?;
        }
        self.complete(choices)
    }

    fn parse_list(&self, text: &str) -> Result<Vec<u8>, String> {
        let values: Vec<Value> =
            serde_json::from_str(text).map_err(|e| format!("it is no JSON list: {e}"))?;
        if values.len() != self.len() {
            let (found, expected) = (values.len(), self.len());
            return Err(format!("the list has {found} values, and the space {expected} decisions"));
        }
        values.iter().enumerate().map(|(d, value)| self.choice_of(d, value)).collect()
    }

    /// Puts the choice of a named decision in its place.
    fn choose(
        &self,
        choices: &mut [Option<u8>],
        name: &str,
        choice: impl FnOnce(usize) -> Result<u8, String>,
    ) -> Result<(), String> {
        let d = self.decisions.iter().position(|d| d.name == name).ok_or_else(|| {
            let hint = did_you_mean(name, self.decisions.iter().map(|d| d.name.as_str()));
            format!("it has no decision `{name}`{hint}")
        })?;
        match choices[d].replace(choice(d)?) {
            None => Ok(()),
            Some(_) => Err(format!("decision `{name}` occurs twice")),
        }
    }

    /// All choices, if what is left out does not count.
    fn complete(&self, choices: Vec<Option<u8>>) -> Result<Vec<u8>, String> {
        let all: Vec<u8> = choices.iter().map(|c| c.unwrap_or(0)).collect();
        let counts = |d: &usize| choices[*d].is_none() && !self.is_inactive(&all, *d);
        match (0..self.len()).find(counts) {
            None => Ok(all),
            Some(d) => Err(format!("decision `{}` is missing", self.decisions[d].name)),
        }
    }

    /// Index of a choice by its name; the error names the nearest ones.
    pub(super) fn choice(&self, decision: usize, name: &str) -> Result<u8, String> {
        let d = &self.decisions[decision];
        d.choices.iter().position(|c| c == name).map(|c| c as u8).ok_or_else(|| d.unknown(name))
    }

    /// Index of a choice by its value in JSON, or by its name where that is quoted.
    fn choice_of(&self, decision: usize, value: &Value) -> Result<u8, String> {
        let d = &self.decisions[decision];
        let quoted = || value.as_str().and_then(|name| self.choice(decision, name).ok());
        let text = || value.as_str().map_or_else(|| value.to_string(), str::to_string);
        d.position(value).or_else(quoted).ok_or_else(|| d.unknown(&text()))
    }

    pub(super) fn not_an_architecture(&self, text: &str, reason: &str) -> SpaceError {
        SpaceError::NotAnArchitecture { space: self.name.clone(), text: text.into(), reason: reason.into() }
    }
}

impl Decision {
    /// A choice as JSON has it: a number, a truth value or a word.
    pub fn value(&self, choice: u8) -> Value {
        let name = &self.choices[usize::from(choice)];
        let literal = self.literal.then(|| serde_json::from_str(name).ok()).flatten();
        literal.unwrap_or_else(|| name.as_str().into())
    }

    /// Place of a choice by its value; a number is found by its value, however it is written.
    pub(super) fn position(&self, wanted: &Value) -> Option<u8> {
        let all = 0..self.choices.len() as u8;
        // Not two whole numbers: large ones may be the same as floats.
        let equal = |&c: &u8| {
            let value = self.value(c);
            (value.is_f64() || wanted.is_f64()) && value.as_f64().is_some_and(|v| Some(v) == wanted.as_f64())
        };
        all.clone().find(|&c| self.value(c) == *wanted).or_else(|| all.clone().find(equal))
    }

    /// Why a name is no choice of this decision, with the nearest ones.
    pub(super) fn unknown(&self, name: &str) -> String {
        let hint = did_you_mean(name, self.choices.iter().map(String::as_str));
        format!("decision `{}` has no choice `{name}`{hint}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Condition, Conditional, SearchSpace};
    use super::*;

    fn space() -> SearchSpace {
        let literal = |d: Decision| Decision { literal: true, ..d };
        let decisions = vec![
            literal(Decision::new("depth", &["1", "2"])),
            Decision::new("act", &["relu", "tanh"]),
            literal(Decision::new("rate", &["0.1", "1e-3"])),
            literal(Decision::new("bias", &["true", "false"])),
        ];
        // The rate counts in depth 2 alone.
        let condition = Condition { decision: 2, depends_on: 0, active_if: vec![1] };
        Conditional::space("net", decisions, vec![condition]).unwrap()
    }

    /// Found by fuzzing: what was written was read as JSON.
    #[test]
    fn names_that_begin_with_a_bracket_are_no_json() {
        for name in ["[arch", "{a}", "[1]"] {
            let decisions = vec![Decision::new(name, &["x", "y=[z]"]), Decision::new("b", &["0", "1"])];
            let space = Conditional::space("odd", decisions, vec![]).unwrap();
            for choices in [[0, 1], [1, 0]] {
                assert_eq!(space.parse(&space.format(&choices)).unwrap(), choices, "{name}");
            }
            let object = serde_json::Value::Object(space.to_json(&[1, 0])).to_string();
            assert_eq!(space.parse(&object).unwrap(), [1, 0], "{object}");
            assert_eq!(space.parse(r#"["y=[z]", "0"]"#).unwrap(), [1, 0]);
        }
    }

    #[test]
    fn json_and_pairs_say_the_same() {
        let space = space();
        for text in [
            "depth=2,act=tanh,rate=1e-3,bias=false",
            r#"{"act": "tanh", "depth": 2, "rate": 0.001, "bias": false}"#,
            r#" {"depth": 2.0, "act": "tanh", "rate": 1e-3, "bias": "false"} "#,
            r#"[2, "tanh", 0.001, false]"#,
        ] {
            assert_eq!(space.parse(text).unwrap(), [1, 1, 1, 1], "{text}");
        }
        for text in [r#"{"depth": 1, "act": "relu", "bias": true}"#, "bias=true,depth=1,act=relu"] {
            assert_eq!(space.parse(text).unwrap(), [0, 0, 0, 0], "what does not count may be left out");
        }
        // What is shown in JSON is read again, also where the space has its own notation.
        let cells = SearchSpace::named("nb201").unwrap();
        for choices in [[0u8, 1, 2, 3, 4, 0], [4, 4, 3, 2, 1, 1]] {
            let text = Value::Object(cells.to_json(&choices)).to_string();
            assert_eq!(cells.parse(&text).unwrap(), choices, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_in_json_is_said() {
        let space = space();
        for (text, says) in [
            (r#"{"depth": 2, "act": "tanh", "bias": true}"#, "decision `rate` is missing"),
            (r#"{"depth": 3, "act": "tanh", "bias": true}"#, "decision `depth` has no choice `3`"),
            (r#"{"depht": 1}"#, "it has no decision `depht`; did you mean `depth`?"),
            (r#"{"depth": 1, "depth": 2, "act": "relu", "rate": 0.1, "bias": true}"#, "`depth` occurs twice"),
            (r#"{"depth": 1"#, "it is no JSON object: EOF"),
            (r#"{"depth": [1], "act": "relu", "bias": true}"#, "has no choice `[1]`"),
            ("[1]", "the list has 1 values, and the space 4 decisions"),
            (r#"[1, "relu", null, true]"#, "decision `rate` has no choice `null`"),
            ("depth", "is not decision=choice; a JSON object"),
        ] {
            let said = space.parse(text).unwrap_err().to_string();
            assert!(said.contains(says), "{text}: {said}");
        }
    }
}
