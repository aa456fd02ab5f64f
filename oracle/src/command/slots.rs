//! The slots of an oracle that measures several at a time: their numbers, and the variables that each has.

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
};

/// Names that begin so are the oracle's own.
const OWN: &str = "SRNAS_";

/// Variables of each slot, such as which device it may use: the lines of a file, `KEY=VALUE …` each. Words are as in a shell,
/// quotes included, and nothing is expanded; empty lines and what follows a `#` say nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct SlotVariables {
    slots: Vec<Vec<(String, String)>>,
}

/// Why a file does not say what variables slots have.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SlotsError {
    /// A line is wrong.
    #[error("line {line}: {reason}; a line has the variables of one slot, such as CUDA_VISIBLE_DEVICES=0")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// It has no line that says something.
    #[error("there is no slot in it; a line has the variables of one slot, such as CUDA_VISIBLE_DEVICES=0")]
    Nothing,
}

impl SlotVariables {
    /// What a file says.
    ///
    /// # Errors
    /// See [`SlotsError`].
    pub fn read(text: &str) -> Result<Self, SlotsError> {
        Self::of_lines(text.lines())
    }

    fn of_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, SlotsError> {
        let mut slots = Vec::new();
        for (line, text) in lines.into_iter().enumerate() {
            let wrong = |reason| SlotsError::Line { line: line + 1, reason };
            let variables = variables(text).map_err(wrong)?;
            if !variables.is_empty() {
                slots.push(variables);
            }
        }
        if slots.is_empty() { Err(SlotsError::Nothing) } else { Ok(Self { slots }) }
    }

    /// Number of slots that have some.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no slot has any.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Those of a slot, from 0.
    pub(super) fn of(&self, slot: usize) -> &[(String, String)] {
        self.slots.get(slot).map_or(&[], Vec::as_slice)
    }
}

/// The variables in a line.
fn variables(line: &str) -> Result<Vec<(String, String)>, String> {
    let words = shlex::split(line.trim_end_matches('\r')).ok_or("a quote is not closed")?;
    let mut variables: Vec<(String, String)> = Vec::new();
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not KEY=VALUE"))?;
        let is_name = |name: &str| {
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        };
        let reason = match () {
            () if !is_name(name) => format!("`{name}` is no name of a variable"),
            () if name.starts_with(OWN) => format!("`{name}` is set by srnas itself"),
            () if value.contains('\0') => format!("`{name}` has a value with a null byte"),
            () if variables.iter().any(|(known, _)| known == name) => format!("`{name}` is set twice"),
            () => {
                variables.push((name.into(), value.into()));
                continue;
            }
        };
        return Err(reason);
    }
    Ok(variables)
}

impl From<SlotVariables> for Vec<String> {
    fn from(variables: SlotVariables) -> Self {
        let word = |(name, value): &(String, String)| {
            // Only a null byte cannot be quoted, and none is there.
            let value = shlex::try_quote(value).map_or_else(|_| value.clone(), |quoted| quoted.into_owned());
            format!("{name}={value}")
        };
        let line = |slot: &Vec<(String, String)>| slot.iter().map(word).collect::<Vec<_>>().join(" ");
        variables.slots.iter().map(line).collect()
    }
}

impl TryFrom<Vec<String>> for SlotVariables {
    type Error = SlotsError;

    fn try_from(lines: Vec<String>) -> Result<Self, SlotsError> {
        match lines.is_empty() {
            true => Ok(Self::default()),
            false => Self::of_lines(lines.iter().map(String::as_str)),
        }
    }
}

/// Which slots are taken.
#[derive(Debug, Default)]
pub(super) struct Slots {
    taken: Mutex<BTreeSet<usize>>,
}

/// A slot that is taken until this is dropped.
pub(super) struct Slot<'s> {
    slots: &'s Slots,
    number: usize,
}

impl Slots {
    /// Takes the lowest that is free: of N measurements at a time each has one of 0 … N−1.
    pub fn take(&self) -> Slot<'_> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let number = (0..).find(|number| !taken.contains(number)).unwrap_or_default();
        taken.insert(number);
        Slot { slots: self, number }
    }
}

impl Slot<'_> {
    /// Its number, from 0.
    pub fn number(&self) -> usize {
        self.number
    }
}

impl fmt::Display for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_slots_and_are_written_as_they_are_read() {
        let text = "# four devices\nCUDA_VISIBLE_DEVICES=0,1\r\n\nCUDA_VISIBLE_DEVICES=2,3 NAME='the \"second\" one'  # large\nEMPTY=\n";
        let slots = SlotVariables::read(text).unwrap();
        assert_eq!(slots.len(), 3);
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(slots.of(0), [pair("CUDA_VISIBLE_DEVICES", "0,1")]);
        assert_eq!(slots.of(1)[1], pair("NAME", "the \"second\" one"));
        assert_eq!((slots.of(2), slots.of(3)), (&[pair("EMPTY", "")][..], &[][..]));
        let lines = Vec::<String>::from(slots.clone());
        assert_eq!(SlotVariables::try_from(lines), Ok(slots));
        assert_eq!(SlotVariables::try_from(Vec::new()), Ok(SlotVariables::default()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, says) in [
            ("", "no slot"),
            ("# nothing\n\n", "no slot"),
            ("A=1\nB", "line 2: `B` is not KEY=VALUE"),
            ("A='1", "line 1: a quote is not closed"),
            ("1A=2", "line 1: `1A` is no name"),
            ("=2", "line 1: `` is no name"),
            ("A=1 A=2", "line 1: `A` is set twice"),
            ("\nSRNAS_SLOT=1", "line 2: `SRNAS_SLOT` is set by srnas itself"),
        ] {
            let error = SlotVariables::read(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn the_lowest_free_slot_is_taken() {
        let slots = Slots::default();
        let (first, second) = (slots.take(), slots.take());
        assert_eq!((first.number(), second.number()), (0, 1));
        drop(first);
        let (again, third) = (slots.take(), slots.take());
        assert_eq!((again.number(), third.number(), second.number()), (0, 2, 1));
    }
}
