//! The descriptor: a TOML file that says what the columns of a table are.

use super::{TableError, numbers::Notation};
use crate::benchmark::{Direction, Fidelity, MetricInfo, SpaceDefinition, SpaceFormat};
use serde::Deserialize;
use srnas_space::{SPACES, SearchSpace};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

/// What the columns of a table are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// Name of the benchmark.
    pub benchmark: String,
    /// A known space, or a file that defines one, beside this one.
    pub space: String,
    /// Where the numbers come from.
    #[serde(default)]
    pub provenance: String,
    /// Under which terms.
    #[serde(default)]
    pub licence: String,
    /// What is between fields, where the file's ending does not say it.
    #[serde(default)]
    pub delimiter: Option<char>,
    /// What is between a number's whole part and the rest.
    #[serde(default)]
    pub decimal: Decimal,
    /// What is between the thousands of a number, if anything is.
    #[serde(default)]
    pub thousands: Option<char>,
    /// The rows that count, where not all do: those with one of these words in these columns.
    #[serde(default)]
    pub only: BTreeMap<String, Words>,
    /// What several rows of one architecture are.
    #[serde(default)]
    pub duplicates: Duplicates,
    /// Where the architecture is.
    #[serde(default)]
    pub architecture: ArchitectureColumns,
    /// What was measured.
    pub metrics: Vec<MetricColumns>,
}

/// The decimal point, or comma.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Decimal {
    /// 1.5
    #[default]
    #[serde(rename = ".")]
    Point,
    /// 1,5
    #[serde(rename = ",")]
    Comma,
}

/// A word or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Words {
    /// This one.
    One(String),
    /// Each of these.
    Any(Vec<String>),
}

impl Words {
    /// The words.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Any(words) => words,
        }
    }
}

/// What several rows of one architecture are, if their values differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// A mistake.
    #[default]
    Refuse,
    /// Measurements with other seeds.
    Seeds,
}

/// Where the architecture is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArchitectureColumns {
    /// One column for each decision, where their names differ.
    pub columns: BTreeMap<String, String>,
    /// One column for all.
    pub column: Option<String>,
    /// How that column is written, decisions in braces.
    pub pattern: Option<String>,
    /// What the table calls choices, where that is something else: of all decisions, or of one by its name.
    pub names: BTreeMap<String, Renamed>,
    /// Decisions of which numbers between two choices count as the nearer one, and how near is meant.
    pub nearest: BTreeMap<String, Scale>,
}

/// How the distance of two numbers is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// By their difference.
    Linear,
    /// By their ratio.
    Log,
}

impl Scale {
    /// A number on the scale.
    pub fn place(self, number: f64) -> f64 {
        match self {
            Self::Linear => number,
            Self::Log => number.ln(),
        }
    }
}

/// A choice by its name, or the choices of one decision.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Renamed {
    /// The table's word is for this choice.
    Choice(String),
    /// In this decision.
    Decision(BTreeMap<String, String>),
}

/// A metric.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricColumns {
    /// dataset/metric.
    pub name: String,
    /// Its column.
    #[serde(default)]
    pub column: Option<String>,
    /// Its columns, one for each seed.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Unit of the values.
    #[serde(default)]
    pub unit: String,
    /// Which way it is better.
    pub direction: Direction,
    /// One line on what was measured.
    #[serde(default)]
    pub description: String,
    /// If it is what a shorter training says of another metric: which, and how short.
    #[serde(default)]
    pub shorter: Option<ShorterOf>,
    /// Whether it takes no training, as a number of parameters does: a search may know it beforehand.
    #[serde(default)]
    pub untrained: bool,
    /// That it looks as if fractions were among the percentages is right as it is.
    #[serde(default)]
    pub mixed: bool,
}

/// What a shorter training is to a full one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShorterOf {
    /// The metric after the full training.
    pub of: String,
    /// What is spent, such as `epochs`.
    pub unit: String,
    /// How much of it the shorter training takes.
    pub amount: u32,
    /// How much of it the full training takes.
    pub full: u32,
}

impl MetricColumns {
    /// What it is to the metric after the full training, if it is of a shorter one.
    pub fn fidelity(&self) -> Option<Fidelity> {
        let ShorterOf { of, unit, amount, full } = self.shorter.clone()?;
        Some(Fidelity { metric: self.name.clone(), of, unit, amount, full })
    }

    /// The columns, one for each seed.
    pub fn seeds(&self) -> Vec<&str> {
        self.column.iter().chain(&self.columns).map(String::as_str).collect()
    }

    /// What the benchmark says of it.
    pub fn info(&self) -> MetricInfo {
        MetricInfo {
            unit: self.unit.clone(),
            direction: self.direction,
            description: self.description.clone(),
        }
    }
}

impl Descriptor {
    /// Reads a descriptor.
    ///
    /// # Errors
    /// [`TableError::Descriptor`].
    pub fn read(path: &Path) -> Result<Self, TableError> {
        let wrong = |reason: String| TableError::Descriptor { path: path.into(), reason };
        let text = fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        Self::of_text(&text).map_err(wrong)
    }

    /// A descriptor from its text.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn of_text(text: &str) -> Result<Self, String> {
        let descriptor: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_string())?;
        let separators = descriptor.thousands.map(|sign| {
            let mark = if descriptor.decimal == Decimal::Comma { ',' } else { '.' };
            (sign, sign == mark || sign.is_alphanumeric() || matches!(sign, '-' | '+' | '%'))
        });
        if let Some((sign, true)) = separators {
            return Err(format!(
                "`{sign}` cannot stand between thousands: it has another meaning in numbers"
            ));
        }
        if descriptor.metrics.is_empty() {
            return Err("it has no [[metrics]]".into());
        }
        for (i, metric) in descriptor.metrics.iter().enumerate() {
            if metric.column.is_some() != metric.columns.is_empty() {
                return Err(format!(
                    "metric `{}` needs either `column = \"…\"` or `columns = [\"…\"]`, one for each seed",
                    metric.name
                ));
            }
            if descriptor.metrics[..i].iter().any(|other| other.name == metric.name) {
                return Err(format!("metric `{}` is there twice", metric.name));
            }
        }
        let a = &descriptor.architecture;
        match (&a.column, &a.pattern) {
            (Some(_), Some(_)) if !a.columns.is_empty() => {
                Err("[architecture] has either `columns`, or `column` and `pattern`".into())
            }
            (Some(_), None) | (None, Some(_)) => {
                Err("[architecture]: `column` and `pattern` go together".into())
            }
            _ => Ok(descriptor),
        }
    }

    /// How its numbers are written.
    pub(super) fn notation(&self) -> Notation {
        Notation { decimal: self.decimal, thousands: self.thousands }
    }

    /// The space, and its definition where it is no known one. `folder` is the descriptor's.
    ///
    /// # Errors
    /// [`TableError::Space`].
    pub fn space(&self, folder: &Path) -> Result<(Arc<SearchSpace>, Option<SpaceDefinition>), TableError> {
        let wrong = |reason: String| TableError::Space { space: self.space.clone(), reason };
        if srnas_space::is_known(&self.space) {
            return Ok((SearchSpace::named(&self.space).map_err(|e| wrong(e.to_string()))?, None));
        }
        let path = folder.join(&self.space);
        let text = fs::read_to_string(&path).map_err(|e| {
            wrong(format!(
                "it is no known space ({}), and {} cannot be read: {e}",
                SPACES.join(", "),
                path.display()
            ))
        })?;
        let json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        let format = if json { SpaceFormat::Json } else { SpaceFormat::Toml };
        let definition = SpaceDefinition { format, text };
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        Ok((Arc::new(definition.space(&stem).map_err(wrong)?), Some(definition)))
    }
}
