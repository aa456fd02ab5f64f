//! The decisions of a suggested space: their choices, and where they count.

use super::{
    super::numbers::{self, Notation},
    columns::Contents,
    text::{choice_name, decision_name, key, quoted, unique},
};
use std::fmt::Write;

/// A decision of the space, and where the table has it.
pub(super) struct Decision {
    pub name: String,
    pub column: String,
    pub choices: Vec<Choice>,
    pub doubt: Option<&'static str>,
    /// It counts while the decision of this name has one of these choices.
    active_if: Option<(String, Vec<String>)>,
    numbers: bool,
}

/// A choice, and what the table calls it.
pub(super) struct Choice {
    /// As the space's file has it.
    text: String,
    /// As `names` has it.
    name: String,
    words: Vec<String>,
    /// Whether some of its words are other than its name.
    renamed: bool,
}

impl Decision {
    /// A decision of words as a pattern has them; numbers only where they are written as srnas writes them.
    pub fn of_words(name: &str, words: &[String]) -> Self {
        let numbers = words.iter().all(|word| number_name(word).is_some_and(|name| name == *word));
        let choices = if numbers {
            let mut all: Vec<&String> = words.iter().collect();
            all.sort_by(|a, b| value(a).total_cmp(&value(b)));
            all.into_iter().map(|word| Choice::number(word.clone(), vec![word.clone()])).collect()
        } else {
            words_as_choices(words.iter().map(String::as_str))
        };
        let (name, column) = (name.to_string(), String::new());
        Self { name, column, choices, doubt: None, active_if: None, numbers }
    }

    /// A decision with a column of its own.
    pub fn of_column(
        contents: &Contents<'_>,
        name: &str,
        doubt: Option<&'static str>,
        notation: Notation,
    ) -> Self {
        let words = contents.distinct.iter().copied();
        let numbers = contents.distinct.iter().all(|word| parsed(word, notation).is_some());
        let choices = if numbers {
            let mut sorted: Vec<(f64, String, &str)> = words
                .filter_map(|word| parsed(word, notation).map(|(value, name)| (value, name, word)))
                .collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(b.2)));
            let mut choices: Vec<Choice> = Vec::new();
            let mut last = f64::NAN;
            for (value, name, word) in sorted {
                // 8 and 8.0 are one number, and so are 0 and -0.
                match choices.last_mut().filter(|_| value == last) {
                    Some(choice) => choice.words.push(word.into()),
                    None => choices.push(Choice::number(name, vec![word.into()])),
                }
                last = value;
            }
            for choice in &mut choices {
                choice.renamed =
                    choice.words.iter().any(|word| word.parse().ok() != choice.name.parse::<f64>().ok());
            }
            choices
        } else {
            words_as_choices(words)
        };
        let (name, column) = (decision_name(name), contents.name.to_string());
        Self { name, column, choices, doubt, active_if: None, numbers }
    }

    /// The entry in the space's file.
    pub fn entry(&self) -> String {
        let choices: Vec<&str> = self.choices.iter().map(|choice| choice.text.as_str()).collect();
        let check = self.doubt.map_or(String::new(), |doubt| format!("  # check: {doubt}"));
        let mut entry = format!(
            "\n[[decisions]]\nname = {}{check}\nchoices = [{}]\n",
            quoted(&self.name),
            choices.join(", ")
        );
        if self.numbers && self.choices.len() > 4 {
            entry.push_str("ordered = true\n");
        }
        if let Some((on, choices)) = &self.active_if {
            let _ = writeln!(
                entry,
                "active_if = {{ {} = [{}] }}  # check: elsewhere its cells are empty",
                key(on),
                choices.join(", ")
            );
        }
        entry
    }

    /// The line in `[architecture.names]`, where the table calls choices otherwise.
    pub fn names(&self) -> Option<String> {
        let renamed = self.choices.iter().filter(|choice| choice.renamed);
        let names: Vec<String> = renamed
            .flat_map(|choice| {
                choice.words.iter().map(|word| format!("{} = {}", key(word), quoted(&choice.name)))
            })
            .collect();
        (!names.is_empty()).then(|| format!("{} = {{ {} }}\n", key(&self.name), names.join(", ")))
    }

    fn choice_of(&self, word: &str) -> Option<usize> {
        self.choices.iter().position(|choice| choice.words.iter().any(|w| w == word))
    }
}

impl Choice {
    fn number(name: String, words: Vec<String>) -> Self {
        Self { text: name.clone(), name, words, renamed: false }
    }
}

/// Says of each decision with empty cells where it counts, if another one tells, else makes the empty cell a choice.
pub(super) fn settle_empty_cells(decisions: &mut [Decision], contents: &[&Contents<'_>]) {
    let empty = |d: usize| contents[d].texts.iter().filter(|text| text.is_empty()).count();
    for d in (0..decisions.len()).filter(|&d| empty(d) > 0) {
        // What it depends on is empty less often, so that nothing goes in a circle.
        let mut parents: Vec<usize> = (0..decisions.len()).filter(|&p| empty(p) < empty(d)).collect();
        parents.sort_by_key(|&p| decisions[p].choices.len());
        let condition = parents.into_iter().find_map(|p| {
            let active = active_choices(&decisions[p], contents[p], contents[d])?;
            Some((decisions[p].name.clone(), active))
        });
        if condition.is_some() {
            decisions[d].active_if = condition;
            continue;
        }
        let decision = &mut decisions[d];
        if decision.numbers {
            // Beside a word they are words too.
            decision.choices = words_as_choices(contents[d].distinct.iter().copied());
            decision.numbers = false;
        }
        let name = unique("empty".into(), |name| decision.choices.iter().any(|c| c.name == name));
        decision.choices.push(Choice {
            text: quoted(&name),
            name,
            words: vec![String::new()],
            renamed: true,
        });
        decision.doubt = Some("some cells are empty; that is a choice of its own here");
    }
}

/// The choices of `parent` with which `child` is there, if its other choices leave it empty.
fn active_choices(
    parent: &Decision,
    of_parent: &Contents<'_>,
    of_child: &Contents<'_>,
) -> Option<Vec<String>> {
    let mut there: Vec<Option<bool>> = vec![None; parent.choices.len()];
    for (word, text) in of_parent.texts.iter().zip(&of_child.texts) {
        let full = !text.is_empty();
        match parent.choice_of(word).filter(|_| !word.is_empty()) {
            Some(choice) if *there[choice].get_or_insert(full) == full => {}
            None if word.is_empty() && !full => {}
            _ => return None,
        }
    }
    let active: Vec<String> = there
        .iter()
        .zip(&parent.choices)
        .filter(|(there, _)| **there == Some(true))
        .map(|(_, choice)| choice.text.clone())
        .collect();
    (!active.is_empty()).then_some(active)
}

/// Words as choices: what a choice may not be called is replaced, and no two are called alike.
fn words_as_choices<'w>(words: impl Iterator<Item = &'w str> + Clone) -> Vec<Choice> {
    let mut choices: Vec<Choice> = Vec::new();
    for word in words.clone() {
        let name = choice_name(word);
        let renamed = name != word;
        let taken = |name: &str| {
            choices.iter().any(|c| c.name == name) || (renamed && words.clone().any(|other| other == name))
        };
        let name = unique(name, taken);
        choices.push(Choice { text: quoted(&name), name, words: vec![word.into()], renamed });
    }
    choices
}

fn value(word: &str) -> f64 {
    word.parse().unwrap_or(f64::NAN)
}

/// A word's number, and that as srnas writes it; none for words, and for such as begin with zeros.
fn parsed(word: &str, notation: Notation) -> Option<(f64, String)> {
    let digits = word.trim_start_matches(['-', '+']);
    let zeros = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    let plain = !zeros && word.bytes().any(|b| b.is_ascii_digit());
    let value = numbers::parse(word, notation).ok().map(f64::from).filter(|_| plain)?;
    let name = if word.contains(['.', ',', 'e', 'E']) && value.fract() != 0.0 {
        serde_json::Value::from(value).to_string()
    } else {
        number_name(word).or_else(|| Some(serde_json::Value::from(value).to_string()))?
    };
    Some((value, name))
}

/// A word as srnas writes the number that it is, if it is one as TOML has them.
fn number_name(word: &str) -> Option<String> {
    if let Ok(whole) = word.parse::<i64>() {
        return Some(whole.to_string());
    }
    let plain = word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'e' | b'E' | b'+'));
    let number = word.parse::<f64>().ok().filter(|n| plain && n.is_finite())?;
    Some(serde_json::Value::from(number).to_string())
}
