//! CSV files, plain or compressed, read with every complaint carrying file, line and column.

use super::diagnosis;
use flate2::read::MultiGzDecoder;
use srnas_basics::names;
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// What can be wrong with a CSV file.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// It cannot be read, or not be decompressed.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// It has no header line.
    #[error("{} is empty: a header line with the names of the columns is missing", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It has a header line and nothing below.
    #[error("{} has a header line and no rows below it", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{}: {reason}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        reason: String,
    },
    /// A line is not CSV, or not of as many fields as the header.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A column is missing.
    #[error("{} has no column `{column}`{hint}", path.display())]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The nearest ones, ready to print.
        hint: String,
    },
    /// A value is wrong.
    #[error("{}:{line}: column {position}, `{column}`: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        position: usize,
        /// Name of the column.
        column: String,
        /// What is wrong.
        reason: String,
    },
    /// There are too few or too many lines.
    #[error("{} has {found} rows instead of {expected}: it was cut short or added to", path.display())]
    RowCount {
        /// The file.
        path: PathBuf,
        /// Rows below the header.
        found: usize,
        /// Rows that there should be.
        expected: usize,
    },
}

/// A CSV file in memory: a header line and rows of as many fields.
#[derive(Debug)]
pub struct CsvTable {
    path: PathBuf,
    header: csv::StringRecord,
    rows: Vec<csv::StringRecord>,
    /// Line of each row.
    lines: Vec<u64>,
}

impl CsvTable {
    /// Reads a file: plain or gzip (told by its first bytes), LF or CRLF, with or without a byte-order mark. Fields are
    /// trimmed.
    ///
    /// # Errors
    /// Refuses what cannot be read or decompressed to the end, what is no text or not UTF-8, a comment before the header, a
    /// quote that is never closed, lines of the wrong number of fields, and a header that names a column twice.
    pub fn read(path: &Path) -> Result<Self, CsvError> {
        Self::read_separated(path, b',')
    }

    /// As [`Self::read`], with another character between fields.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_separated(path: &Path, delimiter: u8) -> Result<Self, CsvError> {
        let path = path.to_path_buf();
        let bytes = read_bytes(&path).map_err(|source| CsvError::Read { path: path.clone(), source })?;
        if let Some(reason) = diagnosis::no_text(&bytes) {
            return Err(CsvError::Foreign { path, reason });
        }
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let wrong = |at: usize, reason: String| {
            Err(CsvError::Line { path: path.clone(), line: 1 + newlines(&text[..at]), reason })
        };
        if let Some(reason) = diagnosis::no_header(text, delimiter) {
            return wrong(text.iter().take_while(|b| b.is_ascii_whitespace()).count(), reason);
        }
        if let Some(at) = diagnosis::unclosed_quote(text, delimiter) {
            return wrong(at, "a quote (`\"`) opens here and is never closed".into());
        }
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(text);
        let header = reader.headers().map_err(|e| wrong_line(&path, text, &e))?.clone();
        check_header(&path, &header)?;
        let records = reader.into_records().collect::<Result<Vec<_>, _>>();
        let rows = records.map_err(|e| wrong_line(&path, text, &e))?;
        let (mut lines, mut line, mut end) = (Vec::with_capacity(rows.len()), 1, 0);
        for row in &rows {
            let start = start(text, row.position());
            line += newlines(&text[end..start]);
            lines.push(line);
            end = start;
        }
        Ok(Self { path, header, rows, lines })
    }

    /// A table from elsewhere; its rows count as lines 2, 3, ….
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn of_rows(
        path: &Path,
        header: csv::StringRecord,
        rows: Vec<csv::StringRecord>,
    ) -> Result<Self, CsvError> {
        check_header(path, &header)?;
        let lines = (2..).take(rows.len()).collect();
        Ok(Self { path: path.to_path_buf(), header, rows, lines })
    }

    /// The names of the columns.
    pub fn header(&self) -> impl Iterator<Item = &str> {
        self.header.iter()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of rows below the header.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Leaves the rows of which this is true.
    pub(super) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut row = 0..;
        self.rows.retain(|_| row.next().is_some_and(&keep));
        let mut row = 0..;
        self.lines.retain(|_| row.next().is_some_and(&keep));
    }

    /// The table, if it has rows.
    ///
    /// # Errors
    /// [`CsvError::NoRows`].
    pub fn with_rows(self) -> Result<Self, CsvError> {
        match self.rows() {
            0 => Err(CsvError::NoRows { path: self.path }),
            _ => Ok(self),
        }
    }

    /// Refuses another number of rows.
    ///
    /// # Errors
    /// [`CsvError::RowCount`].
    pub fn expect_rows(&self, expected: usize) -> Result<(), CsvError> {
        match self.rows() {
            found if found == expected => Ok(()),
            found => Err(CsvError::RowCount { path: self.path.clone(), found, expected }),
        }
    }

    /// A column by its name.
    ///
    /// # Errors
    /// Where it is missing, names the nearest ones.
    pub fn column(&self, name: &str) -> Result<Column<'_>, CsvError> {
        match self.header.iter().position(|c| c == name) {
            Some(position) => Ok(Column { table: self, position }),
            None => Err(CsvError::MissingColumn {
                path: self.path.clone(),
                column: name.into(),
                hint: names::did_you_mean(name, self.header.iter()),
            }),
        }
    }
}

/// A column of a [`CsvTable`]. Rows count from 0, below the header.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    table: &'a CsvTable,
    position: usize,
}

impl<'a> Column<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.table.header[self.position]
    }

    /// The text of a row.
    pub fn text(&self, row: usize) -> &'a str {
        &self.table.rows[row][self.position]
    }

    /// The number in a row; NaN where the field is empty or says `nan`.
    ///
    /// # Errors
    /// Refuses what is not a finite number.
    pub fn number(&self, row: usize) -> Result<f64, CsvError> {
        let text = self.text(row);
        if text.is_empty() {
            return Ok(f64::NAN);
        }
        match text.parse::<f64>() {
            Ok(number) if !number.is_infinite() => Ok(number),
            Ok(_) => Err(self.error(row, format!("`{text}` is not finite"))),
            Err(_) => Err(self.error(row, format!("`{text}` is not a number"))),
        }
    }

    /// The index in a row: a whole number below `end`.
    ///
    /// # Errors
    /// Refuses anything else.
    pub fn index(&self, row: usize, end: usize) -> Result<usize, CsvError> {
        let text = self.text(row);
        text.parse().ok().filter(|&i| i < end).ok_or_else(|| {
            self.error(row, format!("`{text}` is not a whole number from 0 to {}", end.saturating_sub(1)))
        })
    }

    /// The line of a row in the (decompressed) file, from 1.
    pub fn line(&self, row: usize) -> u64 {
        self.table.lines[row]
    }

    /// A complaint about the value in a row.
    pub fn error(&self, row: usize, reason: impl Into<String>) -> CsvError {
        CsvError::Value {
            path: self.table.path.clone(),
            line: self.line(row),
            position: self.position + 1,
            column: self.table.header[self.position].into(),
            reason: reason.into(),
        }
    }
}

fn check_header(path: &Path, header: &csv::StringRecord) -> Result<(), CsvError> {
    if header.is_empty() {
        return Err(CsvError::Empty { path: path.into() });
    }
    for (position, column) in header.iter().enumerate() {
        if header.iter().take(position).any(|c| c == column) {
            let reason = format!("column `{column}` occurs twice");
            return Err(CsvError::Line { path: path.into(), line: 1, reason });
        }
    }
    Ok(())
}

pub(super) fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut text = Vec::new();
    MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text)?;
    Ok(text)
}

/// Where a record begins. The reader's position is that of the end of the record before, so that its own count of lines
/// is one short after CRLF and after empty lines.
fn start(text: &[u8], position: Option<&csv::Position>) -> usize {
    let end_before = position.map_or(0, |p| p.byte() as usize).min(text.len());
    let blank = text[end_before..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    end_before + blank
}

fn newlines(text: &[u8]) -> u64 {
    text.iter().filter(|&&b| b == b'\n').count() as u64
}

fn wrong_line(path: &Path, text: &[u8], error: &csv::Error) -> CsvError {
    let line = 1 + newlines(&text[..start(text, error.position())]);
    let reason = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len: 1, len, .. } => format!(
            "{len} fields where the header has 1: is the first line the names of the columns, with the same sign between them?"
        ),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields where the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { err, .. } => {
            format!("field {} is not UTF-8 text; save the file as UTF-8", err.field() + 1)
        }
        _ => error.to_string(),
    };
    CsvError::Line { path: path.into(), line, reason }
}
