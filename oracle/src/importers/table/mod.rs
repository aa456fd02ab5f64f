//! Anybody's table: rows of architectures with metrics, in CSV, TSV or Parquet, and a descriptor of its columns
//! (docs/your-own-table.md).

mod descriptor;
mod findings;
mod numbers;
mod parquet;
mod pattern;
mod suggest;

pub use descriptor::Descriptor;
pub use suggest::{Suggestion, suggest};

use super::csv::{Column, CsvError, CsvTable};
use crate::benchmark::{BenchmarkWriter, Rows};
use descriptor::{ArchitectureColumns, Duplicates, Renamed};
use findings::Findings;
use pattern::Pattern;
use srnas_common::{
    names,
    space::{Decision, SearchSpace},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// Spaces up to this many combinations are stored by architecture, so that every way of writing one is found.
const LISTED: u64 = 4_000_000;

/// Seeds of all architectures, each with as many as the one that has most.
const MOST_SEEDS: usize = 1 << 26;

/// What can be wrong with a table or with what is said of it.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The table.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// A Parquet file that cannot be used.
    #[error("{}: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The descriptor.
    #[error("the descriptor {}: {reason}", path.display())]
    Descriptor {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The space that it names.
    #[error("space `{space}`: {reason}")]
    Space {
        /// As the descriptor has it.
        space: String,
        /// What is wrong.
        reason: String,
    },
    /// What it says of the architecture's columns does not fit the space.
    #[error("[architecture]: {0}")]
    Architecture(String),
}

impl TableError {
    /// Whether what is said of the table is to blame, not the table.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Descriptor { .. } | Self::Space { .. } | Self::Architecture(_))
    }
}

/// A table that was read.
#[derive(Debug)]
pub struct ImportedTable {
    /// The benchmark, ready to be written.
    pub benchmark: BenchmarkWriter,
    /// Rows of the file.
    pub rows: usize,
    /// Rows that say again what others say.
    pub repeated: usize,
    /// Metrics that are the same everywhere: nothing can be searched for in them.
    pub constant: Vec<String>,
    /// What a person should know of the metrics before they are searched, a line each.
    pub warnings: Vec<String>,
}

/// Reads a table as a descriptor says; `folder` is the descriptor's, where its space is looked for.
///
/// # Errors
/// [`TableError`], with file, line and column where a cell is wrong.
pub fn import(file: &Path, descriptor: &Descriptor, folder: &Path) -> Result<ImportedTable, TableError> {
    let (space, definition) = descriptor.space(folder)?;
    let table = cells(file, descriptor.delimiter)?;
    let architectures = Architectures::new(&table, &space, &descriptor.architecture)?;
    // By key: the rows of the file that are of one architecture, the first first.
    let (mut order, mut groups): (Vec<Vec<u8>>, Vec<Vec<usize>>) = (Vec::new(), Vec::new());
    let mut places: HashMap<u64, usize> = HashMap::new();
    // Published tables measure several encodings of a known space's classes apart.
    let by_class = definition.is_some();
    for row in 0..table.rows() {
        let choices = architectures.read(row)?;
        let key = if by_class { space.canonical_key(&choices) } else { space.rank(&choices) };
        let place = *places.entry(key).or_insert_with(|| {
            order.push(choices);
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(row);
    }
    let metrics = metrics(&table, descriptor)?;
    let repeated = match descriptor.duplicates {
        Duplicates::Refuse => merge(&metrics, &mut groups)?,
        // Every row is a measurement, also where two seeds found the same.
        Duplicates::Seeds => 0,
    };
    let most = groups.iter().map(Vec::len).max().unwrap_or(0);
    if let Some(group) = groups.iter().find(|group| group.len() == most)
        && groups.len().saturating_mul(most) > MOST_SEEDS
    {
        let reason = format!(
            "{most} rows are of one architecture, and each of {} would need room for as many seeds; give the mean of such rows \
             in their place",
            groups.len()
        );
        return Err(metrics[0][0].column.error(group[0], reason).into());
    }

    let (provenance, licence) = (&descriptor.provenance, &descriptor.licence);
    let stated = |text: &str| if text.is_empty() { "not stated".to_string() } else { text.to_string() };
    let mut benchmark = BenchmarkWriter::new(
        &descriptor.benchmark,
        &space,
        order.concat(),
        stated(provenance),
        stated(licence),
    );
    if let Some(definition) = definition {
        benchmark.define_space(definition);
        if space.size().is_some_and(|size| size <= LISTED) {
            benchmark.rows_are(Rows::Classes);
        }
    }
    let (mut constant, mut warnings) = (Vec::new(), Vec::new());
    for (metric, columns) in descriptor.metrics.iter().zip(&metrics) {
        let seeds = most * columns.len();
        let mut values = Vec::with_capacity(groups.len() * seeds);
        for group in &groups {
            let known = group.iter().flat_map(|&row| columns.iter().map(move |c| c.values[row]));
            values.extend(known.chain(std::iter::repeat(f64::NAN)).take(seeds));
        }
        let found = Findings::of(columns, &groups)?;
        if found.is_constant() {
            constant.push(metric.name.clone());
        }
        warnings.extend(found.warning(&metric.name, metric.direction));
        benchmark.exact_metric(&metric.name, metric.info(), seeds, &values);
        metric.fidelity().into_iter().for_each(|fidelity| benchmark.fidelity(fidelity));
    }
    Ok(ImportedTable { benchmark, rows: table.rows(), repeated, constant, warnings })
}

/// The cells of a file: Parquet by its ending, else text; tabs are between fields where the ending is `.tsv`.
fn cells(file: &Path, delimiter: Option<char>) -> Result<CsvTable, TableError> {
    let name = file.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    if name.ends_with(".parquet") {
        return parquet::read(file);
    }
    let usual = if name.trim_end_matches(".gz").ends_with(".tsv") { '\t' } else { ',' };
    let delimiter = delimiter.unwrap_or(usual);
    let byte = u8::try_from(delimiter).ok().filter(u8::is_ascii).ok_or_else(|| {
        let reason = format!("`{delimiter}` cannot be a delimiter: one ASCII character can");
        TableError::Csv(CsvError::Line { path: file.into(), line: 1, reason })
    })?;
    Ok(CsvTable::read_separated(file, byte)?)
}

/// One column of a metric.
struct MetricColumn<'t> {
    column: Column<'t>,
    values: Vec<f64>,
}

fn metrics<'t>(table: &'t CsvTable, descriptor: &Descriptor) -> Result<Vec<Vec<MetricColumn<'t>>>, CsvError> {
    let of_metric = |metric: &descriptor::MetricColumns| {
        let read = |name: &str| {
            let column = table.column(name)?;
            let (rows, decimal) = (table.rows(), descriptor.decimal);
            let values = numbers::read(&column, rows, decimal, &metric.unit, metric.mixed)?;
            Ok(MetricColumn { column, values })
        };
        metric.seeds().into_iter().map(read).collect()
    };
    descriptor.metrics.iter().map(of_metric).collect()
}

/// Leaves one row of those that say the same; what differs is refused. Returns how many are gone.
fn merge(metrics: &[Vec<MetricColumn<'_>>], groups: &mut [Vec<usize>]) -> Result<usize, CsvError> {
    let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
    let mut repeated = 0;
    for group in groups {
        let first = group[0];
        for &row in &group[1..] {
            let differs = |column: &&MetricColumn| !same(column.values[row], column.values[first]);
            if let Some(MetricColumn { column, .. }) = metrics.iter().flatten().find(differs) {
                let (line, text) = (column.line(first), column.text(first));
                return Err(column.error(
                    row,
                    format!(
                        "`{}`, where line {line} has `{text}` for the same architecture; if these are measurements with \
                         several seeds, say `duplicates = \"seeds\"`",
                        column.text(row)
                    ),
                ));
            }
        }
        repeated += group.len() - 1;
        group.truncate(1);
    }
    Ok(repeated)
}

/// The columns of the architectures, and what their words mean.
struct Architectures<'t> {
    space: &'t SearchSpace,
    source: Source<'t>,
    /// By decision: words with their choices, longer words first.
    words: Vec<Vec<(String, u8)>>,
}

enum Source<'t> {
    /// By decision.
    Columns(Vec<Column<'t>>),
    Pattern {
        column: Column<'t>,
        pattern: Pattern,
        text: String,
    },
}

impl<'t> Architectures<'t> {
    fn new(
        table: &'t CsvTable,
        space: &'t SearchSpace,
        columns: &ArchitectureColumns,
    ) -> Result<Self, TableError> {
        let wrong = TableError::Architecture;
        let decision = |name: &str| {
            let names = space.decisions().iter().map(|d| d.name.as_str());
            let found = space.decisions().iter().position(|d| d.name == name);
            found.ok_or_else(|| {
                format!("the space has no decision `{name}`{}", names::did_you_mean(name, names))
            })
        };
        let source = match (&columns.column, &columns.pattern) {
            (Some(column), Some(text)) => {
                let pattern = Pattern::read(text, decision).map_err(wrong)?;
                let absent = (0..space.len()).find(|d| !pattern.decisions().any(|other| other == *d));
                if let Some(absent) = absent {
                    let name = &space.decisions()[absent].name;
                    return Err(wrong(format!("the pattern lacks the decision `{name}`")));
                }
                Source::Pattern { column: table.column(column)?, pattern, text: text.clone() }
            }
            _ => {
                for name in columns.columns.keys() {
                    decision(name).map_err(wrong)?;
                }
                let column = |d: &Decision| table.column(columns.columns.get(&d.name).unwrap_or(&d.name));
                Source::Columns(space.decisions().iter().map(column).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { space, source, words: words(space, columns).map_err(wrong)? })
    }

    fn read(&self, row: usize) -> Result<Vec<u8>, TableError> {
        let mut choices = vec![0; self.space.len()];
        let (column, empty) = match &self.source {
            Source::Pattern { column, pattern, text } => {
                if !pattern.parse(column.text(row), &self.words, &mut choices) {
                    let reason =
                        format!("`{}` is not an architecture as `{text}` writes it", column.text(row));
                    return Err(column.error(row, reason).into());
                }
                (column, Vec::new())
            }
            Source::Columns(columns) => {
                let mut empty = Vec::new();
                for (d, column) in columns.iter().enumerate() {
                    match column.text(row) {
                        "" => empty.push(d),
                        text => {
                            choices[d] = self.choice(d, text).map_err(|reason| column.error(row, reason))?
                        }
                    }
                }
                (&columns[0], empty)
            }
        };
        // A decision that does not count may be left out.
        for d in empty {
            if !self.space.is_inactive(&choices, d)
                && let Source::Columns(columns) = &self.source
            {
                return Err(columns[d].error(row, "it is empty, and this decision counts").into());
            }
        }
        if !self.space.is_valid(&choices) {
            let reason =
                format!("{} is not valid in space {}", self.space.format(&choices), self.space.name());
            return Err(column.error(row, reason).into());
        }
        Ok(choices)
    }

    fn choice(&self, d: usize, text: &str) -> Result<u8, String> {
        let words = &self.words[d];
        if let Some((_, choice)) = words.iter().find(|(word, _)| word == text) {
            return Ok(*choice);
        }
        // 8 and 8.0 are one number.
        let number: Option<f64> = text.parse().ok();
        let same = |(word, _): &&(String, u8)| number.is_some() && word.parse().ok() == number;
        if let Some((_, choice)) = words.iter().find(same) {
            return Ok(*choice);
        }
        let hint = names::did_you_mean(text, words.iter().map(|(word, _)| word.as_str()));
        Err(format!("`{text}` is no choice of `{}`{hint}", self.space.decisions()[d].name))
    }
}

/// By decision: the words of its choices, longer ones first.
fn words(space: &SearchSpace, columns: &ArchitectureColumns) -> Result<Vec<Vec<(String, u8)>>, String> {
    for (name, renamed) in &columns.names {
        let known = space.decisions().iter().any(|d| d.name == *name);
        if matches!(renamed, Renamed::Decision(_)) && !known {
            let all = space.decisions().iter().map(|d| d.name.as_str());
            return Err(format!(
                "names: the space has no decision `{name}`{}",
                names::did_you_mean(name, all)
            ));
        }
    }
    let of = |decision: &Decision| {
        let index = |choice: &str| decision.choices.iter().position(|c| c == choice).map(|c| c as u8);
        let mut words: Vec<(String, u8)> = decision.choices.iter().cloned().zip(0..).collect();
        for (word, renamed) in &columns.names {
            match renamed {
                // A word for all decisions means something only where there is such a choice.
                Renamed::Choice(choice) => words.extend(index(choice).map(|c| (word.clone(), c))),
                Renamed::Decision(own) if *word == decision.name => {
                    for (word, choice) in own {
                        let choice = index(choice).ok_or_else(|| {
                            let hint =
                                names::did_you_mean(choice, decision.choices.iter().map(String::as_str));
                            format!("names: `{choice}` is no choice of `{}`{hint}", decision.name)
                        })?;
                        words.push((word.clone(), choice));
                    }
                }
                Renamed::Decision(_) => {}
            }
        }
        words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        Ok(words)
    };
    let unused = |(_, renamed): &(&String, &Renamed)| match renamed {
        Renamed::Choice(choice) => !space.decisions().iter().any(|d| d.choices.contains(choice)),
        Renamed::Decision(_) => false,
    };
    if let Some((word, Renamed::Choice(choice))) = columns.names.iter().find(unused) {
        return Err(format!("names: `{word}` is for `{choice}`, which is a choice of no decision"));
    }
    space.decisions().iter().map(of).collect()
}
