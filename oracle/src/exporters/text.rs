//! Columns as CSV and as JSON lines.

use super::Column;
use serde_json::Value;
use std::io::{self, Write};

fn rows(columns: &[Column]) -> usize {
    columns.first().map_or(0, |column| match &column.cells {
        super::Cells::Whole(cells) => cells.len(),
        super::Cells::Real(cells) => cells.len(),
        super::Cells::Truth(cells) => cells.len(),
        super::Cells::Words(cells) => cells.len(),
    })
}

/// Writes CSV with a header; what is not there is an empty cell, and every number can be read to the last bit.
///
/// # Errors
/// What the system says.
pub fn csv(columns: &[Column], to: impl Write) -> io::Result<()> {
    let mut writer = ::csv::Writer::from_writer(to);
    writer.write_record(columns.iter().map(|column| &column.name))?;
    for row in 0..rows(columns) {
        let cell = |column: &Column| match column.cells.value(row) {
            None => String::new(),
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
        };
        writer.write_record(columns.iter().map(cell))?;
    }
    writer.flush()
}

/// Writes an object on each line; what is not there is left out.
///
/// # Errors
/// What the system says.
pub fn json_lines(columns: &[Column], mut to: impl Write) -> io::Result<()> {
    for row in 0..rows(columns) {
        let entry = |column: &Column| Some((column.name.clone(), column.cells.value(row)?));
        let record: Vec<(String, Value)> = columns.iter().filter_map(entry).collect();
        // In the order of the columns.
        let entries: Vec<String> =
            record.iter().map(|(name, value)| format!("{}: {value}", Value::from(name.as_str()))).collect();
        writeln!(to, "{{{}}}", entries.join(", "))?;
    }
    to.flush()
}
