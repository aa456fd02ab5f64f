//! A table from a program that says more of its columns than their names do.

use crate::{
    benchmark::SpaceFormat,
    importers::csv::{Column, CsvTable},
};
use serde_json::Value;
use std::collections::HashMap;

/// What is known of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is a decision of this name.
    Decision(String),
    /// It is a metric of this name, where it has numbers.
    Metric(String),
    /// It is neither, and why.
    Neither(&'static str),
    /// Nothing.
    Nothing,
}

/// Where the values of a parameter come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// One of these; whether they stand in an order.
    Choices(Vec<Value>, bool),
    /// A number between two ends.
    Numbers {
        /// The smaller end.
        low: f64,
        /// The larger end.
        high: f64,
        /// Whether numbers are near by their ratio.
        log: bool,
        /// The distance of those that are possible.
        step: Option<f64>,
        /// Whether they are whole.
        whole: bool,
    },
}

impl Domain {
    /// All of both, where that is one domain: ranges may change while a study goes on.
    pub fn joined(self, other: Self) -> Self {
        match (self, other) {
            (Self::Choices(mut all, ordered), Self::Choices(more, _)) => {
                for value in more {
                    if !all.contains(&value) {
                        all.push(value);
                    }
                }
                Self::Choices(all, ordered)
            }
            (
                Self::Numbers { low, high, log, step, whole },
                Self::Numbers { low: l, high: h, log: g, step: s, whole: w },
            ) => {
                let (step, whole) = (step.filter(|step| Some(*step) == s && low == l), whole && w);
                Self::Numbers {
                    low: low.min(l),
                    high: high.max(h),
                    log: log && g,
                    step: step.or(whole.then_some(1.0)),
                    whole,
                }
            }
            (domain, _) => domain,
        }
    }

    /// With all numbers from one to another: what was tried need not lie in a range.
    pub fn including(self, from: f64, to: f64) -> Self {
        match self {
            Self::Numbers { low, high, log, whole, .. } if from < low || to > high => {
                let (low, high) = (low.min(from), high.max(to));
                let whole = whole && low.fract() == 0.0 && high.fract() == 0.0;
                Self::Numbers { low, high, log: log && low > 0.0, step: whole.then_some(1.0), whole }
            }
            domain => domain,
        }
    }
}

/// What a program says of a column of its table.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// What it is.
    pub said: Said,
    /// Of a parameter, where its values come from.
    pub domain: Option<Domain>,
    /// Of a metric, whether less is better.
    pub minimised: Option<bool>,
}

impl Known {
    /// A column that is neither a parameter nor a metric.
    pub fn neither(why: &'static str) -> Self {
        Self { said: Said::Neither(why), domain: None, minimised: None }
    }

    /// A parameter.
    pub fn decision(name: &str, domain: Option<Domain>) -> Self {
        Self { said: Said::Decision(name.into()), domain, minimised: None }
    }

    /// A metric.
    pub fn metric(name: &str, minimised: Option<bool>) -> Self {
        Self { said: Said::Metric(name.into()), domain: None, minimised }
    }
}

/// The space that a program searched, where it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSpace {
    /// One that srnas knows by this name.
    Named(String),
    /// The text of its file.
    Text(SpaceFormat, String),
}

/// A table, and what the program that wrote it says of it.
#[derive(Debug)]
pub struct Source {
    /// Its cells.
    pub table: CsvTable,
    /// What a benchmark made of it may be called, if not as its file.
    pub name: Option<String>,
    /// What is between its fields, where its ending does not say it.
    pub delimiter: Option<char>,
    /// The program, where its columns do not say it.
    pub by: Option<&'static str>,
    /// Columns of which something is known, by their names.
    pub known: HashMap<String, Known>,
    /// The rows that count: columns, each with its word.
    pub only: Vec<(String, String)>,
    /// The space, where it is known as a whole.
    pub space: Option<SourceSpace>,
    /// What is not taken over, and why, a line each.
    pub notes: Vec<String>,
}

impl Source {
    /// A table of which nothing else is known.
    pub fn of(table: CsvTable) -> Self {
        let (name, delimiter, by, space) = (None, None, None, None);
        let (known, only, notes) = (HashMap::new(), Vec::new(), Vec::new());
        Self { table, name, delimiter, by, known, only, space, notes }
    }
}

/// How often each word stands in those rows of a column, the most frequent first.
pub(super) fn tally(column: &Column<'_>, rows: usize, which: impl Fn(usize) -> bool) -> Vec<(String, usize)> {
    let mut words: Vec<(String, usize)> = Vec::new();
    for row in (0..rows).filter(|row| which(*row)) {
        let word = column.text(row);
        match words.iter_mut().find(|(known, _)| known == word) {
            Some((_, times)) => *times += 1,
            None => words.push((word.into(), 1)),
        }
    }
    words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    words
}

/// Such words in a sentence: ``3 `FAIL`, 1 `RUNNING` ``.
pub(super) fn in_words(words: &[(String, usize)]) -> String {
    let named = |(word, times): &(String, usize)| match word.as_str() {
        "" => format!("{times} without one"),
        word => format!("{times} `{word}`"),
    };
    words.iter().map(named).collect::<Vec<_>>().join(", ")
}
