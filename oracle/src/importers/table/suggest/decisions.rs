//! The decisions of a suggested space: their choices, and where they count.

use super::{
    super::{
        Domain,
        descriptor::Scale,
        numbers::{self, Notation},
    },
    columns::Contents,
    text::{choice_name, decision_name, key, quoted, unique},
};
use serde_json::Value;
use std::fmt::Write;

/// Numbers of a range are listed up to here; beyond, the range stands for them.
const LISTED: usize = 12;

/// A decision of the space, and where the table has it.
pub(super) struct Decision {
    pub name: String,
    pub column: String,
    pub choices: Vec<Choice>,
    pub doubt: Option<&'static str>,
    /// It counts while the decision of this name has one of these choices.
    active_if: Option<(String, Vec<String>)>,
    numbers: bool,
    /// Whether choices stand in an order, also where they are few.
    ordered: bool,
    /// A range in place of choices, as the space's file has it.
    range: Option<String>,
    /// If its numbers count as the nearest choice, how near is meant.
    nearest: Option<Scale>,
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
    /// Whether it is a truth value: its own name is one of its words, whatever the others are.
    literal: bool,
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
        Self { numbers, ..Self::plain(name.into(), String::new(), choices) }
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
        let choices = if let Some(truth_values) = truth_values(words.clone()) {
            truth_values
        } else if numbers {
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
        Self { doubt, numbers, ..Self::plain(decision_name(name), contents.name.into(), choices) }
    }

    /// A decision of which it is known where its values come from.
    pub fn of_domain(
        contents: &Contents<'_>,
        name: &str,
        domain: &Domain,
        doubt: Option<&'static str>,
    ) -> Self {
        let bare = |choices| Self::plain(decision_name(name), contents.name.into(), choices);
        match domain {
            Domain::Choices(values, ordered) => {
                let numbers = values.iter().all(Value::is_number);
                let mut texts: Vec<String> = values.iter().map(cell).collect();
                // What was tried beside them.
                let number = |word: &str| word.parse::<f64>().ok();
                let is_there = |word: &&&str| {
                    let same = |text: &String| text == **word || (numbers && number(text) == number(word));
                    texts.iter().any(same)
                };
                let more: Vec<String> = contents
                    .distinct
                    .iter()
                    .filter(|word| !is_there(word))
                    .map(ToString::to_string)
                    .collect();
                let numbers = numbers && more.iter().all(|word| number(word).is_some());
                texts.extend(more);
                let words = texts.iter().map(String::as_str);
                let truths = truth_values(words.clone());
                let mixed = values.iter().any(Value::is_string) && !values.iter().all(Value::is_string);
                let (choices, numbers) = match (truths, numbers) {
                    (Some(truths), _) => (truths, false),
                    (None, true) => {
                        let number = |text: &String| Choice::number(text.clone(), vec![text.clone()]);
                        (texts.iter().map(number).collect(), true)
                    }
                    (None, false) => (words_as_choices(words), false),
                };
                let mixed = mixed.then_some("words beside numbers or truth values: all are words here");
                Self { doubt: doubt.or(mixed), numbers, ordered: *ordered, ..bare(choices) }
            }
            Domain::Numbers { low, high, log, step, whole } => {
                let scale = if *log { Scale::Log } else { Scale::Linear };
                let step = step.or(whole.then_some(1.0));
                let count = step.map(|step| ((high - low) / step + 1e-9).floor() as usize + 1);
                let at = |i: usize| shortest(low + i as f64 * step.unwrap_or(1.0));
                let number = |value: f64| if *whole { format!("{value:.0}") } else { format!("{value:?}") };
                // What lies on a grid keeps all of it.
                let on_grid = |word: &&str| {
                    word.parse().is_ok_and(|n: f64| {
                        step.is_some_and(|step| at(((n - low) / step).round() as usize) == n)
                    })
                };
                let exact = contents.distinct.iter().all(on_grid);
                let nearest = (!exact).then_some(scale);
                match (count, step) {
                    (Some(count), _) if count <= LISTED => {
                        let name = |i: usize| number(at(i));
                        let choices = (0..count).map(|i| Choice::number(name(i), vec![name(i)])).collect();
                        Self { doubt, numbers: true, ordered: true, nearest, ..bare(choices) }
                    }
                    (Some(count), Some(step)) if count <= super::MOST_CHOICES => {
                        let range = format!(
                            "range = [{}, {}]\nstep = {}\n",
                            number(*low),
                            number(at(count - 1)),
                            number(step)
                        );
                        Self { doubt, nearest, range: Some(range), numbers: true, ..bare(Vec::new()) }
                    }
                    _ => {
                        let log = if *log { "log = true\n" } else { "" };
                        let range = format!("range = [{}, {}]\n{log}", number(*low), number(*high));
                        let doubt = doubt.or(Some(
                            "its values count as the nearest level; `levels = …` says how many there are",
                        ));
                        Self {
                            doubt,
                            nearest: Some(scale),
                            range: Some(range),
                            numbers: true,
                            ..bare(Vec::new())
                        }
                    }
                }
            }
        }
    }

    /// A decision of a space that is known.
    pub fn of_space(known: &srnas_space::Decision, contents: &Contents<'_>, domain: Option<&Domain>) -> Self {
        let names = || known.choices.iter().map(String::as_str);
        let numbers = known.literal && names().all(|name| name.parse::<f64>().is_ok());
        let choices = match truth_values(names()).filter(|_| known.literal) {
            Some(truth_values) => truth_values,
            None => names().map(|name| Choice::number(name.into(), vec![name.into()])).collect(),
        };
        let there = |word: &&str| {
            let number = word.parse::<f64>().ok();
            names().any(|name| name == *word || (number.is_some() && name.parse().ok() == number))
        };
        let log = matches!(domain, Some(Domain::Numbers { log: true, .. }));
        let scale = if log { Scale::Log } else { Scale::Linear };
        let nearest = (numbers && !contents.distinct.iter().all(there)).then_some(scale);
        Self { nearest, numbers, ..Self::plain(known.name.clone(), contents.name.into(), choices) }
    }

    fn plain(name: String, column: String, choices: Vec<Choice>) -> Self {
        let (doubt, active_if, range, nearest) = (None, None, None, None);
        Self { name, column, choices, doubt, active_if, numbers: false, ordered: false, range, nearest }
    }

    /// The entry in the space's file.
    pub fn entry(&self) -> String {
        let choices: Vec<&str> = self.choices.iter().map(|choice| choice.text.as_str()).collect();
        let check = self.doubt.map_or(String::new(), |doubt| format!("  # check: {doubt}"));
        let mut entry = format!("\n[[decisions]]\nname = {}{check}\n", quoted(&self.name));
        match &self.range {
            Some(range) => entry.push_str(range),
            None => drop(writeln!(entry, "choices = [{}]", choices.join(", "))),
        }
        if self.range.is_none() && (self.ordered || (self.numbers && self.choices.len() > 4)) {
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
                let words = choice.words.iter().filter(|word| **word != choice.name || !choice.literal);
                words.map(|word| format!("{} = {}", key(word), quoted(&choice.name)))
            })
            .collect();
        (!names.is_empty()).then(|| format!("{} = {{ {} }}\n", key(&self.name), names.join(", ")))
    }

    /// The line in `[architecture.nearest]`, where its numbers count as the nearest choice.
    pub fn nearest(&self) -> Option<String> {
        let scale = match self.nearest? {
            Scale::Linear => "linear",
            Scale::Log => "log",
        };
        Some(format!("{} = {}\n", key(&self.name), quoted(scale)))
    }

    fn choice_of(&self, word: &str) -> Option<usize> {
        self.choices.iter().position(|choice| choice.words.iter().any(|w| w == word))
    }
}

impl Choice {
    fn number(name: String, words: Vec<String>) -> Self {
        Self { text: name.clone(), name, words, renamed: false, literal: false }
    }
}

/// Says of each decision with empty cells where it counts, if another one tells, else makes the empty cell a choice.
pub(super) fn settle_empty_cells(decisions: &mut [Decision], contents: &[&Contents<'_>]) {
    let empty = |d: usize| contents[d].texts.iter().filter(|text| text.is_empty()).count();
    for d in (0..decisions.len()).filter(|&d| empty(d) > 0) {
        // What it depends on is empty less often, so that nothing goes in a circle.
        // What has a value of its own in almost every row could tell anything.
        let tells = |p: usize| 2 * decisions[p].choices.len() <= contents[p].texts.len();
        let mut parents: Vec<usize> =
            (0..decisions.len()).filter(|&p| empty(p) < empty(d) && tells(p)).collect();
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
        if decision.range.is_some() && contents[d].distinct.len() >= super::MOST_CHOICES {
            continue;
        }
        decision.ordered = false;
        decision.range = None;
        decision.nearest = None;
        if decision.numbers || decision.choices.iter().any(|choice| choice.literal) {
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
            literal: false,
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

/// Truth values as choices, if the words are such, in Python's, R's or JSON's writing.
fn truth_values<'w>(words: impl Iterator<Item = &'w str> + Clone) -> Option<Vec<Choice>> {
    let of = |word: &str| ["false", "true"].into_iter().find(|truth| word.eq_ignore_ascii_case(truth));
    let mut all = words.clone();
    if all.clone().next().is_none() || !all.all(|word| of(word).is_some()) {
        return None;
    }
    let choice = |truth: &str| {
        let mut words: Vec<String> =
            words.clone().filter(|word| of(word) == Some(truth)).map(String::from).collect();
        words.sort();
        words.dedup();
        let renamed = words.iter().any(|word| word != truth);
        (!words.is_empty()).then(|| Choice {
            text: truth.into(),
            name: truth.into(),
            words,
            renamed,
            literal: true,
        })
    };
    Some(["false", "true"].into_iter().filter_map(choice).collect())
}

/// A value as a cell has it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A number without what the last bits of a sum add to it.
fn shortest(value: f64) -> f64 {
    let digits = format!("{value:.12e}");
    digits.parse().unwrap_or(value)
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
        choices.push(Choice { text: quoted(&name), name, words: vec![word.into()], renamed, literal: false });
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
    let value = numbers::parse(word, notation).ok().filter(|_| plain)?;
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
