//! Parquet files, read into the same cells as CSV files.

use super::TableError;
use crate::importers::csv::CsvTable;
use ::parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
};
use csv::StringRecord;
use std::{fs::File, path::Path};

/// Reads all of a file; columns must be plain values.
///
/// # Errors
/// [`TableError::Parquet`] for what cannot be read or is nested.
pub(super) fn read(path: &Path) -> Result<CsvTable, TableError> {
    let wrong = |reason: String| TableError::Parquet { path: path.into(), reason };
    let file = File::open(path).map_err(|e| wrong(e.to_string()))?;
    let reader = SerializedFileReader::new(file).map_err(|e| wrong(e.to_string()))?;
    let schema = reader.metadata().file_metadata().schema();
    let header: StringRecord = schema.get_fields().iter().map(|field| field.name()).collect();
    let mut rows = Vec::new();
    for (number, row) in reader.get_row_iter(None).map_err(|e| wrong(e.to_string()))?.enumerate() {
        let row = row.map_err(|e| wrong(format!("row {}: {e}", number + 1)))?;
        let mut record = StringRecord::new();
        for (name, field) in row.get_column_iter() {
            let cell = cell(field).ok_or_else(|| wrong(format!("column `{name}` is not of plain values")))?;
            record.push_field(cell.trim());
        }
        rows.push(record);
    }
    Ok(CsvTable::of_rows(path, header, rows)?)
}

/// A value as it would stand in a CSV file.
fn cell(field: &Field) -> Option<String> {
    Some(match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Float(number) => number.to_string(),
        Field::Double(number) => number.to_string(),
        Field::Bytes(_) | Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => return None,
        other => other.to_string(),
    })
}
