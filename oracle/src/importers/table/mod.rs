//! Anybody's table: rows of architectures with metrics, in CSV, TSV or Parquet, and a descriptor of its columns
//! (docs/your-own-table.md).

mod descriptor;
mod findings;
mod nearest;
mod numbers;
mod parquet;
mod pattern;
mod source;
mod suggest;
mod units;
mod words;

pub use descriptor::Descriptor;
pub use source::{Domain, Known, Said, Source, SourceSpace};
pub use suggest::{Suggestion, suggest, suggest_of};
pub(in crate::importers) use suggest::{exporter_of, read as read_text};

use super::csv::{Column, CsvError, CsvTable};
use crate::benchmark::{BenchmarkWriter, Rows, SpaceDefinition, SpaceFormat};
use descriptor::{ArchitectureColumns, Duplicates};
use findings::Findings;
use nearest::Nearest;
use pattern::{Pattern, Unread};
use srnas_basics::names;
use srnas_space::{Decision, SearchSpace};
use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
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
    /// Nothing could be guessed.
    #[error("{0}")]
    Nothing(String),
}

impl TableError {
    /// Whether what is said of the table is to blame, not the table.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Descriptor { .. } | Self::Space { .. } | Self::Architecture(_) | Self::Nothing(_)
        )
    }
}

/// A table that was read.
#[derive(Debug)]
pub struct ImportedTable {
    /// The benchmark, ready to be written.
    pub benchmark: BenchmarkWriter,
    /// Rows of the file that count.
    pub rows: usize,
    /// Rows that the descriptor leaves out, by what they say in the column that tells.
    pub left_out: Vec<(String, usize)>,
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
    import_table(cells(file, descriptor.delimiter)?, descriptor, folder)
}

/// As [`import`], of a table that was read already.
///
/// # Errors
/// As [`import`].
pub fn import_table(
    mut table: CsvTable,
    descriptor: &Descriptor,
    folder: &Path,
) -> Result<ImportedTable, TableError> {
    let (space, definition) = descriptor.space(folder)?;
    let left_out = leave_out(&mut table, descriptor)?;
    of_cells(&table, descriptor, &space, definition, left_out)
}

/// As [`import`], with the space's definition in TOML at hand.
///
/// # Errors
/// As [`import`].
pub fn import_with(file: &Path, descriptor: &Descriptor, space: &str) -> Result<ImportedTable, TableError> {
    let definition = SpaceDefinition { format: SpaceFormat::Toml, text: space.into() };
    let wrong = |reason| TableError::Space { space: descriptor.space.clone(), reason };
    let space = Arc::new(definition.space(&descriptor.benchmark).map_err(wrong)?);
    let mut table = cells(file, descriptor.delimiter)?;
    let left_out = leave_out(&mut table, descriptor)?;
    of_cells(&table, descriptor, &space, Some(definition), left_out)
}

/// The same of a table that was read already, and of which some rows were left out.
fn of_cells(
    table: &CsvTable,
    descriptor: &Descriptor,
    space: &Arc<SearchSpace>,
    definition: Option<SpaceDefinition>,
    left_out: Vec<(String, usize)>,
) -> Result<ImportedTable, TableError> {
    let architectures = Architectures::new(table, space, &descriptor.architecture)?;
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
    let metrics = metrics(table, descriptor)?;
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
        space,
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
    // Values of a table are looked for among the levels that a range is read as.
    let mut warnings: Vec<String> = space.notice().map(str::to_string).into_iter().collect();
    let mut constant = Vec::new();
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
        warnings.extend(units::warning(metric, columns)?);
        benchmark.exact_metric(&metric.name, metric.info(), seeds, &values);
        metric.fidelity().into_iter().for_each(|fidelity| benchmark.fidelity(fidelity));
        if metric.untrained {
            benchmark.untrained(&metric.name);
        }
    }
    Ok(ImportedTable { benchmark, rows: table.rows(), left_out, repeated, constant, warnings })
}

/// Leaves the rows that count. Returns how many are gone, by what they say instead.
fn leave_out(table: &mut CsvTable, descriptor: &Descriptor) -> Result<Vec<(String, usize)>, CsvError> {
    let mut gone = Vec::new();
    for (column, words) in &descriptor.only {
        let here = table.column(column)?;
        let there: BTreeSet<&str> = (0..table.rows()).map(|row| here.text(row)).collect();
        if let Some(absent) = words.all().iter().find(|word| !there.contains(word.as_str())) {
            let hint = names::did_you_mean(absent, there.iter().copied());
            return Err(
                here.error(0, format!("no row that is left has `{absent}`, which `only` asks for{hint}"))
            );
        }
        let counts: Vec<bool> =
            (0..table.rows()).map(|row| words.all().iter().any(|word| word == here.text(row))).collect();
        gone.extend(source::tally(&here, table.rows(), |row| !counts[row]));
        table.retain(|row| counts[row]);
    }
    Ok(gone)
}

/// The cells of a file: Parquet by its ending, else text; tabs are between fields where the ending is `.tsv`.
pub(in crate::importers) fn cells(file: &Path, delimiter: Option<char>) -> Result<CsvTable, TableError> {
    let name = file.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    if name.ends_with(".parquet") {
        return Ok(parquet::read(file)?.with_rows()?);
    }
    let usual = if name.trim_end_matches(".gz").ends_with(".tsv") { '\t' } else { ',' };
    let delimiter = delimiter.unwrap_or(usual);
    let byte = u8::try_from(delimiter).ok().filter(u8::is_ascii).ok_or_else(|| {
        let reason = format!("`{delimiter}` cannot be a delimiter: one ASCII character can");
        TableError::Csv(CsvError::Line { path: file.into(), line: 1, reason })
    })?;
    Ok(CsvTable::read_separated(file, byte)?.with_rows()?)
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
            let (rows, notation) = (table.rows(), descriptor.notation());
            let values = numbers::read(&column, rows, notation, &metric.unit, metric.mixed)?;
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
    place: Place<'t>,
    /// By decision: words with their choices.
    words: Vec<Vec<(String, u8)>>,
    /// By decision: what numbers between its choices count as, where they do.
    nearest: Vec<Option<Nearest>>,
}

enum Place<'t> {
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
        let place = match (&columns.column, &columns.pattern) {
            (Some(column), Some(text)) => {
                let pattern = Pattern::read(text, decision).map_err(wrong)?;
                let absent = (0..space.len()).find(|d| !pattern.decisions().any(|other| other == *d));
                if let Some(absent) = absent {
                    let name = &space.decisions()[absent].name;
                    return Err(wrong(format!("the pattern lacks the decision `{name}`")));
                }
                Place::Pattern { column: table.column(column)?, pattern, text: text.clone() }
            }
            _ => {
                for name in columns.columns.keys() {
                    decision(name).map_err(wrong)?;
                }
                let column = |d: &Decision| table.column(columns.columns.get(&d.name).unwrap_or(&d.name));
                Place::Columns(space.decisions().iter().map(column).collect::<Result<_, _>>()?)
            }
        };
        for name in columns.nearest.keys() {
            decision(name).map_err(|reason| wrong(format!("nearest: {reason}")))?;
        }
        let near =
            |d: &Decision| columns.nearest.get(&d.name).map(|scale| Nearest::of(d, *scale)).transpose();
        let nearest = space.decisions().iter().map(near).collect::<Result<_, _>>().map_err(wrong)?;
        Ok(Self { space, place, words: words::of(space, &columns.names).map_err(wrong)?, nearest })
    }

    fn read(&self, row: usize) -> Result<Vec<u8>, TableError> {
        let mut choices = vec![0; self.space.len()];
        let (column, empty) = match &self.place {
            Place::Pattern { column, pattern, text } => {
                pattern
                    .parse(column.text(row), &self.words, &mut choices)
                    .map_err(|unread| column.error(row, self.unread(&unread, column.text(row), text)))?;
                (column, Vec::new())
            }
            Place::Columns(columns) => {
                let mut empty = Vec::new();
                for (d, column) in columns.iter().enumerate() {
                    match column.text(row) {
                        // Unless the descriptor calls something so.
                        "" if !self.words[d].iter().any(|(word, _)| word.is_empty()) => empty.push(d),
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
                && let Place::Columns(columns) = &self.place
            {
                return Err(columns[d].error(row, "it is empty, and this decision counts").into());
            }
        }
        if !self.space.is_valid(&choices) {
            let broken = match &self.space.broken(&choices)[..] {
                [] => format!("is not valid in space {}", self.space.name()),
                constraints => format!("breaks {}", constraints.join(" and ")),
            };
            return Err(column.error(row, format!("{} {broken}", self.space.format(&choices))).into());
        }
        Ok(choices)
    }

    fn unread(&self, unread: &Unread, cell: &str, pattern: &str) -> String {
        let said = |reading: &[(usize, u8)]| {
            let decisions = self.space.decisions();
            let choice = |&(d, c): &(usize, u8)| {
                format!("{}={}", decisions[d].name, decisions[d].choices[usize::from(c)])
            };
            reading.iter().map(choice).collect::<Vec<_>>().join(",")
        };
        match unread {
            Unread::Other => format!("`{cell}` is not an architecture as `{pattern}` writes it"),
            Unread::Ambiguous(one, other) => format!(
                "`{cell}` can be read in two ways as `{pattern}` writes it: {} and {}; write architectures with something \
                 between the decisions, or one column for each",
                said(one),
                said(other)
            ),
        }
    }

    fn choice(&self, d: usize, text: &str) -> Result<u8, String> {
        let words = &self.words[d];
        if let Some((_, choice)) = words.iter().find(|(word, _)| word == text) {
            return Ok(*choice);
        }
        let name = &self.space.decisions()[d].name;
        // 8 and 8.0 are one number.
        let number: Option<f64> = text.parse().ok().filter(|n: &f64| !n.is_nan());
        let mut same = words.iter().filter(|(word, _)| number.is_some() && word.parse().ok() == number);
        match (same.next(), same.next()) {
            (Some((word, one)), Some((again, other))) if one != other => {
                Err(format!("`{text}` is both `{word}` and `{again}` of `{name}` as a number"))
            }
            (Some((_, choice)), _) => Ok(*choice),
            (None, _) => {
                if let (Some(nearest), Some(number)) = (&self.nearest[d], number) {
                    return nearest.choice(number).map_err(|ends| {
                        format!("`{text}` is beyond the choices of `{name}`, which go from {ends}")
                    });
                }
                let hint = names::did_you_mean(text, words.iter().map(|(word, _)| word.as_str()));
                Err(format!("`{text}` is no choice of `{name}`{hint}"))
            }
        }
    }
}
