//! Files of other programs that search: each becomes a table, with what its program says more of the columns, for the importer of
//! tables (docs/bringing-results.md).

mod ax;
mod literal;
mod optuna;
mod records;
mod sheet;
mod smac;
#[cfg(test)]
mod tests;

pub use optuna::SPACE as OPTUNA_SPACE;

use super::{
    csv::{CsvError, CsvTable, read_bytes},
    nni,
    table::{self, Source, TableError},
};
use serde_json::Value;
use sheet::Sheet;
use std::path::{Path, PathBuf};

/// The kinds of files that are read, by their names on the command line.
pub const KINDS: &[&str] = &["optuna", "ax", "smac", "wandb", "mlflow", "tensorboard", "json"];

/// How an SQLite database begins.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Why a file of another program gives no table.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is of another kind.
    #[error("{} is no file that `import {wanted}` reads: it is {found}", path.display())]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// The kind that was named.
        wanted: &'static str,
        /// What it is, and what reads it.
        found: String,
    },
    /// It is of the kind, and something in it is not as it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A storage has several studies, and none was named.
    #[error("{} holds several studies, and which one is meant is not said: {studies}; name one with --study", path.display())]
    SeveralStudies {
        /// The file.
        path: PathBuf,
        /// Their names, with how many trials each has.
        studies: String,
    },
    /// A storage does not have the study, or it has no trial.
    #[error("{}: {reason}", path.display())]
    NoStudy {
        /// The file.
        path: PathBuf,
        /// What there is instead.
        reason: String,
    },
    /// A storage has a newer schema.
    #[error(
        "{} has schema {schema} (Optuna {library}), and schemas up to {known} are known: write the study as CSV \
         (`study.trials_dataframe().to_csv(\"trials.csv\")`), which `import optuna` reads too",
        path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        schema: i64,
        /// The version of Optuna that wrote it.
        library: String,
        /// The newest that is known.
        known: i64,
    },
    /// A storage is being written.
    #[error("{} is locked by a program that writes it: wait until that has ended, or read a copy of the file", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A storage cannot be read.
    #[error("{}: the database cannot be read", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// What was said does not go together.
    #[error("{0}")]
    Usage(String),
    /// A table is not as it should be.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// As for a table of anybody's.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl StudyError {
    /// Whether what was said on the command line is to blame, not the file.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Usage(_) | Self::SeveralStudies { .. } | Self::NoStudy { .. } | Self::OtherKind { .. } => {
                true
            }
            Self::Table(table) => table.is_usage(),
            _ => false,
        }
    }
}

/// Reads files of a kind as one table; of a storage with several studies the one of this name. What is between fields is said where
/// a descriptor has it.
///
/// # Errors
/// See [`StudyError`].
pub fn read(
    kind: &str,
    files: &[PathBuf],
    study: Option<&str>,
    delimiter: Option<char>,
) -> Result<Source, StudyError> {
    let kind = KINDS.iter().copied().find(|known| *known == kind).unwrap_or("json");
    let contents = files.iter().map(|path| File::read(path)).collect::<Result<Vec<_>, _>>()?;
    if study.is_some() && !contents.iter().any(|file| matches!(file.what, What::Sqlite)) {
        return Err(StudyError::Usage("--study names a study in an SQLite storage of Optuna".into()));
    }
    // The ConfigSpace goes with the run history.
    let (spaces, contents): (Vec<File<'_>>, Vec<File<'_>>) = contents
        .into_iter()
        .partition(|file| kind == "smac" && matches!(&file.what, What::Json(v, _) if smac::is_space(v)));
    let mut all: Option<Source> = None;
    for file in contents {
        let path = file.path;
        let space = spaces.first().map(|file| file.path.to_path_buf()).or_else(|| smac::space_beside(path));
        let source = file.source(kind, study, delimiter, space.as_deref())?;
        all = Some(match all {
            None => source,
            Some(first) => joined(first, source)?,
        });
    }
    all.ok_or_else(|| {
        StudyError::Usage("a ConfigSpace alone has no results: name the runhistory.json too".into())
    })
}

/// Two tables as one; its rows count on through both.
fn joined(mut first: Source, second: Source) -> Result<Source, StudyError> {
    let mut sheet = Sheet::of(&first.table)?;
    sheet.add(&second.table)?;
    first.table = sheet.table(first.table.path())?;
    for (column, known) in second.known {
        match first.known.get_mut(&column) {
            None => drop(first.known.insert(column, known)),
            Some(here) => {
                here.domain = match (here.domain.take(), known.domain) {
                    (Some(a), Some(b)) if a != b => Some(a.joined(b)),
                    (a, b) => a.or(b),
                }
            }
        }
    }
    if first.space != second.space {
        first.space = None;
    }
    first.notes.extend(second.notes);
    Ok(first)
}

/// What a file is, by what is in it.
enum What {
    Sqlite,
    /// JSON, or what Python prints of dictionaries; and how many of its numbers are infinite.
    Json(Value, usize),
    /// JSON on each line.
    Lines(String),
    /// Anything else, such as CSV.
    Other,
}

struct File<'p> {
    path: &'p Path,
    what: What,
}

impl<'p> File<'p> {
    fn read(path: &'p Path) -> Result<Self, StudyError> {
        let bytes = read_bytes(path).map_err(|source| StudyError::Read { path: path.into(), source })?;
        if bytes.starts_with(SQLITE) {
            return Ok(Self { path, what: What::Sqlite });
        }
        let bare = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).trim_ascii();
        if bare.is_empty() {
            return Err(StudyError::Empty { path: path.into() });
        }
        if !bare.starts_with(b"{") && !bare.starts_with(b"[") {
            return Ok(Self { path, what: What::Other });
        }
        let malformed = |reason: String| StudyError::Malformed { path: path.into(), reason };
        let text = str::from_utf8(bare).map_err(|e| malformed(format!("it is not UTF-8 text: {e}")))?;
        let what = match literal::read(text) {
            Ok((value, infinite)) => What::Json(value, infinite),
            // A record on each line is none as a whole.
            Err(_)
                if text
                    .lines()
                    .next()
                    .is_some_and(|line| literal::read(line).is_ok_and(|(v, _)| v.is_object())) =>
            {
                What::Lines(text.into())
            }
            Err(reason) => return Err(malformed(format!("it is no JSON: {reason}"))),
        };
        Ok(Self { path, what })
    }

    /// The table, if the file is of the kind.
    fn source(
        self,
        kind: &'static str,
        study: Option<&str>,
        delimiter: Option<char>,
        space: Option<&Path>,
    ) -> Result<Source, StudyError> {
        let path = self.path;
        let other = |found: String| StudyError::OtherKind { path: path.into(), wanted: kind, found };
        match self.what {
            What::Sqlite if kind == "optuna" => optuna::read(path, study),
            What::Sqlite => Err(other("an SQLite database: `import optuna` reads that of a study".into())),
            What::Json(value, infinite) => {
                let (found, reader) = describe(&value);
                match (kind, reader) {
                    ("ax", "ax") => ax::read(path, &value),
                    ("smac", "smac") => {
                        let space = space.map(|space| {
                            let failed = |source| StudyError::Read { path: space.into(), source };
                            std::fs::read_to_string(space).map_err(failed)
                        });
                        smac::read(path, &value, space.transpose()?)
                    }
                    ("json", "json") | ("tensorboard", "tensorboard") => {
                        let notes = records::infinite_values(infinite);
                        Ok(Source { notes, ..records::read(path, value)? })
                    }
                    _ => Err(other(format!("{found}: `srnas bench import {reader}` reads it"))),
                }
            }
            What::Lines(text) if kind == "json" => records::lines(path, &text),
            What::Lines(_) => Err(other("JSON with a record on each line: `srnas bench import json` reads it".into())),
            What::Other if ["ax", "smac", "json"].contains(&kind) => {
                Err(other("no JSON; a CSV or Parquet file is read by `srnas bench import table`, and those of Optuna, W&B, MLflow \
                           and TensorBoard by `import optuna`, `wandb`, `mlflow` and `tensorboard`".into()))
            }
            What::Other => spreadsheet(path, kind, delimiter),
        }
    }
}

/// What JSON is, and which importer reads it.
fn describe(value: &Value) -> (&'static str, &'static str) {
    match value {
        value if ax::is_one(value) => ("an experiment of Ax", "ax"),
        value if smac::is_one(value) => ("a run history of SMAC", "smac"),
        value if smac::is_space(value) => (
            "a ConfigSpace, a space without results (a search takes it as --space; beside a runhistory.json",
            "smac",
        ),
        value if nni::is_one(value) => ("a search space of NNI", "nni"),
        value if records::is_header_and_rows(value) => ("a table of TensorBoard's HParams", "tensorboard"),
        _ => ("JSON with records", "json"),
    }
}

/// A table in CSV, TSV or Parquet that a program wrote.
fn spreadsheet(path: &Path, kind: &'static str, delimiter: Option<char>) -> Result<Source, StudyError> {
    let (table, delimiter) = match delimiter {
        Some(sign) => (table::cells(path, Some(sign))?, Some(sign)),
        None => table::read_text(path)?,
    };
    let header: Vec<&str> = table.header().collect();
    let ends = |end: &str| header.iter().any(|column| column.ends_with(end));
    if kind == "wandb" && ends("__MIN") && ends("__MAX") {
        let found =
            "the curves of a chart, a column for each run: export the table of the runs instead".into();
        return Err(StudyError::OtherKind { path: path.into(), wanted: kind, found });
    }
    if let Some(exporter) = table::exporter_of(&header) {
        let of = match exporter {
            "Optuna" | "the Optuna dashboard" => "optuna",
            "MLflow" | "MLflow's page" => "mlflow",
            "Weights & Biases" => "wandb",
            "TensorBoard's HParams" => "tensorboard",
            _ => "table",
        };
        if of != kind {
            let found = format!("an export of {exporter}: `srnas bench import {of}` reads it");
            return Err(StudyError::OtherKind { path: path.into(), wanted: kind, found });
        }
    }
    let (table, infinite): (CsvTable, usize) = records::finite(records::spread(table)?)?;
    Ok(Source { delimiter, notes: records::infinite_values(infinite), ..Source::of(table) })
}
