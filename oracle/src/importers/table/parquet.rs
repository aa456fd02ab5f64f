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

#[cfg(test)]
mod tests {
    use super::*;
    use ::parquet::{
        data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type},
        file::writer::SerializedFileWriter,
        schema::parser::parse_message_type,
    };
    use std::sync::Arc;

    #[test]
    fn columns_of_words_and_numbers_with_gaps_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let schema = "message t { required binary op (UTF8); optional double acc; required int32 width; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = File::create(&path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let words = [ByteArray::from("größer"), ByteArray::from("a, b")];
        column.typed::<ByteArrayType>().write_batch(&words, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[0.1], Some(&[1, 0]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[8, 16], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();

        let table = read(&path).unwrap();
        let row =
            |row: usize| ["op", "acc", "width"].map(|name| table.column(name).unwrap().text(row).to_string());
        assert_eq!(
            (table.rows(), row(0), row(1)),
            (2, ["größer", "0.1", "8"].map(Into::into), ["a, b", "", "16"].map(Into::into))
        );
        std::fs::write(&path, "PAR1").unwrap();
        let said = read(&path).unwrap_err().to_string();
        assert!(said.contains("t.parquet"), "{said}");
    }
}
